//! What is in a volume in the beginning: what the container's root has at its place, with owners, modes, times and attributes.
//!
//! It is copied beside the volume first. Once that is whole, it has a name of its own, and then it is moved in, entry by entry, as
//! somebody may have the volume mounted already: who is killed on the way is followed by the next one, who finishes it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use image::pack::{Form, pack};
use image::unpack::{Devices, Limits, Options, Owners, Whiteouts};
use rustix::fs::{
    CWD, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Timestamps, Uid, XattrFlags, renameat_with,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::remove::remove_tree;
use super::{DATA, Durability, lock_content, sync};
use crate::error::{Error, Result, from_image};
use crate::images::has_one_id;
use crate::layers::open_as_one;

/// What is being copied, and what is copied whole.
const DRAFT: &str = "fill";
const WHOLE: &str = "filled";

/// A volume that is to be filled, if it is empty.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fill {
    /// Its directory.
    pub(super) volume: PathBuf,
    /// The directories of the root, the topmost first.
    pub(super) layers: Vec<PathBuf>,
    /// Where it is mounted, as an absolute path of the container.
    pub(super) target: String,
    pub(super) durability: Durability,
}

/// Whether there may be something to do for the volume of a directory.
pub(super) fn may_need(volume: &Path) -> bool {
    // What can't be looked at belongs to somebody, and so there is something in it.
    let is_empty = std::fs::read_dir(volume.join(DATA)).is_ok_and(|mut entries| entries.next().is_none());
    is_empty || has_begun(volume)
}

/// Whether somebody was killed while he moved things in.
pub(super) fn has_begun(volume: &Path) -> bool {
    volume.join(WHOLE).exists()
}

/// Fills the volume, or finishes what somebody else has begun.
pub(super) fn fill(request: &Fill) -> Result<()> {
    let volume = &request.volume;
    let _lock = lock_content(volume)?;
    let (draft, whole, data) = (volume.join(DRAFT), volume.join(WHOLE), volume.join(DATA));
    if !whole.exists() {
        remove_tree(&draft)?;
        if !may_need(volume) {
            return Ok(());
        }
        let root = root(&request.layers)?;
        let Some(source) = directory_in(root.as_fd(), &request.target)? else { return Ok(()) };
        copy(source.as_fd(), &draft).map_err(|error| {
            let copied = remove_tree(&draft).err();
            Error { rollback: copied.into_iter().collect(), ..error }
        })?;
        commit(&draft, &whole, request.durability)?;
    }
    move_in(&whole, &data)?;
    take_attributes(&whole, &data)?;
    if request.durability == Durability::Power {
        sync(&data)?;
    }
    remove_tree(&whole)?;
    if request.durability == Durability::Power { sync(volume) } else { Ok(()) }
}

/// The container's root.
fn root(layers: &[PathBuf]) -> Result<OwnedFd> {
    match layers {
        [only] => File::open(only).map(OwnedFd::from).map_err(|error| Error::at_path("open", only, error)),
        several => {
            let layers: Vec<&Path> = several.iter().map(PathBuf::as_path).collect();
            open_as_one(&layers, "fill a volume from the image")
        }
    }
}

/// A directory of the container's root, with links as they lead inside; none where there is none, or another mount is on the way.
fn directory_in(root: BorrowedFd<'_>, target: &str) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(root, target, flags, Mode::empty(), resolve) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        Err(error) => Err(Error::at_path("open", Path::new(target), error)),
    }
}

