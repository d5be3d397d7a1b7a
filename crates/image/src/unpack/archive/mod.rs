//! The entries of a tar archive, as they are meant, whatever headers it took to say so (POSIX ustar and pax, GNU, star and
//! version 7). Where readers differ, Go's decide, as docker and podman use them. Must not write anything.
//!
//! Read here and not by a crate: those keep extended headers of any size in memory, and know no holes in pax's form.

pub(crate) mod header;
pub(crate) mod pax;
mod sparse;

use std::collections::BTreeMap;
use std::io::Read;

use self::header::Header;
use self::pax::Records;
pub(super) use self::sparse::Piece;
use super::Limits;
use super::fault::{Fault, Outcome};
use super::stream::{BLOCK, Stream};
use crate::digest::Digest;

/// The most bytes of one extended header or long name.
pub(crate) const MOST_HEADER_BYTES: u64 = 1 << 20;
/// The most bytes after the end of the archive; tools pad to some kilobytes.
const MOST_TRAILING_BYTES: u64 = 64 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    HardLink,
    SymbolicLink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// A time as entries have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Time {
    pub(super) seconds: i64,
    /// Below 1,000,000,000, also where the seconds are negative.
    pub(super) nanoseconds: u32,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: EntryKind,
    /// Its path as the archive has it.
    pub(super) name: Vec<u8>,
    /// What a link leads to, as the archive has it.
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) time: Time,
    pub(super) device: (u32, u32),
    /// Extended attributes.
    pub(super) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of the file, with its holes.
    pub(super) size: u64,
    /// Where its bytes belong, if it has holes.
    pub(super) pieces: Option<Vec<Piece>>,
}

/// An archive that is being read.
pub(super) struct Archive<R: Read> {
    stream: Stream<R>,
    /// Bytes of the current entry that were not taken.
    content: u64,
    /// Bytes after them, up to a whole block.
    padding: u64,
    /// Headers that may still come.
    left: u64,
    limits: Limits,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(archive: R, limits: Limits) -> Outcome<Archive<R>> {
        Ok(Archive::of(Stream::new(archive, limits)?, limits))
    }

    /// The same without a digest.
    pub(super) fn undigested(archive: R, limits: Limits) -> Outcome<Archive<R>> {
        Ok(Archive::of(Stream::undigested(archive, limits)?, limits))
    }

    fn of(stream: Stream<R>, limits: Limits) -> Archive<R> {
        Archive { stream, content: 0, padding: 0, left: limits.entries, limits }
    }

    /// The next entry, after what is left of this one. With a fault comes the entry's name, as far as it is known.
    pub(super) fn next(&mut self) -> std::result::Result<Option<Entry>, (Vec<u8>, Fault)> {
        let mut known = Vec::new();
        self.read_next(&mut known).map_err(|fault| (known, fault))
    }

