//! Owns network namespaces that look like one that is gone: with the names and addresses that it had, and no way out of
//! it. Whoever is to take back rules by what a namespace says can do so with it.

use std::fs::File;
use std::net::IpAddr;

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::bridge::ifaddrmsg;
use crate::error::{Error, Result};
use crate::kernel::*;
use netlink::{Batch, Socket};

/// Where the indexes of interfaces begin, above those that the kernel gives by itself.
const FIRST_INDEX: u32 = 100;

/// Makes a network namespace with these interfaces, each with its addresses and how many bits of them are the network's.
/// It lives as long as the descriptor. The interfaces are bridges: nothing is behind them, and the kernel moves none to
/// another namespace.
pub fn stand_in(interfaces: &[(&str, &[(IpAddr, u8)])]) -> Result<OwnedFd> {
    std::thread::scope(|scope| scope.spawn(|| make(interfaces)).join().expect("it does not panic"))
}

/// On a thread of its own, which ends in that namespace.
fn make(interfaces: &[(&str, &[(IpAddr, u8)])]) -> Result<OwnedFd> {
    let error = |errno| Error::from_errno("make network namespace", "in place of one that is gone", errno);
    let of_io = |found: std::io::Error| error(Errno::from_io_error(&found).unwrap_or(Errno::INVAL));
    sys::namespace::unshare(sys::clone::flags::NEWNET).map_err(of_io)?;
    let namespace = File::open("/proc/thread-self/ns/net").map_err(of_io)?;
    let mut socket = Socket::route().map_err(error)?;
    for (index, (name, addresses)) in (FIRST_INDEX..).zip(interfaces) {
        let mut batch = Batch::new();
        batch.message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &ifinfomsg(index, 0, 0), |m| {
            m.put_string(IFLA_IFNAME, name);
            m.nest(IFLA_LINKINFO, |m| m.put_string(IFLA_INFO_KIND, "bridge"));
        });
        match socket.execute(&batch) {
            Ok(()) => {}
            // `lo` is there already.
            Err(failure) if failure.errno == Errno::EXIST => continue,
            Err(failure) => return Err(error(failure.errno)),
        }
        for (address, prefix) in *addresses {
            let mut batch = Batch::new();
            let (family, bytes) = match address {
                IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
                IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
            };
            let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
            let fixed = ifaddrmsg(family, *prefix, IFA_F_PERMANENT, index);
            batch.message(RTM_NEWADDR, flags, &fixed, |m| {
                m.put(IFA_LOCAL, &bytes);
                m.put(IFA_ADDRESS, &bytes);
            });
            // Best effort: a kernel without IPv6 has no rules for it either.
            let _ = socket.execute(&batch);
        }
    }
    Ok(namespace.into())
}
