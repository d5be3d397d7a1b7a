//! Writing images of the store to archives and directories. Blobs go out as they came where the form allows that; Docker's wants
//! layers that are not compressed. Either way nothing goes out but what its digest says.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::write::{Directory, Tar, Target};
use super::{NAME, WHOLE_NAME};
use crate::digest::{Digest, DigestedReader};
use crate::documents::{MOST_CONFIG_BYTES, media_type};
use crate::error::{Error, Kind, Result};
use crate::reference::Reference;
use crate::store::{Image, Layer, Store};
use crate::unpack::Limits;
use crate::unpack::stream::Stream;

/// What fails where no image is known.
const OPERATION: &str = "save images";

/// How images are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveForm {
    /// OCI's layout.
    Oci,
    /// The same with layers that are not compressed, and so with other manifests.
    OciPlain,
    /// Docker's archive, as docker and podman write it by themselves.
    Docker,
    /// Skopeo's `dir:`, for one image.
    Directory,
}

/// An image and the names that go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The image.
    pub image: Image,
    /// Its names.
    pub names: Vec<Reference>,
}

/// Writes images as a tar archive.
pub fn save_archive(store: &Store, images: &[Saved], form: SaveForm, output: &mut dyn Write) -> Result<()> {
    write(store, images, form, &mut Tar(output))
}

/// Writes images to an empty directory.
pub fn save_directory(store: &Store, images: &[Saved], form: SaveForm, path: &Path) -> Result<()> {
    write(store, images, form, &mut Directory(path.to_owned()))
}

fn write(store: &Store, images: &[Saved], form: SaveForm, target: &mut dyn Target) -> Result<()> {
    let mut writer = Writer { store, target, written: BTreeSet::new(), operation: OPERATION.to_owned() };
    match form {
        SaveForm::Oci => writer.layout(images, Layers::AsTheyCame)?,
        SaveForm::OciPlain => writer.layout(images, Layers::Plain)?,
        SaveForm::Docker => writer.docker(images)?,
        SaveForm::Directory => writer.flat(images)?,
    }
    let Writer { target, operation, .. } = writer;
    target.finish().map_err(|error| Error::system(operation, error))
}

/// How layers are written in OCI's layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layers {
    AsTheyCame,
    Plain,
}

struct Writer<'a> {
    store: &'a Store,
    target: &'a mut dyn Target,
    /// Names of files that are there.
    written: BTreeSet<String>,
    /// What errors begin with.
    operation: String,
}

