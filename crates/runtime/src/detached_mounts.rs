//! The mounts that the parent makes before the clone, attached nowhere: init finds their descriptors and puts them in
//! place. Whoever asks for none pays for none.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::mount::{Attributes, Reach, propagation, set_attributes, set_attributes_idmapped};

use crate::error::{Error, ErrorKind, Result, libc_errno};
use crate::foreign;
use crate::init::step::{DetachedMount, OwnerMap, Owners};
use crate::plan::IdMaps;
use crate::user_namespace::Maker;

/// The mounts made so far, and the user namespaces whose maps they show owners through.
#[derive(Debug, Default)]
pub(crate) struct DetachedMounts {
    mounts: Vec<OwnedFd>,
    maps: Vec<(IdMaps, OwnedFd)>,
    /// Children that have made those namespaces and are dying.
    makers: Vec<Maker>,
}

impl DetachedMounts {
    /// Makes the next one; `opened` is its source, where that is open already.
    pub(crate) fn make(&mut self, plan: &DetachedMount, opened: Option<BorrowedFd<'_>>) -> Result<()> {
        let foreign = plan.foreign.as_ref().map(OwnedFd::as_fd);
        let tree = clone_tree(
            &plan.source,
            opened.map(|opened| (opened, foreign)),
            plan.recursive,
            plan.propagation,
        )?;
        if let Some(owners) = &plan.owners {
            let map = match &owners.map {
                OwnerMap::Namespace(namespace) => namespace.as_fd(),
                OwnerMap::Lists(maps) => self.namespace_with(maps)?,
            };
            map_owners(tree.as_fd(), map, owners.reach)
                .map_err(|error| explain(error, &plan.source, map, owners.reach))?;
        }
        self.mounts.push(tree);
        Ok(())
    }

    /// Shows the owners of a mount of init's, attached nowhere yet, through a map; `source` is what it shows.
    pub(crate) fn map(&mut self, mount: BorrowedFd<'_>, owners: &Owners, source: &CStr) -> Result<()> {
        let map = match &owners.map {
            OwnerMap::Namespace(namespace) => namespace.as_fd(),
            OwnerMap::Lists(maps) => self.namespace_with(maps)?,
        };
        map_owners(mount, map, owners.reach).map_err(|error| {
            let operation = format!("map the owners of `{}`", path(source).display());
            Error::system(operation, error)
                .with_hint("its file system must be one that can show other owners, and have no map so far")
        })
    }

    /// Makes the next one of a file of our own, which belongs to the container's root already where its maps are known;
    /// else it is shown through the map of `users`.
    pub(crate) fn make_own(&mut self, source: &Path, users: Option<BorrowedFd<'_>>) -> Result<()> {
        let source = crate::plan::c_path(source, "state directory")?;
        let tree = clone_tree(&source, None, false, propagation::PRIVATE)?;
        if let Some(map) = users {
            // Best effort: where it can't (tmpfs before 6.3), the file is nobody's, and everybody reads it.
            let _ = map_owners(tree.as_fd(), map, Reach::Mount);
        }
        self.mounts.push(tree);
        Ok(())
    }

    /// The mounts, in the order in which they were made.
    pub(crate) fn descriptors(&self) -> &[OwnedFd] {
        &self.mounts
    }

    /// Closes what init has copies of by now.
    pub(crate) fn hand_over(&mut self) {
        self.mounts.clear();
        self.maps.clear();
    }

    /// A user namespace with these maps; nobody lives in it.
    fn namespace_with(&mut self, maps: &IdMaps) -> Result<BorrowedFd<'_>> {
        let index = match self.maps.iter().position(|(known, _)| known == maps) {
            Some(index) => index,
            None => {
                let maker = Maker::new()?;
                let namespace = maker.namespace(maps);
                // It ends while the start goes on.
                maker.end();
                self.makers.push(maker);
                self.maps.push((maps.clone(), namespace?));
                self.maps.len() - 1
            }
        };
        Ok(self.maps[index].1.as_fd())
    }
}

