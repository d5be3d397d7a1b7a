//! Hands the listener of a seccomp filter to the agent that answers for it, with the state of the process whose filter
//! it is (config-linux.md, "The Container Process State").

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType};
use rustix::process::PidfdGetfdFlags;

use crate::error::{Error, Result};
use crate::lifecycle::state_document;
use crate::spec::Spec;
use crate::spec::seccomp::LinuxSeccomp;
use crate::state_dir::Record;
use crate::sync;

/// Where the agent listens, and what it is told beside the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) path: String,
    pub(crate) metadata: Option<String>,
}

const FIELD: &str = "linux.seccomp.listenerPath";

impl Agent {
    /// The agent of a profile that has one.
    pub(crate) fn of(profile: &LinuxSeccomp) -> Option<Agent> {
        let path = profile.listener_path.clone()?;
        Some(Agent { path, metadata: profile.listener_metadata.clone() })
    }

    pub(crate) fn of_spec(spec: &Spec) -> Option<Agent> {
        Agent::of(spec.linux.as_ref()?.seccomp.as_ref()?)
    }

    /// What can be told of the path before anything is made; the agent itself may begin to listen later.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |reason: String| Error::invalid(FIELD, reason);
        if !self.path.starts_with('/') {
            return Err(wrong(format!("`{}` is not an absolute path", self.path))
                .with_hint("name the socket of the agent from the root on"));
        }
        SocketAddrUnix::new(self.path.as_str()).map(drop).map_err(|_| {
            let reason = format!("`{}` is no path of a socket: it is too long or has a NUL byte", self.path);
            wrong(reason).with_hint("the path of a socket has at most 107 bytes (unix(7))")
        })
    }

    /// Sends the listener of the process with this pid and pidfd; `status` is the container's.
    pub(crate) fn hand_over(
        &self,
        listener: Listener,
        (pid, process): (i32, BorrowedFd<'_>),
        record: &Record,
        status: &str,
    ) -> Result<()> {
        let listener = listener.take(process)?;
        let text = self.document(pid, record, status);
        self.send(&text, listener.as_fd()).map_err(|error| error.in_container(&record.id))
    }

    fn send(&self, text: &[u8], listener: BorrowedFd<'_>) -> Result<()> {
        let connect = || -> io::Result<OwnedFd> {
            let address = SocketAddrUnix::new(self.path.as_str())?;
            let flags = rustix::net::SocketFlags::CLOEXEC;
            let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            sync::retry(|| rustix::net::connect(&socket, &address))?;
            Ok(socket)
        };
        let failed = |operation: &str, error: io::Error| {
            let error = Error::at_path(operation, self.path.as_ref(), error);
            error.from_field(FIELD).with_hint("the agent must listen there before the container starts")
        };
        let socket = connect().map_err(|error| failed("failed to connect with seccomp agent", error))?;
        send_whole(socket.as_fd(), text, listener)
            .map_err(|error| failed("send the listener to the seccomp agent", error))
    }

    fn document(&self, pid: i32, record: &Record, status: &str) -> Vec<u8> {
        let state: serde_json::Value =
            serde_json::from_slice(&state_document(record, status)).expect("it was JSON a moment ago");
        let mut document = serde_json::json!({
            "ociVersion": record.oci_version,
            "fds": ["seccompFd"],
            "pid": pid,
            "state": state,
        });
        if let Some(metadata) = &self.metadata {
            document["metadata"] = metadata.as_str().into();
        }
        document.to_string().into_bytes()
    }
}

/// The descriptor goes with the first byte; the rest follows where it does not fit at once.
fn send_whole(socket: BorrowedFd<'_>, text: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut sent = sync::send_descriptor(socket, text, descriptor)?;
    while sent < text.len() {
        sent += sync::retry(|| rustix::net::send(socket, &text[sent..], SendFlags::NOSIGNAL))?;
    }
    Ok(())
}

/// The listener of a filter, as init told of it.
#[derive(Debug)]
pub(crate) struct Listener {
    /// It came along,
    pub(crate) shown: Option<OwnedFd>,
    /// or has this number in the process.
    pub(crate) number: i32,
}

impl Listener {
    fn take(self, process: BorrowedFd<'_>) -> Result<OwnedFd> {
        let Listener { shown, number } = self;
        if let Some(listener) = shown {
            return Ok(listener);
        }
        let copied = rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty());
        copied.map_err(|error| {
            let error = Error::system("take the listener of the seccomp filter", error);
            error.with_hint("this takes the right to trace the container's process (CAP_SYS_PTRACE)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_is_told_of_the_process_and_the_container() {
        let agent = Agent { path: "/run/agent".to_owned(), metadata: Some("bar".to_owned()) };
        let record = Record {
            oci_version: "1.3.0".to_owned(),
            id: "web".to_owned(),
            bundle: "/b".into(),
            pid: 41,
            ..Record::default()
        };
        let text = agent.document(42, &record, "running");
        let document: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let expected = serde_json::json!({
            "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": 42, "metadata": "bar",
            "state": {"ociVersion": "1.3.0", "id": "web", "status": "running", "pid": 41, "bundle": "/b"},
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn path_that_can_be_no_socket_is_refused_with_its_field() {
        for path in ["@abstract", "agent.sock", &format!("/{}", "a".repeat(108)), "/a\0b"] {
            let error = Agent { path: path.to_owned(), metadata: None }.check().expect_err(path).to_string();
            assert!(error.starts_with("linux.seccomp.listenerPath: "), "{error}");
        }
    }
}
