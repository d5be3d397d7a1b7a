//! The calling process itself: its end, clock, personality and what `prctl(2)` sets.

use std::io;

/// Ends the process at once: no destructors, no flushing (`_exit(2)`).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Nanoseconds of `CLOCK_MONOTONIC`. Async-signal-safe.
pub fn monotonic_nanoseconds() -> u64 {
    // Not through rustix, which insists on vDSO functions that user-mode Linux does not have.
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` lives across the call; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Sets the execution domain (`personality(2)`).
pub fn set_personality(persona: u64) -> io::Result<()> {
    // SAFETY: a number only.
    let returned = unsafe { libc::personality(persona as libc::c_ulong) };
    crate::check(returned.into()).map(drop)
}

/// Keeps permitted capabilities over a change of user (`PR_SET_KEEPCAPS`), until the next exec.
pub fn keep_capabilities() -> io::Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) };
    crate::check(returned.into()).map(drop)
}

/// Whether another process may attach to or read this one (`PR_SET_DUMPABLE`).
pub fn set_dumpable(dumpable: Dumpable) -> io::Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable as libc::c_ulong, 0, 0, 0) };
    crate::check(returned.into()).map(drop)
}

/// Values of `PR_SET_DUMPABLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dumpable {
    /// `/proc/PID` belongs to root, and nobody without privilege may attach.
    No = 0,
    /// As usual.
    Yes = 1,
}

/// Drops capability `number` from the bounding set; the kernel never gives it back.
pub fn drop_from_bounding_set(number: u32) -> io::Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
    crate::check(returned.into()).map(drop)
}

/// Whether the kernel knows capability `number` (`PR_CAPBSET_READ`).
pub fn knows_capability(number: u32) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number), 0, 0, 0) >= 0 }
}

/// Empties the ambient set.
pub fn clear_ambient_set() -> io::Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    crate::check(returned.into()).map(drop)
}

/// Adds capability `number`, which must be permitted and inheritable, to the ambient set.
pub fn raise_ambient(number: u32) -> io::Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, libc::c_ulong::from(number), 0, 0)
    };
    crate::check(returned.into()).map(drop)
}

/// Sets the thread's effective, permitted and inheritable sets, one bit a capability (`capset(2)`, version 3).
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let half = |shift: u32| Data {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: header and data have the layout of version 3 (capset(2)) and live across the call.
    let returned = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    crate::check(returned).map(drop)
}

/// Sets the supplementary groups of the calling thread.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and length describe one slice.
    let returned = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    crate::check(returned).map(drop)
}

/// Sets the real group alone, by which `access(2)` judges.
pub fn set_real_group(gid: u32) -> io::Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe { libc::syscall(libc::SYS_setresgid, gid, -1, -1) };
    crate::check(returned).map(drop)
}

/// Sets the real user alone, by which `access(2)` judges; capabilities and dumpability stay as they are.
pub fn set_real_user(uid: u32) -> io::Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe { libc::syscall(libc::SYS_setresuid, uid, -1, -1) };
    crate::check(returned).map(drop)
}

/// Sets the group by which the kernel judges ways through files (setfsgid(2)); one that can't be had changes nothing.
pub fn set_file_group(gid: u32) {
    // SAFETY: numbers only. It tells the former group, also where it refuses.
    unsafe { libc::syscall(libc::SYS_setfsgid, gid) };
}

/// Sets the user by which the kernel judges ways through files (setfsuid(2)): from root's to another's, what root may do there
/// goes; on the way back it returns. One that can't be had changes nothing.
pub fn set_file_user(uid: u32) {
    // SAFETY: numbers only. It tells the former user, also where it refuses.
    unsafe { libc::syscall(libc::SYS_setfsuid, uid) };
}

/// Sets real, effective and saved group of the calling thread.
pub fn set_group(group: u32) -> io::Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe { libc::syscall(libc::SYS_setresgid, group, group, group) };
    crate::check(returned).map(drop)
}

/// Sets real, effective and saved user of the calling thread.
pub fn set_user(user: u32) -> io::Result<()> {
    // SAFETY: numbers only.
    let returned = unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) };
    crate::check(returned).map(drop)
}

/// Writes the working directory's path into `buffer` and returns its length; a directory outside of the root is
/// told by a path that does not begin with `/` (getcwd(2)). Async-signal-safe.
pub fn current_directory(buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe one slice.
    let returned = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    crate::check(returned).map(|length| (length as usize).saturating_sub(1))
}
