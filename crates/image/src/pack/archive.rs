//! The archive (tar with GNU's long names, attributes in pax's form, as Docker writes it).

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::merged::{Overlay, walk_merged};
use super::walk::{Found, Hides, overlays, walk};
use crate::error::{Error, Result};

/// What the archive is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A layer: what hides something is written as image-spec's whiteouts (layer.md).
    Layer,
    /// A tree, as it is seen.
    Tree,
}

/// Writes all that is below `root`, in order of the names, but for the paths of `left_out` and what is in them. Sockets are left
/// out, too: they mean nothing elsewhere.
pub fn pack(
    root: BorrowedFd<'_>,
    form: Form,
    left_out: &BTreeSet<Vec<u8>>,
    out: &mut dyn Write,
) -> Result<()> {
    let mut archive = Archive::new(form, out);
    // A directory that only leads to what is left out is packed with what else is in it, or for itself: nobody is hurt by it.
    walk(root, &mut |found| match is_in(left_out, found.path) {
        true => Ok(()),
        false => archive.add(found),
    })?;
    archive.finish()
}

/// Writes an archive with nothing in it.
pub fn pack_nothing(out: &mut dyn Write) -> Result<()> {
    Archive::new(Form::Layer, out).finish()
}

/// Whether a path is one of these, or below one.
fn is_in(paths: &BTreeSet<Vec<u8>>, path: &[u8]) -> bool {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    !paths.is_empty() && ends.chain([path.len()]).any(|end| paths.contains(&path[..end]))
}

/// Writes all that `overlays` show as one tree, as [`pack`] does; the directories `closed` have nothing in them.
pub fn pack_merged(overlays: &[Overlay], closed: &BTreeSet<Vec<u8>>, out: &mut dyn Write) -> Result<()> {
    let mut archive = Archive::new(Form::Tree, out);
    walk_merged(overlays, closed, &mut |found| archive.add(found))?;
    archive.finish()
}

pub(super) struct Archive<'a> {
    builder: Builder<&'a mut dyn Write>,
    form: Form,
    /// Files of several names, and the first of these.
    links: HashMap<(u64, u64), Vec<u8>>,
}

fn written(error: io::Error) -> Error {
    Error::system("write an archive", error)
}

