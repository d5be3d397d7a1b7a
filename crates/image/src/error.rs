//! The one error type of this crate. Must not print.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, on what, and why; [`Error::hint`] is what one can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What was being done and to what: ``fetch the manifest of `docker.io/library/alpine:3` ``.
    pub operation: String,
    /// The class of the failure, for exit codes and decisions of the caller.
    pub kind: Kind,
    /// Why, in words.
    pub reason: String,
    /// What one can do.
    pub hint: Option<String>,
    /// The kernel's answer, where it was the kernel that refused.
    pub errno: Option<i32>,
}

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// The caller's words can't be used, whatever the host and the registry.
    Invalid,
    /// There is no such image, tag, blob or file.
    NotFound,
    /// Credentials are missing, or not good for this.
    Unauthorized,
    /// What was received or read breaks a rule of the formats, or is not what its digest says.
    Corrupt,
    /// A bound on size, number or time was reached.
    TooMuch,
    /// Something that this program or this host can't do.
    Unsupported,
    /// The other end could not be reached, or did not answer as it should.
    Remote,
    /// Somebody else uses it.
    InUse,
    /// The kernel refused.
    System,
}

impl Error {
    /// An error without a hint.
    pub fn new(kind: Kind, operation: impl Into<String>, reason: impl Into<String>) -> Error {
        Error { operation: operation.into(), kind, reason: reason.into(), hint: None, errno: None }
    }

    /// The kernel's refusal.
    pub fn system(operation: impl Into<String>, error: impl Into<std::io::Error>) -> Error {
        let error = error.into();
        let errno = error.raw_os_error();
        let reason = errno.map_or_else(|| error.to_string(), sys::errno_text);
        let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        let hint = is_full.then(|| {
            "make room there, or use another `--root`; `rabbitc system df` shows what images take".into()
        });
        Error { errno, hint, ..Error::new(Kind::System, operation, reason) }
    }

    /// The kernel's refusal of an operation on a path.
    pub fn at_path(verb: &str, path: &Path, error: impl Into<std::io::Error>) -> Error {
        Error::system(format!("{verb} `{}`", path.display()), error)
    }

    /// What a reader or writer reports: an error of this crate as it was, any other as the kernel's.
    pub fn from_io(operation: impl Into<String>, error: std::io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::system(operation, error),
        }
    }

    /// Adds what one can do.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.operation, self.reason)
    }
}

impl std::error::Error for Error {}

/// For readers and writers; [`Error::from_io`] gets it back.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        std::io::Error::other(error)
    }
}