/// Copies all that is in `source`, and what is known of itself.
fn copy(source: BorrowedFd<'_>, draft: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::at_path("make", draft, error);
    std::fs::DirBuilder::new().mode(0o700).create(draft).map_err(failed)?;
    let tree = File::open(draft).map_err(failed)?;
    let owners = if has_one_id() { Owners::Unpackers } else { Owners::Named };
    let options = Options {
        whiteouts: Whiteouts::Trusted,
        devices: Devices::Made,
        owners,
        // What is here already was bounded when it came.
        limits: Limits { entries: u64::MAX, bytes: u64::MAX, ratio: u64::MAX, ..Limits::default() },
    };
    let (reader, writer) = std::io::pipe().map_err(|error| Error::system("make a pipe", error))?;
    let (packed, unpacked) = std::thread::scope(|scope| {
        let packer = scope.spawn(move || {
            let mut out = BufWriter::with_capacity(256 << 10, writer);
            pack(source, Form::Tree, &BTreeSet::new(), &mut out)
        });
        let unpacked = image::unpack::layer(reader, tree.as_fd(), &options);
        (packer.join().expect("it does not panic"), unpacked)
    });
    // Who can't read says so; who can't write breaks the pipe of the other.
    match (packed, unpacked) {
        (Err(error), _) if error.errno != Some(Errno::PIPE.raw_os_error()) => Err(from_image(error)),
        (_, Err(error)) => Err(from_image(error)),
        _ => attributes(source, tree.as_fd(), draft),
    }
}

/// What is copied is whole from here on.
fn commit(draft: &Path, whole: &Path, durability: Durability) -> Result<()> {
    if durability == Durability::Power {
        let opened = File::open(draft).map_err(|error| Error::at_path("open", draft, error))?;
        rustix::fs::syncfs(&opened).map_err(|error| Error::at_path("write to the disk", draft, error))?;
    }
    std::fs::rename(draft, whole).map_err(|error| Error::at_path("rename", draft, error))?;
    match whole.parent() {
        Some(volume) if durability == Durability::Power => sync(volume),
        _ => Ok(()),
    }
}

/// Moves each entry; what somebody has made there meanwhile stays.
fn move_in(whole: &Path, data: &Path) -> Result<()> {
    let failed = |error| Error::at_path("list", whole, error);
    for entry in std::fs::read_dir(whole).map_err(failed)? {
        let from = entry.map_err(failed)?.path();
        let to = data.join(from.file_name().expect("an entry has a name"));
        match renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::at_path("move", &to, error)),
        }
    }
    Ok(())
}

fn take_attributes(whole: &Path, data: &Path) -> Result<()> {
    let open = |path: &Path| File::open(path).map_err(|error| Error::at_path("open", path, error));
    attributes(open(whole)?.as_fd(), open(data)?.as_fd(), data)
}

/// Owner, attributes, mode and times of a directory, in the order in which one does not undo the other (chown(2)).
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let take = || -> rustix::io::Result<()> {
        let status = rustix::fs::fstat(from)?;
        if !has_one_id() {
            let (owner, group) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
            rustix::fs::fchown(to, Some(owner), Some(group))?;
        }
        rustix::fs::fchmod(to, Mode::from_raw_mode(status.st_mode & 0o7777))?;
        for name in attribute_names(from)? {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::fgetxattr(from, &*name, value.as_mut_slice())?;
            match rustix::fs::fsetxattr(to, &*name, &value[..length], XattrFlags::empty()) {
                // Another file system may have none of the kind.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(error) => return Err(error),
            }
        }
        let time = |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps {
            last_access: time(status.st_atime, status.st_atime_nsec as _),
            last_modification: time(status.st_mtime, status.st_mtime_nsec as _),
        };
        rustix::fs::futimens(to, &times)
    };
    take().map_err(|error| Error::at_path("set owner and mode of", path, error))
}

/// Attributes that are for programs; not those of an overlay and of the host's security module.
fn attribute_names(of: BorrowedFd<'_>) -> rustix::io::Result<Vec<String>> {
    let mut list = vec![0u8; 64 << 10];
    let length = match rustix::fs::flistxattr(of, list.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => 0,
        listed => listed?,
    };
    let names = list[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let is_for_programs = |name: &&str| {
        (name.starts_with("user.") && !name.starts_with("user.overlay."))
            || name.starts_with("system.posix_acl_")
            || *name == "security.capability"
    };
    Ok(names.filter(is_for_programs).map(str::to_owned).collect())
}
