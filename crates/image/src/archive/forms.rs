//! What images an archive or a directory has, in whichever of the forms it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::files::{Files, Part};
use super::{NAME, WHOLE_NAME, spool};
use crate::digest::{Algorithm, Digest, DigestedReader};
use crate::documents::{Descriptor, ImageConfig, MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, media_type};
use crate::error::{Error, Kind, Result};
use crate::reference::Reference;
use crate::store::{Source, Store};
use crate::unpack::compression::{Compression, TELLING};

/// The most images of one archive.
const MOST_IMAGES: usize = 1000;

/// How images are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OCI's layout (image-spec, image-layout.md): `oci-layout`, `index.json` and `blobs`.
    Oci,
    /// Docker's: `manifest.json` that lists images, each a configuration and archives of layers.
    Docker,
    /// Skopeo's `dir:`: one image's `manifest.json` and a file for each blob.
    Directory,
}

/// An archive or a directory that has images.
#[derive(Debug)]
pub struct Archive {
    files: Files,
    form: Form,
    images: Vec<Listed>,
}

/// An image of it, before it is looked at.
#[derive(Debug)]
struct Listed {
    names: Vec<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Its manifest or index.
    Document(Descriptor),
    /// Its manifest, whose digest nobody says.
    Text(Vec<u8>),
    /// Docker's entry.
    Entry(Entry),
}

/// An image of Docker's `manifest.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

impl Archive {
    /// Opens the directory or the archive at a path; `form` is how it must be written, where that is known.
    pub fn open(path: &Path, form: Option<Form>, store: &Store) -> Result<Archive> {
        let operation = format!("read the images in `{}`", path.display());
        // A pipe waits for its writer here, as people mean it.
        let input = File::open(path).map_err(|error| Error::at_path("open", path, error))?;
        let found = input.metadata().map_err(|error| Error::at_path("examine", path, error))?;
        match found.is_dir() {
            true => Archive::of(Files::of_directory(path, &operation), form),
            false => Archive::read(input, form, store, &operation),
        }
    }

    /// Reads an archive from a file, a pipe or whatever it is.
    pub fn read(input: File, form: Option<Form>, store: &Store, operation: &str) -> Result<Archive> {
        let plain = spool::plain(input, store, operation)?;
        let files = Files::of_archive(plain, operation).map_err(|error| match (error.kind, &error.hint) {
            // Links to elsewhere are nothing in the root of a system.
            (Kind::Corrupt, None) => error.with_hint(
                "this may be no archive of images; `rabbitc import` makes an image of an archive of a root file system",
            ),
            _ => error,
        })?;
        Archive::of(files, form)
    }

    fn of(files: Files, form: Option<Form>) -> Result<Archive> {
        let form = match form {
            Some(form) => form,
            None => tell(&files)?,
        };
        let images = match form {
            Form::Oci => layout(&files)?,
            Form::Docker => entries(&files)?,
            Form::Directory => {
                vec![Listed { names: Vec::new(), what: What::Text(must_read(&files, "manifest.json")?) }]
            }
        };
        if images.is_empty() || images.len() > MOST_IMAGES {
            let reason = match images.len() {
                0 => "it has no image".to_owned(),
                number => format!("it has {number} images, more than {MOST_IMAGES}"),
            };
            return Err(Error::new(Kind::Corrupt, files.operation(), reason));
        }
        Ok(Archive { files, form, images })
    }

    /// The numbers of the images that are meant: all, that of a name, or that behind `@`.
    pub fn choose(&self, wanted: Option<&str>) -> Result<Vec<usize>> {
        let Some(wanted) = wanted else { return Ok((0..self.images.len()).collect()) };
        let number = match wanted.strip_prefix('@').map(str::parse::<usize>) {
            Some(number) => number.ok().filter(|number| *number < self.images.len()),
            None => {
                let reference = wanted.parse::<Reference>().ok();
                let is_meant = |name: &String| {
                    name == wanted || reference.is_some() && name.parse::<Reference>().ok() == reference
                };
                self.images.iter().position(|image| image.names.iter().any(is_meant))
            }
        };
        if let Some(number) = number {
            return Ok(vec![number]);
        }
        let reason = format!("it has no image `{}`", wanted.escape_debug());
        let error = Error::new(Kind::NotFound, self.files.operation(), reason);
        let names: Vec<String> = self
            .images
            .iter()
            .flat_map(|image| &image.names)
            .take(20)
            .map(|name| name.escape_debug().to_string())
            .collect();
        Err(match names.is_empty() {
            true => error.with_hint("its images have no names: `@0` is the first"),
            false => error.with_hint(format!("there are {}", names.join(", "))),
        })
    }

