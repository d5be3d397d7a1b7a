//! What stands at a path of a container, seen from the host: through the mounts that the container's steps make over its
//! root. Must not open anything for use but regular files, nor follow a path out of what is mounted.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;
use sys::mount::{Attributes, Reach, attribute};

use crate::init::step::{
    Action, CopyUp, FileSystem, HostAction, InitAction, Lower, MountPlan, OwnerMap, Owners, PieceKind, Step,
    Target, Writes,
};
use crate::layers::Layers;

/// `FUSE_SUPER_MAGIC` (statfs(2)).
const FUSE: u64 = 0x6573_5546;

/// A container's tree of mounts, in the order in which they are made.
#[derive(Debug, Default)]
pub(crate) struct Mounted<'a> {
    layers: Vec<Layer<'a>>,
}

/// One mount, or something else that a step puts in the place of what was there.
#[derive(Debug)]
struct Layer<'a> {
    /// A way without links.
    at: Vec<OsString>,
    content: Content<'a>,
    /// Attributes of this mount.
    top: Attributes,
    /// Attributes of the whole tree below it.
    tree: Attributes,
}

#[derive(Debug)]
enum Content<'a> {
    Host(HostTree<'a>),
    /// A place among the layers before it.
    Inside {
        way: Vec<OsString>,
        recursive: bool,
    },
    /// A tmpfs: what is known of its root, and whether it begins with what it covers.
    Memory {
        mode: u32,
        owner: Owner<'a>,
        copied: bool,
    },
    /// A file system of which only the kernel knows the content.
    Kernel {
        name: String,
    },
    Link {
        text: Vec<u8>,
    },
    Device,
    Masked,
}

/// A directory or file of the host.
#[derive(Debug)]
struct HostTree<'a> {
    source: PathBuf,
    opened: Option<Layers>,
    /// Whether what is mounted below the source shows as well.
    recursive: bool,
    owners: Option<&'a OwnerMap>,
    /// Whether an overlay lies over it.
    layered: bool,
    name: HostName,
}

/// What a tree of the host is to the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostName {
    Root,
    /// The root of a container that runs, with all that is mounted in it.
    Running,
    Bind,
}

/// Something at the end of a way.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) owner: Owner<'a>,
    pub(crate) no_exec: Option<NoExec>,
    pub(crate) place: Place,
    file: Option<OwnedFd>,
    link: Vec<u8>,
}

/// Whose something is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner<'a> {
    /// Of the caller's ids; a map may show others.
    OnDisk { uid: u32, gid: u32, map: Option<&'a OwnerMap> },
    /// Of the container's own ids.
    Inside { uid: u32, gid: u32 },
}

/// Who has mounted something without the right to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoExec {
    Asked,
    Hosts,
}

/// Where something can be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Root,
    Running,
    /// By its path on the host.
    Host(PathBuf),
    /// The root of a tmpfs.
    Memory,
    Made,
}

/// Where a walk ends.
#[derive(Debug)]
pub(crate) enum End<'a, T> {
    Found(Vec<OsString>, Seen<'a>),
    /// Nothing is there.
    Missing(Vec<OsString>),
    /// It can't be looked at from here.
    Unseen(Vec<OsString>),
    Stopped(T),
}

enum Look<'a> {
    Seen(Seen<'a>),
    Missing,
    Unseen,
}

