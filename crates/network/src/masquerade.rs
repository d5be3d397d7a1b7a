//! Owns the table `inet rabbitc`: puts a network's rules in, and takes them out; touches no other table.
//!
//! ```text
//! table inet rabbitc {
//!     chain postrouting {
//!         type nat hook postrouting priority srcnat; policy accept;
//!         ip saddr 172.19.0.0/16 oifname != "rabbitc0" masquerade comment "rabbitc0 172.19.0.0/16"
//!         ip6 saddr fd…::/64 oifname != "rabbitc0" masquerade comment "rabbitc0 fd…::/64"
//!     }
//! }
//! ```
//!
//! What keeps networks apart is in [`crate::isolation`]. A network with published ports has more there, and a chain against forged addresses ([`for_published_ports`]);
//! what redirects those ports is [`crate::publish()`]'s. A rule's comment says whose it is and what for; a rule with the right comment is taken to be right.

use std::net::{Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::forwarding;
use crate::isolation;
use crate::kernel::*;
use crate::nftables::{self, BaseChain, ChainName, Expressions, Rule, Transaction};
use crate::options::{BridgeNetwork, InterfaceName, Ipv6Network, Reach};
use netlink::Socket;

/// The table that holds everything of ours.
pub(crate) const TABLE: &str = "rabbitc";
const POSTROUTING: ChainName<'static> = ChainName { table: TABLE, chain: "postrouting" };
const FORGED: ChainName<'static> = ChainName { table: TABLE, chain: "forged" };
const INTERNAL: ChainName<'static> = ChainName { table: TABLE, chain: "internal" };
/// The chains whose rules belong to one network each.
const NETWORK_CHAINS: [&str; 3] = [POSTROUTING.chain, FORGED.chain, INTERNAL.chain];

/// How far a container of a network gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbound {
    /// Where the host gets: what leaves the host does so under the host's address.
    Masqueraded,
    /// To the host and its other containers only.
    HostOnly(Lacking),
}

/// What the kernel lacks for more, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// What is missing.
    pub what: &'static str,
    /// The kernel's answer.
    pub cause: Errno,
    /// What the user can do; lower case, no final period.
    pub remedy: &'static str,
}

/// A rule of a network. Its comment says whose it is and what for, and begins with name and subnet.
pub(crate) struct Wanted {
    chain: ChainName<'static>,
    comment: String,
    packets: Packets,
    bridge: [u8; 16],
}

/// Which packets a rule is about; the chain decides what is done to them.
enum Packets {
    /// From a container to anywhere else: they get the host's address.
    Leaving(Subnet),
    /// The same, under their own address: a rule that says whose network it is, and changes nothing.
    Routed(Subnet),
    /// Through the bridge of a network without a way out, in one direction.
    Internal(Direction),
    /// From a container, redirected to one of the same network: answered directly, they would not be translated
    /// back, so they get the bridge's address.
    Hairpin(Subnet),
    /// From the host's own loopback to a container: nobody could answer to that address.
    Loopback(Family),
    /// From the bridge with a loopback address as source or destination: no container reaches the host's loopback.
    Forged { family: Family, direction: Direction },
}

#[derive(Clone, Copy)]
enum Subnet {
    Ipv4(Ipv4Addr, u32),
    Ipv6(Ipv6Addr, u8),
}

#[derive(Clone, Copy)]
enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Clone, Copy)]
enum Direction {
    Source,
    Destination,
}

/// Whether all of the network's rules are there: one dump of our own chain, and a question for one element.
pub(crate) fn is_complete(network: &BridgeNetwork) -> bool {
    let Ok(mut socket) = Socket::netfilter() else { return false };
    let wanted = wanted(network);
    // All of them are in one.
    let chain = wanted[0].chain.chain;
    let Ok(present) = nftables::rules(&mut socket, NFPROTO_INET, TABLE, Some(chain)) else {
        return false;
    };
    wanted.iter().all(|rule| has(&present, &rule.comment))
        && isolation::separates(&mut socket, network.name())
}

