//! Owns one standard stream of the caller, and how to use it without ever waiting in a read or a write. Must not
//! change it: O_NONBLOCK belongs to the open file description, and that one is shared with the caller's shell.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

/// Which of the caller's streams it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Its standard input.
    Input,
    /// Its standard output.
    Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Terminal,
    Pipe,
    Socket,
    /// Files and devices that never let one wait for long.
    Other,
}

/// A standard stream of the caller.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    given: BorrowedFd<'a>,
    kind: Kind,
    /// The same pipe or terminal, opened once more without blocking.
    reopened: Option<OwnedFd>,
}

impl<'a> Stream<'a> {
    /// Terminals and pipes are opened anew through /proc, which gives a description of our own that may be set not
    /// to block. Where that is refused (no /proc, the terminal of another user after `su`), the given descriptor is
    /// used in pieces small enough for what poll(2) promises.
    pub(crate) fn new(given: BorrowedFd<'a>, direction: Direction) -> Stream<'a> {
        let file_type = rustix::fs::fstat(given).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let kind = match file_type {
            Ok(FileType::CharacterDevice) if rustix::termios::isatty(given) => Kind::Terminal,
            Ok(FileType::Fifo) => Kind::Pipe,
            Ok(FileType::Socket) => Kind::Socket,
            _ => Kind::Other,
        };
        let reopened = match kind {
            Kind::Terminal | Kind::Pipe => reopen(given, direction).ok(),
            Kind::Socket | Kind::Other => None,
        };
        Stream { given, kind, reopened }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.kind == Kind::Terminal
    }

    /// As the caller gave it.
    pub(crate) fn given(&self) -> BorrowedFd<'a> {
        self.given
    }

    /// For polling and reading.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.reopened.as_ref().map_or(self.given, AsFd::as_fd)
    }

    /// Reads once, after poll(2) said that it may.
    pub(crate) fn read(&self, room: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(self.descriptor(), room)
    }

    /// Writes once, after poll(2) said that it may; as much as goes without waiting.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let most = match self.kind {
            // That much is free in a pipe that polls writable (PIPE_BUF), unless another writer is quicker.
            Kind::Pipe if self.reopened.is_none() => 4096,
            // A terminal promises one byte only; a few hundred are the usual room of a slow line.
            Kind::Terminal if self.reopened.is_none() => 256,
            Kind::Socket => {
                return rustix::net::send(self.given, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            }
            _ => bytes.len(),
        };
        rustix::io::write(self.descriptor(), &bytes[..bytes.len().min(most)])
    }
}

fn reopen(given: BorrowedFd<'_>, direction: Direction) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    let access = match direction {
        Direction::Input => OFlags::RDONLY,
        Direction::Output => OFlags::WRONLY,
    };
    let path = format!("/proc/self/fd/{}", given.as_raw_fd());
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}
