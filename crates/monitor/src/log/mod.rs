//! Owns where a container's output is kept, and how that is read again. Must never hold the container back.

mod file;
mod frame;
mod journal;
pub(crate) mod json;
mod k8s;
mod lines;
mod read;
mod scan;

use std::path::PathBuf;

use crate::error::Incidents;
use crate::log::file::FileLog;
use crate::log::frame::Frame;
use crate::log::journal::Journal;
use crate::log::lines::{Lines, Piece};
use crate::moment::{Moment, Stamp};

pub use read::{LogEntry, LogQuery, read_log};

/// Which of a container's streams something came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Its standard output, and all that it wrote to a terminal of its own.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Where a container's output is kept, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOptions {
    /// Nowhere.
    None,
    /// docker's: a JSON object a line, `{"log":"…\n","stream":"stdout","time":"…"}`.
    JsonFile {
        /// The files.
        files: LogFiles,
        /// What each line says beside that, as `attrs` (`--log-opt labels=…`, `env=…`, `tag=…`).
        attributes: Vec<(String, String)>,
    },
    /// Kubernetes': `TIME stdout F LINE`, with `P` where a line goes on.
    K8sFile {
        /// The files.
        files: LogFiles,
    },
    /// The system's journal, by its native protocol.
    Journald {
        /// Its socket: [`JOURNAL_SOCKET`].
        socket: PathBuf,
        /// What each entry says beside the message and its priority, by names as the journal wants them
        /// (`CONTAINER_ID`, `CONTAINER_NAME`, `SYSLOG_IDENTIFIER`, …).
        fields: Vec<(String, String)>,
    },
}

/// Where the journal listens.
pub const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// A log in files: `PATH` is written, `PATH.1` is the one before that, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFiles {
    /// The newest one.
    pub path: PathBuf,
    /// How many bytes a file has at most (but for one whose only line is longer); none: any number.
    pub max_size: Option<u64>,
    /// How many files there are at most, the newest among them; at least 1.
    pub max_files: u32,
}

impl LogFiles {
    /// With the caps that hold where nobody said others: three files of 10 MB.
    pub fn at(path: impl Into<PathBuf>) -> LogFiles {
        LogFiles { path: path.into(), max_size: Some(10_000_000), max_files: 3 }
    }
}

/// An open log.
pub(crate) struct Log {
    driver: Driver,
    stdout: Lines,
    stderr: Lines,
}

enum Driver {
    None,
    Files(FileLog, Form),
    Journald(Journal),
}

/// How a line is written to a file.
enum Form {
    Json {
        /// What stands before the time of each line.
        attributes: Vec<u8>,
    },
    K8s,
}

impl Log {
    /// Opens it; what fails is an incident, and tried again with each write.
    pub(crate) fn open(options: LogOptions, incidents: &mut Incidents) -> Log {
        let driver = match options {
            LogOptions::None => Driver::None,
            LogOptions::JsonFile { files, attributes } => {
                let form = Form::Json { attributes: json::attributes(&attributes) };
                Driver::Files(FileLog::open(files, incidents), form)
            }
            LogOptions::K8sFile { files } => Driver::Files(FileLog::open(files, incidents), Form::K8s),
            LogOptions::Journald { socket, fields } => Driver::Journald(Journal::new(socket, &fields)),
        };
        Log { driver, stdout: Lines::default(), stderr: Lines::default() }
    }

    /// Keeps what the container wrote; a line without its end waits for that, and what is for a file for [`Log::flush`].
    pub(crate) fn write(&mut self, stream: LogStream, bytes: &[u8], incidents: &mut Incidents) {
        if matches!(self.driver, Driver::None) {
            return;
        }
        let time = self.driver.stamp(Moment::now());
        self.driver.say_what_was_lost(&time, incidents);
        let lines = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let driver = &mut self.driver;
        let frame = driver.frame(stream, &time);
        lines.split(bytes, |piece| driver.put(stream, &frame, piece, incidents));
    }

    /// Has the files have what was written so far. To be called before anything is waited for.
    pub(crate) fn flush(&mut self, incidents: &mut Incidents) {
        self.driver.flush(incidents);
    }

    /// Nothing is written for a while: lets go of memory.
    pub(crate) fn let_go(&mut self) {
        if let Driver::Files(file, _) = &mut self.driver {
            file.let_go();
        }
    }

    /// The container writes no more: keeps what waits for the end of its line.
    pub(crate) fn finish(&mut self, incidents: &mut Incidents) {
        let time = self.driver.stamp(Moment::now());
        self.driver.say_what_was_lost(&time, incidents);
        for (stream, lines) in [(LogStream::Stdout, &mut self.stdout), (LogStream::Stderr, &mut self.stderr)]
        {
            let driver = &mut self.driver;
            let frame = driver.frame(stream, &time);
            lines.finish(|piece| driver.put(stream, &frame, piece, incidents));
        }
        self.driver.flush(incidents);
    }

    /// How many bytes of output could not be kept.
    pub(crate) fn lost(&self) -> u64 {
        match &self.driver {
            Driver::None => 0,
            Driver::Files(file, _) => file.lost(),
            Driver::Journald(journal) => journal.lost(),
        }
    }

    /// How many bytes of files were removed by the cap.
    pub(crate) fn rotated_out(&self) -> u64 {
        match &self.driver {
            Driver::Files(file, _) => file.rotated_out(),
            Driver::None | Driver::Journald(_) => 0,
        }
    }
}

impl Driver {
    /// As the form has it.
    fn stamp(&self, now: Moment) -> Stamp {
        match self {
            Driver::Files(_, Form::Json { .. }) => now.short_stamp(),
            Driver::None | Driver::Files(_, Form::K8s) | Driver::Journald(_) => now.stamp(),
        }
    }

    /// What stands around each line of a file.
    fn frame(&self, stream: LogStream, time: &Stamp) -> Frame {
        match self {
            Driver::Files(_, form) => form.frame(stream, time),
            Driver::None | Driver::Journald(_) => Frame::default(),
        }
    }

    fn put(&mut self, stream: LogStream, frame: &Frame, piece: Piece<'_>, incidents: &mut Incidents) {
        match self {
            Driver::None => {}
            Driver::Files(file, form) => {
                file.add(piece.bytes.len(), incidents, |record| form.encode(record, frame, piece));
            }
            Driver::Journald(journal) => journal.send(stream, piece, incidents),
        }
    }

    /// What a reader should know, once there may be room for it.
    fn say_what_was_lost(&mut self, time: &Stamp, incidents: &mut Incidents) {
        let Driver::Files(file, form) = self else { return };
        let Some(count) = file.take_unsaid() else { return };
        let note = format!("rabbitc: {count} bytes of output are missing here: they could not be written\n");
        let piece = Piece::line(note.as_bytes());
        let frame = form.frame(LogStream::Stderr, time);
        file.add_note(count, incidents, |record| form.encode(record, &frame, piece));
    }

    fn flush(&mut self, incidents: &mut Incidents) {
        if let Driver::Files(file, _) = self {
            file.flush(incidents);
        }
    }
}

impl Form {
    fn frame(&self, stream: LogStream, time: &Stamp) -> Frame {
        match self {
            Form::Json { attributes } => json::frame(stream, time, attributes),
            Form::K8s => k8s::frame(stream, time),
        }
    }

    fn encode(&self, record: &mut Vec<u8>, frame: &Frame, piece: Piece<'_>) {
        match self {
            Form::Json { .. } => frame.put(record, piece, json::escape),
            Form::K8s => frame.put(record, piece, k8s::write),
        }
    }
}
