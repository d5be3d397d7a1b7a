//! A request until its answer is there: the registry's address, credentials where it asks for them, redirects, and
//! repetitions with a back-off. The rules of who may send us where are here and nowhere else.

use std::thread;

use ureq::http::{HeaderName, Method, header};

use super::address::{Address, Origin, Scheme, split_port};
use super::answer::Answer;
use super::transport::{Cause, Failure, Patience, Payload, Question};
use super::{Scope, Session};
use crate::error::{Error, Kind, Result};
use crate::registry::Security;

/// The most redirects of one request.
const MOST_REDIRECTS: usize = 10;

/// A request to the registry.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) target: Target<'a>,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) scope: Scope,
    pub(super) patience: Patience,
    /// The answers that are none to be afraid of.
    pub(super) expected: &'a [u16],
    pub(super) operation: &'a str,
}

/// What it is for.
pub(super) enum Target<'a> {
    /// Something of the registry.
    Path(&'a str),
    /// What the registry said itself, to be asked for without credentials where it is not its own.
    Address(&'a Address),
}

impl Session {
    /// Asks without a payload, or with one that can be sent again.
    pub(super) fn ask(&self, request: &Request<'_>, payload: &[u8]) -> Result<Answer> {
        let mut again = || match payload.is_empty() {
            true => Payload::None,
            false => Payload::Bytes(payload),
        };
        self.ask_with(request, &mut again)
    }

    fn ask_with<'p>(
        &self,
        request: &Request<'_>,
        payload: &mut dyn FnMut() -> Payload<'p>,
    ) -> Result<Answer> {
        let address = self.resolve(request)?;
        let home = Address::new(self.home(), "/");
        let mut authorization = self.authorization(&home, &request.scope, request.operation)?;
        let mut refused = false;
        loop {
            let question = Question {
                method: request.method.clone(),
                address: &address,
                headers: &request.headers,
                authorization: authorization.as_deref().filter(|_| address.origin == home.origin),
                patience: request.patience,
            };
            let answer = self.follow(&question, payload, request.operation)?;
            if request.expected.contains(&answer.status) {
                return Ok(answer);
            }
            // A token that the registry no longer takes is worth one more try; who is elsewhere gets to know nothing.
            if answer.status == 401 && !refused && answer.address.origin == home.origin {
                refused = true;
                let fresh = self.authorize_anew(
                    &home,
                    &request.scope,
                    &answer.headers,
                    authorization.as_deref(),
                    request.operation,
                )?;
                if fresh.is_some() {
                    authorization = fresh;
                    continue;
                }
            }
            return Err(answer.into_error(&self.endpoint, request.operation));
        }
    }

    /// Sends a payload that can't be sent twice: one answer, whatever it is.
    pub(super) fn send_once(&self, request: &Request<'_>, mut payload: Payload<'_>) -> Result<Answer> {
        let address = self.resolve(request)?;
        let home = Address::new(self.home(), "/");
        let authorization = self.authorization(&home, &request.scope, request.operation)?;
        let question = Question {
            method: request.method.clone(),
            address: &address,
            headers: &request.headers,
            authorization: authorization.as_deref().filter(|_| address.origin == home.origin),
            patience: request.patience,
        };
        let failed = |failure: Failure| self.error(failure, &address, request.operation);
        let answer = self.transport.send(&question, &mut payload).map_err(failed)?;
        match request.expected.contains(&answer.status) {
            true => Ok(answer),
            false => Err(answer.into_error(&self.endpoint, request.operation)),
        }
    }

    /// The registry itself, as far as it is known how it speaks.
    pub(super) fn home(&self) -> Origin {
        let scheme = self.scheme.get().copied().unwrap_or(Scheme::Https);
        Origin::new(scheme, self.endpoint.host())
    }

    fn resolve(&self, request: &Request<'_>) -> Result<Address> {
        match request.target {
            Target::Address(address) => Ok(address.clone()),
            Target::Path(path) => {
                self.find_scheme(request.operation)?;
                Ok(Address::new(self.home(), path))
            }
        }
    }

    /// Finds out how the registry speaks, where it need not speak TLS: it is asked so first, unless its port is plain HTTP's.
    fn find_scheme(&self, operation: &str) -> Result<()> {
        if self.scheme.get().is_some() {
            return Ok(());
        }
        let port = split_port(self.endpoint.host()).1;
        let scheme = match self.endpoint.security {
            Security::Verified => Scheme::Https,
            Security::Any if port == Some("80") => Scheme::Http,
            Security::Any => self.probe(port.is_none(), operation)?,
        };
        self.scheme.get_or_init(|| scheme);
        Ok(())
    }

    fn probe(&self, usual_port: bool, operation: &str) -> Result<Scheme> {
        let address = Address::new(Origin::new(Scheme::Https, self.endpoint.host()), "/v2/");
        let question = Question {
            method: Method::GET,
            address: &address,
            headers: &[],
            authorization: None,
            patience: Patience::Probe,
        };
        match self.transport.send(&question, &mut Payload::None) {
            Ok(_) => Ok(Scheme::Https),
            Err(failure) => match failure.cause() {
                Some(Cause::NotTls | Cause::Broken | Cause::Stalled) => Ok(Scheme::Http),
                // Plain HTTP has another port then.
                Some(Cause::Refused) if usual_port => Ok(Scheme::Http),
                _ => Err(self.error(failure, &address, operation)),
            },
        }
    }

    /// Asks `first`, and whoever that sends us to: without credentials where it is somebody else.
    pub(super) fn follow<'p>(
        &self,
        first: &Question<'_>,
        payload: &mut dyn FnMut() -> Payload<'p>,
        operation: &str,
    ) -> Result<Answer> {
        let origin = &first.address.origin;
        let mut address = first.address.clone();
        for _ in 0..=MOST_REDIRECTS {
            let question = Question {
                method: first.method.clone(),
                address: &address,
                authorization: first.authorization.filter(|_| address.origin == *origin),
                ..*first
            };
            let answer = self.repeat(&question, payload, operation)?;
            if !answer.is_redirect() || !matches!(first.method, Method::GET | Method::HEAD) {
                return Ok(answer);
            }
            address = self.next(&answer, operation)?;
        }
        let reason = format!("`{origin}` redirects more than {MOST_REDIRECTS} times");
        Err(Error::new(Kind::TooMuch, operation, reason))
    }

    fn next(&self, answer: &Answer, operation: &str) -> Result<Address> {
        let refuse = |reason: String| {
            Error::new(
                Kind::Corrupt,
                operation,
                format!("`{}` redirects, and {reason}", answer.address.origin),
            )
        };
        let location =
            answer.header(header::LOCATION).ok_or_else(|| refuse("does not say where to".to_owned()))?;
        redirected(&answer.address, location).map_err(refuse)
    }

    /// One question, again while there is nobody or somebody who is too busy.
    pub(super) fn repeat<'p>(
        &self,
        question: &Question<'_>,
        payload: &mut dyn FnMut() -> Payload<'p>,
        operation: &str,
    ) -> Result<Answer> {
        let waits = &self.options.waits;
        let mut number = 0;
        loop {
            let is_last = number + 1 >= waits.attempts;
            let wait = match self.transport.send(question, &mut payload()) {
                Ok(answer) if is_last || !matches!(answer.status, 408 | 429 | 500 | 502 | 503 | 504) => {
                    return Ok(answer);
                }
                Ok(answer) => match answer.retry_after() {
                    // It won't be better before.
                    Some(asked) if asked > waits.longest => return Ok(answer),
                    Some(asked) => asked.max(waits.before(0)),
                    None => waits.before(number),
                },
                Err(failure) => {
                    // Who is not there at all seldom comes in a few seconds, so that two more tries do.
                    let passing = match failure.cause() {
                        Some(Cause::Broken | Cause::Stalled) => !is_last,
                        Some(Cause::Refused) => !is_last && number < 2,
                        _ => false,
                    };
                    if !passing {
                        return Err(self.error(failure, question.address, operation));
                    }
                    waits.before(number)
                }
            };
            thread::sleep(wait);
            number += 1;
        }
    }

    pub(super) fn error(&self, failure: Failure, address: &Address, operation: &str) -> Error {
        failure.into_error(address, self.transport.security(&address.origin), operation)
    }
}

/// Where `location` leads from `address`; the reason is in words.
pub(super) fn redirected(address: &Address, location: &str) -> std::result::Result<Address, String> {
    let next = address.join(location).map_err(|reason| format!("where to can't be used: {reason}"))?;
    if address.origin.scheme == Scheme::Https && next.origin.scheme == Scheme::Http {
        return Err(format!("where to is not TLS any more: `{}`", next.origin));
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_never_leads_from_tls_to_plain_http() {
        let at = |text: &str| Address::parse(text).expect("legal");
        let error =
            redirected(&at("https://a.example/v2/"), "http://a.example/v2/").expect_err("in the clear");
        assert!(error.contains("not TLS"), "{error}");
        redirected(&at("http://a.example/"), "http://b.example/").expect("was in the clear before");
        redirected(&at("http://a.example/"), "https://b.example/").expect("better");
        redirected(&at("https://a.example/"), "/b").expect("the same");
        assert!(redirected(&at("https://a.example/"), "file:///etc/passwd").is_err());
    }
}