/// A copy of a mount, attached nowhere; `opened` is its source and the mount namespace of that, if another one. It is a peer of the host's only where the propagation says so: what is mounted
/// in one must not show in the other.
fn clone_tree(
    source: &CStr,
    opened: Option<(BorrowedFd<'_>, Option<BorrowedFd<'_>>)>,
    recursive: bool,
    propagation: u64,
) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let change = Attributes { propagation: propagation & !propagation::REC, ..Attributes::default() };
    let tree = match opened {
        // It has them from the beginning, as nobody outside may change them where it belongs to other users.
        Some((opened, Some(namespace))) => foreign::clone_tree(opened, namespace, flags, change),
        Some((opened, None)) => {
            open_tree(opened, c"", flags | OpenTreeFlags::AT_EMPTY_PATH).map_err(io::Error::from)
        }
        None => open_tree(CWD, source, flags).map_err(io::Error::from),
    };
    let tree = tree.map_err(|error| {
        let hint = match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
            Errno::PERM if matches!(opened, Some((_, Some(_)))) => {
                "entering another container's mounts takes root"
            }
            Errno::MFILE | Errno::NFILE => "raise the limit on open files: `ulimit -n`; each mount takes two",
            Errno::PERM => "making a mount outside of the user namespace takes root",
            Errno::INVAL => {
                "it, or a mount below it, may be unbindable or locked; `rbind` takes the latter along"
            }
            _ => "see that it exists and can be reached",
        };
        Error::at_path("make a mount of", path(source), error).with_hint(hint)
    })?;
    if matches!(opened, Some((_, Some(_)))) {
        return Ok(tree);
    }
    set_attributes(tree.as_fd(), change, Reach::Tree).map_err(|error| {
        let error = Error::at_path("set attributes of the mount of", path(source), error);
        error.with_hint(
            "this takes `mount_setattr`: Linux 5.12, and no seccomp filter around this process that refuses it",
        )
    })?;
    Ok(tree)
}

fn path(source: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(source.to_bytes()))
}

/// Shows the owners of a mount that is attached nowhere through the map of a user namespace.
fn map_owners(mount: BorrowedFd<'_>, map: BorrowedFd<'_>, reach: Reach) -> io::Result<()> {
    set_attributes_idmapped(mount, Attributes::default(), reach, Some(map))
}

/// Why owners can't be mapped: finds the mount in the way, and names its file system.
fn explain(error: io::Error, source: &CStr, map: BorrowedFd<'_>, reach: Reach) -> Error {
    let errno = error.raw_os_error();
    let (culprit, name) = match errno {
        Some(libc_errno::EINVAL | libc_errno::EPERM) => culprit(source, map, reach),
        _ => None,
    }
    .unwrap_or_else(|| (path(source).to_owned(), "of an unknown kind".to_owned()));
    let operation = format!("map the owners of `{}`", culprit.display());
    let wrong = |kind, reason: String, hint: &str| {
        let mut error = Error::new(kind, operation.clone(), reason).with_hint(hint);
        error.errno = errno;
        error
    };
    match errno {
        Some(libc_errno::EINVAL) => {
            let since = match name.as_str() {
                "overlay" => "map the owners of the directories below the overlay instead",
                "tmpfs" => "the kernel can on tmpfs since 6.3; use a directory on a disk",
                "fuse" | "fuseblk" => "the kernel can on FUSE since 6.12, where the file system agrees",
                "nfs" | "nfs4" | "cifs" | "9p" | "virtiofs" => {
                    "the kernel can not on network file systems; copy the files to a local one, or change owners there"
                }
                _ => "use a directory on another file system (ext4, xfs and btrfs can), or leave the map out",
            };
            let reason = format!("its file system, `{name}`, can't show other owners on this kernel");
            wrong(ErrorKind::Unsupported, reason, since)
        }
        Some(libc_errno::EPERM) => wrong(
            ErrorKind::Permission,
            format!("its file system is `{name}`, and the kernel does not permit it"),
            "it takes root in the user namespace that the file system belongs to, and a mount without a map so far",
        ),
        _ => Error::system(operation.clone(), error),
    }
}

/// The first mount of the tree whose owners can't be mapped, and the name of its file system.
fn culprit(source: &CStr, map: BorrowedFd<'_>, reach: Reach) -> Option<(PathBuf, String)> {
    let source = std::fs::canonicalize(path(source)).ok()?;
    let found = rustix::fs::statx(CWD, &source, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    let mut tried = Vec::new();
    for mount in sys::mount_table::entries(&table) {
        let (point, kind) = (mount.mount_point.into_owned(), mount.file_system.into_owned());
        if mount.id == found.stx_mnt_id {
            tried.insert(0, (source.clone(), kind));
        } else if reach == Reach::Tree && point.starts_with(&source) {
            tried.push((point, kind));
        }
    }
    let refused = |place: &Path| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(CWD, place, flags).is_ok_and(|tree| map_owners(tree.as_fd(), map, Reach::Mount).is_err())
    };
    tried.into_iter().find(|(place, _)| refused(place))
}
