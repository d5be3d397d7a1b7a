//! An image of what a container has changed: its image, and a layer more.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use image::archive::{RootArchive, compress};
use image::documents::{Descriptor, Document, MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, Platform, moment};
use image::pack::{Form, pack};
use image::store::{Image, PullOptions, Silent, Store};
use runtime::ErrorKind;
use serde_json::{Value, json};

use super::{Kept, KeptRoot};
use crate::error::{Error, Result, from_image};
use crate::images::{Apart, ImageChange, ImageName};

/// An image to be made of a container.
#[derive(Debug, Default)]
pub struct CommitRequest {
    /// What it is to be called.
    pub name: Option<ImageName>,
    /// Who made it.
    pub author: Option<String>,
    /// A note.
    pub message: Option<String>,
    /// What its containers are to be like, where they are not to be as the container's image says.
    pub changes: Vec<ImageChange>,
}

impl Kept {
    /// Makes the image; its id.
    pub fn commit(&self, request: &CommitRequest) -> Result<String> {
        let operation = format!("commit the container `{}`", self.id);
        let name = match &request.name {
            Some(name) => Some(crate::images::as_name(name, &operation)?),
            None => None,
        };
        if !matches!(self.root, KeptRoot::Image { .. }) {
            let reason = "it is of no image that its changes could lie over";
            let error = Error::new(ErrorKind::Unsupported, operation, reason);
            let id = self.id.get(..12).unwrap_or(&self.id);
            return Err(error.with_hint(format!(
                "`rabbitc export {id} | rabbitc import - NAME` makes an image of all of its root"
            )));
        }
        let (store, image) = self.image()?;
        // The image stays as long as its layers are needed.
        let _claim = store.claim(&image).map_err(from_image)?;
        let archive = self.packed(&store, &operation)?;
        let made = made_over(&store, &image, &archive, request, &self.command, &operation)?;
        let archive = archive.into_image(&made.below, &made.config);
        let platform = Platform::of_this_machine();
        let options =
            PullOptions { platform: &platform, unpacker: &Apart, progress: &Silent, operation: &operation };
        let pulled = store.pull(&archive, options).map_err(|error| {
            // What has come of it is of no use; that it stays until the next time is no second failure.
            drop(store.sweep());
            from_image(error)
        })?;
        if let Some(reference) = name {
            store.name(&reference, &pulled.image, pulled.digests).map_err(from_image)?;
        }
        store.sweep_if_asked().map_err(from_image)?;
        Ok(pulled.image.id.to_string())
    }

    /// What it has changed, as the archive of a layer.
    fn packed(&self, store: &Store, operation: &str) -> Result<RootArchive> {
        let Some((upper, _)) = self.uppers().into_iter().next() else {
            return Err(Error::new(ErrorKind::NotFound, operation.to_owned(), "it has never run"));
        };
        let root = File::open(&upper).map_err(|error| Error::at_path("open", &upper, error))?;
        let left_out: BTreeSet<Vec<u8>> = self
            .points
            .iter()
            .map(|point| point.strip_prefix("/").unwrap_or(point).as_os_str().as_bytes().to_vec())
            .collect();
        let mut file = store.spool().map_err(from_image)?;
        let written = |error: std::io::Error| Error::system(operation.to_owned(), error);
        let mut out = compress(BufWriter::with_capacity(256 << 10, &mut file));
        pack(root.as_fd(), Form::Layer, &left_out, &mut out).map_err(from_image)?;
        out.finish().and_then(|mut rest| rest.flush()).map_err(written)?;
        file.rewind().map_err(written)?;
        RootArchive::read(file, store, operation).map_err(from_image)
    }
}

/// What a new image has beside its layer.
struct Made {
    /// The layers of the one below.
    below: Vec<Descriptor>,
    config: Value,
}

fn made_over(
    store: &Store,
    image: &Image,
    archive: &RootArchive,
    request: &CommitRequest,
    command: &[String],
    operation: &str,
) -> Result<Made> {
    let text = store.read_blob(&image.manifest, MOST_MANIFEST_BYTES).map_err(from_image)?;
    let Document::Manifest(manifest) = Document::parse(&text, None, operation).map_err(from_image)? else {
        let reason = "its image has no manifest of its own";
        return Err(Error::new(ErrorKind::System, operation.to_owned(), reason));
    };
    let text = store.read_blob(&image.id, MOST_CONFIG_BYTES).map_err(from_image)?;
    let corrupt =
        |error: serde_json::Error| Error::new(ErrorKind::System, operation.to_owned(), error.to_string());
    let mut config: Value = serde_json::from_slice(&text).map_err(corrupt)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    config["created"] = json!(moment(now));
    if let Some(author) = &request.author {
        config["author"] = json!(author);
    }
    if !config["config"].is_object() {
        config["config"] = json!({});
    }
    let of_containers = config["config"].as_object_mut().expect("it has just been made one");
    // Docker writes `null` for what is empty.
    of_containers.retain(|_, value| !value.is_null());
    request.changes.iter().for_each(|change| change.apply(of_containers));
    push(&mut config["rootfs"]["diff_ids"], json!(archive.diff_id().to_string()));
    let mut step = json!({"created": moment(now), "created_by": command.join(" ")});
    for (key, text) in [("author", &request.author), ("comment", &request.message)] {
        if let Some(text) = text {
            step[key] = json!(text);
        }
    }
    push(&mut config["history"], step);
    Ok(Made { below: manifest.layers, config })
}

fn push(list: &mut Value, value: Value) {
    match list {
        Value::Array(list) => list.push(value),
        other => *other = json!([value]),
    }
}
