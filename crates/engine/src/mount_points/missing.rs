//! Whether a directory lacks something, whatever containers made in it meanwhile. Changes nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::record::recorded;
use super::{Directory, Ground, lock_file, name_of, open_inside, unlock};
use crate::error::{Error, Result};

/// Whether there was nothing at `path` in a directory, until containers made a mount point there.
pub(crate) fn is_missing(roots: &Path, root: &Directory<'_>, path: &str) -> Result<bool> {
    let name = name_of(root.descriptor).map_err(|error| Error::at_path("examine", root.path, error))?;
    let directory = roots.join(name);
    // Held while both are looked at. Where there is none, nothing is made there now.
    let lock = match File::open(directory.join("lock")) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        opened => Some(opened.map_err(|error| Error::at_path("open", &directory.join("lock"), error))?),
    };
    if let Some(lock) = &lock {
        lock_file(lock, FlockOperation::LockShared, &directory)?;
    }
    let identity = |path: &OsStr| {
        let found = rustix::fs::fstat(open_inside(root.descriptor, path, root.ground)?)?;
        Ok((found.st_dev, found.st_ino))
    };
    let missing = match identity(OsStr::new(path)) {
        Ok(found) => {
            let made = recorded(&directory)?;
            let is_it =
                |point: &Path| identity(point.as_os_str()) == Ok(found) && !is_in_use(root, point, &made);
            made.iter().any(|(.., point)| is_it(point))
        }
        Err(errno) => matches!(errno, Errno::NOENT | Errno::NOTDIR),
    };
    lock.into_iter().for_each(unlock);
    Ok(missing)
}

/// Whether a mount point has become a directory of the root: somebody has put something in it that was not recorded.
fn is_in_use(root: &Directory<'_>, point: &Path, made: &[(Ground, PathBuf, PathBuf)]) -> bool {
    let opened = open_inside(root.descriptor, point, root.ground).ok();
    let entries =
        opened.and_then(|opened| std::fs::read_dir(format!("/proc/self/fd/{}", opened.as_raw_fd())).ok());
    let is_ours = |name: std::ffi::OsString| made.iter().any(|(.., other)| *other == point.join(&name));
    entries
        .is_some_and(|mut entries| !entries.all(|entry| entry.is_ok_and(|entry| is_ours(entry.file_name()))))
}
