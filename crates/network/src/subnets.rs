//! Owns the answer to which subnets are taken, and which a network gets that nobody named one for. Changes no
//! interface but our own bridges that nobody uses.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::bridge::{Removal, ifaddrmsg, remove_if_unused};
use crate::error::{Error, Kind, Result, cidr};
use crate::kernel::*;
use crate::link::{self, Link};
use crate::namespace_state::NamespaceState;
use crate::options::{self, BridgeNetwork, InterfaceName, Ipv4Network, Ipv6Choice, NetworkOptions};
use crate::state::{AddressRequest, Lease, NetworkStateDirectory, Sharing};
use netlink::{Batch, Socket, u32_at};

/// How long a start waits for the kernel to take the last container of an idle network apart.
const PATIENCE: Duration = Duration::from_secs(1);

/// The subnet of a network that does not exist yet, where nobody named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewSubnet {
    /// The first of our own that is free: 172.20.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 and so on up, as docker
    /// has them. 172.19.0.0/16 is left to `rabbitc0`, and these to networks that are written down elsewhere.
    Free(Vec<Ipv4Network>),
    /// This one.
    This(Ipv4Network),
}

/// Leases an address in the subnet that the network has, or else gets now and keeps as long as it exists.
///
/// `request` says which address is wanted in that subnet. A subnet that was chosen here is nobody else's from then on,
/// also before there is a bridge.
pub fn join(
    state: &NetworkStateDirectory,
    ipv6: Ipv6Choice,
    new: NewSubnet,
    request: impl Fn(&Ipv4Network) -> Result<AddressRequest>,
    holder: &str,
) -> Result<(BridgeNetwork, Lease)> {
    let lease = |subnet: Ipv4Network| {
        let network = of_subnet(state.name(), subnet, ipv6)?;
        let lease = state.lease(&network, request(&subnet)?, holder)?;
        Ok((network, lease))
    };
    let mut socket = open(state.name())?;
    {
        // With the lease, the bridge stays.
        let _lock = state.lock(Sharing::Shared)?;
        if let Some(subnet) = subnet_in_use(&mut socket, state)? {
            return lease(subnet);
        }
    }
    let _making = state.namespace().lock_making()?;
    let _lock = state.lock(Sharing::Exclusive)?;
    if let Some(subnet) = subnet_in_use(&mut socket, state)? {
        return lease(subnet);
    }
    let subnet = new_subnet(&mut socket, state.name(), Some(state), new)?;
    state.note_subnet(&subnet)?;
    lease(subnet)
}

/// The network as [`join`] would find or make it now; touches nothing. `state` is there where any network has some.
pub fn foresee(
    name: &InterfaceName,
    state: Option<&NetworkStateDirectory>,
    ipv6: Ipv6Choice,
    new: NewSubnet,
) -> Result<BridgeNetwork> {
    let mut socket = open(name)?;
    let chosen = state.and_then(NetworkStateDirectory::chosen_subnet);
    let subnet = match subnet_of_bridge(&mut socket, name)?.or(chosen) {
        Some(subnet) => subnet,
        None => new_subnet(&mut socket, name, state, new)?,
    };
    of_subnet(name, subnet, ipv6)
}

fn open(name: &InterfaceName) -> Result<Socket> {
    Socket::route().map_err(|errno| Error::from_errno("look at network", name.as_str(), errno))
}

fn of_subnet(name: &InterfaceName, subnet: Ipv4Network, ipv6: Ipv6Choice) -> Result<BridgeNetwork> {
    NetworkOptions { name: name.to_string(), ipv4: subnet.to_string(), ipv6, ..NetworkOptions::default() }
        .check()
}

/// The subnet that the network has: that of its bridge, or one that was chosen by a start which has not made it yet.
fn subnet_in_use(socket: &mut Socket, state: &NetworkStateDirectory) -> Result<Option<Ipv4Network>> {
    if let Some(subnet) = subnet_of_bridge(socket, state.name())? {
        return Ok(Some(subnet));
    }
    // Without a lease it is what a start left that failed.
    match state.chosen_subnet() {
        Some(chosen) if !state.held_leases()?.is_empty() => Ok(Some(chosen)),
        _ => Ok(None),
    }
}

fn subnet_of_bridge(socket: &mut Socket, name: &InterfaceName) -> Result<Option<Ipv4Network>> {
    let found = link::by_name(socket, name.as_str());
    let link = found.map_err(|errno| Error::from_errno("look at network", name.as_str(), errno))?;
    let alias = link.filter(|link| link.is_our_bridge(name)).and_then(|link| link.alias);
    Ok(options::alias_subnet(alias.as_deref()).and_then(|text| Ipv4Network::parse(text).ok()))
}

