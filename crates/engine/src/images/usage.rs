//! How much room images take.

use super::ImageStore;
use crate::error::{Result, from_image};
use crate::kept::KeptRoot;

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
    /// Whether a container is of it that runs or is kept, or it is mounted.
    pub is_in_use: bool,
}

/// Room that all images take together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUsage {
    /// Each image.
    pub images: Vec<ImageUsage>,
    /// Bytes, those counted once that several images need.
    pub bytes: u64,
    /// Bytes that would be free if each image went that is not in use.
    pub reclaimable: u64,
}

impl ImageStore {
    /// How much room the images take.
    pub fn usage(&self) -> Result<StoreUsage> {
        // Those that removing images would keep, whether their containers run or not.
        let roots = self.containers().list()?.into_iter().map(|kept| kept.root);
        let needed = roots.filter_map(|root| match root {
            KeptRoot::Image { manifest, .. } => manifest.parse().ok(),
            KeptRoot::Directory { .. } | KeptRoot::Host => None,
        });
        let usage = self.store.usage(&needed.collect()).map_err(from_image)?;
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
