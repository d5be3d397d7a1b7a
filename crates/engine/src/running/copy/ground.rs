//! The root of a container, running or kept, for a copy.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::layers::Layers;
use rustix::fs::{CWD, Mode, OFlags};

use super::super::{Basis, Found};
use crate::accounts;
use crate::error::{Error, Result};
use crate::images::enter_own_users;

/// A container's root, as long as the value lives.
pub(super) struct Ground {
    pub(super) root: OwnedFd,
    /// Its user namespace, where that is not this process's.
    pub(super) users: Option<OwnedFd>,
    /// Of one that does not run: so that nobody starts or removes it meanwhile.
    _lock: Option<File>,
}

/// Whether something is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl Found {
    pub(super) fn ground(&self, access: Access) -> Result<Ground> {
        if !self.is_up() {
            let kept = self.kept.as_ref().expect("what is not up is kept");
            // Without root its files are of ids of the user's own.
            enter_own_users()?;
            let (root, lock) = match access {
                Access::Read => kept.open_root()?,
                Access::Write => kept.open_root_to_write()?,
            };
            return Ok(Ground { root, users: None, _lock: Some(lock) });
        }
        let operation = "copy from or to";
        let (root, users) = self.of_first(operation, |pid| {
            let path = PathBuf::from(format!("/proc/{pid}/root"));
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(CWD, &path, flags, Mode::empty())
                .map_err(|error| Error::at_path("open the root", &path, error))?;
            Ok((root, users_of(pid)?))
        })?;
        Ok(Ground { root, users, _lock: None })
    }

    /// The user and the group of its program, as they are inside. Of one that has ended and of which no record tells that, root.
    pub(super) fn owner(&self, ground: &Ground) -> Result<(u32, u32)> {
        if let Some(view) = &self.view {
            let user = Basis::read(&self.state, view)?.spec.process.unwrap_or_default().user;
            return Ok((user.uid, user.gid));
        }
        let asked = self.kept.as_ref().and_then(|kept| kept.record.asked.as_ref());
        let Some(asked) = asked else { return Ok((0, 0)) };
        let root = || Layers::open([Path::new(&format!("/proc/self/fd/{}", ground.root.as_raw_fd()))]);
        let account = accounts::look_up(&root, &asked.options.process)?;
        Ok((account.uid, account.gid))
    }
}

/// The user namespace of process `pid`, where it is not this process's own.
fn users_of(pid: i32) -> Result<Option<OwnedFd>> {
    use std::os::unix::fs::MetadataExt;
    let path = PathBuf::from(format!("/proc/{pid}/ns/user"));
    let file = File::open(&path).map_err(|error| Error::at_path("open the namespace", &path, error))?;
    let inode =
        |found: std::io::Result<std::fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    let is_own = inode(file.metadata()) == inode(std::fs::metadata(Path::new("/proc/self/ns/user")));
    Ok((!is_own).then(|| file.into()))
}
