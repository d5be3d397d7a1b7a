//! Images mounted on the host, to be looked at: the layers as one, read-only.
//!
//! A mount belongs to the namespace that it was made in, which may be another than that of whoever looks: `podman unshare` has one.
//! What a killed command or the end of the host leaves is a note of a mount that is not there, or an empty directory: whoever
//! mounts, unmounts or removes images next takes them away.

use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use image::Digest;
use image::store::{Image, MountedImage, Mounting};
use runtime::ErrorKind;
use runtime::caller::Caller;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::list::familiar;
use super::namespaces::{self, Namespaces, Whereabouts};
use super::{ImageName, ImageStore};
use crate::error::{Error, Result, from_image};
use crate::layers::attach_as_one;
use crate::paths::EnginePaths;

/// An image that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMount {
    /// The image's id.
    pub id: String,
    /// The digest of its manifest.
    pub digest: String,
    /// Its names.
    pub names: Vec<String>,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// When an image is unmounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmount {
    /// When everybody who has mounted it has unmounted it.
    Counted,
    /// At once, how often ever it was mounted.
    Wholly,
    /// At once, whoever has mounted it, and also where somebody is in it.
    Forced,
}

impl ImageStore {
    /// Mounts an image below `paths`, or counts once more that it is.
    pub fn mount(&self, name: &ImageName, paths: &EnginePaths) -> Result<ImageMount> {
        let operation = format!("mount the image `{}`", name.as_str());
        self.may_mount(&operation, paths)?;
        let image = self.wanted(name, &operation)?;
        let mounting = self.store.begin_mounting().map_err(from_image)?;
        self.heal(&mounting)?;
        let known = self.store.mount_of(&image).map_err(from_image)?;
        if let Some(known) = &known {
            self.check_is_here(known, &operation)?;
        }
        let count = known.as_ref().map_or(1, |known| known.count + 1);
        let path = match known {
            Some(known) => known.path,
            None => self.mount_point(&image, paths)?,
        };
        let note = MountedImage {
            manifest: image.manifest.clone(),
            path,
            count,
            namespace: Some(namespaces::own()?),
        };
        mounting.write(&image, &note).map_err(from_image)?;
        if count == 1
            && let Err(mut error) = self.attach(&image, &note.path, &operation)
        {
            error.rollback.extend(detach(&note, Unmount::Forced, &mounting).err());
            return Err(error);
        }
        let id = image.id.to_string();
        self.tell("mount", &id, &id);
        self.mount_shown(&image, note.path)
    }

    /// All images.
    pub fn mount_all(&self, paths: &EnginePaths) -> Result<Vec<ImageMount>> {
        let images = self.store.images().map_err(from_image)?;
        images.values().map(|image| self.mount(&image.id.to_string().parse()?, paths)).collect()
    }

    /// The images that are mounted.
    pub fn mounts(&self) -> Result<Vec<ImageMount>> {
        let table = mount_table()?;
        let mut mounts = Vec::new();
        for note in self.store.mounted().map_err(from_image)? {
            if !is_mounted(&table, &note.path) {
                continue;
            }
            if let Some(image) = self.store.image(&note.manifest).map_err(from_image)? {
                mounts.push(self.mount_shown(&image, note.path)?);
            }
        }
        Ok(mounts)
    }

    /// Unmounts an image; its id. One that is not mounted stays so, and nothing is returned.
    pub fn unmount(&self, name: &ImageName, how: Unmount) -> Result<Option<String>> {
        let image = self.wanted(name, &format!("unmount the image `{}`", name.as_str()))?;
        // It may be mounted by another manifest that is the same image.
        let mut same: Vec<Image> = self.store.images().map_err(from_image)?.into_values().collect();
        same.retain(|other| other.id == image.id);
        same.sort_by_key(|other| other.manifest != image.manifest);
        let mut unmounted = None;
        for one in same {
            unmounted = self.unmount_image(&one, how)?.or(unmounted);
            if unmounted.is_some() && how == Unmount::Counted {
                break;
            }
        }
        unmounted.iter().for_each(|id| self.tell("unmount", id, id));
        Ok(unmounted)
    }