/// Puts in the network's rules and takes out those that it had with another subnet, at once.
pub(crate) fn ensure(network: &BridgeNetwork) -> Result<Outbound> {
    match try_ensure(network) {
        Ok(()) => Ok(Outbound::Masqueraded),
        Err(errno) if means_lacking(errno) => Ok(Outbound::HostOnly(Lacking {
            what: "nftables with masquerading",
            cause: errno,
            remedy: "load or build the kernel modules nf_tables, nft_chain_nat, nft_ct and nft_masq",
        })),
        Err(errno) => {
            Err(Error::from_errno("set up masquerading for network", network.name().as_str(), errno))
        }
    }
}

fn try_ensure(network: &BridgeNetwork) -> std::result::Result<(), Errno> {
    let mut socket = Socket::netfilter()?;
    let present = nftables::rules(&mut socket, NFPROTO_INET, TABLE, None)?;
    let mut wanted = wanted(network);
    if forwarding::routes_loopback_ipv4(network.name()) {
        // Somebody flushed the rules that make this safe.
        wanted.extend(for_published_ports(network));
    }
    // No generation here: adding does not depend on what other networks do to the table.
    let mut transaction = Transaction::new(NFPROTO_INET, None);
    transaction.add_table(TABLE);
    let subnets: Vec<&str> = wanted.iter().filter_map(|rule| rule.comment.split(' ').nth(1)).collect();
    let is_current = |rule: &&Rule| {
        let comment = rule.comment.as_deref().unwrap_or_default();
        comment.split(' ').nth(1).is_some_and(|subnet| subnets.contains(&subnet))
    };
    for stale in present.iter().filter(|rule| belongs(rule, network.name()) && !is_current(rule)) {
        transaction.delete_rule(ChainName { table: TABLE, chain: &stale.chain }, stale.handle);
    }
    add_missing(&mut transaction, &wanted, &present);
    isolation::separate(&mut transaction, network.name(), &present);
    transaction.commit(&mut socket)
}

/// Adds those of the rules that are not there, with the chains that they need. A chain that has a rule is there:
/// adding it again would make the kernel wait, when the socket is closed, until no packet is in the old one.
pub(crate) fn add_missing(transaction: &mut Transaction, wanted: &[Wanted], present: &[Rule]) {
    let missing: Vec<&Wanted> = wanted.iter().filter(|rule| !has(present, &rule.comment)).collect();
    for (chain, base) in [
        (POSTROUTING, BaseChain { kind: "nat", hook: NF_INET_POST_ROUTING, priority: NF_IP_PRI_NAT_SRC }),
        (INTERNAL, BaseChain { kind: "filter", hook: NF_INET_FORWARD, priority: NF_IP_PRI_FILTER }),
        // Before connection tracking translates what may come from there, which are answers.
        (FORGED, BaseChain { kind: "filter", hook: NF_INET_PRE_ROUTING, priority: NF_IP_PRI_RAW }),
    ] {
        let is_wanted = missing.iter().any(|rule| rule.chain.chain == chain.chain);
        if is_wanted && !present.iter().any(|rule| rule.chain == chain.chain) {
            transaction.add_base_chain(chain, base);
        }
    }
    for rule in missing {
        transaction.add_rule(rule.chain, &rule.comment, |expressions| rule.write(expressions));
    }
}

impl Wanted {
    fn write(&self, expressions: &mut Expressions<'_, '_>) {
        match self.packets {
            Packets::Leaving(subnet) => {
                subnet.compare(expressions);
                self.compare_bridge(expressions, NFT_META_OIFNAME, NFT_CMP_NEQ);
                expressions.masquerade();
            }
            Packets::Routed(subnet) => {
                subnet.compare(expressions);
                self.compare_bridge(expressions, NFT_META_OIFNAME, NFT_CMP_NEQ);
                expressions.leave();
            }
            Packets::Internal(direction) => {
                let (own, other) = match direction {
                    Direction::Source => (NFT_META_IIFNAME, NFT_META_OIFNAME),
                    Direction::Destination => (NFT_META_OIFNAME, NFT_META_IIFNAME),
                };
                self.compare_bridge(expressions, own, NFT_CMP_EQ);
                // What br_netfilter shows here of packets between its ports stays.
                self.compare_bridge(expressions, other, NFT_CMP_NEQ);
                expressions.drop();
            }
            Packets::Hairpin(subnet) => {
                subnet.compare(expressions);
                self.compare_bridge(expressions, NFT_META_OIFNAME, NFT_CMP_EQ);
                expressions.load_connection_status();
                expressions.mask(&IPS_DST_NAT.to_ne_bytes());
                expressions.compare(NFT_CMP_NEQ, &0_u32.to_ne_bytes());
                expressions.masquerade();
            }
            Packets::Loopback(family) => {
                family.compare_loopback(expressions, Direction::Source);
                self.compare_bridge(expressions, NFT_META_OIFNAME, NFT_CMP_EQ);
                expressions.masquerade();
            }
            Packets::Forged { family, direction } => {
                // First: every packet of the host passes here.
                self.compare_bridge(expressions, NFT_META_IIFNAME, NFT_CMP_EQ);
                family.compare_loopback(expressions, direction);
                expressions.drop();
            }
        }
    }

