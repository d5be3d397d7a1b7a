//! Owns what the network's containers are called, as their leases say, and what is answered to a question from that. Reads no
//! file, opens no socket.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{Answer, Code, IN, Query, kind};
use crate::lease_text::Said;
use crate::options::BridgeNetwork;

/// A container of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// How it is called, the name that a person would say first.
    pub(crate) names: Vec<String>,
    /// Whom it asks for other names, in place of the host's.
    pub(crate) servers: Vec<IpAddr>,
}

impl Holder {
    /// Of the lease of an address.
    pub(crate) fn of((address, said): (Ipv4Addr, Said)) -> Self {
        Holder { ipv4: Some(address), ipv6: said.ipv6, names: said.names, servers: said.servers }
    }
}

/// All containers of the network, at one moment. It is made anew and swapped as a whole.
#[derive(Debug, Default)]
pub(crate) struct Table {
    holders: Vec<Holder>,
    by_name: HashMap<String, Vec<usize>>,
    by_address: HashMap<IpAddr, usize>,
    /// With which of several the next answer begins.
    turn: usize,
}

/// What becomes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Reply(Code, Vec<Answer>),
    /// It is none of the network's.
    Forward,
}

impl Table {
    pub(crate) fn new(holders: Vec<Holder>) -> Self {
        let mut table = Self { holders, ..Self::default() };
        for (index, holder) in table.holders.iter().enumerate() {
            for name in &holder.names {
                let named = table.by_name.entry(name.to_ascii_lowercase()).or_default();
                if named.last() != Some(&index) {
                    named.push(index);
                }
            }
            let addresses = [holder.ipv4.map(IpAddr::V4), holder.ipv6.map(IpAddr::V6)];
            table.by_address.extend(addresses.into_iter().flatten().map(|address| (address, index)));
        }
        table
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// Whom the container at this address asks for other names, if it has servers of its own.
    pub(crate) fn servers_of(&self, asker: IpAddr) -> &[IpAddr] {
        self.by_address.get(&asker).map_or(&[], |&index| &self.holders[index].servers)
    }

    /// What is answered to a question in the network, which people call `label`.
    pub(crate) fn answer(&mut self, query: &Query<'_>, network: &BridgeNetwork, label: &str) -> Verdict {
        if [kind::AXFR, kind::IXFR].contains(&query.kind) {
            return Verdict::Reply(Code::Refused, Vec::new());
        }
        let Some(name) = query.name.as_deref().filter(|_| query.class == IN) else { return Verdict::Forward };
        if let Some(address) = address_of_name(name) {
            return self.name_of(address, query.kind, network, label);
        }
        let with_network = || name.strip_suffix(&label.to_ascii_lowercase())?.strip_suffix('.');
        let named = self.by_name.get(name).or_else(|| self.by_name.get(with_network()?));
        let Some(named) = named else { return Verdict::Forward };
        let holders = named.iter().map(|&index| &self.holders[index]);
        let mut answers: Vec<Answer> = holders
            .flat_map(|holder| {
                let wants = |own| query.kind == own || query.kind == kind::ANY;
                let ipv4 = holder.ipv4.filter(|_| wants(kind::A)).map(Answer::Ipv4);
                let ipv6 = holder.ipv6.filter(|_| wants(kind::AAAA)).map(Answer::Ipv6);
                [ipv4, ipv6].into_iter().flatten()
            })
            .collect();
        if answers.len() > 1 {
            // Each in turn: most programs take the first.
            let first = self.turn % answers.len();
            answers.rotate_left(first);
            self.turn = self.turn.wrapping_add(1);
        }
        // Also where there is none of this type: nobody else knows the name better.
        Verdict::Reply(Code::NoError, answers)
    }

    fn name_of(&self, address: IpAddr, kind: u16, network: &BridgeNetwork, label: &str) -> Verdict {
        if let Some(&index) = self.by_address.get(&address) {
            let name = self.holders[index].names.first().filter(|_| [kind::PTR, kind::ANY].contains(&kind));
            let whole = name.map(|name| Answer::Name(format!("{name}.{label}")));
            return Verdict::Reply(Code::NoError, whole.into_iter().collect());
        }
        match is_of(network, address) {
            // Nobody else has addresses of the network's.
            true => Verdict::Reply(Code::NameError, Vec::new()),
            false => Verdict::Forward,
        }
    }
}

/// Whether an address is of the network's subnets.
pub(crate) fn is_of(network: &BridgeNetwork, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => network.ipv4().contains(address),
        IpAddr::V6(address) => network.ipv6().is_some_and(|ipv6| ipv6.contains(address)),
    }
}

/// Whether an address may be a container's. The host itself, which has the bridge's, has other ways.
pub(crate) fn may_ask(network: &BridgeNetwork, address: IpAddr) -> bool {
    let is_gateway = match address {
        IpAddr::V4(address) => address == network.ipv4().gateway(),
        IpAddr::V6(address) => network.ipv6().is_some_and(|ipv6| ipv6.gateway() == address),
    };
    is_of(network, address) && !is_gateway
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for.
fn address_of_name(name: &str) -> Option<IpAddr> {
    if let Some(numbers) = name.strip_suffix(".in-addr.arpa") {
        let mut parts = numbers.rsplit('.').map(|part| part.parse::<u8>().ok());
        let mut next = || parts.next().flatten();
        let octets = [next()?, next()?, next()?, next()?];
        return parts.next().is_none().then(|| IpAddr::from(octets));
    }
    let digits: Vec<&str> = name.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
    if digits.len() != 32
        || digits.iter().any(|digit| digit.len() != 1 || !digit.as_bytes()[0].is_ascii_hexdigit())
    {
        return None;
    }
    u128::from_str_radix(&digits.concat(), 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into())
}
