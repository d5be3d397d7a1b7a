//! How an image was made, layer by layer.

use image::store::Layer;

use super::{ImageName, ImageStore};
use crate::error::{Result, from_image};
use crate::kept::{Change, changes_of};

/// One step that made an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryEntry {
    /// The image's id; only the last step has one.
    pub id: Option<String>,
    /// Seconds since 1970.
    pub created: Option<u64>,
    /// By what command.
    pub created_by: String,
    /// Bytes of its layer before compression.
    pub size: u64,
    /// A note.
    pub comment: String,
    /// The image's names; only the last step has some.
    pub tags: Vec<String>,
}

impl ImageStore {
    /// What its topmost layer changes of those below it.
    pub fn changes(&self, name: &ImageName) -> Result<Vec<Change>> {
        let image = self.wanted(name, &format!("show what the image `{}` changes", name.as_str()))?;
        let mut layers = image.layers.iter().rev().map(|layer| self.store.layer_path(&layer.diff_id));
        match layers.next() {
            Some(top) => changes_of(&top, &layers.collect::<Vec<_>>()),
            None => Ok(Vec::new()),
        }
    }

    /// The steps that made an image, the last first.
    pub fn history(&self, name: &ImageName) -> Result<Vec<HistoryEntry>> {
        let image = self.wanted(name, &format!("show how the image `{}` was made", name.as_str()))?;
        let config = self.store.configuration(&image).map_err(from_image)?;
        let mut layers = image.layers.iter();
        let size = |layer: Option<&Layer>| layer.map_or(0, |layer| layer.size);
        let mut steps = Vec::with_capacity(config.history.len());
        for entry in config.history {
            steps.push(HistoryEntry {
                id: None,
                created: entry.created.as_deref().and_then(image::documents::seconds),
                created_by: entry.created_by.unwrap_or_default(),
                size: if entry.empty_layer { 0 } else { size(layers.next()) },
                comment: entry.comment.unwrap_or_default(),
                tags: Vec::new(),
            });
        }
        // Builders may leave the history out, or parts of it.
        steps.extend(layers.map(|layer| HistoryEntry { size: layer.size, ..HistoryEntry::default() }));
        if let Some(last) = steps.last_mut() {
            last.id = Some(image.id.to_string());
            last.tags = self.references(&image)?.iter().map(ToString::to_string).collect();
        }
        steps.reverse();
        Ok(steps)
    }
}
