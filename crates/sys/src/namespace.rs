//! `unshare(2)` and `setns(2)`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Moves the calling thread into new namespaces (bits of [`crate::clone::flags`]).
///
/// Only for processes with one thread: others would be left with half of it.
pub fn unshare(flags: u64) -> io::Result<()> {
    // SAFETY: no CLONE_FILES or CLONE_VM among namespace flags, so no memory or descriptor changes hands.
    let returned = unsafe { libc::unshare(flags as libc::c_int) };
    crate::check(returned.into()).map(drop)
}

/// Gives the calling thread a root, a working directory and a umask of its own (`CLONE_FS`), which threads share
/// else.
pub fn unshare_directories() -> io::Result<()> {
    // SAFETY: the other threads keep what they have; no memory or descriptor changes hands.
    let returned = unsafe { libc::unshare(libc::CLONE_FS) };
    crate::check(returned.into()).map(drop)
}

/// Moves the calling thread into the namespace `namespace`, or with a pidfd into the namespaces `kinds` of that
/// process (5.8).
pub fn join(namespace: BorrowedFd<'_>, kinds: u64) -> io::Result<()> {
    // SAFETY: only the thread's namespaces change.
    let returned = unsafe { libc::setns(namespace.as_raw_fd(), kinds as libc::c_int) };
    crate::check(returned.into()).map(drop)
}

/// The flag of a namespace's kind (`NS_GET_NSTYPE`, ioctl_nsfs(2)), one of [`crate::clone::flags`]; ENOTTY for what is none.
pub fn kind(namespace: BorrowedFd<'_>) -> io::Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: this request takes no argument.
    let returned = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE as _) };
    // The kernel's int is unsigned in the type that flags have.
    Ok(u64::from(crate::check(returned.into())? as u32))
}

/// The user namespace that a namespace belongs to (`NS_GET_USERNS`, ioctl_nsfs(2)); EPERM where that is none of the
/// caller's or below.
pub fn owner(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: this request takes no argument.
    let returned = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS as _) };
    let descriptor = crate::check(returned.into())? as i32;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
