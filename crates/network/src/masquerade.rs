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
//! A rule's comment says whose it is and what for; a rule with the right comment is taken to be right.

use std::net::{Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::kernel::*;
use crate::netlink::Socket;
use crate::nftables::{self, BaseChain, ChainName, Rule, Transaction};
use crate::options::{BridgeNetwork, InterfaceName, Ipv6Network};

/// The table that holds everything of ours.
pub(crate) const TABLE: &str = "rabbitc";
const POSTROUTING: ChainName<'_> = ChainName { table: TABLE, chain: "postrouting" };

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

struct Wanted {
    comment: String,
    source: Source,
}

enum Source {
    Ipv4(Ipv4Addr, u32),
    Ipv6(Ipv6Addr),
}

/// Whether all of the network's rules are there: one dump of our own chain.
pub(crate) fn is_complete(network: &BridgeNetwork) -> bool {
    let Ok(mut socket) = Socket::netfilter() else { return false };
    let Ok(present) = nftables::rules(&mut socket, NFPROTO_INET, TABLE, Some(POSTROUTING.chain)) else {
        return false;
    };
    wanted(network).iter().all(|rule| has(&present, &rule.comment))
}

/// Puts in the network's rules and takes out those that it had with another subnet, at once.
pub(crate) fn ensure(network: &BridgeNetwork) -> Result<Outbound> {
    match try_ensure(network) {
        Ok(()) => Ok(Outbound::Masqueraded),
        Err(errno) if means_lacking(errno) => Ok(Outbound::HostOnly(Lacking {
            what: "nftables with masquerading",
            cause: errno,
            remedy: "load or build the kernel modules nf_tables, nft_chain_nat and nft_masq",
        })),
        Err(errno) => {
            Err(Error::from_errno("set up masquerading for network", network.name().as_str(), errno))
        }
    }
}

fn try_ensure(network: &BridgeNetwork) -> std::result::Result<(), Errno> {
    let mut socket = Socket::netfilter()?;
    let present = nftables::rules(&mut socket, NFPROTO_INET, TABLE, Some(POSTROUTING.chain))?;
    let wanted = wanted(network);
    // No generation here: adding does not depend on what other networks do to the table.
    let mut transaction = Transaction::new(NFPROTO_INET, None);
    transaction.add_table(TABLE);
    let base = BaseChain { kind: "nat", hook: NF_INET_POST_ROUTING, priority: NF_IP_PRI_NAT_SRC };
    transaction.add_base_chain(POSTROUTING, base);
    let is_wanted = |rule: &&Rule| wanted.iter().any(|each| rule.comment.as_ref() == Some(&each.comment));
    for stale in present.iter().filter(|rule| belongs(rule, network.name()) && !is_wanted(rule)) {
        transaction.delete_rule(POSTROUTING, stale.handle);
    }
    for rule in wanted.iter().filter(|rule| !has(&present, &rule.comment)) {
        transaction.add_rule(POSTROUTING, &rule.comment, |expressions| {
            match rule.source {
                Source::Ipv4(address, mask) => {
                    expressions.load_meta(NFT_META_NFPROTO);
                    expressions.compare(NFT_CMP_EQ, &[NFPROTO_IPV4]);
                    // struct iphdr: saddr
                    expressions.load_network_header(12, 4);
                    expressions.mask(&mask.to_be_bytes());
                    expressions.compare(NFT_CMP_EQ, &address.octets());
                }
                Source::Ipv6(address) => {
                    expressions.load_meta(NFT_META_NFPROTO);
                    expressions.compare(NFT_CMP_EQ, &[NFPROTO_IPV6]);
                    // struct ipv6hdr: saddr, of which the first half is the network's
                    expressions.load_network_header(8, 8);
                    expressions.compare(NFT_CMP_EQ, &address.octets()[..8]);
                }
            }
            let mut name = [0; 16];
            name[..network.name().as_str().len()].copy_from_slice(network.name().as_str().as_bytes());
            expressions.load_meta(NFT_META_OIFNAME);
            expressions.compare(NFT_CMP_NEQ, &name);
            expressions.masquerade();
        });
    }
    transaction.commit(&mut socket)
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
    let (own, others): (Vec<_>, Vec<_>) = present.iter().partition(|rule| belongs(rule, name));
    if own.is_empty() && !others.is_empty() {
        return Ok(());
    }
    let mut transaction = Transaction::new(NFPROTO_INET, Some(generation));
    if others.is_empty() {
        transaction.delete_table(TABLE);
    } else {
        for rule in own {
            transaction.delete_rule(POSTROUTING, rule.handle);
        }
    }
    transaction.commit(&mut socket)
}

fn wanted(network: &BridgeNetwork) -> Vec<Wanted> {
    let ipv4 = network.ipv4();
    let comment = |subnet: String| format!("{} {subnet}", network.name());
    let mut wanted =
        vec![Wanted { comment: comment(ipv4.subnet()), source: Source::Ipv4(ipv4.first(), ipv4.mask()) }];
    wanted.extend(network.ipv6().map(|ipv6: Ipv6Network| Wanted {
        comment: comment(ipv6.subnet()),
        source: Source::Ipv6(ipv6.first()),
    }));
    wanted
}

fn has(present: &[Rule], comment: &str) -> bool {
    present.iter().any(|rule| rule.comment.as_deref() == Some(comment))
}

fn belongs(rule: &Rule, name: &InterfaceName) -> bool {
    let comment = rule.comment.as_deref().unwrap_or_default();
    comment.split_once(' ').is_some_and(|(owner, _)| owner == name.as_str())
}

/// What a kernel says to a family, a hook, a chain type or an expression that it does not have.
fn means_lacking(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::OPNOTSUPP | Errno::NOENT | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::INVAL
    )
}
