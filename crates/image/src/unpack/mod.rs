//! From the archive of a layer to a directory. Nothing of an archive is trusted: every name is resolved by the kernel below the
//! directory, from descriptors, and nothing that an entry made is followed out of it.

mod compression;
mod entry;
mod process;
mod tree;

use std::cell::Cell;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use tar::EntryType;

use self::compression::Decoder;
use self::entry::Name;
pub use self::process::{answer, serve};
use self::tree::{Attributes, Tree};
use crate::digest::{Algorithm, DigestedReader};
use crate::error::{Error, Kind, Result};
use crate::store::Unpacked;

/// In which attributes an overlay finds that a directory hides what is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opaque {
    /// `trusted.overlay.opaque`, for root of the host.
    Trusted,
    /// `user.overlay.opaque`, in a user namespace.
    User,
}

/// What an archive may ask for, so that a small one fills no disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of the archive before compression.
    pub bytes: u64,
    /// How many bytes one of the compressed archive may stand for, once there are more than `ratio_from`.
    pub ratio: u64,
    /// From how many bytes on the ratio counts.
    pub ratio_from: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { entries: 2_000_000, bytes: 256 << 30, ratio: 200, ratio_from: 1 << 30 }
    }
}

/// How a layer is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How whole directories hide what is below.
    pub opaque: Opaque,
    /// What it may ask for.
    pub limits: Limits,
}

/// Unpacks `archive`, compressed or not, into the empty directory `tree`.
pub fn layer(archive: impl Read, tree: BorrowedFd<'_>, options: &Options) -> Result<Unpacked> {
    let taken = Rc::new(Cell::new(0));
    let counted = Counted { inner: archive, count: Rc::clone(&taken) };
    let decoder = Decoder::new(counted).map_err(|error| broken(&error))?;
    let given = Rc::new(Cell::new(0));
    let bounded = Bounded { inner: decoder, taken, given: Rc::clone(&given), limits: options.limits };
    let mut digested = DigestedReader::new(bounded, Algorithm::Sha256);
    let mut tree = Tree::new(tree, options.opaque);
    let mut left = options.limits.entries;
    {
        let mut archive = tar::Archive::new(&mut digested);
        for entry in archive.entries().map_err(|error| broken(&error))? {
            let mut entry = entry.map_err(|error| broken(&error))?;
            left = left.checked_sub(1).ok_or_else(|| {
                let reason = format!("it has more than {} entries", options.limits.entries);
                Error::new(Kind::TooMuch, OPERATION, reason)
            })?;
            unpack(&mut entry, &mut tree)?;
        }
    }
    // The digest is that of the whole archive, and padding belongs to it.
    io::copy(&mut digested, &mut io::sink()).map_err(|error| broken(&error))?;
    tree.finish().map_err(|error| Error::system(OPERATION, error))?;
    let (diff_id, size) = digested.finish();
    Ok(Unpacked { diff_id, size })
}

const OPERATION: &str = "unpack a layer";

/// Makes what one entry of the archive describes.
fn unpack<R: Read>(entry: &mut tar::Entry<'_, R>, tree: &mut Tree<'_>) -> Result<()> {
    let path = entry.path_bytes().into_owned();
    let shown = || format!("unpack `{}`", String::from_utf8_lossy(&path).escape_debug());
    let corrupt = |reason: &str| Error::new(Kind::Corrupt, shown(), reason);
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader) {
        return Ok(());
    }
    let name = Name::parse(&path).map_err(&corrupt)?;
    let attributes = attributes(entry).map_err(|reason| corrupt(&reason))?;
    let failed = |error: io::Error| match (error.raw_os_error(), own(&error)) {
        (Some(errno), _) => with_remedy(Error::system(shown(), error), errno, &attributes),
        (None, Some(own)) => own,
        (None, None) => corrupt(&error.to_string()),
    };
    let link = |entry: &tar::Entry<'_, R>| match entry.link_name_bytes() {
        Some(link) if !link.is_empty() => Ok(link.into_owned()),
        _ => Err(corrupt("it is a link to nothing")),
    };
    if name.is_whiteout() {
        return tree.white_out(&name).map_err(failed);
    }
    match kind {
        EntryType::Directory => tree.directory(&name, &attributes).map_err(failed),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let holes = kind == EntryType::GNUSparse;
            tree.file(&name, &attributes, entry, holes).map_err(failed)
        }
        EntryType::Symlink => tree.symbolic_link(&name, &link(entry)?, &attributes).map_err(failed),
        EntryType::Link => {
            let target = link(entry)?;
            let target = Name::parse(&target).map_err(&corrupt)?;
            tree.hard_link(&name, &target).map_err(|error| match error.raw_os_error() {
                Some(rustix_errno) if rustix_errno == rustix::io::Errno::NOENT.raw_os_error() => {
                    corrupt("it is a hard link to what is not in this layer")
                }
                _ => failed(error),
            })
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            let number = |part: io::Result<Option<u32>>| part.ok().flatten().unwrap_or(0);
            let header = entry.header();
            let device = (number(header.device_major()), number(header.device_minor()));
            tree.node(&name, kind, device, &attributes).map_err(failed)
        }
        _ => Err(corrupt("its kind is none that a layer may have")),
    }
}

