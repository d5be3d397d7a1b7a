//! Owns a network's bridge on the host: makes it complete, and removes it when nobody uses it. The container's
//! side is not its business.
//!
//! Order that everything rests on: a start takes its lease, then looks at the bridge under the shared lock; a
//! removal looks at the leases under the exclusive lock. So whoever comes second sees the other. Whoever makes a
//! bridge has the lock on making before that: so no two networks get the same subnet, and of all who have it only one
//! may take the lock of another network beside its own.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::error::{Error, Kind, Result};
use crate::kernel::*;
use crate::link::{self, Link};
use crate::masquerade::{self, Outbound};
use crate::options::{BridgeNetwork, InterfaceName, bridge_mac};
use crate::state::{HeldLease, Lease, NetworkStateDirectory, Sharing};
use crate::{forwarding, integration, options, subnets};
use netlink::{Batch, Socket, u32_at};

/// A network's bridge, up and complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub(crate) network: BridgeNetwork,
    pub(crate) index: u32,
    outbound: Outbound,
    others: Vec<HeldLease>,
}

impl Bridge {
    /// The network it serves.
    pub fn network(&self) -> &BridgeNetwork {
        &self.network
    }

    /// Its interface index in the host's network namespace.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Who had leases of the network when this bridge was made: somebody has deleted the one that they were at
    /// ([`crate::reattach()`] brings them back).
    pub fn stranded(&self) -> &[HeldLease] {
        &self.others
    }

    /// How far its containers get.
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }
}

/// Makes the network's bridge, addresses, forwarding and rules complete; cheap when they are.
///
/// Wants a lease of this network: it is what keeps a concurrent removal away from the bridge. Refuses a name
/// that belongs to something else, and a subnet that overlaps with another interface's, unless that is of a network of
/// ours without users, which is removed then. On failure, a bridge made here is gone again.
pub fn ensure(network: &BridgeNetwork, state: &NetworkStateDirectory, lease: &Lease) -> Result<Bridge> {
    ensure_for(network, state, lease.address())
}

/// The same for whoever has the lease of `own`.
pub fn ensure_for(network: &BridgeNetwork, state: &NetworkStateDirectory, own: Ipv4Addr) -> Result<Bridge> {
    let name = network.name();
    debug_assert_eq!(name, state.name(), "the state directory is the network's");
    let mut socket =
        Socket::route().map_err(|errno| Error::from_errno("open", "route netlink socket", errno))?;
    {
        let _lock = state.lock(Sharing::Shared)?;
        let observed = observe(&mut socket, network)?;
        if let Some(index) = observed.complete_bridge(network)
            && masquerade::is_complete(network)
        {
            let (network, outbound) = (network.clone(), Outbound::Masqueraded);
            return Ok(Bridge { network, index, outbound, others: Vec::new() });
        }
    }
    // What is found free when the subnet is looked at stays so until the bridge has it.
    let _making = state.namespace().lock_making()?;
    let _lock = state.lock(Sharing::Exclusive)?;
    let observed = observe(&mut socket, network)?;
    let mut created = None;
    let index = match &observed.link {
        Some(link) if !link.is_our_bridge(name) => {
            let kind = Kind::NameBelongsToSomethingElse(link.description());
            return Err(Error::new("use network name", name.as_str(), kind));
        }
        Some(link) => match options::alias_subnet(link.alias.as_deref()) {
            Some(subnet) if subnet != network.ipv4().to_string() => {
                replace_unused(&mut socket, network, state, own, link, subnet)?;
                *created.insert(create(&mut socket, network, state)?)
            }
            _ => link.index,
        },
        None => *created.insert(create(&mut socket, network, state)?),
    };
    match complete(&mut socket, network, index, &observed) {
        Ok(outbound) => {
            let others = match created {
                // Alone in nearly all cases, which takes no look at the locks.
                Some(_) if state.count_leases()? > 1 => {
                    let mut held = state.held_leases()?;
                    held.retain(|held| held.address != own);
                    held
                }
                _ => Vec::new(),
            };
            Ok(Bridge { network: network.clone(), index, outbound, others })
        }
        Err(error) => {
            if let Some(index) = created {
                // Best effort: the failure above is what the user needs to see.
                let _ = link::delete(&mut socket, index);
            }
            Err(error)
        }
    }
}

