//! Manifests and indexes of a repository, and whether it is there for us at all (distribution-spec, "Pulling manifests",
//! "Pushing Manifests", "Determining Support").

use ureq::http::{HeaderName, Method, header};

use super::answer::Answer;
use super::exchange::{Request, Target};
use super::transport::Patience;
use super::{Client, Scope};
use crate::digest::{Digest, Digester};
use crate::documents::{MOST_MANIFEST_BYTES, media_type};
use crate::error::{Error, Kind, Result};

/// The digest of what is sent or was received.
pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A manifest or an index as the registry has it, checked against its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// Its type, by the registry.
    pub media_type: Option<String>,
}

impl Client {
    /// Fetches what a tag stands for or what has a digest. `wanted` is [`crate::Reference::wanted`].
    pub fn manifest(&self, wanted: &str) -> Result<Fetched> {
        let operation = self.about("fetch the manifest", wanted);
        let answer = self.ask_for_manifest(Method::GET, wanted, &[200], &operation)?;
        let media_type = answer.header(header::CONTENT_TYPE).map(str::to_owned);
        let said = said_digest(&answer);
        let bytes = answer.read(MOST_MANIFEST_BYTES as u64, &operation)?;
        // A digest that was asked for counts, whatever the registry says of one.
        let expected = wanted.parse::<Digest>().ok().or(said);
        let digest = match &expected {
            None => Digest::of(&bytes),
            Some(expected) => {
                let mut digester = Digester::new(expected.algorithm());
                digester.update(&bytes);
                digester.finish()
            }
        };
        match expected.filter(|expected| *expected != digest) {
            None => Ok(Fetched { bytes, digest, media_type }),
            Some(expected) => {
                let reason = format!("it should be `{expected}`, and what came is `{digest}`");
                Err(Error::new(Kind::Corrupt, operation, reason))
            }
        }
    }

    /// The digest that a tag stands for, without its manifest where the registry says it so; nothing where there is no such
    /// tag.
    pub fn digest_of(&self, wanted: &str) -> Result<Option<Digest>> {
        let operation = self.about("look for the manifest", wanted);
        let answer = self.ask_for_manifest(Method::HEAD, wanted, &[200, 404], &operation)?;
        match (answer.status, said_digest(&answer)) {
            (404, _) => Ok(None),
            (_, Some(digest)) => Ok(Some(digest)),
            (_, None) => Ok(Some(self.manifest(wanted)?.digest)),
        }
    }

    /// Puts a manifest or an index under a tag or its digest; all that it names must be there before.
    pub fn put_manifest(&self, wanted: &str, media_type: &str, bytes: &[u8]) -> Result<Digest> {
        let operation = self.about("push the manifest", wanted);
        let request = Request {
            method: Method::PUT,
            target: Target::Path(&self.path(&format!("manifests/{wanted}"))),
            headers: vec![(header::CONTENT_TYPE, media_type.to_owned())],
            scope: Scope::Push,
            patience: Patience::Commit,
            expected: &[201],
            operation: &operation,
        };
        let answer = self.0.ask(&request, bytes)?;
        let digest = Digest::of(bytes);
        match said_digest(&answer).filter(|said| said.algorithm() == digest.algorithm() && *said != digest) {
            None => Ok(digest),
            Some(said) => {
                let reason = format!("it is `{digest}`, and the registry has kept `{said}`");
                Err(Error::new(Kind::Corrupt, operation, reason))
            }
        }
    }

    /// Whether the registry is one and takes the credentials.
    pub fn log_in(&self) -> Result<()> {
        let operation = format!("log in to `{}`", self.0.endpoint.registry);
        let request = Request {
            method: Method::GET,
            target: Target::Path("/v2/"),
            headers: Vec::new(),
            scope: Scope::Login,
            patience: Patience::Usual,
            expected: &[200],
            operation: &operation,
        };
        self.0.ask(&request, &[]).map(drop)
    }

    fn ask_for_manifest(
        &self,
        method: Method,
        wanted: &str,
        expected: &[u16],
        operation: &str,
    ) -> Result<Answer> {
        let request = Request {
            method,
            target: Target::Path(&self.path(&format!("manifests/{wanted}"))),
            headers: vec![(header::ACCEPT, media_type::MANIFESTS.join(", "))],
            scope: Scope::Pull,
            patience: Patience::Usual,
            expected,
            operation,
        };
        self.0.ask(&request, &[])
    }

    /// ``fetch the manifest of `docker.io/library/alpine:3` ``.
    pub(super) fn about(&self, verb: &str, wanted: &str) -> String {
        let separator = if wanted.contains(':') { '@' } else { ':' };
        format!("{verb} of `{}{separator}{wanted}`", self.0.endpoint.name())
    }
}

/// The digest that a registry says, if it is one.
pub(super) fn said_digest(answer: &Answer) -> Option<Digest> {
    answer.header(DOCKER_CONTENT_DIGEST).and_then(|text| text.parse().ok())
}
