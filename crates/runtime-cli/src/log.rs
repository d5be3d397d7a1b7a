//! Owns the log file that callers name with `--log`, in the two forms they read: logrus' text and its JSON. Must not
//! write anywhere else.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The form of the log's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

/// How much a line matters, by logrus' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warning,
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Debug => "debug",
        }
    }
}

/// Opens the log, and makes it where it is missing.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Appends one line, in one write, as several commands may share the file.
pub(crate) fn append(path: &Path, format: Format, level: Level, message: &str) -> std::io::Result<()> {
    open(path)?.write_all(line(format, level, message).as_bytes())
}

/// One line, of now.
pub(crate) fn line(format: Format, level: Level, message: &str) -> String {
    line_at(format, level, message, &timestamp(SystemTime::now()))
}

fn line_at(format: Format, level: Level, message: &str, time: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match format {
        Format::Json => {
            format!("{{\"level\":\"{}\",\"msg\":{},\"time\":\"{time}\"}}\n", level.name(), quoted(message))
        }
        Format::Text => format!("time=\"{time}\" level={} msg={}\n", level.name(), quoted(message)),
    }
}

/// A moment as RFC 3339 writes it, in UTC, with whole seconds.
pub(crate) fn timestamp(moment: SystemTime) -> String {
    rfc3339(moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// Seconds since 1970 as RFC 3339 writes them, in UTC.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = sys::calendar::date(days as i64);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_days_and_ends_of_years_have_their_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn message_with_quotes_and_lines_stays_one_line_of_json() {
        let text = line_at(Format::Json, Level::Error, "a \"b\"\nc", "T");
        assert_eq!(text, "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\nc\",\"time\":\"T\"}\n");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["msg"], "a \"b\"\nc");
    }
}