    fn compare_bridge(&self, expressions: &mut Expressions<'_, '_>, key: u32, operation: u32) {
        expressions.load_meta(key);
        expressions.compare(operation, &self.bridge);
    }
}

impl Subnet {
    fn compare(self, expressions: &mut Expressions<'_, '_>) {
        expressions.load_meta(NFT_META_NFPROTO);
        match self {
            Subnet::Ipv4(address, mask) => {
                expressions.compare(NFT_CMP_EQ, &[NFPROTO_IPV4]);
                // struct iphdr: saddr
                expressions.load_network_header(12, 4);
                expressions.mask(&mask.to_be_bytes());
                expressions.compare(NFT_CMP_EQ, &address.octets());
            }
            Subnet::Ipv6(address, 64) => {
                expressions.compare(NFT_CMP_EQ, &[NFPROTO_IPV6]);
                // struct ipv6hdr: saddr, of which the first half is the network's
                expressions.load_network_header(8, 8);
                expressions.compare(NFT_CMP_EQ, &address.octets()[..8]);
            }
            Subnet::Ipv6(address, prefix) => {
                expressions.compare(NFT_CMP_EQ, &[NFPROTO_IPV6]);
                expressions.load_network_header(8, 16);
                expressions.mask(&(u128::MAX << (128 - u32::from(prefix))).to_be_bytes());
                expressions.compare(NFT_CMP_EQ, &address.octets());
            }
        }
    }
}

impl Family {
    fn compare_loopback(self, expressions: &mut Expressions<'_, '_>, direction: Direction) {
        expressions.load_meta(NFT_META_NFPROTO);
        // struct iphdr and struct ipv6hdr: saddr and daddr
        match self {
            Family::Ipv4 => {
                expressions.compare(NFT_CMP_EQ, &[NFPROTO_IPV4]);
                let offset = match direction {
                    Direction::Source => 12,
                    Direction::Destination => 16,
                };
                expressions.load_network_header(offset, 1);
                expressions.compare(NFT_CMP_EQ, &[127]);
            }
            Family::Ipv6 => {
                expressions.compare(NFT_CMP_EQ, &[NFPROTO_IPV6]);
                let offset = match direction {
                    Direction::Source => 8,
                    Direction::Destination => 24,
                };
                expressions.load_network_header(offset, 16);
                expressions.compare(NFT_CMP_EQ, &Ipv6Addr::LOCALHOST.octets());
            }
        }
    }
}

/// Takes out the network's rules, and the table with the last of them.
pub(crate) fn remove(name: &InterfaceName) -> Result<()> {
    loop {
        match try_remove(name) {
            // Somebody changed the ruleset between our reading and our change: read again.
            Err(Errno::RESTART | Errno::AGAIN) => {}
            // Gone, or never possible here.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) if means_lacking(errno) => return Ok(()),
            Err(errno) => {
                return Err(Error::from_errno("remove masquerading of network", name.as_str(), errno));
            }
            Ok(()) => return Ok(()),
        }
    }
}

