//! How a container is connected, as meant. Looks nothing up.

use std::net::IpAddr;
use std::path::PathBuf;

use ::network::PortRequest;

use crate::error::{Error, Result};

/// How the container is connected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// A bridge for root; for others `pasta` where it is there, and else loopback alone, with a warning.
    #[default]
    Default,
    /// A bridge with addresses of its own.
    Bridge,
    /// Sockets of the calling user stand behind an interface inside.
    Pasta,
    /// Loopback alone.
    None,
    /// The host's own network.
    Host,
    /// That of a running container, named by its id or the beginning of it.
    Container(String),
    /// One that exists.
    Joined {
        /// The file of its namespace, such as `/proc/PID/ns/net`.
        namespace: PathBuf,
        /// Where `hosts` and `resolv.conf` of its owner lie, if that is a container.
        files: Option<PathBuf>,
    },
}

impl NetworkMode {
    /// Reads `bridge`, `none`, `host`, `container:ID` or `ns:PATH`.
    pub fn parse(flag: &str, text: &str) -> Result<NetworkMode> {
        match text {
            "bridge" => Ok(NetworkMode::Bridge),
            "pasta" => Ok(NetworkMode::Pasta),
            "none" => Ok(NetworkMode::None),
            "host" => Ok(NetworkMode::Host),
            _ => match text.split_once(':') {
                Some(("container", id)) if !id.is_empty() => Ok(NetworkMode::Container(id.to_owned())),
                Some(("ns", path)) if path.starts_with('/') => {
                    Ok(NetworkMode::Joined { namespace: path.into(), files: None })
                }
                _ => {
                    let known = ["bridge", "pasta", "none", "host", "container:ID", "ns:PATH"];
                    let error = super::namespaces::unknown(flag, text, &known);
                    let hint = error.hint.clone().unwrap_or_default();
                    Err(error.with_hint(format!("{hint}; another bridge is named with `--network-name`")))
                }
            },
        }
    }
}

/// The network of one container.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkOptions {
    /// How it is connected.
    pub mode: NetworkMode,
    /// The bridge.
    pub name: String,
    /// Address of the bridge and its subnet.
    pub ip: String,
    /// The container's own address; without one, the lowest that is free.
    pub container_ip: Option<String>,
    /// The container's hardware address; without one, one made from its address.
    pub mac: Option<[u8; 6]>,
    /// Ports of the host that lead to it.
    pub publish: Vec<PortRequest>,
    /// How it looks names up.
    pub names: NameOptions,
}

/// What stands in the container's `resolv.conf` and `hosts` instead of the host's, and beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameOptions {
    /// Name servers; none given, the host's.
    pub servers: Vec<IpAddr>,
    /// Domains in which short names are looked for; none given, the host's; `.` alone is no domain.
    pub search: Vec<String>,
    /// Options of the resolver (resolv.conf(5)); none given, the host's.
    pub options: Vec<String>,
    /// More names of hosts, each with its address.
    pub hosts: Vec<(String, HostAddress)>,
}

/// The address of a name in `hosts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAddress {
    /// This one.
    Ip(IpAddr),
    /// That by which the container reaches the host.
    Host,
}

impl NetworkOptions {
    /// Refuses what contradicts the way of connection.
    pub(crate) fn check(&self) -> Result<()> {
        let (mode, no_address, no_ports) = match self.mode {
            NetworkMode::Default | NetworkMode::Bridge => return Ok(()),
            NetworkMode::Pasta => ("pasta", "the container has the host's own addresses inside", None),
            NetworkMode::None => (
                "none",
                "the container has no interface of its own",
                Some("the container has nothing but its own loopback"),
            ),
            NetworkMode::Host => (
                "host",
                "the container has no interface of its own",
                Some("the container's ports are the host's already"),
            ),
            NetworkMode::Container(_) | NetworkMode::Joined { .. } => (
                "container:ID|ns:PATH",
                "the interface is another's",
                Some("whose network it is publishes its ports"),
            ),
        };
        let refuse = |field: &str, reason: &str| {
            let error = Error::invalid(field, format!("means nothing with `--network={mode}`: {reason}"));
            Err(error.with_hint("leave one of the two out"))
        };
        if let Some(reason) = no_ports.filter(|_| !self.publish.is_empty()) {
            return refuse("--publish", reason);
        }
        if self.container_ip.is_some() {
            return refuse("--container-ip", no_address);
        }
        if self.mac.is_some() {
            return refuse("--mac-address", no_address);
        }
        let names = &self.names;
        let none = self.mode == NetworkMode::None;
        if none && !(names.servers.is_empty() && names.search.is_empty() && names.options.is_empty()) {
            return refuse("--dns", "the container reaches no name server");
        }
        let no_way = matches!(
            self.mode,
            NetworkMode::None | NetworkMode::Pasta | NetworkMode::Container(_) | NetworkMode::Joined { .. }
        );
        if no_way && names.hosts.iter().any(|(_, address)| *address == HostAddress::Host) {
            return refuse("--add-host", "there is no way to the host");
        }
        Ok(())
    }
}

