//! Owns the time at which something looks after the container, and the process that does. Must not know what is looked at: it
//! executes a program, and waits for the word when it is due again.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::error::{Error, Incidents, Operation, errno_of};

/// What looks after the container time and again. This program (`/proc/self/exe`) is executed with its words, in a process group of
/// its own and without the descriptors of the service. On its standard output it says in how many milliseconds it is due again,
/// or `never`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its arguments, with the program's name first.
    pub words: Vec<OsString>,
    /// When it is due first.
    pub first: Duration,
    /// When it is due again where it could not be executed, or said nothing.
    pub again: Duration,
}

/// A check, and where it stands.
pub(super) struct Checks {
    check: Check,
    due: Option<Instant>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    pidfd: OwnedFd,
    answer: ChildStdout,
}

impl Checks {
    pub(super) fn new(check: Check) -> Checks {
        let due = Instant::now().checked_add(check.first);
        Checks { check, due, running: None }
    }

    /// When there is something to begin; none while it goes on.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What tells that it has ended.
    pub(super) fn process(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.pidfd.as_fd())
    }

    /// Begins where it is time to.
    pub(super) fn begin_if_due(&mut self, incidents: &mut Incidents) {
        if self.due.take_if(|due| *due <= Instant::now()).is_none() {
            return;
        }
        match self.begin() {
            Ok(running) => self.running = Some(running),
            Err(errno) => {
                let object = "the program that looks after the container";
                incidents.note(Err(Error::new(Operation::Execute, object, errno)));
                self.due = Instant::now().checked_add(self.check.again);
            }
        }
    }

    fn begin(&self) -> Result<Running, Errno> {
        let (name, words) = self.check.words.split_first().ok_or(Errno::INVAL)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(name).args(words).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| errno_of(&error))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pid.ok_or(Errno::INVAL).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        match (pidfd, child.stdout.take()) {
            (Ok(pidfd), Some(answer)) => Ok(Running { child, pidfd, answer }),
            (pidfd, _) => {
                // Nobody would see its end.
                end(child);
                Err(pidfd.err().unwrap_or(Errno::INVAL))
            }
        }
    }

    /// It has ended: reaps it, and takes its word when it is due again.
    pub(super) fn heed(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        // It is a child of this process, and so far nobody has asked for its status.
        let _ = running.child.wait();
        let mut said = [0; 32];
        // Whoever has inherited its output does not hold this process up.
        let _ = rustix::io::ioctl_fionbio(&running.answer, true);
        let count = running.answer.read(&mut said).unwrap_or(0);
        let word = std::str::from_utf8(&said[..count]).unwrap_or_default().trim();
        self.due = match word.parse() {
            _ if word == "never" => None,
            Ok(milliseconds) => Instant::now().checked_add(Duration::from_millis(milliseconds)),
            Err(_) => Instant::now().checked_add(self.check.again),
        };
    }

    /// The container has ended: so does whoever looks after it.
    pub(super) fn end(self) {
        self.running.into_iter().for_each(|running| end(running.child));
    }
}

/// Kills it with its group, and reaps it.
fn end(mut child: Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It is not reaped, so that its number is still its own.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}
