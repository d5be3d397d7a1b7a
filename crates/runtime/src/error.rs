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
}

/// The stable name of a failure, for machines: finer than its kind where somebody knows more. Names are never changed or taken
/// away (docs/errors.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The request itself is wrong.
    Invalid,
    /// This host or kernel can't do it, or rabbitc can't.
    Unsupported,
    /// There is no such container, image, pod, volume or secret.
    NotFound,
    /// A file or directory is not there.
    PathNotFound,
    /// What was to be made is there.
    AlreadyExists,
    /// Another container or a pod has the name.
    NameInUse,
    /// Somebody has the address.
    AddressInUse,
    /// Somebody has the port of the host.
    PortInUse,
    /// None is free: no address, no port, no subnet.
    NoneFree,
    /// Something else uses it, or needs it.
    InUse,
    /// The container's status does not permit it.
    WrongStatus,
    /// The program is missing in the container.
    ProgramNotFound,
    /// The program is there and can't be executed.
    ProgramNotExecutable,
    /// Rights are missing.
    PermissionDenied,
    /// A registry wants credentials, or others.
    Unauthorized,
    /// A registry or the network could not be reached, or did not answer as it should.
    Remote,
    /// What was read or received is not what it should be.
    Damaged,
    /// The file system is read-only.
    ReadOnly,
    /// There is no room on a disk.
    NoSpace,
    /// A limit on open files is reached.
    TooManyFiles,
    /// Memory ran out before the program was up.
    OutOfMemory,
    /// Somebody asked for an end before there was a beginning.
    Interrupted,
    /// Something else failed, such as a system call.
    System,
}

impl Code {
    /// All that there are.
    pub const ALL: [Code; 23] = [
        Code::Invalid,
        Code::Unsupported,
        Code::NotFound,
        Code::PathNotFound,
        Code::AlreadyExists,
        Code::NameInUse,
        Code::AddressInUse,
        Code::PortInUse,
        Code::NoneFree,
        Code::InUse,
        Code::WrongStatus,
        Code::ProgramNotFound,
        Code::ProgramNotExecutable,
        Code::PermissionDenied,
        Code::Unauthorized,
        Code::Remote,
        Code::Damaged,
        Code::ReadOnly,
        Code::NoSpace,
        Code::TooManyFiles,
        Code::OutOfMemory,
        Code::Interrupted,
        Code::System,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Code::Invalid => "invalid",
            Code::Unsupported => "unsupported",
            Code::NotFound => "not-found",
            Code::PathNotFound => "path-not-found",
            Code::AlreadyExists => "already-exists",
            Code::NameInUse => "name-in-use",
            Code::AddressInUse => "address-in-use",
            Code::PortInUse => "port-in-use",
            Code::NoneFree => "none-free",
            Code::InUse => "in-use",
            Code::WrongStatus => "wrong-status",
            Code::ProgramNotFound => "program-not-found",
            Code::ProgramNotExecutable => "program-not-executable",
            Code::PermissionDenied => "permission-denied",
            Code::Unauthorized => "unauthorized",
            Code::Remote => "remote",
            Code::Damaged => "damaged",
            Code::ReadOnly => "read-only",
            Code::NoSpace => "no-space",
            Code::TooManyFiles => "too-many-files",
            Code::OutOfMemory => "out-of-memory",
            Code::Interrupted => "interrupted",
            Code::System => "system",
        }
    }
}

