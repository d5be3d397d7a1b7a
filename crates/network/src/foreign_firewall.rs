//! Owns the search for firewalls of others that drop what our bridge forwards, and the commands that allow it.
//! Reads the ruleset; changes nothing.
//!
//! A packet must pass every base chain on the forward hook; an accept of ours cannot overrule a drop of
//! theirs. A chain is reported if it ends in a drop (by policy, or by an unconditional drop or reject) and
//! neither it nor a chain that it jumps to accepts what comes in by our bridge, or everything. With published ports
//! the same is asked for what goes out by it, where accepting every redirected connection (`ct status dnat`, as
//! firewalld does) is enough. Not followed: sets, maps, marks and conditions on addresses; a ruleset that allows our
//! bridge by such is reported although it lets our packets through.

use rustix::io::Errno;

use crate::bridge::Bridge;
use crate::error::{Error, Result};
use crate::kernel::*;
use crate::legacy_iptables::{self, FilterTable};
use crate::masquerade::TABLE;
use crate::nftables::{self, Chain, Expression, Rule};
use crate::options::InterfaceName;
use netlink::Socket;

/// Where the kernel lists the tables of iptables-legacy, for the calling thread's network namespace.
const LEGACY_TABLES: &str = "/proc/thread-self/net/ip_tables_names";

/// Whose firewall it is, as far as its chains tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firewall {
    /// Docker's chains; `DOCKER-USER` is theirs for such allowances.
    Docker,
    /// Ubuntu's `ufw`.
    Ufw,
    /// firewalld with nftables.
    Firewalld,
    /// Rules made by the iptables command on nftables.
    Iptables,
    /// Rules made by the iptables-legacy command.
    IptablesLegacy,
    /// Any other nftables table.
    Nftables,
}

/// How sure a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// The chain drops what no rule accepts, and none accepts our bridge.
    Drops,
    /// There is a filter table whose content could not be read.
    MayDrop,
}

/// A firewall that drops forwarded packets of our bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose it is.
    pub firewall: Firewall,
    /// How sure that is.
    pub certainty: Certainty,
    /// The table with its family, as nft names it: `ip filter`.
    pub table: String,
    /// The chain on the forward hook.
    pub chain: String,
    /// What drops: `policy drop`, for example.
    pub reason: &'static str,
    /// The commands that allow our bridge, for a root shell.
    pub command: String,
}

/// Which ways of packets through the host matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// From containers to elsewhere; answers come back the same way.
    Out,
    /// That, and from elsewhere to published ports.
    OutAndIn,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

impl Ways {
    fn each(self) -> &'static [Way] {
        match self {
            Ways::Out => &[Way::Out],
            Ways::OutAndIn => &[Way::Out, Way::In],
        }
    }
}

impl Way {
    /// The name of the interface that is our bridge.
    fn interface(self) -> u32 {
        match self {
            Way::Out => NFT_META_IIFNAME,
            Way::In => NFT_META_OIFNAME,
        }
    }
}

/// Every foreign firewall that drops what the bridge forwards. One dump of the chains; the rules of a table
/// are read only if its forward chain is under suspicion or has a policy of accept with rules of its own.
pub fn foreign_firewall(bridge: &Bridge, ways: Ways) -> Result<Vec<Finding>> {
    let name = bridge.network.name();
    let interface = match bridge.network.ipv6() {
        Some(_) => BridgeFamilies::Both(name),
        None => BridgeFamilies::Ipv4(name),
    };
    foreign_firewall_of(interface, ways)
}

