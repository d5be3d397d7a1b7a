//! Registries over HTTP (distribution-spec 1.1): requests with credentials, redirects, patience and bounds. What comes is
//! checked by whoever asked for it.

mod challenge;
mod credentials;
mod source;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use self::challenge::{Challenge, Token};
pub use self::credentials::Credentials;
pub use self::source::Remote;
use crate::error::{Error, Kind, Result};
use crate::reference::{DOCKER_IO, Reference};

/// Where Docker's own registry listens.
const DOCKERS_HOST: &str = "registry-1.docker.io";
/// The most redirects of one request.
const MOST_REDIRECTS: usize = 10;
/// How often a request is made that fails for reasons that pass.
const MOST_ATTEMPTS: u32 = 5;
/// The longest pause that a registry may ask for between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The most bytes of what is neither a manifest nor a blob.
const MOST_ANSWER: u64 = 1 << 20;
/// Where hosts keep the certificates that they trust.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How a registry is spoken to.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether certificates that nobody trusts, and plain HTTP, will do.
    pub insecure: bool,
    /// Directories with certificates for registries, one below each by host and port: `/etc/docker/certs.d`.
    pub certificates: Vec<PathBuf>,
    /// How long nothing may come.
    pub stall: Duration,
    /// The pause before the second attempt; it doubles with each.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            insecure: false,
            certificates: ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from).to_vec(),
            stall: Duration::from_secs(30),
            pause: Duration::from_millis(500),
        }
    }
}

/// A registry, for one repository in it.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    /// Scheme, host and port.
    base: String,
    repository: String,
    credentials: Option<Credentials>,
    options: Options,
    /// What the registry wants to see, once it has said so.
    authorization: Mutex<Option<Authorization>>,
}

#[derive(Debug, Clone)]
enum Authorization {
    Basic(String),
    Bearer(Token),
}

