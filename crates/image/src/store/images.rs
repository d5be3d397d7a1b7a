//! What images there are, and by which names.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Store, entries, read_json, write_json};
use crate::digest::Digest;
use crate::documents::{Document, ImageConfig, MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, Manifest};
use crate::error::{Error, Kind, Result};
use crate::reference::{Reference, Typed};

/// The fewest digits that stand for an id.
const FEWEST_DIGITS: usize = 3;

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The digest of its configuration, which is its id.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Seconds since 1970 at which it was made, by its configuration.
    pub created: Option<u64>,
    /// Seconds since 1970 at which it came.
    pub stored: u64,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// The digest of its archive before compression.
    pub diff_id: Digest,
    /// The digest of its archive as it was received.
    pub blob: Digest,
    /// Bytes of that.
    pub compressed: u64,
    /// Bytes of the archive before compression.
    pub size: u64,
}

/// A name and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Name {
    /// The name.
    pub reference: Reference,
    /// The digest of the image's manifest.
    pub manifest: Digest,
    /// By which digests a registry has it: that of an index, too.
    pub digests: Vec<Digest>,
}

/// What somebody has seen of an image before he has it forgotten: another may have named it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'a> {
    /// It has no name, and no list lists it.
    Nothing,
    /// It has no other names than these; lists do not count.
    Names(&'a [Reference]),
}

/// A claim of a running container on its image: as long as it is held, the image can't be removed.
#[derive(Debug)]
pub struct InUse {
    _file: File,
}

impl Image {
    /// Bytes of all its layers before compression.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

impl Store {
    /// All images, by the digests of their manifests.
    pub fn images(&self) -> Result<BTreeMap<Digest, Image>> {
        let directory = self.path.join("images");
        let mut images = BTreeMap::new();
        for name in entries(&directory)? {
            // One that was removed meanwhile is no longer there.
            if let Some(image) = read_json::<Image>(&directory.join(name))? {
                images.insert(image.manifest.clone(), image);
            }
        }
        Ok(images)
    }

    /// All names, sorted.
    pub fn names(&self) -> Result<Vec<Name>> {
        let directory = self.path.join("names");
        let mut names = Vec::new();
        for name in entries(&directory)? {
            names.extend(read_json::<Name>(&directory.join(name))?);
        }
        names.sort_by(|one: &Name, other| one.reference.cmp(&other.reference));
        Ok(names)
    }

    /// What a name stands for.
    pub fn named(&self, reference: &Reference) -> Result<Option<Name>> {
        read_json(&self.path.join("names").join(file_of(reference)))
    }

    /// The image of a manifest.
    pub fn image(&self, manifest: &Digest) -> Result<Option<Image>> {
        read_json(&self.path.join("images").join(manifest.digits()))
    }

