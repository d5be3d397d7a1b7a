//! Owns the crate's error and its remedies; prints nothing.

use std::fmt;
use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::port_holder::PortHolder;

/// What went wrong, on what, and why; [`Error::hint`] says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was being done, as a verb phrase: `create bridge`.
    pub operation: &'static str,
    /// The one thing it was done to: a name, an address, a path.
    pub object: String,
    /// The closed set of reasons.
    pub kind: Kind,
    /// The kernel's answer, where it was the kernel that refused.
    pub cause: Option<Errno>,
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The name cannot be an interface's name; the text says which rule it breaks.
    InvalidName(&'static str),
    /// The text is not a usable subnet in CIDR notation; the text says why.
    InvalidSubnet(&'static str),
    /// The requested container address cannot be used in this subnet; the text says why.
    InvalidAddress(&'static str),
    /// Another container holds the address.
    AddressTaken {
        /// The holder's id as it stands in the lease, or nothing if it has not been written yet.
        holder: Option<String>,
    },
    /// Every address of the subnet is leased.
    NoFreeAddress,
    /// An interface with the network's name exists and is not ours; the text says what it is.
    NameBelongsToSomethingElse(String),
    /// Our bridge is in use with another subnet (its text is here).
    SubnetDiffers(String),
    /// Another interface or route of the host covers part of the subnet.
    SubnetOverlaps {
        /// The other subnet in CIDR notation.
        subnet: String,
        /// The interface it belongs to.
        interface: String,
    },
    /// Every subnet that a network may get without being told is somebody's.
    NoFreeSubnet,
    /// Somebody has the port; the text says who.
    PortTaken(PortHolder),
    /// None of the ports that would do is free, or there are none.
    NoFreePort,
    /// No interface of this host has the address.
    AddressNotHere,
    /// The address is that of a group or of all of a subnet.
    AddressOfMany,
    /// The address is of a family that the network does not have.
    NoIpv6,
    /// `::1` can't be redirected here: see [`crate::HeldPorts::take`].
    NoIpv6Loopback,
    /// Too many ports with numbers of their own for one container.
    TooManyPorts,
    /// The bridge has its kernel maximum of 1,023 ports.
    BridgeFull,
    /// A firewall of the host could not be told of the bridge; the text says how, and what it said.
    FirewallRefused(String),
    /// The caller may not do this.
    NotPermitted,
    /// The kernel was built without something, named here.
    KernelLacks(&'static str),
    /// The kernel refused; see `cause`.
    Refused,
    /// The kernel's answer could not be read: a bug here or there.
    Malformed,
}

impl Error {
    pub(crate) fn new(operation: &'static str, object: impl Into<String>, kind: Kind) -> Self {
        Self { operation, object: object.into(), kind, cause: None }
    }

    /// The kernel's refusal, with the kinds that an errno alone decides.
    pub(crate) fn from_errno(operation: &'static str, object: impl Into<String>, errno: Errno) -> Self {
        let kind = match errno {
            Errno::PERM | Errno::ACCESS | Errno::ROFS => Kind::NotPermitted,
            _ => Kind::Refused,
        };
        Self { operation, object: object.into(), kind, cause: Some(errno) }
    }

    /// What was being done, and to what.
    pub fn what(&self) -> String {
        format!("{} `{}`", self.operation, self.object)
    }

    /// Why it failed, in words.
    pub fn reason(&self) -> String {
        Reason(self).to_string()
    }

    /// What the user can do about it, where something is known; lower case, no final period.
    pub fn hint(&self) -> Option<String> {
        Some(match &self.kind {
            Kind::InvalidName(_) => "choose a name of 1 to 15 letters, digits, `-`, `_` or `.`".into(),
            Kind::InvalidSubnet(_) => {
                "give the gateway's address and the prefix length, such as `172.19.0.1/16`".into()
            }
            Kind::InvalidAddress(_) => {
                "choose an address inside the network, or leave it out to get the next free one".into()
            }
            Kind::AddressTaken { .. } => {
                "choose another address, or leave it out to get the next free one".into()
            }
            Kind::NoFreeAddress => "stop a container on this network, or use a larger subnet".into(),
            Kind::NameBelongsToSomethingElse(_) => "choose another network name".into(),
            Kind::SubnetDiffers(present) => {
                format!(
                    "use `{present}`, choose another network name, or stop the network's containers first"
                )
            }
            Kind::SubnetOverlaps { .. } => {
                "choose another subnet with `--network-ip`, or name another network with `--network-name`, which gets \
                 a free one"
                    .into()
            }
            Kind::NoFreeSubnet => "name one with `--network-ip`, such as `--network-ip=10.5.0.1/24`".into(),
            Kind::PortTaken(PortHolder::Itself) => "publish each port of the host once".into(),
            Kind::PortTaken(_) => {
                "choose another port of the host, leave it out to get a free one, or stop its holder".into()
            }
            Kind::NoFreePort => "choose other ports of the host, from 1 to 65535".into(),
            Kind::AddressNotHere | Kind::AddressOfMany => {
                "give an address that an interface of this host has, or none to publish on all".into()
            }
            Kind::NoIpv6 => "give an IPv4 address: this host has IPv6 turned off".into(),
            Kind::NoIpv6Loopback => {
                "publish on 127.0.0.1, or turn it off with `sysctl net.bridge.bridge-nf-call-ip6tables=0`"
                    .into()
            }
            Kind::TooManyPorts => {
                "publish a range on the same ports of the host: it costs no more than one port".into()
            }
            Kind::BridgeFull => "start the container on another network".into(),
            Kind::FirewallRefused(_) => {
                "run that command yourself, or leave `--firewall-integrate` out".into()
            }
            Kind::NotPermitted if self.cause == Some(Errno::ROFS) => {
                "`/proc/sys` is read-only here; set the value from outside, or make it writable".into()
            }
            Kind::NotPermitted => "run as root, or with CAP_NET_ADMIN in this network namespace".into(),
            Kind::KernelLacks(what) => format!("use a kernel with {what}"),
            Kind::Refused if self.cause == Some(Errno::NODEV) => {
                "name an interface that this host has: `ip link` lists them".into()
            }
            Kind::Refused if self.cause == Some(Errno::NOSPC) => {
                "the file system that holds the state is full: make room on it".into()
            }
            Kind::Refused if self.cause == Some(Errno::MFILE) => {
                "publish fewer ports, or allow more open files: `ulimit -n`, and `sysctl fs.nr_open` above it"
                    .into()
            }
            Kind::Refused | Kind::Malformed => return None,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what(), Reason(self))
    }
}

/// Why, in words.
struct Reason<'a>(&'a Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        match &error.kind {
            Kind::InvalidName(why) | Kind::InvalidSubnet(why) | Kind::InvalidAddress(why) => f.write_str(why),
            Kind::AddressTaken { holder: Some(holder) } => write!(f, "address taken by container `{holder}`"),
            Kind::AddressTaken { holder: None } => f.write_str("address taken by another container"),
            Kind::NoFreeAddress => f.write_str("no free address"),
            Kind::NameBelongsToSomethingElse(what) => write!(f, "the name belongs to something else: {what}"),
            Kind::SubnetDiffers(present) => {
                write!(f, "the network is in use with another subnet, `{present}`")
            }
            Kind::SubnetOverlaps { subnet, interface } => {
                write!(f, "the subnet overlaps with `{subnet}` on interface `{interface}`")
            }
            Kind::NoFreeSubnet => f.write_str("no subnet of those that rabbitc chooses from is free"),
            Kind::PortTaken(holder) => write!(f, "the port is taken by {holder}"),
            Kind::NoFreePort => f.write_str("no free port"),
            Kind::AddressNotHere => f.write_str("no interface of this host has the address"),
            Kind::AddressOfMany => {
                f.write_str("it is a multicast or broadcast address, which no interface has for itself")
            }
            Kind::NoIpv6 => f.write_str("the network has no IPv6"),
            Kind::NoIpv6Loopback => {
                f.write_str("this host filters bridged IPv6 (br_netfilter), which loses answers to `::1`")
            }
            Kind::TooManyPorts => f.write_str("too many ports lead to ports of another number"),
            Kind::BridgeFull => f.write_str("the bridge has its maximum of 1023 ports"),
            Kind::FirewallRefused(what) => f.write_str(what),
            Kind::KernelLacks(what) => write!(f, "the kernel lacks {what}"),
            Kind::Malformed => f.write_str("the kernel's answer is malformed"),
            Kind::NotPermitted | Kind::Refused => match error.cause {
                Some(errno) => f.write_str(&sys::errno_text(errno.raw_os_error())),
                None => f.write_str("refused"),
            },
        }
    }
}

impl std::error::Error for Error {}

/// How an address and its prefix length are written.
pub(crate) fn cidr(address: Ipv4Addr, prefix: u8) -> String {
    format!("{address}/{prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_operation_object_and_cause_without_the_number() {
        let error = Error::from_errno("create bridge", "rabbitc0", Errno::PERM);
        assert_eq!(error.to_string(), "create bridge `rabbitc0`: operation not permitted");
        assert!(error.hint().expect("has a remedy").contains("root"));
    }

    #[test]
    fn taken_address_names_its_holder() {
        let kind = Kind::AddressTaken { holder: Some("web".into()) };
        let error = Error::new("lease address", "172.19.0.2", kind);
        assert_eq!(error.to_string(), "lease address `172.19.0.2`: address taken by container `web`");
    }
}
