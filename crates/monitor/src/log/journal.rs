//! Owns the way to the system's journal: one datagram an entry (systemd.io/JOURNAL_NATIVE_PROTOCOL). Must not wait for a
//! journal that has stopped reading.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

use crate::error::{Error, Incidents, Operation};
use crate::log::LogStream;
use crate::log::lines::{Ending, Piece};

/// How long the journal may take for an entry before it counts as stuck; from then on, until it takes one again, none waits.
const PATIENCE: Duration = Duration::from_millis(250);

pub(super) struct Journal {
    path: PathBuf,
    socket: Option<OwnedFd>,
    /// What each entry has beside its message.
    fields: Vec<u8>,
    entry: Vec<u8>,
    state: State,
    lost: u64,
}

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    Stuck,
}

impl Journal {
    pub(super) fn new(path: PathBuf, fields: &[(String, String)]) -> Journal {
        let mut text = Vec::new();
        for (name, value) in fields {
            add_field(&mut text, name, value.as_bytes());
        }
        Journal { path, socket: None, fields: text, entry: Vec::new(), state: State::Reading, lost: 0 }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn send(&mut self, stream: LogStream, piece: Piece<'_>, incidents: &mut Incidents) {
        self.entry.clear();
        self.entry.extend_from_slice(&self.fields);
        // As docker has it: errors are `err`, the rest `info` (syslog(3)).
        let priority: &[u8] = match stream {
            LogStream::Stdout => b"6",
            LogStream::Stderr => b"3",
        };
        add_field(&mut self.entry, "PRIORITY", priority);
        if piece.ending == Ending::Open {
            add_field(&mut self.entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        add_field(&mut self.entry, "MESSAGE", piece.text());
        let sent = self.send_entry();
        if let Err(errno) = sent {
            self.lost += piece.bytes.len() as u64;
            let object = format!("`{}`", self.path.display());
            incidents.note(Err(Error::new(Operation::WriteLog, object, errno)));
        }
    }

    fn send_entry(&mut self) -> Result<(), Errno> {
        match self.try_to_send() {
            Err(Errno::AGAIN | Errno::NOBUFS) if self.state == State::Reading => {
                self.wait();
                let sent = self.try_to_send();
                if sent.is_err() {
                    self.state = State::Stuck;
                }
                sent
            }
            // It was started again.
            Err(Errno::CONNREFUSED | Errno::NOTCONN | Errno::CONNRESET) => {
                self.socket = None;
                self.try_to_send()
            }
            sent => {
                if sent.is_ok() {
                    self.state = State::Reading;
                }
                sent
            }
        }
    }

    fn try_to_send(&mut self) -> Result<(), Errno> {
        if self.socket.is_none() {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
            connect(&socket, &SocketAddrUnix::new(&self.path)?)?;
            self.socket = Some(socket);
        }
        let socket = self.socket.as_ref().ok_or(Errno::NOTCONN)?;
        rustix::io::retry_on_intr(|| send(socket, &self.entry, SendFlags::NOSIGNAL)).map(drop)
    }

    fn wait(&self) {
        let Some(socket) = &self.socket else { return };
        let mut watched = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT)];
        let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(PATIENCE.subsec_nanos()) };
        // Whether it has room is seen by the next attempt.
        let _ = poll(&mut watched, Some(&patience));
    }
}

/// A value with a line feed, or that is no text, is told by its length.
fn add_field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') || std::str::from_utf8(value).is_err() {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_that_is_no_line_of_text_is_told_by_its_length() {
        let mut entry = Vec::new();
        add_field(&mut entry, "A", b"b c");
        add_field(&mut entry, "B", b"x\ny");
        add_field(&mut entry, "C", b"\xff");
        assert_eq!(entry, b"A=b c\nB\n\x03\0\0\0\0\0\0\0x\ny\nC\n\x01\0\0\0\0\0\0\0\xff\n");
    }
}
