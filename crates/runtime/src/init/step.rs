//! The vocabulary: every step that makes a container, on either side of the clone, with the data it needs laid out.
//!
//! Nothing here runs anything; [`super::run`] runs the child's steps, [`crate::launch`] the parent's.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit};
use sys::exec::CStringArray;
use sys::seccomp::Instruction;

use crate::spec::Hook;

/// One step of a start.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    /// What asked for it: a path into config.json (`mounts[0]`), or `None` where it always happens.
    pub(crate) asked_by: Option<String>,
}

/// Which side of the clone runs a step.
#[derive(Debug)]
pub(crate) enum Action {
    Host(HostAction),
    Init(InitAction),
}

/// What the parent does, outside the container.
#[derive(Debug)]
pub(crate) enum HostAction {
    ReserveState { directory: PathBuf },
    WriteFiles { names: String },
    Prepare { name: &'static str, object: String, why: &'static str },
    DetachMount(DetachedMount),
    CreateCgroup { path: String },
    ApplyLimits { description: String },
    DelegateCgroup { user: u32 },
    MakeRdtGroup { group: String, lines: Vec<String> },
    OpenGate,
    Clone { namespaces: Vec<&'static str>, into_cgroup: bool },
    WriteIdMaps { description: String },
    SetOomScore { value: i32 },
    AttachNetwork { object: String },
    PublishPorts { object: String },
    MoveNetDevices { names: String },
    RunHooks { kind: HookKind, hooks: Vec<Hook> },
    JoinRdtGroup { group: String },
    DraftRecord,
    Commit,
}

/// The lists of hooks that run before a container's program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookKind {
    CreateRuntime,
    CreateContainer,
    StartContainer,
}

/// Points at which child and parent wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The parent has put the child into its cgroup and written its id maps.
    HostReady,
    /// The parent has moved network devices of the host here.
    NetDevices,
    /// The parent has attached the network.
    Network,
    /// The parent runs hooks of this kind.
    Hooks(HookKind),
    /// The container is made; the parent commits.
    Ready,
    /// What was announced as made is recorded.
    Recorded,
    /// `start` has been called.
    Gate,
}

