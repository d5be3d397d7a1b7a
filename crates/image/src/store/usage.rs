//! How much room images take.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Image, Part, Store};
use crate::Digest;
use crate::error::{Error, Result};

/// Room that one image takes: blobs as they were received, and layers unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The image.
    pub image: Image,
    /// Bytes that other images need as well.
    pub shared: u64,
    /// Bytes that go with it.
    pub unique: u64,
    /// Whether a running container is of it, it is mounted, or somebody else needs it.
    pub is_in_use: bool,
}

/// Room that all images take together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllUsage {
    /// Each image.
    pub images: Vec<Usage>,
    /// Bytes, those counted once that several images need.
    pub bytes: u64,
    /// Bytes that would be free if each image went that is not in use.
    pub reclaimable: u64,
}

/// What one blob or one layer takes, and how many images need it.
#[derive(Default)]
struct Taken {
    bytes: u64,
    images: usize,
    is_in_use: bool,
}

impl Store {
    /// The room of every image, and of all. Images with the manifests `needed` are in use, whoever claims them.
    pub fn usage(&self, needed: &BTreeSet<Digest>) -> Result<AllUsage> {
        // Whoever removes an image looks for claims as this does.
        let _changing = self.lock.as_ref().map(|_| self.change()).transpose()?;
        let images: Vec<Image> = self.images()?.into_values().collect();
        let mut all: BTreeMap<Part, Taken> = BTreeMap::new();
        let mut of_images = Vec::with_capacity(images.len());
        for image in images {
            let is_in_use = needed.contains(&image.manifest) || self.is_in_use(&image)?;
            let parts = self.parts(&image)?;
            for (part, bytes) in &parts {
                let taken = all.entry(part.clone()).or_default();
                taken.bytes = *bytes;
                taken.images += 1;
                taken.is_in_use |= is_in_use;
            }
            of_images.push((image, is_in_use, parts));
        }
        let usage = |(image, is_in_use, parts): (Image, bool, BTreeMap<Part, u64>)| {
            let sum = |is_shared: bool| {
                parts
                    .iter()
                    .filter(|(part, _)| (all[part].images > 1) == is_shared)
                    .map(|(_, bytes)| bytes)
                    .sum()
            };
            Usage { image, shared: sum(true), unique: sum(false), is_in_use }
        };
        Ok(AllUsage {
            images: of_images.into_iter().map(usage).collect(),
            bytes: all.values().map(|taken| taken.bytes).sum(),
            reclaimable: all.values().filter(|taken| !taken.is_in_use).map(|taken| taken.bytes).sum(),
        })
    }

    /// What an image consists of, and the bytes of it.
    fn parts(&self, image: &Image) -> Result<BTreeMap<Part, u64>> {
        let mut parts = BTreeMap::new();
        let blobs =
            [&image.id, &image.manifest].into_iter().chain(image.layers.iter().map(|layer| &layer.blob));
        for digest in blobs {
            let bytes = std::fs::metadata(self.blob_path(digest)).map_or(0, |found| found.len());
            parts.insert(Part::Blob(digest.clone()), bytes);
        }
        for layer in &image.layers {
            let unpacked = self.layer_of(&layer.diff_id, &layer.blob)?;
            let bytes = unpacked.map_or(layer.size, |unpacked| unpacked.content);
            parts.insert(Part::Layer(layer.diff_id.clone()), bytes);
        }
        Ok(parts)
    }

    fn is_in_use(&self, image: &Image) -> Result<bool> {
        if self.mount_of(image)?.is_some() {
            return Ok(true);
        }
        let path = self.document(image);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(|error| Error::at_path("open", &path, error))?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(Error::at_path("lock", &path, error)),
        }
    }
}
