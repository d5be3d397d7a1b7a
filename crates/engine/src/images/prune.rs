//! Removing the images that nobody needs.

use std::collections::{BTreeMap, BTreeSet};

use image::store::{Image, Seen};
use image::{Digest, Reference};

use super::filter::list_passes;
use super::{ImageFilters, ImageStore, Removed};
use crate::container::Notice;
use crate::error::{Result, from_image};
use crate::events::EventLog;
use crate::kept::DamagedContainer;

/// Which images are not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unneeded {
    /// Those without a name that no list lists.
    Unnamed,
    /// Those that no container is of, and lists.
    Unused,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Names and images.
    pub removed: Vec<Removed>,
    /// Bytes of their layers, as they came and unpacked, that no other image needs.
    pub bytes: u64,
    /// Why images stayed that nobody seems to need.
    pub notices: Vec<Notice>,
}

impl ImageStore {
    /// Removes images that are not needed, if they are among those that `filters` let pass.
    pub fn prune(&self, which: Unneeded, filters: &ImageFilters) -> Result<Pruned> {
        let filters = self.resolve(filters)?;
        // An image that is mounted is in use, and one that was is not.
        self.heal_mounts()?;
        let names = self.store.names().map_err(from_image)?;
        let told = |damaged: DamagedContainer| Notice {
            what: format!("no image was removed that a damaged container may be of: {}", damaged.error),
            remedy: damaged.error.hint,
        };
        let notices = self.containers().survey()?.damaged.into_iter().map(told).collect();
        let mut pruned = Pruned { notices, ..Pruned::default() };
        let mut gone = Vec::new();
        let mut listed = BTreeSet::new();
        for list in self.store.lists().map_err(from_image)? {
            if which == Unneeded::Unused && list_passes(&filters, &list) {
                self.store.forget_list(&list.reference).map_err(from_image)?;
                let id = format!("sha256:{}", list.id);
                let removed = [Removed::Name(list.reference.to_string()), Removed::Image(id.clone())];
                self.tell_removed(&removed, &id);
                pruned.removed.extend(removed);
            } else if let Ok(index) = self.store.index(&list) {
                // A damaged one lists nothing; `system check` is about that.
                listed.extend(index.manifests.into_iter().map(|entry| entry.digest));
            }
        }
        let images = self.store.images().map_err(from_image)?;
        // As long as one of several manifests of the same image stays, so does the image.
        let mut manifests: BTreeMap<Digest, usize> = BTreeMap::new();
        for image in images.values() {
            *manifests.entry(image.id.clone()).or_default() += 1;
        }
        for image in images.into_values() {
            let own: Vec<_> = names.iter().filter(|name| name.manifest == image.manifest).collect();
            if which == Unneeded::Unnamed && (!own.is_empty() || listed.contains(&image.manifest)) {
                continue;
            }
            let mut passes = own.is_empty() && self.passes(&filters, &image, None)?;
            for name in &own {
                passes |= self.passes(&filters, &image, Some(name))?;
            }
            if !passes {
                continue;
            }
            let references: Vec<Reference> = own.iter().map(|name| name.reference.clone()).collect();
            let seen = match which {
                Unneeded::Unnamed => Seen::Nothing,
                Unneeded::Unused => Seen::Names(&references),
            };
            if !self.forget_unless_used(&image, seen)? {
                continue;
            }
            let mut removed: Vec<Removed> =
                references.iter().map(|name| Removed::Name(name.to_string())).collect();
            let left = manifests.get_mut(&image.id).expect("each was counted");
            *left -= 1;
            if *left == 0 {
                removed.push(Removed::Image(image.id.to_string()));
            }
            self.tell_removed(&removed, &image.id.to_string());
            pruned.removed.extend(removed);
            gone.push(image);
        }
        pruned.bytes = self.freed(&gone)?;
        self.store.sweep().map_err(from_image)?;
        EventLog::beside(self.store.path()).tell_pruned("image", pruned.bytes);
        Ok(pruned)
    }

    /// Bytes of what only these images had.
    fn freed(&self, gone: &[Image]) -> Result<u64> {
        let left = self.store.images().map_err(from_image)?;
        let mut blobs: BTreeSet<_> =
            left.values().flat_map(|image| &image.layers).map(|layer| &layer.blob).collect();
        let mut layers: BTreeSet<_> =
            left.values().flat_map(|image| &image.layers).map(|layer| &layer.diff_id).collect();
        let mut bytes = 0;
        for layer in gone.iter().flat_map(|image| &image.layers) {
            if blobs.insert(&layer.blob) {
                bytes += layer.compressed;
            }
            if layers.insert(&layer.diff_id) {
                bytes += layer.size;
            }
        }
        Ok(bytes)
    }
}
