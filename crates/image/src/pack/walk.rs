//! A walk through a tree, parents first, names in order.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::attributes::attributes;
use crate::error::{Error, Kind, Result};

/// Prefixes of an overlay's own attributes (overlayfs.rst).
const OWN: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// What an entry of an overlay's upper directory hides in the lower ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hides {
    /// Nothing but what has its name.
    Nothing,
    /// What has its name, and it is nothing itself.
    Name,
    /// All that was in the directory.
    Content,
}

/// An entry that was come by.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its path, relative to the root of the walk.
    pub path: &'a [u8],
    /// The directory that it is in.
    pub directory: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a CStr,
    /// What the kernel says of it.
    pub stat: Stat,
    /// What it hides.
    pub hides: Hides,
}

impl Found<'_> {
    /// What it is.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Its extended attributes.
    pub(super) fn attributes(&self) -> std::result::Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
        attributes(self.directory, self.name)
    }

    pub(super) fn failed(&self, verb: &str, error: Errno) -> Error {
        Error::at_path(verb, Path::new(&*String::from_utf8_lossy(self.path)), error)
    }

    pub(super) fn find_hidden(&mut self) -> Result<()> {
        match self.kind() {
            _ if is_whiteout(&self.stat) => self.hides = Hides::Name,
            FileType::Directory => {
                let attributes =
                    self.attributes().map_err(|error| self.failed("read the attributes of", error))?;
                for (name, value) in attributes {
                    match overlays(&name) {
                        Some(b"redirect") => {
                            let shown = String::from_utf8_lossy(self.path);
                            let operation = format!("read `{}`", shown.escape_debug());
                            let reason = "the directory was renamed, and its overlay has noted that in a way of its own";
                            let error = Error::new(Kind::Unsupported, operation, reason);
                            return Err(error.with_hint("mount overlays with `redirect_dir=off`"));
                        }
                        Some(b"opaque") if value == b"y" => self.hides = Hides::Content,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What an attribute is called by an overlay that has it for itself, and that says nothing to anybody else.
pub(super) fn overlays(name: &[u8]) -> Option<&[u8]> {
    OWN.iter().find_map(|prefix| name.strip_prefix(*prefix))
}

/// Goes through all that is below `root`, and shows it to `visit`.
pub fn walk(root: BorrowedFd<'_>, visit: &mut dyn FnMut(&Found<'_>) -> Result<()>) -> Result<()> {
    let device =
        rustix::fs::fstat(root).map_err(|error| Error::system("examine the root of a tree", error))?.st_dev;
    below(root, device, &mut Vec::new(), visit)
}

fn below(
    directory: BorrowedFd<'_>,
    device: u64,
    path: &mut Vec<u8>,
    visit: &mut dyn FnMut(&Found<'_>) -> Result<()>,
) -> Result<()> {
    for name in names(directory, path)? {
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend(name.to_bytes());
        let stat = match rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It has gone since.
            Err(Errno::NOENT) => {
                path.truncate(length);
                continue;
            }
            Err(error) => return Err(at(path, "examine", error)),
        };
        let mut found = Found { path, directory, name: &name, stat, hides: Hides::Nothing };
        found.find_hidden()?;
        let enters = found.kind() == FileType::Directory && found.stat.st_dev == device;
        visit(&found)?;
        if enters {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(directory, &name, flags, Mode::empty())
                .map_err(|error| at(path, "open", error))?;
            below(opened.as_fd(), device, path, visit)?;
        }
        path.truncate(length);
    }
    Ok(())
}

/// Whether it only hides what has its name.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn at(path: &[u8], verb: &str, error: Errno) -> Error {
    Error::at_path(verb, Path::new(&*String::from_utf8_lossy(path)), error)
}

pub(super) fn names(directory: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(|error| at(path, "list", error))? {
        let entry = entry.map_err(|error| at(path, "list", error))?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
