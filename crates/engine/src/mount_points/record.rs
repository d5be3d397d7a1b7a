//! What is noted of the mount points in one directory: which were made, and of whom something is left. Touches none of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Directory, Ground};
use crate::error::{Error, Result};

/// Appends the kind of directory, its path, and the point's path, each ended by NUL, which no path has in it.
pub(super) fn add(record: &Path, root: &Directory<'_>, path: &Path) -> Result<()> {
    let file = record.join("made");
    let ground: &[u8] = match root.ground {
        Ground::Root => b"root",
        Ground::Source => b"source",
    };
    let entry = [ground, root.path.as_os_str().as_bytes(), path.as_os_str().as_bytes(), b""].join(&0u8);
    let append = || -> std::io::Result<()> {
        std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&file)?.write_all(&entry)
    };
    append().map_err(|error| Error::at_path("write", &file, error))
}

/// What was made: in which kind of directory, its path, the point's path.
pub(super) fn recorded(directory: &Path) -> Result<Vec<(Ground, PathBuf, PathBuf)>> {
    let path = directory.join("made");
    let made = match std::fs::read(&path) {
        // Nothing was missing.
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        made => made.map_err(|error| Error::at_path("read", &path, error))?,
    };
    // What a kill cut short was not made yet.
    let complete = made.iter().rposition(|byte| *byte == 0).map_or(&[][..], |end| &made[..end]);
    let parts: Vec<&[u8]> = complete.split(|byte| *byte == 0).collect();
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let entry = |entry: &[&[u8]]| {
        let ground = if entry[0] == b"root" { Ground::Root } else { Ground::Source };
        (ground, path(entry[1]), path(entry[2]))
    };
    Ok(parts.chunks_exact(3).map(entry).collect())
}

/// Whether something is left of one of those who had a stake and could not be ended ([`super::MountPoints::leave`]).
pub(super) fn is_left(mut users: &File, path: &Path) -> Result<bool> {
    let failed = |error| Error::at_path("read", path, error);
    if users.metadata().map_err(failed)?.len() == 0 {
        return Ok(false);
    }
    let mut records = Vec::new();
    users.read_to_end(&mut records).map_err(failed)?;
    for record in records.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let record = Path::new(OsStr::from_bytes(record));
        if record.try_exists().map_err(|error| Error::at_path("look for", record, error))? {
            return Ok(true);
        }
    }
    Ok(false)
}
