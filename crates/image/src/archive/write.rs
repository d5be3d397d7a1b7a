//! Where files of an image are written to: a tar archive, or a directory. The same files make the same archive.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::unpack::stream::BLOCK;

/// The longest name that a header has room for.
const LONGEST_NAME: usize = 100;
/// The first size that a header has no room for: eleven octal digits.
const TOO_LARGE: u64 = 1 << 33;
const CHUNK: usize = 128 << 10;

/// Takes the files of images.
pub(super) trait Target {
    /// Writes a file of `size` bytes; one that has others is an error.
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()>;
    /// Nothing follows.
    fn finish(&mut self) -> io::Result<()>;
}

/// A tar archive (POSIX ustar, with a pax header where that has no room).
pub(super) struct Tar<W>(pub(super) W);

impl<W: Write> Tar<W> {
    fn header(&mut self, name: &str, size: u64, flag: u8) -> io::Result<()> {
        let mut block = [0u8; BLOCK];
        let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, &name[..name.len().min(LONGEST_NAME)]);
        put(100, "0000444\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", if size < TOO_LARGE { size } else { 0 }));
        // All are of 1970, so that an image is the same archive whenever it is saved.
        put(136, "00000000000\0");
        put(148, "        ");
        put(257, "ustar\x0000");
        block[156] = flag;
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.write_all(&block)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        self.0.write_all(&[0; BLOCK][..padding as usize])
    }

    /// What the header of the next file has no room for.
    fn extended(&mut self, name: &str, size: u64) -> io::Result<()> {
        let mut records = String::new();
        if name.len() > LONGEST_NAME {
            records.push_str(&record("path", name));
        }
        if size >= TOO_LARGE {
            records.push_str(&record("size", &size.to_string()));
        }
        if records.is_empty() {
            return Ok(());
        }
        self.header("pax", records.len() as u64, b'x')?;
        self.0.write_all(records.as_bytes())?;
        self.pad(records.len() as u64)
    }
}

/// A record of an extended header: its own length is part of it.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let length =
        (rest + 1..).find(|length| length.to_string().len() + rest == *length).expect("there is one");
    format!("{length} {key}={value}\n")
}

impl<W: Write> Target for Tar<W> {
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        self.extended(name, size)?;
        self.header(name, size, b'0')?;
        copy(content, &mut self.0, size)?;
        self.pad(size)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        self.0.flush()
    }
}

/// A directory.
pub(super) struct Directory(pub(super) PathBuf);

impl Target for Directory {
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let path = self.0.join(name);
        let above = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o755).create(above)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path)?;
        copy(content, &mut file, size)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn copy(content: &mut dyn Read, output: &mut dyn Write, size: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut left = size;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        left = left.checked_sub(count).ok_or(io::ErrorKind::InvalidData)?;
        output.write_all(&buffer[..count as usize])?;
    }
    match left {
        0 => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
