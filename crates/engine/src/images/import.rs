//! An image from an archive of a root file system.

use std::fs::File;
use std::path::PathBuf;
use std::time::SystemTime;

use image::archive::RootArchive;
use image::documents::{Platform, moment};
use runtime::ErrorKind;
use serde_json::{Map, Value, json};

use super::pull::Told;
use super::tag::as_name;
use super::unpack::Apart;
use super::{ImageChange, ImageName, ImageStore, Progress};
use crate::error::{Error, Result, from_image};

/// An image to be made.
#[derive(Debug)]
pub struct ImportRequest {
    /// Where its archive is; none is `input`.
    pub path: Option<PathBuf>,
    /// What can be read where there is no path.
    pub input: Option<File>,
    /// What it is to be called.
    pub name: Option<ImageName>,
    /// What its containers are to be like.
    pub changes: Vec<ImageChange>,
    /// A note.
    pub message: Option<String>,
    /// For what machine, where that is not this one.
    pub platform: Option<String>,
}

impl ImageStore {
    /// Makes an image; its id.
    pub fn import(&self, request: ImportRequest, progress: &dyn Progress) -> Result<String> {
        let from = request.path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string());
        let operation = format!("import `{from}`");
        let name = request.name.as_ref().map(|name| as_name(name, &operation)).transpose()?;
        if let Some(reference) = &name {
            self.store.check_is_no_list(reference).map_err(from_image)?;
        }
        let platform = match &request.platform {
            Some(text) => Platform::parse(text).map_err(from_image)?,
            None => Platform::of_this_machine(),
        };
        let input = match (request.path, request.input) {
            (Some(path), _) => File::open(&path).map_err(|error| Error::at_path("open", &path, error))?,
            (None, Some(input)) => input,
            (None, None) => return Err(Error::invalid(operation, "it has nothing to read".to_owned())),
        };
        let archive = RootArchive::read(input, &self.store, &operation).map_err(from_image)?;
        let mut config = Map::new();
        for change in &request.changes {
            change.apply(&mut config, &operation)?;
        }
        let message = request.message.unwrap_or_else(|| format!("Imported from {from}"));
        let document = document(&platform, config, archive.diff_id().to_string(), message);
        let archive = archive.into_image(&[], &document);
        let options = image::store::PullOptions {
            platform: &platform,
            unpacker: &Apart,
            progress: &Told(progress),
            operation: &operation,
        };
        let pulled = self.store.pull(&archive, options).map_err(|error| {
            // What has come of it is of no use; that it stays until the next time is no second failure.
            drop(self.store.sweep());
            match error.kind {
                image::Kind::Corrupt => Error::new(ErrorKind::System, operation.clone(), error.to_string())
                    .with_hint("it is to be a tar archive, plain or compressed with gzip or zstd"),
                _ => from_image(error),
            }
        })?;
        let id = pulled.image.id.to_string();
        if let Some(reference) = &name {
            self.store.name(reference, &pulled.image, pulled.digests).map_err(from_image)?;
        }
        self.store.sweep_if_asked().map_err(from_image)?;
        self.tell("import", &id, &name.map_or_else(|| id.clone(), |name| name.to_string()));
        Ok(id)
    }
}

/// The configuration of an image of one layer (image-spec, config.md).
fn document(platform: &Platform, config: Map<String, Value>, diff_id: String, message: String) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = moment(now);
    let mut document = json!({
        "created": now, "architecture": platform.architecture, "os": platform.os, "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": now, "comment": message}],
    });
    if let Some(variant) = &platform.variant {
        document["variant"] = json!(variant);
    }
    document
}
