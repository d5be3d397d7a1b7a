//! Removes what no image refers to: marked from what is on disk, so that nothing can be counted wrong.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::layers::remove_tree;
use super::{Store, entries, lists, mounts};
use crate::error::{Error, Result};

/// Says that there may be something to sweep.
const ASKED: &str = "unswept";

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Blobs.
    pub blobs: usize,
    /// Layers.
    pub layers: usize,
    /// Bytes of the blobs.
    pub bytes: u64,
}

impl Store {
    /// Removes blobs, layers and remains of dead pulls that nothing refers to. Where somebody else uses the store it does
    /// nothing, and returns nothing: what others are bringing is not referred to yet. The last of them does it then, by
    /// [`Store::sweep_if_asked`].
    pub fn sweep(&self) -> Result<Option<Swept>> {
        let Some(own) = &self.lock else { return Ok(Some(Swept::default())) };
        let asked = self.path.join(ASKED);
        // Before the lock is tried: whoever has it looks for this when it ends. A disk that is full may have no room for it, and is
        // what a sweep is for.
        let noted = std::fs::write(&asked, "").map_err(|error| Error::at_path("write", &asked, error));
        let lock = |operation| flock(own, operation);
        match lock(FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                // To ask for more has cost what it had.
                self.share()?;
                return noted.map(|()| None);
            }
            Err(error) => return Err(Error::at_path("lock", &self.path, error)),
        }
        let swept = self.sweep_alone().and_then(|swept| remove(&asked).map(|()| swept));
        self.share()?;
        swept.map(Some)
    }

    /// Does what somebody else wanted to do while this process used the store.
    pub fn sweep_if_asked(&self) -> Result<()> {
        match self.path.join(ASKED).exists() {
            true => self.sweep().map(drop),
            false => Ok(()),
        }
    }

    fn sweep_alone(&self) -> Result<Swept> {
        let (mut blobs, mut layers) = (BTreeSet::new(), BTreeSet::new());
        for image in self.images()?.into_values() {
            layers.extend(image.layers.iter().map(|layer| layer.diff_id.digits().to_owned()));
            blobs.extend(image.layers.into_iter().map(|layer| layer.blob));
            blobs.extend([image.id, image.manifest]);
        }
        for name in self.names()? {
            blobs.extend(name.digests);
        }
        for list in self.lists()? {
            // What can't be read now is not what nobody needs.
            blobs.extend(self.blobs_of_list(&list, lists::is_lost)?);
        }
        let blobs: BTreeSet<&str> = blobs.iter().map(|digest| digest.digits()).collect();
        self.sync_documents()?;
        let mut swept = Swept::default();
        for algorithm in ["sha256", "sha512"] {
            let directory = self.path.join("blobs").join(algorithm);
            for name in entries(&directory)?.iter().filter(|name| !blobs.contains(name.as_str())) {
                let path = directory.join(name);
                swept.bytes += std::fs::metadata(&path).map_or(0, |found| found.len());
                remove(&path)?;
                swept.blobs += 1;
            }
        }
        let directory = self.path.join("layers");
        for name in entries(&directory)?.iter().filter(|name| !layers.contains(*name)) {
            self.remove_layer(name)?;
            swept.layers += 1;
        }
        self.sweep_remains()?;
        Ok(swept)
    }

    /// What nobody refers to was referred to by documents that are gone: for good, before it goes itself, as not every file system
    /// keeps the order.
    fn sync_documents(&self) -> Result<()> {
        for directory in ["images", "names", lists::DIRECTORY].map(Path::new) {
            // Nobody has made a list.
            if self.path.join(directory).exists() {
                self.sync_directory(directory)?;
            }
        }
        Ok(())
    }

    /// What the dead were fetching, and drafts of theirs: nobody else is here.
    fn sweep_remains(&self) -> Result<()> {
        for directory in ["partial", "images", "names", lists::DIRECTORY, mounts::DIRECTORY, "."] {
            let directory = self.path.join(directory);
            let listed = match std::fs::read_dir(&directory) {
                // Nobody has made a list, or mounted an image.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                listed => listed.map_err(|error| Error::at_path("list", &directory, error))?,
            };
            for entry in listed.flatten() {
                let name = entry.file_name();
                let is_draft = name.to_string_lossy().starts_with('.');
                if !is_draft && !directory.ends_with("partial") {
                    continue;
                }
                match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    true => remove_tree(&entry.path())?,
                    false => remove(&entry.path())?,
                }
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::at_path("remove", path, error))
        }
        _ => Ok(()),
    }
}