impl Writer<'_> {
    fn layout(&mut self, images: &[Saved], layers: Layers) -> Result<()> {
        self.text("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let mut manifests = Vec::new();
        let mut described = Vec::new();
        for Saved { image, names } in images {
            let (media_type, text) = self.manifest(image, layers)?;
            described.extend(self.described(image, names, &media_type, &text)?);
            manifests.push(text);
        }
        let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": described});
        self.text("index.json", index.to_string().as_bytes())?;
        for (Saved { image, .. }, manifest) in images.iter().zip(manifests) {
            self.begin(image);
            let place = |digest: &Digest| format!("blobs/{}/{}", digest.algorithm().name(), digest.digits());
            match layers {
                Layers::AsTheyCame => {
                    self.blob(&place(&image.manifest), &image.manifest)?;
                    self.blob(&place(&image.id), &image.id)?;
                    for layer in &image.layers {
                        self.blob(&place(&layer.blob), &layer.blob)?;
                    }
                }
                Layers::Plain => {
                    let name = place(&Digest::of(&manifest));
                    if self.written.insert(name.clone()) {
                        self.text(&name, &manifest)?;
                    }
                    self.blob(&place(&image.id), &image.id)?;
                    for layer in &image.layers {
                        self.layer(&place(&layer.diff_id), layer)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The kind of an image's manifest, and its text: with the layers as they are written.
    fn manifest(&self, image: &Image, layers: Layers) -> Result<(String, Vec<u8>)> {
        let (manifest, text) = self.store.manifest(image)?;
        if layers == Layers::AsTheyCame {
            return Ok((manifest.media_type.clone(), text));
        }
        let plain: Vec<Value> = image
            .layers
            .iter()
            .map(|layer| json!({"mediaType": media_type::LAYER, "digest": layer.diff_id, "size": layer.size}))
            .collect();
        let config = self.store.read_blob(&image.id, MOST_CONFIG_BYTES)?;
        let config = json!({"mediaType": media_type::CONFIG, "digest": image.id, "size": config.len()});
        let mut new =
            json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": plain});
        // Notes of the image stay; those of its layers may be about how these are compressed.
        let old: Value = serde_json::from_slice(&text).unwrap_or_default();
        if old["annotations"].is_object() {
            new["annotations"] = old["annotations"].clone();
        }
        Ok((media_type::MANIFEST.to_owned(), new.to_string().into_bytes()))
    }

    /// An entry of the index for each name of an image, as Docker writes it; podman reads the whole name where OCI has a tag.
    fn described(
        &self,
        image: &Image,
        names: &[Reference],
        media_type: &str,
        manifest: &[u8],
    ) -> Result<Vec<Value>> {
        let platform = self.store.configuration(image)?.platform();
        let plain = json!({"mediaType": media_type, "digest": Digest::of(manifest), "size": manifest.len(),
            "platform": platform});
        if names.is_empty() {
            return Ok(vec![plain]);
        }
        Ok(names
            .iter()
            .map(|name| {
                let mut named = plain.clone();
                named["annotations"] = json!({NAME: name.to_string(), WHOLE_NAME: name.to_string()});
                named
            })
            .collect())
    }

    fn docker(&mut self, images: &[Saved]) -> Result<()> {
        let mut entries = Vec::new();
        for Saved { image, names } in images {
            self.begin(image);
            let layers: Vec<String> =
                image.layers.iter().map(|layer| format!("{}.tar", layer.diff_id.digits())).collect();
            for (layer, name) in image.layers.iter().zip(&layers) {
                self.layer(name, layer)?;
            }
            let config = format!("{}.json", image.id.digits());
            let text = self.store.read_blob(&image.id, MOST_CONFIG_BYTES)?;
            if self.written.insert(config.clone()) {
                self.text(&config, &text)?;
            }
            let names: Vec<String> = names.iter().map(Reference::to_string).collect();
            entries.push(json!({"Config": config, "RepoTags": names, "Layers": layers}));
        }
        self.operation = OPERATION.to_owned();
        self.text("manifest.json", Value::Array(entries).to_string().as_bytes())
    }

    fn flat(&mut self, images: &[Saved]) -> Result<()> {
        let [Saved { image, .. }] = images else {
            let error = Error::new(Kind::Invalid, OPERATION, "a directory of this form takes one");
            return Err(error.with_hint("`--format oci-dir` takes several"));
        };
        self.begin(image);
        self.text("version", b"Directory Transport Version: 1.1\n")?;
        let (_, text) = self.store.manifest(image)?;
        self.text("manifest.json", &text)?;
        self.blob(image.id.digits(), &image.id)?;
        for layer in &image.layers {
            self.blob(layer.blob.digits(), &layer.blob)?;
        }
        Ok(())
    }

    fn begin(&mut self, image: &Image) {
        self.operation = format!("save the image `{}`", image.id.short());
    }

    fn text(&mut self, name: &str, mut text: &[u8]) -> Result<()> {
        let size = text.len() as u64;
        self.target.file(name, size, &mut text).map_err(|error| Error::system(&self.operation, error))
    }

    /// A blob as it came.
    fn blob(&mut self, name: &str, digest: &Digest) -> Result<()> {
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.store.blob_path(digest);
        let file = File::open(&path).map_err(|error| Error::at_path("open", &path, error))?;
        let size = file.metadata().map_err(|error| Error::at_path("examine", &path, error))?.len();
        let mut reader = DigestedReader::new(file, digest.algorithm());
        let written = self.target.file(name, size, &mut reader);
        written.map_err(|error| Error::system(&self.operation, error))?;
        match reader.finish().0 == *digest {
            true => Ok(()),
            false => Err(self.damaged(digest)),
        }
    }

    /// A layer as it was before compression.
    fn layer(&mut self, name: &str, layer: &Layer) -> Result<()> {
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.store.blob_path(&layer.blob);
        let file = File::open(&path).map_err(|error| Error::at_path("open", &path, error))?;
        let stream = Stream::new(file, Limits::default()).map_err(|fault| fault.during(&self.operation))?;
        let mut plain = Plain { stream, error: None, operation: &self.operation };
        let written = self.target.file(name, layer.size, &mut plain);
        if let Some(error) = plain.error {
            // It was whole when it came.
            return Err(if error.kind == Kind::Corrupt { self.damaged(&layer.blob) } else { error });
        }
        let whole = plain.stream.finish(0).ok().is_some_and(|(digest, _)| digest == layer.diff_id);
        match written {
            Err(error)
                if error.kind() != io::ErrorKind::InvalidData
                    && error.kind() != io::ErrorKind::UnexpectedEof =>
            {
                Err(Error::system(&self.operation, error))
            }
            Ok(()) if whole => Ok(()),
            _ => Err(self.damaged(&layer.blob)),
        }
    }

    fn damaged(&self, digest: &Digest) -> Error {
        let reason = format!("what is kept of `{digest}` is damaged");
        Error::new(Kind::Corrupt, &self.operation, reason).with_hint("remove the image and pull it again")
    }
}

/// Reads what a stream decompresses.
struct Plain<'a> {
    stream: Stream<File>,
    error: Option<Error>,
    operation: &'a str,
}

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stream.some(buffer.len() as u64) {
            Ok(some) => {
                buffer[..some.len()].copy_from_slice(some);
                Ok(some.len())
            }
            Err(fault) => {
                self.error = Some(fault.during(self.operation));
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}
