//! Owns how a container's end is asked for. Must not guess: what the kernel does not tell is none.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};

use crate::error::{Error, Operation};
use crate::exit::Exit;
use crate::service::Parentage;

/// How long the parent of an adopted container may take to reap it: before that the kernel does not tell how it ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// How init, which has ended, did so; none where nobody can tell.
pub(super) fn status(pidfd: BorrowedFd<'_>, pid: i32, parentage: Parentage) -> Result<Option<Exit>, Error> {
    if parentage == Parentage::Adopted {
        return Ok(told_by_kernel(pidfd));
    }
    loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(status) => {
                if let Some(exit) = status.as_ref().and_then(Exit::from_status) {
                    return Ok(Some(exit));
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => {
                // Somebody else's after all, or thrown away as SIGCHLD was ignored.
                let told = told_by_kernel(pidfd);
                let failed = || Error::new(Operation::Reap, format!("process {pid}"), errno);
                return told.map(Some).ok_or_else(failed);
            }
        }
    }
}

/// Whether it was SIGKILL.
pub(super) fn is_kill(exit: Option<Exit>) -> bool {
    matches!(exit, Some(Exit::Signal { number, .. }) if number == Signal::KILL.as_raw())
}

fn told_by_kernel(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match sys::pidfd::exit_status(pidfd) {
            Ok(Some(status)) => return Some(Exit::from_wait(status)),
            Ok(None) => {}
            Err(_) => return None,
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        // It hangs up when the process is reaped.
        let left = Timespec::try_from(left.min(Duration::from_millis(100))).ok();
        let _ = poll(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::empty())], left.as_ref());
    }
}
