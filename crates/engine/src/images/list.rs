//! Listing images.

use std::collections::{BTreeMap, BTreeSet};

use image::store::Image;
use image::{Digest, Reference};

use super::filter::list_passes;
use super::{ImageFilters, ImageStore};
use crate::error::{Result, from_image};

/// One name of an image, or one without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Registry and repository, as short as docker shows it.
    pub repository: Option<String>,
    /// The tag.
    pub tag: Option<String>,
    /// The digest by which a registry has it.
    pub digest: Option<String>,
    /// The id: the digest of the configuration.
    pub id: String,
    /// Seconds since 1970 at which it was made, where that is known.
    pub created: Option<u64>,
    /// Bytes of its layers before compression.
    pub size: u64,
    /// Its labels, once they were looked up.
    pub labels: BTreeMap<String, String>,
}

impl ImageStore {
    /// Every name, every image without one and every list that `filters` let pass; the newest first, as docker lists them.
    pub fn list(&self, filters: &ImageFilters) -> Result<Vec<Listed>> {
        let conditions = self.resolve(filters)?;
        let images = self.store.images().map_err(from_image)?;
        let mut unnamed: BTreeMap<&Digest, &Image> = images.iter().collect();
        let names = self.store.names().map_err(from_image)?;
        let mut listed = Vec::with_capacity(names.len());
        let mut named = BTreeSet::new();
        for name in &names {
            // One that was removed meanwhile has no name any more either.
            let Some(image) = images.get(&name.manifest) else { continue };
            unnamed.remove(&name.manifest);
            named.insert(&image.id);
            if !self.passes(&conditions, image, Some(name))? {
                continue;
            }
            listed.push(Listed {
                repository: Some(name.reference.familiar_name()),
                tag: name.reference.tag.clone(),
                digest: name.digests.first().map(Digest::to_string),
                ..of_image(image)
            });
        }
        for image in unnamed.into_values() {
            // By another manifest the same image has a name, or was listed.
            if !named.insert(&image.id) {
                continue;
            }
            if self.passes(&conditions, image, None)? {
                listed.push(of_image(image));
            }
        }
        let lists = self.store.lists().map_err(from_image)?;
        listed.extend(lists.iter().filter(|list| list_passes(&conditions, list)).map(|list| Listed {
            repository: Some(list.reference.familiar_name()),
            tag: list.reference.tag.clone(),
            digest: Some(list.index.to_string()),
            id: format!("sha256:{}", list.id),
            created: Some(list.created),
            size: 0,
            labels: BTreeMap::new(),
        }));
        listed.sort_by(|one, other| {
            other.created.cmp(&one.created).then_with(|| one.repository.cmp(&other.repository))
        });
        Ok(listed)
    }
}

impl ImageStore {
    /// Looks up the labels of images; lists of images have none.
    pub fn look_up_labels(&self, listed: &mut [Listed]) -> Result<()> {
        let images = self.store.images().map_err(from_image)?;
        let by_id: BTreeMap<String, &Image> =
            images.values().map(|image| (image.id.to_string(), image)).collect();
        for one in listed {
            if let Some(image) = by_id.get(&one.id) {
                one.labels = self.store.configuration(image).map_err(from_image)?.config.labels;
            }
        }
        Ok(())
    }
}

/// A name as short as docker shows it.
pub(super) fn familiar(reference: &Reference) -> String {
    let mut text = reference.familiar_name();
    text.extend(reference.tag.iter().map(|tag| format!(":{tag}")));
    text.extend(reference.digest.iter().map(|digest| format!("@{digest}")));
    text
}

fn of_image(image: &Image) -> Listed {
    Listed {
        repository: None,
        tag: None,
        digest: None,
        id: image.id.to_string(),
        created: image.created,
        size: image.size(),
        labels: BTreeMap::new(),
    }
}
