//! `ports`: what this host exposes of the caller's containers, and whether its own firewall lets it through. Changes nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use ::network::{BridgeFamilies, Certainty, Finding, InterfaceName, Ways, foreign_firewall_of};

use super::{Containers, Found};
use crate::error::{Error, Result};

/// A published port, or several that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedPort {
    /// The container's id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The host's address; none is every address of it.
    pub address: Option<IpAddr>,
    /// The first and the last of the host's ports.
    pub ports: (u16, u16),
    /// What carries it: `tcp`, `udp`, `sctp`.
    pub protocol: String,
    /// The container's own address; without a bridge it has none that is its own.
    pub container_address: Option<IpAddr>,
    /// The first and the last of the container's ports.
    pub container_ports: (u16, u16),
    /// The container's network; `pasta` without root.
    pub network: String,
    /// Whether clients of other hosts get there.
    pub access: Exposure,
}

/// What becomes of a client that comes from another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exposure {
    /// No firewall that rabbitc understands keeps it out.
    Open,
    /// It does not come from another host: the address is one of this host's loopback.
    Local,
    /// A firewall of the host drops what is forwarded to the container.
    Dropped(Vec<Wall>),
    /// There are rules that can't be read.
    Unknown(Vec<Wall>),
    /// The rules for the host's own programs hold, as one of them listens: that of pasta.
    AsTheHosts,
}

/// A firewall in the way, and what lets the network through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// Its chain, and the table of that: `FORWARD of ip filter (policy drop)`.
    pub chain: String,
    /// Commands for a root shell.
    pub command: String,
}

impl Exposure {
    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            Exposure::Open => "open",
            Exposure::Local => "local",
            Exposure::Dropped(_) => "dropped",
            Exposure::Unknown(_) => "unknown",
            Exposure::AsTheHosts => "host",
        }
    }

    /// What is in the way.
    pub fn walls(&self) -> &[Wall] {
        match self {
            Exposure::Dropped(walls) | Exposure::Unknown(walls) => walls,
            Exposure::Open | Exposure::Local | Exposure::AsTheHosts => &[],
        }
    }

    fn of(findings: Vec<Finding>) -> Exposure {
        let is_sure = findings.iter().any(|finding| finding.certainty == Certainty::Drops);
        let walls: Vec<Wall> = findings
            .into_iter()
            .map(|finding| Wall {
                chain: format!("{} of {} ({})", finding.chain, finding.table, finding.reason),
                command: finding.command,
            })
            .collect();
        match (walls.is_empty(), is_sure) {
            (true, _) => Exposure::Open,
            (false, true) => Exposure::Dropped(walls),
            (false, false) => Exposure::Unknown(walls),
        }
    }
}

impl Containers {
    /// All published ports of containers that run, in the order of the host's ports.
    pub fn exposed(&self) -> Result<Vec<ExposedPort>> {
        let mut walls = BTreeMap::new();
        let mut all = Vec::new();
        for found in self.running()? {
            all.extend(found.exposed(&mut walls));
        }
        let key = |one: &ExposedPort| (one.ports, one.protocol.clone(), one.address, one.name.clone());
        all.sort_by_key(key);
        Ok(all)
    }
}

impl Found {
    fn exposed(&self, walls: &mut BTreeMap<String, Exposure>) -> Vec<ExposedPort> {
        let shown = self.shown();
        let network = shown.network.as_ref();
        shown
            .ports
            .iter()
            .map(|port| {
                let is_ipv6 = port.address.is_some_and(|address| address.is_ipv6());
                let container_address = network.and_then(|network| match is_ipv6 {
                    true => network.address_ipv6.map(IpAddr::V6),
                    false => Some(IpAddr::V4(network.address)),
                });
                let access = match network {
                    _ if port.address.is_some_and(|address| address.is_loopback()) => Exposure::Local,
                    None => Exposure::AsTheHosts,
                    Some(network) => {
                        let bridge = network.state_name();
                        let looked = walls.entry(bridge.to_owned());
                        looked.or_insert_with(|| look(bridge, network.address_ipv6.is_some())).clone()
                    }
                };
                let count = port.last - port.first;
                ExposedPort {
                    id: self.id.clone(),
                    name: self.called().to_owned(),
                    address: port.address,
                    ports: (port.first, port.last),
                    protocol: port.protocol.clone(),
                    container_address,
                    container_ports: (port.container, port.container.saturating_add(count)),
                    network: network.map_or("pasta", |network| network.name.as_str()).to_owned(),
                    access,
                }
            })
            .collect()
    }
}

/// What the host's firewalls do to what is forwarded to a network. Who may not see the rules does not know.
fn look(name: &str, has_ipv6: bool) -> Exposure {
    let unknown = |why: String| Exposure::Unknown(vec![Wall { chain: why, command: String::new() }]);
    let Ok(name) = InterfaceName::parse(name) else { return unknown("a name that is none".to_owned()) };
    let families = if has_ipv6 { BridgeFamilies::Both(&name) } else { BridgeFamilies::Ipv4(&name) };
    match foreign_firewall_of(families, Ways::OutAndIn) {
        Ok(findings) => Exposure::of(findings),
        Err(error) => unknown(error.to_string()),
    }
}