    fn read_next(&mut self, known: &mut Vec<u8>) -> Outcome<Option<Entry>> {
        let mut records = Records::default();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            self.stream.skip(std::mem::take(&mut self.content))?;
            self.stream.skip(std::mem::take(&mut self.padding))?;
            let Some(block) = self.next_header()? else { return Ok(None) };
            let most = self.limits.entries;
            self.left = self
                .left
                .checked_sub(1)
                .ok_or_else(|| Fault::too_much(format!("the archive has more than {most} entries")))?;
            let header = Header::parse(&block)?;
            known.clone_from(&header.name);
            match header.flag {
                b'x' => {
                    records = Records::parse(&self.whole(header.size)?, self.limits.attribute_bytes)?;
                    if let Some(path) = &records.path {
                        known.clone_from(path);
                    }
                }
                // Defaults for all that follows: nobody's layers need them, and docker passes over them too.
                b'g' => drop(self.whole(header.size)?),
                b'L' => long_name = Some(up_to_nul(self.whole(header.size)?)),
                b'K' => long_link = Some(up_to_nul(self.whole(header.size)?)),
                _ => {
                    let mut entry = self.merged(header, records, &block, known)?;
                    entry.name = long_name.unwrap_or(entry.name);
                    entry.link = long_link.unwrap_or(entry.link);
                    known.clone_from(&entry.name);
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The next bytes of the entry's content, at most `most`; never none.
    pub(super) fn content(&mut self, most: u64) -> Outcome<&[u8]> {
        let some = self.stream.some(most.min(self.content))?;
        if some.is_empty() {
            return Err(Fault::corrupt("the archive is cut off"));
        }
        self.content -= some.len() as u64;
        Ok(some)
    }

    /// Reads to the very end; the digest and the length of all there was before compression.
    pub(super) fn finish(self) -> Outcome<(Digest, u64)> {
        self.stream.finish(MOST_TRAILING_BYTES)
    }

    /// Reads to the very end.
    pub(super) fn end(mut self) -> Outcome<()> {
        self.stream.skip_trailing(MOST_TRAILING_BYTES)
    }

    /// The next block that is a header. Two blocks of zeros end an archive, and so does its own end.
    fn next_header(&mut self) -> Outcome<Option<[u8; BLOCK]>> {
        let zeros = |block: &[u8; BLOCK]| block.iter().all(|byte| *byte == 0);
        match self.stream.block()? {
            Some(block) if !zeros(&block) => Ok(Some(block)),
            None => Ok(None),
            Some(_) => match self.stream.block()? {
                Some(block) if !zeros(&block) => {
                    Err(Fault::corrupt("the archive goes on after a block of zeros"))
                }
                _ => Ok(None),
            },
        }
    }

    /// The whole content of a header that stands before others.
    fn whole(&mut self, size: u64) -> Outcome<Vec<u8>> {
        if size > MOST_HEADER_BYTES {
            let reason =
                format!("its extended header has {size} bytes, and {MOST_HEADER_BYTES} are the most");
            return Err(Fault::too_much(reason));
        }
        self.expect(size);
        let mut content = Vec::new();
        while self.content > 0 {
            content.extend_from_slice(self.content(u64::MAX)?);
        }
        Ok(content)
    }

    /// So many bytes follow, and then what makes a whole block of the last ones.
    fn expect(&mut self, size: u64) {
        self.content = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    /// The entry that a header and the records before it tell of.
    fn merged(
        &mut self,
        header: Header,
        records: Records,
        block: &[u8; BLOCK],
        known: &mut Vec<u8>,
    ) -> Outcome<Entry> {
        let sparse = records.sparse;
        let named = sparse.name.or(records.path);
        let name = named.unwrap_or(header.name);
        known.clone_from(&name);
        let mut size = records.size.unwrap_or(header.size);
        let kind = match header.flag {
            // Before there were directories in headers they were told by a slash.
            0 if name.ends_with(b"/") => EntryKind::Directory,
            // 7: a file that was to be contiguous on the disk.
            0 | b'0' | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::SymbolicLink,
            b'3' => EntryKind::CharacterDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            flag => {
                let reason = format!("its kind `{}` is none that layers have", flag.escape_ascii());
                return Err(Fault::corrupt(reason));
            }
        };
        let mut pieces = None;
        if kind == EntryKind::File {
            let version = sparse.version;
            if header.flag == b'S' {
                let mut map = Vec::new();
                let mut more = sparse::of_header(block, &mut map)?;
                while more {
                    let block =
                        self.stream.block()?.ok_or_else(|| Fault::corrupt("the archive is cut off"))?;
                    more = sparse::of_block(&block, &mut map)?;
                }
                self.expect(size);
                size = sparse::real_size_of_header(block)?;
                pieces = Some(map);
            } else {
                self.expect(size);
            }
            if version == (Some(1), Some(0)) {
                pieces = Some(self.map_before_content()?);
            } else if !sparse.pieces.is_empty() || matches!(version, (Some(0), Some(0 | 1))) {
                pieces = Some(sparse.pieces);
            } else if version.0.is_some() {
                return Err(Fault::corrupt("it has holes in a form of another version"));
            }
            if let Some(pieces) = &pieces {
                size = sparse.real_size.unwrap_or(size);
                sparse::check(pieces, size, self.content)?;
            }
        } else if header.flag == 0 {
            self.expect(size);
        }
        // Whatever size the header of another kind has: nothing follows it.
        Ok(Entry {
            kind,
            name,
            link: records.link.unwrap_or(header.link),
            mode: header.mode,
            uid: records.uid.unwrap_or(header.uid),
            gid: records.gid.unwrap_or(header.gid),
            time: records.time.unwrap_or(header.time),
            device: header.device,
            attributes: records.attributes,
            size,
            pieces,
        })
    }

    /// The map that the content begins with, in version 1.0.
    fn map_before_content(&mut self) -> Outcome<Vec<Piece>> {
        let mut lines = sparse::Lines::default();
        loop {
            let before = self.content;
            let mut block = Vec::with_capacity(BLOCK);
            while block.len() < BLOCK && self.content > 0 {
                let some = self.content((BLOCK - block.len()) as u64)?;
                block.extend_from_slice(some);
            }
            if let Some(pieces) = lines.take(&block)? {
                return Ok(pieces);
            }
            if before < BLOCK as u64 {
                return Err(Fault::corrupt("its map of holes is broken"));
            }
        }
    }
}

fn up_to_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}
