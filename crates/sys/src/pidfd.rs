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

/// `struct pidfd_info` in its first form, of 64 bytes (6.13).
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    pid: u32,
    thread_group: u32,
    parent: u32,
    /// Real, effective, saved and file system's user and group.
    ids: [u32; 8],
    exit_code: i32,
}

/// Asks for the exit status (6.15).
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(0xff, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: u32 = 3 << 30 | (size_of::<Info>() as u32) << 16 | 0xff << 8 | 11;

/// How the process of `pidfd` ended, in the form of `wait(2)`, whoever its parent is (ioctl_pidfd(2), PIDFD_INFO_EXIT, 6.15).
///
/// None while it runs or is not reaped; the descriptor polls as hung up when it is. ENOTTY where the kernel does not know
/// the call, and none for ever where it does not know that part of it.
pub fn exit_status(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut info = Info { mask: PIDFD_INFO_EXIT, ..Info::default() };
    // SAFETY: the structure has the size that is part of the call's number, and lives across the call. The number's type
    // is not the same with every C library.
    let returned = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    crate::check(returned.into())?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;

    #[test]
    fn exit_status_is_told_once_a_process_is_reaped_and_not_before() {
        let request = crate::clone::CloneRequest { flags: 0, cgroup: None };
        let child = crate::clone::clone(&request, &mut |_| 42).expect("clone works without privilege");
        let pidfd = child.pidfd.as_fd();
        let Ok(before) = exit_status(pidfd) else { return };
        assert_eq!(before, None);
        waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).expect("our own child");
        assert!(matches!(exit_status(pidfd), Ok(Some(0x2a00) | None)));
    }
}
