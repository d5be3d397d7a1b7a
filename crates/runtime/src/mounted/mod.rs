//! What stands at a path of a container, seen from the host: through the mounts that the container's steps make over its
//! root. Must not open anything for use but regular files, nor follow a path out of what is mounted.

mod host_tree;
mod seen;
mod walk;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sys::mount::Attributes;

use self::host_tree::{HostName, HostTree};
pub(crate) use self::seen::{NoExec, Owner, Place, Seen};
use self::walk::Look;
pub(crate) use self::walk::{End, names_forward, shown};
use crate::init::step::{
    Action, CopyUp, FileSystem, HostAction, InitAction, Lower, Owners, PieceKind, Step, Target,
};

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
                // Of the file systems below, some have an overlay of their own.
                let below = |lowers: &[Lower]| {
                    let tree = HostTree::layered(lowers);
                    let tree = tree.shown(owners(steps, lowers.first().and_then(|lower| lower.detached)));
                    Content::Host(tree.below_overlay())
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
                            Content::Host(tree.below_overlay())
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
            InitAction::MemoryFiles { files, .. } => {
                files.iter().for_each(|file| self.put(&file.target, Content::Device));
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
}

fn empty<'a>(mode: u32) -> Content<'a> {
    Content::Memory { mode, owner: Owner::Inside { uid: 0, gid: 0 }, copied: false }
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
