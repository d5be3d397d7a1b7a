//! Owns stopping a group as a whole and letting it run again. Must not kill.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, Kind, Operation};
use crate::files;
use crate::group::Cgroup;
use crate::layout::Hierarchy;

/// How long the processes may take to stop. A process in uninterruptible sleep stops only when it wakes.
const PATIENCE: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Stops every process in the group and below, and returns when all have stopped. When they do not within two
    /// seconds, the group is thawed again and the error is [`Kind::Busy`].
    pub fn freeze(&self) -> Result<(), Error> {
        self.refuse_own_group(Operation::Freeze)?;
        self.freeze_within(PATIENCE).inspect_err(|_| {
            // Best effort: half a frozen group helps nobody, and the cause is what counts.
            let _ = self.thaw();
        })
    }

    /// Lets a frozen group run again, whoever froze it. Nothing happens when it was not frozen.
    pub fn thaw(&self) -> Result<(), Error> {
        let mut found = false;
        for (hierarchy, file, value) in self.freezers() {
            match files::write(hierarchy, self.path.as_str(), file, value.thawed) {
                Ok(()) => found = true,
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => {
                    return Err(Error::kernel(Operation::Thaw, self.display(hierarchy, ""), errno));
                }
            }
        }
        if found { Ok(()) } else { Err(self.not_thawed()) }
    }

    /// Whether the group is frozen or about to be, by us, by others, or through an ancestor.
    pub fn frozen(&self) -> bool {
        self.freezers().any(|(hierarchy, file, _)| self.frozen_in(hierarchy, file) != State::Running)
    }

    /// Thaws the group and every group below, so that what was killed can die. On v2 frozen processes die as well;
    /// on v1 they do not, and each group that was frozen itself has to be thawed itself. A group that is gone, as
    /// with its last process, or that no freezer acts on, has nothing frozen.
    pub fn thaw_tree(&self) -> Result<(), Error> {
        for (hierarchy, file, value) in self.freezers() {
            let failed = |errno| Error::kernel(Operation::Thaw, self.display(hierarchy, ""), errno);
            let groups = match file {
                V2_FILE => vec![self.path.as_str().to_owned()],
                _ => files::tree(hierarchy, self.path.as_str()).map_err(failed)?,
            };
            for group in groups {
                match files::write(hierarchy, &group, file, value.thawed) {
                    // A group that is gone has nothing frozen.
                    Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn freeze_within(&self, patience: Duration) -> Result<(), Error> {
        // One is enough, and the v1 freezer is where docker and podman look.
        let Some((hierarchy, file, value)) = self.freezers().next() else {
            return Err(self.no_freezer(Operation::Freeze));
        };
        let failed = |errno| Error::kernel(Operation::Freeze, self.display(hierarchy, ""), errno);
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(50);
        loop {
            // Written again each time: on v1, processes that were forked while freezing started are only caught
            // by the next write.
            files::write(hierarchy, self.path.as_str(), file, value.frozen).map_err(failed)?;
            if self.frozen_in(hierarchy, file) == State::Frozen {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::plain(
                    Operation::Freeze,
                    self.display(hierarchy, ""),
                    Kind::Busy,
                    "some process does not stop",
                ));
            }
            if file == V2_FILE {
                self.wait_for_event(hierarchy)
            } else {
                std::thread::sleep(pause)
            }
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// The freezers that act on the group: v1, where mounted, then v2.
    fn freezers(&self) -> impl Iterator<Item = (&Hierarchy, &'static str, Values)> {
        let v1 = self.layout.v1("freezer");
        let v1 =
            v1.map(|hierarchy| (hierarchy, "freezer.state", Values { frozen: "FROZEN", thawed: "THAWED" }));
        let v2 = self.layout.unified();
        let v2 = v2.map(|hierarchy| (hierarchy, V2_FILE, Values { frozen: "1", thawed: "0" }));
        v1.into_iter().chain(v2)
    }

    fn frozen_in(&self, hierarchy: &Hierarchy, file: &str) -> State {
        let path = self.path.as_str();
        if file == V2_FILE {
            // cgroup.events tells of processes that have stopped, cgroup.freeze of what was asked for.
            let events = files::read(hierarchy, path, "cgroup.events").unwrap_or_default();
            if files::keyed(&events, "frozen") == Some(1) {
                return State::Frozen;
            }
            let asked = files::read(hierarchy, path, V2_FILE).unwrap_or_default();
            return if asked.trim() == "1" { State::Freezing } else { State::Running };
        }
        match files::read(hierarchy, path, file).unwrap_or_default().trim() {
            "FROZEN" => State::Frozen,
            "FREEZING" => State::Freezing,
            _ => State::Running,
        }
    }

    fn wait_for_event(&self, hierarchy: &Hierarchy) {
        let Ok(events) = files::open(hierarchy, self.path.as_str(), "cgroup.events", OFlags::RDONLY) else {
            return;
        };
        // Reading arms the notice; capped, so that a lost race costs little.
        if files::read_all(&events).is_ok_and(|content| files::keyed(&content, "frozen") == Some(0)) {
            let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let _ = rustix::event::poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout));
        }
    }

    fn not_thawed(&self) -> Error {
        if self.freezers().next().is_none() {
            return self.no_freezer(Operation::Thaw);
        }
        Error::plain(Operation::Thaw, self.path.to_string(), Kind::NotFound, "the group is gone")
    }

    fn no_freezer(&self, operation: Operation) -> Error {
        let text = "no hierarchy has a freezer for it";
        Error::plain(operation, self.path.to_string(), Kind::ControllerUnavailable, text)
    }
}

const V2_FILE: &str = "cgroup.freeze";

/// What one freezer file takes.
struct Values {
    frozen: &'static str,
    thawed: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Freezing,
    Frozen,
}
