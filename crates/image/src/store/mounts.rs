//! Which images are mounted somewhere on the host, so that nobody removes them below their mounts. Mounts nothing itself.

use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::images::remove;
use super::{Image, Store, entries, make_directory, read_json, write_json};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

/// The directory of these documents, which older stores lack.
pub(super) const DIRECTORY: &str = "mounts";

/// An image that is mounted, or was until the host or a command ended: it is written before the mount is made, and removed
/// after that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountedImage {
    /// The digest of the image's manifest.
    pub manifest: Digest,
    /// Where.
    pub path: PathBuf,
    /// How often it was asked for: as often it is to be taken back.
    pub count: u64,
    /// Whose mounts it is one of, which older stores have not noted.
    #[serde(default)]
    pub namespace: Option<MountNamespace>,
}

/// The mounts that a process sees, told apart from those of others and of earlier starts of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountNamespace {
    /// Which start of the host it is: its `boot_id` (random(4)).
    pub boot: String,
    /// The mount namespace.
    pub mounts: NamespaceFile,
    /// The pid namespace of whoever noted it.
    pub processes: NamespaceFile,
}

/// A namespace, by its file in /proc (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamespaceFile {
    /// The device of that file.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// The right to mount images and to unmount them, one process at a time.
#[derive(Debug)]
pub struct Mounting<'a> {
    store: &'a Store,
    _changing: File,
}

impl Store {
    /// The images that are noted as mounted.
    pub fn mounted(&self) -> Result<Vec<MountedImage>> {
        let directory = self.path.join(DIRECTORY);
        let mut mounted = Vec::new();
        for name in entries(&directory)? {
            mounted.extend(read_json::<MountedImage>(&directory.join(name))?);
        }
        Ok(mounted)
    }

    /// The note of one image.
    pub fn mount_of(&self, image: &Image) -> Result<Option<MountedImage>> {
        read_json(&self.path.join(DIRECTORY).join(image.manifest.digits()))
    }

    /// Waits until nobody else mounts or unmounts, or changes images.
    pub fn begin_mounting(&self) -> Result<Mounting<'_>> {
        Ok(Mounting { store: self, _changing: self.change()? })
    }
}

impl Mounting<'_> {
    /// Notes that an image is about to be mounted, or how often it is; it must be there.
    pub fn write(&self, image: &Image, mounted: &MountedImage) -> Result<()> {
        if self.store.image(&image.manifest)?.is_none() {
            let operation = format!("mount the image `{}`", image.id.short());
            return Err(Error::new(Kind::NotFound, operation, "it has just been removed"));
        }
        let directory = self.store.path.join(DIRECTORY);
        make_directory(&directory)?;
        write_json(&directory, mounted.manifest.digits(), mounted)
    }

    /// Notes that an image is mounted no more.
    pub fn remove(&self, mounted: &MountedImage) -> Result<()> {
        remove(&self.store.path.join(DIRECTORY).join(mounted.manifest.digits())).map(drop)
    }
}
