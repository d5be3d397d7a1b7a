//! User namespaces without a container: those whose maps show owners, and the one in which the caller is root over ids of its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use sys::clone::{Child, CloneRequest, flags};

use crate::caller::check_user_namespaces;
use crate::error::{Error, Result};
use crate::id_map_files;
use crate::plan::IdMaps;
use crate::spec::IdMapping;
use crate::sync;

/// Moves this process into a new user namespace with these maps, and makes it root there. What it has open stays open.
///
/// Only for processes with one thread: the kernel refuses others. There is no way back.
pub fn enter(users: &[IdMapping], groups: &[IdMapping]) -> Result<()> {
    check_user_namespaces()?;
    let maps = IdMaps::new(users, groups, "users", "groups")?;
    // As the caller is before it is root.
    let allow_groups = id_map_files::allow_groups(&maps);
    let maker = Maker::new()?;
    let namespace = maker.namespace(&maps)?;
    let system = |error: io::Error| Error::system("enter a user namespace", error);
    sys::namespace::join(namespace.as_fd(), flags::NEWUSER).map_err(system)?;
    maker.end();
    if allow_groups {
        sys::process::set_groups(&[]).map_err(system)?;
    }
    become_root().map_err(system)
}

/// Moves this process into a user namespace that is there, and makes it root there. What it has open stays open.
///
/// Only for processes with one thread: the kernel refuses others. There is no way back.
pub fn join(namespace: BorrowedFd<'_>) -> Result<()> {
    let system = |error: io::Error| Error::system("enter a user namespace", error);
    sys::namespace::join(namespace, flags::NEWUSER).map_err(system)?;
    // Refused where the namespace's maker may not change them.
    let _ = sys::process::set_groups(&[]);
    become_root().map_err(system)
}

/// Who is not mapped stays who it is.
fn become_root() -> io::Result<()> {
    for become_root in [sys::process::set_group, sys::process::set_user] {
        match become_root(0) {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
            done => done?,
        }
    }
    Ok(())
}

/// A child in a user namespace of its own, which lives on as long as somebody has it open; reaped when dropped.
#[derive(Debug)]
pub(crate) struct Maker {
    child: Child,
    /// It lives until this is closed, or killed.
    _end: OwnedFd,
}

impl Maker {
    pub(crate) fn new() -> Result<Maker> {
        let system = |error: io::Error| Error::system("make a user namespace", error);
        let (end, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| system(error.into()))?;
        let request = CloneRequest { flags: flags::NEWUSER, cgroup: None };
        let child = sys::clone::clone(&request, &mut |_| {
            // Whatever becomes of the parent, this ends with it.
            sys::fd::close_copy(ours.as_fd());
            let mut byte = [0u8; 1];
            let _ = sync::retry(|| rustix::io::read(&end, &mut byte[..]));
            0
        })
        .map_err(|error| crate::remedy::explain_clone(error, flags::NEWUSER))?;
        Ok(Maker { child, _end: ours })
    }

    /// The namespace, once it has these maps.
    pub(crate) fn namespace(&self, maps: &IdMaps) -> Result<OwnedFd> {
        crate::id_map_files::write(self.child.pid, maps)?;
        let path = PathBuf::from(format!("/proc/{}/ns/user", self.child.pid));
        let file = std::fs::File::open(&path);
        Ok(file.map_err(|error| Error::at_path("open the user namespace", &path, error))?.into())
    }

    /// Ends the child.
    pub(crate) fn end(&self) {
        // It may be gone already; then it has done what it was for.
        let _ = pidfd_send_signal(&self.child.pidfd, Signal::KILL);
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.end();
        // Somebody else may have reaped it (SIGCHLD ignored).
        let _ = sync::retry(|| waitid(WaitId::PidFd(self.child.pidfd.as_fd()), WaitIdOptions::EXITED));
    }
}
