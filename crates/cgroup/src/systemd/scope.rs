//! Owns a container's scope: having systemd make it, telling it the limits, ending it. Must not write control files.
//!
//! A scope is a unit around processes that systemd did not start. It must have one when it is made, and it ends with its
//! last; so a process of ours waits in it until the container's init is there.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use sys::clone::{Child, CloneRequest};

use super::bus::{Connection, Refusal};
use super::message::Writer;
use super::property::Property;
use super::value::Value;
use super::{Manager, job, refusal_error, wait};
use crate::error::{Error, Operation};

/// One scope, read from its group's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope<'a> {
    pub(crate) manager: Manager,
    pub(crate) slice: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Scope<'a> {
    /// The scope whose group is `path`.
    pub(crate) fn at(manager: Manager, path: &'a str) -> Scope<'a> {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let slice = parents.rsplit('/').next().filter(|parent| parent.ends_with(".slice"));
        Scope { manager, slice: slice.unwrap_or("-.slice"), name }
    }

    /// Has systemd make it around a process that waits, and returns that.
    ///
    /// What is left of an earlier scope of that name is cleared away once: a failed unit stays until somebody does.
    pub(crate) fn start(&self, properties: &[Property]) -> Result<Holder, Error> {
        let holder = Holder::new().map_err(|errno| Error::kernel(Operation::StartUnit, self.name, errno))?;
        let start = || -> Result<(), Refusal> {
            let mut connection = Connection::open(self.manager)?;
            let ask = |connection: &mut Connection| {
                let body = self.description(&holder, properties);
                connection.manager("StartTransientUnit", "ssa(sv)a(sa(sv))", body, job)
            };
            let asked = match ask(&mut connection) {
                Err(Refusal::Answer { name, .. }) if name.ends_with(".UnitExists") => {
                    // It need not have failed; then the second answer is the same, and says so.
                    let _ = self.forget(&mut connection);
                    ask(&mut connection)
                }
                other => other,
            };
            wait(&mut connection, &asked?)
        };
        start().map_err(|refusal| refusal_error(self.name, refusal))?;
        Ok(holder)
    }

    /// The arguments of StartTransientUnit, see org.freedesktop.systemd1(5).
    fn description(&self, holder: &Holder, properties: &[Property]) -> Writer {
        let text = |text: &str| Value::Text(text.to_owned());
        let pid = Value::Array("u".to_owned(), vec![Value::Uint32(holder.child.pid as u32)]);
        let mut all = vec![
            Property::new("Description", text("Container of rabbitc-runtime")),
            Property::new("Slice", text(self.slice)),
            Property::new("PIDs", pid),
            Property::new("Delegate", Value::Boolean(true)),
            // Ordered after nothing and in conflict with no shutdown: whoever manages the container ends it.
            Property::new("DefaultDependencies", Value::Boolean(false)),
        ];
        for controller in ["Memory", "CPU", "IO", "Tasks"] {
            all.push(Property::new(&format!("{controller}Accounting"), Value::Boolean(true)));
        }
        all.extend_from_slice(properties);
        let mut body = Writer::default();
        body.string(self.name);
        body.string("fail");
        write(&all, &mut body);
        // No auxiliary units.
        body.array(8, |_| ());
        body
    }

    /// Sets properties for as long as the unit lives.
    pub(crate) fn set(&self, properties: &[Property]) -> Result<(), Error> {
        if properties.is_empty() {
            return Ok(());
        }
        let set = || -> Result<(), Refusal> {
            let mut connection = Connection::open(self.manager)?;
            let mut body = Writer::default();
            body.string(self.name);
            body.boolean(true);
            write(properties, &mut body);
            connection.manager("SetUnitProperties", "sba(sv)", body, |_| Some(()))
        };
        set().map_err(|refusal| Error {
            operation: Operation::SetProperties,
            ..refusal_error(self.name, refusal)
        })
    }

    /// Ends it, and returns when systemd has forgotten it. One that is gone is no error.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        let stop = || -> Result<(), Refusal> {
            let mut connection = match Connection::open(self.manager) {
                // No unit is left without the systemd that had it.
                Err(Refusal::Connection(error)) if is_gone(&error) => return Ok(()),
                opened => opened?,
            };
            let mut body = Writer::default();
            body.string(self.name);
            body.string("replace");
            match connection.manager("StopUnit", "ss", body, job) {
                Ok(job) => {
                    // However it ended, there is no scope any more; groups that are left are removed after this.
                    connection.wait_for_job(&job)?;
                }
                Err(Refusal::Answer { name, .. }) if name.ends_with(".NoSuchUnit") => return Ok(()),
                Err(refusal) => return Err(refusal),
            }
            // Only a failed unit has anything to forget.
            let _ = self.forget(&mut connection);
            Ok(())
        };
        stop().map_err(|refusal| Error { operation: Operation::Remove, ..refusal_error(self.name, refusal) })
    }

    fn forget(&self, connection: &mut Connection) -> Result<(), Refusal> {
        let mut body = Writer::default();
        body.string(self.name);
        connection.manager("ResetFailedUnit", "s", body, |_| Some(()))
    }
}

