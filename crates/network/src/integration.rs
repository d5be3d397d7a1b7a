//! Owns the allowances for our bridges in firewalls of others, where a person asks for them: puts them in, remembers that
//! in the network's state, and takes them out with the network. Decides nothing about who is in the way:
//! [`crate::foreign_firewall()`] does.
//!
//! Docker's `DOCKER-USER` is a chain for such rules; ours say whose they are in their comment. firewalld and ufw keep rules
//! of their own and rewrite those of the kernel, so they are told by their programs, as is iptables-legacy.

use std::process::{Command, Stdio};

use rustix::io::Errno;

use crate::bridge::Bridge;
use crate::error::{Error, Kind, Result};
use crate::foreign_firewall::{Finding, Firewall, Ways, foreign_firewall};
use crate::kernel::*;
use crate::nftables::{self, ChainName, Rule, Transaction};
use crate::options::InterfaceName;
use crate::state::{NetworkStateDirectory, Sharing};
use netlink::Socket;

/// Where rules of Docker's users are, in the tables of the iptables command.
const DOCKER_USER: ChainName<'static> = ChainName { table: "filter", chain: "DOCKER-USER" };

/// A firewall that takes allowances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Docker,
    DockerLegacy,
    Firewalld,
    Ufw,
}

impl Host {
    const ALL: [Host; 4] = [Host::Docker, Host::DockerLegacy, Host::Firewalld, Host::Ufw];

    /// As it stands in the network's state.
    fn word(self) -> &'static str {
        match self {
            Host::Docker => "docker",
            Host::DockerLegacy => "docker-legacy",
            Host::Firewalld => "firewalld",
            Host::Ufw => "ufw",
        }
    }

    fn of(finding: &Finding) -> Option<Host> {
        match finding.firewall {
            Firewall::Docker if finding.table.starts_with("iptables-legacy") => Some(Host::DockerLegacy),
            Firewall::Docker => Some(Host::Docker),
            Firewall::Firewalld => Some(Host::Firewalld),
            Firewall::Ufw => Some(Host::Ufw),
            Firewall::Iptables | Firewall::IptablesLegacy | Firewall::Nftables => None,
        }
    }
}

/// Puts an allowance for the bridge into each firewall in its way that has a place for such: Docker's `DOCKER-USER`,
/// firewalld's trusted zone, the routes of ufw. What is in the way after that comes back. Wants a lease of the network, as
/// [`crate::ensure()`] does.
pub fn integrate(bridge: &Bridge, state: &NetworkStateDirectory, ways: Ways) -> Result<Vec<Finding>> {
    let findings = foreign_firewall(bridge, ways)?;
    let mut hosts: Vec<Host> = findings.iter().filter_map(Host::of).collect();
    hosts.dedup();
    if hosts.is_empty() {
        return Ok(findings);
    }
    let name = bridge.network.name();
    {
        let _lock = state.lock(Sharing::Exclusive)?;
        // Before the first of them is there: who finds this takes them out.
        let mut noted = noted(state);
        noted.extend(hosts.iter().copied().filter(|host| !noted.contains(host)).collect::<Vec<_>>());
        let words: String = noted.iter().map(|host| format!("{}\n", host.word())).collect();
        state.note_integration(&words)?;
        hosts.iter().try_for_each(|host| allow(*host, name))?;
    }
    foreign_firewall(bridge, ways)
}

/// Takes the allowances out; each failure comes back. The caller has the network's lock, exclusively.
pub(crate) fn withdraw(state: &NetworkStateDirectory) -> Vec<Error> {
    noted(state).into_iter().filter_map(|host| disallow(host, state.name()).err()).collect()
}

fn noted(state: &NetworkStateDirectory) -> Vec<Host> {
    let text = state.integration();
    let known = |line: &str| Host::ALL.into_iter().find(|host| host.word() == line);
    text.lines().filter_map(known).collect()
}

fn allow(host: Host, bridge: &InterfaceName) -> Result<()> {
    let error = |errno| Error::from_errno("allow bridge in firewall of the host", bridge.as_str(), errno);
    match host {
        Host::Docker => [NFPROTO_IPV4, NFPROTO_IPV6]
            .into_iter()
            .try_for_each(|family| allow_for_docker(family, bridge))
            .map_err(error),
        Host::DockerLegacy => DIRECTIONS.into_iter().try_for_each(|direction| {
            let words = |action| legacy(action, direction, bridge);
            if run(&words("-C"), bridge).is_ok() { Ok(()) } else { run(&words("-I"), bridge) }
        }),
        Host::Firewalld => run(&firewalld("--add-interface", bridge), bridge),
        Host::Ufw => {
            UFW.into_iter().try_for_each(|direction| run(&ufw(&["allow"], direction, bridge), bridge))
        }
    }
}

