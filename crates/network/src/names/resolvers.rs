//! Owns which resolvers the host has: its resolv.conf as it is now. Asks none.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::SystemTime;

use super::sockets::PORT;

/// How many resolvers are asked, as in resolv.conf(5).
const MOST: usize = 3;
const PATH: &str = "/etc/resolv.conf";
/// The most that is read of it.
const MOST_TEXT: u64 = 64 * 1024;

/// The host's resolvers. The file is read again when it is another one, or has changed.
#[derive(Debug, Default)]
pub(crate) struct HostResolvers {
    servers: Vec<SocketAddr>,
    seen: Option<Seen>,
}

/// By what a changed file is known.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    length: u64,
    changed: Option<SystemTime>,
}

impl HostResolvers {
    /// Those of this moment. Ones on the host's loopback are reached, as this process is on the host.
    pub(crate) fn now(&mut self) -> &[SocketAddr] {
        let seen = look();
        if seen.is_none() || seen != self.seen {
            let text = std::fs::File::open(PATH).and_then(|file| {
                let mut text = Vec::new();
                std::io::Read::read_to_end(&mut std::io::Read::take(file, MOST_TEXT), &mut text)?;
                Ok(text)
            });
            self.servers = servers(&String::from_utf8_lossy(&text.unwrap_or_default()));
            self.seen = seen;
        }
        &self.servers
    }
}

fn look() -> Option<Seen> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(PATH).ok()?;
    Some(Seen { device: file.dev(), inode: file.ino(), length: file.len(), changed: file.modified().ok() })
}

/// The servers that a resolv.conf names.
fn servers(text: &str) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("nameserver")?.split_ascii_whitespace().next())
        .filter_map(server)
        .collect();
    found.truncate(MOST);
    found
}

/// An address, of a link-local one with its interface behind `%`.
fn server(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, PORT));
    }
    let (address, interface) = text.split_once('%')?;
    let index = match interface.parse() {
        Ok(index) => index,
        Err(_) => std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))
            .ok()?
            .trim()
            .parse()
            .ok()?,
    };
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, index).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_those_of_the_file_up_to_three_loopback_included() {
        let text = "# nameserver 9.9.9.9\nnameserver 127.0.0.53\n nameserver\t::1 # own\nnameserver x\nsearch lan\n\
                    nameserver fe80::1%7\nnameserver 192.0.2.1\n";
        let found: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53:53", "[::1]:53", "[fe80::1%7]:53"]);
        assert!(servers("").is_empty());
    }
}