fn new_subnet(
    socket: &mut Socket,
    name: &InterfaceName,
    state: Option<&NetworkStateDirectory>,
    new: NewSubnet,
) -> Result<Ipv4Network> {
    match new {
        NewSubnet::This(subnet) => Ok(subnet),
        NewSubnet::Free(others) => {
            let taken = taken(socket, state.map(NetworkStateDirectory::namespace), Some(name))
                .map_err(|errno| Error::from_errno("look for a subnet for network", name.as_str(), errno))?;
            let mut free = pool().filter(|own| {
                !taken.iter().any(|other| other.overlaps(own))
                    && !others.iter().any(|other| other.overlaps(own))
            });
            free.next()
                .ok_or_else(|| Error::new("choose subnet for network", name.as_str(), Kind::NoFreeSubnet))
        }
    }
}

/// The first subnet of our own for a network that is only written down so far: none that somebody has now, nor one of
/// `others`, which are written down already.
pub fn choose_subnet(namespace: Option<&NamespaceState>, others: &[Ipv4Network]) -> Result<Ipv4Network> {
    let error = |errno| Error::from_errno("look for a subnet for network", "a new one", errno);
    let mut socket = Socket::route().map_err(error)?;
    let taken = taken(&mut socket, namespace, None).map_err(error)?;
    let is_free = |own: &Ipv4Network| {
        !taken.iter().any(|other| other.overlaps(own)) && !others.iter().any(|other| other.overlaps(own))
    };
    pool()
        .find(is_free)
        .ok_or_else(|| Error::new("choose subnet for network", "a new one", Kind::NoFreeSubnet))
}

/// Refuses a subnet for a network that is only written down so far, if an interface of the host has it, wholly or in part,
/// that is no bridge of ours.
pub fn refuse_subnet_of_host(subnet: &Ipv4Network) -> Result<()> {
    let error = |errno| Error::from_errno("look for overlaps of subnet", subnet.subnet(), errno);
    let mut socket = Socket::route().map_err(error)?;
    let taken = taken(&mut socket, None, None).map_err(error)?;
    let links = link::all(&mut socket, None).map_err(error)?;
    for overlap in taken.into_iter().filter(|other| other.overlaps(subnet)) {
        let link = links.iter().find(|link| overlap.by == By::Interface(link.index));
        if let Some(link) = link.filter(|link| network_of(link).is_none()) {
            let first = Ipv4Addr::from_bits(overlap.address.to_bits() & mask(overlap.prefix));
            let kind =
                Kind::SubnetOverlaps { subnet: cidr(first, overlap.prefix), interface: link.name.clone() };
            return Err(Error::new("use subnet", subnet.subnet(), kind));
        }
    }
    Ok(())
}

/// The subnets that networks get without being told, in order.
fn pool() -> impl Iterator<Item = Ipv4Network> {
    let large = (20..32).map(|second| (Ipv4Addr::new(172, second, 0, 1), 16));
    let small = (0..16).map(|third| (Ipv4Addr::new(192, 168, third * 16, 1), 20));
    large.chain(small).map(|(gateway, prefix)| Ipv4Network::of_gateway(gateway, prefix))
}

/// A subnet that an address or a route of the host covers, or that one of our networks is about to have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    address: Ipv4Addr,
    prefix: u8,
    by: By,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    /// The interface of this index.
    Interface(u32),
    /// A network that has no bridge yet.
    Network(InterfaceName),
}

