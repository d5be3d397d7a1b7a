//! Images made ready for containers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::documents::Platform;
use runtime::ErrorKind;

use super::{ImageName, ImageStore};
use crate::error::{Error, Result, from_image};
use crate::health::HealthCheck;
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
    /// How its health is checked.
    pub health: Option<HealthCheck>,
}

/// An image whose files are here. It is not removed as long as this is held.
#[derive(Debug)]
pub struct ReadyImage {
    /// Its files.
    pub root: ImageRoot,
    /// What it says of its containers.
    pub defaults: ImageDefaults,
    /// The machine that it is for, as `OS/ARCH[/VARIANT]`.
    pub platform: String,
    /// Where that is another than this one: which.
    pub foreign: Option<String>,
    machine: Platform,
    _claim: image::store::InUse,
}

/// A kind of machine, of which somebody has said a part.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlatformParts<'a> {
    /// The system.
    pub os: Option<&'a str>,
    /// The processor.
    pub architecture: Option<&'a str>,
    /// The variant of it.
    pub variant: Option<&'a str>,
}

impl PlatformParts<'_> {
    /// All of it in one word: what nobody said is as on this machine.
    pub fn completed(&self) -> String {
        let own = Platform::of_this_machine();
        let variant = match (self.variant, self.architecture) {
            (None, None) => own.variant.as_deref(),
            (variant, _) => variant,
        };
        let platform = Platform {
            architecture: self.architecture.unwrap_or(&own.architecture).to_owned(),
            os: self.os.unwrap_or(&own.os).to_owned(),
            variant: variant.map(str::to_owned),
            ..Platform::default()
        };
        platform.to_string()
    }
}

impl ReadyImage {
    /// Whether it is for the machine that `platform` says.
    pub fn is_for(&self, platform: &str) -> Result<bool> {
        Ok(Platform::parse(platform).map_err(from_image)?.takes(&self.machine))
    }
}

impl ImageStore {
    /// Makes an image ready for a container, if it is there; of a list the one for `platform`, or for this machine without a word.
    pub fn ready(&self, name: &ImageName, platform: Option<&str>) -> Result<Option<ReadyImage>> {
        let found = match self.find(name)? {
            Some(image) => Some(image),
            None => {
                let platform = platform.map(Platform::parse).transpose().map_err(from_image)?;
                self.image_of_list(name, &platform.unwrap_or_else(Platform::of_this_machine))?
            }
        };
        let Some(image) = found else { return Ok(None) };
        let claim = self.store.claim(&image).map_err(from_image)?;
        let config = self.store.configuration(&image).map_err(from_image)?;
        let layers: Vec<PathBuf> =
            image.layers.iter().rev().map(|layer| self.store.layer_path(&layer.diff_id)).collect();
        if layers.is_empty() {
            let operation = format!("run the image `{}`", name.as_str());
            return Err(Error::new(ErrorKind::Unsupported, operation, "it has no layers, and so no files"));
        }
        let own = Platform::of_this_machine();
        // One that does not say it is for whatever machine it came to.
        let or = |text: String, own: &str| if text.is_empty() { own.to_owned() } else { text };
        let machine = Platform {
            architecture: or(config.architecture, &own.architecture),
            os: or(config.os, &own.os),
            variant: config.variant.filter(|variant| !variant.is_empty()),
            ..Platform::default()
        };
        let is_native = machine.os == own.os && machine.architecture == own.architecture;
        let foreign = (!is_native).then(|| format!("{}/{}", machine.os, machine.architecture));
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
            health: of_image.healthcheck.as_ref().map(HealthCheck::of_image),
        };
        Ok(Some(ReadyImage {
            root: ImageRoot {
                layers,
                name: name.as_str().to_owned(),
                store: self.store.path().to_owned(),
                manifest: image.manifest.to_string(),
                volumes: of_image.volumes.keys().filter_map(|path| volume(path)).collect(),
            },
            defaults,
            platform: machine.to_string(),
            foreign,
            machine,
            _claim: claim,
        }))
    }
}

/// A directory for data as an absolute path without detours; none where it is no place for one.
fn volume(path: &str) -> Option<String> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    let is_one = path.starts_with('/') && !names.is_empty() && !names.contains(&"..");
    is_one.then(|| format!("/{}", names.join("/")))
}
