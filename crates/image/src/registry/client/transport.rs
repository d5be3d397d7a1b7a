//! One request and its answer, over a connection that is as good as the endpoint wants it. Follows nothing, repeats nothing
//! and knows no credentials but those it is handed.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use ureq::http::{self, HeaderName, Method, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, Body, SendBody};

use super::Options;
use super::address::{Address, Origin, Scheme, split_port};
use super::answer::Answer;
use super::certificates::{Whose, provider};
use crate::error::Result;
use crate::registry::{Endpoint, Security};

/// What a connection holds of what is under way in either direction; the kernel has as much again.
const BUFFER_BYTES: usize = 64 << 10;
/// How long a registry that need not speak TLS may take to say that it does.
const PROBE: Duration = Duration::from_secs(5);

pub(super) struct Transport {
    endpoint: Endpoint,
    options: Options,
    provider: Arc<CryptoProvider>,
    roots: OnceLock<Vec<Certificate<'static>>>,
    agents: Mutex<HashMap<Origin, Agent>>,
}

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) address: &'a Address,
    pub(super) headers: &'a [(HeaderName, String)],
    pub(super) authorization: Option<&'a str>,
    pub(super) patience: Patience,
}

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It is short, or an error.
    Usual,
    /// It is as long as it is, and must not stall.
    Blob,
    /// The registry has work to do before.
    Commit,
    /// Whoever is there may not speak TLS, and say nothing at all for that.
    Probe,
}

/// What goes with it.
pub(super) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    Reader(&'a mut dyn Read, u64),
}

/// Why there was no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody was reached.
    Connection { cause: Cause, reason: String },
    /// Something on this host can't be used.
    Own(crate::error::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    NoSuchHost,
    /// Nobody listens, or there is no way.
    Refused,
    /// TLS works, and nobody known vouches for the other end.
    Certificate,
    /// The other end does not speak TLS.
    NotTls,
    /// TLS can't be agreed on.
    Tls,
    Stalled,
    /// The connection ended too early.
    Broken,
    /// What came is no HTTP.
    NotHttp,
}

impl Transport {
    pub(super) fn new(endpoint: &Endpoint, options: &Options) -> Transport {
        Transport {
            endpoint: endpoint.clone(),
            options: options.clone(),
            provider: provider(),
            roots: OnceLock::new(),
            agents: Mutex::default(),
        }
    }

    /// Whether TLS may be given up, and certificates be any: for the registry's own host, as far as the endpoint says so.
    pub(super) fn security(&self, origin: &Origin) -> Security {
        match origin.host().eq_ignore_ascii_case(split_port(self.endpoint.host()).0) {
            true => self.endpoint.security,
            false => Security::Verified,
        }
    }

    pub(super) fn send(
        &self,
        question: &Question<'_>,
        payload: &mut Payload<'_>,
    ) -> std::result::Result<Answer, Failure> {
        let agent = self.agent(&question.address.origin).map_err(Failure::Own)?;
        let mut request = http::Request::builder()
            .method(question.method.clone())
            .uri(question.address.to_string())
            // Digests are of what is stored, so that nothing on the way may compress it.
            .header(header::ACCEPT_ENCODING, "identity");
        for (name, value) in question.headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = question.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = match payload {
            Payload::None if matches!(question.method, Method::GET | Method::HEAD) => {
                self.run(&agent, request.body(()), question.patience)
            }
            Payload::None => {
                let request = request.header(header::CONTENT_LENGTH, 0);
                self.run(&agent, request.body(SendBody::from_reader(&mut io::empty())), question.patience)
            }
            Payload::Bytes(bytes) => {
                let request = request.header(header::CONTENT_LENGTH, bytes.len());
                self.run(&agent, request.body(SendBody::from_reader(&mut &**bytes)), question.patience)
            }
            Payload::Reader(reader, size) => {
                let request = request.header(header::CONTENT_LENGTH, *size);
                self.run(&agent, request.body(SendBody::from_reader(*reader)), question.patience)
            }
        };
        Ok(Answer::new(response?, question.address.clone()))
    }

