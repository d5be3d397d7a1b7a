//! The records that parent and child exchange: fixed size, one SEQPACKET message each, no allocation.
//!
//! Which record comes when is not written here: barriers are steps of the plan, and both ends read it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::init::failure::{Call, Failure};

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// Parent to child: the barrier at this step is open.
    Go { step: u16 },
    /// Child to parent: the barrier at this step is reached.
    Reached { step: u16 },
    /// Child to parent: this step failed.
    Failed { step: u16, failure: Failure },
    /// Intermediate process to parent: the process that matters has this pid.
    Process { pid: i32 },
    /// Child to parent: at this step a listener was made. It comes along, or has this number in the child.
    Listener { step: u16, descriptor: i32 },
}

const SIZE: usize = 16;

impl Record {
    fn encode(self) -> [u8; SIZE] {
        let mut bytes = [0u8; SIZE];
        let (kind, step, call, errno, item) = match self {
            Record::Go { step } => (1u8, step, 0u8, 0, 0),
            Record::Reached { step } => (2, step, 0, 0, 0),
            Record::Failed { step, failure } => (3, step, failure.call as u8, failure.errno, failure.item),
            Record::Process { pid } => (4, 0, 0, pid, 0),
            Record::Listener { step, descriptor } => (5, step, 0, descriptor, 0),
        };
        bytes[0] = kind;
        bytes[1] = call;
        bytes[2..4].copy_from_slice(&step.to_ne_bytes());
        bytes[4..8].copy_from_slice(&errno.to_ne_bytes());
        bytes[8..12].copy_from_slice(&item.to_ne_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SIZE]) -> Option<Record> {
        let step = u16::from_ne_bytes([bytes[2], bytes[3]]);
        let number = i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let item = u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        Some(match bytes[0] {
            1 => Record::Go { step },
            2 => Record::Reached { step },
            3 => Record::Failed {
                step,
                failure: Failure { call: Call::from_number(bytes[1])?, errno: number, item },
            },
            4 => Record::Process { pid: number },
            5 => Record::Listener { step, descriptor: number },
            _ => return None,
        })
    }
}

/// A connected pair, close-on-exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one record; a peer that is gone answers EPIPE and raises no signal.
pub(crate) fn send(socket: BorrowedFd<'_>, record: Record) -> rustix::io::Result<()> {
    retry(|| rustix::net::send(socket, &record.encode(), SendFlags::NOSIGNAL)).map(drop)
}

/// The same to a peer that may have died, which is seen when its end is read. Whatever else keeps the record from it is an
/// error: both would wait for ever.
pub(crate) fn answer(socket: BorrowedFd<'_>, record: Record) -> rustix::io::Result<()> {
    unless_gone(send(socket, record))
}

/// What became of a record for a peer that may have died.
pub(crate) fn unless_gone(sent: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match sent {
        Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        other => other,
    }
}

/// Receives one record; `None` when the peer has closed its end.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> rustix::io::Result<Option<Record>> {
    receive_with(socket, RecvFlags::empty())
}

/// Sends one record with a descriptor.
pub(crate) fn send_with(
    socket: BorrowedFd<'_>,
    record: Record,
    descriptor: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    send_descriptor(socket, &record.encode(), descriptor).map(drop)
}

/// How many descriptors one message of [`send_descriptors`] has at most.
pub(crate) const MOST_DESCRIPTORS: usize = 32;

/// Sends one record with several descriptors.
pub(crate) fn send_descriptors(
    socket: BorrowedFd<'_>,
    record: Record,
    descriptors: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    send_message(socket, &record.encode(), descriptors).map(drop)
}

/// Receives one record, and the descriptors that came with it; no record when the peer has closed its end.
pub(crate) fn receive_descriptors(
    socket: BorrowedFd<'_>,
    received: &mut [Option<OwnedFd>; MOST_DESCRIPTORS],
) -> rustix::io::Result<Option<Record>> {
    let mut bytes = [0u8; SIZE];
    let mut places = received.iter_mut();
    let count = receive_message(socket, &mut bytes, |descriptor| {
        if let Some(place) = places.next() {
            *place = Some(descriptor);
        }
    })?;
    decode_received(&bytes, count)
}

/// As [`send`], by write(2): where a filter is on already, that is the call that no filter may ask a listener about.
pub(crate) fn write(socket: BorrowedFd<'_>, record: Record) -> rustix::io::Result<()> {
    retry(|| rustix::io::write(socket, &record.encode())).map(drop)
}

/// As [`receive`], by read(2), which programs need more than anything else.
pub(crate) fn read(socket: BorrowedFd<'_>) -> rustix::io::Result<Option<Record>> {
    let mut bytes = [0u8; SIZE];
    let count = retry(|| rustix::io::read(socket, &mut bytes[..]))?;
    decode_received(&bytes, count)
}

