//! A directory or file of the host that is shown inside. Must not look beyond what is mounted of it.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;
use sys::mount::{Reach, attribute};

use super::seen::{NoExec, Owner, Place, Seen};
use super::walk::Look;
use super::{Layer, host_path};
use crate::init::step::{Lower, MountPlan, OwnerMap, Owners, Writes};
use crate::layers::Layers;

/// A directory or file of the host.
#[derive(Debug)]
pub(super) struct HostTree<'a> {
    pub(super) source: PathBuf,
    opened: Option<Layers>,
    /// Whether what is mounted below the source shows as well.
    recursive: bool,
    owners: Option<&'a OwnerMap>,
    /// Whether an overlay lies over it.
    layered: bool,
    pub(super) name: HostName,
}

/// What a tree of the host is to the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostName {
    Root,
    /// The root of a container that runs, with all that is mounted in it.
    Running,
    Bind,
}

impl<'a> HostTree<'a> {
    pub(super) fn root(path: &Path, name: HostName) -> HostTree<'a> {
        let opened = open_path(path).map(Layers::of);
        HostTree { source: path.to_owned(), opened, recursive: true, owners: None, layered: false, name }
    }

    /// Directories that an overlay shows as one root, the topmost first.
    pub(super) fn layered(lowers: &[Lower]) -> HostTree<'a> {
        let paths: Vec<PathBuf> = lowers.iter().map(|lower| host_path(&lower.path)).collect();
        let source = paths.first().cloned().unwrap_or_default();
        let opened = Layers::open(paths.iter().map(PathBuf::as_path)).ok();
        HostTree { source, opened, recursive: false, owners: None, layered: true, name: HostName::Root }
    }

    pub(super) fn bound(
        mount: &MountPlan<crate::init::step::Bind>,
        owners: Option<&'a Owners>,
    ) -> HostTree<'a> {
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

    /// The same with an overlay over it, which shows one file system alone.
    pub(super) fn below_overlay(self) -> HostTree<'a> {
        HostTree { layered: true, recursive: false, ..self }
    }

    /// The same with its owners shown by a map.
    pub(super) fn shown(self, owners: Option<&'a Owners>) -> HostTree<'a> {
        let recursive = self.recursive && owners.is_none_or(|owners| owners.reach == Reach::Tree);
        HostTree { owners: owners.map(|owners| &owners.map), recursive, ..self }
    }

    pub(super) fn look(&self, layer: &Layer<'_>, rest: &[OsString]) -> Look<'a> {
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

fn open_path(path: &Path) -> Option<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn mount_id(file: BorrowedFd<'_>) -> Option<u64> {
    let found = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    Some(found.stx_mnt_id)
}
