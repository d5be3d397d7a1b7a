//! How a container is connected, as meant. Looks nothing up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ::network::PortRequest;
use serde::{Deserialize, Serialize};

use super::record;
use crate::error::{Error, Result};
use crate::network_store::{DEFAULT, NetworkStore};

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
    /// By what other names containers of the network find it.
    pub aliases: Vec<String>,
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
                    Err(error.with_hint(hint))
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
    /// The kept networks that it has, in their order; none where the bridge above is meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<NetworkAttachment>,
    /// Where these are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<NetworkStore>,
    /// Ports of the host that lead to it.
    #[serde(with = "record::ports")]
    pub publish: Vec<PortRequest>,
    /// Whether firewalls of the host that are in the bridge's way are told to let it through.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub firewall_integrate: bool,
    /// How it looks names up.
    pub names: NameOptions,
}

/// A container's place in a kept network, as meant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkAttachment {
    /// The network's name.
    pub network: String,
    /// The container's address there; without one, the lowest that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// Its address of IPv6; without one, that with the number of the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// Its hardware address there.
    #[serde(with = "record::mac", skip_serializing_if = "Option::is_none")]
    pub mac: Option<[u8; 6]>,
    /// By what other names containers of the same network find it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The name of the interface inside; without one, `eth0`, `eth1` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
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
            ("--firewall-integrate", self.firewall_integrate.then_some(bridge), false),
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

/// Reads what `--network` says, once or several times: a way of connection, or networks, each `NAME`, `NAME:ip=…,alias=…` as podman
/// has it, or `name=NAME,ip=…,alias=…` as docker has it. As everywhere, of two that can't be had together the last counts.
pub fn parse_networks(flag: &str, texts: &[String]) -> Result<(NetworkMode, Vec<NetworkAttachment>)> {
    let default = NetworkAttachment { network: DEFAULT.to_owned(), ..NetworkAttachment::default() };
    let (mut mode, mut attachments) = (NetworkMode::Default, Vec::<NetworkAttachment>::new());
    let words = texts.iter().flat_map(|text| match text.contains([':', '=']) {
        true => vec![text.as_str()],
        // Podman's list of networks.
        false => text.split(',').collect(),
    });
    for text in words {
        let name = text.split(':').next().unwrap_or_default();
        let is_of_docker = text.split(',').any(|part| part.starts_with("name="));
        let attachment = match (text, name) {
            ("bridge" | "default", _) => default.clone(),
            ("private", _) => continue,
            ("pasta" | "none" | "host", _) | (_, "container" | "ns" | "cni" | "pasta" | "slirp4netns") => {
                (mode, attachments) = (NetworkMode::parse(flag, text)?, Vec::new());
                continue;
            }
            _ if is_of_docker => NetworkAttachment::parse_of_docker(flag, text)?,
            _ => NetworkAttachment::parse_of_podman(flag, text)?,
        };
        if !matches!(mode, NetworkMode::Default | NetworkMode::Bridge) {
            attachments.clear();
        }
        mode = NetworkMode::Bridge;
        if attachments.last() != Some(&attachment) {
            attachments.push(attachment);
        }
    }
    if attachments == [default] {
        attachments.clear();
    }
    Ok((mode, attachments))
}

/// Reads the address of a container in a kept network, plain or with the prefix length, which is the network's.
pub fn parse_container_ip(flag: &str, text: &str) -> Result<Ipv4Addr> {
    text.split('/').next().unwrap_or_default().parse().map_err(|_| {
        let error = Error::invalid(flag, format!("`{}` is not an IPv4 address", text.escape_debug()));
        error.with_hint("write such as `10.5.0.9`")
    })
}

/// Reads an address of IPv6 of a container.
pub fn parse_container_ip6(flag: &str, text: &str) -> Result<Ipv6Addr> {
    text.parse().map_err(|_| {
        let error = Error::invalid(flag, format!("`{}` is not an IPv6 address", text.escape_debug()));
        error.with_hint("write such as `fd00:5::9`")
    })
}

