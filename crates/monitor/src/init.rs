//! Owns what is done to a container's init, a process of which somebody else decides: signals to it, and its status. Must not
//! decide anything.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::error::{Error, Operation, errno_of};
use crate::exit::Exit;

/// Sends it a signal. One that has just ended is no error: the next wait tells.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, pid: i32, number: i32) -> Result<(), Error> {
    match sys::pidfd::send_signal(pidfd, number).map_err(|error| errno_of(&error)) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => {
            let object = format!("signal {number} to process {pid}");
            Err(Error::new(Operation::ForwardSignal, object, errno))
        }
    }
}

/// How it ended, which is waited for; it is a child of the calling process, and no more after this.
pub(crate) fn reap(pidfd: BorrowedFd<'_>, pid: i32) -> Result<Exit, Error> {
    loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(status) => {
                if let Some(exit) = status.as_ref().and_then(Exit::from_status) {
                    return Ok(exit);
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new(Operation::Reap, format!("process {pid}"), errno)),
        }
    }
}
