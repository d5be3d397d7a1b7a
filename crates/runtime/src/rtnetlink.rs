//! Owns the few rtnetlink requests that move a network device (rtnetlink(7), linux/rtnetlink.h). Knows no container.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink::kernel::*;
use netlink::{Attributes, Batch, Message, u32_at};
use rustix::io::Errno;

use crate::plan::NetworkProgram;

/// The loopback device's number in every network namespace (linux/net/loopback.c of the kernel).
const LOOPBACK: u32 = 1;

/// What an administrator says of an address, and not what the kernel found out.
const IFA_F_SAID: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

const IFADDRMSG: usize = 8;

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
pub(crate) struct Socket(netlink::Socket);

impl Socket {
    pub(crate) fn open() -> Result<Socket, Errno> {
        Ok(Socket(netlink::Socket::route()?))
    }

    /// The device of this name, if there is one.
    pub(crate) fn link(&mut self, name: &str) -> Result<Option<Link>, Errno> {
        let mut request = Batch::new();
        request.message(RTM_GETLINK, NLM_F_ACK, &ifinfomsg(0, 0, 0), |m| m.put_string(IFLA_IFNAME, name));
        let mut found = None;
        let there = self.is_there(&request, |message| found = parse_link(&message).or(found.take()))?;
        Ok(found.filter(|_| there))
    }

    /// Whether a device has this number here.
    pub(crate) fn has_index(&mut self, index: u32) -> Result<bool, Errno> {
        let mut request = Batch::new();
        request.message(RTM_GETLINK, NLM_F_ACK, &ifinfomsg(index, 0, 0), |_| {});
        self.is_there(&request, |_| {})
    }

    /// Whether a device here has its other end in another network namespace.
    pub(crate) fn leads_outside(&mut self) -> Result<bool, Errno> {
        let mut request = Batch::new();
        request.message(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg(0, 0, 0), |_| {});
        let mut found = false;
        self.0.dump(&request, |message| found |= has_end_outside(&message))?;
        Ok(found)
    }

    /// Addresses of a device that are to last and are valid everywhere.
    pub(crate) fn lasting_addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno> {
        let mut request = Batch::new();
        request.message(RTM_GETADDR, NLM_F_DUMP, &[0; IFADDRMSG], |_| {});
        let mut found = Vec::new();
        self.0.dump(&request, |message| found.extend(parse_address(&message, index)))?;
        Ok(found)
    }

    /// Moves a device into a network namespace, under a name and a number that are free there.
    pub(crate) fn move_link(
        &mut self,
        index: u32,
        namespace: BorrowedFd<'_>,
        name: &str,
        number: u32,
    ) -> Result<(), Errno> {
        self.change(RTM_NEWLINK, 0, &ifinfomsg(index, 0, 0), |m| {
            m.put_string(IFLA_IFNAME, name);
            m.put_u32(IFLA_NET_NS_FD, namespace.as_raw_fd() as u32);
            m.put_u32(IFLA_NEW_IFINDEX, number);
        })
    }

    /// Gives a device an address.
    pub(crate) fn add_address(&mut self, index: u32, address: &Address) -> Result<(), Errno> {
        let [a, b, c, d] = index.to_ne_bytes();
        let fixed = [address.family, address.prefix, address.flags as u8, RT_SCOPE_UNIVERSE, a, b, c, d];
        self.change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &fixed, |m| {
            for (kind, value) in &address.attributes {
                m.put(*kind, value);
            }
            m.put_u32(IFA_FLAGS, address.flags);
        })
    }

    /// Sets a device up.
    pub(crate) fn set_up(&mut self, index: u32) -> Result<(), Errno> {
        self.change(RTM_NEWLINK, 0, &ifinfomsg(index, IFF_UP, IFF_UP), |_| {})
    }

    fn change(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) -> Result<(), Errno> {
        let mut request = Batch::new();
        request.message(kind, flags | NLM_F_ACK, fixed, attributes);
        self.0.execute(&request).map_err(|failure| failure.errno)
    }

    /// Asks for one device; false where there is none.
    fn is_there(&mut self, request: &Batch, on_reply: impl FnMut(Message<'_>)) -> Result<bool, Errno> {
        match self.0.exchange(request, on_reply)?.first() {
            None => Ok(true),
            Some(failure) if failure.errno == Errno::NODEV => Ok(false),
            Some(failure) => Err(failure.errno),
        }
    }
}

