//! What a container has written into the system's journal, read back by journalctl(1): how the journal keeps it is nobody else's; and whether
//! there is one. Must not write there.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind as IoKind, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use monitor::{JOURNAL_SOCKET, LogEntry, LogQuery, LogStream, Moment};
use runtime::ErrorKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::Value;

use super::LogChoice;
use crate::error::{Error, Result};

/// Where the program is.
const PLACES: [&str; 3] = ["/usr/bin/journalctl", "/bin/journalctl", "/run/current-system/sw/bin/journalctl"];
/// How often it is asked whether the container still writes.
const LOOK: Duration = Duration::from_millis(250);
/// How long the journal may take for what was written before the end.
const LAG: Duration = Duration::from_millis(500);

/// An entry of the journal.
struct Entry {
    stream: LogStream,
    time: Moment,
    bytes: Vec<u8>,
}

/// Reads what the container `id` has written; with `is_served` until that says that nobody writes any more.
pub(super) fn read(
    id: &str,
    query: LogQuery,
    is_served: Option<&mut dyn FnMut() -> bool>,
    entry: &mut dyn FnMut(LogEntry<'_>) -> ControlFlow<()>,
    operation: &str,
) -> Result<()> {
    let Some(program) = PLACES.iter().map(Path::new).find(|path| path.exists()) else {
        let reason = "its log is in the system's journal, and `journalctl` is not installed";
        return Err(
            Error::new(ErrorKind::Unsupported, operation.to_owned(), reason).with_hint("install systemd")
        );
    };
    // So that what was written before is there: only root may ask for it, and without it that is there a moment later.
    drop(quiet(program).arg("--sync").stdout(Stdio::null()).status());
    let failed = |error: std::io::Error| Error::system(operation.to_owned(), error);
    let mut command = quiet(program);
    command.args(["--quiet", "--all", "--output=json", "--no-pager"]);
    command.arg("--output-fields=MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE,_SOURCE_REALTIME_TIMESTAMP");
    command.arg(format!("CONTAINER_ID_FULL={id}")).stdout(Stdio::piped());
    match is_served {
        None => {
            let mut reading = Reading { child: command.spawn().map_err(failed)? };
            reading.all(query, entry).map_err(failed)
        }
        Some(is_served) => {
            command.arg("--follow");
            match query.tail {
                Some(count) => command.arg(format!("--lines={count}")),
                None => command.arg("--no-tail"),
            };
            let mut reading = Reading { child: command.spawn().map_err(failed)? };
            reading.follow(query, is_served, entry).map_err(failed)
        }
    }
}

/// Refuses a log in the journal where nothing takes it: all that is written would be lost, and nobody would know.
pub(super) fn check(log: &LogChoice) -> Result<()> {
    if log.driver != "journald" {
        return Ok(());
    }
    let listens = || -> rustix::io::Result<()> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new(JOURNAL_SOCKET)?)
    };
    listens().map_err(|error| {
        Error::at_path("reach the system's journal at", Path::new(JOURNAL_SOCKET), error)
            .from_field("--log-driver")
            .with_hint("it takes a host on which systemd-journald runs; json-file and k8s-file need none")
    })
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn hand_on(
    found: &Entry,
    query: LogQuery,
    entry: &mut dyn FnMut(LogEntry<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if query.until.is_some_and(|until| found.time > until) {
        return ControlFlow::Break(());
    }
    if query.since.is_some_and(|since| found.time < since) {
        return ControlFlow::Continue(());
    }
    entry(LogEntry { stream: found.stream, time: found.time, bytes: &found.bytes })
}

/// The program while it writes; it ends with the value.
struct Reading {
    child: Child,
}

impl Drop for Reading {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Reading {
    /// As of a file: so many at the end, before the times are heeded.
    fn all(
        &mut self,
        query: LogQuery,
        entry: &mut dyn FnMut(LogEntry<'_>) -> ControlFlow<()>,
    ) -> std::io::Result<()> {
        let Some(output) = self.child.stdout.take() else { return Ok(()) };
        let most = query.tail.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let mut last = VecDeque::new();
        for line in BufReader::new(output).split(b'\n') {
            let Some(found) = parse(&line?) else { continue };
            match most {
                None if hand_on(&found, query, entry).is_break() => return Ok(()),
                None => {}
                Some(most) => {
                    last.push_back(found);
                    if last.len() > most {
                        last.pop_front();
                    }
                }
            }
        }
        // Nobody asks for more.
        let _ = last.iter().try_for_each(|found| hand_on(found, query, entry));
        Ok(())
    }

    fn follow(
        &mut self,
        query: LogQuery,
        is_served: &mut dyn FnMut() -> bool,
        entry: &mut dyn FnMut(LogEntry<'_>) -> ControlFlow<()>,
    ) -> std::io::Result<()> {
        let Some(mut output) = self.child.stdout.take() else { return Ok(()) };
        let (mut text, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        // When nobody wrote any more.
        let mut over: Option<Instant> = None;
        loop {
            let mut watched = [PollFd::new(&output, PollFlags::IN)];
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
            match poll(&mut watched, Some(&wait)) {
                Ok(0) => {
                    let is_past = query.until.is_some_and(|until| Moment::now() > until);
                    if is_past || over.is_some_and(|over| over.elapsed() > LAG) {
                        return Ok(());
                    }
                    if over.is_none() && !is_served() {
                        over = Some(Instant::now());
                    }
                    continue;
                }
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
            match output.read(&mut piece) {
                // The journal's program was ended by somebody.
                Ok(0) => return Ok(()),
                Ok(count) => text.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == IoKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in text[..whole].split(|byte| *byte == b'\n') {
                if parse(line).is_some_and(|found| hand_on(&found, query, entry).is_break()) {
                    return Ok(());
                }
            }
            text.drain(..whole);
        }
    }
}

/// One entry, as `--output=json` writes it; nothing of what is none.
fn parse(line: &[u8]) -> Option<Entry> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let mut bytes = match &entry["MESSAGE"] {
        Value::String(text) => text.clone().into_bytes(),
        // What is no text.
        Value::Array(bytes) => {
            bytes.iter().filter_map(Value::as_u64).filter_map(|byte| u8::try_from(byte).ok()).collect()
        }
        _ => Vec::new(),
    };
    if entry["CONTAINER_PARTIAL_MESSAGE"] != "true" {
        bytes.push(b'\n');
    }
    // When it was sent, else when it came.
    let time = ["_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"];
    let time = time.iter().find_map(|name| entry[*name].as_str()?.parse::<i64>().ok())?;
    let stream = if entry["PRIORITY"] == "3" { LogStream::Stderr } else { LogStream::Stdout };
    Some(Entry { stream, time: Moment(time.checked_mul(1000)?), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_lines_pieces_of_lines_and_what_is_no_text() {
        let read = |line: &str| parse(line.as_bytes()).map(|found| (found.stream, found.time.0, found.bytes));
        assert_eq!(
            read(
                r#"{"MESSAGE":"up","PRIORITY":"6","__REALTIME_TIMESTAMP":"8","_SOURCE_REALTIME_TIMESTAMP":"7"}"#
            ),
            Some((LogStream::Stdout, 7000, b"up\n".to_vec()))
        );
        assert_eq!(
            read(
                r#"{"MESSAGE":[255,10],"PRIORITY":"3","CONTAINER_PARTIAL_MESSAGE":"true","__REALTIME_TIMESTAMP":"8"}"#
            ),
            Some((LogStream::Stderr, 8000, vec![255, 10]))
        );
        assert_eq!(read("{}"), None);
        assert_eq!(read(""), None);
    }
}
