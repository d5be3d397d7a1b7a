//! A container's root in a mount namespace of others, the caller's or one that it joined: which mount it is, and its end.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::foreign;
use crate::state_dir::Record;

/// The mount namespace that a container joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinedMounts {
    /// By which path.
    pub path: PathBuf,
    /// Device and inode of it: another may be there by now.
    pub identity: (u64, u64),
    /// The mount in it that the root was mounted on.
    pub below: u64,
}

/// The number of the mount that `path` is on; 0 where it can't be known.
pub(crate) fn mount_id(path: &Path) -> u64 {
    rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).map_or(0, |found| found.stx_mnt_id)
}

/// The same of something that is open.
pub(crate) fn mount_of(opened: BorrowedFd<'_>) -> u64 {
    rustix::fs::statx(opened, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .map_or(0, |found| found.stx_mnt_id)
}

/// Device and inode of a namespace.
pub(crate) fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Opens a directory by an absolute path on which no link lies: others may have changed what is there.
pub(crate) fn open_plain(path: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let plain = ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    crate::sync::retry(|| rustix::fs::openat2(CWD, path, flags, Mode::empty(), plain))
}

/// What is mounted in a namespace of its own goes with its processes; in one of others the root is left, and all in it.
pub(crate) fn unmount(record: &Record) -> Result<()> {
    if let Some(joined) = &record.joined_mounts {
        return unmount_joined(joined, &record.rootfs);
    }
    let Some(before) = record.shared_root else { return Ok(()) };
    let now = mount_id(&record.rootfs);
    if before == 0 || now == 0 || now == before {
        return Ok(());
    }
    match rustix::mount::unmount(&record.rootfs, UnmountFlags::DETACH) {
        // In another namespace than the start's, it is on some mount and none itself.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(Error::at_path("unmount", &record.rootfs, error)),
    }
}

/// A namespace that its path names no more has ended, or is kept by others in a way that is not known here: then the mount
/// stays as long as it.
fn unmount_joined(joined: &JoinedMounts, rootfs: &Path) -> Result<()> {
    let at = |error: io::Error| Error::at_path("unmount the root in", &joined.path, error);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(namespace) = rustix::fs::open(&joined.path, flags, Mode::empty()) else { return Ok(()) };
    let found = rustix::fs::fstat(&namespace).map_err(|error| at(error.into()))?;
    if (found.st_dev, found.st_ino) != joined.identity {
        return Ok(());
    }
    let place = CString::new(rootfs.as_os_str().as_encoded_bytes()).map_err(|error| at(error.into()))?;
    foreign::within(namespace.as_fd(), sys::clone::flags::NEWNS, || {
        // Somebody there may have taken the directory away, and the mount with it.
        let Ok(directory) = open_plain(&place) else { return Ok(()) };
        if matches!(mount_of(directory.as_fd()), 0) || mount_of(directory.as_fd()) == joined.below {
            return Ok(());
        }
        // By what was opened, and not by a path that could lead elsewhere meanwhile.
        rustix::process::fchdir(&directory)?;
        match rustix::mount::unmount(c".", UnmountFlags::DETACH) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
    .map_err(at)
}
