//! `port`: which ports of the host lead to a container.

use std::fmt;
use std::net::IpAddr;

use ::network::{HostPorts, PortRange, PortRequest, Protocol, Publication};
use runtime::ErrorKind;
use serde::{Deserialize, Serialize};

use super::Found;
use crate::error::{Error, Result};

/// Published ports that follow each other, in a container's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedPort {
    /// The host's address; without one, every address.
    pub(super) address: Option<IpAddr>,
    /// The first and the last of the host's ports.
    pub(super) first: u16,
    pub(super) last: u16,
    /// The container's port to which the first one leads.
    pub(super) container: u16,
    pub(super) protocol: String,
}

impl PublishedPort {
    /// Of a request that names the host's ports.
    pub(crate) fn named(request: &PortRequest) -> Option<PublishedPort> {
        let HostPorts::From(first) = request.host else { return None };
        Some(PublishedPort {
            address: request.address,
            first,
            last: first.saturating_add(request.container.last() - request.container.first()),
            container: request.container.first(),
            protocol: request.protocol.to_string(),
        })
    }

    /// What carries them; none where the record has a word for it that nobody knows.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|known| known.to_string() == self.protocol)
    }

    /// As it was made.
    pub(super) fn publication(&self) -> Option<Publication> {
        Some(Publication {
            address: self.address,
            host: PortRange::new(self.first, self.last)?,
            container: self.container,
            protocol: self.protocol()?,
        })
    }

    /// Each of them: `80/tcp`, the host's address, and the port there.
    pub(crate) fn each(&self) -> impl Iterator<Item = (PortOfContainer<'_>, Option<IpAddr>, u16)> {
        (self.first..=self.last).enumerate().map(|(number, host)| {
            let port = self.container.saturating_add(number as u16);
            (PortOfContainer { port, protocol: &self.protocol }, self.address, host)
        })
    }
}

/// A port inside.
pub(crate) struct PortOfContainer<'a> {
    port: u16,
    protocol: &'a str,
}

impl fmt::Display for PortOfContainer<'_> {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(form, "{}/{}", self.port, self.protocol)
    }
}

impl From<&Publication> for PublishedPort {
    fn from(publication: &Publication) -> PublishedPort {
        PublishedPort {
            address: publication.address,
            first: publication.host.first(),
            last: publication.host.last(),
            container: publication.container,
            protocol: publication.protocol.to_string(),
        }
    }
}

/// As docker's `ps` has it: `0.0.0.0:8080->80/tcp`.
impl fmt::Display for PublishedPort {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PublishedPort { address, first, last, container, protocol } = self;
        let range = |first: u16, last: u16| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        let inside = range(*container, container.saturating_add(last - first));
        write!(form, "{}->{inside}/{protocol}", at(*address, &range(*first, *last)))
    }
}

/// A port of the host, or several: `0.0.0.0:8080`.
fn at(address: Option<IpAddr>, ports: &str) -> String {
    match address {
        Some(IpAddr::V6(address)) => format!("[{address}]:{ports}"),
        Some(address) => format!("{address}:{ports}"),
        None => format!("0.0.0.0:{ports}"),
    }
}

/// A port of a container that is published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortMapping {
    /// The container's port.
    pub port: u16,
    /// What carries it: `tcp`, `udp`, `sctp`.
    pub protocol: String,
    /// Where on the host: `0.0.0.0:8080`.
    pub host: String,
}

/// Which port of a container is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedPort {
    port: u16,
    protocol: Protocol,
}

impl std::str::FromStr for WantedPort {
    type Err = Error;

    /// Reads `80` or `80/udp`.
    fn from_str(text: &str) -> Result<WantedPort> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|known| known.to_string() == protocol.to_ascii_lowercase());
        match (port.parse(), protocol) {
            (Ok(port), Some(protocol)) if port != 0 => Ok(WantedPort { port, protocol }),
            _ => {
                let reason = format!("`{}` is no port", text.escape_debug());
                Err(Error::invalid("port", reason).with_hint(
                    "write a number from 1 to 65535, and `/udp` or `/sctp` behind it if it is one of these",
                ))
            }
        }
    }
}

impl fmt::Display for WantedPort {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(form, "{}/{}", self.port, self.protocol)
    }
}

impl Found {
    /// Its published ports, in order; one that has ended has none.
    pub fn ports(&self) -> Vec<PortMapping> {
        let mut all = Vec::new();
        for published in self.shown().ports {
            all.extend(published.each().map(|(inside, address, host)| PortMapping {
                port: inside.port,
                protocol: inside.protocol.to_owned(),
                host: at(address, &host.to_string()),
            }));
        }
        all.sort();
        all
    }

    /// Where one of its ports is published.
    pub fn port(&self, wanted: WantedPort) -> Result<Vec<PortMapping>> {
        let mut all = self.ports();
        all.retain(|one| one.port == wanted.port && one.protocol == wanted.protocol.to_string());
        if all.is_empty() {
            let operation = format!("port of `{}`", self.called());
            let reason = format!("no public port '{wanted}' published for {}", self.called());
            let hint = format!("`rabbitc port {}` lists those that are", self.called());
            return Err(Error::new(ErrorKind::NotFound, operation, reason).with_hint(hint));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_by_number_and_protocol() {
        for (text, shown) in [("80", "80/tcp"), ("53/udp", "53/udp"), ("9/SCTP", "9/sctp")] {
            assert_eq!(text.parse::<WantedPort>().expect(text).to_string(), shown);
        }
        for text in ["", "0", "65536", "80/", "80/icmp", "-1", "http"] {
            assert!(text.parse::<WantedPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_are_shown_as_docker_shows_them() {
        let mut port = PublishedPort {
            address: None,
            first: 8000,
            last: 8002,
            container: 80,
            protocol: "tcp".to_owned(),
        };
        assert_eq!(port.to_string(), "0.0.0.0:8000-8002->80-82/tcp");
        (port.last, port.address) = (8000, Some("::1".parse().expect("an address")));
        assert_eq!(port.to_string(), "[::1]:8000->80/tcp");
    }
}
