//! Removes mount points that nobody uses any more, and nothing that has become somebody's. What can't be looked at is in use.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::record::{is_left, recorded};
use super::{Ground, is_linked, name_of, open_inside, unlock};
use crate::error::{Error, Result};

/// Removes the mount points of every root that nobody uses any more: what a killed command left. `failed` hears what went
/// wrong with one of them; the others are swept all the same.
pub(crate) fn sweep(roots: &Path, failed: &mut dyn FnMut(Error)) {
    let entries = match std::fs::read_dir(roots) {
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return failed(Error::at_path("list", roots, error)),
        Ok(entries) => entries,
    };
    for entry in entries {
        let swept = match entry {
            Ok(entry) => sweep_one(&entry.path()),
            Err(error) => return failed(Error::at_path("list", roots, error)),
        };
        if let Err(error) = swept {
            failed(error);
        }
    }
}

fn sweep_one(directory: &Path) -> Result<()> {
    let path = directory.join("lock");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Best effort: whoever made it was killed before its lock; one who has not come to it yet makes it again.
            let _ = std::fs::remove_dir(directory);
            return Ok(());
        }
        Err(error) => return Err(Error::at_path("open", &path, error)),
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() || !is_linked(&lock) {
        return Ok(());
    }
    let removed = remove_if_last(directory);
    unlock(lock);
    removed
}

/// With the directory's lock held.
pub(super) fn remove_if_last(directory: &Path) -> Result<()> {
    let path = directory.join("users");
    match File::open(&path) {
        Ok(users) => match flock(&users, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_left(&users, &path)? => return Ok(()),
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(error) => return Err(Error::at_path("lock", &path, error)),
        },
        // Whoever began here was killed before it had a stake.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // Somebody may use them, whatever keeps us from asking.
        Err(error) => return Err(Error::at_path("open", &path, error)),
    }
    for (ground, root, point) in recorded(directory)?.iter().rev() {
        // Of those that stay for want of something, the record does too.
        remove_empty(root, point, *ground, directory.file_name())
            .map_err(|error| Error::at_path("remove the mount point", &root.join(point), error))?;
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::at_path("remove", directory, error)),
        _ => Ok(()),
    }
}

/// Best effort by intent: what has content by now, or is gone, is not ours to remove; nor is anything in a directory that
/// has taken the place of the one that we knew by `name`. Only where this process or the host lacks what it takes to find
/// that out is it an error.
fn remove_empty(root: &Path, point: &Path, ground: Ground, name: Option<&OsStr>) -> rustix::io::Result<()> {
    let remove = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        if name_of(root.as_fd()).ok().as_deref().map(OsStr::new) != name {
            return Ok(());
        }
        let parent = point.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = open_inside(root.as_fd(), parent, ground)?;
        let Some(name) = point.file_name() else { return Ok(()) };
        let found = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind.is_dir() {
            rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
        } else if found.st_size == 0 && kind.is_file() {
            rustix::fs::unlinkat(&parent, name, AtFlags::empty())
        } else {
            Ok(())
        }
    };
    match remove() {
        Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO)) => Err(errno),
        _ => Ok(()),
    }
}
