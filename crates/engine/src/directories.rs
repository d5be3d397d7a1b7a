//! Things that are kept on the disk, each in a directory of its own: which there are, what is written down of one, and the kernel's
//! locks that tell who stands behind it. Must not know what they are.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use runtime::ErrorKind;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// What something written has to outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Durability {
    /// The process that writes it.
    Process,
    /// Power.
    Power,
}

/// What became of asking for a lock.
#[derive(Debug)]
pub(crate) enum Lock {
    /// It is had as long as any copy of the descriptor is open.
    Held(File),
    /// Somebody else has it.
    Busy,
    /// There is no such directory.
    Gone,
}

/// What is in a directory, by its names; nothing where there is no directory.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::at_path("list", directory, error);
    let listed = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    listed.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}

/// Reads a record; none where there is none. `remedy` is for one that is damaged.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path, remedy: &str) -> Result<Option<T>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::at_path("read", path, error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| damaged(path, &error, remedy))
}

/// That a record is not what it should be.
pub(crate) fn damaged(path: &Path, error: &serde_json::Error, remedy: &str) -> Error {
    let operation = format!("read `{}`", path.display());
    let error = Error::new(ErrorKind::System, operation, error.to_string());
    error.with_code(Code::Damaged).with_hint(remedy)
}

/// Writes a record whole or not at all; what is to outlive power comes onto the disk.
pub(crate) fn write_record<T: Serialize>(path: &Path, record: &T, durability: Durability) -> Result<()> {
    let draft = path.with_extension("draft");
    let text = serde_json::to_vec(record).expect("only string keys");
    let write = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&text)?;
        if durability == Durability::Power {
            file.sync_all()?;
        }
        std::fs::rename(&draft, path)
    };
    write().map_err(|error| {
        // Half a draft on a full disk takes room from others.
        let _ = std::fs::remove_file(&draft);
        Error::at_path("write", path, error)
    })
}

/// A lock on the directory that a path leads to; no link is followed.
pub(crate) fn lock(path: &Path, operation: FlockOperation) -> Result<Lock> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let directory = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Lock::Gone),
            opened => File::from(opened.map_err(|error| Error::at_path("open", path, error))?),
        };
        match rustix::io::retry_on_intr(|| flock(&directory, operation)) {
            Err(Errno::WOULDBLOCK) => return Ok(Lock::Busy),
            locked => locked.map_err(|error| Error::at_path("lock", path, error))?,
        }
        // Removed meanwhile: there may be another one of that name by now.
        if is_at(&directory, path) {
            return Ok(Lock::Held(directory));
        }
    }
}

/// Whether a path still leads to what was opened.
fn is_at(opened: &File, path: &Path) -> bool {
    match (opened.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(opened), Ok(found)) => (opened.dev(), opened.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// A file that is there for its lock alone, which somebody else may be waited for.
pub(crate) fn lock_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(|error| Error::at_path("open", path, error))?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
        .map_err(|error| Error::at_path("lock", path, error))?;
    Ok(file)
}

/// Removes a file, if it is there; whether it was.
pub(crate) fn remove_file(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::at_path("remove", path, error)),
    }
}

/// Has the names in a directory outlive power.
pub(crate) fn sync(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|opened| opened.sync_all());
    synced.map_err(|error| Error::at_path("write to the disk", directory, error))
}
