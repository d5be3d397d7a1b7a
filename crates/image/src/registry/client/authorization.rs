//! As whom one speaks: the credentials where the registry asks for them, else tokens of the server that it names
//! (distribution's "Token Authentication" and "OAuth2"). A token is kept for what it is for until it is no longer good.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::{HeaderMap, Method, header};

use super::address::{Address, Scheme, percent_encoded};
use super::challenge::Challenge;
use super::transport::{Patience, Payload, Question};
use super::{Scope, Session};
use crate::error::{Error, Kind, Result};
use crate::registry::Credentials;

/// The most bytes of a token server's answer.
const MOST_TOKEN_BYTES: u64 = 1 << 20;
/// How long a token is good for that does not say so.
const USUAL_LIFE: u64 = 60;
/// The longest that one is kept.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

pub(super) struct Authorizer {
    credentials: Option<Credentials>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How the registry wants it, once it has said so.
    challenge: Option<Challenge>,
    tokens: HashMap<Scope, Token>,
}

#[derive(Clone)]
struct Token {
    header: String,
    until: Instant,
}

/// `token` is distribution's word, `access_token` OAuth's.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authorizer {
    pub(super) fn new(credentials: Option<Credentials>) -> Authorizer {
        Authorizer { credentials, state: Mutex::default() }
    }

    /// Several threads that need one token wait for the first to have fetched it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authorizer").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl Session {
    /// What the next request says of who asks; nothing before the registry has asked for it.
    pub(super) fn authorization(
        &self,
        home: &Address,
        scope: &Scope,
        operation: &str,
    ) -> Result<Option<String>> {
        if let Some(Credentials::RegistryToken(token)) = &self.authorizer.credentials {
            return Ok(Some(format!("Bearer {token}")));
        }
        let mut state = self.authorizer.state();
        self.current(&mut state, home, scope, operation)
    }

    /// What to say after a refusal of `refused`; nothing where there is nothing better to say.
    pub(super) fn authorize_anew(
        &self,
        home: &Address,
        scope: &Scope,
        headers: &HeaderMap,
        refused: Option<&str>,
        operation: &str,
    ) -> Result<Option<String>> {
        if matches!(self.authorizer.credentials, Some(Credentials::RegistryToken(_))) {
            return Ok(None);
        }
        let Some(challenge) = Challenge::read(headers) else { return Ok(None) };
        let mut state = self.authorizer.state();
        // Another thread may have fetched a fresh one meanwhile.
        state.tokens.retain(|_, token| Some(token.header.as_str()) != refused);
        state.challenge = Some(challenge);
        let fresh = self.current(&mut state, home, scope, operation)?;
        Ok(fresh.filter(|fresh| Some(fresh.as_str()) != refused))
    }

    fn current(
        &self,
        state: &mut State,
        home: &Address,
        scope: &Scope,
        operation: &str,
    ) -> Result<Option<String>> {
        match &state.challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.authorizer.credentials.as_ref().and_then(basic)),
            Some(Challenge::Bearer { realm, service, scope: wanted }) => {
                if let Some(token) = state.tokens.get(scope)
                    && token.until > Instant::now()
                {
                    return Ok(Some(token.header.clone()));
                }
                let token =
                    self.fetch_token(home, realm, service.as_deref(), scope, wanted.as_deref(), operation)?;
                let header = token.header.clone();
                state.tokens.insert(scope.clone(), token);
                Ok(Some(header))
            }
        }
    }

    fn fetch_token(
        &self,
        home: &Address,
        realm: &str,
        service: Option<&str>,
        scope: &Scope,
        wanted: Option<&str>,
        operation: &str,
    ) -> Result<Token> {
        let refuse = |kind: Kind, reason: String| Error::new(kind, operation, reason);
        let mut address = Address::parse(realm)
            .map_err(|reason| refuse(Kind::Corrupt, format!("the registry's token server: {reason}")))?;
        if home.origin.scheme == Scheme::Https && address.origin.scheme == Scheme::Http {
            let reason =
                format!("the registry would have credentials sent to `{}` in the clear", address.origin);
            return Err(refuse(Kind::Corrupt, reason));
        }
        let mut scopes = scope.words(&self.endpoint.repository);
        if scopes.is_empty() {
            scopes.extend(wanted.map(str::to_owned));
        }
        let asked = Instant::now();
        let mut form = String::new();
        let mut headers = vec![(header::ACCEPT, "application/json".to_owned())];
        let (mut authorization, mut method) = (None, Method::GET);
        match &self.authorizer.credentials {
            Some(Credentials::IdentityToken(token)) => {
                method = Method::POST;
                headers.push((header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()));
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("client_id", "rabbitc"),
                    ("service", service.unwrap_or_default()),
                    ("scope", &scopes.join(" ")),
                    ("refresh_token", token),
                ];
                let field = |(name, value): &(&str, &str)| format!("{name}={}", percent_encoded(value));
                form = fields.iter().map(field).collect::<Vec<_>>().join("&");
            }
            other => {
                if let Some(service) = service {
                    address = address.with_parameter("service", service);
                }
                for scope in &scopes {
                    address = address.with_parameter("scope", scope);
                }
                if let Some(Credentials::Password { username, .. }) = other {
                    address =
                        address.with_parameter("account", username).with_parameter("client_id", "rabbitc");
                }
                authorization = other.as_ref().and_then(basic);
            }
        }
        let question = Question {
            method,
            address: &address,
            headers: &headers,
            authorization: authorization.as_deref(),
            patience: Patience::Usual,
        };
        let mut payload = || match form.is_empty() {
            true => Payload::None,
            false => Payload::Bytes(form.as_bytes()),
        };
        let operation = format!("{operation}: ask `{}` for a token", address.origin.authority);
        let answer = self.follow(&question, &mut payload, &operation)?;
        if answer.status != 200 {
            return Err(answer.into_error(&self.endpoint, &operation));
        }
        let corrupt = |reason: &str| Error::new(Kind::Corrupt, &operation, reason);
        let found: TokenAnswer = answer.parse(MOST_TOKEN_BYTES, &operation)?;
        let token = found.token.filter(|token| !token.is_empty()).or(found.access_token);
        let token =
            token.filter(|token| !token.is_empty()).ok_or_else(|| corrupt("there is none in its answer"))?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(corrupt("what it answers with can't be a token"));
        }
        // A tenth less, so that one that ends on the way is no reason for a refusal.
        let life = Duration::from_secs(found.expires_in.unwrap_or(USUAL_LIFE).min(LONGEST_LIFE)).mul_f64(0.9);
        Ok(Token { header: format!("Bearer {token}"), until: asked + life })
    }
}

fn basic(credentials: &Credentials) -> Option<String> {
    match credentials {
        Credentials::Password { username, password } => {
            Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
        }
        Credentials::IdentityToken(_) | Credentials::RegistryToken(_) => None,
    }
}
