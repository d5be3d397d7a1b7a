//! The way to a directory of the tree. The kernel goes it in one call where no link is on it; else it is gone here, part by part,
//! each opened without following, and links lead where they will lead in the container: within its root. That also tells where a
//! directory really is, so that links can't pile up ways that are deeper than the limits.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::super::fault::{Fault, Outcome, shown};
use super::{Tree, UNTOLD, is_whiteout, open_to_change};

/// How many links may be on a way: the kernel's own number.
const MOST_LINKS: usize = 40;

/// A directory of the tree.
pub(super) struct Directory {
    /// As entries name it.
    pub(super) named: Vec<u8>,
    /// Its path without links.
    pub(super) path: Vec<u8>,
    pub(super) descriptor: OwnedFd,
    /// Its group, which what is made in it may get.
    pub(super) group: u32,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What to do about directories that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Made,
    Refused,
}

impl Tree<'_> {
    /// The directory that entries are made in, made where it is missing: layers leave out what no one asked them to tell.
    pub(super) fn enter(&mut self, named: &[u8]) -> Outcome<&Directory> {
        if self.at.as_ref().is_none_or(|at| at.named != named) {
            self.at = None;
            self.at = self.walk(named, Missing::Made)?;
        }
        Ok(self.here())
    }

    /// Goes to a directory; nowhere if it is missing and not to be made.
    pub(super) fn walk(&mut self, named: &[u8], missing: Missing) -> Outcome<Option<Directory>> {
        let (path, descriptor) = match straight(self.root, named)? {
            Some(descriptor) => (named.to_vec(), descriptor),
            None => match self.by_parts(named, missing)? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let group = rustix::fs::fstat(&descriptor)?.st_gid;
        Ok(Some(Directory { named: named.to_vec(), path, descriptor, group }))
    }

    fn by_parts(&mut self, named: &[u8], missing: Missing) -> Outcome<Option<(Vec<u8>, OwnedFd)>> {
        let limits = self.options.limits;
        // The way so far, from the root on, so that `..` in a link never leaves it.
        let mut way: Vec<(Vec<u8>, OwnedFd)> = Vec::new();
        let mut ahead = parts(named);
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => {
                    way.pop();
                    continue;
                }
                _ => {}
            }
            let here = way.last().map_or(self.root, |(_, descriptor)| descriptor.as_fd());
            let name = CString::new(&part[..]).expect("neither paths nor links have a NUL byte");
            let next = match open(here, &name) {
                Err(Errno::NOENT) if missing == Missing::Refused => return Ok(None),
                Err(Errno::NOENT) => self.make(here, &name)?,
                Err(Errno::NOTDIR | Errno::LOOP) => match rustix::fs::readlinkat(here, &name, Vec::new()) {
                    Ok(link) => {
                        links += 1;
                        if links > MOST_LINKS {
                            return Err(Fault::corrupt(format!(
                                "more than {MOST_LINKS} links are on its way"
                            )));
                        }
                        let link = link.into_bytes();
                        if link.starts_with(b"/") {
                            way.clear();
                        }
                        ahead.extend(parts(&link));
                        continue;
                    }
                    Err(Errno::INVAL) if missing == Missing::Refused => return Ok(None),
                    Err(Errno::INVAL) => self.uncover(here, &name)?,
                    Err(error) => return Err(error.into()),
                },
                next => next?,
            };
            way.push((part, next));
            let length: usize = way.iter().map(|(part, _)| part.len() + 1).sum();
            if way.len() > limits.depth || length > limits.path_bytes {
                return Err(Fault::too_much(format!(
                    "links lead it deeper than {} directories or {} bytes",
                    limits.depth, limits.path_bytes
                )));
            }
        }
        let path = way.iter().map(|(part, _)| &part[..]).collect::<Vec<_>>().join(&b'/');
        match way.pop() {
            Some((_, descriptor)) => Ok(Some((path, descriptor))),
            None => Ok(Some((path, open(self.root, c".")?))),
        }
    }

    /// Makes a directory that no entry tells of.
    fn make(&mut self, parent: BorrowedFd<'_>, name: &CString) -> Outcome<OwnedFd> {
        rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
        let directory = open_to_change(parent, name)?;
        rustix::fs::fchmod(&directory, UNTOLD)?;
        Ok(directory)
    }

    /// Makes a directory in the place of a whiteout: the way leads through what this layer has hidden and then made anew.
    fn uncover(&mut self, parent: BorrowedFd<'_>, name: &CString) -> Outcome<OwnedFd> {
        let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if !is_whiteout(&found) {
            let name = shown(name.to_bytes());
            return Err(Fault::corrupt(format!("`{name}` on its way is no directory")));
        }
        rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        let directory = self.make(parent, name)?;
        self.cover(directory.as_fd())?;
        Ok(directory)
    }
}

/// Opens a directory of the tree if no link is on the way there.
fn straight(root: BorrowedFd<'_>, path: &[u8]) -> Outcome<Option<OwnedFd>> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(directory) => Ok(Some(directory)),
        // The last two: a filter around does not know the call.
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory, and nothing else, in another one.
fn open(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The parts of a path, the last one first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect()
}
