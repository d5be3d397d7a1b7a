//! Owns what publishing is: ports of the host that lead to ports of a container. Opens and changes nothing.

use std::fmt;
use std::net::IpAddr;

/// What carries a published port's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP (RFC 9260).
    Sctp,
}

impl Protocol {
    /// Its number in an IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// The protocol of this number.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|each| each.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// Ports from the first to the last; 1 to 65535, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// From `first` to `last`, both included; nothing if 0 is among them or the last is before the first.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first != 0 && first <= last).then_some(Self { first, last })
    }

    /// One port; nothing for 0.
    pub fn one(port: u16) -> Option<Self> {
        Self::new(port, port)
    }

    /// The lowest.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest.
    pub fn last(self) -> u16 {
        self.last
    }

    /// How many.
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// Each of them.
    /// Whether `port` is one of them.
    pub fn contains(self, port: u16) -> bool {
        self.ports().contains(&port)
    }

    /// Each of them.
    pub fn ports(self) -> std::ops::RangeInclusive<u16> {
        self.first..=self.last
    }

    /// Whether both have a port.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// Which ports of the host are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPorts {
    /// For each port one that the kernel chooses.
    Any,
    /// As many as the container's, from this one on: the first to the first, and so on.
    From(u16),
    /// For a single port of the container, the lowest of these that is free.
    OneOf(PortRange),
}

/// Ports that somebody wants to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// The host's address; without one, every address of both families.
    pub address: Option<IpAddr>,
    /// The host's ports.
    pub host: HostPorts,
    /// The container's ports.
    pub container: PortRange,
    /// What carries it.
    pub protocol: Protocol,
}

impl fmt::Display for PortRequest {
    /// As a publication, as far as it is known before.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |ports| place(self.address, ports);
        match self.host {
            HostPorts::Any => match self.address {
                Some(address) => write!(f, "a free port of {address}")?,
                None => f.write_str("a free port")?,
            },
            HostPorts::From(first) => {
                // Beyond the last port it is refused when they are taken.
                let last = first.saturating_add(self.container.last - self.container.first);
                f.write_str(&at(PortRange { first, last }))?;
            }
            HostPorts::OneOf(range) => write!(f, "one of {}", at(range))?,
        }
        write!(f, " -> {}/{}", self.container, self.protocol)
    }
}

/// Ports of the host that lead to as many ports of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The host's address; without one, every address of both families.
    pub address: Option<IpAddr>,
    /// The host's ports.
    pub host: PortRange,
    /// The container's port to which the first one leads.
    pub container: u16,
    /// What carries it.
    pub protocol: Protocol,
}

impl Publication {
    /// The container's ports.
    pub fn container_ports(&self) -> PortRange {
        let last = self.container + (self.host.last - self.host.first);
        PortRange { first: self.container, last }
    }

    /// Whether each port leads to the one of the same number.
    pub(crate) fn keeps_ports(&self) -> bool {
        self.host.first == self.container
    }

    /// Whether a packet could be meant by both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let addresses = match (self.address, other.address) {
            (Some(one), Some(other)) => covers(one, other) || covers(other, one),
            _ => true,
        };
        addresses && self.protocol == other.protocol && self.host.overlaps(other.host)
    }
}

/// Whether whoever listens at `address` gets what is sent to `other`.
pub(crate) fn covers(address: IpAddr, other: IpAddr) -> bool {
    address == other || address.is_ipv4() == other.is_ipv4() && address.is_unspecified()
}

impl fmt::Display for Publication {
    /// `127.0.0.1:8080 -> 80/tcp`; without an address `8080 -> 80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, container) = (self.host, self.container_ports());
        f.write_str(&place(self.address, host))?;
        write!(f, " -> {container}/{}", self.protocol)
    }
}

/// Ports at an address, as they are typed.
pub(crate) fn place(address: Option<IpAddr>, ports: PortRange) -> String {
    match address {
        Some(IpAddr::V6(address)) => format!("[{address}]:{ports}"),
        Some(address) => format!("{address}:{ports}"),
        None => ports.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(address: Option<&str>, first: u16, last: u16) -> Publication {
        Publication {
            address: address.map(|text| text.parse().expect("an address")),
            host: PortRange::new(first, last).expect("a range"),
            container: 80,
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn publications_overlap_where_address_and_port_could_be_one_packets() {
        let all = publication(None, 8000, 8010);
        for (address, first, overlaps) in [
            (None, 8010, true),
            (None, 8011, false),
            (Some("127.0.0.1"), 8005, true),
            (Some("::1"), 8005, true),
        ] {
            assert_eq!(all.overlaps(&publication(address, first, first)), overlaps, "{address:?} {first}");
        }
        let any = publication(Some("0.0.0.0"), 80, 80);
        assert!(any.overlaps(&publication(Some("10.0.0.1"), 80, 80)));
        assert!(!any.overlaps(&publication(Some("::1"), 80, 80)));
        let one = publication(Some("10.0.0.1"), 80, 80);
        assert!(!one.overlaps(&publication(Some("10.0.0.2"), 80, 80)));
        assert!(!any.overlaps(&Publication { protocol: Protocol::Udp, ..any.clone() }));
    }

    #[test]
    fn publications_read_as_they_are_typed() {
        assert_eq!(publication(Some("::1"), 8080, 8081).to_string(), "[::1]:8080-8081 -> 80-81/tcp");
        assert_eq!(publication(None, 8080, 8080).to_string(), "8080 -> 80/tcp");
    }
}
