//! What is said to one repository of one registry (distribution-spec 1.1). Nothing that it answers is believed: sizes and
//! digests are checked, every wait and every body has a bound, and credentials go to nobody else.

mod address;
mod answer;
mod authorization;
mod blob;
mod certificates;
mod challenge;
mod exchange;
mod lists;
mod manifest;
mod page;
mod proxies;
mod search;
mod transport;
mod upload;
mod waits;

use std::sync::{Arc, OnceLock};

use self::address::Scheme;
use self::authorization::Authorizer;
use self::transport::Transport;
use super::{Credentials, Endpoint};

pub use self::blob::Blob;
pub use self::certificates::CertificatePlaces;
pub use self::manifest::Fetched;
pub use self::proxies::Proxies;
pub use self::search::SearchResult;
pub use self::upload::Uploaded;
pub use self::waits::Waits;

/// How a client works.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How long and how often it waits.
    pub waits: Waits,
    /// Where certificates are.
    pub certificates: CertificatePlaces,
    /// Which proxies it goes through.
    pub proxies: Proxies,
    /// The most bytes of a blob that are sent with one request, for registries that want it so; nothing sends all at once.
    pub chunk: Option<u64>,
}

/// One repository of a registry. It can be cloned and used by several threads at once: they share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client(Arc<Session>);

#[derive(Debug)]
struct Session {
    endpoint: Endpoint,
    options: Options,
    transport: Transport,
    authorizer: Authorizer,
    /// How the registry speaks, once it is known.
    scheme: OnceLock<Scheme>,
}

/// What one wants to do, as token servers call it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    /// Nothing but to be somebody.
    Login,
    /// To see which repositories there are.
    Catalog,
    /// To read.
    Pull,
    /// To write.
    Push,
    /// To write, and to read from another repository.
    Mount(String),
}

impl Client {
    /// A client that has asked nothing yet.
    pub fn new(endpoint: Endpoint, credentials: Option<Credentials>, options: Options) -> Client {
        Client(Arc::new(Session {
            transport: Transport::new(&endpoint, &options),
            authorizer: Authorizer::new(credentials),
            endpoint,
            options,
            scheme: OnceLock::new(),
        }))
    }

    /// The repository that it speaks of.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.0.endpoint.repository)
    }
}

impl Scope {
    /// As in "Token Scope Documentation" of distribution.
    fn words(&self, repository: &str) -> Vec<String> {
        match self {
            Scope::Login => Vec::new(),
            Scope::Catalog => vec!["registry:catalog:*".to_owned()],
            Scope::Pull => vec![format!("repository:{repository}:pull")],
            Scope::Push => vec![format!("repository:{repository}:pull,push")],
            Scope::Mount(other) => {
                vec![format!("repository:{repository}:pull,push"), format!("repository:{other}:pull")]
            }
        }
    }
}
