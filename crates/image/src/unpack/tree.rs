//! The directory that a layer becomes. Every name is resolved by the kernel below it; what is there already is replaced and
//! never followed.

use std::ffi::CString;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::Opaque;
use super::entry::{Hidden, Name};

/// How much of a file is copied at a time; what is nothing but zeros of a sparse file is left out in such pieces.
const CHUNK: usize = 64 << 10;
/// Mode of directories that entries lie in and none describes.
const UNSAID: Mode = Mode::from_raw_mode(0o755);

/// What an entry says of itself.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
    pub(super) extended: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.seconds, tv_nsec: self.nanoseconds.into() };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// A layer in the making.
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    opaque: Opaque,
    /// The directory of the last entry, as most entries are beside the one before.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Times of directories, which change with what is made in them.
    times: Vec<(Name, Timestamps)>,
    buffer: Vec<u8>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, opaque: Opaque) -> Tree<'a> {
        Tree { root, opaque, last: None, times: Vec::new(), buffer: vec![0; CHUNK] }
    }

    /// A directory. What is in one that is there stays.
    pub(super) fn directory(&mut self, name: &Name, attributes: &Attributes) -> io::Result<()> {
        let opened;
        let directory = match name.last.is_empty() {
            true => rustix::fs::openat(self.root, c".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
            false => {
                let last = c_name(&name.last)?;
                opened = self.parent(name)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::mkdirat(opened, &last, Mode::RWXU);
                match made {
                    Err(Errno::EXIST) => match rustix::fs::openat(opened, &last, flags, Mode::empty()) {
                        Ok(there) => there,
                        Err(Errno::NOTDIR | Errno::LOOP) => {
                            remove(opened, &last)?;
                            rustix::fs::mkdirat(opened, &last, Mode::RWXU)?;
                            rustix::fs::openat(opened, &last, flags, Mode::empty())?
                        }
                        Err(error) => return Err(error.into()),
                    },
                    made => {
                        made?;
                        rustix::fs::openat(opened, &last, flags, Mode::empty())?
                    }
                }
            }
        };
        settle(directory.as_fd(), attributes)?;
        self.times.push((name.clone(), attributes.times()));
        Ok(())
    }

    /// A regular file with what `content` gives; of one with `holes`, what is zero is not written.
    pub(super) fn file(
        &mut self,
        name: &Name,
        attributes: &Attributes,
        content: &mut impl Read,
        holes: bool,
    ) -> io::Result<()> {
        let last = c_name(&name.last)?;
        let parent = self.parent(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(parent, &last, flags, Mode::RUSR | Mode::WUSR);
        let opened = replacing(parent, &last, open)?;
        let mut file = std::fs::File::from(opened);
        let mut length = 0;
        loop {
            let read = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let chunk = &self.buffer[..read];
            match holes && chunk.iter().all(|byte| *byte == 0) {
                true => file.seek(SeekFrom::Current(read as i64)).map(drop)?,
                false => file.write_all(chunk)?,
            }
            length += read as u64;
        }
        if holes {
            file.set_len(length)?;
        }
        settle(file.as_fd(), attributes)?;
        Ok(rustix::fs::futimens(&file, &attributes.times())?)
    }

    /// A symbolic link: its text is nobody's business here.
    pub(super) fn symbolic_link(
        &mut self,
        name: &Name,
        text: &[u8],
        attributes: &Attributes,
    ) -> io::Result<()> {
        let (last, text) = (c_name(&name.last)?, CString::new(text)?);
        let parent = self.parent(name)?;
        replacing(parent, &last, || rustix::fs::symlinkat(&text, parent, &last))?;
        own(parent, &last, attributes)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let timed = rustix::fs::utimensat(parent, &last, &attributes.times(), flags);
        // Whatever a later entry finds by the old one's path is another place.
        self.last = None;
        Ok(timed?)
    }

    /// Another name of a file of this layer, or of a link in it: that is not followed.
    pub(super) fn hard_link(&mut self, name: &Name, target: &Name) -> io::Result<()> {
        let (last, target_last) = (c_name(&name.last)?, c_name(&target.last)?);
        let from = resolve(self.root, &target.parent)?;
        let found = rustix::fs::statat(&from, &target_last, AtFlags::SYMLINK_NOFOLLOW)?;
        let parent = self.parent(name)?;
        // The same name twice: to make place for it would take it away.
        if let Ok(there) = rustix::fs::statat(parent, &last, AtFlags::SYMLINK_NOFOLLOW)
            && (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)
        {
            return Ok(());
        }
        Ok(replacing(parent, &last, || {
            rustix::fs::linkat(&from, &target_last, parent, &last, AtFlags::empty())
        })?)
    }

    /// A pipe, or a device: of use only where the container's rights allow it.
    pub(super) fn node(
        &mut self,
        name: &Name,
        kind: EntryType,
        device: (u32, u32),
        attributes: &Attributes,
    ) -> io::Result<()> {
        let kind = match kind {
            EntryType::Char => FileType::CharacterDevice,
            EntryType::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        if kind == FileType::CharacterDevice && device == (0, 0) {
            // What an overlay takes for a whiteout, which has a form of its own in layers.
            return Err(io::Error::other(
                "it is a device of number 0:0, which would hide a file of a lower layer",
            ));
        }
        let last = c_name(&name.last)?;
        let parent = self.parent(name)?;
        let number = rustix::fs::makedev(device.0, device.1);
        let make = || rustix::fs::mknodat(parent, &last, kind, Mode::RUSR | Mode::WUSR, number);
        match replacing(parent, &last, make) {
            // Nobody makes devices in a user namespace, and containers get those that they need.
            Err(Errno::PERM) if kind != FileType::Fifo => return Ok(()),
            made => made?,
        }
        own(parent, &last, attributes)?;
        // Through the path of a directory's descriptor: no link is there, as this has just made it.
        let mode = Mode::from_raw_mode(attributes.mode);
        rustix::fs::chmodat(parent, &last, mode, AtFlags::empty())?;
        Ok(rustix::fs::utimensat(parent, &last, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Hides what lower layers have.
    pub(super) fn white_out(&mut self, name: &Name) -> io::Result<()> {
        match name.hidden() {
            Hidden::Nothing => Ok(()),
            Hidden::One(hidden) => {
                let hidden = c_name(hidden)?;
                let parent = self.parent(name)?;
                let make =
                    || rustix::fs::mknodat(parent, &hidden, FileType::CharacterDevice, Mode::empty(), 0);
                Ok(replacing(parent, &hidden, make)?)
            }
            Hidden::All => {
                let attribute = match self.opaque {
                    Opaque::Trusted => c"trusted.overlay.opaque",
                    Opaque::User => c"user.overlay.opaque",
                };
                let parent = self.parent(name)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let directory = rustix::fs::openat(parent, c".", flags, Mode::empty())?;
                Ok(rustix::fs::fsetxattr(directory, attribute, b"y", XattrFlags::empty())?)
            }
        }
    }

    /// Sets what the making of entries has changed.
    pub(super) fn finish(self) -> io::Result<()> {
        // The last word about a directory counts, and the outer ones come last.
        for (name, times) in self.times.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let way = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let path = name.path();
            let path = if path.is_empty() { b".".to_vec() } else { path };
            match rustix::fs::openat2(self.root, &path[..], flags, Mode::empty(), way) {
                Ok(directory) => rustix::fs::futimens(directory, times)?,
                // A later entry has taken its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The directory that an entry lies in, made where it is missing.
    fn parent(&mut self, name: &Name) -> rustix::io::Result<BorrowedFd<'_>> {
        if self.last.as_ref().is_none_or(|(path, _)| *path != name.parent) {
            let opened = match resolve(self.root, &name.parent) {
                Err(Errno::NOENT) => self.make_way(&name.parent)?,
                opened => opened?,
            };
            self.last = Some((name.parent.clone(), opened));
        }
        Ok(self.last.as_ref().expect("it was just put there").1.as_fd())
    }

    /// Makes what is missing of a way, one directory after the other.
    fn make_way(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let mut current = resolve(self.root, b"")?;
        let mut end = 0;
        for part in path.split(|byte| *byte == b'/') {
            end += part.len();
            // A link on the way leads within the tree, or nowhere.
            current = match resolve(self.root, &path[..end]) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&current, part, UNSAID)?;
                    resolve(self.root, &path[..end])?
                }
                opened => opened?,
            };
            end += 1;
        }
        Ok(current)
    }
}

/// Opens a directory of the tree. Links lead where they will lead in the container: within its root.
fn resolve(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let way = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(root, path, flags, Mode::empty(), way)
}

/// Makes something in the place of whatever is there.
fn replacing<T>(
    parent: BorrowedFd<'_>,
    name: &CString,
    make: impl Fn() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            remove(parent, name)?;
            make()
        }
        made => made,
    }
}

/// Removes what has this name, a directory with all that is in it; links are not followed.
fn remove(parent: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        removed => return removed,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    for name in &names {
        remove(directory.as_fd(), name)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Owner, extended attributes and mode, in this order: a change of owner takes the last two away.
fn settle(file: BorrowedFd<'_>, attributes: &Attributes) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    rustix::fs::fchown(file, Some(uid), Some(gid))?;
    for (name, value) in &attributes.extended {
        match rustix::fs::fsetxattr(file, &name[..], value, XattrFlags::empty()) {
            // What this file system does not have, or nobody may have in a user namespace.
            Err(Errno::NOTSUP | Errno::PERM) => {}
            set => set?,
        }
    }
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode))?)
}

fn own(parent: BorrowedFd<'_>, name: &CString, attributes: &Attributes) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

fn c_name(name: &[u8]) -> io::Result<CString> {
    match name {
        b"" => Err(io::Error::other("it stands for the root itself, and is no directory")),
        name => Ok(CString::new(name)?),
    }
}