    /// The image that somebody means by a name, an id, or the beginning of an id; a name without a registry is looked for in
    /// each of `registries`, in order.
    pub fn find(&self, text: &str, registries: &[String]) -> Result<Option<Image>> {
        if let Ok(typed) = text.parse::<Typed>() {
            for registry in registries {
                let reference = typed.clone().in_registry(registry);
                if let Some(image) = self.by_reference(&reference)? {
                    return Ok(Some(image));
                }
            }
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_beginning =
            digits.len() >= FEWEST_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_beginning {
            return Ok(None);
        }
        let mut found: Vec<Image> =
            self.images()?.into_values().filter(|image| image.id.digits().starts_with(digits)).collect();
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found.dedup_by(|one, other| one.id == other.id);
        match found.len() {
            0 | 1 => Ok(found.pop()),
            number => {
                let operation = format!("find the image `{text}`");
                let error =
                    Error::new(Kind::Invalid, operation, format!("{number} images have ids that begin so"));
                let ids: Vec<&str> = found.iter().map(|image| image.id.short()).collect();
                Err(error.with_hint(format!("write more of one: {}", ids.join(", "))))
            }
        }
    }

    fn by_reference(&self, reference: &Reference) -> Result<Option<Image>> {
        let Some(digest) = &reference.digest else {
            return match self.named(reference)? {
                Some(name) => self.image(&name.manifest),
                None => Ok(None),
            };
        };
        let names = self.names()?;
        let of_name = names.iter().find(|name| {
            name.reference.name() == reference.name()
                && (name.manifest == *digest || name.digests.contains(digest))
        });
        of_name.map_or(Ok(None), |name| self.image(&name.manifest))
    }

    /// The configuration of an image.
    pub fn configuration(&self, image: &Image) -> Result<ImageConfig> {
        let text = self.read_blob(&image.id, MOST_CONFIG_BYTES)?;
        ImageConfig::parse(&text, image.layers.len(), &format!("read the image `{}`", image.id.short()))
    }

    /// The manifest of an image, and its text.
    pub fn manifest(&self, image: &Image) -> Result<(Manifest, Vec<u8>)> {
        let text = self.read_blob(&image.manifest, MOST_MANIFEST_BYTES)?;
        let operation = format!("read the image `{}`", image.id.short());
        match Document::parse(&text, None, &operation)? {
            Document::Manifest(manifest) => Ok((*manifest, text)),
            Document::Index(_) => Err(Error::new(Kind::Corrupt, operation, "its manifest is an index")),
        }
    }

    /// Keeps an image whose blobs and layers are there. A document that says the same stays: containers claim an image by its
    /// file.
    pub(super) fn keep(&self, image: &Image) -> Result<()> {
        let _changing = self.change()?;
        self.keep_alone(image)
    }

    fn keep_alone(&self, image: &Image) -> Result<()> {
        match self.image(&image.manifest)? {
            Some(found) if found.layers == image.layers => Ok(()),
            // What was here when it was pulled may have been taken away since, to be repaired.
            _ if !self.is_whole(image) => {
                let operation = format!("keep the image `{}`", image.id.short());
                let error = Error::new(Kind::InUse, operation, "a part of it is being repaired");
                Err(error.with_hint("try again once `rabbitc system check --repair` has ended"))
            }
            _ => write_json(&self.path.join("images"), image.manifest.digits(), image),
        }
    }

    /// Keeps others from changing images and names: what one of them has read is to be true until it has written.
    pub(super) fn change(&self) -> Result<File> {
        let path = self.path.join("changes");
        let failed = |error: std::io::Error| Error::at_path("lock", &path, error);
        let mut options = OpenOptions::new();
        let lock = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(lock)
    }

    /// Has a name stand for an image from now on. That of a list is an error.
    pub fn name(&self, reference: &Reference, image: &Image, digests: Vec<Digest>) -> Result<()> {
        let _changing = self.change()?;
        self.check_is_no_list(reference)?;
        // Somebody may have removed it since it was pulled; its blobs and layers stay as long as this process uses the store.
        self.keep_alone(image)?;
        let name = Name { reference: reference.clone(), manifest: image.manifest.clone(), digests };
        write_json(&self.path.join("names"), &file_of(reference), &name)
    }

    /// Refuses the name of a list, which would be there no more for whoever says it. Who brings an image asks before that, too.
    pub fn check_is_no_list(&self, reference: &Reference) -> Result<()> {
        if self.list(reference)?.is_none() {
            return Ok(());
        }
        let operation = format!("name an image `{reference}`");
        let error = Error::new(Kind::Invalid, operation, "a list of images has this name");
        Err(error.with_hint(format!("`rabbitc manifest rm {reference}` removes the list")))
    }

    /// Takes a name away; whether it was there.
    pub fn unname(&self, reference: &Reference) -> Result<bool> {
        let _changing = self.change()?;
        self.unname_alone(reference)
    }

    fn unname_alone(&self, reference: &Reference) -> Result<bool> {
        remove(&self.path.join("names").join(file_of(reference)))
    }

    /// Forgets an image and its names, unless somebody needs it who was not `seen`, a container has claimed it or it is mounted; its
    /// blobs and layers go with the next [`Store::sweep`].
    pub fn forget(&self, image: &Image, seen: Seen<'_>) -> Result<()> {
        let _changing = self.change()?;
        // Held until the document is gone: who claims it meanwhile waits, and sees that.
        let operation = format!("remove the image `{}`", image.id.short());
        let mut names = self.names()?;
        names.retain(|name| name.manifest == image.manifest);
        if let Some(reason) = self.came_since(image, &names, seen)? {
            let error = Error::new(Kind::InUse, operation, reason);
            return Err(error.with_hint("remove it again if it is to go with that"));
        }
        let _seized = self.seize(image, &operation)?;
        if let Some(mounted) = self.mount_of(image)? {
            let reason = format!("it is mounted at `{}`", mounted.path.display());
            let error = Error::new(Kind::InUse, operation, reason);
            return Err(
                error.with_hint("`rabbitc image unmount` unmounts it, `--force` removes it with its mount")
            );
        }
        for name in &names {
            self.unname_alone(&name.reference)?;
        }
        remove(&self.document(image)).map(drop)
    }

    /// What an image that has these `names` has got since somebody has looked, in words.
    fn came_since(&self, image: &Image, names: &[Name], seen: Seen<'_>) -> Result<Option<String>> {
        let known = match seen {
            Seen::Nothing => &[],
            Seen::Names(known) => known,
        };
        if let Some(name) = names.iter().find(|name| !known.contains(&name.reference)) {
            return Ok(Some(format!("it has just been named `{}`", name.reference)));
        }
        if seen != Seen::Nothing {
            return Ok(None);
        }
        for list in self.lists()? {
            // A damaged one lists nothing.
            let Ok(index) = self.index(&list) else { continue };
            if index.manifests.iter().any(|entry| entry.digest == image.manifest) {
                return Ok(Some(format!("it has just been put into the list `{}`", list.reference)));
            }
        }
        Ok(None)
    }

    /// Keeps containers from an image as long as the value is held; none where it is not there. A container that has claimed it
    /// is an error.
    pub(super) fn seize(&self, image: &Image, operation: &str) -> Result<Option<File>> {
        let path = self.document(image);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::at_path("open", &path, error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => {
                let error = Error::new(Kind::InUse, operation, "a running container is of it");
                Err(error.with_hint("end the container first"))
            }
            Err(error) => Err(Error::at_path("lock", &path, error)),
        }
    }

    /// Claims an image for a container.
    pub fn claim(&self, image: &Image) -> Result<InUse> {
        let path = self.document(image);
        let file = File::open(&path).map_err(|error| Error::at_path("open", &path, error))?;
        flock(&file, FlockOperation::LockShared).map_err(|error| Error::at_path("lock", &path, error))?;
        let own = file.metadata().map_err(|error| Error::at_path("examine", &path, error))?;
        if own.nlink() == 0 {
            let operation = format!("use the image `{}`", image.id.short());
            return Err(Error::new(Kind::NotFound, operation, "it has just been removed"));
        }
        Ok(InUse { _file: file })
    }

    /// The file that says what an image consists of.
    pub(super) fn document(&self, image: &Image) -> PathBuf {
        self.path.join("images").join(image.manifest.digits())
    }
}

/// Names hold slashes and colons; their digests do not.
pub(super) fn file_of(reference: &Reference) -> String {
    Digest::of(reference.to_string().as_bytes()).digits().to_owned()
}

pub(super) fn remove(path: &std::path::Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::at_path("remove", path, error)),
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
