//! The engine's error is the runtime's: one shape of message from the command line down to the failing call.

pub use runtime::{Code, Error, Result};

use std::path::PathBuf;

use runtime::ErrorKind;
use serde::{Deserialize, Serialize};

/// An error of the system in the house's words, without its number.
pub(crate) fn io_text(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), sys::errno_text)
}

/// Words of the image crate, in that shape.
pub(crate) fn from_image(error: image::Error) -> Error {
    let kind = match error.kind {
        image::Kind::Invalid => ErrorKind::Invalid,
        image::Kind::InUse => ErrorKind::WrongStatus,
        image::Kind::NotFound => ErrorKind::NotFound,
        image::Kind::Unauthorized => ErrorKind::Permission,
        image::Kind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::System,
    };
    let code = match error.kind {
        image::Kind::InUse => Some(Code::InUse),
        image::Kind::Unauthorized => Some(Code::Unauthorized),
        image::Kind::Corrupt => Some(Code::Damaged),
        image::Kind::Remote => Some(Code::Remote),
        _ => None,
    };
    let path = error.operation.split('`').nth(1).filter(|object| object.starts_with('/')).map(PathBuf::from);
    let mut result = Error::new(kind, error.operation, error.reason);
    (result.code, result.errno, result.hint) = (code, error.errno, error.hint);
    match path {
        Some(path) => {
            let operation = result.operation.clone();
            result.naming_refusing_link(operation.split(" `").next().unwrap_or_default(), &path)
        }
        None => result,
    }
}

/// Words of the monitor crate, in that shape.
pub(crate) fn from_monitor(error: &monitor::Error) -> Error {
    let operation = format!("supervise the container: {} {}", error.operation, error.object);
    let result = Error::system(operation, error.cause);
    match error.hint() {
        Some(hint) => result.with_hint(hint),
        None => result,
    }
}

/// Words of the network crate, in that shape.
pub(crate) fn from_network(error: network::Error) -> Error {
    let kind = match &error.kind {
        network::Kind::InvalidName(_)
        | network::Kind::InvalidSubnet(_)
        | network::Kind::InvalidAddress(_)
        | network::Kind::AddressTaken { .. }
        | network::Kind::NameBelongsToSomethingElse(_)
        | network::Kind::SubnetDiffers(_)
        | network::Kind::SubnetOverlaps { .. }
        | network::Kind::PortTaken(_)
        | network::Kind::NoFreePort
        | network::Kind::NoFreeSubnet
        | network::Kind::AddressNotHere
        | network::Kind::AddressOfMany
        | network::Kind::NoIpv6
        | network::Kind::NoIpv6Loopback
        | network::Kind::TooManyPorts => ErrorKind::Invalid,
        network::Kind::NotPermitted => ErrorKind::Permission,
        network::Kind::KernelLacks(_) => ErrorKind::Unsupported,
        _ => ErrorKind::System,
    };
    let code = match &error.kind {
        network::Kind::AddressTaken { .. } => Some(Code::AddressInUse),
        network::Kind::PortTaken(_) => Some(Code::PortInUse),
        network::Kind::NoFreeAddress | network::Kind::NoFreePort | network::Kind::NoFreeSubnet => {
            Some(Code::NoneFree)
        }
        network::Kind::NameBelongsToSomethingElse(_) | network::Kind::SubnetDiffers(_) => Some(Code::InUse),
        _ => None,
    };
    let mut result = Error::new(kind, error.what(), error.reason());
    result.code = code;
    result.errno = error.cause.map(|errno| errno.raw_os_error());
    result.hint = error.hint();
    result
}

/// An error on its way from one process of this program to another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    operation: String,
    kind: ErrorKind,
    #[serde(default)]
    code: Option<Code>,
    reason: String,
    errno: Option<i32>,
    hint: Option<String>,
    rollback: Vec<Failure>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        // Such a process runs no plan, so that there is no step.
        let Error { operation, kind, code, reason, errno, step: _, hint, rollback } = error;
        let rollback = rollback.into_iter().map(Failure::from).collect();
        Failure { operation, kind, code, reason, errno, hint, rollback }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        let Failure { operation, kind, code, reason, errno, hint, rollback } = failure;
        let rollback = rollback.into_iter().map(Error::from).collect();
        Error { code, errno, hint, rollback, ..Error::new(kind, operation, reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_supervision_keeps_its_cause_and_its_hint() {
        let (operation, cause) = (monitor::Operation::Reap, rustix::io::Errno::CHILD);
        let error = from_monitor(&monitor::Error { operation, object: "process 7".to_owned(), cause });
        let text = "supervise the container: read the exit status of process 7: no child process";
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!(error.errno, Some(cause.raw_os_error()));
        assert!(error.hint.is_some_and(|hint| hint.contains("SIGCHLD")));
    }

    #[test]
    fn failure_of_the_process_is_told_with_its_kind_and_its_number() {
        let mut denied = Error::system("unpack", rustix::io::Errno::ACCESS).with_hint("a hint");
        denied.rollback.push(Error::system("remove", rustix::io::Errno::BUSY));
        let text = serde_json::to_vec(&Failure::from(denied)).expect("only string keys");
        let told: Error = serde_json::from_slice::<Failure>(&text).expect("as it was written").into();
        assert_eq!((told.kind, told.errno), (ErrorKind::Permission, Some(13)));
        assert_eq!(told.rollback.iter().map(|failed| failed.errno).collect::<Vec<_>>(), [Some(16)]);
        assert_eq!(
            (told.to_string().as_str(), told.hint.as_deref()),
            ("unpack: permission denied", Some("a hint"))
        );
    }
}
