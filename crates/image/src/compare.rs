//! Whether two trees are the same: names, kinds, owners, modes, contents, attributes, times of what is no directory.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::attributes::attributes;

/// The first difference between two trees, in words; none if there is none.
pub(crate) fn difference(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<Option<String>, Errno> {
    // The root is what a container sees as `/`.
    let said = match of_entries((one, &rustix::fs::fstat(one)?), (other, &rustix::fs::fstat(other)?), c".")? {
        Some(what) => Some((String::new(), what.to_owned())),
        None => in_directory(one, other, "")?,
    };
    Ok(said.map(|(path, what)| match path.is_empty() {
        true => format!("its root: {what}"),
        false => format!("`{}`: {what}", path.escape_debug()),
    }))
}

type Found = Option<(String, String)>;

fn in_directory(one: BorrowedFd<'_>, other: BorrowedFd<'_>, path: &str) -> Result<Found, Errno> {
    let (names, others) = (names(one)?, names(other)?);
    let below = |name: &CStr| match path.is_empty() {
        true => name.to_string_lossy().into_owned(),
        false => format!("{path}/{}", name.to_string_lossy()),
    };
    if let Some(name) = names.iter().find(|name| others.binary_search(name).is_err()) {
        return Ok(Some((below(name), "it is missing".to_owned())));
    }
    if let Some(name) = others.iter().find(|name| names.binary_search(name).is_err()) {
        return Ok(Some((below(name), "it was not there".to_owned())));
    }
    for name in &names {
        let stat = |directory| rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let (mine, theirs) = (stat(one)?, stat(other)?);
        if let Some(what) = of_entries((one, &mine), (other, &theirs), name)? {
            return Ok(Some((below(name), what.to_owned())));
        }
        let kind = FileType::from_raw_mode(mine.st_mode);
        let open = |directory, flags| {
            let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(directory, name, flags, Mode::empty())
        };
        let found = match kind {
            FileType::Directory => {
                let (mine, theirs) = (open(one, OFlags::DIRECTORY)?, open(other, OFlags::DIRECTORY)?);
                in_directory(mine.as_fd(), theirs.as_fd(), &below(name))?
            }
            FileType::RegularFile => {
                let (mine, theirs) = (open(one, OFlags::empty())?, open(other, OFlags::empty())?);
                let is_same = same_bytes(File::from(mine), File::from(theirs))
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                (!is_same).then(|| (below(name), "its bytes were others".to_owned()))
            }
            FileType::Symlink => {
                let to = |directory| rustix::fs::readlinkat(directory, name, Vec::new());
                (to(one)? != to(other)?).then(|| (below(name), "it led elsewhere".to_owned()))
            }
            _ => None,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The names in a directory, sorted.
fn names(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What differs of what has a name in two directories, but for what is in it.
fn of_entries(
    (one, mine): (BorrowedFd<'_>, &Stat),
    (other, theirs): (BorrowedFd<'_>, &Stat),
    name: &CStr,
) -> Result<Option<&'static str>, Errno> {
    match of_inodes(mine, theirs) {
        None if attributes(one, name)? != attributes(other, name)? => {
            Ok(Some("its extended attributes were others"))
        }
        what => Ok(what),
    }
}

fn of_inodes(one: &Stat, other: &Stat) -> Option<&'static str> {
    let kind = FileType::from_raw_mode(one.st_mode);
    // How directories count links, and their sizes, are the file system's matter.
    let is_directory = kind == FileType::Directory;
    // Directories are made when they are needed, and what hides a file is a device of no time that an archive could tell.
    let has_time = matches!(kind, FileType::RegularFile | FileType::Symlink);
    let differs = [
        (one.st_mode != other.st_mode, "its kind or mode was another"),
        ((one.st_uid, one.st_gid) != (other.st_uid, other.st_gid), "its owner or group was another"),
        (one.st_rdev != other.st_rdev, "it was another device"),
        (!is_directory && one.st_size != other.st_size, "its size was another"),
        (!is_directory && one.st_nlink != other.st_nlink, "it had another number of links"),
        (
            has_time && (one.st_mtime, one.st_mtime_nsec) != (other.st_mtime, other.st_mtime_nsec),
            "it was modified at another time",
        ),
    ];
    differs.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what)
}

fn same_bytes(mut one: File, mut other: File) -> std::io::Result<bool> {
    let (mut mine, mut theirs) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let read = fill(&mut one, &mut mine)?;
        if read != fill(&mut other, &mut theirs)? || mine[..read] != theirs[..read] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Reads as much as there is room for, or is left.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