/// What one round of requests shows.
#[derive(Debug, Default)]
struct Observed {
    link: Option<Link>,
    /// The interface that has the gateway's IPv4 address.
    ipv4_on: Option<u32>,
    /// The interface that has the gateway's IPv6 address.
    ipv6_on: Option<u32>,
    forwards_ipv4: bool,
    forwards_ipv6: bool,
}

impl Observed {
    fn complete_bridge(&self, network: &BridgeNetwork) -> Option<u32> {
        let link = self.link.as_ref()?;
        let complete = link.is_our_bridge(network.name())
            && options::alias_subnet(link.alias.as_deref()) == Some(network.ipv4().to_string().as_str())
            && link.flags & IFF_UP != 0
            && self.ipv4_on == Some(link.index)
            && self.forwards_ipv4
            && (network.ipv6().is_none() || self.ipv6_on == Some(link.index) && self.forwards_ipv6);
        complete.then_some(link.index)
    }
}

/// Asks by one send for all that a complete bridge consists of.
fn observe(socket: &mut Socket, network: &BridgeNetwork) -> Result<Observed> {
    let mut batch = Batch::new();
    link::request_by_name(&mut batch, 0, network.name().as_str());
    // The route to the gateway is local, through the interface that has the address.
    let mut rtmsg = [0; 12];
    rtmsg[0] = AF_INET;
    rtmsg[1] = 32;
    rtmsg[8..12].copy_from_slice(&RTM_F_FIB_MATCH.to_ne_bytes());
    let gateway = network.ipv4().gateway().octets();
    batch.message(RTM_GETROUTE, 0, &rtmsg, |m| m.put(RTA_DST, &gateway));
    request_forwarding(&mut batch, AF_INET);
    if let Some(ipv6) = network.ipv6() {
        // IPv6 alone answers RTM_GETADDR for one address.
        let ifaddrmsg = ifaddrmsg(AF_INET6, 128, 0, 0);
        batch.message(RTM_GETADDR, 0, &ifaddrmsg, |m| m.put(IFA_ADDRESS, &ipv6.gateway().octets()));
        request_forwarding(&mut batch, AF_INET6);
    }
    let mut observed = Observed::default();
    let result = socket.query(&batch, |message| match message.kind {
        RTM_NEWLINK => observed.link = Link::read(&message),
        RTM_NEWADDR => {
            observed.ipv6_on = message.split(8).and_then(|(fixed, _)| u32_at(fixed, 4));
        }
        _ => {
            if let Some((fixed, attributes)) = message.split(12)
                && message.kind == RTM_NEWROUTE
                && fixed[7] == RTN_LOCAL
            {
                observed.ipv4_on = attributes.find_u32(RTA_OIF);
            }
            if let Some((fixed, attributes)) = message.split(1)
                && message.kind == RTM_NEWNETCONF
                && attributes.find_u32(NETCONFA_FORWARDING) == Some(1)
            {
                match fixed[0] {
                    AF_INET => observed.forwards_ipv4 = true,
                    _ => observed.forwards_ipv6 = true,
                }
            }
        }
    });
    result.map_err(|errno| Error::from_errno("look at network", network.name().as_str(), errno))?;
    Ok(observed)
}

fn request_forwarding(batch: &mut Batch, family: u8) {
    batch.message(RTM_GETNETCONF, 0, &[family], |m| {
        m.put_u32(NETCONFA_IFINDEX, NETCONFA_IFINDEX_ALL.cast_unsigned());
    });
}

