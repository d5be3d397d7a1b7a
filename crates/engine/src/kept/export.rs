//! The whole root of a container that has ended, as an archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use image::pack::{Form, Overlay, pack, pack_merged};
use runtime::ErrorKind;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

use super::{Kept, KeptRoot};
use crate::error::{Error, Result, from_image};

impl Kept {
    /// Writes all of its root to `out`. What was mounted in it is not there any more, as in docker's.
    pub fn export(&self, out: &mut dyn Write) -> Result<()> {
        let uppers = self.uppers();
        let Some((upper, _)) = uppers.first() else {
            let operation = format!("export the container `{}`", self.id);
            return Err(Error::new(ErrorKind::NotFound, operation, "it has never run"));
        };
        if self.root == KeptRoot::Host {
            let overlays: Vec<Overlay> = uppers.iter().map(over_the_hosts).collect::<Result<_>>()?;
            return pack_merged(&overlays, &self.unseen(), out).map_err(from_image);
        }
        let lowers = self.lowers()?;
        let layers: Vec<&Path> =
            std::iter::once(upper.as_path()).chain(lowers.iter().map(PathBuf::as_path)).collect();
        let root = show_as_one(&layers)?;
        if self.volumes.is_empty() {
            return pack(root.as_fd(), Form::Tree, &BTreeSet::new(), out).map_err(from_image);
        }
        // What is in directories for data is the image's, as in docker's.
        let image = match &lowers[..] {
            [only] => OwnedFd::from(File::open(only).map_err(|error| Error::at_path("open", only, error))?),
            several => show_as_one(&several.iter().map(PathBuf::as_path).collect::<Vec<_>>())?,
        };
        let mut overlays = vec![Overlay { point: Vec::new(), layers: vec![root] }];
        let mut empty = BTreeSet::new();
        for volume in &self.volumes {
            let point = within(volume);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            match rustix::fs::openat2(&image, point.as_slice(), flags, Mode::empty(), resolve) {
                Ok(directory) => overlays.push(Overlay { point, layers: vec![directory] }),
                Err(Errno::NOENT) => drop(empty.insert(point)),
                // Links are written as such.
                Err(Errno::LOOP | Errno::NOTDIR) => {}
                Err(error) => return Err(Error::at_path("open", volume, error)),
            }
        }
        pack_merged(&overlays, &empty, out).map_err(from_image)
    }

    /// Directories of the host whose files it did not see: where it had mounts of its own, and where rabbitc keeps what is its.
    fn unseen(&self) -> BTreeSet<Vec<u8>> {
        // Below containers/ID, and beside the images.
        let data = self.directory.ancestors().nth(2).map(Path::to_owned);
        let all = self.points.iter().cloned().chain(self.hidden.iter().cloned()).chain(data);
        all.map(|path| within(&path)).collect()
    }
}

/// What lies over a file system of the host, and that file system: it is opened by a mount of its own that has no others in it, as
/// those show the kernel, memory, or what is another host's.
fn over_the_hosts((upper, point): &(PathBuf, &Path)) -> Result<Overlay> {
    let failed = |error: Errno| Error::at_path("open the file system at", point, error);
    let open = |directory: BorrowedFd<'_>, path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(directory, path, flags, Mode::empty())
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, *point, flags).map_err(failed)?;
    // To be read, a mount's own descriptor will not do.
    let lower = open(mount.as_fd(), Path::new(".")).map_err(failed)?;
    let upper = open(CWD, upper).map_err(|error| Error::at_path("open", upper, error))?;
    Ok(Overlay { point: within(point), layers: vec![upper, lower] })
}

/// A path of the container, relative to its root.
pub(super) fn within(path: &Path) -> Vec<u8> {
    path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes().to_vec()
}

/// Mounts directories as one, the topmost first, where nobody else sees it: it is attached nowhere, and goes with its value.
fn show_as_one(layers: &[&Path]) -> Result<OwnedFd> {
    const OPERATION: &str = "show the container's layers as one";
    let failed = |error: Errno| Error::system(OPERATION, error);
    let opened = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| {
        failed(error).with_hint("this kernel has no overlay file system; `modprobe overlay` may bring it")
    })?;
    for layer in layers {
        fsconfig_set_string(&opened, c"lowerdir+", layer.as_os_str().as_bytes())
            .map_err(|error| failed(error).with_hint("it takes Linux 6.7"))?;
    }
    if !rustix::process::geteuid().is_root()
        || runtime::caller::Caller::find() != runtime::caller::Caller::Root
    {
        fsconfig_set_flag(&opened, c"userxattr").map_err(failed)?;
    }
    fsconfig_create(&opened).map_err(failed)?;
    let mount =
        fsmount(&opened, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY).map_err(failed)?;
    // To be read, a mount's own descriptor will not do.
    let root =
        rustix::fs::openat(&mount, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(failed)?;
    drop(File::from(mount));
    Ok(root)
}
