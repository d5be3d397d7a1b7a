//! Calls on a process that is held by its pidfd.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sends signal `signal` to the process of `pidfd` (`pidfd_send_signal(2)`, 5.1), with the sender's ids as `kill(2)`
/// would give them.
///
/// Takes the number: rustix's `Signal` has no safe way to a real-time signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed; the descriptor is open across the call.
    let returned = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    crate::check(returned).map(drop)
}
