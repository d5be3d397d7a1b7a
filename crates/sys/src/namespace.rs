//! `unshare(2)` and `setns(2)`.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

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

/// The namespaces of one kind that somebody is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InUse {
    /// Device and inode of their files (namespaces(7)).
    pub files: BTreeSet<(u64, u64)>,
    /// The users of threads that did not say in which they are.
    pub hidden: BTreeSet<u32>,
}

/// Looks at all threads that `/proc` shows for the namespaces of `kind`, as `/proc/PID/ns` names it: each thread may have
/// some of its own. One that ends meanwhile is in none.
pub fn in_use(kind: &str) -> io::Result<InUse> {
    let has_ended = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH));
    let mut found = InUse::default();
    for pid in numbers_in("/proc")? {
        let threads = match numbers_in(&format!("/proc/{pid}/task")) {
            Err(error) if has_ended(&error) => continue,
            threads => threads?,
        };
        for tid in threads {
            match std::fs::metadata(format!("/proc/{pid}/task/{tid}/ns/{kind}")) {
                Ok(file) => drop(found.files.insert((file.dev(), file.ino()))),
                Err(error) if has_ended(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    found.hidden.extend(std::fs::metadata(format!("/proc/{pid}")).map(|found| found.uid()));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

fn numbers_in(directory: &str) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_that_a_thread_alone_is_in_is_in_use() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: a mount namespace needs root");
            return;
        }
        let (told, tell) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let thread = std::thread::spawn(move || {
            unshare(crate::clone::flags::NEWNS).expect("a namespace of its own");
            let own = std::fs::metadata("/proc/thread-self/ns/mnt").expect("there");
            told.0.send((own.dev(), own.ino())).expect("heard");
            let _ = tell.1.recv();
        });
        let own = told.1.recv().expect("told");
        assert!(in_use("mnt").expect("looked").files.contains(&own));
        drop(tell.0);
        thread.join().expect("it ended");
    }
}