    fn run(
        &self,
        agent: &Agent,
        request: http::Result<http::Request<impl AsSendBody>>,
        patience: Patience,
    ) -> std::result::Result<http::Response<Body>, Failure> {
        let request = request.map_err(|error| Failure::from(ureq::Error::Http(error)))?;
        let waits = &self.options.waits;
        let (read, whole, connect) = match patience {
            Patience::Usual => (waits.stall, Some(waits.answer), waits.stall),
            Patience::Blob => (waits.stall, None, waits.stall),
            Patience::Commit => (waits.answer, Some(waits.answer), waits.stall),
            Patience::Probe => (waits.stall, Some(waits.answer), waits.stall.min(PROBE)),
        };
        let request = agent
            .configure_request(request)
            .timeout_connect(Some(connect))
            .timeout_per_read(Some(read))
            .timeout_per_write(Some(waits.stall))
            .timeout_recv_response(Some(waits.answer))
            .timeout_recv_body(whole)
            .build();
        agent.run(request).map_err(Failure::from)
    }

    fn agent(&self, origin: &Origin) -> Result<Agent> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(origin) {
            return Ok(agent.clone());
        }
        let agent = self.new_agent(origin)?;
        agents.insert(origin.clone(), agent.clone());
        Ok(agent)
    }

    fn new_agent(&self, origin: &Origin) -> Result<Agent> {
        let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(self.provider.clone());
        if origin.scheme == Scheme::Https {
            let mut names = vec![origin.authority.as_str()];
            let mut whose = Whose::Another;
            if *origin == Origin::new(Scheme::Https, self.endpoint.host()) {
                whose = Whose::Registry;
                names.push(&self.endpoint.registry);
            }
            names.dedup();
            let found = self.options.certificates.of_registry(whose, &names, &self.provider)?;
            let verified = self.security(origin) == Security::Verified;
            // An empty list trusts nobody: where the host has no authorities, the handshake says so.
            let roots = self.roots()?.iter().cloned().chain(found.authorities);
            tls =
                tls.root_certs(RootCerts::from(roots)).client_cert(found.own).disable_verification(!verified);
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .proxy(self.options.proxies.of(origin)?)
            .user_agent(concat!("rabbitc/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .build();
        Ok(config.new_agent())
    }

    fn roots(&self) -> Result<&[Certificate<'static>]> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots);
        }
        let roots = self.options.certificates.roots()?;
        Ok(self.roots.get_or_init(|| roots))
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Transport").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Failure {
    /// What a body's reader says.
    pub(super) fn of_body(error: io::Error) -> Failure {
        match error.downcast::<ureq::Error>() {
            Ok(error) => Failure::from(error),
            Err(error) => Failure::from(ureq::Error::Io(error)),
        }
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        match self {
            Failure::Connection { cause, .. } => Some(*cause),
            Failure::Own(_) => None,
        }
    }

    pub(super) fn reason(&self) -> &str {
        match self {
            Failure::Connection { reason, .. } => reason,
            Failure::Own(error) => &error.reason,
        }
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Failure {
        let (cause, reason) = match error {
            ureq::Error::HostNotFound => (Cause::NoSuchHost, "there is no such host".to_owned()),
            ureq::Error::Timeout(_) => (Cause::Stalled, "it did not answer in time".to_owned()),
            ureq::Error::Rustls(error) => of_tls(&error),
            ureq::Error::Io(error) => return of_io(error),
            ureq::Error::Protocol(error) => (Cause::NotHttp, format!("it does not speak HTTP: {error}")),
            other => (Cause::NotHttp, other.to_string()),
        };
        Failure::Connection { cause, reason }
    }
}

fn of_io(error: io::Error) -> Failure {
    let error = match error.downcast::<crate::error::Error>() {
        // Of the reader that is being sent.
        Ok(own) => return Failure::Own(own),
        Err(error) => error,
    };
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        let (cause, reason) = of_tls(error);
        return Failure::Connection { cause, reason };
    }
    let reason = error.raw_os_error().map_or_else(|| error.to_string(), sys::errno_text);
    // The standard library has no kind for it.
    let cause = match error.kind() {
        _ if reason.contains("failed to lookup address") => Cause::NoSuchHost,
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => Cause::Refused,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Cause::Stalled,
        _ => Cause::Broken,
    };
    let reason = match cause {
        Cause::NoSuchHost => reason.rsplit(": ").next().unwrap_or(&reason).to_owned(),
        _ => reason,
    };
    Failure::Connection { cause, reason }
}

fn of_tls(error: &rustls::Error) -> (Cause, String) {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            (Cause::Certificate, "nobody who is trusted here vouches for its certificate".to_owned())
        }
        rustls::Error::InvalidCertificate(error) => {
            (Cause::Certificate, format!("its certificate can't be trusted: {error}"))
        }
        rustls::Error::InvalidMessage(_) => (Cause::NotTls, "it does not speak TLS".to_owned()),
        other => (Cause::Tls, format!("TLS: {other}")),
    }
}
