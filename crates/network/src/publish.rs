//! Owns what redirects published ports: maps, and the chains that look them up, in our table. Binds nothing.
//!
//! ```text
//! table inet rabbitc {
//!     map other_port_ip { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; flags interval; }
//!     map same_port_ip  { type ipv4_addr . inet_proto . inet_service : ipv4_addr; flags interval; }
//!     …the same for ip6
//!     chain ports {
//!         dnat ip to ip daddr . meta l4proto . th dport map @other_port_ip
//!         dnat ip to ip daddr . meta l4proto . th dport map @same_port_ip
//!         …the same for ip6
//!     }
//!     chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump ports; }
//!     chain output     { type nat hook output priority dstnat; fib daddr type local jump ports; }   (see [`Loopback`])
//! }
//! ```
//!
//! Elements live as their lease does. Before the first one is made, the lease's file says that there will be some;
//! and whoever removes the file of a dead holder, or takes it over, removes them first ([`withdraw_dead`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::bridge::Bridge;
use crate::conntrack;
use crate::error::{Error, Kind, Result};
use crate::forwarding;
use crate::kernel::*;
use crate::masquerade::{self, TABLE, means_lacking};
use crate::nft_maps::Element;
use crate::nftables::{self, BaseChain, ChainName, Rule, Transaction};
use crate::options::{BridgeNetwork, ContainerInterface, InterfaceName};
use crate::port_holder::PortHolder;
use crate::port_maps::{
    Elements, MAPS, all_elements, change, elements_of, overlap, owner, protocol, read_owner, server,
};
use crate::port_sockets::HeldPorts;
use crate::ports::{Protocol, Publication};
use crate::routes::route_type;
use crate::state::{Lease, NetworkStateDirectory};
use netlink::Socket;

const PORTS: ChainName<'_> = ChainName { table: TABLE, chain: "ports" };
const PREROUTING: ChainName<'_> = ChainName { table: TABLE, chain: "prerouting" };
const OUTPUT: ChainName<'_> = ChainName { table: TABLE, chain: "output" };
/// What the rules that send packets to `ports` are known by.
const TO_PORTS: &str = "what is for this host";

/// What the rule that keeps `::1` out is known by.
const LOOPBACK_LEFT_OUT: &str = "answers would be lost: br_netfilter is on";

/// The most that one container's publications may need: they are one transaction.
pub(crate) const MOST_ELEMENTS: usize = 16 * 1024;

/// How often a change of the ruleset is begun anew where somebody else was quicker: a ruleset that is never at rest must
/// not hold up a start, or an end.
pub(crate) const MOST_TRIES: u32 = 8;

/// Published ports; dropping this withdraws them.
#[derive(Debug)]
pub struct Published {
    elements: Elements,
    udp: Vec<Publication>,
    interface: ContainerInterface,
    /// Of the lease: whether something may lead to its address.
    is_led_to: Arc<AtomicBool>,
}

/// Redirects the held ports to the container that has the lease, in one transaction.
///
/// Elements of dead containers for the same ports go in the same transaction. A port that a living container has,
/// as with SCTP may be where nothing holds it, is refused. Also makes the bridge carry what comes from the host's
/// loopback, and our table refuse loopback addresses from the bridge.
pub fn publish(
    bridge: &Bridge,
    state: &NetworkStateDirectory,
    lease: &Lease,
    ports: &HeldPorts,
) -> Result<Published> {
    let interface = *lease.interface();
    let name = bridge.network.name();
    let object = || listed(ports.publications());
    let error = |errno: Errno| {
        let mut error = Error::from_errno("publish", object(), errno);
        if means_lacking(errno) {
            error.kind = Kind::KernelLacks(
                "nftables maps and redirection (modules nf_tables, nft_chain_nat, nft_nat, nft_fib_inet, nft_ct, nft_masq)",
            );
        }
        error
    };
    let comment = owner(name, lease.address(), &lease.holder());
    let elements: Elements = ports
        .publications()
        .iter()
        .flat_map(|publication| elements_of(publication, &interface, &comment))
        .collect();
    if elements.len() > MOST_ELEMENTS {
        return Err(Error::new("publish", object(), Kind::TooManyPorts));
    }
    let mut socket = Socket::netfilter().map_err(error)?;
    let is_led_to = lease.note_publications(ports.publications()).map_err(error)?;
    let mut tries = 0;
    let mut redirect = || loop {
        let lock = state.lock_publications().map_err(error)?;
        let outcome = try_publish(&mut socket, &bridge.network, state, &elements, &Elements::new());
        drop(lock);
        match outcome {
            Ok(Outcome::Done) => return Ok(()),
            // Perhaps a sweep that holds the lock of a dead one's lease, and waits for this one.
            Ok(Outcome::Taken(_)) if tries < MOST_TRIES => std::thread::sleep(Duration::from_millis(1)),
            Ok(Outcome::Taken(id)) => {
                let kind = Kind::PortTaken(PortHolder::Container(id));
                return Err(Error::new("publish", object(), kind));
            }
            // Somebody else changed or flushed the ruleset between our look and our change.
            Err(Errno::NOENT | Errno::EXIST | Errno::BUSY | Errno::NOTEMPTY) if tries < MOST_TRIES => {}
            Err(errno) => return Err(error(errno)),
        }
        tries += 1;
    };
    if let Err(error) = redirect() {
        // The kernel takes all of a transaction or nothing, but its answer may have been lost.
        if withdraw_dead(state, name, lease.address()).is_ok() {
            is_led_to.store(false, Ordering::Relaxed);
        }
        return Err(error);
    }
    let udp = ports.publications().iter().filter(|one| one.protocol == Protocol::Udp).cloned().collect();
    let published = Published { elements, udp, interface, is_led_to };
    // From here on, dropping it takes back what was made.
    // After the rules: nothing may come from a container's loopback once the host's is let out (CVE-2020-8558).
    let_loopback_through(&bridge.network, bridge.index)?;
    Ok(published)
}

