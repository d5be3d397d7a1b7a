//! Where the files of a tar archive are in it. Must not know what they mean, and keeps no content.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::Result;
use crate::unpack::Limits;
use crate::unpack::archive::MOST_HEADER_BYTES;
use crate::unpack::archive::header::Header;
use crate::unpack::archive::pax::Records;
use crate::unpack::fault::{Fault, Outcome, shown};
use crate::unpack::stream::BLOCK;

/// The most files of an archive: a thousand images have not so many blobs.
const MOST_ENTRIES: usize = 100_000;
/// The most bytes of all names.
const MOST_NAME_BYTES: usize = 16 << 20;
/// How many links may lead to one another.
const MOST_HOPS: usize = 8;

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// Its bytes, or that they are in pieces.
    File { at: u64, size: u64, has_holes: bool },
    /// Another file's.
    Link(Vec<u8>),
}

/// Where a file's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) at: u64,
    pub(super) size: u64,
}

/// The files of an archive, by their names.
#[derive(Debug)]
pub(super) struct Entries(BTreeMap<Vec<u8>, Entry>);

impl Entries {
    /// Reads all headers.
    pub(super) fn read(archive: &File, operation: &str) -> Result<Entries> {
        let mut reader = Reader { archive, at: 0, end: 0, entries: BTreeMap::new(), bytes: 0 };
        reader.read().map_err(|fault| fault.during(operation))?;
        Ok(Entries(reader.entries))
    }

    /// Where the bytes of a file are; none where there is no such file.
    pub(super) fn find(&self, name: &str) -> Outcome<Option<Extent>> {
        let mut name = normal(name.as_bytes())?;
        for _ in 0..MOST_HOPS {
            match self.0.get(&name) {
                None => return Ok(None),
                Some(Entry::File { has_holes: true, .. }) => {
                    return Err(Fault::corrupt(format!(
                        "`{}` has holes, and no file of an image has",
                        shown(&name)
                    )));
                }
                Some(Entry::File { at, size, .. }) => return Ok(Some(Extent { at: *at, size: *size })),
                Some(Entry::Link(target)) => name.clone_from(target),
            }
        }
        Err(Fault::corrupt(format!("links lead from `{}` to one another", shown(&name))))
    }
}

/// A name without what means nothing. One that leads upwards is refused: nobody writes such archives without a purpose.
fn normal(name: &[u8]) -> Outcome<Vec<u8>> {
    let parts = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let parts: Vec<&[u8]> = parts.collect();
    match parts.contains(&&b".."[..]) || name.contains(&0) {
        false => Ok(parts.join(&b'/')),
        true => Err(Fault::corrupt(format!("the path `{}` leads out of it", shown(name)))),
    }
}

/// What a symbolic link leads to, within the archive.
fn target(link: &[u8], to: &[u8]) -> Outcome<Vec<u8>> {
    let leads_out =
        || Fault::corrupt(format!("the link `{}` leads out of it, to `{}`", shown(link), shown(to)));
    if to.starts_with(b"/") || to.contains(&0) {
        return Err(leads_out());
    }
    let mut parts: Vec<&[u8]> = link.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in to.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop().ok_or_else(leads_out)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

struct Reader<'a> {
    archive: &'a File,
    at: u64,
    end: u64,
    entries: BTreeMap<Vec<u8>, Entry>,
    bytes: usize,
}

impl Reader<'_> {
    fn read(&mut self) -> Outcome<()> {
        self.end = self.archive.metadata().map_err(|error| Fault::reading(&error))?.len();
        let (mut records, mut long_name, mut long_link) = (Records::default(), None, None);
        let mut headers = 0;
        while let Some(block) = self.header()? {
            headers += 1;
            if headers > 3 * MOST_ENTRIES {
                return Err(Fault::too_much(format!("it has more than {MOST_ENTRIES} files")));
            }
            let header = Header::parse(&block)?;
            match header.flag {
                b'x' => {
                    let most = Limits::default().attribute_bytes;
                    records = Records::parse(&self.whole(header.size)?, most)?;
                }
                // Defaults for all that follows: docker passes over them too.
                b'g' => self.skip(header.size)?,
                b'L' => long_name = Some(self.whole(header.size)?),
                b'K' => long_link = Some(self.whole(header.size)?),
                _ => {
                    let records = std::mem::take(&mut records);
                    self.entry(header, records, long_name.take(), long_link.take())?;
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        header: Header,
        records: Records,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Outcome<()> {
        let has_holes = header.flag == b'S' || records.sparse.is_said();
        let name = long_name.map(up_to_nul).or(records.path).unwrap_or(header.name);
        let link = long_link.map(up_to_nul).or(records.link).unwrap_or(header.link);
        let size = records.size.unwrap_or(header.size);
        let plain = normal(&name)?;
        let entry = match header.flag {
            0 if name.ends_with(b"/") => return self.skip(size),
            0 | b'0' | b'7' | b'S' => Entry::File { at: self.at, size, has_holes },
            b'1' => Entry::Link(normal(&link)?),
            b'2' => Entry::Link(target(&plain, &link)?),
            // Directories, and what no image has.
            _ => return Ok(()),
        };
        if matches!(entry, Entry::File { .. }) {
            self.skip(size)?;
        }
        self.bytes += plain.len() + link.len();
        if self.entries.len() >= MOST_ENTRIES || self.bytes > MOST_NAME_BYTES {
            return Err(Fault::too_much(format!("it has more than {MOST_ENTRIES} files, or too long names")));
        }
        // Two readers who each took another one would see two images in one archive.
        match self.entries.insert(plain, entry) {
            None => Ok(()),
            Some(_) => Err(Fault::corrupt(format!("it has `{}` twice", shown(&name)))),
        }
    }

    /// The next block that is a header. Blocks of zeros end an archive, and so does its own end.
    fn header(&mut self) -> Outcome<Option<[u8; BLOCK]>> {
        if self.at == self.end {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok((!block.iter().all(|byte| *byte == 0)).then_some(block))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Outcome<()> {
        self.archive.read_exact_at(bytes, self.at).map_err(|error| Fault::reading(&error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The whole content of a header that stands before others.
    fn whole(&mut self, size: u64) -> Outcome<Vec<u8>> {
        if size > MOST_HEADER_BYTES {
            let reason = format!("an extended header has {size} bytes, and {MOST_HEADER_BYTES} are the most");
            return Err(Fault::too_much(reason));
        }
        let mut content = vec![0; size as usize];
        self.fill(&mut content)?;
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        self.at = (self.at + padding).min(self.end);
        Ok(content)
    }

    /// Passes over content, which must be there; the end of the archive may be missing behind it.
    fn skip(&mut self, size: u64) -> Outcome<()> {
        let after = self.at.checked_add(size).filter(|after| *after <= self.end);
        let after = after.ok_or_else(|| Fault::corrupt("the archive is cut off"))?;
        self.at = after.next_multiple_of(BLOCK as u64).min(self.end);
        Ok(())
    }
}

fn up_to_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}
