//! Archives that can be read only once, or are compressed as a whole: brought to a file of the store's, decompressed. An ordinary
//! archive is used where it is.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;

use crate::error::{Error, Kind, Result};
use crate::store::Store;
use crate::unpack::Limits;
use crate::unpack::compression::{Compression, TELLING};
use crate::unpack::stream::Stream;

/// The archive, not compressed, in a file that can be read anywhere.
pub(super) fn plain(mut input: File, store: &Store, operation: &str) -> Result<File> {
    let failed = |error: std::io::Error| Error::system(operation, error);
    if is_seekable(&mut input).map_err(failed)? {
        let mut begin = [0; TELLING as usize];
        let count = input.read_at(&mut begin, 0).map_err(failed)?;
        if count == 0 {
            return Err(empty(operation));
        }
        if matches!(Compression::of(&begin[..count]), Ok(Compression::None)) {
            return Ok(input);
        }
    }
    let mut file = store.spool()?;
    let during = |fault: crate::unpack::fault::Fault| fault.during(operation);
    let mut stream = Stream::new(input, Limits::default()).map_err(|fault| with_way_out(during(fault)))?;
    let mut count = 0;
    loop {
        let some = stream.some(u64::MAX).map_err(during)?;
        if some.is_empty() {
            break;
        }
        count += some.len();
        file.write_all(some).map_err(failed)?;
    }
    match count {
        0 => Err(empty(operation)),
        _ => Ok(file),
    }
}

/// The bytes as they are, in a file that can be read anywhere.
pub(super) fn raw(mut input: File, store: &Store, operation: &str) -> Result<File> {
    let failed = |error: std::io::Error| Error::system(operation, error);
    if is_seekable(&mut input).map_err(failed)? {
        return Ok(input);
    }
    let mut file = store.spool()?;
    let most = Limits::default().bytes;
    let count = std::io::copy(&mut input.take(most + 1), &mut file).map_err(failed)?;
    match count > most {
        false => Ok(file),
        true => Err(Error::new(Kind::TooMuch, operation, format!("it is longer than {most} bytes"))),
    }
}

/// Whether it is a file of which nothing was read yet.
fn is_seekable(input: &mut File) -> std::io::Result<bool> {
    Ok(input.metadata()?.is_file() && input.stream_position()? == 0)
}

fn empty(operation: &str) -> Error {
    Error::new(Kind::Corrupt, operation, "there is nothing in it")
}

/// What is compressed otherwise, other programs can decompress.
fn with_way_out(error: Error) -> Error {
    match error.kind {
        Kind::Unsupported => error
            .with_hint("decompress it before: `xz -dc FILE | rabbitc load`, `bzip2 -dc FILE | rabbitc load`"),
        _ => error,
    }
}
