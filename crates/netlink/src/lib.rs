//! Owns the netlink wire format and the blocking sockets that carry it; knows no link, address or rule.
//!
//! A message is a 16-byte header, a fixed part that depends on its type, and attributes: length, type, value,
//! each padded to 4 bytes (netlink(7), `linux/netlink.h`). Requests of one [`Batch`] are numbered from 1 and
//! each asks for its acknowledgement, so an answer can always be laid at the request that caused it.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
    sockopt,
};

pub mod kernel;

use self::kernel::*;

const HEADER: usize = 16;
/// The kernel builds dump replies of up to 32 KiB when the reader offers that much.
const RECEIVE: usize = 32 * 1024;
/// Less than what a socket sends at once by default (212,992 bytes with the kernel's own part).
const LARGE: usize = 64 * 1024;

/// Requests that go out in one system call.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
    /// Where the last request starts.
    last: usize,
}

impl Batch {
    /// Without requests yet.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(512), count: 0, last: 0 }
    }

    /// Appends one request; `flags` come on top of NLM_F_REQUEST.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.count += 1;
        let start = self.bytes.len();
        self.last = start;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.count.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        attributes(&mut Attributes { bytes: &mut self.bytes });
        let length = u32::try_from(self.bytes.len() - start).expect("a message stays far below 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Makes the last request so far ask for its acknowledgement.
    pub fn acknowledge_last(&mut self) {
        if let Some(flags) = self.bytes.get_mut(self.last + 6..self.last + 8) {
            let value = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
            flags.copy_from_slice(&value.to_ne_bytes());
        }
    }

    /// Requests that were given away, `count` of them.
    pub fn of_requests(bytes: Vec<u8>, count: usize) -> Self {
        let count = u32::try_from(count).expect("they were counted so");
        Self { last: 0, bytes, count }
    }

    /// How many requests there are; also the sequence number of the last one.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// All requests, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Writes attributes at the end of a message.
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// A value as it is.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("attribute values stay far below 64 KiB");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
    }

    /// A string with its terminating zero, as the kernel's NLA_NUL_STRING wants it.
    pub fn put_string(&mut self, kind: u16, value: &str) {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.put(kind, &bytes);
    }

    /// Host byte order: rtnetlink.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// Network byte order: netfilter.
    pub fn put_be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Attributes within an attribute.
    pub fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Attributes<'_>)) {
        self.nest_after(kind, &[], inner);
    }

    /// A nest whose attributes follow a fixed structure (VETH_INFO_PEER has an ifinfomsg there).
    pub fn nest_after(&mut self, kind: u16, fixed: &[u8], inner: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.put(kind | NLA_F_NESTED, fixed);
        inner(&mut Attributes { bytes: self.bytes });
        let length = u16::try_from(self.bytes.len() - start).expect("nests stay far below 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One message out of a received datagram.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// The number of the request that it answers.
    pub sequence: u32,
    /// All after the header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The fixed part and the attributes after it; nothing if the message is shorter than `size`.
    pub fn split(&self, size: usize) -> Option<(&'a [u8], AttributeIter<'a>)> {
        let fixed = self.body.get(..size)?;
        let rest = self.body.get(size.next_multiple_of(4)..).unwrap_or_default();
        Some((fixed, AttributeIter(rest)))
    }
}

/// Iterates over the messages of a datagram; stops at the first malformed one.
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.get(..HEADER)?;
        let length = u32_at(header, 0)? as usize;
        let body = self.0.get(HEADER..length)?;
        let message = Message { kind: u16_at(header, 4)?, sequence: u32_at(header, 8)?, body };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// Iterates over attributes as (type, value); stops at the first malformed one.
#[derive(Debug, Clone, Copy)]
pub struct AttributeIter<'a>(pub &'a [u8]);