/// `struct ifaddrmsg`; the scope is universe.
pub(crate) fn ifaddrmsg(family: u8, prefix: u8, flags: u8, index: u32) -> [u8; 8] {
    let [a, b, c, d] = index.to_ne_bytes();
    [family, prefix, flags, RT_SCOPE_UNIVERSE, a, b, c, d]
}

/// Deletes our bridge that was made for another subnet, if nobody uses it.
fn replace_unused(
    socket: &mut Socket,
    network: &BridgeNetwork,
    state: &NetworkStateDirectory,
    own: Ipv4Addr,
    link: &Link,
    present: &str,
) -> Result<()> {
    let error = |errno| Error::from_errno("replace bridge", network.name().as_str(), errno);
    let in_use = state.held_leases()?.iter().any(|held| held.address != own)
        || !link::all(socket, Some(link.index)).map_err(error)?.is_empty();
    if in_use {
        let kind = Kind::SubnetDiffers(present.to_owned());
        return Err(Error::new("use network", network.name().as_str(), kind));
    }
    link::delete(socket, link.index).map_err(error)
}

/// Creates the bridge, bare; returns its index.
fn create(socket: &mut Socket, network: &BridgeNetwork, state: &NetworkStateDirectory) -> Result<u32> {
    subnets::refuse_overlap(socket, network, state)?;
    // Of a start that failed, or of one that comes after us and is refused.
    if state.chosen_subnet().is_some_and(|chosen| chosen != network.ipv4()) {
        state.note_subnet(&network.ipv4())?;
    }
    let name = network.name();
    let mut batch = Batch::new();
    batch.message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &ifinfomsg(0, 0, 0), |m| {
        m.put_string(IFLA_IFNAME, name.as_str());
        m.put(IFLA_ADDRESS, &bridge_mac(name));
        if let Some(mtu) = network.settings().mtu {
            m.put_u32(IFLA_MTU, mtu);
        }
        m.nest(IFLA_LINKINFO, |m| m.put_string(IFLA_INFO_KIND, "bridge"));
    });
    link::request_by_name(&mut batch, NLM_F_ACK, name.as_str());
    let mut created = None;
    let failures = socket
        .exchange(&batch, |message| created = Link::read(&message).or(created.take()))
        .map_err(|errno| Error::from_errno("create bridge", name.as_str(), errno))?;
    if let Some(failure) = failures.first() {
        let mut error = Error::from_errno("create bridge", name.as_str(), failure.errno);
        if failure.errno == Errno::OPNOTSUPP {
            error.kind = Kind::KernelLacks("bridges (CONFIG_BRIDGE)");
        }
        return Err(error);
    }
    let link = created.ok_or_else(|| Error::new("create bridge", name.as_str(), Kind::Malformed))?;
    Ok(link.index)
}

/// Gives the bridge its addresses, brings it up and marks it, then the host's part: forwarding and rules.
fn complete(
    socket: &mut Socket,
    network: &BridgeNetwork,
    index: u32,
    observed: &Observed,
) -> Result<Outbound> {
    let ipv4 = network.ipv4();
    // Before it is up: it must never take its route from a container (CVE-2020-13401).
    forwarding::refuse_router_advertisements(network.name())?;
    let mut batch = Batch::new();
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    let fixed = ifaddrmsg(AF_INET, ipv4.prefix(), IFA_F_PERMANENT, index);
    batch.message(RTM_NEWADDR, flags, &fixed, |m| {
        m.put(IFA_LOCAL, &ipv4.gateway().octets());
        m.put(IFA_ADDRESS, &ipv4.gateway().octets());
        m.put(IFA_BROADCAST, &ipv4.broadcast().octets());
    });
    if let Some(ipv6) = network.ipv6() {
        // Nobody else can have it: no second of waiting for duplicate address detection.
        let fixed = ifaddrmsg(AF_INET6, ipv6.prefix(), IFA_F_PERMANENT | IFA_F_NODAD, index);
        batch.message(RTM_NEWADDR, flags, &fixed, |m| m.put(IFA_ADDRESS, &ipv6.gateway().octets()));
    }
    batch.message(RTM_SETLINK, NLM_F_ACK, &ifinfomsg(index, IFF_UP, IFF_UP), |m| {
        m.put(IFLA_IFALIAS, network.alias().as_bytes());
    });
    socket
        .execute(&batch)
        .map_err(|failure| Error::from_errno("configure bridge", network.name().as_str(), failure.errno))?;
    if !observed.forwards_ipv4 {
        forwarding::enable_ipv4()?;
    }
    if network.ipv6().is_some() && !observed.forwards_ipv6 {
        forwarding::enable_ipv6(socket)?;
    }
    masquerade::ensure(network)
}

