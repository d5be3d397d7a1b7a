//! Owns opening, reading and writing of control files relative to a hierarchy's root. Must not know any limit.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::layout::Hierarchy;

/// Opens `file` of group `path` (empty: the root).
pub(crate) fn open(hierarchy: &Hierarchy, path: &str, file: &str, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match (path, file) {
        ("", _) => rustix::fs::openat(hierarchy.root(), file, flags, Mode::empty()),
        (_, "") => rustix::fs::openat(hierarchy.root(), path, flags, Mode::empty()),
        // One walk from the root through names that the kernel has cached costs less than a descriptor for the
        // directory in between, of whose files most groups need only one.
        _ => rustix::fs::openat(hierarchy.root(), [path, "/", file].concat(), flags, Mode::empty()),
    }
}

/// Reads all of `file` of group `path`.
pub(crate) fn read(hierarchy: &Hierarchy, path: &str, file: &str) -> Result<String, Errno> {
    read_all(&open(hierarchy, path, file, OFlags::RDONLY)?)
}

/// Reads from where the descriptor stands to the end. Bytes that are no UTF-8 are replaced.
pub(crate) fn read_all(file: &impl AsFd) -> Result<String, Errno> {
    let mut content = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        match rustix::io::read(file, &mut buffer) {
            Ok(0) => break,
            Ok(length) => content.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(match String::from_utf8(content) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Writes `value` into `file` of group `path`.
pub(crate) fn write(hierarchy: &Hierarchy, path: &str, file: &str, value: &str) -> Result<(), Errno> {
    write_all(&open(hierarchy, path, file, OFlags::WRONLY)?, value)
}

/// Writes `value` in one call, as control files want it.
pub(crate) fn write_all(file: &impl AsFd, value: &str) -> Result<(), Errno> {
    loop {
        match rustix::io::write(file, value.as_bytes()) {
            // Control files take all or nothing.
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The number behind `key` in a file of `key number` lines.
pub(crate) fn keyed(content: &str, key: &str) -> Option<u64> {
    content.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        if name == key { value.trim().parse().ok() } else { None }
    })
}

/// Names of the child groups of `path`; none when the group is gone.
pub(crate) fn children(hierarchy: &Hierarchy, path: &str) -> Result<Vec<String>, Errno> {
    let directory = match open(hierarchy, path, "", OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NODEV) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    // The kernel counts child groups in the link count: without any, dozens of control files need no reading.
    if rustix::fs::fstat(&directory)?.st_nlink <= 2 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    let mut buffer = Vec::with_capacity(8192);
    let mut entries = rustix::fs::RawDir::new(&directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno),
        };
        let name = entry.file_name().to_bytes();
        if entry.file_type() == rustix::fs::FileType::Directory && name != b"." && name != b".." {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(names)
}

/// `path` and every group below it, parents before children. Groups that vanish meanwhile are left out.
pub(crate) fn tree(hierarchy: &Hierarchy, path: &str) -> Result<Vec<String>, Errno> {
    let mut groups = vec![path.to_owned()];
    let mut next = 0;
    while next < groups.len() {
        for name in children(hierarchy, &groups[next])? {
            groups.push(format!("{}/{name}", groups[next]));
        }
        next += 1;
    }
    Ok(groups)
}
