//! Owns the reading of what a container's log has in files. Must not write there.

mod follow;
mod parse;
mod records;
mod tail;

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Operation};
use crate::log::file::numbered;
use crate::log::{LogFiles, LogOptions, LogStream};
use crate::moment::Moment;

use parse::Parser;
use records::Records;

/// What is read of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// So many lines at the end, before the two that follow are heeded; none: all.
    pub tail: Option<u64>,
    /// From then on.
    pub since: Option<Moment>,
    /// Up to then: the first line that is later ends the reading.
    pub until: Option<Moment>,
}

/// A piece of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// Where it came from.
    pub stream: LogStream,
    /// When it was written.
    pub time: Moment,
    /// What was written, with the line feed at the end where the line ends with it: a longer line comes in pieces.
    pub bytes: &'a [u8],
}

/// Reads a log that is kept in files, the oldest line first.
///
/// With `is_served`, what is written meanwhile is read too, until that says that nobody writes any more: it is asked when
/// there is nothing to read, whenever something changes beside the log, and twice a second. `entry` may end the reading.
/// A log that is not there is empty. A journal cannot be read here, and no log has nothing: both are errors (ENOTSUP).
pub fn read_log(
    log: &LogOptions,
    query: LogQuery,
    is_served: Option<&mut dyn FnMut() -> bool>,
    entry: &mut dyn FnMut(LogEntry<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (files, parser) = match log {
        LogOptions::JsonFile { files, .. } => (files, Parser::json()),
        LogOptions::K8sFile { files } => (files, Parser::k8s()),
        LogOptions::None => return Err(read_error("of no driver", Errno::OPNOTSUPP)),
        LogOptions::Journald { .. } => return Err(read_error("in the journal", Errno::OPNOTSUPP)),
    };
    let failed = |errno| read_error(&format!("`{}`", files.path.display()), errno);
    let mut reading = Reading { parser, query, entry };
    reading.read(files, is_served).map_err(failed)
}

fn read_error(object: &str, errno: Errno) -> Error {
    Error::new(Operation::ReadLog, format!("the log {object}"), errno)
}

/// One of the files of a log.
struct File {
    descriptor: OwnedFd,
    identity: (u64, u64),
}

struct Reading<'a> {
    parser: Parser,
    query: LogQuery,
    entry: &'a mut dyn FnMut(LogEntry<'_>) -> ControlFlow<()>,
}

impl Reading<'_> {
    fn read(&mut self, files: &LogFiles, is_served: Option<&mut dyn FnMut() -> bool>) -> Result<(), Errno> {
        // Before the first look, so that nothing is missed between it and the wait.
        let watch = is_served.is_some().then(|| follow::Watch::new(&files.path));
        let all = open_all(files)?;
        let mut begin = match self.query.tail {
            Some(count) => tail::begin(&all, count, &mut self.parser)?,
            None => tail::Begin { file: 0, offset: 0 },
        };
        let mut last = None;
        for file in all.into_iter().skip(begin.file) {
            let mut records = Records::new(file, begin.offset);
            begin.offset = 0;
            if self.hand_on(&mut records)?.is_break() {
                return Ok(());
            }
            last = Some(records);
        }
        match (is_served, watch) {
            (Some(is_served), Some(watch)) => follow::follow(self, files, last, is_served, watch),
            _ => Ok(()),
        }
    }

    /// Hands on what there is, up to the last whole record.
    fn hand_on(&mut self, records: &mut Records) -> Result<ControlFlow<()>, Errno> {
        while let Some(record) = records.next()? {
            // Nobody wrote what can't be read.
            let Some(entry) = self.parser.parse(record) else { continue };
            if self.query.until.is_some_and(|until| entry.time > until) {
                return Ok(ControlFlow::Break(()));
            }
            if self.query.since.is_some_and(|since| entry.time < since) {
                continue;
            }
            if (self.entry)(entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether nothing that is written from now on is wanted.
    fn is_past_its_end(&self) -> bool {
        self.query.until.is_some_and(|until| Moment::now() > until)
    }
}

/// All that are there, the oldest first. They are opened from the newest on, as that is the way they are renamed: one that
/// moves meanwhile is seen twice, and none is missed.
fn open_all(files: &LogFiles) -> Result<Vec<File>, Errno> {
    let mut all: Vec<File> = Vec::new();
    for number in 0..files.max_files.max(1) {
        let Some(file) = open(&numbered(&files.path, number))? else { continue };
        if all.iter().all(|known| known.identity != file.identity) {
            all.push(file);
        }
    }
    all.reverse();
    Ok(all)
}

fn open(path: &Path) -> Result<Option<File>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let descriptor = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => descriptor,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let found = rustix::fs::fstat(&descriptor)?;
    Ok(Some(File { descriptor, identity: (found.st_dev, found.st_ino) }))
}

/// Which file has this name, if one has.
fn identity(path: &Path) -> Result<Option<(u64, u64)>, Errno> {
    match rustix::fs::lstat(path) {
        Ok(found) => Ok(Some((found.st_dev, found.st_ino))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
