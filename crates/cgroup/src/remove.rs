//! Owns removing a container's group from all hierarchies. Must not kill what is still in it.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::create::{remove_own_ancestors, rmdir};
use crate::error::{Error, Operation};
use crate::files;
use crate::group::Cgroup;
use crate::layout::{Hierarchy, Language, Layout};
use crate::path::CgroupPath;
use crate::processes::processes_below;

/// How long the kernel may take to empty a group whose processes are dying.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts: the first pause, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

impl Layout {
    /// Removes a group of groups from every hierarchy where it is empty: nobody is in it, and no group below it. Best effort, as whoever
    /// is in it, or refills it at this moment, does the same when they go.
    pub fn remove_empty(&self, path: &CgroupPath) {
        for hierarchy in self.hierarchies() {
            // In use in one hierarchy is in use in all.
            if let Err(Errno::BUSY | Errno::NOTEMPTY) = rmdir(hierarchy, path.as_str()) {
                return;
            }
        }
        remove_own_ancestors(self, path);
    }
}

impl Cgroup {
    /// Removes the group as [`remove`](Cgroup::remove) does; where somebody is still in it, kills them first. A group
    /// whose processes have all ended goes without a look at what is in it.
    pub fn clear(&self) -> Result<(), Error> {
        let path = self.path.as_str();
        if self.layout.hierarchies().iter().all(|hierarchy| rmdir(hierarchy, path).is_ok()) {
            remove_own_ancestors(&self.layout, &self.path);
            return self.path.end_scope();
        }
        // Removal names who can't be killed.
        let _ = self.kill();
        self.remove()
    }

    /// Removes the group and all groups below it from every hierarchy, the unit where it is a scope, and ancestors of
    /// ours that are empty then.
    ///
    /// Processes that are just dying are waited for, up to five seconds; then the error names one that holds the
    /// group. A group that is gone already is no error. Every hierarchy is tried; the first error is returned.
    pub fn remove(&self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut first = None;
        // The unified hierarchy comes first: it tells when the last process is gone, and the others follow.
        for hierarchy in self.layout.hierarchies() {
            if let Err(error) = self.remove_one(hierarchy, deadline) {
                first.get_or_insert(error);
            }
        }
        if let Err(error) = self.path.end_scope() {
            first.get_or_insert(error);
        }
        remove_own_ancestors(&self.layout, &self.path);
        first.map_or(Ok(()), Err)
    }

    fn remove_one(&self, hierarchy: &Hierarchy, deadline: Instant) -> Result<(), Error> {
        let path = self.path.as_str();
        let mut pause = FIRST_PAUSE;
        loop {
            match rmdir(hierarchy, path).or_else(|errno| match errno {
                Errno::BUSY | Errno::NOTEMPTY => remove_tree(hierarchy, path),
                _ => Err(errno),
            }) {
                Ok(()) => return Ok(()),
                Err(Errno::BUSY | Errno::NOTEMPTY) if Instant::now() < deadline => {
                    wait(hierarchy, path, pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(errno) => return Err(removal_error(hierarchy, path, errno)),
            }
        }
    }
}

/// Children before parents, the group itself last.
fn remove_tree(hierarchy: &Hierarchy, path: &str) -> Result<(), Errno> {
    files::tree(hierarchy, path)?.iter().rev().try_for_each(|group| rmdir(hierarchy, group))
}

fn removal_error(hierarchy: &Hierarchy, path: &str, errno: Errno) -> Error {
    let error = Error::kernel(Operation::Remove, hierarchy.display(path, ""), errno);
    if !matches!(errno, Errno::BUSY | Errno::NOTEMPTY) {
        return error;
    }
    match processes_below(hierarchy, path).unwrap_or_default().first() {
        Some(pid) => error.with_detail(format!("process {pid} is still in it")),
        None => error.with_detail("a process of another pid namespace, or the kernel, still holds it"),
    }
}

/// Sleeps until the group may be empty: on v2 the kernel wakes us, on v1 there is only time.
fn wait(hierarchy: &Hierarchy, path: &str, pause: Duration) {
    if hierarchy.language() == Language::V2
        && let Ok(events) = files::open(hierarchy, path, "cgroup.events", OFlags::RDONLY)
        && files::read_all(&events).is_ok_and(|content| files::keyed(&content, "populated") == Some(1))
    {
        // Capped, so that a lost race costs little.
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let _ = rustix::event::poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout));
        return;
    }
    std::thread::sleep(pause);
}