/// From which of the host's loopback addresses published ports are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loopback {
    /// All of them.
    Both,
    /// 127.0.0.0/8. With `::1`, answers would not find their way back: `br_netfilter` translates them on the bridge,
    /// and what leaves a bridge for `::1` is dropped. Not redirected, such a connection is refused at once.
    Ipv4,
}

impl Loopback {
    fn of_this_host() -> Loopback {
        if forwarding::bridges_filter_ipv6() { Loopback::Ipv4 } else { Loopback::Both }
    }
}

/// Keeps what is sent to `::1` out of the maps, or lets it in again: it depends on the host, not on a container.
fn leave_out_loopback(transaction: &mut Transaction, rules: &[Rule], loopback: Loopback) {
    let present = rules
        .iter()
        .find(|rule| rule.chain == OUTPUT.chain && rule.comment.as_deref() == Some(LOOPBACK_LEFT_OUT));
    match (loopback, present) {
        (Loopback::Ipv4, None) => transaction.insert_rule(OUTPUT, LOOPBACK_LEFT_OUT, |expressions| {
            expressions.load_meta(NFT_META_NFPROTO);
            expressions.compare(NFT_CMP_EQ, &[NFPROTO_IPV6]);
            // struct ipv6hdr: daddr
            expressions.load_network_header(24, 16);
            expressions.compare(NFT_CMP_EQ, &Ipv6Addr::LOCALHOST.octets());
            expressions.leave();
        }),
        (Loopback::Both, Some(rule)) => transaction.delete_rule(OUTPUT, rule.handle),
        _ => {}
    }
}

/// What became of a change.
pub(crate) enum Outcome {
    Done,
    /// The living container with this id has one of the ports.
    Taken(String),
}

/// Puts elements in, in place of `gone` and of those of dead containers for the same ports. The caller has the lock on
/// publications.
pub(crate) fn try_publish(
    socket: &mut Socket,
    network: &BridgeNetwork,
    state: &NetworkStateDirectory,
    elements: &Elements,
    gone: &Elements,
) -> std::result::Result<Outcome, Errno> {
    let rules = nftables::rules(socket, NFPROTO_INET, TABLE, None)?;
    let present = all_elements(socket)?;
    let mut transaction = Transaction::new(NFPROTO_INET, None);
    transaction.add_table(TABLE);
    if present.is_none() || !is_complete(&rules) {
        add_base(&mut transaction, &rules);
    }
    leave_out_loopback(&mut transaction, &rules, Loopback::of_this_host());
    masquerade::add_missing(&mut transaction, &masquerade::for_published_ports(network), &rules);
    let mut stale = gone.clone();
    for (index, other) in present.unwrap_or_default() {
        if gone.iter().any(|(at, element)| *at == index && *element == other) {
            continue;
        }
        let meets = |&(own, ref element): &(usize, Element)| own / 2 == index / 2 && overlap(element, &other);
        if elements.iter().any(meets) {
            match read_owner(&other.comment) {
                Some((network, address, id)) if state.holds(network, address, id)? => {
                    return Ok(Outcome::Taken(id.to_owned()));
                }
                _ => stale.push((index, other)),
            }
        }
    }
    change(&mut transaction, &stale, Transaction::delete_elements);
    change(&mut transaction, elements, Transaction::add_elements);
    transaction.commit(socket)?;
    Ok(Outcome::Done)
}

