//! How an archive is compressed, told by its first bytes: media types and names of files have been wrong too often. Must not
//! know what an archive has in it.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

/// How many compressed bytes are read at a time: what a pipe holds.
const CHUNK: usize = 64 << 10;
/// The longest distance that zstd may look back, as a power of two: 128 MiB, what its own tool takes without being asked.
const WINDOW: u32 = 27;
/// How many bytes tell one compression from the other.
pub(crate) const TELLING: u64 = 6;

/// An archive as it was before it was compressed.
pub(super) enum Decoder<R: Read> {
    Plain(Begun<R>),
    /// Of any number of members, as tools that compress in parallel write them.
    Gzip(Box<MultiGzDecoder<BufReader<Begun<R>>>>),
    /// Of any number of frames.
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Begun<R>>>>),
}

/// What was read to tell, and the rest.
type Begun<R> = Chain<Cursor<Vec<u8>>, R>;

impl<R: Read> Decoder<R> {
    pub(super) fn new(mut archive: R) -> io::Result<Decoder<R>> {
        let mut begin = Vec::new();
        archive.by_ref().take(TELLING).read_to_end(&mut begin)?;
        let kind = Compression::of(&begin)?;
        let all = Cursor::new(begin).chain(archive);
        Ok(match kind {
            Compression::None => Decoder::Plain(all),
            Compression::Gzip => {
                Decoder::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, all))))
            }
            Compression::Zstd => {
                let buffered = BufReader::with_capacity(CHUNK, all);
                let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
                decoder.window_log_max(WINDOW)?;
                Decoder::Zstd(Box::new(decoder))
            }
        })
    }

    /// What it reads from.
    pub(super) fn source(&self) -> &R {
        match self {
            Decoder::Plain(begun) => begun.get_ref().1,
            Decoder::Gzip(decoder) => decoder.get_ref().get_ref().get_ref().1,
            Decoder::Zstd(decoder) => decoder.get_ref().get_ref().get_ref().1,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Plain(inner) => inner.read(buffer),
            Decoder::Gzip(inner) => inner.read(buffer),
            Decoder::Zstd(inner) => inner.read(buffer),
        }
    }
}

/// How it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Told by the first bytes, [`TELLING`] of them where there are so many.
    pub(crate) fn of(begin: &[u8]) -> io::Result<Compression> {
        let refuse = |name: &str| {
            let reason = format!("it is compressed with {name}, and layers are with gzip or zstd");
            Err(io::Error::new(io::ErrorKind::Unsupported, reason))
        };
        match begin {
            [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
            // A frame, or one with notes of others that decoders pass over (RFC 8878, 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => refuse("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => refuse("xz"),
            _ => Ok(Compression::None),
        }
    }
}
