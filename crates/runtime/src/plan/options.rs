//! What a container's plan needs to know beside config.json.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Error;
use crate::id::ContainerId;
use crate::root_directory::RootDirectory;

/// Requests that init sends from within the container's network namespace.
#[derive(Debug, Clone, Default)]
pub struct NetworkProgram {
    /// rtnetlink requests, one after the other, each asking for an acknowledgement.
    pub messages: Vec<u8>,
    /// How many there are.
    pub count: usize,
    /// What they do, in a few words.
    pub description: String,
    /// What each does, in order.
    pub items: Vec<String>,
}

/// When the container's program begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// As soon as the container is made (`run`).
    #[default]
    Immediately,
    /// When somebody calls `start` (`create`).
    AtGate,
}

/// Who makes the container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupManager {
    /// We do, by its files.
    #[default]
    Files,
    /// systemd does, as a scope: `linux.cgroupsPath` is `SLICE:PREFIX:NAME`.
    Systemd,
    /// Nobody: it stays in its caller's, and no cgroup is looked at.
    Disabled,
}

/// Whether the container outlives whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// It lives on its own.
    #[default]
    Own,
    /// It dies with the thread that launched it.
    Launcher,
}

/// What stands at the container's root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RootSource {
    /// The directory that config.json names, written to directly.
    #[default]
    Directory,
    /// That directory below a throw-away overlay.
    Overlay {
        /// Directories below that one, which shows over them: the layers of an image, from the second on.
        below: Vec<PathBuf>,
        /// An existing empty directory of the caller's, used inside the container's mount namespace only.
        scratch: PathBuf,
        /// An existing directory that the upper directories stay in, `u0` the root's; without one they are in memory and go with
        /// the container.
        kept: Option<PathBuf>,
        /// Mounts of the lower tree that get overlays of their own, as absolute paths of the host.
        submounts: Vec<PathBuf>,
    },
    /// An empty root in memory with these pieces, outer ones first: a tree with mounts in it, without root. Pieces that
    /// the caller may not look at are left out.
    Pieces(Vec<RootPiece>),
}

/// How the root becomes the container's `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootChange {
    /// By pivot_root(2), which cuts the host's tree off.
    #[default]
    Pivot,
    /// By moving it onto `/` and chroot(2), as a ramdisk can't be pivoted away from. The host's tree stays below.
    Move,
}

/// Whose the files of the root look in a user namespace of the container's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootOwners {
    /// Their owners on disk: then those must lie in the namespace's range.
    #[default]
    AsOnDisk,
    /// Shown shifted through the namespace's map: root's files are files of the container's root, and what it writes
    /// is root's on disk. Without such a namespace, as on disk.
    Shifted,
}

/// How far bind mounts of config.json differ from what the host has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BindRules {
    /// Flags of the host's mount that no option names stay, and `shared` must be able to reach the host.
    #[default]
    Strict,
    /// As callers of OCI runtimes know it from mount(8) and runc: once an option names any flag, those of the host's
    /// mount that none names are cleared, but for a user namespace of the container's own; there, `shared` makes a group
    /// of peers that has none on the host.
    Customary,
}

/// One part of a root that is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPiece {
    /// Its absolute path, on the host as inside.
    pub path: PathBuf,
    /// What stands there.
    pub kind: RootPieceKind,
}

/// What stands at one place of a root that is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootPieceKind {
    /// An empty directory of this mode.
    Empty(u32),
    /// A symbolic link with this text.
    Link(String),
    /// The host's directory, which has no other mounts in it, below a throw-away overlay.
    Overlay,
    /// The host's file, read-only.
    File,
}

/// Something the caller does on the host before the clone, shown in the timeline with the rest.
#[derive(Debug, Clone)]
pub struct Preparation {
    /// A verb phrase.
    pub name: &'static str,
    /// What it is done to.
    pub object: String,
    /// Why a container needs it.
    pub why: &'static str,
    /// The path into config.json that asked for it.
    pub asked_by: Option<String>,
}

/// A file that is written for this container alone and bound into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// Its name in the state directory.
    pub name: &'static str,
    /// Where it appears inside.
    pub destination: &'static str,
    /// What is in it.
    pub content: String,
}

/// A file that is in memory for this container alone. It is on no disk, and what is in it is in no message.
#[derive(Clone, PartialEq, Eq)]
pub struct MemoryFile {
    /// Where it appears inside: an absolute path.
    pub destination: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// Its user, as the container counts.
    pub uid: u32,
    /// Its group, likewise.
    pub gid: u32,
    /// Its mode bits.
    pub mode: u32,
    /// What asked for it.
    pub asked_by: String,
}

