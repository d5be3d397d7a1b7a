//! A registry as a source of an image.

use std::io::{self, Read};

use ureq::http::{StatusCode, header};

use super::{Client, bounded};
use crate::digest;
use crate::documents::{Descriptor, MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, media_type};
use crate::error::{Error, Kind, Result};
use crate::reference::Reference;
use crate::store::Source;

/// How often a blob whose connection broke is taken up again.
const MOST_RESUMES: u32 = 5;

/// An image in a registry.
#[derive(Debug)]
pub struct Remote {
    client: Client,
    reference: Reference,
    operation: String,
}

impl Remote {
    /// The image that `reference` names; errors begin with `operation`.
    pub fn new(client: Client, reference: Reference, operation: impl Into<String>) -> Remote {
        Remote { client, reference, operation: operation.into() }
    }

    fn manifest(&self, wanted: &str) -> Result<(Vec<u8>, Option<String>)> {
        let accept = media_type::MANIFESTS.join(", ");
        let answer = self.client.get(&format!("manifests/{wanted}"), &accept, 0, &self.operation)?;
        let kind = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok((bounded(answer, MOST_MANIFEST_BYTES as u64, &self.operation)?, kind))
    }
}

impl Source for Remote {
    fn named(&self) -> Result<(Vec<u8>, Option<String>)> {
        let (text, kind) = self.manifest(&self.reference.wanted())?;
        if let Some(digest) = &self.reference.digest {
            digest::check(&text, digest, &self.operation)?;
        }
        Ok((text, kind))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = descriptor.digest.to_string();
        if media_type::MANIFESTS.contains(&descriptor.media_type.as_str()) {
            return self.manifest(&digest).map(|(text, _)| text);
        }
        let answer = self.client.get(&format!("blobs/{digest}"), "*/*", 0, &self.operation)?;
        bounded(answer, MOST_CONFIG_BYTES as u64, &self.operation)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        let mut blob = Blob {
            remote: self,
            path: format!("blobs/{}", descriptor.digest),
            size: descriptor.size,
            read: 0,
            body: Box::new(io::empty()),
            end: None,
            resumes: 0,
        };
        blob.open()?;
        Ok(Box::new(blob))
    }
}

/// The bytes of a blob, over as many connections as it takes.
struct Blob<'a> {
    remote: &'a Remote,
    path: String,
    size: u64,
    read: u64,
    body: Box<dyn Read + Send>,
    /// Where what this connection brings ends, by the registry's word.
    end: Option<u64>,
    resumes: u32,
}

impl Blob<'_> {
    /// Opens a connection that goes on where the last one ended.
    fn open(&mut self) -> Result<()> {
        let Remote { client, operation, .. } = self.remote;
        let answer = client.get(&self.path, "*/*", self.read, operation)?;
        let goes_on =
            self.read == 0 || answer.status() == StatusCode::PARTIAL_CONTENT && self.is_from(&answer);
        match goes_on {
            true => {
                self.end = answer.body().content_length().map(|length| self.read + length);
                self.body = Box::new(answer.into_body().into_reader());
                Ok(())
            }
            false => {
                let reason = format!(
                    "`{}` broke off after {} bytes, and the registry only begins anew",
                    self.path, self.read
                );
                Err(Error::new(Kind::Remote, operation, reason))
            }
        }
    }

    fn is_from(&self, answer: &ureq::http::Response<ureq::Body>) -> bool {
        let range = answer.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        range.is_none_or(|range| range.starts_with(&format!("bytes {}-", self.read)))
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let cause = match self.body.read(buffer) {
                // Where it is longer than it should be, whoever reads sees to that.
                Ok(0) if self.read >= self.size => return Ok(0),
                // It broke nothing off: the registry has no more.
                Ok(0) if self.end == Some(self.read) => return Ok(0),
                Ok(0) => None,
                Ok(count) => {
                    self.read += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Some(error),
            };
            if self.resumes == MOST_RESUMES {
                // Its end, where it said nothing else: it is too short then.
                return cause.map_or(Ok(0), Err);
            }
            self.resumes += 1;
            self.open().map_err(io::Error::other)?;
        }
    }
}