impl<'a> AttributeIter<'a> {
    /// The value of the first attribute of this type.
    pub fn find(self, kind: u16) -> Option<&'a [u8]> {
        let mut all = self;
        all.find_map(|(each, value)| (each == kind).then_some(value))
    }

    /// The same, as text.
    pub fn find_string(self, kind: u16) -> Option<&'a str> {
        self.find(kind).and_then(string)
    }

    /// The same, in host byte order.
    pub fn find_u32(self, kind: u16) -> Option<u32> {
        self.find(kind).and_then(|value| u32_at(value, 0))
    }

    /// The same, in network byte order.
    pub fn find_be32(self, kind: u16) -> Option<u32> {
        self.find_u32(kind).map(u32::from_be)
    }

    /// The attributes within the first of this type; none where there is none.
    pub fn find_nest(self, kind: u16) -> AttributeIter<'a> {
        AttributeIter(self.find(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & NLA_TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The text before the first zero byte.
pub fn string(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|&byte| byte == 0).next()?).ok()
}

/// The number at this place, in host byte order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The number at this place, in host byte order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// How one request of a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The request's number, from 1.
    pub sequence: u32,
    /// The kernel's answer.
    pub errno: Errno,
}

/// A blocking netlink socket of the calling thread's network namespace.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// For links, addresses and routes (rtnetlink(7)).
    pub fn route() -> Result<Self, Errno> {
        Self::open(None)
    }

    /// For nf_tables and conntrack.
    pub fn netfilter() -> Result<Self, Errno> {
        Self::open(Some(NETFILTER))
    }

    /// For sockets (sock_diag(7)).
    pub fn sock_diag() -> Result<Self, Errno> {
        Self::open(Some(SOCK_DIAG))
    }

    /// The descriptor alone.
    pub fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }

    fn open(protocol: Option<Protocol>) -> Result<Self, Errno> {
        let descriptor =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        Ok(Self { descriptor, buffer: vec![0; RECEIVE] })
    }

    /// Sends requests that each ask for an acknowledgement, and returns every failure; `on_reply` sees the
    /// data messages.
    pub fn exchange(
        &mut self,
        batch: &Batch,
        mut on_reply: impl FnMut(Message<'_>),
    ) -> Result<Vec<Failure>, Errno> {
        self.send(batch)?;
        let mut failures = Vec::new();
        let mut left = batch.count();
        while left > 0 {
            for message in self.receive()? {
                match end_of_request(&message) {
                    None => on_reply(message),
                    Some(result) => {
                        left = left.saturating_sub(1);
                        if let Err(errno) = result {
                            failures.push(Failure { sequence: message.sequence, errno });
                        }
                    }
                }
            }
        }
        Ok(failures)
    }

    /// Sends requests for one object each, which ask for no acknowledgement: what is there is answered by one
    /// data message, what is not by an error. Errors are not told apart: they mean absence.
    pub fn query(&mut self, batch: &Batch, mut on_reply: impl FnMut(Message<'_>)) -> Result<(), Errno> {
        self.send(batch)?;
        let mut left = batch.count();
        while left > 0 {
            for message in self.receive()? {
                left = left.saturating_sub(1);
                if end_of_request(&message).is_none() {
                    on_reply(message);
                }
            }
        }
        Ok(())
    }

    /// [`Self::exchange`] where any failure is one: the first is returned.
    pub fn execute(&mut self, batch: &Batch) -> Result<(), Failure> {
        let everything = |errno| Failure { sequence: batch.count(), errno };
        match self.exchange(batch, |_| ()).map_err(everything)?.first() {
            None => Ok(()),
            Some(&first) => Err(first),
        }
    }

    /// Sends one dump request and hands every message of the answer to `on_reply`.
    pub fn dump(&mut self, batch: &Batch, mut on_reply: impl FnMut(Message<'_>)) -> Result<(), Errno> {
        self.send(batch)?;
        loop {
            for message in self.receive()? {
                match end_of_request(&message) {
                    None => on_reply(message),
                    Some(result) => return result,
                }
            }
        }
    }

    /// Sends a netfilter transaction, all or nothing. Only its last inner message asks for an
    /// acknowledgement: the kernel gives that one after the commit.
    pub fn transact(&mut self, batch: &Batch) -> Result<(), Errno> {
        self.send(batch)?;
        loop {
            for message in self.receive()? {
                if let Some(result) = end_of_request(&message) {
                    return result;
                }
            }
        }
    }

    fn send(&mut self, batch: &Batch) -> Result<(), Errno> {
        if batch.bytes().len() > LARGE {
            // With CAP_NET_ADMIN, beyond what the system allows everybody; without, the send is refused.
            let _ = sockopt::set_socket_send_buffer_size_force(&self.descriptor, 2 * batch.bytes().len());
        }
        // Port 0 is the kernel.
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| sendto(&self.descriptor, batch.bytes(), SendFlags::empty(), &kernel))?;
        Ok(())
    }

    fn receive(&mut self) -> Result<Messages<'_>, Errno> {
        let (_, length) =
            rustix::io::retry_on_intr(|| recv(&self.descriptor, &mut self.buffer[..], RecvFlags::TRUNC))?;
        let datagram = self.buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        if length < HEADER {
            return Err(Errno::BADMSG);
        }
        Ok(Messages(datagram))
    }
}

