//! Blobs into a repository (distribution-spec, "Pushing blobs"): not at all where it has them, from another repository of the
//! registry where that has them, else in one piece or several.

use std::io::{self, Read};
use std::thread;
use std::time::Instant;

use ureq::http::{HeaderName, Method, header};

use super::address::{Address, percent_encoded};
use super::answer::Answer;
use super::exchange::{Request, Target, redirected};
use super::manifest::said_digest;
use super::transport::{Patience, Payload};
use super::waits::{Pace, Waits};
use super::{Client, Scope};
use crate::documents::Descriptor;
use crate::error::{Error, Kind, Result};

/// How often an upload is begun from the start.
const MOST_UPLOADS: u32 = 3;

/// How a blob came to be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    Existed,
    /// It was in the other repository.
    Mounted,
    /// It was sent.
    Sent,
}

impl Client {
    /// Sees to it that the repository has a blob. `from` is another repository of the same registry that may have it; `open`
    /// gives the blob from its start, and is called again where a connection broke.
    pub fn push_blob<R: Read>(
        &self,
        descriptor: &Descriptor,
        from: Option<&str>,
        mut open: impl FnMut() -> io::Result<R>,
    ) -> Result<Uploaded> {
        let operation = self.about("push a blob", &descriptor.digest.to_string());
        if self.has_blob(descriptor, &operation)? {
            return Ok(Uploaded::Existed);
        }
        let mut number = 0;
        loop {
            let from = from.filter(|_| number == 0);
            let begun = match self.begin(descriptor, from, &operation) {
                // Who may not read the other repository, or whose registry knows of no such thing, can send it still.
                Err(error) if from.is_some() && is_refusal(error.kind) => {
                    self.begin(descriptor, None, &operation)
                }
                begun => begun,
            };
            let Some(location) = begun? else { return Ok(Uploaded::Mounted) };
            let reader = open().map_err(|error| Error::from_io(format!("{operation}: open it"), error))?;
            match self.send(descriptor, location, reader, &operation) {
                Ok(()) => return Ok(Uploaded::Sent),
                // Of what was sent to nobody more than that is known: it begins anew.
                Err(error)
                    if matches!(error.kind, Kind::Remote | Kind::TooMuch) && number + 1 < MOST_UPLOADS =>
                {
                    thread::sleep(self.0.options.waits.before(number));
                    number += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the repository has a blob.
    pub fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        self.has_blob(descriptor, &self.about("look for a blob", &descriptor.digest.to_string()))
    }

    fn has_blob(&self, descriptor: &Descriptor, operation: &str) -> Result<bool> {
        let request = Request {
            method: Method::HEAD,
            target: Target::Path(&self.path(&format!("blobs/{}", descriptor.digest))),
            headers: Vec::new(),
            // It is asked before a push, and one token does for both.
            scope: Scope::Push,
            patience: Patience::Usual,
            expected: &[200, 404],
            operation,
        };
        Ok(self.0.ask(&request, &[])?.status == 200)
    }

    /// The address to send it to; nothing where it is there by now.
    fn begin(&self, descriptor: &Descriptor, from: Option<&str>, operation: &str) -> Result<Option<Address>> {
        let mut path = self.path("blobs/uploads/");
        let mut scope = Scope::Push;
        if let Some(from) = from {
            path = format!(
                "{path}?mount={}&from={}",
                percent_encoded(&descriptor.digest.to_string()),
                percent_encoded(from)
            );
            scope = Scope::Mount(from.to_owned());
        }
        let request = Request {
            method: Method::POST,
            target: Target::Path(&path),
            headers: Vec::new(),
            scope,
            patience: Patience::Usual,
            expected: &[201, 202],
            operation,
        };
        let answer = self.0.ask(&request, &[])?;
        match answer.status {
            201 => Ok(None),
            _ => location(&answer, operation).map(Some),
        }
    }

    fn send(
        &self,
        descriptor: &Descriptor,
        mut to: Address,
        reader: impl Read,
        operation: &str,
    ) -> Result<()> {
        let size = descriptor.size;
        let waits = &self.0.options.waits;
        let mut source =
            Source { inner: reader, operation, left: size, waits, pace: Pace::default(), handed_out: None };
        let chunk = self.0.options.chunk.unwrap_or(u64::MAX).max(1);
        let mut done = 0;
        while done < size {
            let length = chunk.min(size - done);
            let mut headers = vec![(header::CONTENT_TYPE, "application/octet-stream".to_owned())];
            if length < size {
                headers.push((header::CONTENT_RANGE, format!("{done}-{}", done + length - 1)));
            }
            let request = self.upload(Method::PATCH, &to, headers, Patience::Commit, &[202], operation);
            let mut part = (&mut source).take(length);
            let answer = self.0.send_once(&request, Payload::Reader(&mut part, length))?;
            let next = location(&answer, operation)?;
            to = next;
            done += length;
        }
        let last = to.with_parameter("digest", &descriptor.digest.to_string());
        let request = self.upload(Method::PUT, &last, Vec::new(), Patience::Commit, &[201], operation);
        let answer = self.0.ask(&request, &[])?;
        match said_digest(&answer)
            .filter(|said| said.algorithm() == descriptor.digest.algorithm() && *said != descriptor.digest)
        {
            None => Ok(()),
            Some(said) => {
                Err(Error::new(Kind::Corrupt, operation, format!("the registry has kept `{said}`")))
            }
        }
    }

    fn upload<'a>(
        &self,
        method: Method,
        to: &'a Address,
        headers: Vec<(HeaderName, String)>,
        patience: Patience,
        expected: &'a [u16],
        operation: &'a str,
    ) -> Request<'a> {
        let target = Target::Address(to);
        Request { method, target, headers, scope: Scope::Push, patience, expected, operation }
    }
}

/// Whether the same may be granted where less is asked for.
fn is_refusal(kind: Kind) -> bool {
    matches!(kind, Kind::Unauthorized | Kind::NotFound | Kind::Invalid | Kind::Unsupported)
}

/// Where an upload goes on.
fn location(answer: &Answer, operation: &str) -> Result<Address> {
    let refuse = |reason: String| {
        let reason = format!("`{}` does not say where the upload goes on: {reason}", answer.address.origin);
        Error::new(Kind::Corrupt, operation, reason)
    };
    let said = answer.header(header::LOCATION).ok_or_else(|| refuse("no `Location`".to_owned()))?;
    redirected(&answer.address, said).map_err(refuse)
}

/// The blob, with an error of its own where it ends early: half a request would be blamed on the registry. And it is who sees
/// that the registry takes next to nothing.
struct Source<'a, R> {
    inner: R,
    operation: &'a str,
    left: u64,
    waits: &'a Waits,
    pace: Pace,
    /// The last bytes: when, and how many.
    handed_out: Option<(Instant, u64)>,
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some((then, bytes)) = self.handed_out.take()
            && self.pace.is_too_slow(then.elapsed(), bytes, self.waits)
        {
            return Err(Error::new(Kind::Remote, self.operation, "the registry takes next to nothing").into());
        }
        let own = |error| io::Error::from(Error::from_io(format!("{}: read it", self.operation), error));
        let count = match self.inner.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            read => read.map_err(own)?,
        };
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            let reason = format!("it ends {} bytes before the size that it should have", self.left);
            return Err(Error::new(Kind::Corrupt, self.operation, reason).into());
        }
        self.left = self.left.saturating_sub(count as u64);
        self.handed_out = Some((Instant::now(), count as u64));
        Ok(count)
    }
}
