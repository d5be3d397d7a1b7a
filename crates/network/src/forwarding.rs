//! Owns the forwarding switches of the calling thread's network namespace; turns them on, never off.

use std::fs;
use std::io;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::kernel::*;
use crate::link;
use crate::options::InterfaceName;
use netlink::{Batch, Socket};

const IPV4_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
const IPV6_FORWARD: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const IPV6_CONF: &str = "/proc/sys/net/ipv6/conf";

/// Whether this network namespace has IPv6 and gives it to new interfaces.
pub(crate) fn host_has_ipv6() -> bool {
    ["all", "default"].iter().all(|scope| {
        fs::read(format!("{IPV6_CONF}/{scope}/disable_ipv6")).is_ok_and(|value| value.starts_with(b"0"))
    })
}

/// Lets the kernel forward IPv4 between interfaces.
pub(crate) fn enable_ipv4() -> Result<()> {
    write(IPV4_FORWARD, "1")
}

/// Lets the kernel forward IPv6 between interfaces, without losing the host's own default route.
pub(crate) fn enable_ipv6(socket: &mut Socket) -> Result<()> {
    // First: a forwarding interface with accept_ra 1 ignores router advertisements, and turning forwarding on
    // drops the routes learned from them; with 2 it keeps both (kernel, ip-sysctl.rst).
    for interface in routed_by_advertisement(socket)? {
        let path = format!("{IPV6_CONF}/{interface}/accept_ra");
        if fs::read(&path).is_ok_and(|value| value.trim_ascii() == b"1") {
            write(&path, "2")?;
        }
    }
    write(IPV6_FORWARD, "1")
}

/// Makes a bridge of ours deaf to router advertisements: what is behind it are containers.
pub(crate) fn refuse_router_advertisements(bridge: &InterfaceName) -> Result<()> {
    let path = format!("{IPV6_CONF}/{bridge}/accept_ra");
    match fs::read(&path) {
        Ok(value) if value.trim_ascii() != b"0" => write(&path, "0"),
        // No IPv6 in this kernel, or done before.
        _ => Ok(()),
    }
}

/// Lets packets with addresses of the host's loopback leave by the bridge, and answers to them come back. Whoever
/// calls this has our table drop such packets from containers first.
pub(crate) fn route_loopback_ipv4(bridge: &InterfaceName) -> Result<()> {
    let path = route_localnet(bridge);
    match fs::read(&path) {
        Ok(value) if value.trim_ascii() == b"1" => Ok(()),
        _ => write_for("let the host's loopback out by", &path, "1"),
    }
}

/// Whether [`route_loopback_ipv4`] was called for this bridge.
pub(crate) fn routes_loopback_ipv4(bridge: &InterfaceName) -> bool {
    fs::read(route_localnet(bridge)).is_ok_and(|value| value.trim_ascii() == b"1")
}

fn route_localnet(bridge: &InterfaceName) -> String {
    format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet")
}

/// The same for IPv6, which has no such switch: answers to `::1` come back by a route of their own, that is looked
/// at for this interface alone. The kernel itself drops what has `::1` in it when it arrives (RFC 4291, 2.5.3).
pub(crate) fn route_loopback_ipv6(bridge: &InterfaceName, index: u32) -> Result<()> {
    let error = |errno| Error::from_errno("add route to `::1` by", bridge.as_str(), errno);
    let mut fixed = [0; 12];
    fixed[0] = AF_INET6;
    fixed[1] = 128;
    fixed[4] = RT_TABLE_LOCAL;
    fixed[5] = RTPROT_BOOT;
    fixed[6] = RT_SCOPE_UNIVERSE;
    fixed[7] = RTN_LOCAL;
    let mut batch = Batch::new();
    batch.message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &fixed, |m| {
        m.put(RTA_DST, &std::net::Ipv6Addr::LOCALHOST.octets());
        m.put_u32(RTA_OIF, index);
        // Behind the kernel's own, which has 0.
        m.put_u32(RTA_PRIORITY, 2048);
    });
    match Socket::route().map_err(error)?.execute(&batch) {
        Err(failure) if failure.errno != Errno::EXIST => Err(error(failure.errno)),
        _ => Ok(()),
    }
}

/// Whether `br_netfilter` shows the rules of IPv6 what only crosses a bridge. Then an answer to `::1` is translated
/// on the bridge, and dropped when it leaves that for the host.
pub(crate) fn bridges_filter_ipv6() -> bool {
    fs::read("/proc/sys/net/bridge/bridge-nf-call-ip6tables").is_ok_and(|value| value.trim_ascii() != b"0")
}

/// The interfaces that may have a route from router advertisements to lose: those that have one now, and
/// hardware, which may be waiting for a cable. Not bridges and veths in general: behind those are containers
/// and guests, of others too, whose advertisements must not begin to count.
fn routed_by_advertisement(socket: &mut Socket) -> Result<Vec<String>> {
    let error = |errno| Error::from_errno("turn on forwarding by", IPV6_FORWARD, errno);
    let mut batch = Batch::new();
    let mut rtmsg = [0; 12];
    rtmsg[0] = AF_INET6;
    batch.message(RTM_GETROUTE, NLM_F_DUMP, &rtmsg, |_| ());
    let mut learned = Vec::new();
    socket
        .dump(&batch, |message| {
            if let Some((fixed, attributes)) = message.split(12)
                && message.kind == RTM_NEWROUTE
                && fixed[5] == RTPROT_RA
            {
                learned.extend(attributes.find_u32(RTA_OIF));
            }
        })
        .map_err(error)?;
    let mut links = link::all(socket, None).map_err(error)?;
    links.retain(|link| link.kind.is_none() && link.name != "lo" || learned.contains(&link.index));
    Ok(links.into_iter().map(|link| link.name).collect())
}

fn write(path: &str, value: &str) -> Result<()> {
    write_for("turn on forwarding by", path, value)
}

fn write_for(operation: &'static str, path: &str, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|error: io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::from_errno(operation, path, errno)
    })
}