/// A network's bridge by its name, with the families that it has.
#[derive(Debug, Clone, Copy)]
pub enum BridgeFamilies<'a> {
    /// IPv4 alone.
    Ipv4(&'a InterfaceName),
    /// IPv4 and IPv6.
    Both(&'a InterfaceName),
}

/// The same of a bridge that somebody else has made.
pub fn foreign_firewall_of(bridge: BridgeFamilies<'_>, ways: Ways) -> Result<Vec<Finding>> {
    let (BridgeFamilies::Ipv4(name) | BridgeFamilies::Both(name)) = bridge;
    let name = name.as_str();
    let error = |errno| Error::from_errno("look for foreign firewalls of bridge", name, errno);
    let mut findings = Vec::new();
    let mut socket = match Socket::netfilter() {
        Ok(socket) => Some(socket),
        Err(Errno::PROTONOSUPPORT) => None,
        Err(errno) => return Err(error(errno)),
    };
    let chains = match socket.as_mut().map(nftables::chains) {
        Some(Ok(chains)) => chains,
        None | Some(Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOENT)) => Vec::new(),
        Some(Err(errno)) => return Err(error(errno)),
    };
    for chain in chains.iter().filter(|chain| may_drop(chain, bridge)) {
        let Some(socket) = socket.as_mut() else { break };
        let rules = nftables::rules(socket, chain.family, &chain.table, None).map_err(error)?;
        if let Some(reason) = drops(chain, &rules, name, ways) {
            findings.push(finding(chain, &chains, reason, name));
        }
    }
    let legacy = std::fs::read_to_string(LEGACY_TABLES).unwrap_or_default();
    if legacy.lines().any(|table| table == "filter") {
        findings.extend(legacy_finding(legacy_iptables::filter_table(), name, ways));
    }
    Ok(findings)
}

/// What the filter table of iptables-legacy does to the bridge; one that cannot be read may do anything.
fn legacy_finding(
    table: std::result::Result<FilterTable, Errno>,
    bridge: &str,
    ways: Ways,
) -> Option<Finding> {
    let (certainty, reason, chains) = match table {
        Ok(table) => {
            let forward = Chain {
                family: NFPROTO_IPV4,
                table: "filter".into(),
                name: "FORWARD".into(),
                hook: Some(NF_INET_FORWARD),
                kind: Some("filter".into()),
                policy: Some(table.forward_policy),
            };
            (Certainty::Drops, drops(&forward, &table.rules, bridge, ways)?, table.chains)
        }
        Err(_) => (Certainty::MayDrop, "rules that cannot be read", Vec::new()),
    };
    let has = |name: &str| chains.iter().any(|chain| chain == name);
    let (firewall, command) = iptables_command("iptables-legacy", has, bridge);
    let firewall = if firewall == Firewall::Iptables { Firewall::IptablesLegacy } else { firewall };
    let (table, chain) = ("iptables-legacy filter".into(), "FORWARD".into());
    Some(Finding { firewall, certainty, table, chain, reason, command })
}

/// How to allow the bridge in a table that the iptables command made.
fn iptables_command(iptables: &str, has: impl Fn(&str) -> bool, bridge: &str) -> (Firewall, String) {
    let allow = |chain: &str| {
        let one = |direction: &str| format!("{iptables} -I {chain} {direction} {bridge} -j ACCEPT");
        format!("{} && {}", one("-i"), one("-o"))
    };
    if has("DOCKER-USER") {
        (Firewall::Docker, allow("DOCKER-USER"))
    } else if has("ufw-before-forward") || has("ufw6-before-forward") {
        (Firewall::Ufw, format!("ufw route allow in on {bridge} && ufw route allow out on {bridge}"))
    } else {
        (Firewall::Iptables, allow("FORWARD"))
    }
}

fn may_drop(chain: &Chain, bridge: BridgeFamilies<'_>) -> bool {
    let family = match chain.family {
        NFPROTO_INET | NFPROTO_IPV4 => true,
        NFPROTO_IPV6 => matches!(bridge, BridgeFamilies::Both(_)),
        _ => false,
    };
    let ours = chain.family == NFPROTO_INET && chain.table == TABLE;
    family && !ours && chain.hook == Some(NF_INET_FORWARD) && chain.kind.as_deref() == Some("filter")
}

/// Why the chain drops our bridge's packets, if it does.
fn drops(chain: &Chain, rules: &[Rule], bridge: &str, ways: Ways) -> Option<&'static str> {
    let mut reason = (chain.policy == Some(NF_DROP)).then_some("policy drop");
    for rule in rules.iter().filter(|rule| rule.chain == chain.name) {
        match unconditional(rule) {
            Some(Expression::Drop) => {
                reason = Some("a last rule that drops");
                break;
            }
            Some(Expression::Reject) => {
                reason = Some("a last rule that rejects");
                break;
            }
            Some(Expression::Accept) => {
                reason = None;
                break;
            }
            _ => {}
        }
    }
    let reason = reason?;
    let passes = |&way: &Way| accepts(&chain.name, rules, bridge, way, &mut Vec::new());
    (!ways.each().iter().all(passes)).then_some(reason)
}