/// Whether nobody listens at a socket any more.
fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}

/// `a(sv)`.
fn write(properties: &[Property], body: &mut Writer) {
    body.array(8, |list| {
        for property in properties {
            list.structure(|entry| {
                entry.string(&property.name);
                entry.variant(&property.value.signature(), |value| property.value.write(value));
            });
        }
    });
}

/// The process that waits in a scope. It ends when this is dropped, and by itself when whoever made it ends.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    /// Closed by the kernel with us: then it reads its end.
    _end: OwnedFd,
}

impl Holder {
    fn new() -> Result<Holder, Errno> {
        let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let kept = theirs.as_raw_fd();
        let request = CloneRequest { flags: 0, cgroup: None };
        let child = sys::clone::clone(&request, &mut |_| {
            // The end whose closing it waits for, and the caller's locks and pipes, must not live on in it.
            sys::fd::close_copy(ours.as_fd());
            sys::fd::close_copies_but(&[kept]);
            let mut buffer = [0_u8; 1];
            while rustix::io::read(&theirs, &mut buffer) == Err(Errno::INTR) {}
            0
        });
        let child = child.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(Holder { child, _end: ours })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have been killed with the group.
        let _ = pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let reap = || waitid(WaitId::PidFd(self.child.pidfd.as_fd()), WaitIdOptions::EXITED);
        while matches!(reap(), Err(Errno::INTR)) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_and_its_slice_are_the_last_names_of_the_path() {
        let scope = Scope::at(Manager::System, "a.slice/a-b.slice/x-1.scope");
        assert_eq!((scope.slice, scope.name), ("a-b.slice", "x-1.scope"));
        assert_eq!(Scope::at(Manager::System, "x-1.scope").slice, "-.slice");
        let user = "user.slice/user-7.slice/user@7.service/x-1.scope";
        assert_eq!(Scope::at(Manager::User(7), user).slice, "-.slice");
    }

    #[test]
    fn scope_ends_with_its_systemd() {
        // No user has this number, so its manager has no socket.
        let scope = Scope::at(Manager::User(u32::MAX - 1), "a.slice/x.scope");
        assert!(scope.stop().is_ok());
        assert!(scope.set(&[Property::new("TasksMax", Value::Uint64(1))]).is_err());
    }

    #[test]
    fn holder_ends_with_its_owner() {
        let holder = Holder::new().expect("a process");
        let pidfd = holder.child.pidfd.try_clone().expect("a copy");
        drop(holder);
        assert_eq!(pidfd_send_signal(&pidfd, Signal::KILL), Err(Errno::SRCH));
    }
}