/// Which of them are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExposedFilter {
    /// Of the container with this name.
    Name(String),
    /// Of the container whose id begins so.
    Id(String),
    /// The one that has this port of the host.
    Port(u16),
    /// The one that leads to this port of the container.
    ContainerPort(u16),
    /// Of this protocol.
    Protocol(String),
    /// At this address of the host.
    Address(IpAddr),
    /// Of this network.
    Network(String),
    /// That clients get at so, in one word.
    Access(String),
}

const KEYS: &str =
    "write `name=`, `id=`, `port=`, `container-port=`, `protocol=`, `address=`, `network=` or `access=`";

impl FromStr for ExposedFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<ExposedFilter> {
        let wrong = |reason: String| Error::invalid("--filter", reason).with_hint(KEYS);
        let (key, value) =
            text.split_once('=').ok_or_else(|| wrong(format!("`{}` has no value", text.escape_debug())))?;
        let port = || {
            let port = value.parse::<u16>().ok().filter(|port| *port != 0);
            port.ok_or_else(|| wrong(format!("`{}` is no port", value.escape_debug())))
        };
        let one_of = |words: &[&str]| match words.contains(&value) {
            true => Ok(value.to_owned()),
            false => {
                let error =
                    Error::invalid("--filter", format!("`{key}` is never `{}`", value.escape_debug()));
                Err(error.with_hint(format!("it is one of {}", words.join(", "))))
            }
        };
        Ok(match key {
            "name" => ExposedFilter::Name(value.trim_start_matches('/').to_owned()),
            "id" => ExposedFilter::Id(value.to_owned()),
            "port" => ExposedFilter::Port(port()?),
            "container-port" => ExposedFilter::ContainerPort(port()?),
            "protocol" => ExposedFilter::Protocol(one_of(&["tcp", "udp", "sctp"])?),
            "address" => ExposedFilter::Address(
                value.parse().map_err(|_| wrong(format!("`{}` is no address", value.escape_debug())))?,
            ),
            "network" => ExposedFilter::Network(value.to_owned()),
            "access" => ExposedFilter::Access(one_of(&["open", "local", "dropped", "unknown", "host"])?),
            _ => return Err(wrong(format!("there is no filter `{}`", key.escape_debug()))),
        })
    }
}

impl ExposedFilter {
    /// Those of `all` by which one filter of each kind holds.
    pub fn apply(filters: &[ExposedFilter], all: Vec<ExposedPort>) -> Vec<ExposedPort> {
        let holds = |one: &ExposedPort| {
            filters.iter().all(|filter| {
                let kind = std::mem::discriminant(filter);
                filters.iter().any(|other| std::mem::discriminant(other) == kind && other.is_met_by(one))
            })
        };
        all.into_iter().filter(holds).collect()
    }

    fn is_met_by(&self, one: &ExposedPort) -> bool {
        match self {
            ExposedFilter::Name(name) => one.name == *name,
            ExposedFilter::Id(id) => one.id.starts_with(id.as_str()),
            ExposedFilter::Port(port) => (one.ports.0..=one.ports.1).contains(port),
            ExposedFilter::ContainerPort(port) => {
                (one.container_ports.0..=one.container_ports.1).contains(port)
            }
            ExposedFilter::Protocol(protocol) => one.protocol == *protocol,
            ExposedFilter::Address(address) => match one.address {
                Some(own) if own.is_unspecified() => own.is_ipv4() == address.is_ipv4(),
                Some(own) => own == *address,
                None => true,
            },
            ExposedFilter::Network(network) => one.network == *network,
            ExposedFilter::Access(word) => one.access.word() == word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, address: Option<&str>, first: u16, access: Exposure) -> ExposedPort {
        ExposedPort {
            id: format!("{name}0123"),
            name: name.to_owned(),
            address: address.map(|text| text.parse().expect("an address")),
            ports: (first, first + 9),
            protocol: "tcp".to_owned(),
            container_address: None,
            container_ports: (80, 89),
            network: "rabbitc0".to_owned(),
            access,
        }
    }

    #[test]
    fn filters_of_one_kind_are_alternatives_and_those_of_several_conditions() {
        let all = vec![
            port("web", None, 8000, Exposure::Open),
            port("db", Some("127.0.0.1"), 8010, Exposure::Local),
            port("ftp", Some("::"), 8020, Exposure::AsTheHosts),
        ];
        for (filters, names) in [
            (&[][..], &["web", "db", "ftp"][..]),
            (&["name=web", "name=/db"], &["web", "db"]),
            (&["name=web", "port=8015"], &[]),
            (&["port=8015"], &["db"]),
            (&["address=::1"], &["web", "ftp"]),
            (&["address=127.0.0.1"], &["web", "db"]),
            (&["access=open", "access=host"], &["web", "ftp"]),
            (&["container-port=85", "id=ft"], &["ftp"]),
            (&["protocol=udp"], &[]),
            (&["network=rabbitc0"], &["web", "db", "ftp"]),
        ] {
            let read: Result<Vec<ExposedFilter>> = filters.iter().map(|text| text.parse()).collect();
            let found = ExposedFilter::apply(&read.expect("legal"), all.clone());
            assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), names, "{filters:?}");
        }
        for wrong in ["web", "colour=red", "port=0", "protocol=icmp", "access=shut", "address=here"] {
            let error = wrong.parse::<ExposedFilter>().expect_err(wrong);
            assert!(error.to_string().contains("--filter") && error.hint.is_some(), "{error}");
        }
    }
}
