//! Owns the veth pair between a bridge and a container's network namespace. It is made in one request and
//! never removed here: the namespace's death takes it along.

use std::net::Ipv4Addr;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::bridge::Bridge;
use crate::error::{Error, Kind, Result};
use crate::kernel::*;
use crate::link;
use crate::options::ContainerInterface;
use crate::republish::Tenant;
use netlink::{Batch, Socket};

/// The container's network namespace.
#[derive(Debug, Clone, Copy)]
pub enum NetnsTarget<'a> {
    /// That of this process, in the caller's pid namespace.
    Pid(Pid),
    /// An open `/proc/PID/ns/net`.
    Fd(BorrowedFd<'a>),
}

/// The pair as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The host's end, a port of the bridge: `vrc` and its index in eight hexadecimal digits.
    pub host_interface: String,
    /// The index of the host's end.
    pub host_index: u32,
    /// The container's address.
    pub address: Ipv4Addr,
}

/// Whether packets of a container that come back to it leave by the port of the bridge on which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hairpin {
    /// No: nothing of the kind is sent.
    Off,
    /// Yes: it reaches its own published ports where `br_netfilter` redirects them on the bridge.
    On,
}

/// Creates a veth pair: one end up and a port of the bridge, the other in the container's namespace as
/// `interface` says, to be configured there
/// ([`crate::NamespaceConfiguration`]).
pub fn attach(
    bridge: &Bridge,
    target: NetnsTarget<'_>,
    interface: &ContainerInterface,
    hairpin: Hairpin,
) -> Result<Attachment> {
    let name = bridge.network.name().as_str();
    let error = |errno: Errno| {
        let mut error = Error::from_errno("attach container to bridge", name, errno);
        match errno {
            Errno::XFULL => error.kind = Kind::BridgeFull,
            Errno::OPNOTSUPP => error.kind = Kind::KernelLacks("veth pairs (CONFIG_VETH)"),
            _ => {}
        }
        error
    };
    let mut socket = Socket::route().map_err(error)?;
    for _ in 0..16 {
        let host_index = random_index().map_err(error)?;
        let host_interface = format!("vrc{host_index:08x}");
        let batch = request(bridge, target, interface, host_index, &host_interface);
        match socket.execute(&batch) {
            Ok(()) => {
                let attachment = Attachment { host_interface, host_index, address: interface.ipv4 };
                return match socket.execute(&port_settings(&attachment, interface, hairpin)) {
                    Ok(()) => Ok(attachment),
                    Err(failure) => {
                        // Best effort: the failure is what the user needs to see.
                        let _ = link::delete(&mut socket, host_index);
                        Err(error(failure.errno))
                    }
                };
            }
            // The index or the name is in use: another one.
            Err(failure) if matches!(failure.errno, Errno::EXIST | Errno::BUSY) => {}
            Err(failure) => return Err(error(failure.errno)),
        }
    }
    Err(error(Errno::EXIST))
}

fn request(
    bridge: &Bridge,
    target: NetnsTarget<'_>,
    interface: &ContainerInterface,
    host_index: u32,
    host_interface: &str,
) -> Batch {
    let mut batch = Batch::new();
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    batch.message(RTM_NEWLINK, flags, &ifinfomsg(host_index, IFF_UP, IFF_UP), |m| {
        m.put_string(IFLA_IFNAME, host_interface);
        m.put_u32(IFLA_MASTER, bridge.index);
        one_queue(m);
        if let Some(mtu) = interface.mtu {
            m.put_u32(IFLA_MTU, mtu);
        }
        m.nest(IFLA_LINKINFO, |m| {
            m.put_string(IFLA_INFO_KIND, "veth");
            m.nest(IFLA_INFO_DATA, |m| {
                let peer = ifinfomsg(interface.index(), 0, 0);
                m.nest_after(VETH_INFO_PEER, &peer, |m| {
                    m.put_string(IFLA_IFNAME, interface.name());
                    m.put(IFLA_ADDRESS, &interface.mac);
                    one_queue(m);
                    if let Some(mtu) = interface.mtu {
                        m.put_u32(IFLA_MTU, mtu);
                    }
                    match target {
                        NetnsTarget::Pid(pid) => {
                            m.put_u32(IFLA_NET_NS_PID, pid.as_raw_nonzero().get().cast_unsigned());
                        }
                        NetnsTarget::Fd(descriptor) => {
                            m.put_u32(IFLA_NET_NS_FD, descriptor.as_raw_fd().cast_unsigned());
                        }
                    }
                });
            });
        });
    });
    batch
}