/// Sets the loopback device up.
pub(crate) fn loopback() -> NetworkProgram {
    let mut request = Batch::new();
    request.message(RTM_NEWLINK, NLM_F_ACK, &ifinfomsg(LOOPBACK, IFF_UP, IFF_UP), |_| {});
    NetworkProgram {
        messages: request.into_bytes(),
        count: 1,
        description: "bring up lo".to_owned(),
        items: vec!["`lo`".to_owned()],
    }
}

fn parse_link(message: &Message<'_>) -> Option<Link> {
    let (fixed, _) = message.split(IFINFOMSG).filter(|_| message.kind == RTM_NEWLINK)?;
    let flags = u32_at(fixed, 8)?;
    let (is_up, is_loopback) = (flags & IFF_UP != 0, flags & IFF_LOOPBACK != 0);
    Some(Link { index: u32_at(fixed, 4)?, is_up, is_loopback })
}

/// The kernel names another namespace only where that is not the device's own.
fn has_end_outside(message: &Message<'_>) -> bool {
    let attributes = message.split(IFINFOMSG).filter(|_| message.kind == RTM_NEWLINK);
    attributes.is_some_and(|(_, attributes)| attributes.find(IFLA_LINK_NETNSID).is_some())
}

/// An address of device `index`, if it is one that moves along.
fn parse_address(message: &Message<'_>, index: u32) -> Option<Address> {
    let (fixed, all) = message.split(IFADDRMSG).filter(|_| message.kind == RTM_NEWADDR)?;
    let [family, prefix, short_flags, scope, ..] = *fixed else { return None };
    if u32_at(fixed, 4)? != index || scope != RT_SCOPE_UNIVERSE {
        return None;
    }
    // The message itself has room for eight flags only.
    let flags = all.find_u32(IFA_FLAGS).unwrap_or(u32::from(short_flags));
    if flags & u32::from(IFA_F_PERMANENT) == 0 {
        return None;
    }
    const KEPT: [u16; 4] = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY];
    let attributes = all.filter(|(kind, _)| KEPT.contains(kind));
    let attributes = attributes.map(|(kind, value)| (kind, value.to_vec())).collect();
    Some(Address { family, prefix, flags: flags & IFA_F_SAID, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(scope: u8, flags: u8, long: Option<u32>) -> Vec<u8> {
        let mut message = Batch::new();
        message.message(RTM_NEWADDR, 0, &[2, 24, flags, scope, 7, 0, 0, 0], |m| {
            m.put(IFA_LOCAL, &[10, 0, 0, 1]);
            m.put(3, b"eth0\0");
            if let Some(flags) = long {
                m.put_u32(IFA_FLAGS, flags);
            }
        });
        netlink::Messages(message.bytes()).next().expect("whole").body.to_vec()
    }

    fn parsed(body: &[u8], index: u32) -> Option<Address> {
        parse_address(&Message { kind: RTM_NEWADDR, sequence: 0, body }, index)
    }

    #[test]
    fn lasting_addresses_that_are_valid_everywhere_are_kept_and_no_others() {
        let kept = parsed(&body(0, 0x80, None), 7).expect("permanent and global");
        assert_eq!((kept.family, kept.prefix, kept.flags), (2, 24, 0));
        assert_eq!(
            kept.attributes,
            [(IFA_LOCAL, vec![10, 0, 0, 1])],
            "the label may be another device's name"
        );
        assert_eq!(parsed(&body(0, 0, Some(0x282)), 7).expect("kept").flags, 0x202, "as was said");
        assert_eq!(parsed(&body(254, 0x80, None), 7), None, "of the host alone");
        assert_eq!(parsed(&body(253, 0x80, None), 7), None, "of the link alone");
        assert_eq!(parsed(&body(0, 0, None), 7), None, "of a lease");
        assert_eq!(parsed(&body(0, 0x80, None), 8), None, "of another device");
    }

    #[test]
    fn cut_messages_are_no_panic() {
        let whole = body(0, 0x80, Some(0x80));
        for length in 0..whole.len() {
            let _ = parsed(&whole[..length], 7);
            let link = Message { kind: RTM_NEWLINK, sequence: 0, body: &whole[..length] };
            let _ = (parse_link(&link), has_end_outside(&link));
        }
    }
}
