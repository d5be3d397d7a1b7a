//! Mount points that a root file system lacks: recorded, made empty, and removed by the last container on it.
//!
//! Removing one earlier would silently detach a neighbour's mount, so everybody on a root holds a shared lock, and
//! only who gets it exclusively removes.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use runtime::plan::TargetKind;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, ResolveFlags, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// A container's stake in its root directory: while it lives, no mount point goes.
#[derive(Debug)]
pub(crate) struct MountPoints {
    directory: PathBuf,
    /// Locked shared.
    users: Option<File>,
}

impl MountPoints {
    /// Makes what is missing of `points` in `root`; the record of each is written before it is made.
    pub(crate) fn make(roots: &Path, root: &Path, points: &[(String, TargetKind)]) -> Result<MountPoints> {
        let metadata = std::fs::metadata(root).map_err(|error| Error::at_path("examine", root, error))?;
        let directory = roots.join(format!("{:x}-{:x}", metadata.dev(), metadata.ino()));
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
            let stake = MountPoints { directory: directory.clone(), users: Some(users) };
            let made = stake.make_missing(root, points);
            // A stake that is given up takes the lock itself: while we hold it, that would wait for us for ever.
            unlock(lock);
            return made.map(|()| stake);
        }
    }

    fn make_missing(&self, root: &Path, points: &[(String, TargetKind)]) -> Result<()> {
        let root_descriptor =
            rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| Error::at_path("open", root, error))?;
        for (point, kind) in points {
            let parts: Vec<&str> = point.split('/').collect();
            for count in 1..=parts.len() {
                let path = parts[..count].join("/");
                let last = count == parts.len();
                let file = last && *kind == TargetKind::File;
                if open_inside(&root_descriptor, &path).is_ok() {
                    continue;
                }
                self.record(root, &path)?;
                let parent = if count == 1 { ".".to_owned() } else { parts[..count - 1].join("/") };
                let made = open_inside(&root_descriptor, &parent)
                    .and_then(|parent| make(&parent, parts[count - 1], file));
                made.map_err(|error| {
                    let error = Error::at_path("make the mount point", &root.join(&path), error);
                    error.with_hint(
                        "the root file system must be writable once, or `--overlay` must keep writes off it",
                    )
                })?;
            }
        }
        Ok(())
    }

    fn record(&self, root: &Path, path: &str) -> Result<()> {
        let file = self.directory.join("made");
        let line = format!("{}\t{path}\n", root.display());
        let append = || -> std::io::Result<()> {
            std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&file)?
                .write_all(line.as_bytes())
        };
        append().map_err(|error| Error::at_path("write", &file, error))
    }

    /// Gives the stake up; the last one removes what was made.
    pub(crate) fn release(&mut self) -> Result<()> {
        let Some(users) = self.users.take() else { return Ok(()) };
        let path = self.directory.join("lock");
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::at_path("open", &path, error)),
        };
        lock_file(&lock, FlockOperation::LockExclusive, &self.directory)?;
        unlock(users);
        let removed = remove_if_last(&self.directory);
        unlock(lock);
        removed
    }
}

impl Drop for MountPoints {
    fn drop(&mut self) {
        // Best effort on the way out of an error; the next command finishes it.
        let _ = self.release();
    }
}

/// Removes the mount points of every root that nobody uses any more: what a killed command left.
pub(crate) fn sweep(roots: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(roots) else { return Ok(()) };
    for entry in entries.flatten() {
        let directory = entry.path();
        let Ok(lock) = File::open(directory.join("lock")) else {
            // Whoever made it was killed before its lock; one who has not come to it yet makes it again.
            let _ = std::fs::remove_dir(&directory);
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && is_linked(&lock) {
            let removed = remove_if_last(&directory);
            unlock(lock);
            removed?;
        }
    }
    Ok(())
}

/// With the directory's lock held.
fn remove_if_last(directory: &Path) -> Result<()> {
    match File::open(directory.join("users")) {
        Ok(users) if flock(&users, FlockOperation::NonBlockingLockExclusive).is_err() => return Ok(()),
        // No such file: whoever began here was killed before it had a stake.
        _ => {}
    }
    let made = std::fs::read_to_string(directory.join("made")).unwrap_or_default();
    for line in made.lines().rev() {
        if let Some((root, path)) = line.split_once('\t') {
            remove_empty(Path::new(root), path);
        }
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::at_path("remove", directory, error))
        }
        _ => Ok(()),
    }
}

/// Best effort by intent: what has content by now, or is gone, is not ours to remove.
fn remove_empty(root: &Path, path: &str) {
    let Ok(root) = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    else {
        return;
    };
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let Ok(parent) = open_inside(&root, parent) else { return };
    let Ok(found) = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    if rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir() {
        let _ = rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR);
    } else if found.st_size == 0 && rustix::fs::FileType::from_raw_mode(found.st_mode).is_file() {
        let _ = rustix::fs::unlinkat(&parent, name, AtFlags::empty());
    }
}

fn open_inside(root: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    // EAGAIN: a rename elsewhere raced with a `..`; the kernel asks to try again (openat2(2)).
    for _ in 0..64 {
        match rustix::fs::openat2(root.as_fd(), path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), INSIDE) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn make(parent: &OwnedFd, name: &str, file: bool) -> rustix::io::Result<()> {
    let made = if file {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
    } else {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> (PathBuf, PathBuf) {
        let base = std::env::temp_dir().join(format!("rabbitc-points-{name}-{}", std::process::id()));
        let (roots, root) = (base.join("roots"), base.join("root"));
        std::fs::create_dir_all(&root).expect("made");
        (roots, root)
    }

    fn points() -> Vec<(String, TargetKind)> {
        vec![("proc".to_owned(), TargetKind::Directory), ("etc/hosts".to_owned(), TargetKind::File)]
    }

    #[test]
    fn last_container_removes_what_was_made_and_no_earlier_one_does() {
        let (roots, root) = scratch("last");
        let mut first = MountPoints::make(&roots, &root, &points()).expect("made");
        let mut second = MountPoints::make(&roots, &root, &points()).expect("made");
        first.release().expect("released");
        assert!(root.join("proc").is_dir() && root.join("etc/hosts").is_file());
        second.release().expect("released");
        assert!(!root.join("proc").exists() && !root.join("etc").exists());
        assert!(std::fs::read_dir(&roots).expect("there").next().is_none());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn what_was_there_before_or_got_content_stays() {
        let (roots, root) = scratch("content");
        std::fs::create_dir(root.join("proc")).expect("made");
        let mut stake = MountPoints::make(&roots, &root, &points()).expect("made");
        std::fs::write(root.join("etc/passwd"), "x").expect("written");
        stake.release().expect("released");
        assert!(root.join("proc").is_dir(), "was there before");
        assert!(root.join("etc/passwd").is_file() && !root.join("etc/hosts").exists());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn sweep_finishes_what_a_killed_command_left() {
        let (roots, root) = scratch("sweep");
        let mut stake = MountPoints::make(&roots, &root, &points()).expect("made");
        // The kernel drops a killed process's locks; its code runs no more.
        stake.users = None;
        sweep(&roots).expect("swept");
        assert!(!root.join("proc").exists());
        std::fs::remove_dir_all(root.parent().expect("has one")).expect("removed");
    }
}
