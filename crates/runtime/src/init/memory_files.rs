//! Files that are in memory alone, for this container: written by init, so that their owners are the container's whatever its ids
//! are, and no path of the host ever leads to them.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::{FsOpenFlags, fsconfig_set_string, fsopen};
use sys::mount::{Attributes, attribute};

use super::Context;
use super::failure::{Call, During, Failure, Outcome};
use super::mount::{Digits, attach, clone_tree, create, finish, open_host_directory, open_place};
use super::step::PlannedFile;
use crate::sync;

/// Makes a file system in memory, writes each file into it, and mounts each at its place, read-only.
pub(super) fn show(context: &Context<'_>, files: &[PlannedFile], label: Option<&CString>) -> Outcome {
    let memory = make(label)?;
    // Only what is attached can be cloned (before Linux 6.15). On top of the old root, with which it goes; the files' own mounts
    // keep what is in it.
    attach(memory.as_fd(), open_host_directory(c"/", None)?.as_fd())?;
    for (item, file) in files.iter().enumerate() {
        show_one(context, memory.as_fd(), file, item)
            .map_err(|failure| Failure { item: item as u32, ..failure })?;
    }
    Ok(())
}

fn make(label: Option<&CString>) -> Result<OwnedFd, Failure> {
    let opened = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(Call::Fsopen)?;
    fsconfig_set_string(opened.as_fd(), c"mode", c"0700").during(Call::Fsconfig)?;
    if let Some(label) = label {
        fsconfig_set_string(opened.as_fd(), c"context", label.as_c_str()).during(Call::Fsconfig)?;
    }
    let set = attribute::NOSUID | attribute::NODEV | attribute::NOEXEC;
    create(opened.as_fd(), Attributes { set, ..Attributes::default() })
}

fn show_one(context: &Context<'_>, memory: BorrowedFd<'_>, file: &PlannedFile, number: usize) -> Outcome {
    let mut name = Digits::after(b"", number);
    let name = name.c_str();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(memory, name, flags, Mode::from_raw_mode(0o600)).during(Call::Open)?;
    let mut rest = file.content.as_slice();
    while !rest.is_empty() {
        let written = sync::retry(|| rustix::io::write(&made, rest)).during(Call::Write)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let (uid, gid) = (Uid::from_raw(file.uid), Gid::from_raw(file.gid));
    rustix::fs::fchown(&made, Some(uid), Some(gid)).during(Call::Chown)?;
    // After the owner, whose change clears the set-id bits.
    rustix::fs::fchmod(&made, Mode::from_raw_mode(file.mode)).during(Call::Chmod)?;
    let mount = clone_tree(memory, name, false).during(Call::OpenTree)?;
    let place = open_place(context, mount.as_fd(), &file.target)?;
    let closed = Attributes { set: attribute::RDONLY, ..Attributes::default() };
    finish(mount.as_fd(), place.as_fd(), closed, Attributes::default(), 0)
}
