//! What another process's namespaces hold: looked at by a thread that enters them and ends. Must not leave this
//! process's other threads anywhere else than they were.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::clone::{CloneRequest, flags};
use sys::mount::{Attributes, Reach, set_attributes};

use crate::error::{Error, Result};

/// Opens what `/proc/PID/root/PATH` names, where that process lives on mounts of its own; returns it with that mount
/// namespace. Neither links of its root nor those of whoever changes it meanwhile lead anywhere else.
pub(crate) fn open(source: &Path) -> Result<Option<(OwnedFd, OwnedFd)>> {
    let Some((pid, inside)) = parts(source) else { return Ok(None) };
    let at = |error: io::Error| Error::at_path("open", source, error);
    let namespace = File::open(format!("/proc/{pid}/ns/mnt")).map_err(at)?;
    let identity = |file: &std::fs::Metadata| (file.dev(), file.ino());
    let own = std::fs::metadata("/proc/self/ns/mnt").map_err(at)?;
    if identity(&namespace.metadata().map_err(at)?) == identity(&own) {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags | OFlags::DIRECTORY, Mode::empty());
    let root = root.map_err(|error| at(error.into()))?;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let found =
        crate::sync::retry(|| rustix::fs::openat2(&root, inside.as_c_str(), flags, Mode::empty(), within));
    Ok(Some((found.map_err(|error| at(error.into()))?, namespace.into())))
}

/// The pid and the path below its root.
fn parts(source: &Path) -> Option<(u32, CString)> {
    let mut components = source.components();
    (components.next()? == Component::RootDir).then_some(())?;
    (components.next()? == Component::Normal("proc".as_ref())).then_some(())?;
    let pid = components.next()?.as_os_str().to_str()?.parse().ok()?;
    (components.next()? == Component::Normal("root".as_ref())).then_some(())?;
    let inside = components.as_path();
    let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !inside.as_os_str().is_empty()).then_some(())?;
    Some((pid, CString::new(inside.as_os_str().as_encoded_bytes()).ok()?))
}

/// A copy of the mount at `opened`, which lies in `namespace`, attached nowhere, with these attributes.
pub(crate) fn clone_tree(
    opened: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    flags: OpenTreeFlags,
    change: Attributes,
) -> io::Result<OwnedFd> {
    let copy = || -> io::Result<OwnedFd> {
        let tree = open_tree(opened, c"", flags | OpenTreeFlags::AT_EMPTY_PATH)?;
        set_attributes(tree.as_fd(), change, Reach::Tree)?;
        Ok(tree)
    };
    match within(namespace, flags::NEWNS, copy) {
        // One of a user namespace of the caller's own, in which the caller has all rights once it is there.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
            within_users(namespace, copy).map_err(|_| error)
        }
        copied => copied,
    }
}

/// Runs `open` in a process of its own that has joined a mount namespace and the users that it belongs to, which no thread can. It
/// shares this process's descriptors; `open` must not allocate or lock.
fn within_users(namespace: BorrowedFd<'_>, open: impl Fn() -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    let owner = sys::namespace::owner(namespace)?;
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let request = CloneRequest { flags: flags::FILES, cgroup: None };
    let child = sys::clone::clone(&request, &mut |_| {
        let joined = sys::namespace::join(owner.as_fd(), flags::NEWUSER)
            .and_then(|()| sys::namespace::join(namespace, flags::NEWNS));
        match joined.and_then(|()| open()) {
            Ok(opened) => {
                // It is the parent's from here on.
                let number = opened.into_raw_fd();
                let said = rustix::io::write(&theirs, &number.to_ne_bytes());
                i32::from(said.is_err())
            }
            Err(error) => error.raw_os_error().unwrap_or(1),
        }
    })?;
    let ended = rustix::process::WaitIdOptions::EXITED;
    let status = crate::sync::retry(|| {
        rustix::process::waitid(rustix::process::WaitId::PidFd(child.pidfd.as_fd()), ended)
    })?;
    match status.and_then(|status| status.exit_status()) {
        Some(0) => {
            let mut number = [0; 4];
            rustix::io::read(&ours, &mut number)?;
            sys::fd::adopt(i32::from_ne_bytes(number))
        }
        code => Err(io::Error::from_raw_os_error(code.unwrap_or(rustix::io::Errno::IO.raw_os_error()))),
    }
}

/// The host name in a uts namespace.
pub fn host_name(field: &str, namespace: &Path) -> Result<String> {
    let found = crate::plan::namespaces::open(namespace, flags::NEWUTS, "uts", field)?;
    within(found.descriptor.as_fd(), flags::NEWUTS, || {
        Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
    })
    .map_err(|error| Error::at_path("read the host name in", namespace, error).from_field(field))
}

/// Runs `work` in a thread of its own that has joined `namespace`.
pub(crate) fn within<T: Send>(
    namespace: BorrowedFd<'_>,
    kind: u64,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            if kind == flags::NEWNS {
                // Whoever shares root and working directory with others may not change mounts (setns(2)).
                sys::namespace::unshare_directories()?;
            }
            sys::namespace::join(namespace, kind)?;
            work()
        })?;
        thread.join().expect("it does not panic")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_a_process_root_are_foreign() {
        let (pid, path) = parts(Path::new("/proc/12/root/dev/shm")).expect("one");
        assert_eq!((pid, path.as_c_str()), (12, c"dev/shm"));
        for other in
            ["/proc/12/root", "/proc/self/root/dev", "/dev/shm", "/proc/1/cwd/x", "/proc/1/root/../x"]
        {
            assert!(parts(Path::new(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn this_process_own_mounts_are_not_foreign() {
        let own = format!("/proc/{}/root/dev", std::process::id());
        assert!(open(Path::new(&own)).expect("legal").is_none());
    }
}
