//! Images made ready for containers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::documents::Platform;
use runtime::ErrorKind;

use super::{ImageName, ImageStore};
use crate::error::{Error, Result, from_image};
use crate::options::ImageRoot;

/// What an image says of its containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageDefaults {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments where nobody gives any; without an entrypoint, the program.
    pub command: Vec<String>,
    /// Variables, as `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Who runs it, as `USER[:GROUP]`.
    pub user: Option<String>,
    /// Where it begins.
    pub directory: Option<String>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// Ports that it serves on, as `80/tcp`.
    pub exposed: Vec<String>,
    /// Notes.
    pub labels: BTreeMap<String, String>,
}

/// An image whose files are here. It is not removed as long as this is held.
#[derive(Debug)]
pub struct ReadyImage {
    /// Its files.
    pub root: ImageRoot,
    /// What it says of its containers.
    pub defaults: ImageDefaults,
    /// Where it is for another machine than this one: which.
    pub foreign: Option<String>,
    _claim: image::store::InUse,
}

impl ImageStore {
    /// Makes an image ready for a container, if it is there.
    pub fn ready(&self, name: &ImageName) -> Result<Option<ReadyImage>> {
        let Some(image) =
            self.find(name)?.map_or_else(|| self.image_of_list(name), |image| Ok(Some(image)))?
        else {
            return Ok(None);
        };
        let claim = self.store.claim(&image).map_err(from_image)?;
        let config = self.store.configuration(&image).map_err(from_image)?;
        let layers: Vec<PathBuf> =
            image.layers.iter().rev().map(|layer| self.store.layer_path(&layer.diff_id)).collect();
        if layers.is_empty() {
            let operation = format!("run the image `{}`", name.as_str());
            return Err(Error::new(ErrorKind::Unsupported, operation, "it has no layers, and so no files"));
        }
        let machine = Platform::of_this_machine();
        let is_native = config.os == machine.os && config.architecture == machine.architecture;
        let foreign = (!is_native).then(|| format!("{}/{}", config.os, config.architecture));
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let of_image = config.config;
        let defaults = ImageDefaults {
            entrypoint: of_image.entrypoint,
            command: of_image.cmd,
            environment: of_image.env,
            user: said(of_image.user),
            directory: said(of_image.working_dir),
            stop_signal: of_image.stop_signal.and_then(said),
            exposed: of_image.exposed_ports.into_keys().collect(),
            labels: of_image.labels,
        };
        Ok(Some(ReadyImage {
            root: ImageRoot {
                layers,
                name: name.as_str().to_owned(),
                store: self.store.path().to_owned(),
                manifest: image.manifest.to_string(),
            },
            defaults,
            foreign,
            _claim: claim,
        }))
    }
}
