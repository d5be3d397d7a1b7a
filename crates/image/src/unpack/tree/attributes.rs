//! Owner, mode, times and extended attributes of what was just made. Makes nothing.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::super::Owners;
use super::super::archive::{Entry, EntryKind, Time};
use super::super::fault::{Fault, Outcome, shown};
use super::super::name::Name;
use super::Tree;

/// The longest name of an extended attribute: Linux's XATTR_NAME_MAX.
const LONGEST_ATTRIBUTE: usize = 255;

impl Tree<'_> {
    /// Sets owner, extended attributes and mode, in this order: a change of owner takes away set-user-ID bits and
    /// capabilities, and so does writing.
    pub(super) fn settle(&mut self, file: BorrowedFd<'_>, entry: &Entry) -> Outcome<()> {
        let owner = owner(entry)?;
        if self.options.owners == Owners::Unpackers {
            self.left_out.owners += u64::from(owner != self.user);
        } else if !self.has_it_anyway(owner) || entry.kind == EntryKind::Directory {
            let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
            rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|errno| not_owned(errno, owner))?;
        }
        self.set_attributes(file, entry)?;
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?)
    }

    /// As [`Tree::settle`], and times, for what is not opened: it is new, and in the directory that was entered last.
    pub(super) fn settle_name(&mut self, name: &Name, entry: &Entry) -> Outcome<()> {
        let owner = owner(entry)?;
        if self.options.owners == Owners::Unpackers {
            self.left_out.owners += u64::from(owner != self.user);
        } else {
            let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
            rustix::fs::chownat(self.here(), &name.last, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| not_owned(errno, owner))?;
        }
        let parent = self.here();
        if entry.kind != EntryKind::SymbolicLink {
            // Without AT_SYMLINK_NOFOLLOW, which came with 6.6: no link is there, as this has just made it.
            rustix::fs::chmodat(parent, &name.last, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
        }
        rustix::fs::utimensat(parent, &name.last, &times(entry.time), AtFlags::SYMLINK_NOFOLLOW)?;
        // Links, pipes and devices have none that matter, and are opened by nobody here.
        self.left_out.attributes += entry.attributes.len() as u64;
        Ok(())
    }

    /// Whether a new file belongs to this owner by itself: made by him, and in a directory of his group, so that it has the
    /// group whichever rule the file system gives it by (mount option `grpid`, mode `g+s`).
    fn has_it_anyway(&self, owner: (u32, u32)) -> bool {
        owner == self.user && self.at.as_ref().is_some_and(|at| at.group == owner.1)
    }

    fn set_attributes(&mut self, file: BorrowedFd<'_>, entry: &Entry) -> Outcome<()> {
        for (name, value) in &entry.attributes {
            if !is_taken(name) {
                self.left_out.attributes += 1;
                continue;
            }
            match rustix::fs::fsetxattr(file, &name[..], value, XattrFlags::empty()) {
                Ok(()) => {}
                // What this file system does not have, or nobody may have in this user namespace.
                Err(Errno::NOTSUP | Errno::PERM) => self.left_out.attributes += 1,
                Err(Errno::INVAL) => {
                    return Err(Fault::corrupt(format!("its attribute `{}` can't be read", shown(name))));
                }
                Err(error) => {
                    return Err(Fault::system(&format!("set its attribute `{}`", shown(name)), error));
                }
            }
        }
        Ok(())
    }
}

/// Whether a layer may bring this attribute: what programs note for themselves, and capabilities of files. By others an overlay
/// knows its own, or a security module of the host judges.
fn is_taken(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    (user || name == b"security.capability") && name.len() <= LONGEST_ATTRIBUTE && !name.contains(&0)
}

/// The owner and group of an entry, as numbers that Linux has. The highest one means none.
fn owner(entry: &Entry) -> Outcome<(u32, u32)> {
    let id = |id: i64, what: &str| {
        let id = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        id.ok_or_else(|| Fault::corrupt(format!("its {what} is no number that Linux has")))
    };
    Ok((id(entry.uid, "owner")?, id(entry.gid, "group")?))
}

fn not_owned(errno: Errno, (uid, gid): (u32, u32)) -> Fault {
    let fault = Fault::system(&format!("give it to {uid}:{gid}"), errno);
    match errno {
        Errno::INVAL | Errno::OVERFLOW => fault.with_hint(
            "this user namespace has no such ids: give the user more of them in /etc/subuid and /etc/subgid"
                .to_owned(),
        ),
        _ => fault,
    }
}

/// Times of a file: no more is known of its last use than of its last change.
pub(super) fn times(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
