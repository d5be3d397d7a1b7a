//! Copies what a new file system in memory covers into it (`tmpcopyup`), entry by entry through descriptors.
//!
//! What is copied comes out of the root directory and may be hostile: no link is followed, nothing but directories and
//! regular files is opened.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::failure::{Call, During, Failure, Outcome};
use super::step::CopyUp;

/// Deeper trees are refused: each level takes descriptors and stack.
const DEPTH: usize = 100;

/// Copies the directory `from` into the empty directory `to`, both `O_PATH`.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, what: CopyUp) -> Outcome {
    let status = rustix::fs::fstat(from).during(Call::Stat)?;
    copy_content(from, to, DEPTH)?;
    if what == CopyUp::All {
        own(to, c"", &status)?;
        let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
        rustix::fs::chmodat(to, c".", mode, AtFlags::empty()).during(Call::Chmod)?;
    }
    Ok(())
}

fn copy_content(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Outcome {
    if depth == 0 {
        return Err(Errno::NAMETOOLONG).during(Call::Open);
    }
    let from = open(from, c".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    let mut entries = RawDir::new(&from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.during(Call::Getdents)?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from.as_fd(), to, name, depth)?;
        }
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> Outcome {
    let found = open(from, name, OFlags::PATH)?;
    let status = rustix::fs::fstat(&found).during(Call::Stat)?;
    let file_type = FileType::from_raw_mode(status.st_mode);
    match file_type {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)).during(Call::Mkdir)?;
            let made = open(to, name, OFlags::PATH | OFlags::DIRECTORY)?;
            copy_content(found.as_fd(), made.as_fd(), depth - 1)?;
        }
        FileType::RegularFile => copy_file(from, to, name)?,
        FileType::Symlink => {
            // One byte stays for the end; a link's text has at most 4095 (PATH_MAX).
            let mut text = [0u8; 4097];
            rustix::fs::readlinkat_raw(&found, c"", &mut text[..4096]).during(Call::Readlink)?;
            let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
            rustix::fs::symlinkat(text, to, name).during(Call::Symlink)?;
            return own(to, name, &status);
        }
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
            let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
            match rustix::fs::mknodat(to, name, file_type, mode, status.st_rdev) {
                // In a user namespace no device can be made, and on this mount none would work.
                Err(Errno::PERM) => return Ok(()),
                other => other.during(Call::Mknod)?,
            }
        }
        // A socket without whoever listens is of no use.
        _ => return Ok(()),
    }
    own(to, name, &status)?;
    // After the owner, whose change clears the set-id bits.
    let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
    rustix::fs::chmodat(to, name, mode, AtFlags::empty()).during(Call::Chmod)?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: status.st_atime as _, tv_nsec: status.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: status.st_mtime as _, tv_nsec: status.st_mtime_nsec as _ },
    };
    rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW).during(Call::Chmod)
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Outcome {
    // It was a regular file a moment ago; a pipe in its place would not keep us waiting.
    let source = open(from, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600)).during(Call::Open)?;
    loop {
        match rustix::fs::sendfile(&target, &source, None, 1 << 20) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(Call::Sendfile),
        }
    }
}

fn open(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Failure> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty()).during(Call::Open)
}

/// Gives an entry its owner; one that does not exist in this user namespace stays ours.
fn own(directory: BorrowedFd<'_>, name: &CStr, status: &Stat) -> Outcome {
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    match rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags) {
        Err(Errno::PERM | Errno::INVAL) => Ok(()),
        other => other.during(Call::Chown),
    }
}