/// What the child does, inside what will be the container.
#[derive(Debug)]
pub(crate) enum InitAction {
    Wait(Barrier),
    /// Tells the parent that a barrier is reached, and goes on.
    Announce(Barrier),
    JoinCgroup {
        path: String,
    },
    NewSession,
    DieWithParent,
    JoinKeyring {
        name: CString,
    },
    JoinNamespaces {
        namespaces: Vec<JoinedNamespace>,
    },
    HideFromOthers,
    Fork,
    Unshare {
        flags: u64,
        names: Vec<&'static str>,
    },
    TimeOffsets {
        text: Vec<u8>,
        new_users: bool,
    },
    BecomeNamespaceRoot,
    Propagation {
        flags: u64,
        name: &'static str,
    },
    BindRoot(BoundRoot),
    OverlayRoot(OverlayRoot),
    PiecedRoot(PiecedRoot),
    Mount(MountPlan<FileSystem>),
    Bind(MountPlan<Bind>),
    SetAttributes {
        target: Target,
        set: u64,
        clear: u64,
    },
    Devices {
        devices: Vec<DeviceNode>,
    },
    Links {
        links: Vec<Link>,
    },
    Console {
        size: Option<(u16, u16)>,
        terminals: Target,
        target: Option<Target>,
        owner: u32,
    },
    StandardInput {
        file: OwnedFd,
    },
    /// The container's null device in the place of the host's, where that is a standard stream. `proc` is the host's procfs,
    /// where no path leads there any more.
    NullStreams {
        target: Target,
        proc: Option<OwnedFd>,
    },
    Mask {
        targets: Vec<Target>,
    },
    ReadOnlyPaths {
        targets: Vec<Target>,
    },
    PivotRoot,
    /// In the place of pivot_root: `visible` are the host's mounts of proc and sysfs, inner ones first.
    MoveRoot {
        visible: Vec<CString>,
    },
    /// In the place of pivot_root, in a mount namespace that is the caller's.
    ChangeRoot,
    /// In the place of pivot_root, for a mount namespace of others: a copy of the root goes to `place`, which lies in it.
    JoinMounts {
        namespace: JoinedNamespace,
        place: OwnedFd,
        rootfs: PathBuf,
    },
    /// Takes the root of a process in such a namespace.
    JoinRoot {
        root: OwnedFd,
    },
    RootAttributes {
        set: u64,
    },
    RootPropagation {
        flags: u64,
        name: String,
    },
    Sysctls {
        directory: Target,
        values: Vec<Sysctl>,
    },
    Hostname {
        name: CString,
    },
    Domainname {
        name: CString,
    },
    ConfigureNetwork(crate::plan::NetworkProgram),
    ResourceLimits {
        limits: Vec<(Resource, Rlimit, String)>,
    },
    Scheduler(sys::scheduling::Scheduling),
    IoPriority {
        class: u16,
        level: u16,
    },
    ResetCpuAffinity,
    FindHome {
        uid: u32,
    },
    CpuAffinity {
        cpus: Box<rustix::thread::CpuSet>,
        text: String,
    },
    Personality {
        persona: u64,
    },
    MemoryPolicy {
        mode: i32,
        nodes: Vec<u64>,
        text: String,
    },
    FindProgram {
        candidates: Vec<CString>,
        user: ProgramUser,
    },
    Umask {
        mask: u32,
    },
    WorkingDirectory {
        path: CString,
        missing: Option<MissingDirectory>,
    },
    BoundingSet {
        drop: Vec<u32>,
        kept: usize,
    },
    Credentials {
        uid: u32,
        gid: u32,
        groups: Option<Vec<u32>>,
    },
    Capabilities {
        effective: u64,
        permitted: u64,
        inheritable: u64,
        ambient: Vec<u32>,
    },
    NoNewPrivileges,
    OpenLabel {
        proc: OwnedFd,
        path: CString,
    },
    WriteLabel {
        label: CString,
    },
    Seccomp {
        instructions: Vec<Instruction>,
        flags: u32,
        listener: Option<Handover>,
    },
    CloseDescriptors {
        keep: u32,
    },
    Execute(Execution),
}

/// The program, and how it is executed.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) candidates: Vec<CString>,
    pub(crate) arguments: CStringArray,
    pub(crate) environment: CStringArray,
    pub(crate) init: Option<InitProgram>,
}

/// How the listener of a filter gets out of this process, where the filter may refuse or delay calls already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handover {
    /// The parent takes it by its number, as only a caller with privileges may.
    Number,
    /// It is sent along; the filter must not stand in the way of sendmsg(2).
    Descriptor,
}

/// An init of our own that stands between (see [`crate::reaper`]).
#[derive(Debug)]
pub(crate) struct InitProgram {
    /// The number under which it has the socket to the launcher.
    pub(crate) socket: u32,
    /// One for each of the program's paths.
    pub(crate) arguments: Vec<CStringArray>,
}

/// As whom a program will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProgramUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Further groups; `None` leaves those there are.
    pub(crate) groups: Option<Vec<u32>>,
}

/// A working directory to be made where there is none.
#[derive(Debug)]
pub(crate) struct MissingDirectory {
    pub(crate) target: Target,
    /// Whose it is then.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A namespace that exists already.
#[derive(Debug)]
pub(crate) struct JoinedNamespace {
    pub(crate) descriptor: OwnedFd,
    pub(crate) flag: u64,
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
}

/// A device node to make.
#[derive(Debug)]
pub(crate) struct DeviceNode {
    pub(crate) target: Target,
    /// Path on the host, for binding where nodes can't be made.
    pub(crate) host: CString,
    pub(crate) file_type: rustix::fs::FileType,
    pub(crate) device: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Bind the host's node: in a user namespace no node can be made.
    pub(crate) bind: bool,
}

/// A symbolic link to make.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) text: CString,
    pub(crate) target: Target,
}

