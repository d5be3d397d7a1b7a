//! Removing what has the name of a new entry, by descriptors, and without recursion: how deep it goes is an archive's choice, up
//! to the limit.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Dir};
use rustix::io::Errno;

use super::open_to_change;

/// Removes what has this name, a directory with all that is in it. Links go themselves, and what they lead to stays.
pub(super) fn all(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    match unlink(parent, name)? {
        Removed::Yes => return Ok(()),
        Removed::IsDirectory => {}
    }
    // Directories that are being emptied, each in the one before it.
    let mut open: Vec<(CString, Dir)> = vec![(name.to_owned(), Dir::new(open_to_change(parent, name)?)?)];
    while let Some((_, directory)) = open.last_mut() {
        match directory.read().transpose()? {
            Some(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            Some(entry) => match unlink(directory.fd()?, entry.file_name())? {
                Removed::Yes => {}
                Removed::IsDirectory => {
                    let inner = open_to_change(directory.fd()?, entry.file_name())?;
                    open.push((entry.file_name().to_owned(), Dir::new(inner)?));
                }
            },
            None => {
                let (name, mut emptied) = open.pop().expect("it is the last one");
                let outer = match open.last() {
                    Some((_, directory)) => directory.fd()?,
                    None => parent,
                };
                match rustix::fs::unlinkat(outer, &name, AtFlags::REMOVEDIR) {
                    // A file system may leave out names while others are removed.
                    Err(Errno::NOTEMPTY) => {
                        emptied.rewind();
                        open.push((name, emptied));
                    }
                    removed => removed?,
                }
            }
        }
    }
    Ok(())
}

enum Removed {
    Yes,
    IsDirectory,
}

fn unlink(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Removed> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => Ok(Removed::Yes),
        Err(Errno::ISDIR) => Ok(Removed::IsDirectory),
        Err(error) => Err(error),
    }
}
