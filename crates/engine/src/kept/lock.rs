//! Locks of the kernel's on containers' directories, which die with their holders, and removing what nobody holds.

use std::fs::File;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The file whose lock those have who change the record.
const EDIT: &str = "edit";

/// How long those who only look at a container are waited for.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// What became of asking for a lock.
#[derive(Debug)]
pub(super) enum Lock {
    /// It is had as long as the value is.
    Held(File),
    /// Somebody else has it.
    Busy,
    /// There is no such directory.
    Gone,
}

/// A lock on a directory.
pub(super) fn lock(directory: &Path, operation: FlockOperation) -> Result<Lock> {
    let file = match File::open(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::Gone),
        opened => opened.map_err(|error| Error::at_path("open", directory, error))?,
    };
    match flock(&file, operation) {
        Ok(()) => Ok(Lock::Held(file)),
        Err(Errno::WOULDBLOCK) => Ok(Lock::Busy),
        Err(error) => Err(Error::at_path("lock", directory, error)),
    }
}

/// Whether a directory that is open is the one of this path.
pub(super) fn is_at(open: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (open.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// A lock that nobody else has: those who only look have theirs for a moment, and so has whoever has just noted an end.
pub(super) fn lock_soon(directory: &Path) -> Result<Lock> {
    let end = Instant::now() + LOOK;
    loop {
        match lock(directory, FlockOperation::NonBlockingLockExclusive)? {
            Lock::Busy if Instant::now() < end => std::thread::sleep(LOOK / 50),
            other => return Ok(other),
        }
    }
}

/// Removes a directory with all that is in it, if it is there; links are not followed.
pub(super) fn remove_tree(path: &Path) -> Result<()> {
    // The kernel gives the directory that an overlay works in no rights at all, and only root needs none.
    for number in 0.. {
        let work = path.join(format!("w{number}"));
        if !work.exists() {
            break;
        }
        // What matters is whether it can be removed.
        let _ = std::fs::set_permissions(work.join("work"), std::fs::Permissions::from_mode(0o700));
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::at_path("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// The lock of those who change a record.
pub(super) fn edit_turn(directory: &Path) -> Result<File> {
    let path = directory.join(EDIT);
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| Error::at_path("open", &path, error))?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
        .map_err(|error| Error::at_path("lock", &path, error))?;
    Ok(file)
}
