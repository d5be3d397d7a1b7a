//! Owns where a container's output is kept. Must never hold the container back.

use std::path::PathBuf;

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
