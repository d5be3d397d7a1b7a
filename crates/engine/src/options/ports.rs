//! Published ports as docker writes them, and as meant. Opens nothing.

use std::net::IpAddr;

use ::network::{HostPorts, PortRange, PortRequest, Protocol};

use crate::error::{Error, Result};

const FORM: &str = "write `[IP:][HOSTPORT[-END]:]PORT[-END][/tcp|udp|sctp]`, an IPv6 address in brackets: \
                    `8080:80`, `127.0.0.1:53:53/udp`, `[::1]:8080:80`";

/// Reads `[hostip:][hostport[-end]:]port[-end][/protocol]`. Without a host port one is chosen when it is published.
pub fn parse_publish(field: &str, text: &str) -> Result<PortRequest> {
    let wrong =
        |reason: &str| Error::invalid(field, format!("`{}`: {reason}", text.escape_debug())).with_hint(FORM);
    let (ports, protocol) =
        split_protocol(text).ok_or_else(|| wrong("the protocol is not tcp, udp or sctp"))?;
    let (address, host, container) = split_places(ports).map_err(&wrong)?;
    let address =
        address.map(|text| parse_address(text).ok_or_else(|| wrong("the address is not an IP address")));
    let address = address.transpose()?;
    let range = |text: &str| {
        parse_range(text)
            .ok_or_else(|| wrong(&format!("`{}` is not a port, nor a range of them", text.escape_debug())))
    };
    let container = range(container)?;
    let host = match host {
        None | Some("" | "0") => HostPorts::Any,
        Some(text) => {
            let host = range(text)?;
            if host.count() == container.count() {
                HostPorts::From(host.first())
            } else if container.count() == 1 {
                HostPorts::OneOf(host)
            } else {
                return Err(wrong("the two ranges have different lengths"));
            }
        }
    };
    Ok(PortRequest { address, host, container, protocol })
}

/// What [`parse_publish`] reads as `request`.
pub(crate) fn publish_text(request: &PortRequest) -> String {
    let address = match request.address {
        Some(IpAddr::V6(address)) => format!("[{address}]:"),
        Some(address) => format!("{address}:"),
        None => String::new(),
    };
    let host = match request.host {
        HostPorts::Any if request.address.is_none() => String::new(),
        HostPorts::Any => ":".to_owned(),
        // No request goes beyond the last port.
        HostPorts::From(first) => {
            let last = first.saturating_add(request.container.last() - request.container.first());
            format!("{first}-{last}:")
        }
        HostPorts::OneOf(range) => format!("{}-{}:", range.first(), range.last()),
    };
    format!("{address}{host}{}/{}", request.container, request.protocol)
}

/// Reads `port[-end][/protocol]`.
pub fn parse_exposed(field: &str, text: &str) -> Result<(PortRange, Protocol)> {
    let parsed = split_protocol(text).and_then(|(ports, protocol)| Some((parse_range(ports)?, protocol)));
    parsed.ok_or_else(|| {
        let error = Error::invalid(field, format!("`{}` is not a port of a container", text.escape_debug()));
        error.with_hint("write `PORT[-END][/tcp|udp|sctp]`, such as `80` or `53/udp`")
    })
}

/// Publishes each exposed port at one that is chosen, unless it is published already.
pub fn publish_exposed(exposed: &[(PortRange, Protocol)], publish: &mut Vec<PortRequest>) {
    for &(range, protocol) in exposed {
        for container in (range.first()..=range.last()).filter_map(PortRange::one) {
            let has_it = |other: &PortRequest| {
                let ports = other.container.first()..=other.container.last();
                other.protocol == protocol && ports.contains(&container.first())
            };
            if !publish.iter().any(has_it) {
                publish.push(PortRequest { address: None, host: HostPorts::Any, container, protocol });
            }
        }
    }
}

/// Without a protocol it is TCP.
fn split_protocol(text: &str) -> Option<(&str, Protocol)> {
    let Some((ports, protocol)) = text.rsplit_once('/') else { return Some((text, Protocol::Tcp)) };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    Some((ports, protocol))
}

/// The host's address, the host's ports and the container's, as typed.
type Places<'a> = (Option<&'a str>, Option<&'a str>, &'a str);

