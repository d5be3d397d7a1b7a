//! Mount points that a root directory lacks, or the source of a bind mount: recorded, made empty, and removed by the last
//! container on it.
//!
//! Removing one earlier would silently detach a neighbour's mount, so everybody on a root holds a shared lock, and
//! only who gets it exclusively removes.

mod make;
mod missing;
mod record;
mod remove;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use runtime::plan::MountPoint;
use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags, flock};
use rustix::io::Errno;

pub(crate) use self::missing::is_missing;
pub(crate) use self::remove::sweep;
use crate::error::{Error, Result};

/// What the points lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// A root directory: links lead where they will lead inside.
    Root,
    /// The source of a bind mount: only the container knows where a link of it leads, so none is followed.
    Source,
}

impl Ground {
    fn resolution(self) -> ResolveFlags {
        match self {
            Ground::Root => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            Ground::Source => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Ground::Root => {
                "the root file system must be writable once, or `--overlay` must keep writes off it"
            }
            Ground::Source => {
                "something is to be mounted there; make it yourself, or let the source be written to once"
            }
        }
    }
}

/// A directory of the host and where it was found.
pub(crate) struct Directory<'a> {
    pub(crate) path: &'a Path,
    pub(crate) descriptor: BorrowedFd<'a>,
    pub(crate) ground: Ground,
}

impl Directory<'_> {
    /// Why a mount point can't be made in it.
    fn refusal(&self, path: &Path, errno: Errno) -> Error {
        let error = Error::at_path("make the mount point", &self.path.join(path), errno);
        error.with_way_around(match errno {
            Errno::NOTDIR => "a file lies where a directory must be: take it out of the way",
            _ => self.ground.hint(),
        })
    }
}

/// A container's stake in such a directory: while it lives, no mount point goes.
#[derive(Debug)]
pub(crate) struct MountPoints {
    directory: PathBuf,
    /// Locked shared.
    users: Option<File>,
}

impl MountPoints {
    /// Makes what is missing of `points` in a directory; the record of each is written before it is made.
    pub(crate) fn make<'a>(
        roots: &Path,
        root: &Directory<'_>,
        points: impl Iterator<Item = &'a MountPoint> + Clone,
    ) -> Result<MountPoints> {
        let name = name_of(root.descriptor).map_err(|error| Error::at_path("examine", root.path, error))?;
        let directory = roots.join(name);
        loop {
            let mut builder = std::fs::DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(&directory);
            made.map_err(|error| Error::at_path("make", &directory, error))?;
            let lock = match open(&directory.join("lock")) {
                // The last one removed the directory just now.
                Err(error) if error.errno == Some(Errno::NOENT.raw_os_error()) => continue,
                other => other?,
            };
            lock_file(&lock, FlockOperation::LockExclusive, &directory)?;
            if !is_linked(&lock) {
                // Or while we waited; there may be another one of that name by now, with another lock.
                continue;
            }
            let users = open(&directory.join("users"))?;
            lock_file(&users, FlockOperation::LockShared, &directory)?;
            let mut stake = MountPoints { directory: directory.clone(), users: Some(users) };
            let made = make::make_missing(&directory, root, points.clone());
            // A stake that is given up takes the lock itself: while we hold it, that would wait for us for ever.
            unlock(lock);
            return match made {
                Ok(()) => Ok(stake),
                Err(mut error) => {
                    error.rollback.extend(stake.release().err());
                    Err(error)
                }
            };
        }
    }

    /// Gives the stake up; the last one removes what was made.
    pub(crate) fn release(&mut self) -> Result<()> {
        let Some(users) = self.users.take() else { return Ok(()) };
        let Some(lock) = self.lock()? else { return Ok(()) };
        unlock(users);
        let removed = remove::remove_if_last(&self.directory);
        unlock(lock);
        removed
    }

    /// Leaves the stake to processes that could not be ended: nobody removes anything as long as there is something at
    /// `record`, an absolute path.
    pub(crate) fn leave(mut self, record: &Path) -> Result<()> {
        let Some(mut users) = self.users.take() else { return Ok(()) };
        let lock = self.lock()?;
        let entry = [record.as_os_str().as_bytes(), b""].join(&0u8);
        let written = users.seek(SeekFrom::End(0)).and_then(|_| users.write_all(&entry));
        unlock(users);
        lock.into_iter().for_each(unlock);
        written.map_err(|error| Error::at_path("write", &self.directory.join("users"), error))
    }

    /// Waits for the directory's lock; none where the directory is gone.
    fn lock(&self) -> Result<Option<File>> {
        let path = self.directory.join("lock");
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::at_path("open", &path, error)),
        };
        lock_file(&lock, FlockOperation::LockExclusive, &self.directory)?;
        Ok(Some(lock))
    }
}

impl Drop for MountPoints {
    fn drop(&mut self) {
        // Best effort on the way out of an error; the next command finishes it.
        let _ = self.release();
    }
}

/// By what a directory is known here: its device and inode.
fn name_of(directory: BorrowedFd<'_>) -> rustix::io::Result<String> {
    let found = rustix::fs::fstat(directory)?;
    Ok(format!("{:x}-{:x}", found.st_dev, found.st_ino))
}

fn open_inside(
    root: BorrowedFd<'_>,
    path: impl rustix::path::Arg + Copy,
    ground: Ground,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    // EAGAIN: a rename elsewhere raced with a `..`; the kernel asks to try again (openat2(2)).
    for _ in 0..64 {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), ground.resolution()) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn open(path: &Path) -> Result<File> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| Error::at_path("open", path, error))
}

/// Whether the file still has its name; one that was removed locks nobody out.
fn is_linked(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}

/// Gives a lock up for every copy of the descriptor: a child that another thread has just forked holds one until it
/// executes its program, and closing ours alone would leave the lock with it.
fn unlock(file: File) {
    // It can't fail on an open descriptor; if it did, closing is the next best.
    let _ = flock(&file, FlockOperation::Unlock);
}

fn lock_file(file: &File, operation: FlockOperation, directory: &Path) -> Result<()> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            other => return other.map_err(|error| Error::at_path("lock", directory, error)),
        }
    }
}