impl<'a> Mounted<'a> {
    /// The tree that `steps` make; steps that make no root are those of a program in the container whose root this is.
    pub(crate) fn of(steps: &'a [Step], rootfs: &Path) -> Mounted<'a> {
        let mut mounted = Mounted::default();
        for step in steps {
            if let Action::Init(action) = &step.action {
                mounted.add(steps, action);
            }
        }
        if mounted.layers.is_empty() {
            mounted.push(Vec::new(), Content::Host(HostTree::root(rootfs, HostName::Running)));
        }
        mounted
    }

    /// Adds what one action of `steps` mounts to all before it.
    pub(crate) fn add(&mut self, steps: &'a [Step], action: &'a InitAction) {
        match action {
            InitAction::BindRoot(root) => {
                let tree = HostTree::root(&host_path(&root.path), HostName::Root);
                self.push(Vec::new(), Content::Host(tree.shown(owners(steps, root.detached))));
            }
            InitAction::OverlayRoot(root) => {
                // An overlay shows one file system alone; of those below, some have one of their own.
                let below = |lowers: &[Lower]| {
                    let tree = HostTree::layered(lowers);
                    let tree = tree.shown(owners(steps, lowers.first().and_then(|lower| lower.detached)));
                    Content::Host(HostTree { layered: true, recursive: false, ..tree })
                };
                self.push(Vec::new(), below(&root.lowers));
                for (lower, target) in &root.submounts {
                    self.push(names_forward(target.path.to_bytes()), below(std::slice::from_ref(lower)));
                }
            }
            InitAction::PiecedRoot(root) => {
                self.push(Vec::new(), empty(0o755));
                for piece in &root.pieces {
                    let content = match &piece.kind {
                        PieceKind::Empty { mode } => empty(*mode),
                        PieceKind::Link { text } => Content::Link { text: text.to_bytes().to_owned() },
                        PieceKind::Overlay { lower } => {
                            let tree = HostTree::root(&host_path(lower), HostName::Root);
                            Content::Host(HostTree { layered: true, recursive: false, ..tree })
                        }
                        PieceKind::File { source } => {
                            Content::Host(HostTree::root(&host_path(source), HostName::Root))
                        }
                    };
                    self.push(names_forward(piece.target.path.to_bytes()), content);
                }
            }
            InitAction::Mount(mount) => {
                let at = self.place_of(&mount.target);
                let content = self.file_system(&mount.kind, &at);
                self.layers.push(Layer { at, content, top: mount.attributes, tree: mount.recursive });
            }
            InitAction::Bind(mount) => {
                let at = self.place_of(&mount.target);
                let bind = &mount.kind;
                let content = match &bind.inside {
                    Some(inside) => Content::Inside {
                        way: self.end_of(inside.path.to_bytes()),
                        recursive: bind.recursive,
                    },
                    None => Content::Host(HostTree::bound(mount, owners(steps, bind.detached))),
                };
                self.layers.push(Layer { at, content, top: mount.attributes, tree: mount.recursive });
            }
            InitAction::SetAttributes { target, set, clear } => {
                let at = self.place_of(target);
                if let Some(layer) = self.layers.iter_mut().rev().find(|layer| layer.at == at) {
                    layer.top.set = layer.top.set & !clear | set;
                    layer.top.clear = layer.top.clear & !set | clear;
                }
            }
            InitAction::Devices { devices } => {
                devices.iter().for_each(|device| self.put(&device.target, Content::Device));
            }
            InitAction::Console { target: Some(target), .. } => self.put(target, Content::Device),
            InitAction::Links { links } => {
                for link in links {
                    let at = names_forward(link.target.path.to_bytes());
                    if matches!(self.look(&at, self.layers.len()), Look::Missing) {
                        self.push(at, Content::Link { text: link.text.to_bytes().to_owned() });
                    }
                }
            }
            InitAction::Mask { targets } => {
                for target in targets {
                    let at = self.place_of(target);
                    if !matches!(self.look(&at, self.layers.len()), Look::Missing) {
                        self.push(at, Content::Masked);
                    }
                }
            }
            _ => {}
        }
    }

    fn push(&mut self, at: Vec<OsString>, content: Content<'a>) {
        let (top, tree) = (Attributes::default(), Attributes::default());
        self.layers.push(Layer { at, content, top, tree });
    }

    fn put(&mut self, target: &Target, content: Content<'a>) {
        let at = self.place_of(target);
        self.push(at, content);
    }

    fn file_system(&self, kind: &FileSystem, at: &[OsString]) -> Content<'a> {
        if kind.file_system.as_c_str() != c"tmpfs" {
            return Content::Kernel { name: kind.file_system.to_string_lossy().into_owned() };
        }
        let number = |name: &std::ffi::CStr, radix: u32| {
            let (_, value) = kind.parameters.iter().rev().find(|(key, _)| key.as_c_str() == name)?;
            u32::from_str_radix(value.as_ref()?.to_str().ok()?, radix).ok()
        };
        let covered = match self.look(at, self.layers.len()) {
            Look::Seen(seen) => Some(seen),
            _ => None,
        };
        let inherited = covered.as_ref().filter(|_| kind.inherits_mode).map(|seen| seen.mode);
        let owner = match covered {
            Some(seen) if kind.copy_up == Some(CopyUp::All) => seen.owner,
            _ => Owner::Inside { uid: number(c"uid", 10).unwrap_or(0), gid: number(c"gid", 10).unwrap_or(0) },
        };
        let mode = number(c"mode", 8).or(inherited).unwrap_or(0o1777);
        Content::Memory { mode, owner, copied: kind.copy_up.is_some() }
    }

