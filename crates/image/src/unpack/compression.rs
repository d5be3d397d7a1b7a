//! How an archive is compressed, told by its first bytes: media types and names of files have been wrong too often.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// How much is read at a time.
const CHUNK: usize = 64 << 10;
/// The longest distance that zstd may look back, as a power of two: what its own tool takes without being asked.
const WINDOW: u32 = 27;

/// An archive as it was before compression.
pub(super) enum Decoder<R: Read> {
    Plain(BufReader<R>),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<R>>>),
}

impl<R: Read> Decoder<R> {
    pub(super) fn new(archive: R) -> io::Result<Decoder<R>> {
        let mut buffered = BufReader::with_capacity(CHUNK, archive);
        // A pipe may give less at first than tells; no archive begins with less than a header's first bytes.
        let begin = buffered.fill_buf()?;
        Ok(match begin {
            [0x1f, 0x8b, ..] => Decoder::Gzip(Box::new(MultiGzDecoder::new(buffered))),
            // A frame, or one that is skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
                decoder.window_log_max(WINDOW)?;
                Decoder::Zstd(Box::new(decoder))
            }
            [b'B', b'Z', b'h', ..] => return Err(unknown("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(unknown("xz")),
            _ => Decoder::Plain(buffered),
        })
    }
}

fn unknown(name: &str) -> io::Error {
    io::Error::other(format!("it is compressed with {name}, which layers are not: gzip and zstd are read"))
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
