//! `linux.netDevices`: which devices of the host move into the container, looked at while they are still here.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::rtnetlink::{Address, Link, Socket};
use crate::spec::{Linux, NamespaceKind};

/// A device that moves, as it is on the host.
#[derive(Debug)]
pub(crate) struct NetDevice {
    pub(crate) name: String,
    /// Its name inside; with `%d` the kernel fills a number in.
    pub(crate) inside: String,
    pub(crate) link: Link,
    pub(crate) addresses: Vec<Address>,
    /// The field that names it.
    pub(crate) field: String,
}

/// The devices, in the order of their names.
pub(super) fn plan_net_devices(linux: &Linux) -> Result<Vec<NetDevice>> {
    if linux.net_devices.is_empty() {
        return Ok(Vec::new());
    }
    if !linux.namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Network) {
        let reason = "needs a network namespace to move the devices into".to_owned();
        return Err(Error::invalid("linux.netDevices", reason)
            .with_hint("list `{\"type\": \"network\"}` in linux.namespaces"));
    }
    let names = inside_names(linux)?;
    let system = |error: rustix::io::Errno| {
        Error::system("look at network devices", error).from_field("linux.netDevices")
    };
    let mut socket = Socket::open().map_err(system)?;
    let mut devices = Vec::with_capacity(names.len());
    for (name, inside) in names {
        let field = format!("linux.netDevices.{name}");
        let Some(link) = socket.link(&name).map_err(system)? else {
            let reason = format!("the host has no network device `{name}`");
            return Err(Error::invalid(field, reason).with_hint("`ip link` lists the host's devices"));
        };
        if link.is_loopback {
            return Err(Error::invalid(field, "a loopback device can't be moved".to_owned())
                .with_hint("every network namespace has one of its own"));
        }
        let addresses = socket.lasting_addresses(link.index).map_err(system)?;
        devices.push(NetDevice { name, inside, link, addresses, field });
    }
    Ok(devices)
}

/// The name of each device inside, checked.
fn inside_names(linux: &Linux) -> Result<Vec<(String, String)>> {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    let mut names = Vec::with_capacity(linux.net_devices.len());
    for (name, device) in &linux.net_devices {
        let field = format!("linux.netDevices.{name}");
        check_name(name, &field)?;
        if name.contains('%') {
            return Err(Error::invalid(field, format!("`{name}` is not the name of a network device")));
        }
        let inside = device.name.as_deref().filter(|inside| !inside.is_empty()).unwrap_or(name);
        let field = format!("{field}.name");
        check_name(inside, &field)?;
        let is_template = inside.contains('%');
        if is_template && (inside.matches('%').count() != 1 || !inside.contains("%d")) {
            let reason = format!("`{inside}` has a `%` that does not belong to its only `%d`");
            return Err(Error::invalid(field, reason));
        }
        if inside == "lo" {
            let reason = "`lo` is the loopback device of every network namespace".to_owned();
            return Err(Error::invalid(field, reason).with_hint("choose another name"));
        }
        if !is_template && let Some(other) = taken.insert(inside, name) {
            let reason = format!("`{inside}` is the name of `{other}` inside already");
            return Err(Error::invalid(field, reason).with_hint("give each device a name of its own"));
        }
        names.push((name.clone(), inside.to_owned()));
    }
    Ok(names)
}

/// What the kernel takes as a name: 1 to 15 bytes, no slash, colon or blank, not `.` or `..`.
fn check_name(name: &str, field: &str) -> Result<()> {
    let forbidden = |byte: u8| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace() || byte == 0x0b;
    if name.is_empty() || name.len() > 15 || matches!(name, "." | "..") || name.bytes().any(forbidden) {
        let reason = format!("`{}` is not the name of a network device", name.escape_debug());
        let hint = "a name has 1 to 15 bytes, without slashes, colons and blanks";
        return Err(Error::invalid(field, reason).with_hint(hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Namespace, NetDevice as Wanted};

    fn linux(devices: &[(&str, Option<&str>)]) -> Linux {
        let namespaces = vec![Namespace { kind: NamespaceKind::Network, path: None }];
        let net_devices = devices
            .iter()
            .map(|(name, inside)| ((*name).to_owned(), Wanted { name: inside.map(str::to_owned) }))
            .collect();
        Linux { namespaces, net_devices, ..Linux::default() }
    }

    #[test]
    fn device_keeps_its_name_unless_another_is_given() {
        let names = inside_names(&linux(&[("eth1", None), ("eth2", Some("net")), ("eth3", Some("e%d"))]));
        let expected = [("eth1", "eth1"), ("eth2", "net"), ("eth3", "e%d")];
        assert_eq!(
            names.expect("legal"),
            expected.map(|(name, inside)| (name.to_owned(), inside.to_owned()))
        );
    }

    #[test]
    fn names_that_the_kernel_would_refuse_are_refused_with_their_field() {
        for (name, inside, field) in [
            ("a/b", None, "linux.netDevices.a/b"),
            ("..", None, "linux.netDevices..."),
            ("sixteen-bytes-ab", None, "linux.netDevices.sixteen-bytes-ab"),
            ("eth%d", None, "linux.netDevices.eth%d"),
            ("eth0", Some("a b"), "linux.netDevices.eth0.name"),
            ("eth0", Some("a:b"), "linux.netDevices.eth0.name"),
            ("eth0", Some("%s"), "linux.netDevices.eth0.name"),
            ("eth0", Some("%d%d"), "linux.netDevices.eth0.name"),
            ("eth0", Some("lo"), "linux.netDevices.eth0.name"),
            ("eth0", Some("sixteen-bytes-ab"), "linux.netDevices.eth0.name"),
        ] {
            let error = inside_names(&linux(&[(name, inside)])).expect_err(field).to_string();
            assert!(error.starts_with(&format!("{field}: ")), "{error}");
        }
        let error =
            inside_names(&linux(&[("a", Some("x")), ("b", Some("x"))])).expect_err("twice").to_string();
        assert!(error.starts_with("linux.netDevices.b.name: `x` is the name of `a`"), "{error}");
    }

    #[test]
    fn devices_need_a_network_namespace_and_must_exist() {
        let mut wanted = linux(&[("rabbitc-none", None)]);
        let error = plan_net_devices(&wanted).expect_err("no device").to_string();
        assert!(error.contains("the host has no network device `rabbitc-none`"), "{error}");
        wanted.namespaces.clear();
        let error = plan_net_devices(&wanted).expect_err("no namespace").to_string();
        assert!(error.starts_with("linux.netDevices: needs a network namespace"), "{error}");
    }
}