    /// Where init finds or makes a target.
    fn place_of(&self, target: &Target) -> Vec<OsString> {
        let literal = || names_forward(target.path.to_bytes());
        match self.walk::<()>(target.path.to_bytes(), |_, _| None) {
            End::Missing(_) if target.covers_link => literal(),
            End::Found(way, _) | End::Missing(way) | End::Unseen(way) => way,
            End::Stopped(()) => literal(),
        }
    }

    fn end_of(&self, path: &[u8]) -> Vec<OsString> {
        match self.walk::<()>(path, |_, _| None) {
            End::Found(way, _) | End::Missing(way) | End::Unseen(way) => way,
            End::Stopped(()) => names_forward(path),
        }
    }

    /// Walks a path as the kernel does, one name after the other, links inside the root. Each directory on the way is
    /// shown to `enter`, which may end the walk there.
    pub(crate) fn walk<T>(
        &self,
        path: &[u8],
        mut enter: impl FnMut(&[OsString], &Seen<'a>) -> Option<T>,
    ) -> End<'a, T> {
        let mut left = names(path);
        let mut way: Vec<OsString> = Vec::new();
        let mut links = 0;
        // What no name follows any more is only shown as the end.
        let ended = |mut way: Vec<OsString>, left: Vec<OsString>| {
            way.extend(left.into_iter().rev());
            way
        };
        loop {
            let seen = match self.look(&way, self.layers.len()) {
                Look::Seen(seen) => seen,
                Look::Missing => return End::Missing(ended(way, left)),
                Look::Unseen => return End::Unseen(ended(way, left)),
            };
            if seen.kind.is_symlink() {
                links += 1;
                if links > 40 {
                    return End::Unseen(ended(way, left));
                }
                way.pop();
                if seen.link.starts_with(b"/") {
                    way.clear();
                }
                left.extend(names(&seen.link));
                continue;
            }
            if left.is_empty() {
                return End::Found(way, seen);
            }
            if !seen.kind.is_dir() {
                return End::Missing(ended(way, left));
            }
            if let Some(stopped) = enter(&way, &seen) {
                return End::Stopped(stopped);
            }
            match left.pop() {
                Some(name) if name == ".." => drop(way.pop()),
                Some(name) => way.push(name),
                None => {}
            }
        }
    }

    /// What of the container's own mounts a way leads to, in words; nothing where that is the root itself.
    pub(crate) fn lies_on(&self, way: &[OsString]) -> Option<String> {
        let layer = &self.layers[self.covering(way, self.layers.len())?];
        let at = shown(&layer.at);
        match &layer.content {
            Content::Host(tree) => match tree.name {
                HostName::Bind => {
                    let source = tree.source.to_string_lossy().escape_debug().to_string();
                    Some(format!("`{at}`, where the host's `{source}` is mounted"))
                }
                HostName::Root | HostName::Running => None,
            },
            Content::Inside { way, .. } => Some(format!("`{at}`, where `{}` is mounted", shown(way))),
            Content::Memory { .. } if layer.at.is_empty() => None,
            Content::Memory { .. } => Some(format!("`{at}`, where a tmpfs is mounted")),
            Content::Kernel { name } => {
                Some(format!("`{at}`, where a file system `{}` is mounted", name.escape_debug()))
            }
            Content::Masked => Some(format!("`{at}`, which is masked")),
            Content::Link { .. } | Content::Device => None,
        }
    }

    /// The place of the mount that a way leads to.
    pub(crate) fn mount_point(&self, way: &[OsString]) -> String {
        let at = self.covering(way, self.layers.len()).map(|index| self.layers[index].at.as_slice());
        shown(at.unwrap_or_default())
    }

    /// Whether the container's own mount there was asked for without the right to execute.
    pub(crate) fn is_no_exec(&self, way: &[OsString]) -> bool {
        let layer = self.covering(way, self.layers.len()).map(|index| &self.layers[index]);
        layer.is_some_and(|layer| (layer.top.set | layer.tree.set) & attribute::NOEXEC != 0)
    }

    /// The latest one that has the way in it: it lies over all before.
    fn covering(&self, way: &[OsString], before: usize) -> Option<usize> {
        self.layers[..before].iter().rposition(|layer| way.starts_with(&layer.at))
    }

