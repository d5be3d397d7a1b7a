//! The whole root of a container that has ended, as an archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use image::pack::{Form, pack};
use runtime::ErrorKind;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use super::{Kept, KeptRoot};
use crate::error::{Error, Result, from_image};

impl Kept {
    /// Writes all of its root to `out`. What was mounted in it is not there any more, as in docker's.
    pub fn export(&self, out: &mut dyn Write) -> Result<()> {
        if self.root == KeptRoot::Host && !self.submounts.is_empty() {
            let shown: Vec<String> =
                self.submounts.iter().map(|path| format!("`{}`", path.display())).collect();
            let operation = format!("export the container `{}`", self.id);
            let reason = format!("it ran on the host's root, which has more mounts: {}", shown.join(", "));
            let error = Error::new(ErrorKind::Unsupported, operation, reason);
            return Err(error.with_hint("`rabbitc diff` lists what it has changed"));
        }
        let lowers = self.lowers()?;
        let Some((upper, _)) = self.uppers().into_iter().next() else {
            let operation = format!("export the container `{}`", self.id);
            return Err(Error::new(ErrorKind::NotFound, operation, "it has never run"));
        };
        let layers: Vec<&Path> =
            std::iter::once(upper.as_path()).chain(lowers.iter().map(PathBuf::as_path)).collect();
        let root = show_as_one(&layers)?;
        pack(root.as_fd(), Form::Tree, &BTreeSet::new(), out).map_err(from_image)
    }
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
    let root = rustix::fs::openat(
        &mount,
        c".",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let root = root.map_err(failed)?;
    drop(File::from(mount));
    Ok(root)
}
