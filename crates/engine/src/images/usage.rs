//! How much room images and containers take.

use super::ImageStore;
use crate::error::{Result, from_image};
use crate::kept::{KeptRoot, KeptState};

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

/// Room that all containers take that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContainersUsage {
    /// How many there are.
    pub total: usize,
    /// How many of them run.
    pub running: usize,
    /// Bytes of files that they have made or changed.
    pub bytes: u64,
    /// Those of the ones that have ended.
    pub reclaimable: u64,
}

/// Room that all images take together, and all containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUsage {
    /// Each image.
    pub images: Vec<ImageUsage>,
    /// Bytes, those counted once that several images need.
    pub bytes: u64,
    /// Bytes that would be free if each image went that is not in use.
    pub reclaimable: u64,
    /// The containers.
    pub containers: ContainersUsage,
}

impl ImageStore {
    /// How much room images and containers take.
    pub fn usage(&self) -> Result<StoreUsage> {
        let kept = self.containers().list()?;
        let mut containers = ContainersUsage { total: kept.len(), ..ContainersUsage::default() };
        for one in &kept {
            // This only informs: what somebody removes meanwhile is not counted.
            let bytes = one.own_bytes().unwrap_or(0);
            containers.bytes += bytes;
            match one.state {
                KeptState::Running | KeptState::Restarting { .. } => containers.running += 1,
                KeptState::Created | KeptState::Exited { .. } | KeptState::Unknown => {
                    containers.reclaimable += bytes;
                }
            }
        }
        // Those that removing images would keep, whether their containers run or not.
        let roots = kept.into_iter().map(|kept| kept.root);
        let needed = roots.filter_map(|root| match root {
            KeptRoot::Image { manifest, .. } => manifest.parse().ok(),
            KeptRoot::Directory { .. } | KeptRoot::Bare { .. } | KeptRoot::Host => None,
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
        Ok(StoreUsage {
            images: images.collect(),
            bytes: usage.bytes,
            reclaimable: usage.reclaimable,
            containers,
        })
    }
}