    /// An image, by its number.
    pub fn image(&self, number: usize) -> Result<Archived<'_>> {
        let listed = &self.images[number];
        let files = &self.files;
        let names = listed.names.iter().filter_map(|name| whole_name(name, self.form)).collect();
        let blobs = match self.form {
            Form::Oci => Blobs::Layout,
            _ => Blobs::Flat,
        };
        match &listed.what {
            What::Document(descriptor) => {
                let kind = descriptor.media_type.clone();
                let archived = Archived { files, names, id: None, text: Vec::new(), kind, blobs };
                let text = archived.document(descriptor)?;
                crate::digest::check(&text, &descriptor.digest, files.operation())?;
                Ok(Archived { text, ..archived })
            }
            What::Text(text) => {
                let kind = serde_json::from_slice::<Typed>(text).ok().and_then(|typed| typed.media_type);
                let kind = kind.unwrap_or_else(|| media_type::MANIFEST.to_owned());
                Ok(Archived { files, names, id: None, text: text.clone(), kind, blobs })
            }
            What::Entry(entry) => {
                let (id, text, known) = written_anew(files, entry)?;
                let kind = media_type::MANIFEST.to_owned();
                Ok(Archived { files, names, id: Some(id), text, kind, blobs: Blobs::Known(known) })
            }
        }
    }
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
}

/// Tells how images are written down. Docker writes OCI's layout too, and there the digests are those of registries.
fn tell(files: &Files) -> Result<Form> {
    if files.find("oci-layout")?.is_some() && files.find("index.json")?.is_some() {
        return Ok(Form::Oci);
    }
    let Some(mut manifest) = files.find("manifest.json")? else {
        let operation = files.operation();
        if files.find("repositories")?.is_some() {
            let error = Error::new(Kind::Unsupported, operation, "it is of a Docker before 1.10");
            return Err(error.with_hint("load it into a newer Docker, and save it there again"));
        }
        let error =
            Error::new(Kind::Corrupt, operation, "it has neither an `index.json` nor a `manifest.json`");
        return Err(error.with_hint("`rabbitc import` makes an image of an archive of a root file system"));
    };
    let mut begin = [0; 64];
    let count = manifest.read(&mut begin).map_err(|error| Error::system(files.operation(), error))?;
    match begin[..count].trim_ascii_start().first() {
        Some(b'[') => Ok(Form::Docker),
        _ => Ok(Form::Directory),
    }
}

fn must_read(files: &Files, name: &str) -> Result<Vec<u8>> {
    let found = files.read(name, MOST_MANIFEST_BYTES)?;
    found.ok_or_else(|| {
        let error = Error::new(Kind::NotFound, files.operation(), format!("it has no file `{name}`"));
        match name {
            "oci-layout" | "index.json" => error
                .with_hint("an image in OCI's layout has a file `oci-layout`, an `index.json` and `blobs`"),
            _ => error,
        }
    })
}

fn parse<T: serde::de::DeserializeOwned>(files: &Files, name: &str, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text)
        .map_err(|error| Error::new(Kind::Corrupt, files.operation(), format!("{name}: {error}")))
}

/// The images of a layout. The same one under several names is one.
fn layout(files: &Files) -> Result<Vec<Listed>> {
    let marker: Marker = parse(files, "oci-layout", &must_read(files, "oci-layout")?)?;
    if marker.version.split('.').next() != Some("1") {
        let reason = format!("imageLayoutVersion is `{}`, and not 1.0.0", marker.version.escape_debug());
        return Err(Error::new(Kind::Unsupported, files.operation(), reason));
    }
    let index: Index = parse(files, "index.json", &must_read(files, "index.json")?)?;
    let mut images: Vec<Listed> = Vec::new();
    let mut known: BTreeMap<Digest, usize> = BTreeMap::new();
    for descriptor in index.manifests {
        // Attestations of builders.
        let is_for_nothing = descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
        if is_for_nothing || !media_type::MANIFESTS.contains(&descriptor.media_type.as_str()) {
            continue;
        }
        let notes = descriptor.annotations.as_ref();
        let name = notes.and_then(|notes| notes.get(WHOLE_NAME).or_else(|| notes.get(NAME))).cloned();
        let number = *known.entry(descriptor.digest.clone()).or_insert(images.len());
        match images.get_mut(number) {
            Some(image) => image.names.extend(name),
            None => {
                images.push(Listed { names: name.into_iter().collect(), what: What::Document(descriptor) })
            }
        }
    }
    Ok(images)
}

/// The images of Docker's `manifest.json`.
fn entries(files: &Files) -> Result<Vec<Listed>> {
    let entries: Vec<Entry> = parse(files, "manifest.json", &must_read(files, "manifest.json")?)?;
    Ok(entries
        .into_iter()
        .map(|entry| Listed { names: entry.repo_tags.clone().unwrap_or_default(), what: What::Entry(entry) })
        .collect())
}

/// A name that can stand for an image here. In a layout it may be a tag alone, of a repository that only the archive's author
/// knows.
fn whole_name(name: &str, form: Form) -> Option<Reference> {
    let is_whole = form != Form::Oci || name.contains(['/', ':']);
    name.parse::<Reference>().ok().filter(|reference| is_whole && reference.digest.is_none())
}

