//! Owns what rtnetlink says of one interface; changes none.

use rustix::io::Errno;

use crate::kernel::*;
use crate::options::{ALIAS_MARK, InterfaceName, bridge_mac};
use netlink::{Batch, Message, Socket, u32_at};

/// An interface of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub index: u32,
    pub name: String,
    pub flags: u32,
    pub kind: Option<String>,
    pub alias: Option<String>,
    pub mac: Option<[u8; 6]>,
    pub master: Option<u32>,
}

impl Link {
    pub fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWLINK {
            return None;
        }
        let (fixed, attributes) = message.split(IFINFOMSG)?;
        Some(Self {
            index: u32_at(fixed, 4)?,
            flags: u32_at(fixed, 8)?,
            name: attributes.find_string(IFLA_IFNAME)?.to_owned(),
            kind: attributes.find_nest(IFLA_LINKINFO).find_string(IFLA_INFO_KIND).map(str::to_owned),
            alias: attributes.find_string(IFLA_IFALIAS).map(str::to_owned),
            mac: attributes.find(IFLA_ADDRESS).and_then(|value| value.try_into().ok()),
            master: attributes.find_u32(IFLA_MASTER),
        })
    }

    /// Whether this is the bridge that we made for the network of this name, complete or not.
    pub fn is_our_bridge(&self, name: &InterfaceName) -> bool {
        let marked = self.alias.as_ref().is_some_and(|alias| alias.starts_with(ALIAS_MARK));
        // Between creation and completion there is no alias: the kernel takes none in RTM_NEWLINK.
        let unfinished = self.alias.is_none() && self.mac == Some(bridge_mac(name));
        self.kind.as_deref() == Some("bridge") && (marked || unfinished)
    }

    /// What to call it in a message to the user.
    pub fn description(&self) -> String {
        match (self.kind.as_deref(), self.alias.as_deref()) {
            (Some("bridge"), None) => "a bridge that rabbitc did not make".into(),
            (Some(kind), None) => format!("an interface of kind `{kind}`"),
            (Some(kind), Some(alias)) => format!("an interface of kind `{kind}` with alias `{alias}`"),
            (None, _) => "a hardware interface".into(),
        }
    }
}

/// Adds the request for an interface by name, perhaps with NLM_F_ACK; an absent one is answered by ENODEV.
pub(crate) fn request_by_name(batch: &mut Batch, flags: u16, name: &str) {
    batch.message(RTM_GETLINK, flags, &ifinfomsg(0, 0, 0), |m| {
        m.put_string(IFLA_IFNAME, name);
        m.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    });
}

/// The interface of this name, if there is one.
pub(crate) fn by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>, Errno> {
    let mut batch = Batch::new();
    request_by_name(&mut batch, NLM_F_ACK, name);
    let mut link = None;
    let failures = socket.exchange(&batch, |message| link = Link::read(&message).or(link.take()))?;
    match failures.first() {
        Some(failure) if failure.errno != Errno::NODEV => Err(failure.errno),
        _ => Ok(link),
    }
}

/// The hardware address of one end of a veth pair, and the index of the other in the namespace where that is.
pub(crate) fn peer_of(socket: &mut Socket, name: &str) -> Result<Option<([u8; 6], u32)>, Errno> {
    let mut batch = Batch::new();
    request_by_name(&mut batch, NLM_F_ACK, name);
    let mut peer = None;
    socket.exchange(&batch, |message| {
        if let Some((_, attributes)) = message.split(IFINFOMSG)
            && message.kind == RTM_NEWLINK
        {
            let mac = attributes.find(IFLA_ADDRESS).and_then(|value| value.try_into().ok());
            peer = mac.zip(attributes.find_u32(IFLA_LINK));
        }
    })?;
    Ok(peer)
}

/// Every interface, or those that are ports of `master`.
pub(crate) fn all(socket: &mut Socket, master: Option<u32>) -> Result<Vec<Link>, Errno> {
    let mut batch = Batch::new();
    batch.message(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg(0, 0, 0), |m| {
        if let Some(master) = master {
            m.put_u32(IFLA_MASTER, master);
        }
        m.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    });
    let mut links = Vec::new();
    socket.dump(&batch, |message| links.extend(Link::read(&message)))?;
    links.retain(|link| master.is_none() || link.master == master);
    Ok(links)
}

/// Deletes an interface; an absent one is as good as deleted.
pub(crate) fn delete(socket: &mut Socket, index: u32) -> Result<(), Errno> {
    let mut batch = Batch::new();
    batch.message(RTM_DELLINK, NLM_F_ACK, &ifinfomsg(index, 0, 0), |_| ());
    match socket.execute(&batch) {
        Ok(()) => Ok(()),
        Err(failure) if failure.errno == Errno::NODEV => Ok(()),
        Err(failure) => Err(failure.errno),
    }
}
