//! Owns the messages between a monitor and its clients: records of a SEQPACKET socket, of which the first byte says what
//! the rest is. Must not hold any state. Numbers are little-endian.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

/// Client: what it wants, a byte of `WANTS_…`. Once, before anything else.
pub(crate) const HELLO: u8 = b'H';
/// Client: bytes for the container's input, at most [`MOST_INPUT`].
pub(crate) const INPUT: u8 = b'I';
/// Client: there is no more input from it.
pub(crate) const INPUT_END: u8 = b'E';
/// Client: the size of its window, rows and columns of two bytes each.
pub(crate) const RESIZE: u8 = b'R';
/// Client: how much of the output could not be logged so far?
pub(crate) const ASK_UNLOGGED: u8 = b'U';
/// Client: sockets to hold, which come along (SCM_RIGHTS).
pub(crate) const HOLD: u8 = b'S';
/// Client: where the sockets of the Internet that are held may be bound; others are let go.
pub(crate) const KEEP: u8 = b'K';

/// Monitor: what became of the one or the other: an error number, of four bytes, 0 where it was done.
pub(crate) const ANSWER: u8 = b'A';
/// Monitor: bytes of the container's standard output or terminal, at most [`MOST_OUTPUT`].
pub(crate) const OUTPUT: u8 = b'O';
/// Monitor: bytes of its standard error.
pub(crate) const ERROR: u8 = b'E';
/// Monitor: how many bytes were left out here, of eight bytes.
pub(crate) const LOST: u8 = b'L';
/// Monitor: how many bytes of output could not be logged so far, of eight bytes.
pub(crate) const UNLOGGED: u8 = b'U';
/// Monitor: it has ended: the exit code, of four bytes, and one of `EXIT_…`.
pub(crate) const EXIT: u8 = b'X';

pub(crate) const WANTS_INPUT: u8 = 1;
pub(crate) const WANTS_OUTPUT: u8 = 2;
pub(crate) const WANTS_ERROR: u8 = 4;
/// It holds the container back and loses nothing: the first client alone may.
pub(crate) const WANTS_ALL: u8 = 8;

/// Nobody knows the code.
pub(crate) const EXIT_UNKNOWN: u8 = 1;
/// The container's time was up, and that ended it.
pub(crate) const EXIT_TIME_WAS_UP: u8 = 2;

/// How many bytes of input a message has at most.
pub(crate) const MOST_INPUT: usize = 16 * 1024;
/// How many bytes of output a message has at most: half of what a FIFO holds, so that its writer has room meanwhile.
pub(crate) const MOST_OUTPUT: usize = 32 * 1024;

/// Sends one message whole, or answers at once why not.
pub(crate) fn send(connection: BorrowedFd<'_>, kind: u8, bytes: &[u8]) -> Result<(), Errno> {
    let parts = [IoSlice::new(std::slice::from_ref(&kind)), IoSlice::new(bytes)];
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| sendmsg(connection, &parts, &mut SendAncillaryBuffer::default(), flags))
        .map(drop)
}

/// Whether a message could not be sent now, and may be later.
pub(crate) fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM)
}
