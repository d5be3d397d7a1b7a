//! Owns what a responder listens with: sockets at the bridge's own addresses that hear the bridge alone.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt};

use crate::error::{Error, Result};
use crate::options::BridgeNetwork;

/// The port of DNS.
pub(crate) const PORT: u16 = 53;
/// How many connections wait to be accepted.
const WAITING: i32 = 16;

/// A socket of each kind for each of the bridge's addresses.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: Vec<TcpListener>,
}

impl Sockets {
    /// Opens them. The bridge has its addresses.
    pub(crate) fn open(network: &BridgeNetwork) -> Result<Self> {
        let mut sockets = Self::default();
        for address in addresses(network) {
            let error = |errno| {
                Error::from_errno("listen for names at", SocketAddr::new(address, PORT).to_string(), errno)
            };
            let open = |kind| open(network, address, kind).map_err(error);
            sockets.udp.push(open(SocketType::DGRAM)?.into());
            sockets.tcp.push(open(SocketType::STREAM)?.into());
        }
        Ok(sockets)
    }

    /// For another process, which has them by [`Sockets::of_descriptors`].
    pub(crate) fn into_descriptors(self) -> Vec<OwnedFd> {
        let pairs = self.udp.into_iter().zip(self.tcp);
        pairs.flat_map(|(udp, tcp)| [OwnedFd::from(udp), OwnedFd::from(tcp)]).collect()
    }

    pub(crate) fn of_descriptors(descriptors: impl IntoIterator<Item = OwnedFd>) -> Self {
        let mut sockets = Self::default();
        let mut descriptors = descriptors.into_iter();
        while let (Some(udp), Some(tcp)) = (descriptors.next(), descriptors.next()) {
            sockets.udp.push(udp.into());
            sockets.tcp.push(tcp.into());
        }
        sockets
    }
}

fn addresses(network: &BridgeNetwork) -> impl Iterator<Item = IpAddr> {
    let ipv6 = network.ipv6().map(|ipv6| IpAddr::V6(ipv6.gateway()));
    std::iter::once(IpAddr::V4(network.ipv4().gateway())).chain(ipv6)
}

fn open(network: &BridgeNetwork, address: IpAddr, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = if kind == SocketType::DGRAM { ipproto::UDP } else { ipproto::TCP };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))?;
    // Neither other interfaces nor the host itself get here, whatever they send to the address.
    sys::socket::bind_to_device(socket.as_fd(), network.name().as_str()).map_err(|error| errno(&error))?;
    // Beside what the last responder has not closed yet.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(address, PORT))?;
    if kind == SocketType::STREAM {
        listen(&socket, WAITING)?;
    }
    Ok(socket)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