/// Receives one record, and the descriptor that came with it; no record when the peer has closed its end.
pub(crate) fn receive_with_descriptor(
    socket: BorrowedFd<'_>,
) -> rustix::io::Result<(Option<Record>, Option<OwnedFd>)> {
    let mut bytes = [0u8; SIZE];
    let (count, descriptor) = receive_bytes(socket, &mut bytes)?;
    Ok((decode_received(&bytes, count)?, descriptor))
}

/// Receives one message, and the first descriptor that came with it; returns how long it is.
pub(crate) fn receive_bytes(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> rustix::io::Result<(usize, Option<OwnedFd>)> {
    let mut first = None;
    let count = receive_message(socket, bytes, |descriptor| {
        first.get_or_insert(descriptor);
    })?;
    Ok((count, first))
}

/// Receives one message, and hands over the descriptors that came with it; returns how long it is.
fn receive_message(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    mut take: impl FnMut(OwnedFd),
) -> rustix::io::Result<usize> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut data = [io::IoSliceMut::new(bytes)];
    let count = after_reset(|| {
        rustix::net::recvmsg(socket, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
            .map(|received| received.bytes)
    })?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptors.for_each(&mut take);
        }
    }
    Ok(count)
}

/// The record in what was received; nothing at the peer's end.
fn decode_received(bytes: &[u8; SIZE], count: usize) -> rustix::io::Result<Option<Record>> {
    match count {
        0 => Ok(None),
        SIZE => Record::decode(bytes).map(Some).ok_or(rustix::io::Errno::BADMSG),
        _ => Err(rustix::io::Errno::BADMSG),
    }
}

/// Receives one record that waits already; an error where none does.
pub(crate) fn receive_waiting(socket: BorrowedFd<'_>) -> rustix::io::Result<Option<Record>> {
    receive_with(socket, RecvFlags::DONTWAIT)
}

fn receive_with(socket: BorrowedFd<'_>, flags: RecvFlags) -> rustix::io::Result<Option<Record>> {
    let mut bytes = [0u8; SIZE];
    let (count, _) = after_reset(|| rustix::net::recv(socket, &mut bytes[..], flags))?;
    decode_received(&bytes, count)
}

/// A peer that died with our records unread resets the connection, and that is told before what it had sent: asked again,
/// the socket hands out its records, and then the end.
fn after_reset<T>(mut receive: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    match retry(&mut receive) {
        Err(rustix::io::Errno::CONNRESET) => retry(receive),
        other => other,
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Sends a descriptor along with `name`, as runc's console socket protocol wants it; returns how much of that was sent.
pub fn send_descriptor(
    socket: BorrowedFd<'_>,
    name: &[u8],
    descriptor: BorrowedFd<'_>,
) -> rustix::io::Result<usize> {
    send_message(socket, name, &[descriptor])
}

/// Sends one message with descriptors; returns how much of it was sent.
fn send_message(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> rustix::io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(rustix::io::Errno::NOBUFS);
    }
    let data = [io::IoSlice::new(bytes)];
    retry(|| rustix::net::sendmsg(socket, &data, &mut ancillary, SendFlags::NOSIGNAL))
}

/// Receives the descriptor that `send_descriptor` sent; `None` when the peer closed without one.
pub fn receive_descriptor(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let (_, descriptor) = receive_bytes(socket, &mut [0u8; 4096])?;
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn records_survive_the_wire() {
        let (one, other) = pair().expect("a socket pair");
        let failure = Failure { call: Call::Execve, errno: 2, item: 7 };
        for record in [
            Record::Go { step: 3 },
            Record::Reached { step: 65535 },
            Record::Failed { step: 9, failure },
            Record::Process { pid: 77 },
            Record::Listener { step: 4, descriptor: 9 },
        ] {
            send(one.as_fd(), record).expect("sent");
            assert_eq!(receive(other.as_fd()).expect("received"), Some(record));
        }
        drop(one);
        assert_eq!(receive(other.as_fd()).expect("an end"), None);
    }

    #[test]
    fn last_words_of_a_peer_that_did_not_read_ours_are_heard() {
        let (one, other) = pair().expect("a socket pair");
        let failure = Failure { call: Call::Execve, errno: 2, item: 7 };
        send(other.as_fd(), Record::Go { step: 1 }).expect("sent");
        send(one.as_fd(), Record::Failed { step: 9, failure }).expect("sent");
        drop(one);
        assert_eq!(receive(other.as_fd()).expect("heard"), Some(Record::Failed { step: 9, failure }));
        assert_eq!(receive(other.as_fd()).expect("an end"), None);
    }
}