/// Owner, mode, time and extended attributes of an entry.
fn attributes<R: Read>(entry: &mut tar::Entry<'_, R>) -> std::result::Result<Attributes, String> {
    let header = entry.header();
    let id = |id: io::Result<u64>, what: &str| {
        let id = id.map_err(|error| format!("its {what} is no number: {error}"))?;
        u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| format!("its {what} {id} is none"))
    };
    let mut found = Attributes {
        uid: id(header.uid(), "owner")?,
        gid: id(header.gid(), "group")?,
        mode: header.mode().map_err(|error| format!("its mode is no number: {error}"))? & 0o7777,
        seconds: header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0),
        nanoseconds: 0,
        extended: Vec::new(),
    };
    let Ok(Some(extensions)) = entry.pax_extensions() else { return Ok(found) };
    for extension in extensions {
        let extension = extension.map_err(|error| format!("its extended header is broken: {error}"))?;
        let (key, value) = (extension.key_bytes(), extension.value_bytes());
        let text = std::str::from_utf8(value).unwrap_or_default();
        match key {
            b"uid" => found.uid = id(text.parse().map_err(io::Error::other), "owner")?,
            b"gid" => found.gid = id(text.parse().map_err(io::Error::other), "group")?,
            b"mtime" => (found.seconds, found.nanoseconds) = entry::time(text).ok_or("its time is none")?,
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err("it is sparse in a form that is not read here".to_owned());
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                    && entry::may_have(name)
                {
                    found.extended.push((name.to_owned(), value.to_owned()));
                }
            }
        }
    }
    Ok(found)
}

/// What helps where the kernel refuses.
fn with_remedy(error: Error, errno: i32, attributes: &Attributes) -> Error {
    use rustix::io::Errno;
    let (uid, gid) = (attributes.uid, attributes.gid);
    match Errno::from_raw_os_error(errno) {
        Errno::INVAL | Errno::OVERFLOW if uid.max(gid) > 0 => error.with_hint(format!(
            "it belongs to {uid}:{gid}: without root, the ranges in /etc/subuid and /etc/subgid must have as many ids"
        )),
        Errno::NOSPC | Errno::DQUOT => error.with_hint("the disk is full: `rabbitc image prune` frees what nothing refers to"),
        _ => error,
    }
}

/// An error of the stream, which may be one of ours.
fn broken(error: &io::Error) -> Error {
    own(error)
        .unwrap_or_else(|| Error::new(Kind::Corrupt, OPERATION, format!("its archive is broken: {error}")))
}

/// What a reader of ours said.
fn own(error: &io::Error) -> Option<Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned()
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

/// Ends what gives more than the limits allow.
struct Bounded<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
    given: Rc<Cell<u64>>,
    limits: Limits,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let given = self.given.get() + read as u64;
        self.given.set(given);
        let refuse = |reason: String| Err(io::Error::other(Error::new(Kind::TooMuch, OPERATION, reason)));
        let Limits { bytes, ratio, ratio_from, .. } = self.limits;
        if given > bytes {
            return refuse(format!("it has more than {bytes} bytes"));
        }
        if given > ratio_from && given / self.taken.get().max(1) > ratio {
            return refuse(format!(
                "it grows to more than {ratio} times its size, as archives do that are meant to fill disks"
            ));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
