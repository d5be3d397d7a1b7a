//! Blobs of a repository (distribution-spec, "Pulling blobs"). A connection that breaks, stalls or brings next to nothing is
//! taken up again where it was, and what is shorter or longer than it should be never ends as if it were not. Must not compute
//! digests: whoever reads does, on the way to where it keeps the bytes.

use std::fmt;
use std::io::{self, Read};
use std::thread;
use std::time::Instant;

use ureq::BodyReader;
use ureq::http::{Method, header};

use super::answer::Answer;
use super::exchange::{Request, Target};
use super::transport::{Failure, Patience};
use super::waits::Pace;
use super::{Client, Scope};
use crate::documents::Descriptor;
use crate::error::{Error, Kind, Result};

/// How often it is taken up again without having come further by [`PROGRESS`].
const MOST_RESUMES: u32 = 5;
/// What counts as having come further.
const PROGRESS: u64 = 1 << 20;

/// A blob on its way. Every error is one of this crate's ([`Error::from_io`]).
pub struct Blob {
    client: Client,
    descriptor: Descriptor,
    operation: String,
    body: Option<BodyReader<'static>>,
    /// Bytes that were handed out.
    done: u64,
    ended: bool,
    resumes: u32,
    /// Where it was taken up last.
    resumed_at: u64,
    pace: Pace,
    /// Why it can't be had: whoever reads on must not take that for an end.
    failed: Option<Error>,
}

impl Client {
    /// Begins to fetch a blob.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Blob> {
        let mut blob = Blob {
            operation: self.about("fetch a blob", &descriptor.digest.to_string()),
            client: self.clone(),
            descriptor: descriptor.clone(),
            body: None,
            done: 0,
            ended: false,
            resumes: 0,
            resumed_at: 0,
            pace: Pace::default(),
            failed: None,
        };
        blob.body = Some(blob.open()?);
        Ok(blob)
    }
}

impl Blob {
    fn open(&self) -> Result<BodyReader<'static>> {
        let mut headers = Vec::new();
        if self.done > 0 {
            headers.push((header::RANGE, format!("bytes={}-", self.done)));
        }
        let request = Request {
            method: Method::GET,
            target: Target::Path(&self.client.path(&format!("blobs/{}", self.descriptor.digest))),
            headers,
            scope: Scope::Pull,
            patience: Patience::Blob,
            expected: if self.done > 0 { &[200, 206] } else { &[200] },
            operation: &self.operation,
        };
        // Whoever has the manifest knows the name: what is missing is no secret either.
        let answer = self.client.0.ask(&request, &[]).map_err(|error| match error.kind {
            Kind::NotFound => {
                error.with_hint("its registry has lost a part of the image: have it pushed anew")
            }
            _ => error,
        })?;
        if self.done > 0 {
            self.check_range(&answer)?;
        }
        let (left, size) = (self.descriptor.size - self.done, self.descriptor.size);
        match answer.length().filter(|length| *length != left) {
            None => Ok(answer.into_reader()),
            Some(length) => {
                let whole = length.saturating_add(self.done);
                Err(self.corrupt(format!("it should have {size} bytes, and the registry has {whole}")))
            }
        }
    }

    fn check_range(&self, answer: &Answer) -> Result<()> {
        let (done, size) = (self.done, self.descriptor.size);
        let said = answer.header(header::CONTENT_RANGE).unwrap_or_default();
        let range = said.strip_prefix("bytes ").and_then(|range| range.split_once('/'));
        let fits = range.is_some_and(|(range, whole)| {
            range.split('-').next().and_then(|from| from.trim().parse().ok()) == Some(done)
                && (whole == "*" || whole.parse() == Ok(size))
        });
        match answer.status == 206 && fits {
            true => Ok(()),
            false => {
                let reason = format!(
                    "the connection broke after {done} of {size} bytes, and the registry can't go on from there"
                );
                Err(Error::new(Kind::Remote, &self.operation, reason))
            }
        }
    }

    fn read_on(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let size = self.descriptor.size;
        loop {
            let left = size - self.done;
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if left == 0 {
                self.finish()?;
                return Ok(0);
            }
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.resume()?,
            };
            let begun = Instant::now();
            let count = match body.read(&mut buffer[..most]) {
                Ok(0) => {
                    self.break_off("it ended early")?;
                    continue;
                }
                Ok(count) => count,
                Err(error) => {
                    self.break_off(Failure::of_body(error).reason())?;
                    continue;
                }
            };
            self.body = Some(body);
            self.done += count as u64;
            let waits = &self.client.0.options.waits;
            if self.done < size && self.pace.is_too_slow(begun.elapsed(), count as u64, waits) {
                // What it brought is as good as any.
                self.break_off("it brings next to nothing")?;
            }
            return Ok(count);
        }
    }

    /// Gives the connection up, unless that was too often.
    fn break_off(&mut self, reason: &str) -> Result<()> {
        self.body = None;
        self.pace = Pace::default();
        if self.done - self.resumed_at >= PROGRESS {
            self.resumes = 0;
        }
        self.resumed_at = self.done;
        if self.resumes >= MOST_RESUMES {
            let reason = format!(
                "{reason}, after {} of {} bytes and {MOST_RESUMES} attempts to go on",
                self.done, self.descriptor.size
            );
            return Err(Error::new(Kind::Remote, &self.operation, reason));
        }
        self.resumes += 1;
        Ok(())
    }

    fn resume(&self) -> Result<BodyReader<'static>> {
        thread::sleep(self.client.0.options.waits.before(self.resumes.saturating_sub(1)));
        self.open()
    }

    /// At the size that it should have: is it the end?
    fn finish(&mut self) -> Result<()> {
        self.ended = true;
        // A connection that breaks here has brought all.
        let more = self.body.take().map(|mut body| body.read(&mut [0]));
        match more {
            Some(Ok(1..)) => {
                Err(self
                    .corrupt(format!("it should have {} bytes, and there are more", self.descriptor.size)))
            }
            _ => Ok(()),
        }
    }

    fn corrupt(&self, reason: String) -> Error {
        Error::new(Kind::Corrupt, &self.operation, reason)
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        if buffer.is_empty() || self.ended {
            return Ok(0);
        }
        Ok(self.read_on(buffer).inspect_err(|error| self.failed = Some(error.clone()))?)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Blob");
        shown.field("descriptor", &self.descriptor).field("done", &self.done).finish_non_exhaustive()
    }
}
