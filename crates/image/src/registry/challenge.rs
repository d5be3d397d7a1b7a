//! What a registry asks for before it answers (RFC 9110, section 11.6.1), and the token that satisfies it (distribution, "Token
//! Authentication").

use std::time::{Duration, Instant};

use serde::Deserialize;

/// How long a token is good that does not say so.
const USUAL_LIFE: u64 = 60;

/// One way of proving who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from elsewhere.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// A token, until it is of no use any more.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) text: String,
    ends: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header.
    pub(super) fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest.trim_start();
        while let Some((key, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match key.trim().trim_start_matches(',').trim() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                "scope" => scope = Some(value.to_owned()),
                _ => {}
            }
            rest = after.trim_start_matches([',', ' ']);
        }
        Some(Challenge::Bearer { realm: realm?, service, scope })
    }
}

impl Token {
    /// Reads the answer of the one that gives tokens.
    pub(super) fn parse(answer: &[u8]) -> Option<Token> {
        let answer: Answer = serde_json::from_slice(answer).ok()?;
        let text = answer.token.or(answer.access_token).filter(|text| !text.is_empty())?;
        // Some seconds earlier, as it is still to be sent; and a day is long enough for any pull.
        let life = answer.expires_in.unwrap_or(USUAL_LIFE).clamp(1, 86_400);
        let ends = Instant::now() + Duration::from_secs(life.saturating_sub(5).max(1));
        Some(Token { text, ends })
    }

    pub(super) fn is_good(&self) -> bool {
        Instant::now() < self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let (service, scope) = (service.map(str::to_owned), scope.map(str::to_owned));
            Some(Challenge::Bearer { realm: realm.to_owned(), service, scope })
        };
        assert_eq!(
            Challenge::parse(
                r#"Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push""#
            ),
            bearer("https://auth.example/token", Some("reg"), Some("repository:a/b:pull,push"))
        );
        assert_eq!(
            Challenge::parse(r#"bearer realm=https://x/t, service=y"#),
            bearer("https://x/t", Some("y"), None)
        );
        assert_eq!(Challenge::parse(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Bearer scope=\"x\""), None);
        assert_eq!(Challenge::parse("Bearer realm=\"x"), None);
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn tokens_are_good_for_as_long_as_they_say() {
        let token = Token::parse(br#"{"token": "a", "expires_in": 300}"#).expect("one");
        assert!(token.is_good() && token.text == "a");
        assert_eq!(Token::parse(br#"{"access_token": "b"}"#).expect("one").text, "b");
        assert!(Token::parse(br#"{"token": ""}"#).is_none() && Token::parse(b"<html>").is_none());
    }
}
