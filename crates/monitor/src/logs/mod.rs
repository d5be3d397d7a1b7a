//! Owns the reading of what a container's log has in files. Must not write there.

use std::ops::ControlFlow;

use crate::error::Error;
use crate::log::LogOptions;
use crate::moment::Moment;

/// Which of a container's streams something came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Its standard output, and all that it wrote to a terminal of its own.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// What is read of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// So many lines at the end, before the two that follow are heeded; none: all.
    pub tail: Option<u64>,
    /// From then on.
    pub since: Option<Moment>,
    /// Up to then.
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
    let _ = (log, query, is_served, entry);
    todo!()
}