/// How a removal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// Bridge, rules and state are gone, or were before.
    Removed,
    /// Containers hold this many leases; nothing was changed.
    LeasesHeld(usize),
    /// No lease is held, but these interfaces are still ports of the bridge: of containers whose namespace
    /// the kernel has not finished with (try again soon), or attached by somebody else.
    PortsLeft(Vec<String>),
}

/// Removes the network's bridge, rules and state if no lease is held and no port is left. Safe against a start
/// at the same time, and after a crash at any point; removes the files of dead leases in any case.
pub fn remove_if_unused(state: &NetworkStateDirectory) -> Result<Removal> {
    let name = state.name();
    let error = |errno| Error::from_errno("remove network", name.as_str(), errno);
    let mut socket = Socket::route().map_err(error)?;
    let lock = state.lock(Sharing::Exclusive)?;
    let held = state.held_leases()?;
    if !held.is_empty() {
        return Ok(Removal::LeasesHeld(held.len()));
    }
    if let Some(link) = our_bridge(&mut socket, name).map_err(error)? {
        let ports = link::all(&mut socket, Some(link.index)).map_err(error)?;
        if !ports.is_empty() {
            return Ok(Removal::PortsLeft(ports.into_iter().map(|port| port.name).collect()));
        }
        // Rules first: while the bridge is there, a crash in between leaves a trace to start from.
        masquerade::remove(name)?;
        link::delete(&mut socket, link.index).map_err(error)?;
    } else {
        masquerade::remove(name)?;
    }
    // A firewall that can't be told is no reason to keep the rest: it is said.
    let failures = integration::withdraw(state);
    state.remove(lock)?;
    failures.into_iter().next().map_or(Ok(Removal::Removed), Err)
}

/// Deletes the ports of dead containers, if no lease is held. The kernel keeps a namespace, and with it its port, for as long as a
/// socket in it waits for somebody who does not answer any more: a connection whose other end has gone is closed after minutes.
pub fn cut_off_the_dead(state: &NetworkStateDirectory) -> Result<()> {
    let name = state.name();
    let error = |errno| Error::from_errno("remove ports of dead containers", name.as_str(), errno);
    let mut socket = Socket::route().map_err(error)?;
    let _lock = state.lock(Sharing::Exclusive)?;
    if !state.held_leases()?.is_empty() {
        return Ok(());
    }
    let Some(bridge) = our_bridge(&mut socket, name).map_err(error)? else { return Ok(()) };
    for port in link::all(&mut socket, Some(bridge.index)).map_err(error)? {
        // What somebody else has attached stays.
        if port.name.starts_with("vrc") && port.kind.as_deref() == Some("veth") {
            link::delete(&mut socket, port.index).map_err(error)?;
        }
    }
    Ok(())
}

fn our_bridge(socket: &mut Socket, name: &InterfaceName) -> std::result::Result<Option<Link>, Errno> {
    Ok(link::by_name(socket, name.as_str())?.filter(|link| link.is_our_bridge(name)))
}
