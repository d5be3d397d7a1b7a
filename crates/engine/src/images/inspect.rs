//! All that is known of an image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::documents::MOST_CONFIG_BYTES;
use serde_json::{Map, Value};

use super::list::familiar;
use super::{ImageName, ImageStore};
use crate::error::{Error, Result, from_image};

/// All that is known of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// The digest of its configuration.
    pub id: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The type of its manifest.
    pub manifest_type: String,
    /// Bytes of its manifest.
    pub manifest_size: u64,
    /// Its names, as short as docker shows them.
    pub tags: Vec<String>,
    /// Its names with the digests by which registries have it.
    pub digests: Vec<String>,
    /// When it was made, as its configuration writes it.
    pub created: Option<String>,
    /// Seconds since 1970 at which it came.
    pub stored: u64,
    /// Who made it.
    pub author: String,
    /// A note of the step that made it last.
    pub comment: String,
    /// With what it was made, where that was docker.
    pub docker_version: String,
    /// The processor.
    pub architecture: String,
    /// The variant of the processor.
    pub variant: String,
    /// The system.
    pub os: String,
    /// Bytes of its layers before compression.
    pub size: u64,
    /// The digests of the layers before compression, the lowest first.
    pub layers: Vec<String>,
    /// Their directories.
    pub directories: Vec<PathBuf>,
    /// What containers are to be like, as it is written.
    pub config: Map<String, Value>,
    /// How each layer was made, as it is written.
    pub history: Value,
    /// Notes of the manifest.
    pub annotations: BTreeMap<String, String>,
}

impl ImageStore {
    /// All that is known of an image.
    pub fn inspect(&self, name: &ImageName) -> Result<Inspected> {
        let operation = format!("inspect the image `{}`", name.as_str());
        let image = self.wanted(name, &operation)?;
        let (manifest, text) = self.store.manifest(&image).map_err(from_image)?;
        let raw = self.store.read_blob(&image.id, MOST_CONFIG_BYTES).map_err(from_image)?;
        let raw: Value = serde_json::from_slice(&raw)
            .map_err(|error| Error::new(runtime::ErrorKind::System, operation.clone(), error.to_string()))?;
        let word = |name: &str| raw.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let config = self.store.configuration(&image).map_err(from_image)?;
        let mut names = self.store.names().map_err(from_image)?;
        let images = self.store.images().map_err(from_image)?;
        // The same image may have come with another manifest, too.
        names.retain(|name| images.get(&name.manifest).is_some_and(|found| found.id == image.id));
        let mut digests: Vec<String> = names
            .iter()
            .flat_map(|name| {
                let repository = name.reference.familiar_name();
                name.digests.iter().map(move |digest| format!("{repository}@{digest}"))
            })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        Ok(Inspected {
            id: image.id.to_string(),
            digest: image.manifest.to_string(),
            manifest_type: manifest.media_type,
            manifest_size: text.len() as u64,
            tags: names
                .iter()
                .filter(|name| name.reference.tag.is_some())
                .map(|name| familiar(&name.reference))
                .collect(),
            digests,
            created: config.created,
            stored: image.stored,
            author: word("author"),
            comment: config.history.last().and_then(|last| last.comment.clone()).unwrap_or_default(),
            docker_version: word("docker_version"),
            architecture: config.architecture,
            variant: config.variant.unwrap_or_default(),
            os: config.os,
            size: image.size(),
            layers: image.layers.iter().map(|layer| layer.diff_id.to_string()).collect(),
            directories: image.layers.iter().map(|layer| self.store.layer_path(&layer.diff_id)).collect(),
            config: raw.get("config").and_then(Value::as_object).cloned().unwrap_or_default(),
            history: raw.get("history").cloned().unwrap_or_default(),
            annotations: manifest.annotations,
        })
    }
}
