//! Owns what a monitor holds for others and does not use, and how somebody else changes which sockets are among it: new
//! ones come over its socket (SCM_RIGHTS in unix(7)), and it is told which it may keep. Must not open or bind one itself.
//!
//! A change says what is to be, not what is to be done: repeating one that was interrupted is right.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{DupFlags, Errno};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};

use crate::error::{Error, Operation};
use crate::protocol;

/// How many descriptors a message has at most: the kernel's SCM_MAX_FD is 253.
const MOST_DESCRIPTORS: usize = 128;

/// How long the monitor has for an answer. It waits for nobody, but has one processor like others.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where sockets of the Internet may be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundAt {
    /// The number of their protocol: that of TCP is 6.
    pub protocol: u8,
    /// Their address; none is every address, of one family or of both.
    pub address: Option<IpAddr>,
    /// The lowest and the highest of their ports.
    pub ports: (u16, u16),
}

const ENCODED: usize = 22;

impl BoundAt {
    fn encode(&self) -> [u8; ENCODED] {
        let mut bytes = [0; ENCODED];
        bytes[0] = self.protocol;
        let address = match self.address {
            None => Ipv6Addr::UNSPECIFIED,
            Some(IpAddr::V4(address)) => {
                bytes[1] = 4;
                address.to_ipv6_mapped()
            }
            Some(IpAddr::V6(address)) => {
                bytes[1] = 6;
                address
            }
        };
        bytes[2..18].copy_from_slice(&address.octets());
        bytes[18..20].copy_from_slice(&self.ports.0.to_le_bytes());
        bytes[20..22].copy_from_slice(&self.ports.1.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENCODED]) -> Option<BoundAt> {
        let [protocol, family, rest @ ..] = bytes;
        let (address, ports) = rest.split_first_chunk::<16>()?;
        let address = Ipv6Addr::from(*address);
        let [a, b, c, d] = *ports.first_chunk()?;
        Some(BoundAt {
            protocol: *protocol,
            address: match family {
                0 => None,
                4 => Some(IpAddr::V4(address.to_ipv4_mapped()?)),
                6 => Some(IpAddr::V6(address)),
                _ => return None,
            },
            ports: (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])),
        })
    }

    fn is_that_of(&self, protocol: u8, bound: SocketAddr) -> bool {
        let is_everywhere =
            [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)].contains(&bound.ip());
        self.protocol == protocol
            && self.address.map_or(is_everywhere, |address| address == bound.ip())
            && (self.ports.0..=self.ports.1).contains(&bound.port())
    }
}

/// Where a socket of the Internet is bound, and its protocol's number; none of any other descriptor.
fn bound_at(descriptor: BorrowedFd<'_>) -> Option<(u8, SocketAddr)> {
    // What is no socket has no protocol, and one of another family no such address.
    let protocol = sockopt::socket_protocol(descriptor).ok()??.as_raw().get();
    let address = SocketAddr::try_from(rustix::net::getsockname(descriptor).ok()?).ok()?;
    Some((u8::try_from(protocol).ok()?, address))
}

/// What the monitor holds.
pub(crate) struct Holdings {
    /// Those of its start, which the program that follows it finds by their numbers.
    first: Vec<OwnedFd>,
    /// Sockets that came later: they end with the monitor.
    later: Vec<OwnedFd>,
}

impl Holdings {
    pub(crate) fn new(first: Vec<OwnedFd>) -> Holdings {
        Holdings { first, later: Vec::new() }
    }

    pub(crate) fn add(&mut self, sockets: Vec<OwnedFd>) {
        self.later.extend(sockets);
    }

    /// Keeps those sockets of the Internet that are bound at one of these, coded, and lets go of the others.
    pub(crate) fn keep_only(&mut self, coded: &[u8]) -> Result<(), Errno> {
        let (chunks, rest) = coded.as_chunks::<ENCODED>();
        let places: Option<Vec<BoundAt>> = chunks.iter().map(BoundAt::decode).collect();
        let places = places.filter(|_| rest.is_empty()).ok_or(Errno::INVAL)?;
        let is_kept = |descriptor: &OwnedFd| {
            bound_at(descriptor.as_fd()).is_none_or(|(protocol, address)| {
                places.iter().any(|place| place.is_that_of(protocol, address))
            })
        };
        self.later.retain(is_kept);
        for descriptor in self.first.iter_mut().filter(|descriptor| !is_kept(descriptor)) {
            // Its number stays in use: the program that follows closes what has it. Standard input is /dev/null.
            rustix::io::dup3(rustix::stdio::stdin(), descriptor, DupFlags::CLOEXEC)?;
        }
        Ok(())
    }

    /// Those that the next program gets.
    pub(crate) fn into_first(self) -> Vec<OwnedFd> {
        self.first
    }
}

