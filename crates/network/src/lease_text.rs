//! Owns what is in the file of a lease: its lines, read and written. Locks nothing.
//!
//! ```text
//! 64fcda723f58…                     the holder's id
//! until gone: /run/rabbitc/…        the record by which it is held without its holder
//! name: web                         how the container is called, one a line
//! ipv6: fd…::2
//! dns: 192.0.2.53                   whom the responder asks for it
//! 8080 -> 80/tcp                    a published port
//! ```

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::fstat;
use rustix::io::Errno;

/// What is in the file of a lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The holder's id.
    pub(crate) holder: String,
    /// The record by which it is held without its holder.
    pub(crate) until_gone: Option<Vec<u8>>,
    /// How the container is called on the network.
    pub(crate) names: Vec<String>,
    /// Its address of IPv6.
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// Whom it asks for names of others.
    pub(crate) servers: Vec<IpAddr>,
    /// As they are read by nobody but people so far.
    pub(crate) publications: Vec<String>,
}

impl Said {
    /// From the text of a file.
    pub(crate) fn read(text: &[u8]) -> Self {
        let mut said = Self::default();
        let mut lines = lines_of(text);
        said.holder = lines.next().map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default();
        for line in lines {
            if let Some(record) = line.strip_prefix(UNTIL_GONE) {
                said.until_gone = Some(record.to_owned());
                continue;
            }
            let line = String::from_utf8_lossy(line);
            if let Some(name) = line.strip_prefix(NAME) {
                said.names.push(name.to_owned());
            } else if let Some(address) = line.strip_prefix(IPV6) {
                said.ipv6 = address.parse().ok();
            } else if let Some(server) = line.strip_prefix(SERVER) {
                said.servers.extend(server.parse::<IpAddr>().ok());
            } else {
                said.publications.push(line.into_owned());
            }
        }
        said
    }

    /// Writes all of it into the file.
    pub(crate) fn write(&self, lease: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let mut text = format!("{}\n", self.holder).into_bytes();
        if let Some(record) = &self.until_gone {
            text.extend([UNTIL_GONE, record, b"\n"].concat());
        }
        let mut lines = String::new();
        let mut add = |keyword: &str, value: &dyn std::fmt::Display| {
            writeln!(lines, "{keyword}{value}").expect("writing to a string does not fail");
        };
        self.names.iter().for_each(|name| add(NAME, name));
        self.ipv6.iter().for_each(|address| add(IPV6, address));
        self.servers.iter().for_each(|server| add(SERVER, server));
        self.publications.iter().for_each(|publication| add("", publication));
        text.extend(lines.into_bytes());
        let written = rustix::io::pwrite(lease, &text, 0)? as u64;
        // A dead holder's longer text; after writing, so that a reader never finds the file empty.
        if fstat(lease)?.st_size.cast_unsigned() > written {
            rustix::fs::ftruncate(lease, written)?;
        }
        Ok(())
    }
}

/// How the line begins that names the record by which a lease is held without its holder.
const UNTIL_GONE: &[u8] = b"until gone: ";

/// How the lines for the responder begin.
const NAME: &str = "name: ";
const IPV6: &str = "ipv6: ";
const SERVER: &str = "dns: ";

/// Whether a line of a lease is for the responder.
pub(crate) fn is_of_names(line: &[u8]) -> bool {
    [NAME, IPV6, SERVER].iter().any(|keyword| line.starts_with(keyword.as_bytes()))
}

/// The most that is read of the file of a lease: an id, a path, names and ports.
pub(crate) const MOST_SAID: usize = 16 * 1024;

/// What is in the file of a lease, or its beginning.
pub(crate) fn said_in(lease: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let mut said = vec![0; MOST_SAID];
    let length = rustix::io::pread(lease, &mut said, 0)?;
    said.truncate(length);
    Ok(said)
}

pub(crate) fn lines_of(said: &[u8]) -> impl Iterator<Item = &[u8]> {
    said.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// Whether a lease is held, though nobody locks it: something of the container that had it is left.
pub(crate) fn is_left(said: &[u8]) -> bool {
    let mut records = lines_of(said).filter_map(|line| line.strip_prefix(UNTIL_GONE));
    // Where that can't be found out, it may be.
    records.any(|record| !matches!(rustix::fs::stat(record), Err(Errno::NOENT | Errno::NOTDIR)))
}
