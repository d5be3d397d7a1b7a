//! One file, or one directory with all that is in it and mounted there, as an archive: what `cp` copies. Follows no link.

use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Form;
use super::archive::Archive;
use super::walk::{Found, Hides, at, names};
use crate::error::Result;

/// File systems of the kernel's own, with nothing in them to be copied (`statfs(2)`): proc, sysfs, cgroup, cgroup2, devpts, mqueue,
/// securityfs, debugfs, tracefs, bpf.
const OF_THE_KERNEL: [i64; 10] = [
    0x9fa0,
    0x6265_6572,
    0x27_e0eb,
    0x6367_7270,
    0x1cd1,
    0x1980_0202,
    0x7363_6673,
    0x6462_6720,
    0x7472_6163,
    0xcafe_4a11,
];

/// Writes what has `name` in `directory`, as `named` in the archive; `.` is a directory's content. What has gone meanwhile is left out,
/// and so are sockets.
pub fn pack_one(directory: BorrowedFd<'_>, name: &CStr, named: &[u8], out: &mut dyn Write) -> Result<()> {
    let mut archive = Archive::new(Form::Tree, out);
    add(directory, name, &mut named.to_vec(), &mut archive)?;
    archive.finish()
}

fn add(directory: BorrowedFd<'_>, name: &CStr, path: &mut Vec<u8>, archive: &mut Archive<'_>) -> Result<()> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(at(path, "examine", error)),
    };
    let found = Found { path, directory, name, stat, hides: Hides::Nothing };
    archive.add(&found)?;
    if found.kind() != FileType::Directory {
        return Ok(());
    }
    let inner = match open(directory, name) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        opened => opened.map_err(|error| at(path, "open", error))?,
    };
    if rustix::fs::fstatfs(&inner)
        .is_ok_and(|found| OF_THE_KERNEL.iter().any(|kind| i128::from(found.f_type) == i128::from(*kind)))
    {
        return Ok(());
    }
    let listed: Vec<CString> = names(inner.as_fd(), path)?;
    for name in listed {
        let length = path.len();
        path.push(b'/');
        path.extend(name.to_bytes());
        add(inner.as_fd(), &name, path, archive)?;
        path.truncate(length);
    }
    Ok(())
}

fn open(directory: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}
