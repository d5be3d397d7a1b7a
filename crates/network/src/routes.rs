//! Owns what rtnetlink says of the way to one address; changes none.

use std::net::IpAddr;

use rustix::io::Errno;

use crate::bridge::Bridge;
use crate::kernel::*;
use crate::link;
use netlink::{Batch, Socket};

/// How the kernel would send to an address, as a type of route (rtnetlink(7)): none where it knows no way.
pub(crate) fn route_type(address: IpAddr) -> std::result::Result<Option<u8>, Errno> {
    route(address).map(|route| route.map(|(kind, _)| kind))
}

/// That, and the index of the interface by which it would.
fn route(address: IpAddr) -> std::result::Result<Option<(u8, Option<u32>)>, Errno> {
    let mut rtmsg = [0; 12];
    let octets = match address {
        IpAddr::V4(address) => {
            (rtmsg[0], rtmsg[1]) = (AF_INET, 32);
            address.octets().to_vec()
        }
        IpAddr::V6(address) => {
            (rtmsg[0], rtmsg[1]) = (AF_INET6, 128);
            address.octets().to_vec()
        }
    };
    let mut batch = Batch::new();
    batch.message(RTM_GETROUTE, 0, &rtmsg, |m| m.put(RTA_DST, &octets));
    let mut found = None;
    Socket::route()?.query(&batch, |message| {
        if message.kind == RTM_NEWROUTE {
            found = message.split(12).map(|(fixed, attributes)| (fixed[7], attributes.find_u32(RTA_OIF)));
        }
    })?;
    Ok(found)
}

/// Why a container's address is not reached by its bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stray {
    /// The host has the address itself.
    OfTheHost,
    /// The host's way there leads by this interface; none where it knows none.
    Elsewhere(Option<String>),
}

/// Looks whether the host would send to this address of a container by its bridge: somebody may have given the host an
/// address or a route of the subnet since that was found free. A look that fails finds nothing.
pub fn stray(bridge: &Bridge, address: IpAddr) -> Option<Stray> {
    let found = route(address).ok()?;
    match found {
        Some((RTN_LOCAL, _)) => Some(Stray::OfTheHost),
        Some((_, Some(index))) if index == bridge.index => None,
        Some((_, index)) => {
            let links = Socket::route().and_then(|mut socket| link::all(&mut socket, None)).ok()?;
            let name = links.into_iter().find(|link| Some(link.index) == index).map(|link| link.name);
            Some(Stray::Elsewhere(name))
        }
        None => Some(Stray::Elsewhere(None)),
    }
}
