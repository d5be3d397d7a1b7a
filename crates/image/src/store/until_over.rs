//! Bytes that break off once a pull is over, as it has failed elsewhere.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Source;
use crate::documents::Descriptor;
use crate::error::Result;

/// A source, until a pull is over.
pub(super) struct UntilOver<'a> {
    source: &'a dyn Source,
    is_over: &'a AtomicBool,
}

/// What it has.
pub(super) struct Bytes<'a, R> {
    bytes: R,
    is_over: &'a AtomicBool,
}

impl<'a> UntilOver<'a> {
    pub(super) fn new(source: &'a dyn Source, is_over: &'a AtomicBool) -> UntilOver<'a> {
        UntilOver { source, is_over }
    }

    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<impl Read> {
        Ok(self.until_over(self.source.blob(descriptor)?))
    }

    pub(super) fn until_over<R: Read>(&self, bytes: R) -> Bytes<'a, R> {
        Bytes { bytes, is_over: self.is_over }
    }
}

impl<R: Read> Read for Bytes<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.is_over.load(Ordering::Relaxed) {
            false => self.bytes.read(buffer),
            // Nobody sees it: the pull's error is the first.
            true => Err(io::Error::other("another layer has failed")),
        }
    }
}
