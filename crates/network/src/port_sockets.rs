//! Owns the sockets that keep a published port from being anybody else's. They are bound and never receive
//! anything: what is meant for the port is redirected before it would come to them.
//!
//! A port without such a socket could be taken by a server of the host, or given by the kernel to a client of the
//! host as its own. The sockets die with their process, so nothing is ever left taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, bind, getsockname, ipproto, listen, shutdown,
    socket_with, sockopt,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Error, Kind, Result};
use crate::forwarding;
use crate::kernel::*;
use crate::options::Families;
use crate::port_holder::{self, PortHolder};
use crate::ports::{HostPorts, PortRange, PortRequest, Protocol, Publication, place};
use crate::publish;
use crate::routes::route_type;
use crate::state::NetworkStateDirectory;

/// With more sockets than this, they stand above the limit of open files, so that they don't use it up.
const FEW: usize = 128;

/// Ports that nobody else can take while this lives.
#[derive(Debug)]
pub struct HeldPorts {
    publications: Vec<Publication>,
    sockets: Vec<OwnedFd>,
}

impl HeldPorts {
    /// Takes the ports of the host that `requests` ask for, in the calling thread's network namespace.
    ///
    /// Without an address a port is taken for IPv4, and for IPv6 as well with both families. A taken port is refused with
    /// its holder's name, for which `state` is asked, and so is an address that can't be redirected: one that no single
    /// interface has, one of IPv6 without that, or `::1` where `br_netfilter` would lose the answers. Ports of SCTP are held where the kernel has that protocol in
    /// use; elsewhere no program of the host can take them.
    pub fn take(requests: &[PortRequest], families: Families, state: &NetworkStateDirectory) -> Result<Self> {
        let loopback = if forwarding::bridges_filter_ipv6() { Answers::Lost } else { Answers::Kept };
        requests.iter().try_for_each(|request| check(request, families, loopback))?;
        let mut shelf = Shelf::for_sockets(requests.iter().map(|request| request.container.count()).sum());
        let mut publications: Vec<Publication> = Vec::new();
        for request in requests {
            let taker = Taker { request, families, state };
            for publication in taker.take(&mut shelf, &publications)? {
                publications.push(publication);
            }
        }
        Ok(Self { publications, sockets: std::mem::take(&mut shelf.sockets) })
    }

    /// For another process to hold on to: the ports are nobody else's as long as copies of these are open.
    pub fn into_sockets(self) -> Vec<OwnedFd> {
        self.sockets
    }

    /// Which ports they are, in the order of the requests.
    pub fn publications(&self) -> &[Publication] {
        &self.publications
    }

    /// Those of every address of IPv6 to which `::1` does not lead, as `br_netfilter` would lose the answers.
    pub fn without_ipv6_loopback(&self) -> Vec<&Publication> {
        let every = |one: &&Publication| one.address == Some(Ipv6Addr::UNSPECIFIED.into());
        let found: Vec<_> = self.publications.iter().filter(every).collect();
        if found.is_empty() || !forwarding::bridges_filter_ipv6() { Vec::new() } else { found }
    }
}

/// Looks whether somebody else has a port of the host that `request` names, or this process may not bind it; holds none.
/// For those whose ports another program binds: a race with a third is that program's to report. An error comes with its port.
pub fn try_ports(
    request: &PortRequest,
    state: &NetworkStateDirectory,
) -> std::result::Result<(), (u16, Error)> {
    let HostPorts::From(first) = request.host else { return Ok(()) };
    check(request, Families::Both, Answers::Kept).map_err(|error| (first, error))?;
    let last = usize::from(first) + request.container.count() - 1;
    let taker = Taker { request, families: Families::Both, state };
    for port in first..=u16::try_from(last).unwrap_or(u16::MAX) {
        match taker.hold_this(port) {
            // Without IPv6 there is no socket of both families.
            Err(error) if error.cause == Some(Errno::AFNOSUPPORT) => return Ok(()),
            held => held.map(drop).map_err(|error| (port, error))?,
        }
    }
    Ok(())
}

/// What becomes of answers to `::1`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Kept,
    Lost,
}

fn check(request: &PortRequest, families: Families, loopback: Answers) -> Result<()> {
    let Some(address) = request.address else { return Ok(()) };
    let kind = match address {
        IpAddr::V6(_) if families == Families::Ipv4 => Kind::NoIpv6,
        IpAddr::V6(Ipv6Addr::LOCALHOST) if loopback == Answers::Lost => Kind::NoIpv6Loopback,
        // The kernel lets a socket be bound to it.
        address if is_of_many(address) => Kind::AddressOfMany,
        _ => return Ok(()),
    };
    Err(Error::new("publish port at", address.to_string(), kind))
}

