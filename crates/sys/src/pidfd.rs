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

/// What the kernel tells of a process (`struct pidfd_info` of linux/pidfd.h, as it was first made).
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    /// Its ids.
    ids: [u32; 11],
    exit_code: i32,
}

/// `_IOWR(0xff, 11, struct pidfd_info)`.
const GET_INFO: libc::c_ulong = 0xc040_ff0b;

/// `PIDFD_INFO_EXIT`.
const EXIT: u64 = 1 << 3;

/// How a process ended that its parent has waited for, as `wait(2)` has it. None where the kernel does not tell: before that, and
/// before Linux 6.15.
pub fn exit_status(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the number says how large the structure is, which lives across the call.
    let returned = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    match crate::check(returned.into()) {
        Ok(_) => Ok((info.mask & EXIT != 0).then_some(info.exit_code)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOTTY | libc::EINVAL | libc::ESRCH | libc::EREMOTE) => Ok(None),
            _ => Err(error),
        },
    }
}
