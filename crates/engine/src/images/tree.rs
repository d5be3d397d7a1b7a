//! Of which layers an image is, and which images are of the same.

use std::collections::BTreeSet;

use image::store::Image;

use super::list::familiar;
use super::{ImageName, ImageStore};
use crate::error::{Result, from_image};

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The image's id.
    pub id: String,
    /// Its names.
    pub tags: Vec<String>,
    /// Bytes of its layers before compression.
    pub size: u64,
    /// The layers, the lowest first.
    pub layers: Vec<TreeLayer>,
    /// Images that have all of its layers and others above them.
    pub built_on: Vec<Tree>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeLayer {
    /// The digest of its archive before compression.
    pub id: String,
    /// Bytes of that.
    pub size: u64,
    /// Names of the images that end with it.
    pub top_of: Vec<String>,
}

impl ImageStore {
    /// The layers of an image.
    pub fn tree(&self, name: &ImageName) -> Result<Tree> {
        let image = self.wanted(name, &format!("show the layers of the image `{}`", name.as_str()))?;
        let mut images: Vec<Image> = self.store.images().map_err(from_image)?.into_values().collect();
        // Of several manifests one image, and its names are those of all of them.
        let mut seen = BTreeSet::new();
        images.retain(|image| seen.insert(image.id.to_string()));
        let mut tree = self.tree_of(&image, &images, 0)?;
        for other in &images {
            if other.layers.len() > image.layers.len() && begins_with(other, &image, image.layers.len()) {
                tree.built_on.push(self.tree_of(other, &images, image.layers.len())?);
            }
        }
        Ok(tree)
    }

    /// The layers of an image from number `from` on.
    fn tree_of(&self, image: &Image, images: &[Image], from: usize) -> Result<Tree> {
        let mut layers = Vec::new();
        for (number, layer) in image.layers.iter().enumerate().skip(from) {
            let mut top_of = Vec::new();
            for other in images {
                if other.layers.len() == number + 1 && begins_with(other, image, number + 1) {
                    top_of.extend(self.tags(other)?);
                }
            }
            layers.push(TreeLayer { id: layer.diff_id.to_string(), size: layer.size, top_of });
        }
        let (id, tags, size) = (image.id.to_string(), self.tags(image)?, image.size());
        Ok(Tree { id, tags, size, layers, built_on: Vec::new() })
    }

    fn tags(&self, image: &Image) -> Result<Vec<String>> {
        Ok(self.references(image)?.iter().map(familiar).collect())
    }
}

/// Whether the first `count` layers of two images are the same.
fn begins_with(one: &Image, other: &Image, count: usize) -> bool {
    let pairs = one.layers.iter().zip(&other.layers).take(count);
    pairs.filter(|(one, other)| one.diff_id == other.diff_id).count() == count
}