/// What a registry says of a refusal.
#[derive(Deserialize)]
struct Refusals {
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Client {
    /// For the repository of `reference`. Looks at most whether the registry speaks TLS.
    pub fn new(reference: &Reference, credentials: Option<Credentials>, options: Options) -> Result<Client> {
        let host = if reference.registry == DOCKER_IO { DOCKERS_HOST } else { &reference.registry };
        let agent = agent(&reference.registry, &options)?;
        let mut client = Client {
            agent,
            base: format!("https://{host}"),
            repository: reference.repository.clone(),
            credentials,
            options,
            authorization: Mutex::new(None),
        };
        // A registry on this very machine, and one that somebody calls insecure, may speak plainly.
        if (client.options.insecure || is_loopback(host)) && !client.speaks_tls() {
            client.base = format!("http://{host}");
        }
        Ok(client)
    }

    fn speaks_tls(&self) -> bool {
        match self.agent.get(format!("{}/v2/", self.base)).call() {
            Ok(_) => true,
            // Whatever is wrong with a certificate, there is one.
            Err(ureq::Error::Rustls(rustls)) => rustls.to_string().contains("certificate"),
            Err(ureq::Error::Io(error)) => error.to_string().contains("certificate"),
            Err(_) => false,
        }
    }

    /// Asks for something of the repository, from byte `from` on.
    fn get(&self, path: &str, accept: &str, from: u64, operation: &str) -> Result<Response<Body>> {
        let url = format!("{}/v2/{}/{path}", self.base, self.repository);
        let mut may_authorize = true;
        let mut pause = self.options.pause;
        let mut attempt = 1;
        loop {
            let answer = self.follow(&url, accept, from, operation);
            let is_last = attempt == MOST_ATTEMPTS;
            let asked = match answer {
                Err(error) if error.kind != Kind::Remote || is_last => return Err(error),
                Err(_) => None,
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && may_authorize => {
                    may_authorize = false;
                    self.authorize(&answer, operation)?;
                    continue;
                }
                Ok(answer) if !will_pass(answer.status()) || is_last => {
                    return Err(self.refused(answer, operation));
                }
                Ok(answer) => pause_asked_for(&answer),
            };
            std::thread::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE));
            pause *= 2;
            attempt += 1;
        }
    }

    /// One request and the redirects that it leads to. What proves who asks goes to the registry itself alone.
    fn follow(&self, url: &str, accept: &str, from: u64, operation: &str) -> Result<Response<Body>> {
        let mut url = url.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.agent.get(&url).header(header::ACCEPT, accept);
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            if authority(&url) == authority(&self.base)
                && let Some(value) = self.authorization()
            {
                request = request.header(header::AUTHORIZATION, value);
            }
            let answer = request.call().map_err(|error| self.unreachable(error, operation))?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            url = redirected(&url, location.unwrap_or_default()).map_err(|reason| {
                Error::new(Kind::Corrupt, operation, format!("`{}` redirects {reason}", self.base))
            })?;
        }
        let reason = format!("`{}` redirects more than {MOST_REDIRECTS} times", self.base);
        Err(Error::new(Kind::Corrupt, operation, reason))
    }

    fn authorization(&self) -> Option<String> {
        match &*self.authorization.lock().expect("nobody panics while they hold it") {
            Some(Authorization::Basic(value)) => Some(value.clone()),
            Some(Authorization::Bearer(token)) if token.is_good() => Some(format!("Bearer {}", token.text)),
            _ => None,
        }
    }

    /// Gets what the registry wants to see.
    fn authorize(&self, answer: &Response<Body>, operation: &str) -> Result<()> {
        let asked = answer.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let challenge = asked.filter_map(|value| Challenge::parse(value.to_str().ok()?)).next();
        let authorization = match challenge {
            None => {
                let reason = format!("`{}` refuses without saying what it wants to see", self.base);
                return Err(Error::new(Kind::Remote, operation, reason));
            }
            Some(Challenge::Basic) => {
                let value = self.credentials.as_ref().and_then(Credentials::header);
                Authorization::Basic(
                    value.ok_or_else(|| self.unauthorized(operation, "wants a name and a password"))?,
                )
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                Authorization::Bearer(self.token(&realm, service.as_deref(), scope.as_deref(), operation)?)
            }
        };
        *self.authorization.lock().expect("nobody panics while they hold it") = Some(authorization);
        Ok(())
    }

    /// Asks whoever gives tokens for this registry.
    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        operation: &str,
    ) -> Result<Token> {
        let failed = |reason: String| Error::new(Kind::Remote, operation, reason);
        // A password that went to the registry by TLS goes nowhere else without.
        let is_plain = realm.starts_with("http://") && self.base.starts_with("http://");
        if !is_plain && !realm.starts_with("https://") {
            return Err(failed(format!(
                "`{}` has its tokens at `{}`, without TLS",
                self.base,
                realm.escape_debug()
            )));
        }
        let scope = scope.map_or_else(|| format!("repository:{}:pull", self.repository), str::to_owned);
        let mut values = vec![("scope", scope.as_str())];
        values.extend(service.map(|service| ("service", service)));
        let answer = match &self.credentials {
            Some(Credentials::Identity(token)) => {
                values.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "rabbitc"),
                    ("refresh_token", token),
                ]);
                let form = "application/x-www-form-urlencoded";
                self.agent.post(realm).header(header::CONTENT_TYPE, form).send(encoded(&values))
            }
            other => {
                let separator = if realm.contains('?') { '&' } else { '?' };
                let mut request = self.agent.get(format!("{realm}{separator}{}", encoded(&values)));
                if let Some(value) = other.as_ref().and_then(Credentials::header) {
                    request = request.header(header::AUTHORIZATION, value);
                }
                request.call()
            }
        };
        let answer = answer.map_err(|error| self.unreachable(error, operation))?;
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.unauthorized(operation, "gives no token for this name and password"));
            }
            status if !status.is_success() => {
                return Err(failed(format!(
                    "`{}` answers {status}, and gives no token",
                    realm.escape_debug()
                )));
            }
            _ => {}
        }
        let text = bounded(answer, MOST_ANSWER, operation)?;
        Token::parse(&text)
            .ok_or_else(|| failed(format!("what came from `{}` is no token", realm.escape_debug())))
    }

    fn unauthorized(&self, operation: &str, what: &str) -> Error {
        let error = Error::new(Kind::Unauthorized, operation, format!("`{}` {what}", self.base));
        let registry = if self.base.contains(DOCKERS_HOST) { "" } else { authority(&self.base) };
        error.with_hint(format!(
            "log in: `docker login {registry}` or `podman login {registry}`; or give `--creds=USER:PASSWORD`"
        ))
    }

    /// What the registry says of its refusal.
    fn refused(&self, answer: Response<Body>, operation: &str) -> Error {
        let status = answer.status();
        let text = bounded(answer, 64 << 10, operation).unwrap_or_default();
        let said = serde_json::from_slice::<Refusals>(&text)
            .ok()
            .and_then(|refusals| refusals.errors.into_iter().next());
        let said = said.map(|Refusal { code, message }| if message.is_empty() { code } else { message });
        let reason = match said {
            Some(said) => format!("`{}` answers {status}: {}", self.base, said.escape_debug()),
            None => format!("`{}` answers {status}", self.base),
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error { reason, ..self.unauthorized(operation, "") }
            }
            StatusCode::NOT_FOUND => Error::new(Kind::NotFound, operation, reason)
                .with_hint("check name and tag; a registry also says so of what one may not see"),
            StatusCode::TOO_MANY_REQUESTS => Error::new(Kind::Remote, operation, reason)
                .with_hint("wait, or log in: registries give more to those whom they know"),
            _ => Error::new(Kind::Remote, operation, reason),
        }
    }

    /// Why nothing came.
    fn unreachable(&self, error: ureq::Error, operation: &str) -> Error {
        let host = authority(&self.base);
        let remote = |reason: String| Error::new(Kind::Remote, operation, reason);
        let unreached = |text: String| {
            remote(format!("`{host}` can't be reached: {text}"))
                .with_hint("check name and port, and the way there")
        };
        let text = error.to_string();
        match error {
            _ if text.contains("lookup address information") => {
                remote(format!("the name of `{host}` can't be looked up"))
                    .with_hint("check the name, and that this host can look names up")
            }
            ureq::Error::HostNotFound => remote(format!("there is no host `{host}`"))
                .with_hint("check the name, and that this host can look names up"),
            ureq::Error::Timeout(_) => {
                remote(format!("`{host}` says nothing for {} s", self.options.stall.as_secs()))
            }
            _ if text.contains("InvalidContentType") => {
                let error = Error::new(Kind::Unsupported, operation, format!("`{host}` does not speak TLS"));
                error.with_hint("where that is right, say so with `--tls-verify=false`")
            }
            _ if text.contains("certificate") => {
                let error = Error::new(
                    Kind::Unsupported,
                    operation,
                    format!("the certificate of `{host}` is not trusted: {text}"),
                );
                error.with_hint(format!("put its authority's into `/etc/containers/certs.d/{host}/ca.crt`, or say `--tls-verify=false`"))
            }
            ureq::Error::Io(error) if error.raw_os_error().is_some() => {
                let text = sys::errno_text(error.raw_os_error().unwrap_or_default());
                unreached(text)
            }
            _ => unreached(text),
        }
    }
}

