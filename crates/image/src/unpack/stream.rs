//! The bytes of an archive before compression, one after the other: digested, counted and bounded as they come. Must not know
//! what they mean.

use std::io::{self, Read};

use super::Limits;
use super::compression::Decoder;
use super::fault::{Fault, Outcome};
use crate::digest::{Algorithm, Digest, Digester};

/// How much is decompressed, digested and written at a time.
const CHUNK: usize = 128 << 10;
/// The unit of tar archives.
pub(crate) const BLOCK: usize = 512;

/// An archive that is being read.
pub(crate) struct Stream<R: Read> {
    decoder: Decoder<Counted<R>>,
    /// None where nobody asks for the digest.
    digester: Option<Digester>,
    buffer: Box<[u8]>,
    /// What is in the buffer and was not taken yet.
    start: usize,
    end: usize,
    /// Bytes that came out of the decoder.
    given: u64,
    limits: Limits,
}

impl<R: Read> Stream<R> {
    pub(crate) fn new(archive: R, limits: Limits) -> Outcome<Stream<R>> {
        let counted = Counted { inner: archive, count: 0 };
        Ok(Stream {
            decoder: Decoder::new(counted).map_err(|error| Fault::reading(&error))?,
            digester: Some(Digester::new(Algorithm::Sha256)),
            buffer: vec![0; CHUNK].into_boxed_slice(),
            start: 0,
            end: 0,
            given: 0,
            limits,
        })
    }

    /// The same without a digest.
    pub(super) fn undigested(archive: R, limits: Limits) -> Outcome<Stream<R>> {
        Ok(Stream { digester: None, ..Stream::new(archive, limits)? })
    }

    /// The next bytes, as many as are at hand and at most `most`; none at the end.
    pub(crate) fn some(&mut self, most: u64) -> Outcome<&[u8]> {
        if self.start == self.end {
            self.fill()?;
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.end - self.start);
        let from = self.start;
        self.start += length;
        Ok(&self.buffer[from..self.start])
    }

    /// The next block; none where the archive ends before it.
    pub(super) fn block(&mut self) -> Outcome<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let some = self.some((BLOCK - filled) as u64)?;
            match some.len() {
                0 if filled == 0 => return Ok(None),
                0 => return Err(Fault::corrupt("the archive is cut off")),
                length => block[filled..filled + length].copy_from_slice(some),
            }
            filled += some.len();
        }
        Ok(Some(block))
    }

    /// Passes over bytes that must be there.
    pub(super) fn skip(&mut self, mut count: u64) -> Outcome<()> {
        while count > 0 {
            let length = self.some(count)?.len() as u64;
            if length == 0 {
                return Err(Fault::corrupt("the archive is cut off"));
            }
            count -= length;
        }
        Ok(())
    }

    /// Reads what is left, at most `most` bytes: it belongs to the digest, whatever it is.
    pub(crate) fn finish(mut self, most: u64) -> Outcome<(Digest, u64)> {
        self.skip_trailing(most)?;
        let digester = self.digester.expect("whoever asks for the digest has it made");
        Ok((digester.finish(), self.given))
    }

    /// Reads what is left, at most `most` bytes.
    pub(super) fn skip_trailing(&mut self, most: u64) -> Outcome<()> {
        let mut left = most;
        loop {
            let length = self.some(u64::MAX)?.len() as u64;
            if length == 0 {
                return Ok(());
            }
            left = left.checked_sub(length).ok_or_else(|| {
                Fault::too_much(format!("more than {most} bytes follow the end of the archive"))
            })?;
        }
    }

    fn fill(&mut self) -> Outcome<()> {
        let count = loop {
            match self.decoder.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| Fault::reading(&error))?,
            }
        };
        (self.start, self.end) = (0, count);
        if let Some(digester) = &mut self.digester {
            digester.update(&self.buffer[..count]);
        }
        self.given += count as u64;
        let Limits { bytes, ratio, ratio_from, .. } = self.limits;
        if self.given > bytes {
            return Err(Fault::too_much(format!("the archive has more than {bytes} bytes")));
        }
        let taken = self.decoder.source().count.max(1);
        if self.given > ratio_from && self.given / taken > ratio {
            return Err(Fault::too_much(format!(
                "the archive grows to more than {ratio} times its size, as those do that are meant to fill a disk"
            )));
        }
        Ok(())
    }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}
