//! The engine's error is the runtime's: one shape of message from the command line down to the failing call.

pub use runtime::{Error, Result};

use runtime::ErrorKind;

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
    let mut result = Error::new(kind, error.operation, error.reason);
    result.errno = error.errno;
    result.hint = error.hint;
    result
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
    let mut result = Error::new(kind, error.what(), error.reason());
    result.errno = error.cause.map(|errno| errno.raw_os_error());
    result.hint = error.hint();
    result
}
