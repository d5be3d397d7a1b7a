//! Owns the answer to who has a port: a container of ours, or a process. Only asked when one is taken.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use crate::kernel::*;
use crate::ports::{Publication, covers};
use crate::publish;
use crate::state::NetworkStateDirectory;
use netlink::{Batch, Socket, u32_at};

/// Who has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortHolder {
    /// The container with this id.
    Container(String),
    /// A process of this host, with the name that the kernel has for it.
    Process {
        /// Its pid.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// The same container, by another of its publications.
    Itself,
    /// Nobody that can be seen from here: a process of another pid namespace, or the kernel itself.
    Unknown,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // As people see ids.
            PortHolder::Container(id) => write!(f, "container `{}`", id.get(..12).unwrap_or(id)),
            PortHolder::Process { pid, name } => write!(f, "process {pid} (`{name}`)"),
            PortHolder::Itself => f.write_str("another publication of this container"),
            PortHolder::Unknown => f.write_str("something that can't be seen from here"),
        }
    }
}

/// Who has a port of the publication. A look that fails finds nobody: the port is taken all the same.
pub(crate) fn find(publication: &Publication, state: &NetworkStateDirectory) -> PortHolder {
    if let Ok(Some(id)) = publish::living_owner(publication, state) {
        return PortHolder::Container(id);
    }
    let sockets = sockets(publication).unwrap_or_default();
    match process_with_socket(&sockets) {
        Some((pid, name)) => PortHolder::Process { pid, name },
        None => PortHolder::Unknown,
    }
}

/// The inodes of the sockets that are bound to a port of the publication (sock_diag(7)).
fn sockets(publication: &Publication) -> Result<Vec<u32>, Errno> {
    let mut found = Vec::new();
    let mut socket = Socket::sock_diag()?;
    for family in [AF_INET, AF_INET6] {
        // struct inet_diag_req_v2: family, protocol, extensions, padding, states (all of them), then the
        // socket's id, of which only the port counts.
        let mut request = [0; 56];
        request[0] = family;
        request[1] = publication.protocol.number();
        request[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        request[8..10].copy_from_slice(&publication.host.first().to_be_bytes());
        let mut batch = Batch::new();
        batch.message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &request, |_| ());
        // A family or a protocol that the kernel lacks has no sockets.
        let _ = socket.dump(&batch, |message| {
            // Of sockets that are bound and no more, the kernel gives those of other ports as well.
            if let Some((port, address, inode)) = read_socket(message.body)
                && port == publication.host.first()
                && inode != 0
                && publication.address.is_none_or(|own| covers(own, address) || takes(address, own))
            {
                found.push(inode);
            }
        });
    }
    Ok(found)
}

/// Whether a socket bound to `address` has the port at `wanted` as well: one bound to `::` may serve IPv4.
fn takes(address: IpAddr, wanted: IpAddr) -> bool {
    covers(address, wanted) || address == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

/// `struct inet_diag_msg`: family, three bytes, the source port at 4, its address at 8, the inode at 68.
fn read_socket(body: &[u8]) -> Option<(u16, IpAddr, u32)> {
    let port = u16::from_be_bytes(*body.get(4..6)?.first_chunk()?);
    let address = body.get(8..24)?;
    let address = match *body.first()? {
        AF_INET => Ipv4Addr::from(*address.first_chunk::<4>()?).into(),
        _ => {
            let address = Ipv6Addr::from(*address.first_chunk::<16>()?);
            address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
        }
    };
    Some((port, address, u32_at(body, 68)?))
}

/// The first process that has one of the sockets open.
fn process_with_socket(inodes: &[u32]) -> Option<(u32, String)> {
    if inodes.is_empty() {
        return None;
    }
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter().find_map(|pid| {
        let mut descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let has_it = descriptors.any(|entry| {
            fs::read_link(entry.path()).is_ok_and(|target| {
                target.to_str().is_some_and(|target| links.iter().any(|link| link == target))
            })
        });
        has_it.then(|| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            (pid, name.trim_end().escape_debug().to_string())
        })
    })
}