/// A kernel parameter to set, by its path below `/proc/sys`.
#[derive(Debug)]
pub(crate) struct Sysctl {
    pub(crate) name: String,
    pub(crate) path: CString,
    pub(crate) value: Vec<u8>,
}

/// A mount with everything the child needs to make it.
#[derive(Debug)]
pub(crate) struct MountPlan<Kind> {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    /// Attributes of this mount.
    pub(crate) attributes: sys::mount::Attributes,
    /// Attributes of the whole tree below it.
    pub(crate) recursive: sys::mount::Attributes,
    /// Of [`sys::mount::propagation`], with `REC` where the tree is meant; 0 leaves it.
    pub(crate) propagation: u64,
}

/// A new instance of a file system.
#[derive(Debug)]
pub(crate) struct FileSystem {
    pub(crate) file_system: CString,
    pub(crate) source: CString,
    pub(crate) parameters: Vec<(CString, Option<CString>)>,
    /// `tmpcopyup`: it begins with a copy of what it covers.
    pub(crate) copy_up: Option<CopyUp>,
    /// Whether its root has the mode of the directory that it covers, if that was there.
    pub(crate) inherits_mode: bool,
    /// Whether it may be mounted only where no link leads: programs trust what they find at its path.
    pub(crate) on_ordinary: bool,
}

/// What a file system that begins as a copy takes over of the directory below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyUp {
    /// Its content, owner and mode.
    All,
    /// Its content; the options say owner or mode.
    Content,
}

/// Something of the host that appears inside as well.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) source: CString,
    pub(crate) recursive: bool,
    /// The number of the mount that the parent has made of it; without one init makes it.
    pub(crate) detached: Option<usize>,
    /// Device and inode of the source when it was planned: init must find no other.
    pub(crate) planned: Option<(u64, u64)>,
    /// A source among the container's own mounts: it is there only once they are.
    pub(crate) inside: Option<Inside>,
    pub(crate) writes: Writes,
}

/// A source that lies in the container's root.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) path: CString,
    /// How its owners are shown; the parent sees to that on demand.
    pub(crate) owners: Option<Owners>,
}

/// Where writes to a bind mount go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// To the source.
    Through,
    /// `tmpoverlay`: into a layer in memory that goes with the container. In a user namespace of its own, overlayfs
    /// may not use trusted.* attributes.
    ThrownAway { user_namespace: bool },
}

/// The root directory as it is.
#[derive(Debug)]
pub(crate) struct BoundRoot {
    pub(crate) path: CString,
    /// As for [`Bind`].
    pub(crate) detached: Option<usize>,
}

/// A mount that the parent makes before the clone, attached nowhere yet.
#[derive(Debug)]
pub(crate) struct DetachedMount {
    pub(crate) source: CString,
    /// The mount of the config whose source the plan has opened, if it is one of those.
    pub(crate) opened: Option<usize>,
    pub(crate) recursive: bool,
    /// What init makes of all the host's mounts, which this one would otherwise not be among.
    pub(crate) propagation: u64,
    /// How its owners are shown; `None` leaves them.
    pub(crate) owners: Option<Owners>,
    /// The mount namespace that it lies in, if another one; then it has been opened.
    pub(crate) foreign: Option<OwnedFd>,
}

/// A map of owners (`MOUNT_ATTR_IDMAP`) and whether it reaches the mounts below.
#[derive(Debug)]
pub(crate) struct Owners {
    pub(crate) map: OwnerMap,
    pub(crate) reach: sys::mount::Reach,
}

/// Where a map of owners comes from.
#[derive(Debug)]
pub(crate) enum OwnerMap {
    /// A short-lived user namespace is made with these.
    Lists(crate::plan::IdMaps),
    /// A user namespace that has it.
    Namespace(OwnedFd),
}