impl std::fmt::Debug for MemoryFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MemoryFile { destination, content: _, uid, gid, mode, asked_by: _ } = self;
        let mut shown = formatter.debug_struct("MemoryFile");
        shown.field("destination", destination).field("uid", uid).field("gid", gid).field("mode", mode);
        shown.finish_non_exhaustive()
    }
}

/// What becomes of HOME where config.json has none, or an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingHome {
    /// It is the one that the container's /etc/passwd has, as with runc.
    #[default]
    Sought,
    /// There is none: somebody has asked for that.
    LeftOut,
}

/// What config.json does not say.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// The container's name.
    pub id: ContainerId,
    /// Where relative paths of config.json begin.
    pub bundle: PathBuf,
    /// The configuration, relative to the bundle, where it is not config.json.
    pub config: Option<PathBuf>,
    /// Where the state will be kept; shown only.
    pub state_directory: PathBuf,
    /// When the program begins.
    pub start: Start,
    /// How long it may live.
    pub lifetime: Lifetime,
    /// What stands at the root.
    pub root: RootSource,
    /// The directory that config.json names as the root, where the caller has opened it; else that is done here.
    pub root_directory: Option<RootDirectory>,
    /// Sources of bind mounts that are not there and will be directories, made before the start. Such a plan is only to be shown.
    pub made_later: Vec<PathBuf>,
    /// How it becomes `/`.
    pub root_change: RootChange,
    /// Whose its files look.
    pub root_owners: RootOwners,
    /// How far bind mounts differ from the host's.
    pub bind_rules: BindRules,
    /// What the caller does before the clone, in this order.
    pub preparations: Vec<Preparation>,
    /// What the caller attaches while init mounts; shown.
    pub attachment: Option<String>,
    /// Which ports the caller publishes after that; shown.
    pub publication: Option<String>,
    /// What init configures inside.
    pub network: Option<NetworkProgram>,
    /// Files of the container's own, such as /etc/hosts.
    pub files: Vec<OwnFile>,
    /// Files in memory, such as secrets.
    pub memory_files: Vec<MemoryFile>,
    /// Who makes its cgroup.
    pub cgroup_manager: CgroupManager,
    /// The name of its cgroup where config.json has no path; else the container's.
    pub cgroup_name: Option<String>,
    /// Whether the program gets a session keyring of its own.
    pub new_keyring: bool,
    /// How many descriptors from 3 on the program inherits.
    pub kept_descriptors: u32,
    /// What runs first.
    pub first: FirstProcess,
    /// What becomes of HOME where config.json has none.
    pub missing_home: MissingHome,
    /// The host name where config.json has none.
    pub hostname_default: Option<String>,
    /// What the caller's person said, by the field of the config that it became: shown in place of the field.
    pub origins: BTreeMap<String, String>,
}

/// What a container's first process is. For all but the program, the launching program must call [`crate::reaper::run`] when it is
/// executed as [`crate::reaper::NAME`], and [`crate::reaper::hold`] when as [`crate::reaper::HOLDER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstProcess {
    /// The container's program.
    #[default]
    Program,
    /// An init of our own, with the program as its child.
    Init,
    /// One of our own that only keeps the namespaces for others; there is no program, and none is looked for.
    Holder,
}

impl PlanOptions {
    /// The usual.
    pub fn new(id: ContainerId, bundle: PathBuf, state_directory: PathBuf) -> PlanOptions {
        PlanOptions {
            id,
            bundle,
            config: None,
            state_directory,
            start: Start::Immediately,
            lifetime: Lifetime::Own,
            root: RootSource::Directory,
            root_directory: None,
            made_later: Vec::new(),
            root_change: RootChange::Pivot,
            root_owners: RootOwners::AsOnDisk,
            bind_rules: BindRules::Strict,
            preparations: Vec::new(),
            attachment: None,
            publication: None,
            network: None,
            files: Vec::new(),
            memory_files: Vec::new(),
            cgroup_manager: CgroupManager::default(),
            cgroup_name: None,
            new_keyring: true,
            kept_descriptors: 0,
            first: FirstProcess::Program,
            missing_home: MissingHome::Sought,
            hostname_default: None,
            origins: BTreeMap::new(),
        }
    }

    /// Puts the caller's word in the place of a field in front of an error.
    pub(super) fn name_origin(&self, mut error: Error) -> Error {
        let (field, rest) = match error.operation.split_once(": ") {
            Some((field, rest)) => (field, format!(": {rest}")),
            None => (error.operation.as_str(), String::new()),
        };
        // `mounts[3].source` came of whatever `mounts[3]` came of.
        let entry = field.split_once("].").map_or(field, |(entry, _)| &field[..=entry.len()]);
        if let Some(origin) = self.origins.get(field).or_else(|| self.origins.get(entry)) {
            error.operation = format!("{origin}{rest}");
        }
        error
    }
}
