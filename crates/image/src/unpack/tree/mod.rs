//! The tree that a layer becomes: entries are made here, one call each, and take the place of what had their name. Every path is
//! walked by descriptors ([`walk`]); nothing that an entry made is followed out of the tree, opened to be read, or trusted to be
//! what it was.

mod attributes;
mod remove;
mod walk;

use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use self::walk::{Directory, Missing};
use super::archive::{Archive, Entry, EntryKind};
use super::fault::{Fault, Outcome, shown};
use super::name::{self, Name};
use super::{Devices, LeftOut, Options, Whiteouts};

/// The mode of what is not finished, and that of directories that no entry tells of.
const UNFINISHED: Mode = Mode::RUSR.union(Mode::WUSR);
const UNTOLD: Mode = Mode::from_raw_mode(0o755);
/// The most bytes of directories' paths that are kept until the end.
const MOST_KEPT: usize = 64 << 20;

/// A tree in the making.
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    options: Options,
    /// The directory of the last entry: most entries are siblings.
    at: Option<Directory>,
    /// Directories whose times are set at the end, as every entry that is made in one changes them.
    unfinished: Vec<Unfinished>,
    /// Bytes of their paths.
    kept: usize,
    /// Who the kernel says has made what is made here.
    user: (u32, u32),
    pub(super) left_out: LeftOut,
}

