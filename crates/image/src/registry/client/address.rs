//! Addresses of what is asked for. They come from registries too: none has credentials in it, and none is a way to a file.

use std::fmt;

use ureq::http::Uri;

/// How it is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// Whom it is spoken to. Credentials for one origin are for no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    /// Host, and port where it is not the scheme's own; in lower case.
    pub(super) authority: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) origin: Origin,
    /// With the query.
    pub(super) path: String,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl Origin {
    pub(super) fn new(scheme: Scheme, host: &str) -> Origin {
        let host = host.to_ascii_lowercase();
        let authority = host.strip_suffix(&format!(":{}", scheme.port())).map(str::to_owned).unwrap_or(host);
        Origin { scheme, authority }
    }

    /// Without the port.
    pub(super) fn host(&self) -> &str {
        split_port(&self.authority).0
    }
}

/// Host and port.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

impl Address {
    pub(super) fn new(origin: Origin, path: impl Into<String>) -> Address {
        Address { origin, path: path.into() }
    }

    /// Reads a whole address; the reason is in words.
    pub(super) fn parse(text: &str) -> Result<Address, String> {
        let shown = || text.chars().take(200).collect::<String>().escape_debug().to_string();
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|_| format!("`{}` is no address", shown()))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(format!("`{}` is no address of HTTP", shown())),
        };
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if authority.is_empty() || authority.starts_with('.') || !authority.bytes().all(legal) {
            return Err(format!("`{}` is no address of a host", shown()));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Address::new(Origin::new(scheme, authority), path))
    }

    /// The address that `Location` or `Link` gives on a page at this one (RFC 3986, section 5.2, without the dots).
    pub(super) fn join(&self, reference: &str) -> Result<Address, String> {
        let scheme = self.origin.scheme.name();
        if reference.contains("://") && !reference.starts_with(['/', '?']) {
            return Address::parse(reference);
        }
        if reference.starts_with("//") {
            return Address::parse(&format!("{scheme}:{reference}"));
        }
        let own_path = self.path.split('?').next().unwrap_or_default();
        let path = match reference {
            reference if reference.starts_with('/') => reference.to_owned(),
            reference if reference.starts_with('?') => format!("{own_path}{reference}"),
            reference => {
                let directory = own_path.rfind('/').map_or("", |end| &own_path[..end]);
                format!("{directory}/{reference}")
            }
        };
        Address::parse(&format!("{scheme}://{}{path}", self.origin.authority))
    }

    /// With one more parameter; the value is escaped.
    pub(super) fn with_parameter(mut self, name: &str, value: &str) -> Address {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        self.path = format!("{}{separator}{name}={}", self.path, percent_encoded(value));
        self
    }
}

/// As a value in a query or a form.
pub(super) fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme.name(), self.authority)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_joined_to_the_address_they_stand_on() {
        let base = Address::parse("https://Host.Example:443/v2/a/blobs?x=1#top").expect("legal");
        assert_eq!(base.to_string(), "https://host.example/v2/a/blobs?x=1");
        for (reference, expected) in [
            ("/next?n=1", "https://host.example/next?n=1"),
            ("?n=1", "https://host.example/v2/a/blobs?n=1"),
            ("other", "https://host.example/v2/a/other"),
            ("//cdn.example/b", "https://cdn.example/b"),
            ("http://host.example/b", "http://host.example/b"),
            ("https://[::1]:5000/b", "https://[::1]:5000/b"),
            ("/to?next=https://other.example/", "https://host.example/to?next=https://other.example/"),
        ] {
            assert_eq!(base.join(reference).expect(reference).to_string(), expected);
        }
        for wrong in [
            "ftp://host/a",
            "file:///etc/passwd",
            "https://user:secret@host/a",
            "https:///a",
            "https://../a",
            "/a b",
            "http://host\n/a",
        ] {
            assert!(base.join(wrong).is_err(), "{wrong:?}: {:?}", base.join(wrong));
        }
    }

    #[test]
    fn other_port_scheme_or_host_is_another_origin() {
        let origin = |text: &str| Address::parse(text).expect("legal").origin;
        let home = origin("https://host.example/");
        assert_eq!(home, origin("https://HOST.example:443/a"));
        for other in ["http://host.example/", "https://host.example:444/", "https://a.host.example/"] {
            assert_ne!(home, origin(other), "{other}");
        }
    }

    #[test]
    fn parameters_are_escaped() {
        let address = Address::parse("https://host/a?b=c").expect("legal");
        let path = address.with_parameter("scope", "a:b,c&d").path;
        assert_eq!(path, "/a?b=c&scope=a%3Ab%2Cc%26d");
    }
}
