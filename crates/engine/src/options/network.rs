//! How a container is connected, as meant. Looks nothing up.

use std::net::IpAddr;
use std::path::PathBuf;

use ::network::PortRequest;
use serde::{Deserialize, Serialize};

use super::record;
use crate::error::{Error, Result};

/// How the container is connected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum NetworkMode {
    /// A bridge for root; for others `pasta` where it is there, and else loopback alone, with a warning.
    #[default]
    Default,
    /// A bridge with addresses of its own.
    Bridge,
    /// Sockets of the calling user stand behind an interface inside.
    Pasta,
    /// A network that CNI plugins make.
    Cni(CniNetwork),
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

/// A network that CNI plugins make, as a list of them describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniNetwork {
    /// Its name.
    pub name: String,
    /// Where the lists are; without one, `/etc/cni/net.d`.
    pub configurations: Option<PathBuf>,
    /// Where plugins are; without any, `/opt/cni/bin`, `/usr/lib/cni` and `/usr/libexec/cni`.
    pub plugins: Vec<PathBuf>,
}

impl NetworkMode {
    /// Reads `bridge`, `none`, `host`, `cni:NAME`, `container:ID` or `ns:PATH`.
    pub fn parse(flag: &str, text: &str) -> Result<NetworkMode> {
        match text {
            "bridge" => Ok(NetworkMode::Bridge),
            "pasta" => Ok(NetworkMode::Pasta),
            "none" => Ok(NetworkMode::None),
            "host" => Ok(NetworkMode::Host),
            _ => match text.split_once(':') {
                Some(("cni", name)) if !name.is_empty() => {
                    Ok(NetworkMode::Cni(CniNetwork { name: name.to_owned(), ..CniNetwork::default() }))
                }
                Some(("container", id)) if !id.is_empty() => Ok(NetworkMode::Container(id.to_owned())),
                Some(("ns", path)) if path.starts_with('/') => {
                    Ok(NetworkMode::Joined { namespace: path.into(), files: None })
                }
                _ => {
                    let known = ["bridge", "pasta", "none", "host", "cni:NAME", "container:ID", "ns:PATH"];
                    let error = super::namespaces::unknown(flag, text, &known);
                    let hint = error.hint.clone().unwrap_or_default();
                    Err(error.with_hint(format!("{hint}; another bridge is named with `--network-name`")))
                }
            },
        }
    }

    /// As it is typed, without the names of others.
    fn name(&self) -> &'static str {
        match self {
            NetworkMode::Default | NetworkMode::Bridge => "bridge",
            NetworkMode::Pasta => "pasta",
            NetworkMode::Cni(_) => "cni:NAME",
            NetworkMode::None => "none",
            NetworkMode::Host => "host",
            NetworkMode::Container(_) | NetworkMode::Joined { files: Some(_), .. } => "container:ID",
            NetworkMode::Joined { files: None, .. } => "ns:PATH",
        }
    }
}

/// The network of one container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkOptions {
    /// How it is connected.
    pub mode: NetworkMode,
    /// The bridge; without one, `rabbitc0`.
    pub name: Option<String>,
    /// Address of the bridge and its subnet; without one, `172.19.0.1/16` for `rabbitc0`, and for another the one that it
    /// has, or a free one.
    pub ip: Option<String>,
    /// The container's own address; without one, the lowest that is free.
    pub container_ip: Option<String>,
    /// The container's hardware address; without one, one made from its address.
    #[serde(with = "record::mac")]
    pub mac: Option<[u8; 6]>,
    /// Ports of the host that lead to it.
    #[serde(with = "record::ports")]
    pub publish: Vec<PortRequest>,
    /// How it looks names up.
    pub names: NameOptions,
}

/// What stands in the container's `resolv.conf` and `hosts` instead of the host's, and beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NameOptions {
    /// Name servers; none given, the host's.
    pub servers: Vec<IpAddr>,
    /// Domains in which short names are looked for; none given, the host's; `.` alone is no domain.
    pub search: Vec<String>,
    /// Options of the resolver (resolv.conf(5)); none given, the host's.
    pub options: Vec<String>,
    /// More names of hosts, each with its address.
    pub hosts: Vec<(String, HostAddress)>,
    /// More names of the container itself, at its own address.
    #[serde(skip)]
    pub aliases: Vec<String>,
    /// Names of containers that share its network, and so are at the loopback.
    #[serde(skip)]
    pub neighbours: Vec<String>,
    /// Whose /etc/hosts the container sees.
    #[serde(default)]
    pub hosts_file: OwnedFile,
    /// Whose /etc/hostname it sees.
    #[serde(default)]
    pub hostname_file: OwnedFile,
}

/// Whose a file is that a container usually gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnedFile {
    /// One is made for it.
    #[default]
    Made,
    /// The root's own, if it has one.
    OfTheRoot,
}

/// The address of a name in `hosts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostAddress {
    /// This one.
    Ip(IpAddr),
    /// That by which the container reaches the host.
    Host,
}

/// Why a way of connection is what it is where nobody named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unnamed {
    /// In place of what is missing for a better one; none where this is as good as it gets without root.
    pub(crate) lack: Option<Lack>,
}

/// What is missing here, and what one can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

