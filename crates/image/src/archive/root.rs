//! An archive of a root file system as the only layer of a new image. Must not know what else the image says.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::spool;
use crate::digest::{Algorithm, Digest, DigestedReader};
use crate::documents::{Descriptor, media_type};
use crate::error::{Error, Kind, Result};
use crate::store::{Source, Store};
use crate::unpack::Limits;
use crate::unpack::compression::{Compression, TELLING};
use crate::unpack::stream::Stream;

/// An archive of a root file system, compressed or not.
#[derive(Debug)]
pub struct RootArchive {
    file: File,
    blob: Descriptor,
    diff_id: Digest,
    documents: Vec<(Digest, Vec<u8>)>,
}

impl RootArchive {
    /// Reads it once, for its digests; what can be read only once is kept in the store meanwhile.
    pub fn read(input: File, store: &Store, operation: &str) -> Result<RootArchive> {
        let file = spool::raw(input, store, operation)?;
        let failed = |error: std::io::Error| Error::system(operation, error);
        let mut begin = [0; TELLING as usize];
        let count = file.read_at(&mut begin, 0).map_err(failed)?;
        let kind = match Compression::of(&begin[..count]) {
            Ok(Compression::None) => media_type::LAYER,
            Ok(Compression::Gzip) => media_type::LAYER_GZIP,
            Ok(Compression::Zstd) => media_type::LAYER_ZSTD,
            Err(error) => return Err(Error::new(Kind::Unsupported, operation, error.to_string())),
        };
        let mut reader = DigestedReader::new(Whole { file: &file, at: 0 }, Algorithm::Sha256);
        let mut stream =
            Stream::new(&mut reader, Limits::default()).map_err(|fault| fault.during(operation))?;
        // A stream is digested as it is taken.
        while !stream.some(u64::MAX).map_err(|fault| fault.during(operation))?.is_empty() {}
        let (diff_id, _) = stream.finish(0).map_err(|fault| fault.during(operation))?;
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(failed)?;
        let (digest, size) = reader.finish();
        if size == 0 {
            return Err(Error::new(Kind::Corrupt, operation, "there is nothing in it"));
        }
        let blob = described(kind, digest, size);
        Ok(RootArchive { file, blob, diff_id, documents: Vec::new() })
    }

    /// The digest of the archive before compression.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// The image that has it as its topmost layer over those `below`, which are in the store, and this configuration.
    pub fn into_image(mut self, below: &[Descriptor], config: &Value) -> RootArchive {
        let config = config.to_string().into_bytes();
        let own = described(media_type::CONFIG, Digest::of(&config), config.len() as u64);
        let layers: Vec<Descriptor> = below.iter().chain([&self.blob]).map(as_of_oci).collect();
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": own, "layers": layers});
        let manifest = manifest.to_string().into_bytes();
        self.documents = vec![(Digest::of(&manifest), manifest), (own.digest, config)];
        self
    }
}

/// A layer as OCI's manifests have it: docker's have the same archives by another type, and a manifest has one kind.
fn as_of_oci(layer: &Descriptor) -> Descriptor {
    let kind = match layer.media_type.as_str() {
        media_type::DOCKER_LAYER_GZIP => media_type::LAYER_GZIP,
        kind => kind,
    };
    described(kind, layer.digest.clone(), layer.size)
}

/// Compresses as layers are compressed.
pub fn compress<Out: Write>(out: Out) -> GzEncoder<Out> {
    GzEncoder::new(out, flate2::Compression::default())
}

fn described(kind: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: kind.to_owned(), digest, size, urls: None, annotations: None, platform: None }
}

impl Source for RootArchive {
    fn named(&self) -> Result<(Vec<u8>, Option<String>)> {
        let (_, manifest) = self.documents.first().expect("it was made an image");
        Ok((manifest.clone(), Some(media_type::MANIFEST.to_owned())))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let found = self.documents.iter().find(|(digest, _)| *digest == descriptor.digest);
        Ok(found.expect("it has its own documents alone").1.clone())
    }

    fn blob(&self, _: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(Whole { file: &self.file, at: 0 }))
    }
}

/// A file from its beginning, wherever others read.
struct Whole<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