struct Unfinished {
    /// Its path without links.
    path: Vec<u8>,
    inode: u64,
    times: rustix::fs::Timestamps,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, options: Options) -> Tree<'a> {
        let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let left_out = LeftOut::default();
        Tree { root, options, at: None, unfinished: Vec::new(), kept: 0, user, left_out }
    }

    /// What has this name now, if anything has.
    pub(super) fn standing(&mut self, name: &Name) -> Outcome<Option<FileType>> {
        let Some(parent) = self.walk(&name.parent, Missing::Refused)? else { return Ok(None) };
        match rustix::fs::statat(&parent, &name.last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(FileType::from_raw_mode(found.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a directory; one that is there keeps what is in it.
    pub(super) fn directory(&mut self, name: &Name, entry: &Entry) -> Outcome<()> {
        let (path, directory) = if name.is_root() {
            (Vec::new(), open_to_change(self.root, c".")?)
        } else {
            let parent = self.enter(&name.parent)?;
            let path = name::join(&parent.path, name.last.to_bytes());
            (path, self.own_directory(&name.last)?)
        };
        self.settle(directory.as_fd(), entry)?;
        let found = rustix::fs::fstat(&directory)?;
        self.kept += path.len() + size_of::<Unfinished>();
        if self.kept > MOST_KEPT {
            let reason = format!("the paths of all directories take more than {MOST_KEPT} bytes");
            return Err(Fault::too_much(reason));
        }
        let times = attributes::times(entry.time);
        self.unfinished.push(Unfinished { path: path.clone(), inode: found.st_ino, times });
        // What comes next is often in it.
        self.at = Some(Directory { named: name.path(), path, descriptor: directory, group: found.st_gid });
        Ok(())
    }

    /// Makes a regular file of the archive's next bytes.
    pub(super) fn file<R: Read>(
        &mut self,
        name: &Name,
        entry: &Entry,
        archive: &mut Archive<R>,
    ) -> Outcome<()> {
        let file = self.replacing(name, |parent, last| {
            // New or not at all: nothing that is there is opened, be it a link or a pipe.
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(parent, last, flags, UNFINISHED)
        })?;
        match &entry.pieces {
            None => write(&file, 0, entry.size, archive)?,
            Some(pieces) => {
                rustix::fs::ftruncate(&file, entry.size)?;
                for piece in pieces {
                    write(&file, piece.offset, piece.length, archive)?;
                }
            }
        }
        self.settle(file.as_fd(), entry)?;
        Ok(rustix::fs::futimens(&file, &attributes::times(entry.time))?)
    }

    /// Makes a symbolic link; what it says is the container's affair.
    pub(super) fn symbolic_link(&mut self, name: &Name, entry: &Entry) -> Outcome<()> {
        if entry.link.is_empty() {
            return Err(Fault::corrupt("it is a link to nothing"));
        }
        let text = CString::new(&entry.link[..]).map_err(|_| Fault::corrupt("its link has a NUL byte"))?;
        if entry.link.len() > self.options.limits.path_bytes {
            return Err(Fault::too_much(format!(
                "its link is longer than {} bytes",
                self.options.limits.path_bytes
            )));
        }
        self.replacing(name, |parent, last| rustix::fs::symlinkat(&text, parent, last))?;
        self.settle_name(name, entry)
    }

    /// Makes another name of a file of this layer, or of a link: its last part is not followed.
    pub(super) fn hard_link(&mut self, name: &Name, entry: &Entry) -> Outcome<()> {
        let missing = || {
            Fault::corrupt(format!(
                "it is a hard link to `{}`, which is not in this layer",
                shown(&entry.link)
            ))
        };
        let target = Name::parse(&entry.link, &self.options.limits)?;
        if target.is_root() {
            return Err(Fault::corrupt("it is a hard link to a directory"));
        }
        self.enter(&name.parent)?;
        let elsewhere = if target.parent == name.parent {
            None
        } else {
            Some(self.walk(&target.parent, Missing::Refused)?.ok_or_else(missing)?)
        };
        let (from, old) = (elsewhere.as_ref().unwrap_or_else(|| self.here()), target.last.as_c_str());
        let found = match rustix::fs::statat(&from.descriptor, old, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if is_whiteout(&found) => return Err(missing()),
            Err(Errno::NOENT) => return Err(missing()),
            found => found?,
        };
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Err(Fault::corrupt("it is a hard link to a directory"));
        }
        let there = rustix::fs::statat(self.here(), &name.last, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)) {
            return Ok(());
        }
        // Held by its descriptor, so that it is the same one whatever is removed for this.
        let from = from.descriptor.try_clone().map_err(|error| Fault::reading(&error))?;
        self.replacing(name, |parent, last| rustix::fs::linkat(&from, old, parent, last, AtFlags::empty()))
    }

    /// Makes a device or a pipe.
    pub(super) fn node(&mut self, name: &Name, entry: &Entry) -> Outcome<()> {
        let kind = match entry.kind {
            EntryKind::CharacterDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = kind != FileType::Fifo;
        if device && self.options.devices == Devices::LeftOut {
            self.left_out.devices += 1;
            return Ok(());
        }
        let number = if device { rustix::fs::makedev(entry.device.0, entry.device.1) } else { 0 };
        let parent = self.enter(&name.parent)?;
        // Before anything is removed for it: in a user namespace nobody makes devices, and containers get those they need.
        match rustix::fs::mknodat(&parent.descriptor, &name.last, kind, UNFINISHED, number) {
            Ok(()) => {}
            Err(Errno::PERM) if device => {
                self.left_out.devices += 1;
                return Ok(());
            }
            Err(Errno::EXIST) => self.replacing(name, |parent, last| {
                rustix::fs::mknodat(parent, last, kind, UNFINISHED, number)
            })?,
            Err(error) => return Err(error.into()),
        }
        self.settle_name(name, entry)
    }

    /// Hides what lower layers have under the name `hidden` in `name`'s directory, and nothing of this layer: the order of both
    /// in the archive means nothing.
    pub(super) fn hide(&mut self, name: &Name, hidden: &CStr) -> Outcome<()> {
        let parent = self.enter(&name.parent)?;
        match rustix::fs::mknodat(&parent.descriptor, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => {}
            made => return made.map_err(|errno| Fault::system("make a whiteout", errno)),
        }
        // A file of this layer covers the lower one anyway; a directory would be joined with it.
        match open_to_change(parent.descriptor.as_fd(), hidden) {
            Ok(directory) => self.cover(directory.as_fd()),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Hides all that lower layers have in `name`'s directory.
    pub(super) fn hide_all(&mut self, name: &Name) -> Outcome<()> {
        let parent = self.enter(&name.parent)?;
        let directory = open_to_change(parent.descriptor.as_fd(), c".")?;
        self.cover(directory.as_fd())
    }

    /// Sets the times of directories.
    pub(super) fn finish(mut self) -> Outcome<()> {
        for Unfinished { path, inode, times } in std::mem::take(&mut self.unfinished) {
            // Where something else has taken its place, that has its own time.
            let Some(directory) = self.walk(&path, Missing::Refused)? else { continue };
            let directory = open_to_change(directory.as_fd(), c".")?;
            if rustix::fs::fstat(&directory)?.st_ino == inode {
                rustix::fs::futimens(&directory, &times)?;
            }
        }
        Ok(())
    }

    /// Makes or opens a directory, in the one that was entered last.
    fn own_directory(&mut self, last: &CStr) -> Outcome<OwnedFd> {
        let parent = self.here().descriptor.as_fd();
        match rustix::fs::mkdirat(parent, last, Mode::RWXU) {
            Ok(()) => return Ok(open_to_change(parent, last)?),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        match open_to_change(parent, last) {
            Ok(directory) => return Ok(directory),
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
        }
        let found = rustix::fs::statat(parent, last, AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::unlinkat(parent, last, AtFlags::empty())?;
        rustix::fs::mkdirat(parent, last, Mode::RWXU)?;
        let directory = open_to_change(parent, last)?;
        if is_whiteout(&found) {
            self.cover(directory.as_fd())?;
        }
        Ok(directory)
    }

    /// Makes something by `make`, in the place of whatever has its name.
    fn replacing<T>(
        &mut self,
        name: &Name,
        make: impl Fn(BorrowedFd<'_>, &CStr) -> rustix::io::Result<T>,
    ) -> Outcome<T> {
        let parent = self.enter(&name.parent)?;
        match make(parent.descriptor.as_fd(), &name.last) {
            Err(Errno::EXIST) => {}
            made => return Ok(made?),
        }
        remove::all(parent.descriptor.as_fd(), &name.last)?;
        let made = make(parent.descriptor.as_fd(), &name.last)?;
        // What was removed may have been on the way here, as a directory or a link: the next entry goes it anew. No path of an
        // entry has a slash at its begin.
        self.at.as_mut().expect("it was entered").named = b"/".to_vec();
        Ok(made)
    }

    /// Has an overlay show nothing below this directory.
    fn cover(&self, directory: BorrowedFd<'_>) -> Outcome<()> {
        let set = |attribute: &CStr| rustix::fs::fsetxattr(directory, attribute, b"y", XattrFlags::empty());
        let failed =
            |attribute: &CStr, errno| Fault::system(&format!("set `{}`", attribute.to_string_lossy()), errno);
        let (users, trusted) = (c"user.overlay.opaque", c"trusted.overlay.opaque");
        match (self.options.whiteouts, set(users)) {
            // Where the file system has none of users (tmpfs before 6.6), nobody but root's own overlays will see it.
            (Whiteouts::Trusted, Ok(()) | Err(Errno::NOTSUP)) => {
                set(trusted).map_err(|errno| failed(trusted, errno))
            }
            (_, set) => set.map_err(|errno| failed(users, errno)),
        }
    }

    /// The directory that was entered last.
    fn here(&self) -> &Directory {
        self.at.as_ref().expect("an entry's directory is entered before anything is done in it")
    }
}

/// Whether this is what overlays take for one: a character device of number 0.
fn is_whiteout(found: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == 0
}

/// Opens a directory so that its attributes can be changed.
fn open_to_change(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Writes the archive's next `length` bytes from `offset` on.
fn write<R: Read>(file: &OwnedFd, mut offset: u64, length: u64, archive: &mut Archive<R>) -> Outcome<()> {
    let end = offset + length;
    while offset < end {
        let mut bytes = archive.content(end - offset)?;
        while !bytes.is_empty() {
            match rustix::io::pwrite(file, bytes, offset) {
                Err(Errno::INTR) => {}
                written => {
                    let written = written?;
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
            }
        }
    }
    Ok(())
}
