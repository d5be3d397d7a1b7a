//! Owns the forwarding switches of the calling thread's network namespace; turns them on, never off.

use std::fs;
use std::io;

use rustix::io::Errno;

use crate::error::{Error, Result};

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
pub(crate) fn enable_ipv6() -> Result<()> {
    // First: a forwarding interface with accept_ra 1 ignores router advertisements, and turning forwarding on
    // drops the routes learned from them; with 2 it keeps both (kernel, ip-sysctl.rst).
    keep_router_advertisements();
    write(IPV6_FORWARD, "1")
}

/// Best effort: an interface that goes away meanwhile needs nothing, and a value that cannot be written shows
/// when forwarding itself is written.
fn keep_router_advertisements() {
    let Ok(interfaces) = fs::read_dir(IPV6_CONF) else { return };
    for interface in interfaces.flatten() {
        let name = interface.file_name();
        // `default` decides about interfaces to come, containers' veths among them: not ours to change.
        if name == "all" || name == "default" || name == "lo" {
            continue;
        }
        let path = interface.path().join("accept_ra");
        if fs::read(&path).is_ok_and(|value| value.trim_ascii() == b"1") {
            let _ = fs::write(&path, "2");
        }
    }
}

fn write(path: &str, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|error: io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::from_errno("turn on forwarding by", path, errno)
    })
}
