//! What stands at the end of a way, and whose it is. Must not open anything but regular files.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::init::step::OwnerMap;

/// `FUSE_SUPER_MAGIC` (statfs(2)).
const FUSE: u64 = 0x6573_5546;

/// Something at the end of a way.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) owner: Owner<'a>,
    pub(crate) no_exec: Option<NoExec>,
    pub(crate) place: Place,
    pub(super) file: Option<OwnedFd>,
    pub(super) link: Vec<u8>,
}

/// Whose something is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner<'a> {
    /// Of the caller's ids; a map may show others.
    OnDisk { uid: u32, gid: u32, map: Option<&'a OwnerMap> },
    /// Of the container's own ids.
    Inside { uid: u32, gid: u32 },
}

/// Who has mounted something without the right to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoExec {
    Asked,
    Hosts,
}

/// Where something can be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Root,
    Running,
    /// By its path on the host.
    Host(PathBuf),
    /// The root of a tmpfs.
    Memory,
    Made,
}

impl Seen<'_> {
    /// Opens a regular file for reading. Anything else stays closed: opening a device of the image's choice is an act, and
    /// this process is no container.
    pub(crate) fn read(&self) -> Option<File> {
        let file = self.file.as_ref().filter(|_| self.kind.is_file())?;
        // Whoever serves a file system of its own may never answer.
        rustix::fs::fstatfs(file).ok().filter(|found| found.f_type as u64 != FUSE)?;
        // A program has a size. Files of procfs and tracefs have none, and to read some of them takes from others.
        rustix::fs::fstat(file).ok().filter(|found| found.st_size > 0)?;
        // Some files of the kernel's wait for what there is to read.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::openat(CWD, path, flags, Mode::empty()).ok().map(File::from)
    }
}

/// What a step makes itself.
pub(super) fn made(kind: FileType, mode: u32, owner: Owner<'_>) -> Seen<'_> {
    Seen { kind, mode, owner, no_exec: None, place: Place::Made, file: None, link: Vec::new() }
}
