//! A container's root in a mount namespace of others, the caller's or one that it joined: which mount it is, and its end.

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use serde::{Deserialize, Serialize};
use sys::mount_table::{self, Entry};

use crate::error::{Error, ErrorKind, Result};
use crate::foreign;
use crate::state_dir::Record;

crate::read_as_object_and_written! { JoinedMounts }

/// The mount namespace that a container joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct JoinedMounts {
    /// By which path.
    pub path: PathBuf,
    /// Device and inode of it: another may be there by now.
    pub identity: (u64, u64),
    /// The mount in it that the root was mounted on.
    pub below: u64,
    /// Device and inode of the directory that the root shows.
    #[serde(default)]
    pub shows: (u64, u64),
    /// The root's own, once it is mounted; 0 before.
    #[serde(default)]
    pub mount: u64,
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
/// `kept` is that root, where its processes still lived a moment ago.
pub(crate) fn unmount(record: &Record, kept: Option<OwnedFd>) -> Result<()> {
    if let Some(joined) = &record.joined_mounts {
        return unmount_joined(joined, &record.rootfs, kept);
    }
    let Some(before) = record.shared_root else { return Ok(()) };
    let now = mount_id(&record.rootfs);
    if before == 0 || now == 0 || now == before {
        return Ok(());
    }
    detach(&record.rootfs).map_err(|error| Error::at_path("unmount", &record.rootfs, error))
}

fn detach(place: impl rustix::path::Arg) -> io::Result<()> {
    match rustix::mount::unmount(place, UnmountFlags::DETACH) {
        // In another namespace than the start's, it is on some mount and none itself.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The root of a process of the container in the namespace that it joined; nothing while it has not changed to it.
pub(crate) fn keep(record: &Record, pid: i32) -> Option<OwnedFd> {
    let joined = record.joined_mounts.as_ref()?;
    if identity_of(Path::new(&format!("/proc/{pid}/ns/mnt"))).ok()? != joined.identity {
        return None;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty()).ok()?;
    joined.is_ours(root.as_fd()).then_some(root)
}

impl JoinedMounts {
    /// Whether something that is open is the root of the container, as a mount. Numbers of mounts are used again, so it
    /// must show the right directory as well; before the number is known, that alone tells it.
    fn is_ours(&self, opened: BorrowedFd<'_>) -> bool {
        let Ok(found) = rustix::fs::statx(opened, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) else {
            return false;
        };
        let Ok(shown) = rustix::fs::fstat(opened) else { return false };
        let mount = found.stx_mnt_id;
        // A process with the right to chroot may have a directory below it for its root.
        found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
            && (shown.st_dev, shown.st_ino) == self.shows
            && if self.mount == 0 { mount != self.below } else { mount == self.mount }
    }
}

/// A namespace that its path names no more has ended, or is kept by others in a way that is not known here: then the mount
/// stays as long as it.
fn unmount_joined(joined: &JoinedMounts, rootfs: &Path, kept: Option<OwnedFd>) -> Result<()> {
    let at = |error: io::Error| Error::at_path("unmount the root in", &joined.path, error);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(namespace) = rustix::fs::open(&joined.path, flags, Mode::empty()) else { return Ok(()) };
    let found = rustix::fs::fstat(&namespace).map_err(|error| at(error.into()))?;
    if (found.st_dev, found.st_ino) != joined.identity {
        return Ok(());
    }
    let place = CString::new(rootfs.as_os_str().as_encoded_bytes()).map_err(|error| at(error.into()))?;
    let proc = crate::plan::devices::hosts_proc()?;
    let is_hidden = foreign::within(namespace.as_fd(), sys::clone::flags::NEWNS, || {
        let root = kept.or_else(|| open_plain(&place).ok().filter(|top| joined.is_ours(top.as_fd())));
        let mount = root.as_ref().map_or(joined.mount, |root| mount_of(root.as_fd()));
        let table = read_mount_table(proc.as_fd())?;
        let is_own = |entry: &Entry<'_>| {
            // Without a number it may be that of a container which came later, on top of it.
            let is_below = joined.mount != 0 || entry.parent == joined.below;
            mount != 0 && entry.id == mount && entry.mount_point == rootfs && is_below
        };
        let Some(own) = mount_table::entries(&table).find(is_own) else { return Ok(false) };
        // Even by its descriptor an unmount meets the topmost one, which is somebody else's.
        let lies_over = |entry: Entry<'_>| entry.parent == own.id && entry.mount_point == own.mount_point;
        let is_covered = mount_table::entries(&table).any(lies_over);
        let Some(root) = root.filter(|_| !is_covered) else { return Ok(true) };
        rustix::process::fchdir(&root)?;
        detach(c".").map(|()| false)
    });
    if !is_hidden.map_err(at)? {
        return Ok(());
    }
    let operation = format!("unmount the root in `{}`", joined.path.display());
    let reason = format!("another mount hides it at `{}`", rootfs.display());
    let hint = "unmount in that namespace what lies over it, or delete the container whose root that is, and then this one";
    Err(Error::new(ErrorKind::WrongStatus, operation, reason).with_hint(hint))
}

/// The mount table of the calling thread, through a procfs that was opened elsewhere.
pub(crate) fn read_mount_table(proc: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(proc, c"thread-self/mountinfo", flags, Mode::empty())?;
    let mut table = Vec::new();
    std::fs::File::from(file).read_to_end(&mut table)?;
    Ok(table)
}