/// Whether this is the address of a group or of a whole subnet: nothing that is sent there is for this host alone, and
/// nothing of it is redirected.
fn is_of_many(address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return address.is_multicast() };
    if address.is_unspecified() {
        return false;
    }
    // 0.0.0.0/8 is for the kernel a broadcast.
    address.is_multicast() || address.is_broadcast() || address.octets()[0] == 0 || {
        // One that can't be looked up is as good as one of nobody: the kernel refuses it when it is bound.
        matches!(route_type(address.into()), Ok(Some(RTN_BROADCAST | RTN_MULTICAST)))
    }
}

struct Taker<'a> {
    request: &'a PortRequest,
    families: Families,
    state: &'a NetworkStateDirectory,
}

impl Taker<'_> {
    fn take(&self, shelf: &mut Shelf, before: &[Publication]) -> Result<Vec<Publication>> {
        let PortRequest { host, container, .. } = self.request;
        match *host {
            HostPorts::From(first) => {
                let last = u16::try_from(usize::from(first) + container.count() - 1).ok();
                let host = last.and_then(|last| PortRange::new(first, last));
                let host =
                    host.ok_or_else(|| Error::new("publish port", first.to_string(), Kind::NoFreePort))?;
                let publication = self.publication(host, container.first());
                if before.iter().any(|other| other.overlaps(&publication)) {
                    return Err(self.taken(host, PortHolder::Itself));
                }
                for port in host.ports() {
                    let (socket, _) = self.hold_this(port)?;
                    shelf.keep(socket).map_err(|errno| self.refused(port, errno))?;
                }
                Ok(vec![publication])
            }
            HostPorts::OneOf(range) => {
                for port in range.ports() {
                    match self.hold(port) {
                        Ok((socket, port)) => return self.one(shelf, socket, port, container.first()),
                        Err(Errno::ADDRINUSE) => {}
                        Err(errno) => return Err(self.refused(port, errno)),
                    }
                }
                let object = place(self.request.address, range);
                Err(Error::new("publish one of the ports", object, Kind::NoFreePort))
            }
            HostPorts::Any => {
                let mut chosen = Vec::with_capacity(container.count());
                for inside in container.ports() {
                    let (socket, port) = match self.request.protocol {
                        Protocol::Sctp if !sctp_is_in_use() => {
                            let others: Vec<&Publication> = before.iter().chain(&chosen).collect();
                            (None, self.unpublished(inside, &others)?)
                        }
                        _ => self.hold(0).map_err(|errno| self.refused(0, errno))?,
                    };
                    chosen.extend(self.one(shelf, socket, port, inside)?);
                }
                Ok(chosen)
            }
        }
    }

    /// A port that no container has, where no socket can be asked for one: from a random place on in the kernel's usual
    /// range for that (ip_local_port_range in ip(7)).
    fn unpublished(&self, inside: u16, others: &[&Publication]) -> Result<u16> {
        const RANGE: std::ops::Range<u16> = 32_768..61_000;
        let bytes = sys::random::bytes().map_err(|errno| self.refused(0, errno))?;
        let count = RANGE.end - RANGE.start;
        let first = u16::from_ne_bytes(bytes) % count;
        for step in 0..count {
            let port = RANGE.start + ((u32::from(first) + u32::from(step)) % u32::from(count)) as u16;
            let Some(host) = PortRange::one(port) else { continue };
            let wanted = self.publication(host, inside);
            if others.iter().any(|other| other.overlaps(&wanted)) {
                continue;
            }
            match publish::living_owner(&wanted, self.state) {
                Ok(None) => return Ok(port),
                Ok(Some(_)) => {}
                Err(errno) => return Err(self.refused(port, errno)),
            }
        }
        Err(Error::new("publish port", format!("{inside}/{}", self.request.protocol), Kind::NoFreePort))
    }

    fn one(
        &self,
        shelf: &mut Shelf,
        socket: Option<OwnedFd>,
        port: u16,
        inside: u16,
    ) -> Result<Vec<Publication>> {
        shelf.keep(socket).map_err(|errno| self.refused(port, errno))?;
        let host = PortRange::one(port).ok_or_else(|| self.refused(port, Errno::PROTONOSUPPORT))?;
        Ok(vec![self.publication(host, inside)])
    }

    /// This port or an error that names its holder. One that nobody is seen to have is about to be free: its socket
    /// is that of a process that is just dying, or of a child between its fork and its program.
    fn hold_this(&self, port: u16) -> Result<(Option<OwnedFd>, u16)> {
        let mut tries = 0;
        loop {
            let error = match self.hold(port) {
                Ok(held) => return Ok(held),
                Err(errno) => self.refused(port, errno),
            };
            let is_passing = match &error.kind {
                Kind::PortTaken(PortHolder::Process { .. } | PortHolder::Container(_)) => tries == 0,
                Kind::PortTaken(PortHolder::Unknown) => tries < 20,
                _ => false,
            };
            if !is_passing {
                return Err(error);
            }
            tries += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn publication(&self, host: PortRange, container: u16) -> Publication {
        Publication { address: self.request.address, host, container, protocol: self.request.protocol }
    }

    /// A bound socket, where there is something to hold, and its port; 0 asks for any.
    fn hold(&self, port: u16) -> std::result::Result<(Option<OwnedFd>, u16), Errno> {
        let address = match self.request.address {
            Some(address) => address,
            // One socket of both families.
            None if self.families == Families::Both => Ipv6Addr::UNSPECIFIED.into(),
            None => Ipv4Addr::UNSPECIFIED.into(),
        };
        let protocol = self.request.protocol;
        if protocol == Protocol::Sctp && !sctp_is_in_use() {
            return Ok((None, port));
        }
        let socket = open(protocol, address)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, self.request.address.is_some())?;
        }
        let wanted = SocketAddr::new(address, port);
        match bind(&socket, &wanted) {
            Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp && port != 0 => {
                bind_over_closed_connections(&socket, wanted)?;
            }
            other => other?,
        }
        if protocol == Protocol::Udp {
            // Broadcasts, for example, are not redirected, and would fill its queue.
            sys::socket::receive_nothing(socket.as_fd())
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        let bound = SocketAddr::try_from(getsockname(&socket)?)?;
        Ok((Some(socket), bound.port()))
    }

    fn refused(&self, port: u16, errno: Errno) -> Error {
        let ports = PortRange::one(port);
        let Some(ports) = ports.filter(|_| errno == Errno::ADDRINUSE) else {
            let object = match ports {
                Some(ports) => self.object(ports),
                None => format!("of the kernel's choice for {}", self.request.container),
            };
            let mut error = Error::from_errno("publish port", object, errno);
            match errno {
                Errno::ADDRNOTAVAIL => error.kind = Kind::AddressNotHere,
                Errno::ADDRINUSE => error.kind = Kind::NoFreePort,
                _ => {}
            }
            return error;
        };
        self.taken(ports, port_holder::find(&self.publication(ports, 1), self.state))
    }

    fn taken(&self, ports: PortRange, holder: PortHolder) -> Error {
        Error::new("publish port", self.object(ports), Kind::PortTaken(holder))
    }

    fn object(&self, ports: PortRange) -> String {
        format!("{}/{}", place(self.request.address, ports), self.request.protocol)
    }
}