    /// Unmounts all; the ids of those that were mounted.
    pub fn unmount_all(&self, how: Unmount) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        let table = mount_table()?;
        for note in self.store.mounted().map_err(from_image)? {
            if !is_mounted(&table, &note.path) {
                continue;
            }
            if let Some(image) = self.store.image(&note.manifest).map_err(from_image)? {
                ids.extend(self.unmount_image(&image, how)?);
            }
        }
        self.heal_mounts()?;
        Ok(ids)
    }

    pub(super) fn unmount_image(&self, image: &Image, how: Unmount) -> Result<Option<String>> {
        let mounting = self.store.begin_mounting().map_err(from_image)?;
        self.heal(&mounting)?;
        let Some(note) = self.store.mount_of(image).map_err(from_image)? else { return Ok(None) };
        self.check_is_here(&note, &format!("unmount the image `{}`", image.id.short()))?;
        match (how, note.count) {
            (Unmount::Counted, 2..) => {
                let note = MountedImage { count: note.count - 1, ..note };
                mounting.write(image, &note).map_err(from_image)?;
            }
            _ => detach(&note, how, &mounting)?,
        }
        Ok(Some(image.id.to_string()))
    }

    /// Takes away what killed commands, or the host's end, have left of mounts.
    pub fn heal_mounts(&self) -> Result<()> {
        if self.store.mounted().map_err(from_image)?.is_empty() {
            return Ok(());
        }
        self.heal(&self.store.begin_mounting().map_err(from_image)?)
    }

    /// What another namespace has mounted is not seen here, and stays.
    fn heal(&self, mounting: &Mounting<'_>) -> Result<()> {
        let table = mount_table()?;
        for note in self.store.mounted().map_err(from_image)? {
            if !is_mounted(&table, &note.path) && self.whereabouts(&note)? != Whereabouts::Elsewhere {
                remove_point(&note.path)?;
                mounting.remove(&note).map_err(from_image)?;
            }
        }
        Ok(())
    }

    fn whereabouts(&self, note: &MountedImage) -> Result<Whereabouts> {
        let noted = note.namespace.as_ref();
        match &self.namespaces {
            Some(seen) => Ok(seen.whereabouts(noted)),
            // Most are here, and need no look at all processes.
            None if noted.is_none_or(|noted| namespaces::own().is_ok_and(|own| own == *noted)) => {
                Ok(Whereabouts::Here)
            }
            None => Ok(Namespaces::look()?.whereabouts(noted)),
        }
    }

    /// Whoever unmounts from elsewhere would take the mount point from below the mount.
    fn check_is_here(&self, note: &MountedImage, operation: &str) -> Result<()> {
        if self.whereabouts(note)? != Whereabouts::Elsewhere {
            return Ok(());
        }
        let reason = format!("it is mounted at `{}` in another mount namespace", note.path.display());
        let error = Error::new(ErrorKind::WrongStatus, operation, reason);
        Err(error
            .with_hint("unmount it where it was mounted, as in `podman unshare`, or end what runs there"))
    }

    /// Without root a mount would be seen by this command alone.
    fn may_mount(&self, operation: &str, paths: &EnginePaths) -> Result<()> {
        if Caller::find() != Caller::User {
            return Ok(());
        }
        let reason = "without root it would be mounted for this command alone";
        let error = Error::new(ErrorKind::Permission, operation, reason);
        let root = self.store.path().parent().unwrap_or(Path::new("/"));
        Err(error.with_hint(format!(
            "write `sudo` before it for root's images; for yours, `podman unshare` opens a shell with namespaces of its own, and \
             there `rabbitc image mount --root={} --runroot={} IMAGE`",
            root.display(),
            paths.base().display()
        )))
    }

    /// Where an image is to be mounted, by the name that the table of mounts will have for it. Several stores may have it.
    fn mount_point(&self, image: &Image, paths: &EnginePaths) -> Result<PathBuf> {
        let directory = paths.image_mounts();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        let found = made.and_then(|()| directory.canonicalize());
        let found = found.map_err(|error| Error::at_path("make", &directory, error))?;
        let store = Digest::of(self.store.path().as_os_str().as_bytes());
        Ok(found.join(format!("{}-{}", image.manifest.short(), store.short())))
    }

    fn mount_shown(&self, image: &Image, path: PathBuf) -> Result<ImageMount> {
        let names = self.references(image)?.iter().map(familiar).collect();
        Ok(ImageMount { id: image.id.to_string(), digest: image.manifest.to_string(), names, path })
    }

    fn attach(&self, image: &Image, point: &Path, operation: &str) -> Result<()> {
        let layers: Vec<PathBuf> =
            image.layers.iter().rev().map(|layer| self.store.layer_path(&layer.diff_id)).collect();
        if layers.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, operation, "it has no layers, and so no files"));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(point);
        made.map_err(|error| Error::at_path("make", point, error))?;
        // An overlay without an upper directory wants two; the mount point itself is empty.
        let layers: Vec<&Path> = layers.iter().map(PathBuf::as_path).chain([point]).collect();
        attach_as_one(&layers, point, operation)
    }
}

/// Unmounts, then removes the directory, then the note of it: whatever of it is missing is no error.
fn detach(note: &MountedImage, how: Unmount, mounting: &Mounting<'_>) -> Result<()> {
    let flags = match how {
        Unmount::Counted | Unmount::Wholly => UnmountFlags::NOFOLLOW,
        Unmount::Forced => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    // Somebody may have mounted over it, too.
    while is_mounted(&mount_table()?, &note.path) {
        rustix::mount::unmount(&note.path, flags).map_err(|error| {
            let failed = Error::at_path("unmount", &note.path, error);
            match error {
                Errno::BUSY => failed
                    .with_hint("somebody is in it, or reads a file of it; `--force` does it all the same"),
                _ => failed,
            }
        })?;
    }
    remove_point(&note.path)?;
    mounting.remove(note).map_err(from_image)
}

/// Removes the directory, unless somebody has put something there since.
fn remove_point(path: &Path) -> Result<()> {
    use std::io::ErrorKind::{DirectoryNotEmpty, NotFound};
    match std::fs::remove_dir(path) {
        Err(error) if !matches!(error.kind(), NotFound | DirectoryNotEmpty) => {
            Err(Error::at_path("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn mount_table() -> Result<Vec<u8>> {
    let path = Path::new("/proc/self/mountinfo");
    std::fs::read(path).map_err(|error| Error::at_path("read", path, error))
}

fn is_mounted(table: &[u8], path: &Path) -> bool {
    sys::mount_table::entries(table).any(|mount| mount.mount_point == path)
}
