//! A directory in OCI's layout (image-spec, image-layout.md).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::documents::{Descriptor, MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES};
use crate::error::{Error, Kind, Result};
use crate::store::Source;

/// The annotation that holds an image's name in a layout.
const NAME: &str = "org.opencontainers.image.ref.name";

/// One image in a directory.
#[derive(Debug, Clone)]
pub struct Layout {
    path: PathBuf,
    chosen: Descriptor,
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

impl Layout {
    /// Opens the image `name` in the directory; without a name, the only one there.
    pub fn open(path: impl Into<PathBuf>, name: Option<&str>) -> Result<Layout> {
        let path = path.into();
        let operation = format!("read the image in `{}`", path.display());
        let corrupt = |reason: String| Error::new(Kind::Corrupt, operation.clone(), reason);
        let marker = path.join("oci-layout");
        let text = read(&marker, MOST_CONFIG_BYTES).map_err(|error| {
            error.with_hint("an image in OCI's layout has a file `oci-layout`, an `index.json` and `blobs`")
        })?;
        let marker: Marker =
            serde_json::from_slice(&text).map_err(|error| corrupt(format!("oci-layout: {error}")))?;
        if marker.version.split('.').next() != Some("1") {
            let reason = format!("imageLayoutVersion is `{}`, and not 1.0.0", marker.version.escape_debug());
            return Err(Error::new(Kind::Unsupported, operation, reason));
        }
        let text = read(&path.join("index.json"), MOST_MANIFEST_BYTES)?;
        let index: Index =
            serde_json::from_slice(&text).map_err(|error| corrupt(format!("index.json: {error}")))?;
        let named = |one: &Descriptor| one.annotations.as_ref().and_then(|all| all.get(NAME)).cloned();
        let names: Vec<String> = index.manifests.iter().filter_map(named).collect();
        let missing = |reason: String| {
            let error = Error::new(Kind::NotFound, operation.clone(), reason);
            Err(match names.is_empty() {
                true => error,
                false => error.with_hint(format!("there are {}", names.join(", "))),
            })
        };
        let chosen = match (name, &index.manifests[..]) {
            (Some(name), all) => match all.iter().find(|one| named(one).as_deref() == Some(name)) {
                Some(found) => found.clone(),
                None => return missing(format!("it has no image `{}`", name.escape_debug())),
            },
            (None, [one]) => one.clone(),
            (None, []) => return missing("it has none".to_owned()),
            (None, all) => return missing(format!("it has {}, and which one is not said", all.len())),
        };
        Ok(Layout { path, chosen })
    }

    fn blob_path(&self, descriptor: &Descriptor) -> PathBuf {
        let digest = &descriptor.digest;
        self.path.join("blobs").join(digest.algorithm().name()).join(digest.digits())
    }
}

impl Source for Layout {
    fn named(&self) -> Result<(Vec<u8>, Option<String>)> {
        let text = self.document(&self.chosen)?;
        crate::digest::check(
            &text,
            &self.chosen.digest,
            &format!("read the image in `{}`", self.path.display()),
        )?;
        Ok((text, Some(self.chosen.media_type.clone())))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        read(&self.blob_path(descriptor), MOST_CONFIG_BYTES)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(open(&self.blob_path(descriptor))?))
    }
}

/// Opens an ordinary file: a pipe in its place would wait for a writer.
fn open(path: &Path) -> Result<File> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    let file = File::from(opened.map_err(|error| Error::at_path("open", path, error))?);
    let found = file.metadata().map_err(|error| Error::at_path("examine", path, error))?;
    match found.is_file() {
        true => Ok(file),
        false => Err(Error::new(Kind::Corrupt, format!("read `{}`", path.display()), "it is no file")),
    }
}

/// All of a file of at most `most` bytes.
fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::at_path("read", path, error))?;
    match bytes.len() > most {
        false => Ok(bytes),
        true => {
            let reason = format!("it is longer than {} MiB", most >> 20);
            Err(Error::new(Kind::TooMuch, format!("read `{}`", path.display()), reason))
        }
    }
}