fn open(protocol: Protocol, address: IpAddr) -> std::result::Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, None),
        Protocol::Udp => (SocketType::DGRAM, None),
        Protocol::Sctp => (SocketType::STREAM, Some(ipproto::SCTP)),
    };
    socket_with(family, kind, SocketFlags::CLOEXEC, protocol)
}

/// Whether a program of the host could have the port: asking for a socket would load the kernel's module.
fn sctp_is_in_use() -> bool {
    std::path::Path::new("/proc/thread-self/net/sctp").exists()
}

/// Binds a port on which there is nothing but connections that wait out their end (TIME_WAIT), as servers do.
///
/// The option that allows it would let somebody else do the same beside us. So it is taken back; and listening for
/// a moment makes the kernel look for other sockets that were bound before, listening or not.
fn bind_over_closed_connections(socket: &OwnedFd, address: SocketAddr) -> std::result::Result<(), Errno> {
    sockopt::set_socket_reuseaddr(socket, true)?;
    bind(socket, &address)?;
    listen(socket, 0)?;
    shutdown(socket, Shutdown::Read)?;
    sockopt::set_socket_reuseaddr(socket, false)
}

/// Where the sockets are kept.
struct Shelf {
    sockets: Vec<OwnedFd>,
    /// The limit of open files as it was, while it is raised.
    limit: Option<Rlimit>,
}

impl Shelf {
    /// A place for this many. The limit counts a descriptor's number when it is made, and not later: so where there
    /// are many, it is raised for a moment, and they get numbers above the old one.
    fn for_sockets(count: usize) -> Self {
        let mut shelf = Self { sockets: Vec::with_capacity(count), limit: None };
        let limit = getrlimit(Resource::Nofile);
        if count > FEW
            && let Some(current) = limit.current
        {
            let wanted = current.saturating_add(count as u64 + 64);
            let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
            let more = Rlimit { current: Some(wanted), maximum };
            // Where that is not allowed, they use the limit up, and the kernel says when it is reached.
            if setrlimit(Resource::Nofile, more).is_ok() {
                shelf.limit = Some(limit);
            }
        }
        shelf
    }

    fn keep(&mut self, socket: Option<OwnedFd>) -> std::result::Result<(), Errno> {
        let Some(socket) = socket else { return Ok(()) };
        let above = self.limit.as_ref().and_then(|limit| i32::try_from(limit.current?).ok());
        self.sockets.push(match above {
            Some(above) => rustix::io::fcntl_dupfd_cloexec(&socket, above)?,
            None => socket,
        });
        Ok(())
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        if let Some(limit) = self.limit.take() {
            // Lowering a limit is always allowed.
            let _ = setrlimit(Resource::Nofile, limit);
        }
    }
}
