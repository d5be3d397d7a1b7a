//! Owns the client's side of a container that a monitor stands behind: its terminal, what is typed, what comes back. Must
//! not decide what a signal means to the container: its caller does.

mod client;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use sys::signal::SignalDescriptor;

use crate::error::{Error, Operation};
use crate::keys::DetachKeys;
use crate::protocol;
use crate::wait::Wait;

/// Whether the container has a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// It has: the caller's is raw meanwhile, its size is the container's, and the keys to detach are looked for.
    OfItsOwn,
    /// It has none: bytes alone are copied.
    None,
}

/// Which of its clients this one is to the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that was handed to it with the container: nothing of the output is lost for it.
    First,
    /// One that came to its socket: it loses what it does not take in time.
    Later,
}

/// What becomes of a client that got a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// It goes on: the signal was passed on, or is of no meaning.
    Stay,
    /// It leaves the container alone and returns.
    Leave,
}

/// A client of a monitor.
pub struct Attachment<'a> {
    /// The connection, of type SEQPACKET; it stays the caller's, see [`wait_for_hangup`].
    pub connection: BorrowedFd<'a>,
    /// Which of its clients this is.
    pub role: Role,
    /// What is typed; none where it is not read.
    pub input: Option<BorrowedFd<'a>>,
    /// Where the container's output goes; none where it is not wanted.
    pub output: Option<BorrowedFd<'a>>,
    /// Where its standard error goes. A container with a terminal has none.
    pub error: Option<BorrowedFd<'a>>,
    /// Whether it has a terminal.
    pub terminal: Terminal,
    /// What to type to leave it.
    pub detach_keys: DetachKeys,
    /// The caller's signals: blocked since before the container was started, so that none is lost.
    pub signals: &'a SignalDescriptor,
    /// Is told each signal that does not speak of this process itself.
    pub on_signal: &'a mut dyn FnMut(i32) -> Reaction,
}

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// With the container.
    Exited {
        /// Its exit code, 128 and the signal's number where one ended it; none where it is not known.
        code: Option<i32>,
        /// Whether its time was up, and that ended it.
        time_was_up: bool,
    },
    /// The keys to detach were typed.
    Detached,
    /// By a signal to this process, on [`Reaction::Leave`], or SIGHUP where the caller's terminal is gone.
    Signalled(i32),
    /// The monitor is gone without a word of the container's end.
    ConnectionLost,
}

/// What is known after an attachment.
#[derive(Debug)]
pub struct Attached {
    /// How it ended.
    pub departure: Departure,
    /// How many bytes of output did not come, as this client was too slow.
    pub lost: u64,
    /// What failed on the way without being a reason to leave. At most 16, each once.
    pub incidents: Vec<Error>,
}

/// Copies between the caller's streams and the container until either leaves.
///
/// Until then the caller's terminal, where the container has one too and the calling process is in its foreground, is raw,
/// and it is as it was before when this returns, however it returns. A slow output is waited for.
pub fn attach(attachment: Attachment<'_>) -> Result<Attached, Error> {
    client::Client::new(attachment).run()
}

/// Waits until the other end of `connection` is gone: the monitor of a container that has ended, and after it the
/// program that cleaned up.
pub fn wait_for_hangup(connection: BorrowedFd<'_>) -> Result<(), Error> {
    loop {
        let mut watched = [PollFd::from_borrowed_fd(connection, PollFlags::RDHUP)];
        match poll(&mut watched, None) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(converse_error(errno)),
        }
    }
}

/// How many bytes of the container's output could not be logged so far, by the word of the monitor at the other end of `connection`,
/// which is this question's alone. None where no answer comes within `limit`: the container may have ended, or the program may
/// not take what was typed before.
pub fn ask_unlogged(connection: BorrowedFd<'_>, limit: Duration) -> Option<u64> {
    protocol::send(connection, protocol::ASK_UNLOGGED, &[]).ok()?;
    let mut wait = Wait::for_some(1);
    wait.add(Some(connection), PollFlags::IN);
    wait.wait(Some(limit)).ok().filter(|ready| *ready > 0)?;
    let mut message = [0u8; 9];
    let (length, _) = recv(connection, &mut message, RecvFlags::DONTWAIT).ok()?;
    match message {
        [protocol::UNLOGGED, count @ ..] if length == message.len() => Some(u64::from_le_bytes(count)),
        _ => None,
    }
}

fn converse_error(errno: Errno) -> Error {
    Error::new(Operation::Converse, "the container's monitor", errno)
}