/// A throw-away overlay as root: one layer for the root itself and one for each submount of the lower tree.
#[derive(Debug)]
pub(crate) struct OverlayRoot {
    /// An existing empty directory; the child mounts a tmpfs there, in its own mount namespace.
    pub(crate) scratch: CString,
    pub(crate) lower: Lower,
    pub(crate) submounts: Vec<(Lower, Target)>,
    /// Its SELinux label.
    pub(crate) label: Option<CString>,
    /// `userxattr`: in a user namespace overlayfs may not use trusted.* attributes.
    pub(crate) user_namespace: bool,
}

/// A directory below an overlay.
#[derive(Debug)]
pub(crate) struct Lower {
    pub(crate) path: CString,
    /// As for [`Bind`].
    pub(crate) detached: Option<usize>,
}

impl OverlayRoot {
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("over `{}`", self.lower.path.to_string_lossy());
        for (lower, _) in &self.submounts {
            text.push_str(&format!(", `{}`", lower.path.to_string_lossy()));
        }
        text
    }
}

/// A root in memory that is put together from parts of a tree.
#[derive(Debug)]
pub(crate) struct PiecedRoot {
    /// Outer ones first.
    pub(crate) pieces: Vec<Piece>,
}

/// One part of such a root.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) kind: PieceKind,
    pub(crate) target: Target,
}

/// What stands there.
#[derive(Debug)]
pub(crate) enum PieceKind {
    /// An empty directory.
    Empty { mode: u32 },
    /// A symbolic link.
    Link { text: CString },
    /// A throw-away overlay over a directory of the host.
    Overlay { lower: CString },
    /// A file of the host, read-only.
    File { source: CString },
}

impl PiecedRoot {
    pub(crate) fn describe(&self) -> String {
        let lowers = self.pieces.iter().filter_map(|piece| match &piece.kind {
            PieceKind::Overlay { lower } => Some(format!("`{}`", lower.to_string_lossy())),
            _ => None,
        });
        format!("over {}", lowers.collect::<Vec<_>>().join(", "))
    }
}

/// What a target must be, and is made where it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// A place inside the container, relative to its root.
#[derive(Debug)]
pub(crate) struct Target {
    /// Without a leading slash; `.` is the root itself.
    pub(crate) path: CString,
    pub(crate) kind: TargetKind,
    /// Where the way to it begins, if not at the root (see `plan::anchor`).
    pub(crate) anchor: Option<Anchor>,
    /// Whether a link at its end that leads nowhere is covered, and not followed: what it stands for need not be made.
    pub(crate) covers_link: bool,
    /// Where the mount that is made here is kept, for what lies below it.
    pub(crate) kept_at: Option<usize>,
}

impl Target {
    /// The path from the root of the mount that the target lies in.
    pub(crate) fn path_from(&self, anchor: &Anchor) -> &CStr {
        let rest = self.path.to_bytes_with_nul().get(anchor.skipped..).unwrap_or_default();
        CStr::from_bytes_with_nul(rest).unwrap_or(c".")
    }
}

/// A mount that was made earlier, in which a target lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anchor {
    /// Where the mount is kept.
    pub(crate) slot: usize,
    /// How much of [`Target::path`] leads to it, with the slash after that.
    pub(crate) skipped: usize,
}

/// How many mounts can be kept.
pub(crate) const ANCHORS: usize = 32;

/// Sorts of steps, for whoever groups or colours them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Records, files of the container's own, and the waiting of one side for the other.
    Bookkeeping,
    /// Its cgroup.
    Cgroup,
    /// Namespaces and the process in them.
    Namespaces,
    /// The root, and what is mounted in it.
    FileSystems,
    /// Its network.
    Network,
    /// Attributes and limits of the process.
    Process,
    /// What it may do.
    Rights,
    /// Programs that run: hooks, and at last its own.
    Programs,
}

/// A step in words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepDescription {
    /// Its number, from 1.
    pub number: usize,
    /// `host` or `container`: which side of the clone runs it.
    pub side: &'static str,
    /// What sort of step it is.
    pub kind: StepKind,
    /// What it does, a verb first.
    pub name: String,
    /// What it does it to; may be empty.
    pub object: String,
    /// What asked for it, where something did: a path into config.json, or the caller's own word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// Why a container needs it, one sentence.
    pub why: &'static str,
}
