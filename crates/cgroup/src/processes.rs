//! Owns listing and killing the processes of a group. Must not remove it.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::error::{Error, Kind, Operation};
use crate::files;
use crate::group::Cgroup;
use crate::layout::Hierarchy;

/// How long forking processes that can not be frozen are chased.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the processes may take to freeze before they are chased without.
const FREEZING: Duration = Duration::from_millis(100);

impl Cgroup {
    /// The processes in the group itself, as this process's pid namespace numbers them, in ascending order; those
    /// that it can not see are left out. Empty when the group is gone.
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        self.list(self.asked(), processes_in)
    }

    /// The processes in the group and in all groups below it, in ascending order.
    pub fn processes_recursive(&self) -> Result<Vec<i32>, Error> {
        self.list(self.asked(), processes_below)
    }

    pub(crate) fn list<'a>(
        &self,
        asked: impl Iterator<Item = &'a Hierarchy>,
        read: fn(&Hierarchy, &str) -> Result<Vec<i32>, Errno>,
    ) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        for hierarchy in asked {
            pids.extend(read(hierarchy, self.path.as_str()).map_err(|errno| {
                Error::kernel(Operation::Read, self.display(hierarchy, "cgroup.procs"), errno)
            })?);
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Sends SIGKILL to every process in the group and below, also to frozen ones and to those that fork at this
    /// moment. They may still be dying when this returns; [`remove`](Cgroup::remove) waits for them.
    ///
    /// Refused with [`Kind::Busy`] when the calling process is in the group itself.
    pub fn kill(&self) -> Result<(), Error> {
        self.refuse_own_group(Operation::Kill)?;
        if let Some(unified) = self.layout.unified() {
            match files::write(unified, self.path.as_str(), "cgroup.kill", "1") {
                Ok(()) if self.layout.hierarchies().len() == 1 => return Ok(()),
                // Hybrid: the v1 groups are looked at too, as nothing keeps the two from differing.
                Ok(()) => {}
                // Linux before 5.14, or a group that is gone.
                Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => {}
                Err(errno) => {
                    return Err(Error::kernel(Operation::Kill, self.display(unified, ""), errno));
                }
            }
        }
        self.kill_one_by_one()
    }

    fn kill_one_by_one(&self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(50);
        loop {
            if self.processes_recursive()?.is_empty() {
                return Ok(());
            }
            // Frozen processes can not fork, so one pass reaches all of them.
            let frozen = self.freeze_within(FREEZING).is_ok();
            let killed = self.asked().try_for_each(|hierarchy| {
                kill_below(hierarchy, self.path.as_str())
                    .map_err(|errno| Error::kernel(Operation::Kill, self.display(hierarchy, ""), errno))
            });
            let thawed = self.thaw_tree();
            killed?;
            thawed?;
            if frozen {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::plain(
                    Operation::Kill,
                    self.path.to_string(),
                    Kind::Busy,
                    "its processes can neither be frozen nor do they end",
                ));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Killing or freezing a group from inside would end or stop the caller halfway through.
    pub(crate) fn refuse_own_group(&self, operation: Operation) -> Result<(), Error> {
        let inside = self.layout.hierarchies().iter().find(|hierarchy| {
            let own = hierarchy.own_path().trim_start_matches('/');
            own.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        match inside {
            Some(hierarchy) => Err(Error::plain(
                operation,
                self.display(hierarchy, ""),
                Kind::Busy,
                "the calling process is in it",
            )),
            None => Ok(()),
        }
    }
}

fn processes_in(hierarchy: &Hierarchy, group: &str) -> Result<Vec<i32>, Errno> {
    let content = match files::read(hierarchy, group, "cgroup.procs") {
        // A threaded group lists its threads only; those of a process are the process to SIGKILL.
        Err(Errno::OPNOTSUPP) => files::read(hierarchy, group, "cgroup.threads"),
        result => result,
    };
    match content {
        // 0 stands for a process of a pid namespace that we do not see into.
        Ok(content) => {
            Ok(content.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0).collect())
        }
        Err(Errno::NOENT | Errno::NODEV) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

/// The processes of `path` and of all groups below it.
pub(crate) fn processes_below(hierarchy: &Hierarchy, path: &str) -> Result<Vec<i32>, Errno> {
    let mut pids = Vec::new();
    for group in files::tree(hierarchy, path)? {
        pids.extend(processes_in(hierarchy, &group)?);
    }
    Ok(pids)
}

/// Sends SIGKILL to everything below `path` that is listed there now.
fn kill_below(hierarchy: &Hierarchy, path: &str) -> Result<(), Errno> {
    let mut held = Vec::new();
    for pid in processes_below(hierarchy, path)? {
        let Some(number) = Pid::from_raw(pid) else { continue };
        match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
            Ok(pidfd) => held.push((pid, pidfd)),
            // Ended meanwhile; or a thread of a threaded group, whose process is in the parent.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    // A number may have passed to a stranger between listing and opening. What is still listed now that the
    // descriptor pins it is ours.
    let listed = processes_below(hierarchy, path)?;
    for (pid, pidfd) in held {
        if listed.contains(&pid) {
            match rustix::process::pidfd_send_signal(&pidfd, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}
