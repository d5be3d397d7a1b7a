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
use rustix::mount::{OpenTreeFlags, open_tree};

use super::{Kept, KeptRoot};
use crate::error::{Error, Result, from_image};
use crate::layers::open_as_one;

impl Kept {
    /// Writes all of its root to `out`. What was mounted in it is not there any more, as in docker's.
    pub fn export(&self, out: &mut dyn Write) -> Result<()> {
        self.pack_root(out)?;
        self.subject().tell("export");
        Ok(())
    }

    pub(super) fn pack_root(&self, out: &mut dyn Write) -> Result<()> {
        let operation = format!("export the container `{}`", self.id);
        let uppers = self.uppers();
        let Some((upper, _)) = uppers.first() else {
            return Err(Error::new(ErrorKind::NotFound, operation, "it has never run"));
        };
        if self.root == KeptRoot::Host {
            let overlays: Vec<Overlay> = uppers.iter().map(over_the_hosts).collect::<Result<_>>()?;
            return pack_merged(&overlays, &self.unseen(), out).map_err(from_image);
        }
        let lowers = self.lowers()?;
        let layers: Vec<&Path> =
            std::iter::once(upper.as_path()).chain(lowers.iter().map(PathBuf::as_path)).collect();
        let root = open_as_one(&layers, &operation)?;
        if self.record.volumes.is_empty() {
            return pack(root.as_fd(), Form::Tree, &BTreeSet::new(), out).map_err(from_image);
        }
        // What is in directories for data is the image's, as in docker's.
        let image = match &lowers[..] {
            [only] => OwnedFd::from(File::open(only).map_err(|error| Error::at_path("open", only, error))?),
            several => open_as_one(&several.iter().map(PathBuf::as_path).collect::<Vec<_>>(), &operation)?,
        };
        let mut overlays = vec![Overlay { point: Vec::new(), layers: vec![root] }];
        let mut empty = BTreeSet::new();
        for volume in &self.record.volumes {
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
        let all = self.record.points.iter().cloned().chain(self.record.hidden.iter().cloned()).chain(data);
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