impl<'a> Archive<'a> {
    pub(super) fn new(form: Form, out: &'a mut dyn Write) -> Archive<'a> {
        Archive { builder: Builder::new(out), form, links: HashMap::new() }
    }

    pub(super) fn finish(self) -> Result<()> {
        self.builder.into_inner().and_then(Write::flush).map_err(written)
    }

    pub(super) fn add(&mut self, found: &Found<'_>) -> Result<()> {
        let kind = found.kind();
        match found.hides {
            Hides::Name => return self.add_whiteout(found, &[b".wh.", found.name.to_bytes()].concat()),
            Hides::Nothing | Hides::Content => {}
        }
        if kind == FileType::Socket {
            return Ok(());
        }
        let several = |stat: &Stat| {
            let has_others = kind != FileType::Directory && stat.st_nlink > 1;
            has_others.then_some((stat.st_dev, stat.st_ino))
        };
        if let Some(first) = several(&found.stat).and_then(|file| self.links.get(&file)) {
            let mut header = header(&found.stat, EntryType::Link, 0);
            let first = Path::new(OsStr::from_bytes(first));
            return self.builder.append_link(&mut header, path_of(found.path), first).map_err(written);
        }
        // Before anything of it is written: what has gone since is left out.
        let content = match Content::of(found) {
            Err(Errno::NOENT) => return Ok(()),
            content => content.map_err(|error| found.failed("read", error))?,
        };
        if let Some(file) = several(&content.stat) {
            self.links.insert(file, found.path.to_owned());
        }
        self.add_attributes(&content)?;
        let plain = |kind| header(&found.stat, kind, 0);
        match kind {
            FileType::RegularFile => self.add_file(found, content)?,
            FileType::Directory => {
                let mut name = found.path.to_owned();
                name.push(b'/');
                self.append(plain(EntryType::Directory), &name)?;
                if found.hides == Hides::Content && self.form == Form::Layer {
                    self.append(whiteout(), &[&name[..], b".wh..wh..opq"].concat())?;
                }
            }
            FileType::Symlink => {
                let mut header = plain(EntryType::Symlink);
                let target = Path::new(OsStr::from_bytes(content.target.to_bytes()));
                self.builder.append_link(&mut header, path_of(found.path), target).map_err(written)?;
            }
            FileType::Fifo => self.append(plain(EntryType::Fifo), found.path)?,
            FileType::CharacterDevice => self.add_device(found, EntryType::Char)?,
            FileType::BlockDevice => self.add_device(found, EntryType::Block)?,
            _ => {}
        }
        Ok(())
    }

    fn append(&mut self, mut header: Header, path: &[u8]) -> Result<()> {
        self.builder.append_data(&mut header, path_of(path), io::empty()).map_err(written)
    }

    fn add_whiteout(&mut self, found: &Found<'_>, name: &[u8]) -> Result<()> {
        if self.form == Form::Tree {
            return Ok(());
        }
        let parent = found.path.len() - found.name.to_bytes().len();
        self.append(whiteout(), &[&found.path[..parent], name].concat())
    }

    fn add_device(&mut self, found: &Found<'_>, kind: EntryType) -> Result<()> {
        let mut header = header(&found.stat, kind, 0);
        let device = found.stat.st_rdev;
        let numbers = header
            .set_device_major(rustix::fs::major(device))
            .and_then(|()| header.set_device_minor(rustix::fs::minor(device)));
        numbers.map_err(written)?;
        self.append(header, found.path)
    }

    fn add_file(&mut self, found: &Found<'_>, content: Content) -> Result<()> {
        let size = content.stat.st_size as u64;
        // Whatever is written to it meanwhile, the header holds.
        let file = content.file.expect("a regular file is opened");
        let bytes = file.take(size).chain(io::repeat(0)).take(size);
        let mut header = header(&content.stat, EntryType::Regular, size);
        self.builder.append_data(&mut header, path_of(found.path), bytes).map_err(written)
    }

    fn add_attributes(&mut self, content: &Content) -> Result<()> {
        if content.attributes.is_empty() {
            return Ok(());
        }
        let attributes = content.attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        self.builder.append_pax_extensions(attributes).map_err(written)
    }
}

/// What an entry has in it.
pub(super) struct Content {
    /// What the kernel says of it: of a regular file, of the one that is open.
    pub(super) stat: Stat,
    /// As an archive names them.
    attributes: Vec<(String, Vec<u8>)>,
    /// Of a regular file.
    file: Option<File>,
    /// Of a link.
    target: CString,
}

impl Content {
    pub(super) fn of(found: &Found<'_>) -> std::result::Result<Content, Errno> {
        // What Docker keeps; labels of security modules are those of this host.
        let is_kept = |name: &[u8]| name == b"security.capability" || name.starts_with(b"user.");
        let attributes = found.attributes()?.into_iter().filter_map(|(name, value)| {
            let is_kept = is_kept(&name) && overlays(&name).is_none();
            // The archive's names are text.
            let name = String::from_utf8(name).ok().filter(|_| is_kept)?;
            Some((format!("SCHILY.xattr.{name}"), value))
        });
        let mut content = Content {
            stat: found.stat,
            attributes: attributes.collect(),
            file: None,
            target: CString::default(),
        };
        match found.kind() {
            FileType::RegularFile => {
                let (file, stat) = open_file(found)?;
                (content.file, content.stat) = (Some(file), stat);
            }
            FileType::Symlink => {
                content.target = rustix::fs::readlinkat(found.directory, found.name, Vec::new())?;
            }
            _ => {}
        }
        Ok(content)
    }
}

/// Opens a file that was a regular one. A container that runs may have put something else in its place: to open a device is to
/// use it, so that what is there is looked at before. Such a file has gone; another regular one is taken as it is.
fn open_file(found: &Found<'_>) -> std::result::Result<(File, Stat), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(found.directory, found.name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&place)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::NOENT);
    }
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    Ok((File::from(file), stat))
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    // What was before 1970 has no number there.
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header
}

fn whiteout() -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(0);
    header.set_mode(0);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