impl From<ErrorKind> for Code {
    fn from(kind: ErrorKind) -> Code {
        match kind {
            ErrorKind::Invalid => Code::Invalid,
            ErrorKind::Unsupported => Code::Unsupported,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::AlreadyExists => Code::AlreadyExists,
            ErrorKind::WrongStatus => Code::WrongStatus,
            ErrorKind::ProgramNotFound => Code::ProgramNotFound,
            ErrorKind::ProgramNotExecutable => Code::ProgramNotExecutable,
            ErrorKind::Permission => Code::PermissionDenied,
            ErrorKind::OutOfMemory => Code::OutOfMemory,
            ErrorKind::Interrupted => Code::Interrupted,
            ErrorKind::System => Code::System,
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
    /// Its name for machines, where it is finer than the sort's: see [`Error::code`].
    pub code: Option<Code>,
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
            code: None,
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

    /// A failed call on a path. Where rights are missing, the link of it that refuses is named.
    pub fn at_path(operation: &str, path: &Path, error: impl Into<io::Error>) -> Error {
        let error = Error::system(format!("{operation} `{}`", path.display()), error);
        error.naming_refusing_link(operation, path)
    }

    /// Says which link of `path` refuses, where rights are missing for `operation` on it.
    pub fn naming_refusing_link(mut self, operation: &str, path: &Path) -> Error {
        let may_be_told =
            matches!(self.errno, Some(libc_errno::EACCES | libc_errno::EPERM | libc_errno::EROFS));
        if may_be_told && let Some(link) = crate::refusing_link::find(operation, path) {
            self.reason = format!("{}: {}", self.reason, link.reason);
            self.hint = Some(link.hint);
            self.code = Some(self.code());
        }
        self
    }

    /// Its stable name for machines.
    pub fn code(&self) -> Code {
        match (self.code, self.kind, self.errno) {
            (Some(code), ..) => code,
            (None, _, Some(libc_errno::ENOSPC | libc_errno::EDQUOT)) => Code::NoSpace,
            (None, _, Some(libc_errno::EROFS)) => Code::ReadOnly,
            (None, _, Some(libc_errno::EMFILE | libc_errno::ENFILE)) => Code::TooManyFiles,
            (None, ErrorKind::System, Some(libc_errno::EADDRINUSE)) => Code::AddressInUse,
            (None, ErrorKind::System, Some(libc_errno::ENOENT | libc_errno::ENOTDIR)) => Code::PathNotFound,
            (None, kind, _) => Code::from(kind),
        }
    }

    /// Gives it a finer name for machines.
    pub fn with_code(mut self, code: Code) -> Error {
        self.code = Some(code);
        self
    }

    /// Names the field that led to it.
    pub fn from_field(mut self, field: impl Into<String>) -> Error {
        self.operation = format!("{}: {}", field.into(), self.operation);
        self
    }

    /// Adds what one can do about it. Where a link of a path was named that refuses, what opens that stays: it is more than
    /// whoever only knows of the path can say.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        if !matches!(self.code, Some(Code::PermissionDenied | Code::ReadOnly)) || self.hint.is_none() {
            self.hint = Some(hint.into());
        }
        self
    }

    /// The same of one who knows a way around: nothing on the path need be opened.
    pub fn with_way_around(mut self, hint: impl Into<String>) -> Error {
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
    pub(crate) const EADDRINUSE: i32 = 98;
    pub(crate) const ESTALE: i32 = 116;
    pub(crate) const EDQUOT: i32 = 122;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_on_the_page_of_errors_and_no_other() {
        let page = include_str!("../../../docs/errors.md");
        let table = page.split("| Code | |").nth(1).expect("the table of codes");
        let lines = table.lines().skip(1).take_while(|line| line.is_empty() || line.starts_with('|'));
        let listed: Vec<&str> =
            lines.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(listed, Code::ALL.map(Code::name));
        for code in Code::ALL {
            let written = serde_json::to_string(&code).expect("a string");
            assert_eq!(written, format!("\"{}\"", code.name()), "both are the same name");
        }
    }

    #[test]
    fn name_for_machines_is_finer_than_the_sort_where_more_is_known() {
        let full = Error::system("write", io::Error::from_raw_os_error(28));
        assert_eq!((full.kind, full.code()), (ErrorKind::System, Code::NoSpace));
        let missing = Error::system("read", io::Error::from_raw_os_error(2));
        assert_eq!(missing.code(), Code::PathNotFound);
        assert_eq!(Error::new(ErrorKind::NotFound, "find", "none").code(), Code::NotFound);
        assert_eq!(Error::invalid("--x", "y".to_owned()).with_code(Code::InUse).code(), Code::InUse);
    }
}
