//! Owns what keeps containers of one network from those of another: two sets and one rule in our table, however
//! many networks there are.
//!
//! ```text
//! set networks     { type ifname; elements = { "rabbitc0", "br-0123" } }
//! set same_network { type ifname . ifname; elements = { "rabbitc0" . "rabbitc0", "br-0123" . "br-0123" } }
//! chain isolation {
//!     type filter hook forward priority filter; policy accept;
//!     iifname @networks oifname @networks oifname . iifname != @same_network ct status ! dnat drop
//! }
//! ```
//!
//! What was redirected is left alone, both ways: a published port is reached by the host's address from everywhere.
//! What stays on one bridge passes here where `br_netfilter` is on, hence the second set; nf_tables compares what it
//! loads with constants alone. Members come and go in the transaction of their network's other rules.

use crate::kernel::*;
use crate::masquerade::TABLE;
use crate::nft_sets::{Set, are_members};
use crate::nftables::{BaseChain, ChainName, Expressions, Member, Rule, Transaction};
use crate::options::InterfaceName;
use netlink::Socket;

const ISOLATION: ChainName<'static> = ChainName { table: TABLE, chain: "isolation" };
/// What the rule is known by.
const APART: &str = "networks stay apart";

/// `ifname`, as `nft` numbers its types.
const IFNAME: u32 = 41;
const NETWORKS: Set<'static> = Set { table: TABLE, name: "networks", key_type: IFNAME, length: 16 };
const SAME_NETWORK: Set<'static> =
    Set { table: TABLE, name: "same_network", key_type: IFNAME << 6 | IFNAME, length: 32 };

/// Whether the network is one of those that are kept apart.
pub(crate) fn separates(socket: &mut Socket, network: &InterfaceName) -> bool {
    let [once, twice] = members(network);
    are_members(socket, NFPROTO_INET, &[(&NETWORKS, &once), (&SAME_NETWORK, &twice)])
}

/// Keeps the network apart from the others. The caller has the lock on making, so the rule comes once.
pub(crate) fn separate(transaction: &mut Transaction, network: &InterfaceName, present: &[Rule]) {
    let [once, twice] = members(network);
    for (number, (set, member)) in (1..).zip([(&NETWORKS, &once), (&SAME_NETWORK, &twice)]) {
        transaction.add_set(set, number);
        transaction.add_member(set, member);
    }
    let is_present = |rule: &Rule| rule.chain == ISOLATION.chain && rule.comment.as_deref() == Some(APART);
    if !present.iter().any(is_present) {
        let base = BaseChain { kind: "filter", hook: NF_INET_FORWARD, priority: NF_IP_PRI_FILTER };
        transaction.add_base_chain(ISOLATION, base);
        transaction.add_rule(ISOLATION, APART, write);
    }
}

/// Takes the network out of the sets, in which it is.
pub(crate) fn forget(transaction: &mut Transaction, network: &InterfaceName) {
    let [once, twice] = members(network);
    transaction.delete_member(&NETWORKS, &once);
    transaction.delete_member(&SAME_NETWORK, &twice);
}

fn write(expressions: &mut Expressions<'_, '_>) {
    // Every forwarded packet of the host passes here: most leave at the first of these.
    for interface in [NFT_META_IIFNAME, NFT_META_OIFNAME] {
        expressions.load_meta(interface);
        expressions.require_in_set(NETWORKS.name, Member::Yes);
    }
    // The first register still has the name of the second interface.
    expressions.load_meta_into(NFT_REG_2, NFT_META_IIFNAME);
    expressions.require_in_set(SAME_NETWORK.name, Member::No);
    expressions.load_connection_status();
    expressions.mask(&IPS_DST_NAT.to_ne_bytes());
    expressions.compare(NFT_CMP_EQ, &0_u32.to_ne_bytes());
    expressions.drop();
}

/// The network in both sets.
fn members(network: &InterfaceName) -> [Vec<u8>; 2] {
    let mut once = network.as_str().as_bytes().to_vec();
    once.resize(16, 0);
    let twice = once.repeat(2);
    [once, twice]
}
