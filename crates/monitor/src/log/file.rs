//! Owns a log in files: what is written there is whole records, in a bounded number of files of bounded size. Must never
//! wait for room on a disk: what finds none is counted.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Incidents, Operation};
use crate::log::LogFiles;

/// From so much on it is written without waiting for more. Each write costs a file system something beside its bytes.
const ENOUGH: usize = 128 * 1024;

/// So much memory is kept for records while nothing is written.
const KEPT: usize = 16 * 1024;

/// What a file is read back by, to find where its last whole record ends.
const STEP: u64 = 4096;

pub(super) struct FileLog {
    files: LogFiles,
    file: Option<OwnedFd>,
    /// How much of it is whole records.
    size: u64,
    /// Records that are not yet written.
    records: Vec<u8>,
    /// How many bytes of output they have.
    content: u64,
    lost: u64,
    /// What of it no reader was told.
    unsaid: u64,
    rotated_out: u64,
}

impl FileLog {
    pub(super) fn open(files: LogFiles, incidents: &mut Incidents) -> FileLog {
        let mut log = FileLog {
            files,
            file: None,
            size: 0,
            records: Vec::new(),
            content: 0,
            lost: 0,
            unsaid: 0,
            rotated_out: 0,
        };
        let opened = log.open_newest();
        incidents.note(opened.map_err(|errno| log.failed(Operation::OpenLog, errno)));
        log
    }

    /// Gives back memory that takes a lot of output to need.
    pub(super) fn let_go(&mut self) {
        self.records.shrink_to(KEPT);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn rotated_out(&self) -> u64 {
        self.rotated_out
    }

    /// How many bytes were lost since that was last asked for, if there were any.
    pub(super) fn take_unsaid(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.unsaid)).filter(|count| *count > 0)
    }

    /// Adds a record that `encode` appends, of `content` bytes of output.
    pub(super) fn add(
        &mut self,
        content: usize,
        incidents: &mut Incidents,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let begin = self.records.len();
        encode(&mut self.records);
        let size = self.size + self.records.len() as u64;
        // A record that is longer than a file may be has one for itself.
        if self.files.max_size.is_some_and(|most| size > most) && self.size + begin as u64 > 0 {
            let record = self.records.split_off(begin);
            self.flush(incidents);
            self.rotate(incidents);
            self.records = record;
        }
        self.content += content as u64;
        if self.records.len() >= ENOUGH {
            self.flush(incidents);
        }
    }

    /// Adds a record that says that `lost` bytes were, at once; where it has no room either, that is to be said later.
    pub(super) fn add_note(
        &mut self,
        lost: u64,
        incidents: &mut Incidents,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let before = self.unsaid;
        self.add(0, incidents, encode);
        let noted = self.file.is_some() && self.write_records().is_ok();
        self.records.clear();
        self.unsaid = if noted { before } else { before + lost };
    }

    /// Writes what was added, or counts it as lost.
    pub(super) fn flush(&mut self, incidents: &mut Incidents) {
        if self.records.is_empty() {
            return;
        }
        if let Err(errno) = self.open_newest().and_then(|()| self.write_records()) {
            self.lost += self.content;
            self.unsaid += self.content;
            incidents.note(Err(self.failed(Operation::WriteLog, errno)));
        }
        self.records.clear();
        self.content = 0;
    }

    /// All of the records, or none of them: a reader sees no torn one for longer than it takes to cut it off.
    fn write_records(&mut self) -> Result<(), Errno> {
        let file = self.file.as_ref().ok_or(Errno::BADF)?;
        let mut rest = &*self.records;
        while !rest.is_empty() {
            match rustix::io::write(file, rest) {
                Ok(0) => return self.cut_off(Errno::NOSPC),
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(errno) => return self.cut_off(errno),
            }
        }
        self.size += self.records.len() as u64;
        Ok(())
    }

    /// After a failure: what was written of the records goes.
    fn cut_off(&mut self, errno: Errno) -> Result<(), Errno> {
        if let Some(file) = &self.file
            && rustix::fs::ftruncate(file, self.size).is_err()
        {
            // Opened again, it is looked at as one that another monitor left.
            self.file = None;
        }
        Err(errno)
    }

    fn open_newest(&mut self) -> Result<(), Errno> {
        if self.file.is_some() {
            return Ok(());
        }
        // To read it back.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(&self.files.path, flags, Mode::from_raw_mode(0o640))?;
        let length = rustix::fs::fstat(&file)?.st_size as u64;
        self.size = whole_records(&file, length)?;
        if self.size < length {
            // A monitor was killed while it wrote.
            rustix::fs::ftruncate(&file, self.size)?;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Begins a new file; the oldest one goes where there are as many as there may be.
    fn rotate(&mut self, incidents: &mut Incidents) {
        if self.size == 0 {
            return;
        }
        let moved = self.shift();
        incidents.note(moved.map_err(|errno| self.failed(Operation::RotateLog, errno)));
        if moved.is_ok() {
            self.file = None;
            self.size = 0;
        } else if let Some(file) = &self.file
            && rustix::fs::ftruncate(file, 0).is_ok()
        {
            // The cap holds in any case.
            self.rotated_out += self.size;
            self.size = 0;
        }
        let opened = self.open_newest();
        incidents.note(opened.map_err(|errno| self.failed(Operation::OpenLog, errno)));
    }

    fn shift(&mut self) -> Result<(), Errno> {
        let oldest = numbered(&self.files.path, self.files.max_files.saturating_sub(1));
        if let Ok(found) = rustix::fs::lstat(&oldest) {
            rustix::fs::unlink(&oldest)?;
            self.rotated_out += found.st_size as u64;
        }
        for number in (1..self.files.max_files).rev() {
            let renamed = rustix::fs::rename(
                numbered(&self.files.path, number - 1),
                numbered(&self.files.path, number),
            );
            match renamed {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn failed(&self, operation: Operation, errno: Errno) -> Error {
        Error::new(operation, format!("`{}`", self.files.path.display()), errno)
    }
}

/// The file that was the newest so many files ago.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => path.to_owned(),
        _ => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            name.into()
        }
    }
}

/// How many bytes of a file are whole records: up to its last line feed.
fn whole_records(file: &OwnedFd, length: u64) -> Result<u64, Errno> {
    let mut end = length;
    let mut bytes = [0; STEP as usize];
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        let wanted = &mut bytes[..(end - begin) as usize];
        let count = rustix::io::pread(file, &mut *wanted, begin)?;
        if count == 0 {
            return Ok(begin);
        }
        if let Some(at) = wanted[..count].iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}