/// Reads `NAME:IP`, `NAME=IP` or, in place of the address, `host-gateway`: an entry of the container's `hosts`.
pub fn parse_host(field: &str, text: &str) -> Result<(String, HostAddress)> {
    let wrong = |reason: &str| {
        let error = Error::invalid(field, format!("`{}` {reason}", text.escape_debug()));
        error.with_hint("write `NAME:IP`, or `NAME:host-gateway` for the host itself")
    };
    // The first, as an IPv6 address has more of them.
    let (name, address) = text.split_once([':', '=']).ok_or_else(|| wrong("has no address"))?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > 253 || !name.bytes().all(legal) || name.starts_with(['-', '.']) {
        return Err(wrong("does not begin with a name of a host"));
    }
    let address = match address {
        "host-gateway" => HostAddress::Host,
        address => {
            let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
            HostAddress::Ip(inner.parse().map_err(|_| wrong("does not end in an IP address"))?)
        }
    };
    Ok((name.to_owned(), address))
}

/// Reads an IP address of a name server.
pub fn parse_name_server(field: &str, text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| {
        let error = Error::invalid(field, format!("`{}` is not an IP address", text.escape_debug()));
        error.with_hint("name servers are given by address, such as `9.9.9.9` or `2620:fe::fe`")
    })
}

/// Takes a word of `resolv.conf`: without white space, so that it stays one.
pub fn parse_resolver_word(field: &str, text: &str) -> Result<String> {
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let error = Error::invalid(field, format!("`{}` is not one word", text.escape_debug()));
        return Err(error.with_hint("repeat the flag for each; see resolv.conf(5)"));
    }
    Ok(text.to_owned())
}

/// Reads a hardware address such as `02:42:ac:11:00:02`, of one station and not of a group.
pub fn parse_mac(field: &str, text: &str) -> Result<[u8; 6]> {
    let wrong = |reason: &str| {
        let error = Error::invalid(field, format!("`{}` {reason}", text.escape_debug()));
        error.with_hint("write six bytes in hexadecimal, such as `02:42:ac:11:00:02`")
    };
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut mac = [0; 6];
    let mut parts = text.split(separator);
    for byte in &mut mac {
        let part =
            parts.next().filter(|part| part.len() == 2 && part.bytes().all(|it| it.is_ascii_hexdigit()));
        let part = part.ok_or_else(|| wrong("is not a hardware address"))?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| wrong("is not a hardware address"))?;
    }
    if parts.next().is_some() {
        return Err(wrong("has more than six bytes"));
    }
    if mac == [0; 6] || mac[0] & 1 == 1 {
        return Err(wrong("is not the address of one station"));
    }
    Ok(mac)
}

impl Default for NetworkOptions {
    fn default() -> NetworkOptions {
        NetworkOptions {
            mode: NetworkMode::Default,
            name: "rabbitc0".to_owned(),
            ip: "172.19.0.1/16".to_owned(),
            container_ip: None,
            mac: None,
            publish: Vec::new(),
            names: NameOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_take_any_address_and_the_host_itself() {
        for (text, name, address) in [
            ("db:10.0.0.7", "db", HostAddress::Ip([10, 0, 0, 7].into())),
            ("db=10.0.0.7", "db", HostAddress::Ip([10, 0, 0, 7].into())),
            ("db.lan:fd00::7", "db.lan", HostAddress::Ip("fd00::7".parse().expect("an address"))),
            ("db:[fd00::7]", "db", HostAddress::Ip("fd00::7".parse().expect("an address"))),
            ("host.docker.internal:host-gateway", "host.docker.internal", HostAddress::Host),
        ] {
            assert_eq!(parse_host("--add-host", text).expect(text), (name.to_owned(), address));
        }
        for text in ["", "db", ":10.0.0.7", "db:", "db:10.0.0", "a b:10.0.0.7", "-x:10.0.0.7", "a\nb:1.2.3.4"]
        {
            assert!(parse_host("--add-host", text).is_err(), "{text}");
        }
    }

    #[test]
    fn hardware_addresses_are_of_one_station() {
        assert_eq!(
            parse_mac("--mac-address", "02:42:ac:11:00:02").expect("legal"),
            [2, 0x42, 0xac, 0x11, 0, 2]
        );
        assert_eq!(
            parse_mac("--mac-address", "02-42-AC-11-00-02").expect("legal"),
            [2, 0x42, 0xac, 0x11, 0, 2]
        );
        for text in [
            "",
            "02:42",
            "02:42:ac:11:00:02:03",
            "03:42:ac:11:00:02",
            "00:00:00:00:00:00",
            "2:42:ac:11:0:2",
            "+2:42:ac:11:00:02",
        ] {
            assert!(parse_mac("--mac-address", text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_of_the_resolver_can_not_add_lines() {
        parse_resolver_word("--dns-option", "ndots:2").expect("legal");
        for text in ["", "a b", "a\nnameserver 1.2.3.4", "\u{1b}"] {
            assert!(parse_resolver_word("--dns-option", text).is_err(), "{text:?}");
        }
    }
}
