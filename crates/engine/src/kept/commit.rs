//! An image of a container: its image and a layer more, of what it has changed. Where it is of none, all of its root is the one
//! layer (docs/decisions/0043).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::os::fd::AsFd;
use std::time::SystemTime;

use image::archive::{RootArchive, compress};
use image::documents::{Descriptor, Document, MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, Platform, moment};
use image::pack::{Form, pack, pack_nothing};
use image::store::{Image, InUse, PullOptions, Store};
use runtime::ErrorKind;
use serde_json::{Value, json};

use super::export::within;
use super::{Kept, KeptRoot};
use crate::error::{Error, Result, from_image};
use crate::images::{Apart, ImageChange, ImageName, MovingLayer, Progress, Told};

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
    pub fn commit(&self, request: &CommitRequest, progress: &dyn Progress) -> Result<String> {
        let operation = format!("commit the container `{}`", self.id);
        let name = match &request.name {
            Some(name) => Some(crate::images::as_name(name, &operation)?),
            None => None,
        };
        let (store, base) = match self.root {
            KeptRoot::Image { .. } => {
                let (store, image) = self.image()?;
                let base = Base::of(&store, &image, &operation)?;
                (store, base)
            }
            KeptRoot::Host | KeptRoot::Directory { .. } | KeptRoot::Bare { .. } => {
                // Beside the containers, of which this is one.
                let data = self.directory.ancestors().nth(2).unwrap_or(&self.directory);
                (Store::open(data.join("images")).map_err(from_image)?, Base::nothing())
            }
        };
        if let Some(reference) = &name {
            store.check_is_no_list(reference).map_err(from_image)?;
        }
        let archive = self.packed(&store, progress, &operation)?;
        let config = made_over(base.config, &archive, request, &self.record.command, &operation)?;
        let archive = archive.into_image(&base.layers, &config);
        let platform = Platform::of_this_machine();
        let told = Told(progress);
        let options =
            PullOptions { platform: &platform, unpacker: &Apart, progress: &told, operation: &operation };
        let pulled = store.pull(&archive, options).map_err(|error| {
            // What has come of it is of no use; that it stays until the next time is no second failure.
            drop(store.sweep());
            from_image(error)
        })?;
        if let Some(reference) = name {
            store.name(&reference, &pulled.image, pulled.digests).map_err(from_image)?;
        }
        store.sweep_if_asked().map_err(from_image)?;
        let id = pulled.image.id.to_string();
        let named = request.name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default();
        self.subject().tell_with("commit", [("imageID", id.clone()), ("imageRef", named)]);
        Ok(id)
    }

    /// The archive of the new layer.
    fn packed(&self, store: &Store, progress: &dyn Progress, operation: &str) -> Result<RootArchive> {
        let file = store.spool().map_err(from_image)?;
        let written = |error: std::io::Error| Error::system(operation.to_owned(), error);
        // How much it will be, nobody knows beforehand.
        progress.begins(&[MovingLayer { digest: "root".to_owned(), size: 0 }]);
        let compressed = compress(BufWriter::with_capacity(256 << 10, file));
        let mut out = Counted { out: compressed, count: 0, progress };
        match self.root {
            KeptRoot::Image { .. } => self.pack_changes(&mut out)?,
            KeptRoot::Host | KeptRoot::Directory { .. } | KeptRoot::Bare { .. } => {
                self.pack_root(&mut out)?
            }
        }
        let rest = out.out.finish().map_err(written)?;
        let mut file = rest.into_inner().map_err(|error| written(error.into_error()))?;
        file.rewind().map_err(written)?;
        RootArchive::read(file, store, operation).map_err(from_image)
    }

    fn pack_changes(&self, out: &mut dyn Write) -> Result<()> {
        let Some((upper, _)) = self.uppers().into_iter().next() else {
            // One that has never run has changed nothing.
            return pack_nothing(out).map_err(from_image);
        };
        let root = File::open(&upper).map_err(|error| Error::at_path("open", &upper, error))?;
        let left_out: BTreeSet<Vec<u8>> =
            self.record.points.iter().chain(&self.record.volumes).map(|path| within(path)).collect();
        pack(root.as_fd(), Form::Layer, &left_out, out).map_err(from_image)
    }
}

/// Tells how much has been written.
struct Counted<'a, Out> {
    out: Out,
    count: u64,
    progress: &'a dyn Progress,
}

impl<Out: Write> Write for Counted<'_, Out> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.count += written as u64;
        self.progress.layer_is_at(0, self.count);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// What a new image is made over.
struct Base {
    /// The layers of the one below.
    layers: Vec<Descriptor>,
    config: Value,
    /// It stays as long as its layers are needed.
    _claim: Option<InUse>,
}

impl Base {
    fn of(store: &Store, image: &Image, operation: &str) -> Result<Base> {
        let claim = store.claim(image).map_err(from_image)?;
        let text = store.read_blob(&image.manifest, MOST_MANIFEST_BYTES).map_err(from_image)?;
        let Document::Manifest(manifest) = Document::parse(&text, None, operation).map_err(from_image)?
        else {
            let reason = "its image has no manifest of its own";
            return Err(Error::new(ErrorKind::System, operation.to_owned(), reason));
        };
        let text = store.read_blob(&image.id, MOST_CONFIG_BYTES).map_err(from_image)?;
        let corrupt =
            |error: serde_json::Error| Error::new(ErrorKind::System, operation.to_owned(), error.to_string());
        let config = serde_json::from_slice(&text).map_err(corrupt)?;
        Ok(Base { layers: manifest.layers, config, _claim: Some(claim) })
    }

    /// None, for a root that is of no image.
    fn nothing() -> Base {
        let machine = Platform::of_this_machine();
        let mut config = json!({"architecture": machine.architecture, "os": machine.os, "config": {},
            "rootfs": {"type": "layers", "diff_ids": []}, "history": []});
        if let Some(variant) = machine.variant {
            config["variant"] = json!(variant);
        }
        Base { layers: Vec::new(), config, _claim: None }
    }
}

/// The configuration of the image that has `archive` over what `config` is of.
fn made_over(
    mut config: Value,
    archive: &RootArchive,
    request: &CommitRequest,
    command: &[String],
    operation: &str,
) -> Result<Value> {
    let is_first = config["rootfs"]["diff_ids"].as_array().is_none_or(Vec::is_empty);
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
    request.changes.iter().try_for_each(|change| change.apply(of_containers, operation))?;
    if is_first && !["Cmd", "Entrypoint"].iter().any(|key| of_containers.contains_key(*key)) {
        // What runs on such a root where nobody says another program.
        of_containers.insert("Cmd".to_owned(), json!(["/bin/sh"]));
    }
    push(&mut config["rootfs"]["diff_ids"], json!(archive.diff_id().to_string()));
    let mut step = json!({"created": moment(now), "created_by": command.join(" ")});
    for (key, text) in [("author", &request.author), ("comment", &request.message)] {
        if let Some(text) = text {
            step[key] = json!(text);
        }
    }
    push(&mut config["history"], step);
    Ok(config)
}

fn push(list: &mut Value, value: Value) {
    match list {
        Value::Array(list) => list.push(value),
        other => *other = json!([value]),
    }
}
