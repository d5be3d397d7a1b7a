//! How much room images take.

use super::ImageStore;
use crate::error::{Result, from_image};

/// Room that one image takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// Its names.
    pub names: Vec<String>,
    /// Its id.
    pub id: String,
    /// Seconds since 1970 at which it was made, where that is known.
    pub created: Option<u64>,
    /// Bytes that other images need as well.
    pub shared: u64,
    /// Bytes that go with it.
    pub unique: u64,
    /// Whether a running container is of it.
    pub is_in_use: bool,
}

/// Room that all images take together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUsage {
    /// Each image.
    pub images: Vec<ImageUsage>,
    /// Bytes, those counted once that several images need.
    pub bytes: u64,
    /// Bytes that would be free if each image went that no container is of.
    pub reclaimable: u64,
}

impl ImageStore {
    /// How much room the images take.
    pub fn usage(&self) -> Result<StoreUsage> {
        let usage = self.store.usage().map_err(from_image)?;
        let names = self.store.names().map_err(from_image)?;
        let images = usage.images.into_iter().map(|usage| ImageUsage {
            names: names
                .iter()
                .filter(|name| name.manifest == usage.image.manifest)
                .map(|name| name.reference.to_string())
                .collect(),
            id: usage.image.id.to_string(),
            created: usage.image.created,
            shared: usage.shared,
            unique: usage.unique,
            is_in_use: usage.is_in_use,
        });
        Ok(StoreUsage { images: images.collect(), bytes: usage.bytes, reclaimable: usage.reclaimable })
    }
}
