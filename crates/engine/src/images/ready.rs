//! Images made ready for containers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runtime::ErrorKind;

use super::{ImageName, ImageStore};
use crate::error::{Error, Result, from_image};

/// What an image says of its containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageDefaults {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments where nobody gives any; without an entrypoint, the program.
    pub command: Vec<String>,
    /// Variables, as `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Who runs it, as `USER[:GROUP]`.
    pub user: Option<String>,
    /// Where it begins.
    pub directory: Option<String>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// Notes.
    pub labels: BTreeMap<String, String>,
}

/// An image whose files can be looked at. It is not removed as long as this is held.
#[derive(Debug)]
pub struct ReadyImage {
    /// Its files, in the mount namespace of this process.
    pub root: PathBuf,
    /// What it says of its containers.
    pub defaults: ImageDefaults,
    _claim: image::store::InUse,
}

impl ImageStore {
    /// Makes an image ready for a container, if it is there. Where it has several layers, this process goes into a mount
    /// namespace of its own, in which they are shown as one: so nothing of that is on the host, and it goes with the process.
    pub fn ready(&self, name: &ImageName) -> Result<Option<ReadyImage>> {
        let Some(image) = self.find(name)? else {
            return Ok(None);
        };
        let claim = self.store.claim(&image).map_err(from_image)?;
        let config = self.store.configuration(&image).map_err(from_image)?;
        let layers: Vec<PathBuf> =
            image.layers.iter().rev().map(|layer| self.store.layer_path(&layer.diff_id)).collect();
        let root = match &layers[..] {
            [] => {
                let operation = format!("run the image `{}`", name.as_str());
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    operation,
                    "it has no layers, and so no files",
                ));
            }
            [one] => one.clone(),
            several => self.show_as_one(several)?,
        };
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let of_image = config.config;
        let defaults = ImageDefaults {
            entrypoint: of_image.entrypoint,
            command: of_image.cmd,
            environment: of_image.env,
            user: said(of_image.user),
            directory: said(of_image.working_dir),
            stop_signal: of_image.stop_signal.and_then(said),
            labels: of_image.labels,
        };
        Ok(Some(ReadyImage { root, defaults, _claim: claim }))
    }

    /// Mounts layers as one, the topmost first, read-only, where no other process sees it.
    fn show_as_one(&self, layers: &[PathBuf]) -> Result<PathBuf> {
        use rustix::mount::{
            FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string,
            fsmount, fsopen, move_mount,
        };
        let place = self.store.path().join("merged");
        std::fs::create_dir_all(&place).map_err(|error| Error::at_path("make", &place, error))?;
        let failed = |error: rustix::io::Errno| Error::at_path("show layers as one at", &place, error);
        let opened = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| {
            failed(error).with_hint("this kernel has no overlay file system; `modprobe overlay` may bring it")
        })?;
        for layer in layers {
            use std::os::unix::ffi::OsStrExt;
            // One after the other, as all together may be longer than an option may be.
            fsconfig_set_string(&opened, c"lowerdir+", layer.as_os_str().as_bytes())
                .map_err(|error| failed(error).with_hint("images of several layers take Linux 6.7 yet"))?;
        }
        fsconfig_create(&opened).map_err(failed)?;
        let mount = fsmount(&opened, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
            .map_err(failed)?;
        let own =
            |error: std::io::Error| Error::system("make a mount namespace for the image's layers", error);
        sys::namespace::unshare(sys::clone::flags::NEWNS).map_err(own)?;
        // What the host mounts later is to be seen here as well.
        use sys::mount::propagation::{REC, SLAVE};
        sys::mount::change(c"/", SLAVE | REC).map_err(own)?;
        move_mount(&mount, c"", rustix::fs::CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed)?;
        Ok(place)
    }
}
