//! Owns the few rtnetlink requests that move a network device, on the wire (rtnetlink(7), linux/rtnetlink.h). Knows no
//! container.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use crate::plan::NetworkProgram;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NEW_IFINDEX: u16 = 49;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_FLAGS: u16 = 8;

/// The loopback device's number in every network namespace (linux/net/loopback.c of the kernel).
const LOOPBACK: u32 = 1;

const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
/// What an administrator says of an address, and not what the kernel found out.
const IFA_F_SAID: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
const RT_SCOPE_UNIVERSE: u8 = 0;

const HEADER: usize = 16;

/// A device as the kernel tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) is_up: bool,
    pub(crate) is_loopback: bool,
}

/// An address as it is set again: its `ifaddrmsg` and attributes, without the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn open() -> io::Result<Socket> {
        Ok(Socket(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?))
    }

    /// The device of this name, if there is one.
    pub(crate) fn link(&self, name: &str) -> io::Result<Option<Link>> {
        let mut request = Request::new(RTM_GETLINK, 0, &[0; 16]);
        request.text(IFLA_IFNAME, name);
        let mut found = None;
        match self.ask(request, |kind, body| {
            if kind == RTM_NEWLINK {
                found = parse_link(body);
            }
        }) {
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            other => other.map(|()| found),
        }
    }

    /// Addresses of a device that are to last and are valid everywhere.
    pub(crate) fn lasting_addresses(&self, index: u32) -> io::Result<Vec<Address>> {
        let mut found = Vec::new();
        self.ask(Request::new(RTM_GETADDR, DUMP, &[0; 8]), |kind, body| {
            if kind == RTM_NEWADDR {
                found.extend(parse_address(body, index));
            }
        })?;
        Ok(found)
    }

    /// Whether a device has this number here.
    pub(crate) fn has_index(&self, index: u32) -> io::Result<bool> {
        let mut fixed = [0u8; 16];
        fixed[4..8].copy_from_slice(&index.to_ne_bytes());
        match self.ask(Request::new(RTM_GETLINK, 0, &fixed), |_, _| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves a device into a network namespace, under a name and a number that are free there.
    pub(crate) fn move_link(
        &self,
        index: u32,
        namespace: BorrowedFd<'_>,
        name: &str,
        number: u32,
    ) -> io::Result<()> {
        let mut request = Request::new(RTM_NEWLINK, ACKNOWLEDGE, &link_message(index, 0, 0));
        request.text(IFLA_IFNAME, name);
        request.number(IFLA_NET_NS_FD, namespace.as_raw_fd() as u32);
        request.number(IFLA_NEW_IFINDEX, number);
        self.ask(request, |_, _| {})
    }

    /// Gives a device an address.
    pub(crate) fn add_address(&self, index: u32, address: &Address) -> io::Result<()> {
        let [a, b, c, d] = index.to_ne_bytes();
        let fixed = [address.family, address.prefix, address.flags as u8, RT_SCOPE_UNIVERSE, a, b, c, d];
        let mut request = Request::new(RTM_NEWADDR, ACKNOWLEDGE | CREATE | EXCLUSIVE, &fixed);
        for (kind, value) in &address.attributes {
            request.attribute(*kind, value);
        }
        request.number(IFA_FLAGS, address.flags);
        self.ask(request, |_, _| {})
    }

    /// Sets a device up.
    pub(crate) fn set_up(&self, index: u32) -> io::Result<()> {
        self.ask(Request::new(RTM_NEWLINK, ACKNOWLEDGE, &link_message(index, IFF_UP, IFF_UP)), |_, _| {})
    }

    /// Sends one request and hands every message of the answer to `take`; the kernel's refusal is the error.
    fn ask(&self, request: Request, mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let (bytes, ends_in_done, is_acknowledged) = request.finish();
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| sendto(&self.0, &bytes, SendFlags::empty(), &kernel))?;
        let mut buffer = vec![0u8; 32 * 1024];
        loop {
            let (_, length) =
                rustix::io::retry_on_intr(|| recv(&self.0, &mut buffer[..], RecvFlags::empty()))?;
            let mut rest = &buffer[..length.min(buffer.len())];
            while let Some((kind, body, next)) = split_message(rest) {
                rest = next;
                match kind {
                    NLMSG_ERROR => {
                        let number = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                        return if number == 0 {
                            Ok(())
                        } else {
                            Err(io::Error::from_raw_os_error(number.wrapping_neg()))
                        };
                    }
                    NLMSG_DONE => return Ok(()),
                    _ => take(kind, body),
                }
                if !ends_in_done && !is_acknowledged {
                    return Ok(());
                }
            }
        }
    }
}

