//! Proxies, as the variables of the caller name them.

use std::ffi::OsString;
use std::net::IpAddr;

use super::address::{Origin, Scheme, split_port};
use crate::error::{Error, Kind, Result};

/// The proxies for each scheme, and who is spoken to without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For plain HTTP: `http://[USER:PASSWORD@]HOST:PORT`.
    pub http: Option<String>,
    /// For TLS.
    pub https: Option<String>,
    /// Hosts, domains (`.example.com`), addresses and networks (`10.0.0.0/8`); `*` is everybody.
    pub exempt: Vec<String>,
}

impl Proxies {
    /// By `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in lower case too.
    pub fn find(environment: &[(OsString, OsString)]) -> Proxies {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, value)| {
                key.to_str().is_some_and(|key| key.eq_ignore_ascii_case(name)) && !value.is_empty()
            });
            found.map(|(_, value)| value.to_string_lossy().into_owned())
        };
        let exempt = variable("NO_PROXY").unwrap_or_default();
        let exempt = exempt.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned);
        Proxies { http: variable("HTTP_PROXY"), https: variable("HTTPS_PROXY"), exempt: exempt.collect() }
    }

    pub(super) fn of(&self, origin: &Origin) -> Result<Option<ureq::Proxy>> {
        let proxy = match origin.scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        let Some(proxy) = proxy.as_ref().filter(|_| !self.is_exempt(&origin.authority)) else {
            return Ok(None);
        };
        // It may have a password in it, so that it is not shown.
        let refuse =
            |_| Error::new(Kind::Invalid, "use the proxy for registries", "its address can't be used");
        let proxy = ureq::Proxy::new(proxy).map_err(refuse);
        proxy
            .map(Some)
            .map_err(|error| error.with_hint("write `http://HOST:PORT` into `HTTPS_PROXY` and `HTTP_PROXY`"))
    }

    /// As Go's clients have it: a domain is for all below it, and this host's own loopback never goes through a proxy.
    fn is_exempt(&self, authority: &str) -> bool {
        let host = split_port(authority).0.trim_matches(['[', ']']);
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.exempt.iter().any(|one| {
            let one = one.to_ascii_lowercase();
            match (address, one.split_once('/')) {
                (Some(address), Some((network, bits))) => contains(network, bits, address),
                _ => {
                    let domain = one.trim_start_matches('*').trim_start_matches('.');
                    one == "*"
                        || one == authority
                        || host == one
                        || !domain.is_empty() && host.ends_with(&format!(".{domain}"))
                }
            }
        })
    }
}

fn contains(network: &str, bits: &str, address: IpAddr) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (network ^ address).checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exempt_hosts_are_spoken_to_directly() {
        let environment = [
            ("https_proxy", "http://p.example:3128"),
            ("NO_PROXY", "a.example, .b.example,10.1.0.0/16,c:5000"),
        ];
        let environment = environment.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let proxies = Proxies::find(&environment);
        let goes_through = |authority: &str| {
            let origin = Origin::new(Scheme::Https, authority);
            proxies.of(&origin).expect("legal").is_some()
        };
        for direct in [
            "a.example",
            "x.a.example",
            "x.b.example:5000",
            "10.1.2.3",
            "c:5000",
            "localhost:1",
            "127.0.0.1",
            "[::1]:5",
        ] {
            assert!(!goes_through(direct), "{direct}");
        }
        for other in ["b.example", "ba.example", "10.2.0.1", "c:5001", "docker.io"] {
            assert!(goes_through(other), "{other}");
        }
        assert!(proxies.of(&Origin::new(Scheme::Http, "docker.io")).expect("none").is_none());
        let wrong = Proxies { https: Some("nonsense://:secret@".to_owned()), ..Proxies::default() };
        let error = wrong.of(&Origin::new(Scheme::Https, "docker.io")).expect_err("no proxy");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