    fn look(&self, way: &[OsString], before: usize) -> Look<'a> {
        let Some(index) = self.covering(way, before) else { return Look::Unseen };
        let layer = &self.layers[index];
        let rest = &way[layer.at.len()..];
        let asked = (layer.top.set | layer.tree.set) & attribute::NOEXEC != 0;
        let no_exec = asked.then_some(NoExec::Asked);
        let found = match &layer.content {
            Content::Host(tree) => tree.look(layer, rest),
            Content::Inside { way: source, recursive } => {
                let from = [source.as_slice(), rest].concat();
                match self.covering(&from, index) == self.covering(source, index) || *recursive {
                    // A copy of that mount, with what was asked for on top.
                    true => {
                        let kept = (layer.top.clear | layer.tree.clear) & attribute::NOEXEC == 0;
                        changed(self.look(&from, index), |own| no_exec.or(own.filter(|_| kept)))
                    }
                    false => Look::Unseen,
                }
            }
            Content::Memory { mode, owner, .. } if rest.is_empty() => {
                let (kind, place) = (FileType::Directory, Place::Memory);
                Look::Seen(Seen { no_exec, place, ..made(kind, *mode, *owner) })
            }
            // Copied into another mount.
            Content::Memory { copied: true, .. } => changed(self.look(way, index), |_| no_exec),
            Content::Link { text } if rest.is_empty() => {
                let link = made(FileType::Symlink, 0o777, Owner::Inside { uid: 0, gid: 0 });
                Look::Seen(Seen { link: text.clone(), ..link })
            }
            Content::Device if rest.is_empty() => {
                Look::Seen(made(FileType::CharacterDevice, 0o666, Owner::Inside { uid: 0, gid: 0 }))
            }
            Content::Memory { .. } | Content::Link { .. } | Content::Device => Look::Missing,
            Content::Kernel { .. } | Content::Masked => Look::Unseen,
        };
        let leads_to_later = || self.layers[index + 1..before].iter().any(|later| later.at.starts_with(way));
        match found {
            // Init makes what is missing above a mount point.
            Look::Missing if leads_to_later() => {
                Look::Seen(made(FileType::Directory, 0o755, Owner::Inside { uid: 0, gid: 0 }))
            }
            other => other,
        }
    }
}

