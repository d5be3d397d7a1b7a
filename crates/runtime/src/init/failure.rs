//! How the child says what failed: a call and an errno, a few bytes that need no allocation.

use std::io;

/// The system call that a step was in when it failed.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Injected,
    Receive,
    Send,
    Accept,
    Prctl,
    Setsid,
    Keyctl,
    Unshare,
    Setns,
    Mount,
    Open,
    OpenTree,
    Fsopen,
    Fsconfig,
    Fsmount,
    MoveMount,
    MountSetattr,
    Mkdir,
    Mknod,
    Symlink,
    Chown,
    Chmod,
    Stat,
    PivotRoot,
    Chdir,
    Umount,
    Sethostname,
    Setdomainname,
    Write,
    Netlink,
    Setgroups,
    Setresgid,
    Setresuid,
    Capset,
    Setrlimit,
    Seccomp,
    CloseRange,
    Execve,
    Ioctl,
    Dup,
    Clone,
    Personality,
    SchedSetattr,
    SchedSetaffinity,
    IoprioSet,
    Access,
    Sendfile,
    Getdents,
    Readlink,
    Chroot,
    SetMempolicy,
    Rename,
}

impl Call {
    /// Every call, in the order of its number.
    const ALL: [(Call, &'static str); 52] = [
        (Call::Injected, "injected failure"),
        (Call::Receive, "recvmsg"),
        (Call::Send, "sendmsg"),
        (Call::Accept, "accept"),
        (Call::Prctl, "prctl"),
        (Call::Setsid, "setsid"),
        (Call::Keyctl, "keyctl"),
        (Call::Unshare, "unshare"),
        (Call::Setns, "setns"),
        (Call::Mount, "mount"),
        (Call::Open, "openat2"),
        (Call::OpenTree, "open_tree"),
        (Call::Fsopen, "fsopen"),
        (Call::Fsconfig, "fsconfig"),
        (Call::Fsmount, "fsmount"),
        (Call::MoveMount, "move_mount"),
        (Call::MountSetattr, "mount_setattr"),
        (Call::Mkdir, "mkdirat"),
        (Call::Mknod, "mknodat"),
        (Call::Symlink, "symlinkat"),
        (Call::Chown, "fchownat"),
        (Call::Chmod, "fchmodat"),
        (Call::Stat, "statx"),
        (Call::PivotRoot, "pivot_root"),
        (Call::Chdir, "chdir"),
        (Call::Umount, "umount2"),
        (Call::Sethostname, "sethostname"),
        (Call::Setdomainname, "setdomainname"),
        (Call::Write, "write"),
        (Call::Netlink, "netlink request"),
        (Call::Setgroups, "setgroups"),
        (Call::Setresgid, "setresgid"),
        (Call::Setresuid, "setresuid"),
        (Call::Capset, "capset"),
        (Call::Setrlimit, "prlimit"),
        (Call::Seccomp, "seccomp"),
        (Call::CloseRange, "close_range"),
        (Call::Execve, "execve"),
        (Call::Ioctl, "ioctl"),
        (Call::Dup, "dup3"),
        (Call::Clone, "clone3"),
        (Call::Personality, "personality"),
        (Call::SchedSetattr, "sched_setattr"),
        (Call::SchedSetaffinity, "sched_setaffinity"),
        (Call::IoprioSet, "ioprio_set"),
        (Call::Access, "faccessat"),
        (Call::Sendfile, "sendfile"),
        (Call::Getdents, "getdents64"),
        (Call::Readlink, "readlinkat"),
        (Call::Chroot, "chroot"),
        (Call::SetMempolicy, "set_mempolicy"),
        (Call::Rename, "renameat"),
    ];

    /// Its name as the man pages write it.
    pub(crate) fn name(self) -> &'static str {
        Call::ALL[self as usize].1
    }

    /// The call with this number, as it came over the socket.
    pub(crate) fn from_number(number: u8) -> Option<Call> {
        Call::ALL.get(usize::from(number)).map(|(call, _)| *call)
    }
}

/// What the child reports of a step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) call: Call,
    pub(crate) errno: i32,
    /// Which of a step's several objects failed (a device, a message, a candidate), from 0.
    pub(crate) item: u32,
}

pub(crate) type Outcome = Result<(), Failure>;

/// Names the call that a result came from.
pub(crate) trait During<T> {
    fn during(self, call: Call) -> Result<T, Failure>;
    fn during_item(self, call: Call, item: usize) -> Result<T, Failure>;
}

impl<T> During<T> for rustix::io::Result<T> {
    fn during(self, call: Call) -> Result<T, Failure> {
        self.during_item(call, 0)
    }
    fn during_item(self, call: Call, item: usize) -> Result<T, Failure> {
        self.map_err(|errno| Failure { call, errno: errno.raw_os_error(), item: item as u32 })
    }
}

impl<T> During<T> for io::Result<T> {
    fn during(self, call: Call) -> Result<T, Failure> {
        self.during_item(call, 0)
    }
    fn during_item(self, call: Call, item: usize) -> Result<T, Failure> {
        self.map_err(|error| Failure { call, errno: error.raw_os_error().unwrap_or(0), item: item as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_stands_at_its_number() {
        for (number, (call, _)) in Call::ALL.iter().enumerate() {
            assert_eq!(*call as usize, number);
        }
    }
}
