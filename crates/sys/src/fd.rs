//! Descriptors: ranges of them, and raw numbers received from outside.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Marks every descriptor from `first` on close-on-exec (`close_range(2)`, CLOEXEC since 5.11).
///
/// Where the call is refused, every number up to the limit of open files is marked one by one.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: only a flag of descriptors changes; no memory is involved.
    let returned =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match crate::check(returned) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL)) => {
            for number in first as RawFd..highest_number() {
                // SAFETY: as above; a number that is not open answers EBADF.
                unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The limit of open files: above it there is no descriptor that this process opened under it.
fn highest_number() -> RawFd {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.unwrap_or(1 << 20).min(1 << 20) as RawFd
}

/// Clears close-on-exec on the descriptor with this number.
pub fn keep_on_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: only a flag of the descriptor changes.
    let returned = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    crate::check(returned.into()).map(drop)
}

/// Whether this number is an open descriptor.
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD only looks.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Makes `number` another name of `descriptor`, kept at exec; whatever had that number is closed (`dup2(2)`). For a
/// child that is about to execute: an owner of the old one would close the new one.
pub fn place(descriptor: std::os::fd::BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: only this process's descriptor table changes.
    let returned = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    crate::check(returned.into()).map(drop)
}

/// Takes ownership of a descriptor that this process inherited under a known number.
///
/// Fails where the number is not open. Call it once for each number: a second owner would close it for the first.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only looks.
    let returned = unsafe { libc::fcntl(number, libc::F_GETFD) };
    crate::check(returned.into())?;
    // SAFETY: the number is open, and by this function's contract nobody else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes a copy that a child made by `clone` inherited. The parent's descriptor stays open; in the child the number
/// must not be used again, which a program that ends in exec or `_exit` never does.
pub fn close_copy(descriptor: std::os::fd::BorrowedFd<'_>) {
    use std::os::fd::AsRawFd;
    // SAFETY: only this process's descriptor table changes; a failure leaves the copy open, as it was.
    unsafe { libc::close(descriptor.as_raw_fd()) };
}

/// Closes every descriptor but those in `kept`, which are in ascending order, and the standard streams
/// (`close_range(2)`, 5.9). For a child made by `clone` that never executes anything else.
///
/// Where the call is refused, every number up to the limit of open files is closed one by one: a copy that stays open
/// would keep a pipe from ending.
pub fn close_copies_but(kept: &[RawFd]) {
    close_copies_from(3, kept);
}

/// As [`close_copies_but`], for descriptors from `first` on.
pub fn close_copies_from(lowest: RawFd, kept: &[RawFd]) {
    let mut refused = false;
    let mut first = lowest;
    for number in kept.iter().copied().filter(|number| *number >= lowest).chain([RawFd::MAX]) {
        if number > first {
            // SAFETY: only this process's descriptor table changes, and by contract nothing here uses the numbers.
            let returned = unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) };
            refused |= returned != 0;
        }
        first = number.saturating_add(1);
    }
    if !refused {
        return;
    }
    for number in (lowest..highest_number()).filter(|number| !kept.contains(number)) {
        // SAFETY: as above; a number that is not open answers EBADF.
        unsafe { libc::close(number) };
    }
}
