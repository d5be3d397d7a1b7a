//! What came back: bodies with a bound, and refusals in the registry's own words, with what one can do.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Body, BodyReader};

use super::address::Address;
use super::transport::{Cause, Failure};
use crate::error::{Error, Kind, Result};
use crate::reference::DOCKER_IO;
use crate::registry::{Endpoint, Security};

/// The most bytes of a refusal.
const MOST_ERROR_BYTES: u64 = 64 << 10;
/// How much of it is shown: so many entries, and so many letters of each.
const MOST_ENTRIES: usize = 3;
const MOST_LETTERS: usize = 300;

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Who gave it.
    pub(super) address: Address,
    body: Body,
}

/// "Error Codes" of the distribution-spec; token servers have `details` or OAuth's words.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    errors: Vec<Entry>,
    details: Option<String>,
    error_description: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Answer {
    pub(super) fn new(response: Response<Body>, address: Address) -> Answer {
        let (parts, body) = response.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, address, body }
    }

    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// How many bytes it says that follow.
    pub(super) fn length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok())
    }

    /// How long it asks to be left alone, in seconds; a date is as good as nothing.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.header(header::RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs)
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }

    pub(super) fn into_reader(self) -> BodyReader<'static> {
        self.body.into_reader()
    }

    /// All of the body, unless it is longer than `most`.
    pub(super) fn read(self, most: u64, operation: &str) -> Result<Vec<u8>> {
        let address = self.address.origin.to_string();
        let too_long = || {
            let reason = format!("`{address}` answers with more than {} KiB", most >> 10);
            Error::new(Kind::TooMuch, operation, reason)
        };
        if self.length().is_some_and(|length| length > most) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        self.into_reader().take(most + 1).read_to_end(&mut bytes).map_err(|error| {
            let failure = Failure::of_body(error);
            Error::new(Kind::Remote, operation, format!("`{address}`: {}", failure.reason()))
        })?;
        match bytes.len() as u64 > most {
            true => Err(too_long()),
            false => Ok(bytes),
        }
    }

    /// The body as JSON.
    pub(super) fn parse<T: DeserializeOwned>(self, most: u64, operation: &str) -> Result<T> {
        let kind = self.kind_of_content();
        let address = self.address.origin.to_string();
        let bytes = self.read(most, operation)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            // serde_json's own words could quote a token.
            let at = format!("line {}, column {}", error.line(), error.column());
            let reason = format!("`{address}` answers with {kind} that can't be understood, at {at}");
            Error::new(Kind::Corrupt, operation, reason)
        })
    }

    fn kind_of_content(&self) -> String {
        match self.header(header::CONTENT_TYPE) {
            Some(kind) => format!("`{}`", shortened(kind)),
            None => "something".to_owned(),
        }
    }

    /// The refusal as an error.
    pub(super) fn into_error(self, endpoint: &Endpoint, operation: &str) -> Error {
        let status = self.status;
        let host = self.address.origin.to_string();
        let content = self.kind_of_content();
        let mut body = Vec::new();
        // What can't be read of it is not missed: the status stands for itself.
        let _best_effort = self.into_reader().take(MOST_ERROR_BYTES).read_to_end(&mut body);
        let reason = match said(&body) {
            Some(words) => format!("{host} answers {status}: {words}"),
            // To HEAD, nobody says more.
            None if body.is_empty() => {
                let usual = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
                format!("{host} answers {status}: {}", usual.unwrap_or("without a reason").to_lowercase())
            }
            // A proxy or a portal, most likely: its page is nothing to read in a terminal.
            None => format!("{host} answers {status} with {content}, and no reason"),
        };
        let kind = match status {
            401 | 403 => Kind::Unauthorized,
            404 => Kind::NotFound,
            413 | 429 => Kind::TooMuch,
            405 | 501 => Kind::Unsupported,
            400..=499 if status != 408 => Kind::Invalid,
            _ => Kind::Remote,
        };
        let error = Error::new(kind, operation, reason);
        match hint(status, endpoint) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

fn hint(status: u16, endpoint: &Endpoint) -> Option<String> {
    let registry = &endpoint.registry;
    match status {
        // Docker's registry says the same of what is not there and of what is not for everybody.
        401 | 403 if endpoint.repository.is_empty() => Some("look at the name and the password".to_owned()),
        401 | 403 => {
            Some(format!("is the name right? If it is not for everybody: `rabbitc login {registry}`"))
        }
        404 => Some(format!(
            "is the name right? It is looked for as `{}`; a registry also says so of what one may not see",
            endpoint.name()
        )),
        429 if registry == DOCKER_IO => Some(format!(
            "Docker Hub counts pulls for each address: wait, or `rabbitc login {registry}` for a count of your own"
        )),
        429 => Some("wait, and try again".to_owned()),
        _ => None,
    }
}

/// The reasons that a body gives.
fn said(body: &[u8]) -> Option<String> {
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let entry = |entry: &Entry| {
        let (code, message) = (shortened(&entry.code), shortened(&entry.message));
        match (code.is_empty(), message.is_empty()) {
            (_, false) => message,
            (false, true) => code,
            (true, true) => String::new(),
        }
    };
    let mut words: Vec<String> = refusal.errors.iter().take(MOST_ENTRIES).map(entry).collect();
    let others = [refusal.details, refusal.error_description, refusal.message];
    words.extend(others.iter().flatten().take(1).map(|text| shortened(text)));
    words.retain(|text| !text.is_empty());
    words.dedup();
    (!words.is_empty()).then(|| words.join("; "))
}

/// As much of a foreign text as fits a line, with nothing in it that a terminal would obey.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(MOST_LETTERS).collect::<String>().escape_debug().to_string()
}

impl Failure {
    /// The failure as an error.
    pub(super) fn into_error(self, address: &Address, security: Security, operation: &str) -> Error {
        let (cause, reason) = match self {
            Failure::Own(error) => return error,
            Failure::Connection { cause, reason } => (cause, reason),
        };
        let host = &address.origin.authority;
        let reason = match cause {
            Cause::NoSuchHost => format!("the name of `{host}` can't be looked up: {reason}"),
            Cause::Refused => format!("`{host}` can't be reached: {reason}"),
            _ => format!("`{host}`: {reason}"),
        };
        let error = Error::new(Kind::Remote, operation, reason);
        let insecure = format!(
            "`--tls-verify=false` for this once, or `insecure = true` for `{host}` in /etc/containers/registries.conf"
        );
        match cause {
            Cause::NoSuchHost => {
                error.with_hint(format!("is the name `{host}` right, and can this host look names up?"))
            }
            Cause::Refused => error.with_hint("check name and port, and the way there"),
            Cause::Stalled | Cause::Broken => error.with_hint("try again; if that stays so, ask whoever runs it"),
            Cause::Certificate => error.with_hint(format!(
                "put the authority's certificate into `/etc/containers/certs.d/{host}/ca.crt` (those of the host come \
                 with the package ca-certificates), or: {insecure}"
            )),
            Cause::NotTls if security == Security::Verified => {
                error.with_hint(format!("if it speaks plain HTTP, and nobody else can listen: {insecure}"))
            }
            _ => error,
        }
    }
}