impl Taken {
    /// Wholly or in part.
    fn overlaps(&self, own: &Ipv4Network) -> bool {
        // Shorter prefixes are default routes in pieces (0.0.0.0/1 and 128.0.0.0/1), not somebody's subnet.
        let shorter = self.prefix.min(own.prefix());
        self.prefix >= 4 && {
            let mask = mask(shorter);
            self.address.to_bits() & mask == own.gateway().to_bits() & mask
        }
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// Refuses a subnet that is somebody else's, wholly or in part. A network of ours that nobody uses any more is no
/// reason: it is removed. Wants the lock on making.
pub(crate) fn refuse_overlap(
    socket: &mut Socket,
    network: &BridgeNetwork,
    state: &NetworkStateDirectory,
) -> Result<()> {
    let own = network.ipv4();
    let error = |errno| Error::from_errno("look for overlaps of subnet", own.subnet(), errno);
    let end = Instant::now() + PATIENCE;
    loop {
        let taken = taken(socket, Some(state.namespace()), Some(state.name())).map_err(error)?;
        let Some(overlap) = taken.into_iter().find(|other| other.overlaps(&own)) else { return Ok(()) };
        let links = link::all(socket, None).map_err(error)?;
        let link = links.into_iter().find(|link| overlap.by == By::Interface(link.index));
        let other = match &overlap.by {
            By::Network(name) => Some(name.clone()),
            By::Interface(_) => link.as_ref().and_then(network_of),
        };
        let kind = Kind::SubnetOverlaps {
            subnet: cidr(
                Ipv4Addr::from_bits(overlap.address.to_bits() & mask(overlap.prefix)),
                overlap.prefix,
            ),
            interface: match (&other, link) {
                (Some(name), _) => name.to_string(),
                (None, link) => link.map_or_else(String::new, |link| link.name),
            },
        };
        let refused = Error::new("use subnet", own.subnet(), kind);
        let Some(other) = other else { return Err(refused) };
        match remove_if_unused(&state.namespace().network(&other))? {
            Removal::Removed => {}
            // Of a container whose namespace the kernel has not finished with.
            Removal::PortsLeft(ports) if ports.iter().all(|port| port.starts_with("vrc")) => {
                if Instant::now() > end {
                    return Err(refused);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Removal::PortsLeft(_) | Removal::LeasesHeld(_) => return Err(refused),
        }
    }
}

/// The network whose bridge this is.
fn network_of(link: &Link) -> Option<InterfaceName> {
    InterfaceName::parse(&link.name).ok().filter(|name| link.is_our_bridge(name))
}

/// All that others have: addresses and routes of the host, and what networks of ours but this one have chosen.
fn taken(
    socket: &mut Socket,
    namespace: Option<&NamespaceState>,
    own: Option<&InterfaceName>,
) -> std::result::Result<Vec<Taken>, Errno> {
    let mut found: Vec<Taken> = Vec::new();
    let mut batch = Batch::new();
    batch.message(RTM_GETADDR, NLM_F_DUMP, &ifaddrmsg(AF_INET, 0, 0, 0), |_| ());
    socket.dump(&batch, |message| {
        if let Some((fixed, attributes)) = message.split(8)
            && message.kind == RTM_NEWADDR
            && let Some(index) = u32_at(fixed, 4)
            && let Some(address) = attributes.find(IFA_ADDRESS).and_then(ipv4_address)
        {
            found.push(Taken { address, prefix: fixed[1], by: By::Interface(index) });
        }
    })?;
    let mut batch = Batch::new();
    let mut rtmsg = [0; 12];
    rtmsg[0] = AF_INET;
    batch.message(RTM_GETROUTE, NLM_F_DUMP, &rtmsg, |_| ());
    socket.dump(&batch, |message| {
        if let Some((fixed, attributes)) = message.split(12)
            && message.kind == RTM_NEWROUTE
            && fixed[7] == RTN_UNICAST
            && attributes.find_u32(RTA_TABLE).unwrap_or(u32::from(fixed[4])) == u32::from(RT_TABLE_MAIN)
            && let Some(address) = attributes.find(RTA_DST).and_then(ipv4_address)
            && let Some(index) = attributes.find_u32(RTA_OIF)
        {
            found.push(Taken { address, prefix: fixed[1], by: By::Interface(index) });
        }
    })?;
    let Some(namespace) = namespace else { return Ok(found) };
    // Where the records can't be read, the bridges are there all the same.
    for other in namespace.networks().unwrap_or_default() {
        if Some(other.name()) != own
            && let Some(subnet) = other.chosen_subnet()
        {
            let by = By::Network(other.name().clone());
            found.push(Taken { address: subnet.gateway(), prefix: subnet.prefix(), by });
        }
    }
    Ok(found)
}

fn ipv4_address(value: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_of_the_pool_are_legal_and_apart_from_each_other_and_from_the_default() {
        let mut all: Vec<Ipv4Network> = pool().collect();
        all.push(Ipv4Network::parse("172.19.0.1/16").expect("the default"));
        for (index, one) in all.iter().enumerate() {
            assert_eq!(Ipv4Network::parse(&one.to_string()), Ok(*one));
            let taken = Taken { address: one.gateway(), prefix: one.prefix(), by: By::Interface(1) };
            for other in &all[index + 1..] {
                assert!(!taken.overlaps(other), "{one} and {other}");
            }
        }
        assert_eq!(all[0].to_string(), "172.20.0.1/16");
        assert_eq!(all[12].to_string(), "192.168.0.1/20");
        assert_eq!(all.len(), 29);
    }
}
