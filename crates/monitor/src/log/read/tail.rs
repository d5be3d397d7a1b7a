//! Owns the search for the last lines of a log, from its end. Must not read more of it than that takes.

use rustix::io::Errno;

use super::File;
use super::parse::Parser;
use crate::log::scan;

/// How much is looked at in one go, if records are no longer.
const BLOCK: u64 = 64 * 1024;

/// Where to begin to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    /// The index of the file.
    pub(super) file: usize,
    pub(super) offset: u64,
}

/// The place from which on `count` lines follow, in files that are in their order; the first of all where there are fewer.
pub(super) fn begin(files: &[File], count: u64, parser: &mut Parser) -> Result<Begin, Errno> {
    let mut search = Search { left: count, at_the_end: true };
    for (file, found) in files.iter().enumerate().rev() {
        if let Some(offset) = search.look_in(found, parser)? {
            return Ok(Begin { file, offset });
        }
    }
    Ok(Begin { file: 0, offset: 0 })
}

struct Search {
    /// How many ends of lines are still to be passed.
    left: u64,
    /// Whether none was passed yet, nor a line without an end behind it.
    at_the_end: bool,
}

impl Search {
    fn look_in(&mut self, file: &File, parser: &mut Parser) -> Result<Option<u64>, Errno> {
        let mut end = rustix::fs::fstat(&file.descriptor)?.st_size as u64;
        let mut size = BLOCK;
        let mut bytes = Vec::new();
        while end > 0 {
            let begin = end.saturating_sub(size);
            bytes.resize((end - begin) as usize, 0);
            let count = read_all(file, &mut bytes, begin)?;
            let block = &bytes[..count];
            // It begins in the middle of a record, unless the file does there.
            let first = match begin {
                0 => 0,
                _ => match scan::line_feed(&block[..block.len().saturating_sub(1)]) {
                    Some(at) => at + 1,
                    None => {
                        size *= 2;
                        continue;
                    }
                },
            };
            if let Some(at) = self.look_at(&block[first..], parser) {
                return Ok(Some(begin + (first + at) as u64));
            }
            end = begin + first as u64;
            size = BLOCK;
        }
        Ok(None)
    }

    /// Looks at whole records, from the last one on; answers where the lines begin, if they do among these.
    fn look_at(&mut self, block: &[u8], parser: &mut Parser) -> Option<usize> {
        let mut ends = Vec::new();
        let mut start = 0;
        while let Some(at) = scan::line_feed(&block[start..]) {
            let record = &block[start..start + at];
            start += at + 1;
            if let Some(entry) = parser.parse(record) {
                ends.push((start, entry.bytes.ends_with(b"\n")));
            }
        }
        for (end, ends_line) in ends.into_iter().rev() {
            if self.left == 0 && (ends_line || self.at_the_end) {
                return Some(end);
            }
            if ends_line || self.at_the_end {
                self.left -= 1;
            }
            self.at_the_end = false;
        }
        None
    }
}

fn read_all(file: &File, bytes: &mut [u8], begin: u64) -> Result<usize, Errno> {
    let mut done = 0;
    while done < bytes.len() {
        let place = begin + done as u64;
        let count =
            rustix::io::retry_on_intr(|| rustix::io::pread(&file.descriptor, &mut bytes[done..], place))?;
        if count == 0 {
            break;
        }
        done += count;
    }
    Ok(done)
}
