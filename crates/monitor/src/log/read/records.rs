//! Owns the reading of one file record by record. Must not keep what is not whole: a writer that found no room takes it back.

use rustix::io::Errno;

use super::File;
use crate::log::scan;

/// How much is read at once.
const BLOCK: usize = 64 * 1024;

/// No record is longer: what goes on is skipped, as somebody else wrote it.
const MOST: usize = 4 << 20;

pub(super) struct Records {
    pub(super) file: File,
    /// Where in the file the bytes begin.
    offset: u64,
    bytes: Vec<u8>,
    /// How much of them was handed out.
    start: usize,
    end: usize,
}

impl Records {
    pub(super) fn new(file: File, offset: u64) -> Records {
        Records { file, offset, bytes: Vec::new(), start: 0, end: 0 }
    }

    /// The next whole record, without its line feed; none where the file has no more for now.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Errno> {
        let mut looked_at = 0;
        loop {
            let begin = self.start + looked_at;
            if let Some(at) = scan::line_feed(&self.bytes[begin..self.end]) {
                let record = self.start..begin + at;
                self.start = begin + at + 1;
                return Ok(Some(&self.bytes[record]));
            }
            looked_at = self.end - self.start;
            if looked_at >= MOST {
                self.start = self.end;
                looked_at = 0;
            }
            if !self.fill()? {
                // To be read again: it may be taken back.
                self.end = self.start;
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> Result<bool, Errno> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.offset += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        if self.bytes.len() < self.end + BLOCK {
            self.bytes.resize(self.end + BLOCK, 0);
        }
        let place = self.offset + self.end as u64;
        let room = &mut self.bytes[self.end..];
        let count =
            rustix::io::retry_on_intr(|| rustix::io::pread(&self.file.descriptor, &mut *room, place))?;
        self.end += count;
        Ok(count > 0)
    }
}
