//! Files that a person names. Whatever stands there, no more of it is read than is ever meant: a device need not have an
//! end. Must not look into what was read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// The longest JSON document that is read: real ones have some ten kilobytes.
pub const LONGEST_DOCUMENT: u64 = 16 << 20;

/// The longest list of lines, such as one of variables.
pub const LONGEST_LIST: u64 = 1 << 20;

/// Reads a file, which may be a pipe as well, as those that a shell makes for `<(command)`. An error begins with
/// `operation`.
pub fn read(operation: &str, path: &Path, longest: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| Error::at_path(operation, path, error))?;
    read_open(&format!("{operation} `{}`", path.display()), file, longest)
}

/// Reads what is open already.
pub fn read_open(operation: &str, source: impl Read, longest: u64) -> Result<Vec<u8>> {
    // Room for an ordinary one, which thereby is read at once.
    let mut bytes = Vec::with_capacity(8 << 10);
    source.take(longest + 1).read_to_end(&mut bytes).map_err(|error| Error::system(operation, error))?;
    if bytes.len() as u64 > longest {
        let error = Error::invalid(operation, format!("it is longer than {} MiB", longest >> 20));
        return Err(error.with_hint("name a file of ordinary length, and no device without an end"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_is_read_and_longer_ones_and_those_without_an_end_are_refused() {
        let bytes = vec![b' '; (1 << 20) + 1];
        let read_first = |count: usize| read_open("read it", &bytes[..count], 1 << 20);
        assert_eq!(read_first(1 << 20).expect("short enough").len(), 1 << 20);
        let error = read_first((1 << 20) + 1).expect_err("too long");
        assert_eq!(error.to_string(), "read it: it is longer than 1 MiB");
        let error = read("read", Path::new("/dev/zero"), LONGEST_DOCUMENT).expect_err("without an end");
        assert_eq!(error.to_string(), "read `/dev/zero`: it is longer than 16 MiB");
        assert!(error.hint.is_some());
        let error = read("read", Path::new("/none"), LONGEST_LIST).expect_err("missing");
        assert_eq!(error.to_string(), "read `/none`: no such file or directory");
    }
}