/// The rules that all publications share, as (chain, comment).
fn base_rules() -> impl Iterator<Item = (ChainName<'static>, &'static str)> {
    let maps = MAPS.iter().map(|map| (PORTS, map.name));
    maps.chain([(PREROUTING, TO_PORTS), (OUTPUT, TO_PORTS)])
}

fn has_rule(rules: &[Rule], chain: ChainName<'_>, comment: &str) -> bool {
    rules.iter().any(|rule| rule.chain == chain.chain && rule.comment.as_deref() == Some(comment))
}

fn is_complete(rules: &[Rule]) -> bool {
    base_rules().all(|(chain, comment)| has_rule(rules, chain, comment))
}

fn add_base(transaction: &mut Transaction, rules: &[Rule]) {
    for (number, map) in (1..).zip(&MAPS) {
        transaction.add_map(map, number);
    }
    transaction.add_chain(PORTS);
    let base = |hook| BaseChain { kind: "nat", hook, priority: NF_IP_PRI_NAT_DST };
    transaction.add_base_chain(PREROUTING, base(NF_INET_PRE_ROUTING));
    transaction.add_base_chain(OUTPUT, base(NF_INET_LOCAL_OUT));
    for (index, map) in MAPS.iter().enumerate() {
        if has_rule(rules, PORTS, map.name) {
            continue;
        }
        // struct iphdr and struct ipv6hdr: daddr
        let (family, offset, length) = if index < 2 { (NFPROTO_IPV4, 16, 4) } else { (NFPROTO_IPV6, 24, 16) };
        let after_address = NFT_REG32_00 + length / 4;
        transaction.add_rule(PORTS, map.name, |expressions| {
            expressions.load_meta(NFT_META_NFPROTO);
            expressions.compare(NFT_CMP_EQ, &[family]);
            expressions.load_header_into(NFT_REG_1, NFT_PAYLOAD_NETWORK_HEADER, offset, length);
            expressions.load_meta_into(after_address, NFT_META_L4PROTO);
            // In all three protocols: source and destination port come first.
            expressions.load_header_into(after_address + 1, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
            expressions.look_up(map.name);
            expressions.redirect(family, (index % 2 == 0).then_some(after_address));
        });
    }
    for chain in [PREROUTING, OUTPUT] {
        if !has_rule(rules, chain, TO_PORTS) {
            transaction.add_rule(chain, TO_PORTS, |expressions| {
                // What is only routed through this host is not meant.
                expressions.load_destination_type();
                expressions.compare(NFT_CMP_EQ, &u32::from(RTN_LOCAL).to_ne_bytes());
                expressions.jump(PORTS.chain);
            });
        }
    }
}

fn listed(publications: &[Publication]) -> String {
    let all: Vec<String> = publications.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// The id of the living container that has published a port of this publication.
pub(crate) fn living_owner(
    publication: &Publication,
    state: &NetworkStateDirectory,
) -> std::result::Result<Option<String>, Errno> {
    let mut socket = Socket::netfilter()?;
    // Where it leads to does not matter.
    let anywhere = ContainerInterface::anywhere();
    let wanted = elements_of(publication, &anywhere, "");
    for (index, element) in all_elements(&mut socket)?.unwrap_or_default() {
        if wanted.iter().any(|(own, wanted)| own / 2 == index / 2 && overlap(wanted, &element))
            && let Some((network, address, id)) = read_owner(&element.comment)
            && state.holds(network, address, id)?
        {
            return Ok(Some(id.to_owned()));
        }
    }
    Ok(None)
}

/// Lets connections of the host to its own loopback addresses leave by the bridge and their answers come back.
/// Our table drops what comes from the bridge with such addresses, from before on.
pub(crate) fn let_loopback_through(network: &BridgeNetwork, bridge: u32) -> Result<()> {
    forwarding::route_loopback_ipv4(network.name())?;
    if network.ipv6().is_some() && Loopback::of_this_host() == Loopback::Both {
        forwarding::route_loopback_ipv6(network.name(), bridge)?;
    }
    Ok(())
}

/// Forgets flows of UDP to the publications that go to somebody else than these addresses of one container.
pub(crate) fn forget_flows_past(publications: &[Publication], own: &[Option<IpAddr>]) {
    let udp: Vec<&Publication> = publications.iter().filter(|one| one.protocol == Protocol::Udp).collect();
    if udp.is_empty() {
        return;
    }
    let mut of_this_host = BTreeMap::new();
    conntrack::forget_udp(|flow| {
        // Of a port for all addresses, those to other hosts are none of ours: they only pass by here.
        let mut is_of_this_host = || {
            let looked_up = of_this_host.entry(flow.destination);
            *looked_up.or_insert_with(|| matches!(route_type(flow.destination), Ok(Some(RTN_LOCAL))))
        };
        let is_covered = udp.iter().any(|publication| {
            publication.host.contains(flow.port)
                && match publication.address {
                    Some(address) if !address.is_unspecified() => address == flow.destination,
                    Some(every) => every.is_ipv4() == flow.destination.is_ipv4() && is_of_this_host(),
                    None => is_of_this_host(),
                }
        });
        is_covered && !own.contains(&Some(flow.server))
    });
}

/// What is left of a withdrawal: closing this waits until no packet is in what was taken out, some milliseconds.
/// Whoever has time for it, such as another process, may be given it.
#[derive(Debug)]
pub struct Lingering(OwnedFd);

impl Lingering {
    /// The socket to close.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }
}

impl Published {
    /// Forgets flows of UDP that began before, and would go on past the container: a client that keeps sending
    /// keeps its flow. A look through all that the kernel tracks, so not on the way to a start.
    pub fn forget_earlier_flows(&self) {
        let own = [Some(IpAddr::V4(self.interface.ipv4())), self.interface.ipv6().map(IpAddr::V6)];
        forget_flows_past(&self.udp, &own);
    }

    /// Takes the redirections out. What somebody else has taken out already is no error.
    pub fn withdraw(&mut self) -> Result<Option<Lingering>> {
        let elements = std::mem::take(&mut self.elements);
        if elements.is_empty() {
            return Ok(None);
        }
        // Nobody else takes these out or puts others in their place: the ports are held, and the lease.
        let socket = delete(&elements).map_err(|errno| {
            Error::from_errno(
                "withdraw published ports of container at",
                self.interface.ipv4().to_string(),
                errno,
            )
        })?;
        self.is_led_to.store(false, Ordering::Relaxed);
        if !self.udp.is_empty() {
            // They would go on to whoever gets the address next.
            let own = [Some(IpAddr::V4(self.interface.ipv4())), self.interface.ipv6().map(IpAddr::V6)];
            conntrack::forget_udp(|flow| own.contains(&Some(flow.server)));
        }
        Ok(Some(Lingering(socket.into_descriptor())))
    }

    /// Leaves the redirections to the lease: whoever finds that one dead takes them out.
    pub fn entrust(mut self) {
        self.elements = Elements::default();
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // Best effort on the way out of an error: what stays goes with the lease, whose file stays for it.
        let _ = self.withdraw();
    }
}

/// Returns the socket, for the closing to be put off.
fn delete(elements: &Elements) -> std::result::Result<Socket, Errno> {
    let mut socket = Socket::netfilter()?;
    let mut left = elements.clone();
    let mut tries = 0;
    loop {
        let mut transaction = Transaction::new(NFPROTO_INET, None);
        change(&mut transaction, &left, Transaction::delete_elements);
        match transaction.commit(&mut socket) {
            Err(Errno::NOENT) if tries < MOST_TRIES => {
                tries += 1;
                // Some of it, or all, was flushed.
                let present = all_elements(&mut socket)?.unwrap_or_default();
                left.retain(|element| present.contains(element));
                if left.is_empty() {
                    return Ok(socket);
                }
            }
            other => return other.map(|()| socket),
        }
    }
}

/// Takes out what leads to a container whose holder is dead, or to none. The caller holds the lock of its lease, so nobody
/// publishes for that address meanwhile; the lock on publications is taken here.
pub(crate) fn withdraw_dead(
    state: &NetworkStateDirectory,
    name: &InterfaceName,
    address: Ipv4Addr,
) -> std::result::Result<(), Errno> {
    let _lock = state.lock_publications()?;
    let mut socket = match Socket::netfilter() {
        Err(Errno::PROTONOSUPPORT) => return Ok(()),
        other => other?,
    };
    let belongs = |element: &Element| {
        read_owner(&element.comment).is_some_and(|(network, at, _)| network == name.as_str() && at == address)
    };
    let mut dead = all_elements(&mut socket)?.unwrap_or_default();
    dead.retain(|(_, element)| belongs(element));
    if dead.is_empty() {
        return Ok(());
    }
    drop(delete(&dead)?);
    dead.retain(|(index, element)| protocol(*index, element) == Some(Protocol::Udp));
    let mut servers: Vec<IpAddr> =
        dead.iter().filter_map(|(index, element)| server(*index, element)).collect();
    servers.dedup();
    if !servers.is_empty() {
        conntrack::forget_udp(|flow| servers.contains(&flow.server));
    }
    Ok(())
}