/// Whether a chain, or one that it jumps to, accepts what goes this way.
fn accepts<'a>(chain: &'a str, rules: &'a [Rule], bridge: &str, way: Way, seen: &mut Vec<&'a str>) -> bool {
    if seen.contains(&chain) {
        return false;
    }
    seen.push(chain);
    for rule in rules.iter().filter(|rule| rule.chain == chain) {
        let verdict = rule.expressions.last();
        let accepted = match verdict {
            Some(Expression::Accept) => matches(rule, bridge, way),
            Some(Expression::Jump(target)) => {
                matches(rule, bridge, way) && accepts(target, rules, bridge, way, seen)
            }
            _ => false,
        };
        if accepted {
            return true;
        }
        // What is dropped here does not reach a later accept.
        if matches!(unconditional(rule), Some(Expression::Drop | Expression::Reject)) {
            return false;
        }
    }
    false
}

/// The verdict of a rule without a condition.
fn unconditional(rule: &Rule) -> Option<&Expression> {
    let (verdict, before) = rule.expressions.split_last()?;
    before.iter().all(|each| *each == Expression::Transparent).then_some(verdict)
}

/// Whether all that goes this way fulfils the rule's conditions: that the interface is our bridge, and on the way
/// in, that the connection was redirected.
fn matches(rule: &Rule, bridge: &str, way: Way) -> bool {
    let mut loaded: Option<&Expression> = None;
    let conditions = rule.expressions.split_last().map_or(&[][..], |(_, before)| before);
    conditions.iter().all(|expression| {
        let holds = match (expression, loaded) {
            (Expression::Transparent, _) => return true,
            (Expression::Meta(key), _) => *key == way.interface(),
            (Expression::ConnectionStatus, _) => way == Way::In,
            (Expression::Mask(mask), Some(Expression::ConnectionStatus)) => {
                *mask == IPS_DST_NAT.to_ne_bytes()
            }
            (Expression::Compare(NFT_CMP_EQ, value), Some(Expression::Meta(_))) => is_name(value, bridge),
            (Expression::Compare(NFT_CMP_NEQ, value), Some(Expression::Mask(_))) => *value == [0; 4],
            _ => false,
        };
        loaded = Some(expression);
        holds
    })
}

/// Whether an interface's name, padded to 16 bytes, starts with the compared bytes: a name compared without
/// its zero is a prefix (`iifname "rabbit*"`, `-i rabbit+`).
fn is_name(compared: &[u8], bridge: &str) -> bool {
    let mut name = [0; 16];
    name[..bridge.len()].copy_from_slice(bridge.as_bytes());
    !compared.is_empty() && name.starts_with(compared)
}

