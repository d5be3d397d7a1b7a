//! The vocabulary: every step that makes a container, on either side of the clone, with the data it needs laid out.
//!
//! Nothing here runs anything; [`super::run`] runs the child's steps, [`crate::launch`] the parent's.

mod kind;
mod mounts;

use std::borrow::Cow;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit};
use sys::exec::CStringArray;
use sys::seccomp::Instruction;

pub use self::mounts::TargetKind;
pub(crate) use self::mounts::{
    ANCHORS, Anchor, Bind, BoundRoot, CopyUp, DetachedMount, FileSystem, Inside, Lower, MOST_LAYERS,
    MountPlan, Opened, OverlayRoot, OwnerMap, Owners, Piece, PieceKind, PiecedRoot, PlannedFile, Rights,
    Target, Writes,
};
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
    ReserveState {
        directory: PathBuf,
    },
    WriteFiles {
        names: String,
    },
    Prepare {
        name: &'static str,
        object: String,
        why: &'static str,
    },
    DetachMount(DetachedMount),
    /// Where a child can be cloned into it, as long as the rest is missing.
    CreateUnifiedCgroup {
        path: String,
    },
    CreateCgroup {
        path: String,
    },
    ApplyLimits {
        description: String,
    },
    DelegateCgroup {
        user: u32,
    },
    MakeRdtGroup {
        group: String,
        lines: Vec<String>,
    },
    OpenGate,
    Clone {
        namespaces: Vec<&'static str>,
        into_cgroup: bool,
    },
    WriteIdMaps {
        maps: crate::plan::IdMaps,
    },
    SetOomScore {
        value: i32,
    },
    AttachNetwork {
        object: String,
    },
    PublishPorts {
        object: String,
    },
    MoveNetDevices {
        names: String,
    },
    RunHooks {
        kind: HookKind,
        hooks: Vec<Hook>,
    },
    JoinRdtGroup {
        group: String,
    },
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
    /// Puts the record that the parent has drafted in the place of the one of a container in the making.
    PublishRecord,
    /// Takes from the parent the files through which this process moves itself into its cgroup.
    ReceiveCgroup,
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
    /// Before this process is in its cgroup.
    UnshareMeanwhile {
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
    /// Files in memory, for this container alone.
    MemoryFiles {
        files: Vec<PlannedFile>,
        /// The SELinux label of their file system.
        label: Option<CString>,
    },
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
    /// Streams in the place of the caller's: `output` is that of errors, too.
    Streams {
        input: OwnedFd,
        output: Option<OwnedFd>,
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
        /// Overlays in the root, each a mount of its own: they change with it.
        layers: Vec<CString>,
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
    /// Raises the hard limits and leaves the soft ones, so that a refusal is told by `create`.
    HardLimits {
        limits: Vec<(Resource, Rlimit, String)>,
    },
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
        /// It, where it is to be made if there is none.
        made: Option<Target>,
        /// Who enters what is closed to the container's root.
        user: ProgramUser,
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
    pub(crate) arguments: CStringArray,
    /// One for each of the program's paths.
    pub(crate) environments: Vec<CStringArray>,
}

/// As whom a program will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProgramUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Further groups; `None` leaves those there are.
    pub(crate) groups: Option<Vec<u32>>,
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

/// Sorts of steps, for whoever groups or colours them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// Which side of the clone runs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The parent, outside of the container.
    Host,
    /// The child, inside.
    Container,
}

impl std::fmt::Display for Side {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Side::Host => "host",
            Side::Container => "container",
        })
    }
}

/// A step in words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepDescription {
    /// Its number, from 1.
    pub number: usize,
    /// Which side of the clone runs it.
    pub side: Side,
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
    pub why: Cow<'static, str>,
}