/// What a flag has to do with a way of connection that it contradicts.
struct Contradiction {
    flag: &'static str,
    /// Which of its values, where others mean something.
    value: Option<&'static str>,
    reason: &'static str,
    /// Whether it would mean something with pasta.
    goes_with_pasta: bool,
}

impl NetworkOptions {
    /// The name of the bridge.
    pub fn bridge(&self) -> &str {
        self.name.as_deref().unwrap_or("rabbitc0")
    }

    /// Address of the bridge and its subnet; none where the network's own is meant, or a free one.
    pub fn subnet(&self) -> Option<&str> {
        let default = (self.bridge() == "rabbitc0").then_some("172.19.0.1/16");
        self.ip.as_deref().or(default)
    }

    /// Refuses what contradicts the way of connection; `unnamed` says why it is that one where nobody named it.
    pub(crate) fn check(&self, unnamed: Option<&Unnamed>) -> Result<()> {
        let Some(Contradiction { flag, value, reason, goes_with_pasta }) = self.contradiction() else {
            return Ok(());
        };
        let mode = self.mode.name();
        let lack = unnamed.and_then(|unnamed| unnamed.lack.as_ref());
        let chosen = match (unnamed, lack) {
            (None, _) => String::new(),
            (Some(_), None) => ", the default without root".to_owned(),
            (Some(_), Some(lack)) => format!(", the default here as {}", lack.what),
        };
        let subject = value.map_or_else(String::new, |value| format!("`{value}` "));
        let reason = format!("{subject}means nothing with `--network={mode}`{chosen}: {reason}");
        let error = Error::invalid(flag, reason);
        if value.is_some() && self.mode == NetworkMode::Pasta {
            return Err(error.with_hint(
                "name an address of the host, `NAME:IP`, other than that of its default route, which is the container's own \
                 inside",
            ));
        }
        Err(error.with_hint(match (unnamed, lack) {
            (None, _)
                if goes_with_pasta
                    || matches!(self.mode, NetworkMode::Joined { .. } | NetworkMode::Container(_)) =>
            {
                "leave one of the two out".to_owned()
            }
            (None, _) => format!("leave `{flag}` out: it goes with a bridge, `--network=bridge`"),
            (Some(_), Some(lack)) if goes_with_pasta => {
                format!(
                    "{}; or leave `{flag}` out, or share the host's network with `--network=host`",
                    lack.remedy
                )
            }
            (Some(_), _) => format!("leave `{flag}` out: it goes with a bridge, which takes root"),
        }))
    }

    /// The first of the flags that means nothing with the way of connection.
    fn contradiction(&self) -> Option<Contradiction> {
        use NetworkMode::{Bridge, Cni, Container, Default, Host, Joined, None as Nothing, Pasta};
        if matches!(self.mode, Default | Bridge) {
            return None;
        }
        let ports = match self.mode {
            Nothing => "the container has nothing but its own loopback",
            Host => "the container's ports are the host's already",
            _ => "whose network it is publishes its ports",
        };
        let address = match self.mode {
            Pasta => "the container has the host's own addresses inside",
            Nothing | Host => "the container has no interface of its own",
            _ => "the interface is another's",
        };
        let lookup = match &self.mode {
            Nothing => Some("the container reaches no name server"),
            Container(_) | Joined { files: Some(_), .. } => Some("/etc/resolv.conf is the other container's"),
            _ => None,
        };
        let names = &self.names;
        let to_host = names.hosts.iter().any(|(_, address)| *address == HostAddress::Host);
        let (host, hosts) = match &self.mode {
            Container(_) | Joined { files: Some(_), .. } if !names.hosts.is_empty() => {
                (None, Some("/etc/hosts is the other container's"))
            }
            Pasta if to_host => (Some("host-gateway"), Some("there is no address that is always the host's")),
            Nothing | Joined { .. } if to_host => (Some("host-gateway"), Some("there is no way to the host")),
            _ => (None, None),
        };
        let bridge = match self.mode {
            Cni(_) => "the list of its plugins says how it is made",
            _ => "there is no bridge",
        };
        if let Cni(_) = self.mode {
            let rows = [
                ("--network-name", self.name.is_some(), "the network has its name in `--network`"),
                ("--network-ip", self.ip.is_some(), bridge),
            ];
            let found = rows.into_iter().find(|(_, is_said, _)| *is_said);
            return found.map(|(flag, _, reason)| Contradiction {
                flag,
                value: None,
                reason,
                goes_with_pasta: false,
            });
        }
        let rows = [
            ("--publish", (!self.publish.is_empty() && self.mode != Pasta).then_some(ports), true),
            ("--network-name", self.name.as_ref().map(|_| bridge), false),
            ("--network-ip", self.ip.as_ref().map(|_| bridge), false),
            ("--container-ip", self.container_ip.as_ref().map(|_| address), false),
            ("--mac-address", self.mac.map(|_| address), false),
            ("--dns", lookup.filter(|_| !names.servers.is_empty()), true),
            ("--dns-search", lookup.filter(|_| !names.search.is_empty()), true),
            ("--dns-option", lookup.filter(|_| !names.options.is_empty()), true),
            ("--add-host", hosts, false),
        ];
        rows.into_iter().find_map(|(flag, reason, goes_with_pasta)| {
            let value = host.filter(|_| flag == "--add-host");
            Some(Contradiction { flag, value, reason: reason?, goes_with_pasta })
        })
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
