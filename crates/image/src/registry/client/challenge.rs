//! How a registry says whom it wants to see (`WWW-Authenticate`, RFC 9110 section 11.6.1; distribution's token protocol).

use ureq::http::HeaderMap;
use ureq::http::header::WWW_AUTHENTICATE;

/// The way that it offers, the better first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of a server that it names.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// Name and password.
    Basic,
}

impl Challenge {
    /// The first that rabbitc can meet; tokens before passwords.
    pub(super) fn read(headers: &HeaderMap) -> Option<Challenge> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let offered: Vec<Challenge> = texts.flat_map(parse).collect();
        let is_bearer = |one: &&Challenge| matches!(one, Challenge::Bearer { .. });
        offered.iter().find(is_bearer).or_else(|| offered.first()).cloned()
    }
}

/// One header, which may have several.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.is_empty() {
            // The end, or something that is none of both: what stands behind it can't be told.
            break;
        }
        let value = behind.trim_start().strip_prefix('=').filter(|_| !found.is_empty());
        let Some(value) = value else {
            found.push((word.to_ascii_lowercase(), Vec::new()));
            rest = behind;
            continue;
        };
        let (value, behind) = take_value(value.trim_start());
        if let Some((_, parameters)) = found.last_mut() {
            parameters.push((word.to_ascii_lowercase(), value));
        }
        rest = behind;
    }
    let challenge = |(scheme, mut parameters): (String, Vec<(String, String)>)| {
        let mut take = |name: &str| {
            let at = parameters.iter().position(|(key, _)| key == name)?;
            Some(parameters.swap_remove(at).1)
        };
        match scheme.as_str() {
            "basic" => Some(Challenge::Basic),
            "bearer" => {
                let realm = take("realm")?;
                Some(Challenge::Bearer { realm, service: take("service"), scope: take("scope") })
            }
            _ => None,
        }
    };
    found.into_iter().filter_map(challenge).collect()
}

/// A word or a quoted string, and what stands behind it.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ureq::http::HeaderValue;

    use super::*;

    fn read(texts: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(text).expect("legal"));
        }
        Challenge::read(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
    }

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull,push""#;
        let scope = Some("repository:library/a:pull,push");
        assert_eq!(read(&[hub]), bearer("https://auth.docker.io/token", Some("registry.docker.io"), scope));
        assert_eq!(read(&["Basic realm=\"a, b\""]), Some(Challenge::Basic));
        assert_eq!(read(&["basic"]), Some(Challenge::Basic));
        assert_eq!(read(&["Basic realm=\"x\"", "BEARER Realm = \"r\""]), bearer("r", None, None));
        assert_eq!(
            read(&["Basic realm=x, Bearer realm=r, service=\"s\\\"t\""]),
            bearer("r", Some("s\"t"), None)
        );
        assert_eq!(read(&["Negotiate", "Basic"]), Some(Challenge::Basic));
        assert_eq!(read(&["Bearer service=\"s\""]), None);
        assert_eq!(read(&["=", "", ",,,", "Digest realm=\"x\""]), None);
        assert_eq!(read(&[]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[ -~]{0,80}") {
            read(&[&text]);
        }
    }
}
