//! What is at an address of HTTP, whoever's: an archive to load or to import. Nobody is told who asks.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use ureq::http::Method;

use super::address::Address;
use super::authorization::Authorizer;
use super::exchange::{Request, Target};
use super::transport::{Patience, Transport};
use super::{Client, Options, Scope, Session};
use crate::error::{Error, Kind, Result};
use crate::registry::{Endpoint, Security};

impl Client {
    /// Begins to fetch what is at `address`. Over TLS it is from whom the address says.
    pub fn page(address: &str, options: Options, operation: &str) -> Result<Box<dyn Read>> {
        let refused = |reason: String| {
            Error::new(Kind::Invalid, operation, reason)
                .with_hint("write it as `https://host.example/file.tar`")
        };
        let address = Address::parse(address).map_err(refused)?;
        let endpoint = Endpoint {
            registry: address.origin.host().to_owned(),
            repository: String::new(),
            security: Security::Verified,
        };
        let session = Arc::new(Session {
            transport: Transport::new(&endpoint, &options),
            authorizer: Authorizer::new(None),
            endpoint,
            options,
            scheme: OnceLock::new(),
        });
        let request = Request {
            method: Method::GET,
            target: Target::Address(&address),
            headers: Vec::new(),
            scope: Scope::Login,
            patience: Patience::Blob,
            expected: &[200],
            operation,
        };
        Ok(Box::new(session.ask(&request, &[])?.into_reader()))
    }
}