/// Whether the message ends its request, and how.
fn end_of_request(message: &Message<'_>) -> Option<Result<(), Errno>> {
    if message.kind != NLMSG_ERROR && message.kind != NLMSG_DONE {
        return None;
    }
    Some(match u32_at(message.body, 0).map(u32::cast_signed) {
        Some(negative) if negative < 0 => Err(Errno::from_raw_os_error(negative.wrapping_neg())),
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_length_type_flags_and_sequence_in_front() {
        let mut batch = Batch::new();
        batch.message(RTM_GETLINK, NLM_F_ACK, &[0; 16], |m| m.put_string(IFLA_IFNAME, "lo"));
        let bytes = batch.bytes();
        assert_eq!(bytes.len(), 16 + 16 + 8);
        assert_eq!(u32_at(bytes, 0), Some(40));
        assert_eq!(u16_at(bytes, 4), Some(18));
        assert_eq!(u16_at(bytes, 6), Some(5));
        assert_eq!(u32_at(bytes, 8), Some(1));
        assert_eq!(&bytes[32..], &[7, 0, 3, 0, b'l', b'o', 0, 0]);
    }

    #[test]
    fn nests_carry_their_flag_and_the_length_of_all_inside() {
        let mut batch = Batch::new();
        batch.message(RTM_NEWLINK, 0, &[], |m| {
            m.nest(IFLA_LINKINFO, |m| {
                m.put_string(IFLA_INFO_KIND, "veth");
                m.nest(IFLA_INFO_DATA, |m| {
                    m.nest_after(VETH_INFO_PEER, &[9; 16], |m| m.put_u32(IFLA_NET_NS_PID, 7));
                });
            });
        });
        let (_, attributes) = Messages(batch.bytes()).next().expect("one message").split(0).expect("whole");
        let info = attributes.find_nest(IFLA_LINKINFO);
        assert_eq!(info.find_string(IFLA_INFO_KIND), Some("veth"));
        let peer = info.find_nest(IFLA_INFO_DATA).find(VETH_INFO_PEER).expect("peer");
        assert_eq!(peer[..16], [9; 16]);
        assert_eq!(AttributeIter(&peer[16..]).find_u32(IFLA_NET_NS_PID), Some(7));
    }

    #[test]
    fn decoding_what_was_cut_or_scribbled_ends_without_a_panic() {
        let mut batch = Batch::new();
        batch.message(RTM_NEWLINK, 0, &[0; 16], |m| {
            m.put_string(IFLA_IFNAME, "rabbitc0");
            m.nest(IFLA_LINKINFO, |m| m.put_string(IFLA_INFO_KIND, "bridge"));
        });
        let whole = batch.into_bytes();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for cut in 0..=whole.len() {
            for _ in 0..64 {
                let mut bytes = whole[..cut].to_vec();
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if !bytes.is_empty() {
                    let at = random as usize % bytes.len();
                    bytes[at] = (random >> 32) as u8;
                }
                for message in Messages(&bytes) {
                    let _ = end_of_request(&message);
                    let Some((_, attributes)) = message.split(16) else { continue };
                    for (_, value) in attributes {
                        AttributeIter(value).for_each(drop);
                    }
                }
            }
        }
    }
}