/// Tells the bridge where the container's hardware address is, for good. The last holder of the address had
/// the same one, and the kernel may still be busy with its namespace: left to learn, the bridge would send the
/// first packets there, where they are refused.
fn port_settings(attachment: &Attachment, interface: &ContainerInterface, hairpin: Hairpin) -> Batch {
    let mut batch = Batch::new();
    add_address(&mut batch, attachment.host_index, &interface.mac);
    if hairpin == Hairpin::On {
        add_hairpin(&mut batch, attachment.host_index);
    }
    batch
}

pub(crate) fn add_address(batch: &mut Batch, host_index: u32, mac: &[u8; 6]) {
    // struct ndmsg: family, padding, index, state, flags, type
    let mut ndmsg = [0; 12];
    ndmsg[0] = AF_BRIDGE;
    ndmsg[4..8].copy_from_slice(&host_index.to_ne_bytes());
    ndmsg[8..10].copy_from_slice(&NUD_NOARP.to_ne_bytes());
    // Sticky: a packet with this source on another port does not move it.
    ndmsg[10] = NTF_MASTER | NTF_STICKY;
    batch.message(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &ndmsg, |m| {
        m.put(NDA_LLADDR, mac);
    });
}

pub(crate) fn add_hairpin(batch: &mut Batch, host_index: u32) {
    let mut fixed = ifinfomsg(host_index, 0, 0);
    fixed[0] = AF_BRIDGE;
    batch.message(RTM_SETLINK, NLM_F_ACK, &fixed, |m| {
        m.nest(IFLA_PROTINFO, |m| m.put(IFLA_BRPORT_MODE, &[1]));
    });
}

/// The same as [`Hairpin::On`] for a container that runs; one without a port of the bridge has nothing to turn on.
pub(crate) fn turn_hairpin_on(
    socket: &mut Socket,
    tenant: Tenant<'_>,
    bridge: u32,
) -> rustix::io::Result<()> {
    let Some((_, peer)) = other_end(tenant)? else { return Ok(()) };
    let ports = link::all(socket, Some(bridge))?;
    if !ports.iter().any(|port| port.index == peer) {
        return Ok(());
    }
    let mut batch = Batch::new();
    add_hairpin(&mut batch, peer);
    socket.execute(&batch).map_err(|failure| failure.errno)
}

/// The hardware address of a container's interface, and the index of the host's end.
pub(crate) fn other_end(tenant: Tenant<'_>) -> rustix::io::Result<Option<([u8; 6], u32)>> {
    // A thread has a namespace of its own.
    std::thread::scope(|scope| {
        let looked = scope.spawn(|| {
            sys::namespace::join(tenant.namespace, sys::clone::flags::NEWNET)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            link::peer_of(&mut Socket::route()?, tenant.interface)
        });
        looked.join().unwrap_or(Err(Errno::CANCELED))
    })
}

/// By default a veth has a queue for each possible cpu (since 5.13), each with its memory and its directory in
/// sysfs; without XDP they do nothing, as veth sends without a lock.
fn one_queue(m: &mut netlink::Attributes<'_>) {
    m.put_u32(IFLA_NUM_TX_QUEUES, 1);
    m.put_u32(IFLA_NUM_RX_QUEUES, 1);
}

/// The kernel keeps the peer's index only if the host's end has one given as well (veth_newlink). Random: a
/// dead container's end may linger, so nothing of the container can name it.
fn random_index() -> rustix::io::Result<u32> {
    let bytes = sys::random::bytes()?;
    // Positive as an int, and far above what the kernel counts up to by itself.
    Ok(u32::from_ne_bytes(bytes) & 0x3fff_ffff | 0x4000_0000)
}
