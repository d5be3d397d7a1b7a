//! Digests of content (image-spec, descriptor.md, "Digests"): parsed once, so that one is never a path or half a number.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use crate::error::{Error, Kind};

/// A function that digests content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// 32 bytes; what everybody uses.
    Sha256,
    /// 64 bytes.
    Sha512,
}

impl Algorithm {
    /// Its name in a digest, and of its directory in a layout.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// The digest of some content: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    digits: String,
}

impl Digest {
    /// The digest of all of `content`.
    pub fn of(content: &[u8]) -> Digest {
        let mut digester = Digester::new(Algorithm::Sha256);
        digester.update(content);
        digester.finish()
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits alone: legal as a file's name.
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// The first twelve digits, as listings show it.
    pub fn short(&self) -> &str {
        &self.digits[..12]
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest, Error> {
        let refuse = |reason: &str| {
            let shown: String = text.chars().take(200).collect();
            Err(Error::new(Kind::Invalid, format!("read the digest `{}`", shown.escape_debug()), reason))
        };
        let Some((name, digits)) = text.split_once(':') else {
            return refuse("it has no algorithm, as `sha256:` before it");
        };
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return refuse("its algorithm is neither sha256 nor sha512"),
        };
        if digits.len() != algorithm.digits()
            || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return refuse(&format!("it takes {} hexadecimal digits in lower case", algorithm.digits()));
        }
        Ok(Digest { algorithm, digits: digits.to_owned() })
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Digest, Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm.name(), self.digits)
    }
}

/// Refuses content that is not what its digest says.
pub(crate) fn check(content: &[u8], digest: &Digest, operation: &str) -> Result<(), Error> {
    let mut digester = Digester::new(digest.algorithm);
    digester.update(content);
    match digester.finish() == *digest {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Corrupt,
            operation,
            format!("what came for `{digest}` is not what its digest says"),
        )),
    }
}

/// Digests content as it comes.
#[derive(Debug, Clone)]
pub struct Digester(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Digester {
    /// One that has seen nothing.
    pub fn new(algorithm: Algorithm) -> Digester {
        Digester(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all that it has seen.
    pub fn finish(self) -> Digest {
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (algorithm, digits) = match self.0 {
            State::Sha256(state) => (Algorithm::Sha256, hexadecimal(&state.finalize())),
            State::Sha512(state) => (Algorithm::Sha512, hexadecimal(&state.finalize())),
        };
        Digest { algorithm, digits }
    }
}

/// Digests and counts what is read through it.
#[derive(Debug)]
pub struct DigestedReader<R> {
    inner: R,
    digester: Digester,
    count: u64,
}

impl<R: Read> DigestedReader<R> {
    /// Around a reader of which nothing has been read.
    pub fn new(inner: R, algorithm: Algorithm) -> DigestedReader<R> {
        DigestedReader { inner, digester: Digester::new(algorithm), count: 0 }
    }

    /// The digest and the number of all bytes that were read.
    pub fn finish(self) -> (Digest, u64) {
        (self.digester.finish(), self.count)
    }
}

impl<R: Read> Read for DigestedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digester.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

/// Digests and counts what is written through it.
#[derive(Debug)]
pub struct DigestedWriter<W> {
    inner: W,
    digester: Digester,
    count: u64,
}

impl<W: Write> DigestedWriter<W> {
    /// Around a writer.
    pub fn new(inner: W, algorithm: Algorithm) -> DigestedWriter<W> {
        DigestedWriter { inner, digester: Digester::new(algorithm), count: 0 }
    }

    /// The writer, and the digest and the number of all bytes that it took.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, self.digester.finish(), self.count)
    }
}

impl<W: Write> Write for DigestedWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.digester.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digest_is_read_whole_or_refused() {
        let digest: Digest = OF_NOTHING.parse().expect("legal");
        assert_eq!((digest.to_string().as_str(), digest.short()), (OF_NOTHING, "e3b0c44298fc"));
        for wrong in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../../etc/passwd",
            "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
            &OF_NOTHING.to_uppercase(),
            &OF_NOTHING.replace("e3b0", "E3B0"),
            &OF_NOTHING[..70],
            &format!("{OF_NOTHING}0"),
            &format!("{OF_NOTHING}\n"),
            &format!(" {OF_NOTHING}"),
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn content_is_digested_as_it_passes() {
        assert_eq!(Digest::of(b"").to_string(), OF_NOTHING);
        let mut reader = DigestedReader::new(&b"abc"[..], Algorithm::Sha256);
        let mut writer = DigestedWriter::new(Vec::new(), Algorithm::Sha512);
        io::copy(&mut reader, &mut writer).expect("in memory");
        let (digest, count) = reader.finish();
        assert_eq!((digest, count), (Digest::of(b"abc"), 3));
        let (bytes, digest, count) = writer.finish();
        assert_eq!((bytes.as_slice(), count), (&b"abc"[..], 3));
        assert!(digest.to_string().starts_with("sha512:ddaf35a193617aba"), "{digest}");
    }
}
