//! Owns how a container's end is asked for. Must not guess: what the kernel does not tell is none.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::Error;
use crate::exit::Exit;
use crate::init;
use crate::service::Parentage;

/// How long the parent of an adopted container may take to reap it: before that the kernel does not tell how it ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// How init, which has ended, did so; none where nobody can tell.
pub(super) fn status(pidfd: BorrowedFd<'_>, pid: i32, parentage: Parentage) -> Result<Option<Exit>, Error> {
    match parentage {
        Parentage::Adopted => Ok(told_by_kernel(pidfd)),
        // What is not told may be somebody else's after all, or thrown away as SIGCHLD was ignored.
        Parentage::Own => {
            init::reap(pidfd, pid).or_else(|error| told_by_kernel(pidfd).ok_or(error)).map(Some)
        }
    }
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
