//! The root directory of a container: opened once, and known by that descriptor from then on. What its path leads to may be
//! changed meanwhile by whoever may write to a directory on the way.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

/// A root directory that is open.
#[derive(Debug, Clone)]
pub struct RootDirectory {
    path: PathBuf,
    /// With `O_PATH`.
    opened: Arc<OwnedFd>,
}

impl RootDirectory {
    /// Opens what is at `path`, links followed.
    pub fn open(path: &Path) -> io::Result<RootDirectory> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = crate::sync::retry(|| rustix::fs::open(path, flags, Mode::empty()))?;
        // Of what is open, and not once more of the path: that may lead elsewhere by now.
        let path = std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))?;
        if !path.is_absolute() {
            // It lies in a tree that this process sees nothing of (`(unreachable)`, getcwd(2)).
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(RootDirectory { path, opened: Arc::new(opened) })
    }

    /// Where it was when it was opened: absolute, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its device and inode.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        let found = rustix::fs::fstat(&self.opened)?;
        Ok((found.st_dev, found.st_ino))
    }
}

impl AsFd for RootDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.opened.as_fd()
    }
}
