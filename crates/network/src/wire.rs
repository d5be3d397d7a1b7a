//! Owns the other kind of end: an interface on a wire of the host (macvlan, ipvlan). It is made in one request in the container's
//! network namespace, whose death takes it along; nothing is changed on the host.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::attachment::NetnsTarget;
use crate::error::{Error, Kind, Result};
use crate::kernel::*;
use crate::link;
use crate::options::{ContainerInterface, InterfaceName};
use netlink::{Attributes, Batch, Socket};

/// An interface of the host whose wire containers are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Its name; none means that of the host's default route.
    pub parent: Option<InterfaceName>,
    /// How containers take part in it.
    pub kind: WireKind,
}

/// How an interface takes part in the wire of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireKind {
    /// With a hardware address of its own; the number is one of the kernel's modes (`enum macvlan_mode`, if_link.h).
    Macvlan(u32),
    /// With that of the host; likewise (`enum ipvlan_mode`).
    Ipvlan(u16),
}

impl WireKind {
    /// macvlan: interfaces of the same wire reach each other at once.
    pub const BRIDGE: WireKind = WireKind::Macvlan(4);
    /// macvlan: they don't.
    pub const PRIVATE: WireKind = WireKind::Macvlan(1);
    /// macvlan: they do by way of the switch.
    pub const VEPA: WireKind = WireKind::Macvlan(2);
    /// macvlan: the wire is one container's alone.
    pub const PASSTHRU: WireKind = WireKind::Macvlan(8);
    /// ipvlan as a switch.
    pub const L2: WireKind = WireKind::Ipvlan(0);
    /// ipvlan as a router.
    pub const L3: WireKind = WireKind::Ipvlan(1);
    /// ipvlan as a router that the host's connection tracking sees.
    pub const L3S: WireKind = WireKind::Ipvlan(2);

    fn name(self) -> &'static str {
        match self {
            WireKind::Macvlan(_) => "macvlan",
            WireKind::Ipvlan(_) => "ipvlan",
        }
    }
}

impl Wire {
    /// Looks whether its parent is there.
    pub fn check(&self) -> Result<()> {
        self.index().map(drop)
    }

    fn index(&self) -> Result<u32> {
        let object = || self.parent.as_ref().map_or("default route", InterfaceName::as_str);
        let error = |errno| Error::from_errno("look for the parent interface", object(), errno);
        let mut socket = Socket::route().map_err(error)?;
        match &self.parent {
            Some(name) => match link::by_name(&mut socket, name.as_str()).map_err(error)? {
                Some(link) => Ok(link.index),
                None => Err(error(Errno::NODEV)),
            },
            None => {
                interface_of_default_route(&mut socket).map_err(error)?.ok_or_else(|| error(Errno::NODEV))
            }
        }
    }
}

/// The interface by which the host reaches everything else, with the lowest metric.
fn interface_of_default_route(socket: &mut Socket) -> std::result::Result<Option<u32>, Errno> {
    let mut found: Vec<(u32, u32)> = Vec::new();
    let mut rtmsg = [0; 12];
    rtmsg[0] = AF_INET;
    let mut batch = Batch::new();
    batch.message(RTM_GETROUTE, NLM_F_DUMP, &rtmsg, |_| ());
    socket.dump(&batch, |message| {
        if let Some((fixed, attributes)) = message.split(12)
            && message.kind == RTM_NEWROUTE
            && fixed[1] == 0
            && fixed[7] == RTN_UNICAST
            && fixed[4] == RT_TABLE_MAIN
            && let Some(index) = attributes.find_u32(RTA_OIF)
        {
            found.push((attributes.find_u32(RTA_PRIORITY).unwrap_or(0), index));
        }
    })?;
    Ok(found.into_iter().min().map(|(_, index)| index))
}

/// Makes an interface on a wire in the container's namespace as `interface` says, to be configured there
/// ([`crate::NamespaceConfiguration`]).
pub fn attach_to_wire(wire: &Wire, target: NetnsTarget<'_>, interface: &ContainerInterface) -> Result<()> {
    let parent = wire.index()?;
    let object = wire.parent.as_ref().map_or("default route", InterfaceName::as_str);
    let error = |errno: Errno| {
        let mut error = Error::from_errno("attach container to the wire of", object, errno);
        if errno == Errno::OPNOTSUPP {
            error.kind = Kind::KernelLacks(match wire.kind {
                WireKind::Macvlan(_) => "macvlan (CONFIG_MACVLAN)",
                WireKind::Ipvlan(_) => "ipvlan (CONFIG_IPVLAN)",
            });
        }
        error
    };
    let mut socket = Socket::route().map_err(error)?;
    let mut batch = Batch::new();
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    batch.message(RTM_NEWLINK, flags, &ifinfomsg(interface.index(), 0, 0), |m| {
        m.put_string(IFLA_IFNAME, interface.name());
        m.put_u32(IFLA_LINK, parent);
        put_target(m, target);
        if let WireKind::Macvlan(_) = wire.kind {
            m.put(IFLA_ADDRESS, &interface.mac);
        }
        if let Some(mtu) = interface.mtu {
            m.put_u32(IFLA_MTU, mtu);
        }
        m.nest(IFLA_LINKINFO, |m| {
            m.put_string(IFLA_INFO_KIND, wire.kind.name());
            m.nest(IFLA_INFO_DATA, |m| match wire.kind {
                WireKind::Macvlan(mode) => m.put_u32(IFLA_MACVLAN_MODE, mode),
                WireKind::Ipvlan(mode) => m.put(IFLA_IPVLAN_MODE, &mode.to_ne_bytes()),
            });
        });
    });
    socket.execute(&batch).map_err(|failure| error(failure.errno))
}

fn put_target(m: &mut Attributes<'_>, target: NetnsTarget<'_>) {
    match target {
        NetnsTarget::Pid(pid) => m.put_u32(IFLA_NET_NS_PID, number(pid)),
        NetnsTarget::Fd(descriptor) => m.put_u32(IFLA_NET_NS_FD, descriptor_number(descriptor)),
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().cast_unsigned()
}

fn descriptor_number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}