fn finding(chain: &Chain, chains: &[Chain], reason: &'static str, bridge: &str) -> Finding {
    let has = |name: &str| {
        chains
            .iter()
            .any(|each| each.family == chain.family && each.table == chain.table && each.name == name)
    };
    let iptables = match chain.family {
        NFPROTO_IPV4 => Some("iptables"),
        NFPROTO_IPV6 => Some("ip6tables"),
        _ => None,
    };
    // The iptables command knows its tables by these names.
    let iptables = iptables.filter(|_| chain.table == "filter" && chain.name == "FORWARD");
    let family = match chain.family {
        NFPROTO_IPV4 => "ip",
        NFPROTO_IPV6 => "ip6",
        _ => "inet",
    };
    let (firewall, command) = match iptables {
        Some(iptables) => iptables_command(iptables, has, bridge),
        None if chain.table == "firewalld" => {
            (Firewall::Firewalld, format!("firewall-cmd --zone=trusted --add-interface={bridge}"))
        }
        None => {
            let chain = format!("{family} {} {}", chain.table, chain.name);
            let allow = |key: &str| format!("nft insert rule {chain} {key} {bridge} accept");
            (Firewall::Nftables, format!("{} && {}", allow("iifname"), allow("oifname")))
        }
    };
    Finding {
        firewall,
        certainty: Certainty::Drops,
        table: format!("{family} {}", chain.table),
        chain: chain.name.clone(),
        reason,
        command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(chain: &str, expressions: Vec<Expression>) -> Rule {
        Rule { chain: chain.into(), handle: 1, comment: None, expressions }
    }

    fn forward(policy: i32) -> Chain {
        Chain {
            family: NFPROTO_IPV4,
            table: "filter".into(),
            name: "FORWARD".into(),
            hook: Some(NF_INET_FORWARD),
            kind: Some("filter".into()),
            policy: Some(policy),
        }
    }

    fn accept_interface(chain: &str, name: &[u8]) -> Rule {
        let condition = [Expression::Meta(NFT_META_IIFNAME), Expression::Compare(NFT_CMP_EQ, name.to_vec())];
        rule(chain, condition.into_iter().chain([Expression::Transparent, Expression::Accept]).collect())
    }

    #[test]
    fn a_policy_of_drop_without_an_accept_for_the_bridge_drops() {
        let other = accept_interface("FORWARD", b"docker0\0");
        assert_eq!(drops(&forward(NF_DROP), &[other], "rabbitc0", Ways::Out), Some("policy drop"));
        assert_eq!(drops(&forward(NF_ACCEPT), &[], "rabbitc0", Ways::Out), None);
    }

    #[test]
    fn an_accept_for_the_bridge_by_name_prefix_or_jump_allows_it() {
        let chain = forward(NF_DROP);
        for name in [&b"rabbitc0\0"[..], b"rabbitc"] {
            assert_eq!(drops(&chain, &[accept_interface("FORWARD", name)], "rabbitc0", Ways::Out), None);
            let jump = rule("FORWARD", vec![Expression::Transparent, Expression::Jump("USER".into())]);
            assert_eq!(drops(&chain, &[jump, accept_interface("USER", name)], "rabbitc0", Ways::Out), None);
        }
        assert!(drops(&chain, &[accept_interface("FORWARD", b"rabbitc00")], "rabbitc0", Ways::Out).is_some());
    }

    #[test]
    fn published_ports_need_the_way_in_as_well() {
        let chain = forward(NF_DROP);
        let out = accept_interface("FORWARD", b"rabbitc0\0");
        let mut back = out.clone();
        back.expressions[0] = Expression::Meta(NFT_META_OIFNAME);
        assert_eq!(drops(&chain, std::slice::from_ref(&out), "rabbitc0", Ways::Out), None);
        assert!(drops(&chain, std::slice::from_ref(&out), "rabbitc0", Ways::OutAndIn).is_some());
        assert_eq!(drops(&chain, &[out.clone(), back], "rabbitc0", Ways::OutAndIn), None);
        let redirected = [
            Expression::ConnectionStatus,
            Expression::Mask(IPS_DST_NAT.to_ne_bytes().to_vec()),
            Expression::Compare(NFT_CMP_NEQ, vec![0; 4]),
            Expression::Accept,
        ];
        let redirected = rule("FORWARD", redirected.to_vec());
        assert_eq!(drops(&chain, &[redirected.clone(), out], "rabbitc0", Ways::OutAndIn), None);
        assert!(drops(&chain, &[redirected], "rabbitc0", Ways::Out).is_some(), "not what containers begin");
    }

    #[test]
    fn a_last_rule_that_rejects_drops_despite_the_policy() {
        let rules = [rule("FORWARD", vec![Expression::Transparent, Expression::Reject])];
        assert_eq!(
            drops(&forward(NF_ACCEPT), &rules, "rabbitc0", Ways::Out),
            Some("a last rule that rejects")
        );
        let late = [rules[0].clone(), accept_interface("FORWARD", b"rabbitc0\0")];
        assert!(drops(&forward(NF_ACCEPT), &late, "rabbitc0", Ways::Out).is_some());
    }
}
