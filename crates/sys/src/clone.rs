//! `clone3(2)` with fork semantics: a child in new namespaces and in its cgroup from its first instruction.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use linux_raw_sys::general::clone_args;

/// Namespace flags and others of `clone(2)`, as the kernel's bits (`CLONE_NEW*`).
pub mod flags {
    use linux_raw_sys::general as raw;
    /// New mount namespace.
    pub const NEWNS: u64 = raw::CLONE_NEWNS as u64;
    /// New UTS namespace (host and domain name).
    pub const NEWUTS: u64 = raw::CLONE_NEWUTS as u64;
    /// New IPC namespace (System V objects, POSIX queues).
    pub const NEWIPC: u64 = raw::CLONE_NEWIPC as u64;
    /// New pid namespace; the child is its pid 1.
    pub const NEWPID: u64 = raw::CLONE_NEWPID as u64;
    /// New network namespace.
    pub const NEWNET: u64 = raw::CLONE_NEWNET as u64;
    /// New user namespace.
    pub const NEWUSER: u64 = raw::CLONE_NEWUSER as u64;
    /// New cgroup namespace, rooted at the cgroup of the caller of the call.
    pub const NEWCGROUP: u64 = raw::CLONE_NEWCGROUP as u64;
    /// New time namespace (5.6); with `clone3` alone, its bit is a signal number for `clone`.
    pub const NEWTIME: u64 = raw::CLONE_NEWTIME as u64;
    /// The child has the same descriptors, by the same numbers, as the caller.
    pub const FILES: u64 = raw::CLONE_FILES as u64;
    /// The child becomes a sibling: its parent is the caller's parent.
    pub const PARENT: u64 = raw::CLONE_PARENT as u64;
}

/// What `clone` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct CloneRequest<'a> {
    /// Bits of [`flags`].
    pub flags: u64,
    /// cgroup2 directory in which the child starts (`CLONE_INTO_CGROUP`, 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// In which cgroup a child begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the one that was requested.
    InCgroup,
    /// In its parent's: none was requested, or the kernel refused.
    WithParent,
}

/// A child that `clone` made.
#[derive(Debug)]
pub struct Child {
    /// Its pid in the caller's pid namespace.
    pub pid: i32,
    /// Its pidfd, close-on-exec.
    pub pidfd: OwnedFd,
    /// Whether it started in the requested cgroup; if not, the caller must move it.
    pub in_cgroup: bool,
}

/// Makes a child that runs `program` on a copy of this process's memory and exits with what it returns.
///
/// All signals are blocked in the child, so no handler of the parent ever runs there. `program` must not
/// allocate, lock or print: another thread may have held that lock at the moment of the copy, and the child would
/// wait for ever. That is a hang and not unsoundness, hence a safe function.
///
/// Where `clone3` or its cgroup argument is refused (ENOSYS before 5.3 or under a seccomp filter, EPERM under
/// another filter), `clone(2)` is tried with the same flags.
pub fn clone(request: &CloneRequest<'_>, program: &mut dyn FnMut(Placement) -> i32) -> io::Result<Child> {
    let mask = crate::signal::block_all()?;
    let result = clone_blocked(request, program);
    mask.restore();
    result
}

fn clone_blocked(request: &CloneRequest<'_>, program: &mut dyn FnMut(Placement) -> i32) -> io::Result<Child> {
    let mut pidfd: RawFd = -1;
    let base = request.flags | u64::from(linux_raw_sys::general::CLONE_PIDFD);
    if let Some(cgroup) = request.cgroup {
        let flags = base | linux_raw_sys::general::CLONE_INTO_CGROUP;
        match clone3(flags, cgroup.as_raw_fd(), &mut pidfd) {
            Ok(pid) => return finish(pid, pidfd, true, program),
            Err(error) if may_fall_back(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let plain = clone3(base, -1, &mut pidfd);
    let pid = match plain {
        Err(error) if may_fall_back(&error) && request.flags & flags::NEWTIME == 0 => {
            legacy_clone(base, &mut pidfd)?
        }
        other => other?,
    };
    finish(pid, pidfd, false, program)
}

/// Whether an older way may work: the call is unknown, or refused by a filter or by rights over the cgroup.
fn may_fall_back(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOSYS
                | libc::EPERM
                | libc::EACCES
                | libc::EINVAL
                | libc::E2BIG
                | libc::EOPNOTSUPP
                | libc::EBUSY
        )
    )
}

fn finish(
    pid: i32,
    pidfd: RawFd,
    in_cgroup: bool,
    program: &mut dyn FnMut(Placement) -> i32,
) -> io::Result<Child> {
    if pid == 0 {
        let code = program(if in_cgroup { Placement::InCgroup } else { Placement::WithParent });
        crate::process::exit_now(code);
    }
    // SAFETY: the kernel stored a new descriptor there, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd, in_cgroup })
}

fn clone3(flags: u64, cgroup: RawFd, pidfd: &mut RawFd) -> io::Result<i32> {
    let arguments = clone_args {
        flags,
        pidfd: std::ptr::from_mut(pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        // A sibling reports as its maker does; the kernel refuses a signal beside CLONE_PARENT.
        exit_signal: if flags & self::flags::PARENT == 0 { libc::SIGCHLD as u64 } else { 0 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: if cgroup < 0 { 0 } else { cgroup as u64 },
    };
    // SAFETY: stack 0 gives the child a copy of this very stack (fork semantics), so it returns from this call
    // like the parent; `arguments` and `pidfd` live across the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<clone_args>()) };
    crate::check(pid).map(|pid| pid as i32)
}

fn legacy_clone(flags: u64, pidfd: &mut RawFd) -> io::Result<i32> {
    let flags = flags | libc::SIGCHLD as u64;
    // SAFETY: as in `clone3`: no stack is given, so the child runs on a copy of this one; the third argument is
    // where CLONE_PIDFD stores the descriptor on every architecture built for.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, std::ptr::from_mut(pidfd), 0, 0) };
    crate::check(pid).map(|pid| pid as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;

    #[test]
    fn child_runs_the_program_and_exits_with_its_result() {
        let request = CloneRequest { flags: 0, cgroup: None };
        let child = clone(&request, &mut |_| 42).expect("clone works without privilege");
        let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
            .expect("our own child")
            .expect("blocking");
        assert_eq!(status.exit_status(), Some(42));
    }
}
