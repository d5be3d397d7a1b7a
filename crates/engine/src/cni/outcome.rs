//! What a plugin has made, as it says (CNI specification, section 5, "Success"): as far as a container's files and its
//! listing need it.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

/// A result of ADD.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    interfaces: Vec<Interface>,
    ips: Vec<Address>,
    pub(crate) dns: Dns,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Interface {
    name: String,
    mac: String,
    sandbox: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Address {
    address: String,
    gateway: String,
    interface: Option<usize>,
}

/// How names are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Dns {
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) domain: String,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl Dns {
    /// The domains in which short names are looked for.
    pub(crate) fn domains(&self) -> Vec<String> {
        match self.domain.as_str() {
            domain if self.search.is_empty() && !domain.is_empty() => vec![domain.to_owned()],
            _ => self.search.clone(),
        }
        .into_iter()
        .filter(|word| is_word(word))
        .collect()
    }

    /// Options of the resolver.
    pub(crate) fn words(&self) -> Vec<String> {
        self.options.iter().filter(|word| is_word(word)).cloned().collect()
    }
}

/// A word of resolv.conf: it can add no line.
fn is_word(word: &str) -> bool {
    !word.is_empty() && word.len() <= 255 && word.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Outcome {
    /// Reads one.
    pub(crate) fn of(result: &Value) -> std::result::Result<Outcome, String> {
        serde_json::from_value(result.clone()).map_err(|error| error.to_string())
    }

    /// The container's addresses, each with how many bits of it are the network's.
    pub(crate) fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.of_container().filter_map(|address| parse(&address.address)).collect()
    }

    /// Where the host, or whatever leads out, is.
    pub(crate) fn gateway(&self) -> Option<IpAddr> {
        self.of_container().find_map(|address| address.gateway.parse().ok())
    }

    /// The hardware address of the container's interface.
    pub(crate) fn mac(&self) -> Option<&str> {
        let inside = self.interfaces.iter().filter(|interface| !interface.sandbox.is_empty());
        inside.map(|interface| interface.mac.as_str()).find(|mac| !mac.is_empty())
    }

    /// The names of interfaces inside.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let inside = self.interfaces.iter().filter(|interface| !interface.sandbox.is_empty());
        inside.map(|interface| interface.name.as_str())
    }

    /// An address may be one of the host's own interface.
    fn of_container(&self) -> impl Iterator<Item = &Address> {
        let is_inside =
            |number: usize| self.interfaces.get(number).is_none_or(|interface| !interface.sandbox.is_empty());
        self.ips.iter().filter(move |address| address.interface.is_none_or(is_inside))
    }
}

fn parse(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse().ok()?);
    (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_interfaces_inside() {
        let result = serde_json::json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                {"name": "cni0", "mac": "00:11:22:33:44:55"},
                {"name": "eth0", "mac": "99:88:77:66:55:44", "sandbox": "/proc/7/ns/net"},
            ],
            "ips": [
                {"address": "10.1.0.1/16", "interface": 0},
                {"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1},
                {"address": "fd00::5/64", "gateway": "fd00::1"},
                {"address": "10.1.0.6/99"},
            ],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dns": {"nameservers": ["10.1.0.1"], "domain": "lan", "options": ["ndots:2", "a\nnameserver 1.2.3.4"]},
        });
        let outcome = Outcome::of(&result).expect("legal");
        let addresses = outcome.addresses();
        assert_eq!(addresses, [([10, 1, 0, 5].into(), 16), ("fd00::5".parse().expect("an address"), 64)]);
        assert_eq!(outcome.gateway(), Some([10, 1, 0, 1].into()));
        assert_eq!(outcome.mac(), Some("99:88:77:66:55:44"));
        assert_eq!(outcome.names().collect::<Vec<_>>(), ["eth0"]);
        assert_eq!(
            (outcome.dns.domains(), outcome.dns.words()),
            (vec!["lan".to_owned()], vec!["ndots:2".to_owned()])
        );
        assert!(Outcome::of(&serde_json::json!({"ips": 7})).is_err());
    }
}