fn split_places(text: &str) -> std::result::Result<Places<'_>, &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, ports) =
            rest.split_once("]:").ok_or("after the address in brackets there are no ports")?;
        // Only an IPv6 address stands in brackets.
        if !address.contains(':') {
            return Err("what stands in brackets is not an IPv6 address");
        }
        let (host, container) =
            ports.split_once(':').ok_or("an address needs the container's port after a second colon")?;
        return Ok((Some(address), Some(host), container));
    }
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [container] => Ok((None, None, container)),
        [host, container] => Ok((None, Some(host), container)),
        ["", ..] => Err("there is nothing before the first colon"),
        [address, host, container] => Ok((Some(address), Some(host), container)),
        _ => Err("there are more than two colons"),
    }
}

fn parse_address(text: &str) -> Option<IpAddr> {
    Some(text.parse::<IpAddr>().ok()?.to_canonical())
}

fn parse_range(text: &str) -> Option<PortRange> {
    let port = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number)
    };
    match text.split_once('-') {
        Some((first, last)) => PortRange::new(port(first)?, port(last)?),
        None => PortRange::one(port(text)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange::new(first, last).expect("a range")
    }

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        let (any, tcp, udp) = (HostPorts::Any, Protocol::Tcp, Protocol::Udp);
        for (text, address, host, container, protocol) in [
            ("80", None, any, range(80, 80), tcp),
            ("8080:80", None, HostPorts::From(8080), range(80, 80), tcp),
            ("0:80", None, any, range(80, 80), tcp),
            (":80", None, any, range(80, 80), tcp),
            ("53:53/UDP", None, HostPorts::From(53), range(53, 53), udp),
            ("127.0.0.1:8080:80", Some("127.0.0.1"), HostPorts::From(8080), range(80, 80), tcp),
            ("127.0.0.1::80", Some("127.0.0.1"), any, range(80, 80), tcp),
            ("0.0.0.0:80:80", Some("0.0.0.0"), HostPorts::From(80), range(80, 80), tcp),
            ("[::1]:8080:80", Some("::1"), HostPorts::From(8080), range(80, 80), tcp),
            ("[::]::80/sctp", Some("::"), any, range(80, 80), Protocol::Sctp),
            ("[::ffff:10.0.0.1]:1:2", Some("10.0.0.1"), HostPorts::From(1), range(2, 2), tcp),
            ("8000-8010:80-90", None, HostPorts::From(8000), range(80, 90), tcp),
            ("8000-8010", None, any, range(8000, 8010), tcp),
            ("8000-8010:80", None, HostPorts::OneOf(range(8000, 8010)), range(80, 80), tcp),
        ] {
            let address = address.map(|text| text.parse().expect("an address"));
            let expected = PortRequest { address, host, container, protocol };
            assert_eq!(parse_publish("--publish", text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused_with_the_form() {
        for text in [
            "",
            ":",
            "0",
            "65536",
            "-1",
            "80/",
            "80/icmp",
            "80-79",
            "8000-8001:80-82",
            "8000:80-81",
            "localhost:80:80",
            "1.2.3:80:80",
            "::1:80:80",
            "[::1]",
            "[::1]:80",
            "[127.0.0.1]:80:80",
            "[fe80::1%eth0]:80:80",
            "a:b",
            "80:",
            "+80:80",
            " 80",
            "80:80:80:80",
            "::80",
        ] {
            let error = parse_publish("--publish", text).expect_err(text);
            assert!(error.to_string().contains("--publish") && error.hint.is_some(), "{text}: {error}");
        }
    }

    #[test]
    fn exposed_ports_are_published_once() {
        let exposed = [
            parse_exposed("--expose", "80-81").expect("legal"),
            parse_exposed("--expose", "53/udp").expect("legal"),
        ];
        let mut publish = vec![parse_publish("--publish", "8080:80").expect("legal")];
        publish_exposed(&exposed, &mut publish);
        let seen: Vec<_> = publish.iter().map(|one| (one.container.first(), one.protocol)).collect();
        assert_eq!(seen, [(80, Protocol::Tcp), (81, Protocol::Tcp), (53, Protocol::Udp)]);
        for text in ["", "80:80", "x", "80/x"] {
            assert!(parse_exposed("--expose", text).is_err(), "{text}");
        }
    }
}
