//! The runtime's one error: what was being done, to what, why it failed, and what one can do about it.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::launch::StepTiming;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure it is; each maps once to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The request itself is wrong, and nothing was touched.
    Invalid,
    /// This host or kernel can't do it.
    Unsupported,
    /// No such container.
    NotFound,
    /// A container of this id exists.
    AlreadyExists,
    /// The container's status does not permit the verb.
    WrongStatus,
    /// The program is missing in the container.
    ProgramNotFound,
    /// The program is there and can't be executed.
    ProgramNotExecutable,
    /// Rights are missing.
    Permission,
    /// Killed for want of memory before it was up.
    OutOfMemory,
    /// Somebody asked for an end before there was a beginning.
    Interrupted,
    /// A system call failed.
    System,
}

impl ErrorKind {
    /// The exit code that docker and podman give for it.
    pub fn exit_code(self) -> i32 {
        match self {
            ErrorKind::ProgramNotFound => 127,
            ErrorKind::ProgramNotExecutable => 126,
            _ => 125,
        }
    }

    /// A stable name for machines.
    pub fn code(self) -> &'static str {
        match self {
            ErrorKind::Invalid => "invalid",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::NotFound => "not-found",
            ErrorKind::AlreadyExists => "already-exists",
            ErrorKind::WrongStatus => "wrong-status",
            ErrorKind::ProgramNotFound => "program-not-found",
            ErrorKind::ProgramNotExecutable => "program-not-executable",
            ErrorKind::Permission => "permission",
            ErrorKind::OutOfMemory => "out-of-memory",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::System => "system",
        }
    }
}

/// The step of a plan at which it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    /// From 1.
    pub number: usize,
    /// How many there are.
    pub total: usize,
    /// The path into config.json that asked for it.
    pub asked_by: Option<String>,
    /// The system call.
    pub call: Option<&'static str>,
    /// The program that the kernel was asked to execute, where it is that call.
    pub program: Option<String>,
    /// When the steps up to it ran, where the start was timed.
    pub timeline: Vec<StepTiming>,
}

/// A failure.
#[derive(Debug)]
pub struct Error {
    /// What was being done and to what, in lower case, without period.
    pub operation: String,
    /// The sort.
    pub kind: ErrorKind,
    /// Why, in words.
    pub reason: String,
    /// The kernel's number, where a call failed.
    pub errno: Option<i32>,
    /// Where in the plan.
    pub step: Option<Box<FailedStep>>,
    /// What one can do.
    pub hint: Option<String>,
    /// What went wrong while things were taken back; it never replaces the cause.
    pub rollback: Vec<Error>,
}

impl Error {
    /// A failure in words.
    pub fn new(kind: ErrorKind, operation: impl Into<String>, reason: impl Into<String>) -> Error {
        Error {
            operation: operation.into(),
            kind,
            reason: reason.into(),
            errno: None,
            step: None,
            hint: None,
            rollback: Vec::new(),
        }
    }

    /// A field or argument that is wrong.
    pub fn invalid(field: impl Into<String>, reason: String) -> Error {
        Error::new(ErrorKind::Invalid, field, reason)
    }

    /// Something that is asked for and can't be had here.
    pub fn unsupported(field: impl Into<String>, what: String, hint: &str) -> Error {
        Error::new(ErrorKind::Unsupported, field, format!("{what} is not supported")).with_hint(hint)
    }

    /// A failed call.
    pub fn system(operation: impl Into<String>, error: impl Into<io::Error>) -> Error {
        let error = error.into();
        let errno = error.raw_os_error();
        let kind = match errno {
            Some(libc_errno::EPERM | libc_errno::EACCES) => ErrorKind::Permission,
            _ => ErrorKind::System,
        };
        let reason = errno.map_or_else(|| error.to_string(), sys::errno_text);
        // What holds for any call; who knows more says it instead.
        let hint = match errno {
            Some(libc_errno::ENOSPC) => Some("the file system is full: make room on it"),
            Some(libc_errno::EROFS) => {
                Some("the file system is read-only: make it writable, or choose another place")
            }
            Some(libc_errno::EMFILE | libc_errno::ENFILE) => {
                Some("raise the limit on open files: `ulimit -n`")
            }
            _ => None,
        };
        Error { errno, hint: hint.map(str::to_owned), ..Error::new(kind, operation, reason) }
    }

    /// A failed call on a path.
    pub fn at_path(operation: &str, path: &Path, error: impl Into<io::Error>) -> Error {
        Error::system(format!("{operation} `{}`", path.display()), error)
    }

    /// Names the field that led to it.
    pub fn from_field(mut self, field: impl Into<String>) -> Error {
        self.operation = format!("{}: {}", field.into(), self.operation);
        self
    }

    /// Adds what one can do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Names the container.
    pub fn in_container(mut self, id: &str) -> Error {
        self.operation = format!("{} in container `{}`", self.operation, short(id));
        self
    }
}

/// An id as people see it: of those that are 64 digits, the first twelve.
pub fn short(id: &str) -> &str {
    let is_long = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_long { &id[..12] } else { id }
}

/// Numbers of `errno(3)` that decide something here.
pub(crate) mod libc_errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const E2BIG: i32 = 7;
    pub(crate) const ENOEXEC: i32 = 8;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const ENOTDIR: i32 = 20;
    pub(crate) const EISDIR: i32 = 21;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const ENFILE: i32 = 23;
    pub(crate) const EMFILE: i32 = 24;
    pub(crate) const ENOSPC: i32 = 28;
    pub(crate) const EROFS: i32 = 30;
    pub(crate) const ENAMETOOLONG: i32 = 36;
    pub(crate) const ENOSYS: i32 = 38;
    pub(crate) const ELOOP: i32 = 40;
    pub(crate) const EOVERFLOW: i32 = 75;
    pub(crate) const EUSERS: i32 = 87;
    pub(crate) const ESTALE: i32 = 116;
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.operation, self.reason)
    }
}

impl std::error::Error for Error {}

impl From<cgroup::Error> for Error {
    fn from(error: cgroup::Error) -> Error {
        let kind = match error.kind {
            cgroup::Kind::Invalid => ErrorKind::Invalid,
            cgroup::Kind::Permission | cgroup::Kind::ReadOnly => ErrorKind::Permission,
            cgroup::Kind::NoHierarchy | cgroup::Kind::ControllerUnavailable | cgroup::Kind::Unsupported => {
                ErrorKind::Unsupported
            }
            _ => ErrorKind::System,
        };
        let text = error.to_string();
        let (operation, reason) = text.split_once(": ").unwrap_or((&text, "failed"));
        Error {
            errno: error.cause.map(|errno| errno.raw_os_error()),
            hint: error.hint().map(str::to_owned),
            ..Error::new(kind, operation, reason)
        }
    }
}
