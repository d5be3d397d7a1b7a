//! Owns hearing of memory that ran out in a group. Must not decide what follows.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::fs::OFlags;
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::error::{Error, Operation};
use crate::files;
use crate::group::Cgroup;
use crate::layout::{Hierarchy, Language};

/// A descriptor that becomes readable when memory runs out in a group, and on v1 also when the group goes.
///
/// It says that something happened, not what: the count of kills ([`Cgroup::out_of_memory_kills`]) does.
#[derive(Debug)]
pub struct OutOfMemoryWatch {
    descriptor: OwnedFd,
}

impl OutOfMemoryWatch {
    /// Takes what was reported so far, so that the descriptor waits for the next.
    pub fn acknowledge(&self) {
        let mut buffer = [0_u8; 1024];
        // It does not block; nothing to take is as good.
        let _ = rustix::io::read(&self.descriptor, &mut buffer[..]);
    }
}

impl AsFd for OutOfMemoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Cgroup {
    /// Begins to watch; nothing where no hierarchy controls memory.
    ///
    /// v1: an eventfd on `memory.oom_control` (cgroup-v1/memory, "OOM Control"). v2: inotify on `memory.events`, which
    /// the kernel modifies with each event (cgroup-v2, "Memory Interface Files").
    pub fn watch_out_of_memory(&self) -> Result<Option<OutOfMemoryWatch>, Error> {
        let unified = || self.layout.unified().filter(|unified| unified.has("memory"));
        let Some(hierarchy) = self.layout.v1("memory").or_else(unified) else { return Ok(None) };
        let (file, descriptor) = match hierarchy.language() {
            Language::V1 => ("memory.oom_control", self.watch_v1(hierarchy)),
            Language::V2 => ("memory.events", self.watch_v2(hierarchy)),
        };
        let descriptor = descriptor
            .map_err(|errno| Error::kernel(Operation::Read, self.display(hierarchy, file), errno))?;
        Ok(Some(OutOfMemoryWatch { descriptor }))
    }

    fn watch_v1(&self, hierarchy: &Hierarchy) -> Result<OwnedFd, Errno> {
        let path = self.path.as_str();
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = files::open(hierarchy, path, "memory.oom_control", OFlags::RDONLY)?;
        let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        files::write(hierarchy, path, "cgroup.event_control", &registration)?;
        Ok(event)
    }

    fn watch_v2(&self, hierarchy: &Hierarchy) -> Result<OwnedFd, Errno> {
        let file = files::open(hierarchy, self.path.as_str(), "memory.events", OFlags::RDONLY)?;
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        // inotify takes a path, and the one of the descriptor is free of races.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY)?;
        Ok(watch)
    }
}
