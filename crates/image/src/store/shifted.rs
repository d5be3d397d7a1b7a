//! Layers unpacked once more, for containers whose ids stand for others than those of the store: where no mount can show owners
//! otherwise. Each lies beside the first one of its layer, and goes with that.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use super::layers::{Draft, Finish};
use super::{Image, Layer, Store, Unpacker};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

/// How many are unpacked at a time, each by a process of its own.
const AT_ONCE: usize = 3;

impl Store {
    /// The directory of a layer for the ids that `key` stands for.
    pub fn shifted_path(&self, diff_id: &Digest, key: &str) -> PathBuf {
        self.layer_directory(diff_id).join(format!("tree-{key}"))
    }

    /// Unpacks what an image lacks for the ids that `key` stands for, from the blobs that are here.
    pub fn unpack_for(&self, image: &Image, key: &str, unpacker: &dyn Unpacker) -> Result<()> {
        let directory = self.path.join("layers");
        let failed = |error: std::io::Error| Error::at_path("lock", &directory, error);
        // One after the other, so that nobody unpacks what somebody else is unpacking.
        let lock = File::open(&directory).map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        let mut missing: Vec<&Layer> = Vec::new();
        for layer in &image.layers {
            // The same layer twice is one.
            let is_new = missing.iter().all(|other| other.diff_id != layer.diff_id);
            if is_new && !self.shifted_path(&layer.diff_id, key).exists() {
                missing.push(layer);
            }
        }
        for layers in missing.chunks(AT_ONCE) {
            let begun: Vec<Result<Begun<'_>>> =
                layers.iter().map(|layer| self.begin_shifted(layer, unpacker)).collect();
            // Each is waited for, also where another one fails: it writes to a directory that goes with its draft.
            let finished: Vec<Result<()>> =
                begun.into_iter().map(|begun| self.finish_shifted(begun?, key)).collect();
            finished.into_iter().collect::<Result<()>>()?;
        }
        Ok(())
    }

    fn begin_shifted<'a>(&self, layer: &'a Layer, unpacker: &dyn Unpacker) -> Result<Begun<'a>> {
        let draft = self.begin_layer()?;
        let blob = self.blob_path(&layer.blob);
        let archive = File::open(&blob).map_err(|error| Error::at_path("open", &blob, error))?;
        let tree = draft.tree.try_clone().map_err(|error| Error::at_path("open", &draft.path, error))?;
        let finish = unpacker.start(archive.into(), OwnedFd::from(tree))?;
        Ok(Begun { layer, draft, finish })
    }

    fn finish_shifted(&self, begun: Begun<'_>, key: &str) -> Result<()> {
        let Begun { layer, draft, finish } = begun;
        let unpacked = finish()?;
        let diff_id = &layer.diff_id;
        if unpacked.diff_id != *diff_id {
            let operation = format!("unpack the layer `{diff_id}`");
            let error = Error::new(Kind::Corrupt, operation, "what is kept of it is not what was pulled");
            return Err(error.with_hint("remove the image and pull it again"));
        }
        self.sync(&draft.tree)?;
        let target = self.shifted_path(diff_id, key);
        std::fs::rename(draft.path.join("tree"), &target)
            .map_err(|error| Error::at_path("publish", &target, error))
    }
}

/// A layer that is being unpacked.
struct Begun<'a> {
    layer: &'a Layer,
    draft: Draft,
    finish: Finish,
}