/// Sets the loopback device up.
pub(crate) fn loopback() -> NetworkProgram {
    let mut request = Request::new(RTM_NEWLINK, ACKNOWLEDGE, &link_message(LOOPBACK, IFF_UP, IFF_UP));
    // By its place in the program, by which a refusal is told.
    request.bytes[8..12].copy_from_slice(&1u32.to_ne_bytes());
    NetworkProgram {
        messages: request.finish().0,
        count: 1,
        description: "bring up lo".to_owned(),
        items: vec!["`lo`".to_owned()],
    }
}

fn link_message(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut fixed = [0u8; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&change.to_ne_bytes());
    fixed
}

/// A request in the making.
struct Request {
    bytes: Vec<u8>,
    flags: u16,
}

impl Request {
    fn new(kind: u16, flags: u16, fixed: &[u8]) -> Request {
        let mut bytes = vec![0u8; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Request { bytes, flags }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("a value here has some bytes");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, kind: u16, value: &str) {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat());
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    fn finish(mut self) -> (Vec<u8>, bool, bool) {
        let length = u32::try_from(self.bytes.len()).expect("a request here has some hundred bytes");
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        (self.bytes, self.flags & DUMP == DUMP, self.flags & ACKNOWLEDGE != 0)
    }
}

/// The first message: its type, what follows its header, and the rest.
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let number = |at: usize| Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?));
    let flags = number(8)?;
    Some(Link { index: number(4)?, is_up: flags & IFF_UP != 0, is_loopback: flags & IFF_LOOPBACK != 0 })
}

/// An address of device `index`, if it is one that moves along.
fn parse_address(body: &[u8], index: u32) -> Option<Address> {
    let (family, prefix, scope) = (*body.first()?, *body.get(1)?, *body.get(3)?);
    let number = |bytes: &[u8]| Some(u32::from_ne_bytes(*bytes.first_chunk()?));
    if number(body.get(4..8)?)? != index || scope != RT_SCOPE_UNIVERSE {
        return None;
    }
    let all: Vec<(u16, &[u8])> = attributes(body.get(8..)?).collect();
    // The message itself has room for eight flags only.
    let flags = all.iter().find(|(kind, _)| *kind == IFA_FLAGS).and_then(|(_, value)| number(value));
    let flags = flags.unwrap_or(u32::from(*body.get(2)?));
    if flags & IFA_F_PERMANENT == 0 {
        return None;
    }
    const KEPT: [u16; 4] = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY];
    let attributes = all.iter().filter(|(kind, _)| KEPT.contains(kind));
    let attributes = attributes.map(|(kind, value)| (*kind, value.to_vec())).collect();
    Some(Address { family, prefix, flags: flags & IFA_F_SAID, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(scope: u8, flags: u8, long: Option<u32>) -> Vec<u8> {
        let mut body = vec![2, 24, flags, scope, 7, 0, 0, 0];
        let mut put = |kind: u16, value: &[u8]| {
            body.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        };
        put(IFA_LOCAL, &[10, 0, 0, 1]);
        put(3, b"eth0\0");
        if let Some(flags) = long {
            put(IFA_FLAGS, &flags.to_ne_bytes());
        }
        body
    }

    #[test]
    fn lasting_addresses_that_are_valid_everywhere_are_kept_and_no_others() {
        let kept = parse_address(&message(0, 0x80, None), 7).expect("permanent and global");
        assert_eq!((kept.family, kept.prefix, kept.flags), (2, 24, 0));
        assert_eq!(
            kept.attributes,
            [(IFA_LOCAL, vec![10, 0, 0, 1])],
            "the label may be another device's name"
        );
        assert_eq!(parse_address(&message(0, 0, Some(0x282)), 7).expect("kept").flags, 0x202, "as was said");
        assert_eq!(parse_address(&message(254, 0x80, None), 7), None, "of the host alone");
        assert_eq!(parse_address(&message(253, 0x80, None), 7), None, "of the link alone");
        assert_eq!(parse_address(&message(0, 0, None), 7), None, "of a lease");
        assert_eq!(parse_address(&message(0, 0x80, None), 8), None, "of another device");
    }

    #[test]
    fn cut_messages_are_no_panic() {
        let whole = message(0, 0x80, Some(0x80));
        for length in 0..whole.len() {
            let _ = parse_address(&whole[..length], 7);
            let _ = parse_link(&whole[..length]);
            let _ = split_message(&whole[..length]);
        }
    }
}