impl<'a> HostTree<'a> {
    fn root(path: &Path, name: HostName) -> HostTree<'a> {
        let opened = open_path(path).map(Layers::of);
        HostTree { source: path.to_owned(), opened, recursive: true, owners: None, layered: false, name }
    }

    /// Directories that an overlay shows as one root, the topmost first.
    fn layered(lowers: &[Lower]) -> HostTree<'a> {
        let paths: Vec<PathBuf> = lowers.iter().map(|lower| host_path(&lower.path)).collect();
        let source = paths.first().cloned().unwrap_or_default();
        let opened = Layers::open(paths.iter().map(PathBuf::as_path)).ok();
        HostTree { source, opened, recursive: false, owners: None, layered: true, name: HostName::Root }
    }

    fn bound(mount: &MountPlan<crate::init::step::Bind>, owners: Option<&'a Owners>) -> HostTree<'a> {
        let bind = &mount.kind;
        let source = host_path(&bind.source);
        let opened = match crate::foreign::open(&source) {
            Ok(Some((opened, _))) => Some(opened),
            _ => open_path(&source),
        };
        let identity =
            |file: &OwnedFd| rustix::fs::fstat(file).ok().map(|found| (found.st_dev, found.st_ino));
        let opened = opened.filter(|file| bind.planned.is_none_or(|planned| identity(file) == Some(planned)));
        let layered = bind.writes != Writes::Through;
        // An overlay shows one file system alone.
        let recursive = bind.recursive && !layered;
        let opened = opened.map(Layers::of);
        let tree = HostTree { source, opened, recursive, owners: None, layered, name: HostName::Bind };
        tree.shown(owners)
    }

    /// The same with its owners shown by a map.
    fn shown(self, owners: Option<&'a Owners>) -> HostTree<'a> {
        let recursive = self.recursive && owners.is_none_or(|owners| owners.reach == Reach::Tree);
        HostTree { owners: owners.map(|owners| &owners.map), recursive, ..self }
    }

    fn look(&self, layer: &Layer<'_>, rest: &[OsString]) -> Look<'a> {
        let Some(opened) = &self.opened else { return Look::Unseen };
        let resolve = if self.recursive { ResolveFlags::empty() } else { ResolveFlags::NO_XDEV };
        let file = match opened.open_way(rest, resolve) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Look::Missing,
            Err(_) => return Look::Unseen,
        };
        let Ok(status) = rustix::fs::fstat(&file) else { return Look::Unseen };
        let kind = FileType::from_raw_mode(status.st_mode);
        let link = match kind {
            FileType::Symlink => rustix::fs::readlinkat(&file, c"", Vec::new()).map(|text| text.into_bytes()),
            _ => Ok(Vec::new()),
        };
        let Ok(link) = link else { return Look::Unseen };
        let on_top = mount_id(opened.top()) == mount_id(file.as_fd());
        let (set, clear) = match on_top {
            true => (layer.top.set | layer.tree.set, layer.top.clear | layer.tree.clear),
            false => (layer.tree.set, layer.tree.clear),
        };
        let hosts = || {
            !self.layered
                && clear & attribute::NOEXEC == 0
                && rustix::fs::fstatvfs(&file)
                    .is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
        };
        let no_exec = match set & attribute::NOEXEC != 0 {
            true => Some(NoExec::Asked),
            false => hosts().then_some(NoExec::Hosts),
        };
        let place = match self.name {
            HostName::Root => Place::Root,
            HostName::Running => Place::Running,
            HostName::Bind => Place::Host(
                [self.source.as_os_str()].into_iter().chain(rest.iter().map(OsString::as_os_str)).collect(),
            ),
        };
        Look::Seen(Seen {
            kind,
            mode: status.st_mode & 0o7777,
            owner: Owner::OnDisk { uid: status.st_uid, gid: status.st_gid, map: self.owners },
            no_exec,
            place,
            file: Some(file),
            link,
        })
    }
}

impl Seen<'_> {
    /// Opens a regular file for reading. Anything else stays closed: opening a device of the image's choice is an act, and
    /// this process is no container.
    pub(crate) fn read(&self) -> Option<File> {
        let file = self.file.as_ref().filter(|_| self.kind.is_file())?;
        // Whoever serves a file system of its own may never answer.
        rustix::fs::fstatfs(file).ok().filter(|found| found.f_type as u64 != FUSE)?;
        // A program has a size. Files of procfs and tracefs have none, and to read some of them takes from others.
        rustix::fs::fstat(file).ok().filter(|found| found.st_size > 0)?;
        // Some files of the kernel's wait for what there is to read.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::openat(CWD, path, flags, Mode::empty()).ok().map(File::from)
    }
}

fn made(kind: FileType, mode: u32, owner: Owner<'_>) -> Seen<'_> {
    Seen { kind, mode, owner, no_exec: None, place: Place::Made, file: None, link: Vec::new() }
}

fn empty<'a>(mode: u32) -> Content<'a> {
    Content::Memory { mode, owner: Owner::Inside { uid: 0, gid: 0 }, copied: false }
}

/// What is shown through another mount, which changes who forbids to execute.
fn changed<'a>(look: Look<'a>, change: impl FnOnce(Option<NoExec>) -> Option<NoExec>) -> Look<'a> {
    match look {
        Look::Seen(seen) => Look::Seen(Seen { no_exec: change(seen.no_exec), ..seen }),
        other => other,
    }
}

fn owners(steps: &[Step], detached: Option<usize>) -> Option<&Owners> {
    let mut mounts = steps.iter().filter_map(|step| match &step.action {
        Action::Host(HostAction::DetachMount(mount)) => Some(mount),
        _ => None,
    });
    mounts.nth(detached?)?.owners.as_ref()
}

fn host_path(path: &std::ffi::CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path.to_bytes()))
}

fn open_path(path: &Path) -> Option<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn mount_id(file: BorrowedFd<'_>) -> Option<u64> {
    let found = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    Some(found.stx_mnt_id)
}

/// The names of a path, the last one first.
fn names(path: &[u8]) -> Vec<OsString> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(|part| OsStr::from_bytes(part).to_owned()).collect()
}

/// The same, the first one first.
pub(crate) fn names_forward(path: &[u8]) -> Vec<OsString> {
    let mut names = names(path);
    names.reverse();
    names
}

/// A way as a path. It may come from an image: it must not steer the terminal of whoever reads it.
pub(crate) fn shown(way: &[OsString]) -> String {
    let path: PathBuf = std::iter::once(OsString::from("/")).chain(way.iter().cloned()).collect();
    path.to_string_lossy().escape_debug().to_string()
}