fn disallow(host: Host, bridge: &InterfaceName) -> Result<()> {
    let error = |errno| Error::from_errno("take bridge out of firewall of the host", bridge.as_str(), errno);
    match host {
        Host::Docker => [NFPROTO_IPV4, NFPROTO_IPV6]
            .into_iter()
            .try_for_each(|family| forget_for_docker(family, bridge))
            .map_err(error),
        Host::DockerLegacy => DIRECTIONS.into_iter().try_for_each(|direction| {
            match run(&legacy("-C", direction, bridge), bridge) {
                Ok(()) => run(&legacy("-D", direction, bridge), bridge),
                Err(_) => Ok(()),
            }
        }),
        Host::Firewalld => run(&firewalld("--remove-interface", bridge), bridge),
        Host::Ufw => UFW
            .into_iter()
            .try_for_each(|direction| run(&ufw(&["delete", "allow"], direction, bridge), bridge)),
    }
}

/// As the iptables command names the two sides of a bridge.
const DIRECTIONS: [&str; 2] = ["-i", "-o"];
/// As ufw does.
const UFW: [&str; 2] = ["in", "out"];

fn legacy(action: &'static str, direction: &'static str, bridge: &InterfaceName) -> Vec<String> {
    let words =
        ["iptables-legacy", "-w", action, DOCKER_USER.chain, direction, bridge.as_str(), "-j", "ACCEPT"];
    words.map(str::to_owned).to_vec()
}

fn firewalld(action: &str, bridge: &InterfaceName) -> Vec<String> {
    vec!["firewall-cmd".to_owned(), "--zone=trusted".to_owned(), format!("{action}={bridge}")]
}

fn ufw(action: &[&str], direction: &str, bridge: &InterfaceName) -> Vec<String> {
    let words = [&["ufw", "route"][..], action, &[direction, "on", bridge.as_str()]].concat();
    words.into_iter().map(str::to_owned).collect()
}

/// Runs a program of a firewall, found where root's programs are and nowhere else.
fn run(words: &[String], bridge: &InterfaceName) -> Result<()> {
    let (program, arguments) = words.split_first().expect("the words of a command");
    let failed = |why: String| {
        let kind = Kind::FirewallRefused(format!("`{}`: {why}", words.join(" ")));
        Error::new("change the host's firewall for bridge", bridge.as_str(), kind)
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().lines().last().unwrap_or_default();
    Err(failed(if said.is_empty() { output.status.to_string() } else { said.escape_debug().to_string() }))
}

/// What our two rules are known by: what comes from the bridge, and what goes to it.
fn comments(bridge: &InterfaceName) -> [(u32, String); 2] {
    [
        (NFT_META_IIFNAME, format!("rabbitc: from {bridge}")),
        (NFT_META_OIFNAME, format!("rabbitc: to {bridge}")),
    ]
}

/// Where there is such a chain of this family.
fn rules_of_docker(socket: &mut Socket, family: u8) -> std::result::Result<Option<Vec<Rule>>, Errno> {
    let is_it = |chain: &nftables::Chain| {
        chain.family == family && chain.table == DOCKER_USER.table && chain.name == DOCKER_USER.chain
    };
    if !nftables::chains(socket)?.iter().any(is_it) {
        return Ok(None);
    }
    nftables::rules(socket, family, DOCKER_USER.table, Some(DOCKER_USER.chain)).map(Some)
}

fn allow_for_docker(family: u8, bridge: &InterfaceName) -> std::result::Result<(), Errno> {
    let mut socket = Socket::netfilter()?;
    let Some(present) = rules_of_docker(&mut socket, family)? else { return Ok(()) };
    let mut transaction = Transaction::new(family, None);
    let mut is_needed = false;
    for (key, comment) in comments(bridge) {
        if present.iter().any(|rule| rule.comment.as_ref() == Some(&comment)) {
            continue;
        }
        is_needed = true;
        // As the iptables command writes it: with the zero behind the name, and a counter.
        let name = [bridge.as_str().as_bytes(), b"\0"].concat();
        transaction.insert_rule(DOCKER_USER, &comment, |expressions| {
            expressions.load_meta(key);
            expressions.compare(NFT_CMP_EQ, &name);
            expressions.count();
            expressions.accept();
        });
    }
    if is_needed { transaction.commit(&mut socket) } else { Ok(()) }
}

fn forget_for_docker(family: u8, bridge: &InterfaceName) -> std::result::Result<(), Errno> {
    let mut socket = match Socket::netfilter() {
        Err(Errno::PROTONOSUPPORT) => return Ok(()),
        other => other?,
    };
    let comments = comments(bridge);
    let is_ours = |rule: &&Rule| {
        let comment = rule.comment.as_deref().unwrap_or_default();
        comments.iter().any(|(_, own)| own == comment)
    };
    for rule in rules_of_docker(&mut socket, family)?.unwrap_or_default().iter().filter(is_ours) {
        let mut transaction = Transaction::new(family, None);
        transaction.delete_rule(DOCKER_USER, rule.handle);
        match transaction.commit(&mut socket) {
            // Somebody else was quicker.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