/// Gives sockets to the monitor at the other end of `connection`, which holds them until its container has ended.
pub fn give_sockets(connection: BorrowedFd<'_>, sockets: &[OwnedFd]) -> Result<(), Error> {
    for some in sockets.chunks(MOST_DESCRIPTORS) {
        let descriptors: Vec<BorrowedFd<'_>> = some.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(failed(Errno::MSGSIZE));
        }
        let parts = [IoSlice::new(&[protocol::HOLD])];
        let send = || sendmsg(connection, &parts, &mut ancillary, SendFlags::NOSIGNAL);
        rustix::io::retry_on_intr(send).map_err(failed)?;
        wait_for_answer(connection)?;
    }
    Ok(())
}

/// Has the monitor keep those of its sockets of the Internet that are bound at one of these, and close the others.
pub fn keep_sockets(connection: BorrowedFd<'_>, places: &[BoundAt]) -> Result<(), Error> {
    let coded: Vec<u8> = places.iter().flat_map(BoundAt::encode).collect();
    if coded.len() > protocol::MOST_INPUT {
        return Err(failed(Errno::MSGSIZE));
    }
    protocol::send(connection, protocol::KEEP, &coded).map_err(failed)?;
    wait_for_answer(connection)
}

fn wait_for_answer(connection: BorrowedFd<'_>) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).map_err(|_| failed(Errno::INVAL))?;
        let mut watched = [PollFd::from_borrowed_fd(connection, PollFlags::IN)];
        match poll(&mut watched, Some(&limit)) {
            Ok(0) => return Err(failed(Errno::TIMEDOUT)),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(failed(errno)),
            Ok(_) => {}
        }
        let mut answer = [0; 64];
        match rustix::net::recv(connection, &mut answer[..], RecvFlags::TRUNC) {
            Ok((0, _)) => return Err(failed(Errno::CONNRESET)),
            Ok(_) if answer[0] == protocol::ANSWER => {
                let code = i32::from_le_bytes([answer[1], answer[2], answer[3], answer[4]]);
                return if code == 0 { Ok(()) } else { Err(failed(Errno::from_raw_os_error(code))) };
            }
            Ok(_) if answer[0] == protocol::EXIT => return Err(failed(Errno::SRCH)),
            // Nothing else is asked for.
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

fn failed(errno: Errno) -> Error {
    Error::new(Operation::Converse, "the container's monitor", errno)
}

/// Reads a message of a client with what came along: its kind, how long the rest is, and sockets. None where it is gone or
/// says more than there is room for.
pub(crate) fn receive(
    connection: BorrowedFd<'_>,
    room: &mut [u8],
) -> Result<Option<(u8, usize, Vec<OwnedFd>)>, Errno> {
    let mut kind = [0];
    let mut parts = [IoSliceMut::new(&mut kind), IoSliceMut::new(room)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(connection, &mut parts, &mut ancillary, flags)?;
    let mut sockets = Vec::new();
    for one in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = one {
            sockets.extend(descriptors);
        }
    }
    // Some did not come along: there is no room for more open files.
    let is_cut = message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    if message.bytes == 0 || is_cut {
        return Ok(None);
    }
    Ok(Some((kind[0], message.bytes - 1, sockets)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn at(protocol: u8, address: Option<&str>, ports: (u16, u16)) -> BoundAt {
        BoundAt { protocol, address: address.map(|text| text.parse().expect("an address")), ports }
    }

    #[test]
    fn places_are_read_as_they_were_written() {
        for place in
            [at(6, None, (80, 80)), at(17, Some("127.0.0.1"), (1, 65535)), at(132, Some("::1"), (9, 10))]
        {
            assert_eq!(BoundAt::decode(&place.encode()), Some(place));
        }
    }

    #[test]
    fn sockets_that_are_bound_elsewhere_are_let_go_and_their_numbers_stay() {
        use std::os::fd::AsRawFd;
        let (kept, given_up) = (
            TcpListener::bind("127.0.0.1:0").expect("free"),
            TcpListener::bind("127.0.0.1:0").expect("free"),
        );
        let later = UdpSocket::bind("127.0.0.1:0").expect("free");
        let port = |address: std::io::Result<SocketAddr>| address.expect("bound").port();
        let ports = [port(kept.local_addr()), port(given_up.local_addr()), port(later.local_addr())];
        let file = std::fs::File::open("/proc/self/status").expect("readable");
        let first: Vec<OwnedFd> = vec![kept.into(), given_up.into(), file.into()];
        let numbers: Vec<i32> = first.iter().map(AsRawFd::as_raw_fd).collect();
        let mut holdings = Holdings::new(first);
        holdings.add(vec![later.into()]);
        let local = Some("127.0.0.1");
        let coded = at(6, local, (ports[0], ports[0])).encode();
        assert_eq!(holdings.keep_only(&coded[1..]), Err(Errno::INVAL));
        holdings.keep_only(&coded).expect("coded");
        TcpListener::bind(("127.0.0.1", ports[0])).expect_err("held");
        TcpListener::bind(("127.0.0.1", ports[1])).expect("let go");
        UdpSocket::bind(("127.0.0.1", ports[2])).expect("let go");
        let left: Vec<i32> = holdings.into_first().iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(left, numbers);
    }
}
