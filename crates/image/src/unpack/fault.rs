//! Why an entry can't be unpacked, before it is said which one. Must not know the entry.

use std::io;

use rustix::io::Errno;

use crate::error::{Error, Kind};

/// An [`Error`] without its operation.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    reason: String,
    hint: Option<String>,
    errno: Option<Errno>,
}

/// What a step of unpacking gives.
pub(crate) type Outcome<T> = std::result::Result<T, Fault>;

impl Fault {
    /// A rule of the formats is broken.
    pub(crate) fn corrupt(reason: impl Into<String>) -> Fault {
        Fault { kind: Kind::Corrupt, reason: reason.into(), hint: None, errno: None }
    }

    /// A bound is reached.
    pub(crate) fn too_much(reason: impl Into<String>) -> Fault {
        Fault { kind: Kind::TooMuch, ..Fault::corrupt(reason) }
    }

    /// It is not to be done with what is there.
    pub(crate) fn refused(reason: impl Into<String>) -> Fault {
        Fault { kind: Kind::Invalid, ..Fault::corrupt(reason) }
    }

    /// The kernel refused to do something, named by a verb and its object.
    pub(crate) fn system(what: &str, errno: Errno) -> Fault {
        let text = sys::errno_text(errno.raw_os_error());
        let reason = if what.is_empty() { text } else { format!("can't {what}: {text}") };
        let hint = match errno {
            Errno::NOSPC | Errno::DQUOT => Some("free some space where images are kept".to_owned()),
            _ => None,
        };
        Fault { kind: Kind::System, reason, hint, errno: Some(errno) }
    }

    /// What reading the archive failed with.
    pub(crate) fn reading(error: &io::Error) -> Fault {
        if let Some(errno) = Errno::from_io_error(error) {
            return Fault::system("read the archive", errno);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::corrupt("the archive is cut off"),
            io::ErrorKind::Unsupported => {
                Fault { kind: Kind::Unsupported, ..Fault::corrupt(error.to_string()) }
            }
            _ => Fault::corrupt(format!("the archive can't be decompressed: {error}")),
        }
    }

    /// Adds what one can do.
    pub(crate) fn with_hint(self, hint: String) -> Fault {
        Fault { hint: Some(hint), ..self }
    }

    /// Says what was being done.
    pub(crate) fn during(self, operation: impl Into<String>) -> Error {
        Error {
            operation: operation.into(),
            kind: self.kind,
            reason: self.reason,
            hint: self.hint,
            errno: self.errno.map(Errno::raw_os_error),
        }
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Fault {
        Fault::system("", errno)
    }
}

/// A name of the archive as it may be shown: in one line, without control characters, and not too long.
pub(crate) fn shown(name: &[u8]) -> String {
    const MOST: usize = 300;
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.extend(chunk.valid().escape_debug());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        if text.chars().count() > MOST {
            return text.chars().take(MOST).chain(['…']).collect();
        }
    }
    text
}
