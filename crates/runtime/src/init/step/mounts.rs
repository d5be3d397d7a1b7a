//! The vocabulary of mounts: what is mounted where, and how it is shown.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

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
    /// `tmpoverlay`: into a layer in memory that goes with the container.
    ThrownAway(Rights),
}

/// With whose rights an overlay is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Those of the host's root.
    Host,
    /// Those of root of a user namespace: overlayfs may not use trusted.* attributes (`userxattr`), and files may belong to
    /// somebody whom the namespace does not know.
    UserNamespace,
}

/// The root directory as it is.
#[derive(Debug)]
pub(crate) struct BoundRoot {
    pub(crate) path: CString,
    /// Device and inode of the directory that was planned: init must find no other.
    pub(crate) planned: (u64, u64),
    /// As for [`Bind`].
    pub(crate) detached: Option<usize>,
}

/// A mount that the parent makes before the clone, attached nowhere yet.
#[derive(Debug)]
pub(crate) struct DetachedMount {
    pub(crate) source: CString,
    /// What the plan has opened of it, if it has.
    pub(crate) opened: Option<Opened>,
    pub(crate) recursive: bool,
    /// What init makes of all the host's mounts, which this one would otherwise not be among.
    pub(crate) propagation: u64,
    /// How its owners are shown; `None` leaves them.
    pub(crate) owners: Option<Owners>,
    /// The mount namespace that it lies in, if another one; then it has been opened.
    pub(crate) foreign: Option<OwnedFd>,
}

/// What a plan has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The root directory.
    Root,
    /// The source of this mount of the config.
    Source(usize),
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

/// An overlay as root: one layer for the root itself and one for each submount of the lower tree.
#[derive(Debug)]
pub(crate) struct OverlayRoot {
    /// An existing empty directory; the child mounts a tmpfs there, in its own mount namespace.
    pub(crate) scratch: CString,
    /// What it lies over, the topmost one first; there is one at least.
    pub(crate) lowers: Vec<Lower>,
    /// Where the upper directories stay; without one they are in that tmpfs.
    pub(crate) uppers: Option<Lower>,
    pub(crate) submounts: Vec<(Lower, Target)>,
    /// Its SELinux label.
    pub(crate) label: Option<CString>,
    pub(crate) rights: Rights,
    /// What will be mounted somewhere in it: nothing can be made in a directory of somebody whom the user namespace does
    /// not know, so those on the way are in the upper layer beforehand.
    pub(crate) points: Vec<CString>,
}

/// How many directories the kernel takes below an overlay (`OVL_MAX_STACK`).
pub(crate) const MOST_LAYERS: usize = 500;

/// A directory below an overlay.
#[derive(Debug)]
pub(crate) struct Lower {
    pub(crate) path: CString,
    /// As for [`BoundRoot`]; nothing where nobody but us may change what is there.
    pub(crate) planned: Option<(u64, u64)>,
    /// As for [`Bind`].
    pub(crate) detached: Option<usize>,
}

impl OverlayRoot {
    /// Where the layers of the submounts are.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Target> {
        self.submounts.iter().map(|(_, target)| target)
    }

    pub(crate) fn describe(&self) -> String {
        let mut lowers = self.lowers.iter().map(|lower| lower.path.to_string_lossy());
        let mut text = format!("over `{}`", lowers.next().unwrap_or_default());
        match lowers.len() {
            0 => {}
            1 => text.push_str(" and 1 layer below"),
            more => text.push_str(&format!(" and {more} layers below")),
        }
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
    /// Where the overlays are.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Target> {
        let overlays = self.pieces.iter().filter(|piece| matches!(piece.kind, PieceKind::Overlay { .. }));
        overlays.map(|piece| &piece.target)
    }

    pub(crate) fn describe(&self) -> String {
        let lowers = self.pieces.iter().filter_map(|piece| match &piece.kind {
            PieceKind::Overlay { lower } => Some(format!("`{}`", lower.to_string_lossy())),
            _ => None,
        });
        format!("over {}", lowers.collect::<Vec<_>>().join(", "))
    }
}

/// A file in memory. What is in it is nobody's to see, in `Debug` as little as in a message.
pub(crate) struct PlannedFile {
    pub(crate) target: Target,
    pub(crate) content: Vec<u8>,
    /// Its owner, as the container counts.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

impl std::fmt::Debug for PlannedFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PlannedFile { target, content: _, uid, gid, mode } = self;
        let mut shown = formatter.debug_struct("PlannedFile");
        shown.field("target", target).field("uid", uid).field("gid", gid).field("mode", mode);
        shown.finish_non_exhaustive()
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