fn try_remove(name: &InterfaceName) -> std::result::Result<(), Errno> {
    let mut socket = Socket::netfilter()?;
    let generation = nftables::generation(&mut socket)?;
    let present = nftables::rules(&mut socket, NFPROTO_INET, TABLE, None)?;
    // Those of published ports are nobody's: without a network they have nothing to lead to.
    let networks = present.iter().filter(|rule| NETWORK_CHAINS.contains(&rule.chain.as_str()));
    let (own, others): (Vec<_>, Vec<_>) = networks.partition(|rule| belongs(rule, name));
    let isolated = isolation::separates(&mut socket, name);
    if own.is_empty() && !isolated && !others.is_empty() {
        return Ok(());
    }
    let mut transaction = Transaction::new(NFPROTO_INET, Some(generation));
    if others.is_empty() {
        transaction.delete_table(TABLE);
    } else {
        for rule in own {
            transaction.delete_rule(ChainName { table: TABLE, chain: &rule.chain }, rule.handle);
        }
        if isolated {
            isolation::forget(&mut transaction, name);
        }
    }
    transaction.commit(&mut socket)
}

/// What every network has.
fn wanted(network: &BridgeNetwork) -> Vec<Wanted> {
    let rule = Rules::of(network);
    match network.settings().reach {
        Reach::Masqueraded => subnets(network)
            .map(|(text, subnet)| rule.make(POSTROUTING, &text, "", Packets::Leaving(subnet)))
            .collect(),
        Reach::Routed => subnets(network)
            .map(|(text, subnet)| rule.make(POSTROUTING, &text, "", Packets::Routed(subnet)))
            .collect(),
        Reach::Internal => {
            let subnet = network.ipv4().subnet();
            let make =
                |purpose, direction| rule.make(INTERNAL, &subnet, purpose, Packets::Internal(direction));
            vec![
                make(" internal source", Direction::Source),
                make(" internal destination", Direction::Destination),
            ]
        }
    }
}

/// What a network with published ports has beside that.
pub(crate) fn for_published_ports(network: &BridgeNetwork) -> Vec<Wanted> {
    let rule = Rules::of(network);
    let mut wanted = Vec::with_capacity(8);
    for (text, subnet) in subnets(network) {
        let family = match subnet {
            Subnet::Ipv4(..) => Family::Ipv4,
            Subnet::Ipv6(..) => Family::Ipv6,
        };
        let forged = |direction| Packets::Forged { family, direction };
        wanted.push(rule.make(FORGED, &text, " forged source", forged(Direction::Source)));
        wanted.push(rule.make(FORGED, &text, " forged destination", forged(Direction::Destination)));
        wanted.push(rule.make(POSTROUTING, &text, " hairpin", Packets::Hairpin(subnet)));
        wanted.push(rule.make(POSTROUTING, &text, " loopback", Packets::Loopback(family)));
    }
    wanted
}

fn subnets(network: &BridgeNetwork) -> impl Iterator<Item = (String, Subnet)> + use<> {
    let ipv4 = network.ipv4();
    let ipv6 =
        network.ipv6().map(|ipv6: Ipv6Network| (ipv6.subnet(), Subnet::Ipv6(ipv6.first(), ipv6.prefix())));
    std::iter::once((ipv4.subnet(), Subnet::Ipv4(ipv4.first(), ipv4.mask()))).chain(ipv6)
}

/// Makes rules of one network.
struct Rules<'a> {
    name: &'a InterfaceName,
    bridge: [u8; 16],
}

impl<'a> Rules<'a> {
    fn of(network: &'a BridgeNetwork) -> Self {
        let name = network.name();
        let mut bridge = [0; 16];
        bridge[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
        Self { name, bridge }
    }

    fn make(&self, chain: ChainName<'static>, subnet: &str, purpose: &str, packets: Packets) -> Wanted {
        Wanted { chain, comment: format!("{} {subnet}{purpose}", self.name), packets, bridge: self.bridge }
    }
}

fn has(present: &[Rule], comment: &str) -> bool {
    present.iter().any(|rule| rule.comment.as_deref() == Some(comment))
}

fn belongs(rule: &Rule, name: &InterfaceName) -> bool {
    let comment = rule.comment.as_deref().unwrap_or_default();
    comment.split_once(' ').is_some_and(|(owner, _)| owner == name.as_str())
}

/// What a kernel says to a family, a hook, a chain type or an expression that it does not have.
pub(crate) fn means_lacking(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::OPNOTSUPP | Errno::NOENT | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::INVAL
    )
}
