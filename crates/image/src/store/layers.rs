//! Layers, unpacked: each a directory that overlays take as a lower one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Store, make_directory, random_digits, read_json, write_json};
use crate::compare::difference;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::unpack::Unpacked;

/// The document beside the tree.
const FACTS: &str = "layer.json";

/// Waits for the end of an archive that is being unpacked.
pub type Finish = Box<dyn FnOnce() -> Result<Unpacked>>;

/// What unpacks layers, apart from the process that fetches them.
pub trait Unpacker: Sync {
    /// Begins to unpack what can be read from `archive`, compressed or not, into the directory `tree`.
    fn start(&self, archive: OwnedFd, tree: OwnedFd) -> Result<Finish>;
}

/// What is known of a layer that is there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    #[serde(flatten)]
    pub(super) unpacked: Unpacked,
    /// Which blobs were seen to unpack to it. Of another one only an image says so, and whoever wrote that image may never have
    /// had the layer.
    #[serde(default)]
    pub(super) blobs: Vec<Digest>,
}

impl Store {
    /// The directory of a layer.
    pub fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.layer_directory(diff_id).join("tree")
    }

    /// Whether a layer is there, whole.
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        self.layer_path(diff_id).exists()
    }

    /// What is known of a layer, if it is there and `blob` was seen to unpack to it.
    pub(super) fn layer_of(&self, diff_id: &Digest, blob: &Digest) -> Result<Option<Unpacked>> {
        // A hand may have taken the tree alone.
        if !self.has_layer(diff_id) {
            return Ok(None);
        }
        let facts = read_facts(&self.layer_directory(diff_id))?;
        Ok(facts.filter(|facts| facts.blobs.contains(blob)).map(|facts| facts.unpacked))
    }

    pub(super) fn layer_directory(&self, diff_id: &Digest) -> PathBuf {
        self.path.join("layers").join(diff_id.digits())
    }

    /// An empty place to unpack a layer in.
    pub(super) fn begin_layer(&self) -> Result<Draft> {
        let path = self.path.join("partial").join(format!("{}.layer", random_digits()));
        let tree = path.join("tree");
        make_directory(&tree)?;
        // Root of what containers see as `/`.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&tree, mode)
            .map_err(|error| Error::at_path("set the mode of", &tree, error))?;
        let opened = File::open(&tree).map_err(|error| Error::at_path("open", &tree, error))?;
        Ok(Draft { path, tree: opened })
    }

    /// Publishes what was unpacked of `blob`, and is durable. One that is there already must be the same: by what digest it is known,
    /// a process said that had read untrusted bytes.
    pub(super) fn publish_layer(&self, draft: &Draft, unpacked: &Unpacked, blob: &Digest) -> Result<()> {
        let diff_id = &unpacked.diff_id;
        let path = self.layer_directory(diff_id);
        match std::fs::rename(&draft.path, &path) {
            Err(_) if self.has_layer(diff_id) => {
                self.compare_layer(draft, diff_id, blob)?;
                self.add_blob(&path, unpacked, blob)?;
                remove_tree(&draft.path)
            }
            // It has lost its tree. Others beside that may be below containers.
            Err(_) if path.exists() => {
                let tree = self.layer_path(diff_id);
                std::fs::rename(draft.path.join("tree"), &tree)
                    .map_err(|error| Error::at_path("publish", &tree, error))?;
                self.sync_directory(&path)?;
                self.add_blob(&path, unpacked, blob)?;
                remove_tree(&draft.path)
            }
            other => other.map_err(|error| Error::at_path("publish", &path, error)),
        }
    }

    fn compare_layer(&self, draft: &Draft, diff_id: &Digest, blob: &Digest) -> Result<()> {
        let path = self.layer_path(diff_id);
        let kept = File::open(&path).map_err(|error| Error::at_path("open", &path, error))?;
        let differs = difference(draft.tree.as_fd(), kept.as_fd());
        match differs.map_err(|error| Error::at_path("compare", &path, error))? {
            None => Ok(()),
            Some(what) => {
                let operation = format!("keep the layer `{diff_id}`");
                let reason = format!("what is here of it is not what the blob `{blob}` unpacks to: {what}");
                let error = Error::new(Kind::Corrupt, operation, reason);
                Err(error.with_hint(
                    "`rabbitc system check --repair` brings it again where it is damaged; else remove the images that have it",
                ))
            }
        }
    }

    /// Takes a layer away.
    pub(super) fn remove_layer(&self, digits: &str) -> Result<()> {
        let aside = self.put_aside(&self.path.join("layers").join(digits))?;
        aside.map_or(Ok(()), |aside| remove_tree(&aside))
    }

    /// Takes a part away, at once under another name, so that half of one is never taken for a whole one; none where it is not
    /// there.
    pub(super) fn put_aside(&self, path: &Path) -> Result<Option<PathBuf>> {
        let aside = self.path.join("partial").join(format!("{}.doomed", random_digits()));
        match std::fs::rename(path, &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::at_path("remove", path, error)),
        }
    }

    fn add_blob(&self, directory: &Path, unpacked: &Unpacked, blob: &Digest) -> Result<()> {
        let failed = |error: std::io::Error| Error::at_path("lock", directory, error);
        // Two at once would each forget the other's.
        let lock = File::open(directory).map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        let facts = match read_facts(directory)? {
            Some(facts) if facts.blobs.contains(blob) => return Ok(()),
            Some(mut facts) => {
                facts.blobs.push(blob.clone());
                facts
            }
            None => Facts { unpacked: unpacked.clone(), blobs: vec![blob.clone()] },
        };
        write_json(directory, FACTS, &facts)
    }
}

/// What is known of a layer; none where that is damaged, and to be found anew.
fn read_facts(directory: &Path) -> Result<Option<Facts>> {
    match read_json(&directory.join(FACTS)) {
        Err(error) if error.kind == Kind::Corrupt => Ok(None),
        read => read,
    }
}

impl Draft {
    /// Puts what is known of the layer beside it; durable is that with the tree.
    pub(super) fn describe(&self, unpacked: &Unpacked, blob: &Digest) -> Result<()> {
        let facts = Facts { unpacked: unpacked.clone(), blobs: vec![blob.clone()] };
        let path = self.path.join(FACTS);
        let text = serde_json::to_vec(&facts).expect("only string keys");
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(&text));
        written.map_err(|error| Error::at_path("write", &path, error))
    }
}

/// A layer that is being unpacked. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) path: PathBuf,
    pub(super) tree: File,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Where it was published, it is elsewhere.
        let _ = remove_tree(&self.path);
    }
}

/// Removes a directory with all that is in it, if it is there; links are not followed.
pub(super) fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::at_path("remove", path, error))
        }
        _ => Ok(()),
    }
}