/// The id of one of Docker's entries, a manifest for it, which has none, and the files of its blobs: the same one for the same entry.
fn written_anew(files: &Files, entry: &Entry) -> Result<(Digest, Vec<u8>, BTreeMap<Digest, String>)> {
    let operation = files.operation();
    let missing = |name: &str| {
        Error::new(
            Kind::Corrupt,
            operation,
            format!("it has no file `{}`, which its manifest.json names", name.escape_debug()),
        )
    };
    let text = files.read(&entry.config, MOST_CONFIG_BYTES)?.ok_or_else(|| missing(&entry.config))?;
    let layers = entry.layers.as_deref().unwrap_or_default();
    let config = ImageConfig::parse(&text, layers.len(), operation)?;
    let digest = Digest::of(&text);
    let described =
        |kind: &str, digest: &Digest, size: u64| json!({"mediaType": kind, "digest": digest, "size": size});
    let own = described(media_type::CONFIG, &digest, text.len() as u64);
    let mut known = BTreeMap::from([(digest.clone(), entry.config.clone())]);
    let mut descriptors = Vec::new();
    // Links can make many layers of one large file, which is read once.
    let mut seen: BTreeMap<(u64, u64), (&'static str, Digest)> = BTreeMap::new();
    for (name, diff_id) in layers.iter().zip(&config.rootfs.diff_ids) {
        let part = files.find(name)?.ok_or_else(|| missing(name))?;
        let (size, place) = (part.size(), part.place());
        let (kind, digest) = match place.and_then(|place| seen.get(&place)) {
            Some(found) => found.clone(),
            None => match compressed(files, name, part)? {
                // The configuration has its digest, which is checked when it is read.
                None => (media_type::LAYER, diff_id.clone()),
                Some(found) => {
                    seen.extend(place.map(|place| (place, found.clone())));
                    found
                }
            },
        };
        descriptors.push(described(kind, &digest, size));
        known.insert(digest, name.clone());
    }
    let manifest =
        json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": own, "layers": descriptors});
    Ok((digest, manifest.to_string().into_bytes(), known))
}

/// The type and the digest of a layer's file, if it is compressed.
fn compressed(files: &Files, name: &str, part: Part<'_>) -> Result<Option<(&'static str, Digest)>> {
    let operation = files.operation();
    let failed = |error: std::io::Error| Error::system(operation, error);
    let mut begin = Vec::new();
    part.take(TELLING).read_to_end(&mut begin).map_err(failed)?;
    let kind = match Compression::of(&begin) {
        Ok(Compression::None) => return Ok(None),
        Ok(Compression::Gzip) => media_type::LAYER_GZIP,
        Ok(Compression::Zstd) => media_type::LAYER_ZSTD,
        Err(error) => {
            let reason = format!("`{}`: {error}", name.escape_debug());
            return Err(Error::new(Kind::Unsupported, operation, reason));
        }
    };
    let mut reader = DigestedReader::new(files.open(name)?, Algorithm::Sha256);
    std::io::copy(&mut reader, &mut std::io::sink()).map_err(failed)?;
    Ok(Some((kind, reader.finish().0)))
}

/// An image of an archive.
#[derive(Debug)]
pub struct Archived<'a> {
    files: &'a Files,
    /// What the archive calls it.
    pub names: Vec<Reference>,
    /// Its id, where the archive has no manifest of it: one that is here already has a better one.
    pub id: Option<Digest>,
    text: Vec<u8>,
    kind: String,
    blobs: Blobs,
}

/// Which file a blob is.
#[derive(Debug)]
enum Blobs {
    /// `blobs/sha256/DIGITS`
    Layout,
    /// `DIGITS`
    Flat,
    Known(BTreeMap<Digest, String>),
}

impl Archived<'_> {
    fn file_of(&self, descriptor: &Descriptor) -> Result<String> {
        let digest = &descriptor.digest;
        match &self.blobs {
            Blobs::Layout => Ok(format!("blobs/{}/{}", digest.algorithm().name(), digest.digits())),
            Blobs::Flat => Ok(digest.digits().to_owned()),
            Blobs::Known(known) => known.get(digest).cloned().ok_or_else(|| {
                Error::new(Kind::NotFound, self.files.operation(), format!("it has no `{digest}`"))
            }),
        }
    }
}

impl Source for Archived<'_> {
    fn named(&self) -> Result<(Vec<u8>, Option<String>)> {
        Ok((self.text.clone(), Some(self.kind.clone())))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let name = self.file_of(descriptor)?;
        let found = match self.files.read(&name, MOST_CONFIG_BYTES)? {
            // Skopeo's directories have manifests of an index with an ending.
            None if matches!(self.blobs, Blobs::Flat) => {
                self.files.read(&format!("{name}.manifest.json"), MOST_CONFIG_BYTES)?
            }
            found => found,
        };
        found.ok_or_else(|| {
            let reason = format!("it has no file `{name}`");
            Error::new(Kind::NotFound, self.files.operation(), reason)
        })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.files.open(&self.file_of(descriptor)?)?))
    }
}