/// What speaks HTTP: nothing is followed or retried behind our back.
fn agent(registry: &str, options: &Options) -> Result<Agent> {
    let roots = match options.insecure {
        true => Vec::new(),
        false => {
            let own = options.certificates.iter().map(|directory| directory.join(registry).join("ca.crt"));
            let authorities = AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
            let mut roots = Vec::new();
            for path in own.chain(authorities) {
                roots.extend(certificates(&path)?);
            }
            roots
        }
    };
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .disable_verification(options.insecure)
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .user_agent(concat!("rabbitc/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(options.stall))
        .timeout_recv_response(Some(options.stall))
        .timeout_per_read(Some(options.stall))
        .build();
    Ok(config.new_agent())
}

/// The certificates in a file, if it is there.
fn certificates(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::at_path("read", path, error)),
    };
    let found = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Ok(found.collect())
}

/// Whether a host is this very machine, whatever its port.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Where a redirect leads: never from TLS to plain HTTP.
fn redirected(from: &str, location: &str) -> std::result::Result<String, &'static str> {
    let (scheme, _) = from.split_once("://").unwrap_or(("https", ""));
    match location {
        _ if location.starts_with("https://") => Ok(location.to_owned()),
        _ if location.starts_with("http://") && scheme == "http" => Ok(location.to_owned()),
        _ if location.starts_with("http://") => Err("from TLS to plain HTTP"),
        _ if location.starts_with("//") => Ok(format!("{scheme}:{location}")),
        _ if location.starts_with('/') => Ok(format!("{scheme}://{}{location}", authority(from))),
        _ => Err("to nowhere"),
    }
}

/// Refusals that another attempt may not meet.
fn will_pass(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || status.is_server_error()
}

fn pause_asked_for(answer: &Response<Body>) -> Option<Duration> {
    let value = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.parse().ok().map(Duration::from_secs)
}

/// All of an answer that has at most so many bytes.
fn bounded(answer: Response<Body>, most: u64, operation: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = answer.into_body().into_reader().take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::new(Kind::Remote, operation, format!("an answer broke off: {error}")))?;
    match bytes.len() as u64 > most {
        false => Ok(bytes),
        true => Err(Error::new(Kind::TooMuch, operation, format!("an answer has more than {most} bytes"))),
    }
}

/// Names and values as a query holds them.
fn encoded(values: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        let mut encoded = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                true => encoded.push(byte as char),
                false => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        encoded
    };
    values.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests;