impl NetworkAttachment {
    /// `name=NAME,ip=…`.
    fn parse_of_docker(flag: &str, text: &str) -> Result<NetworkAttachment> {
        let mut attachment = NetworkAttachment::default();
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("name", name)) => name.clone_into(&mut attachment.network),
                _ => attachment.set(flag, part)?,
            }
        }
        attachment.checked(flag)
    }

    /// `NAME:ip=…`.
    fn parse_of_podman(flag: &str, text: &str) -> Result<NetworkAttachment> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut attachment = NetworkAttachment { network: name.to_owned(), ..NetworkAttachment::default() };
        for part in options.split(',').filter(|part| !part.is_empty()) {
            attachment.set(flag, part)?;
        }
        attachment.checked(flag)
    }

    /// Takes one of its options.
    fn set(&mut self, flag: &str, part: &str) -> Result<()> {
        let refuse = |reason: String| {
            let error = Error::invalid(flag, reason);
            Err(error.with_hint("there are ip=, ip6=, mac=, alias= and interface_name="))
        };
        let Some((key, value)) = part.split_once('=') else {
            return refuse(format!("`{}` has no `=`", part.escape_debug()));
        };
        match key {
            "ip" if value.contains(':') => self.ip6 = Some(parse_container_ip6(flag, value)?),
            "ip" => self.ip = Some(parse_container_ip(flag, value)?),
            "ip6" => self.ip6 = Some(parse_container_ip6(flag, value)?),
            "mac" | "mac-address" => self.mac = Some(parse_mac(flag, value)?),
            "alias" => self.aliases.push(parse_alias(flag, value)?),
            "interface_name" => self.interface = Some(value.to_owned()),
            "driver-opt" => match value.split_once('=') {
                Some(("com.docker.network.endpoint.ifname", name)) => self.interface = Some(name.to_owned()),
                _ => return refuse(format!("`{}` is no option of an end here", value.escape_debug())),
            },
            _ => return refuse(format!("`{}` is not known", key.escape_debug())),
        }
        Ok(())
    }

    fn checked(self, flag: &str) -> Result<NetworkAttachment> {
        if self.network.is_empty() {
            let error = Error::invalid(flag, "the network has no name".to_owned());
            return Err(error.with_hint("write `NAME`, `NAME:ip=…` or `name=NAME,ip=…`"));
        }
        Ok(self)
    }
}

/// Reads another name of a container, by which it is found on a network.
pub fn parse_alias(flag: &str, text: &str) -> Result<String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(is_legal) || text.starts_with(['-', '.']) {
        let error = Error::invalid(flag, format!("`{}` is no name of a host", text.escape_debug()));
        return Err(error.with_hint("write letters, digits, `-`, `_` and `.`"));
    }
    Ok(text.to_owned())
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
    fn networks_are_named_as_docker_and_podman_name_them() {
        let read = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            parse_networks("--network", &texts)
        };
        let named = |texts: &[&str]| -> Vec<String> {
            let (mode, attachments) = read(texts).expect("legal");
            assert_eq!(mode, NetworkMode::Bridge, "{texts:?}");
            attachments.into_iter().map(|one| one.network).collect()
        };
        assert_eq!(read(&[]).expect("nothing"), (NetworkMode::Default, Vec::new()));
        assert_eq!(read(&["bridge"]).expect("alone"), (NetworkMode::Bridge, Vec::new()));
        assert_eq!(named(&["bridge", "back"]), ["bridge", "back"]);
        assert_eq!(named(&["front,back"]), ["front", "back"]);
        assert_eq!(named(&["none", "back"]), ["back"], "the last counts");
        assert_eq!(read(&["back", "none"]).expect("likewise"), (NetworkMode::None, Vec::new()));
        assert_eq!(named(&["bridge:ip=172.19.0.9"]), ["bridge"]);
        let whole = NetworkAttachment {
            network: "back".to_owned(),
            ip: Some([10, 5, 0, 9].into()),
            ip6: Some("fd00:5::9".parse().expect("an address")),
            mac: Some([2, 0x42, 0xac, 0x11, 0, 2]),
            aliases: vec!["a".to_owned(), "b".to_owned()],
            interface: Some("lan0".to_owned()),
        };
        for text in [
            "back:ip=10.5.0.9,ip=fd00:5::9,mac=02:42:ac:11:00:02,alias=a,alias=b,interface_name=lan0",
            "name=back,ip=10.5.0.9,ip6=fd00:5::9,mac-address=02:42:ac:11:00:02,alias=a,alias=b,\
             driver-opt=com.docker.network.endpoint.ifname=lan0",
        ] {
            assert_eq!(read(&[text]).expect(text), (NetworkMode::Bridge, vec![whole.clone()]), "{text}");
        }
        for text in
            ["back:ip", "back:ip=10.5", "back:colour=red", "name=,ip=10.5.0.9", ":ip=10.5.0.9", "slirp4netns"]
        {
            assert!(read(&[text]).is_err(), "{text}");
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
