//! Blobs: found by their digest, and fetched by one process at a time.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use super::Store;
use crate::digest::{self, Digest};
use crate::error::{Error, Result};

/// Whether a blob is there, or this process is to bring it.
#[derive(Debug)]
pub(super) enum Claim {
    There,
    Ours(Partial),
}

/// A blob that is being fetched, locked.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) file: File,
    pub(super) path: PathBuf,
    digest: Digest,
}

impl Store {
    /// Where a blob is or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs").join(digest.algorithm().name()).join(digest.digits())
    }

    /// Whether a blob is there, verified.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// All of a blob of at most `most` bytes.
    pub fn read_blob(&self, digest: &Digest, most: usize) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let failed = |error| Error::at_path("read", &path, error);
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(failed)?;
        file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        digest::check(&bytes, digest, &format!("read `{}`", path.display()))
            .map_err(|error| error.with_hint("remove the image and pull it again"))?;
        Ok(bytes)
    }

    /// Puts a small blob there: its bytes are known to be what its digest says.
    pub(super) fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        match self.claim_blob(digest)? {
            Claim::There => Ok(()),
            Claim::Ours(partial) => self.write_blob(partial, bytes),
        }
    }

    /// Puts the bytes of a claimed blob there.
    pub(super) fn write_blob(&self, mut partial: Partial, bytes: &[u8]) -> Result<()> {
        let written = partial.file.write_all(bytes).and_then(|()| partial.file.sync_all());
        written.map_err(|error| partial.abandon(Error::at_path("write", &partial.path, error)))?;
        self.publish_blob(&partial).map_err(|error| partial.abandon(error))
    }

    /// Waits for whoever brings the blob; if it is not there then, it is this process that brings it. What a dead one left of it
    /// is thrown away: its digest would have to be computed from the disk.
    pub(super) fn claim_blob(&self, digest: &Digest) -> Result<Claim> {
        let path = self.path.join("partial").join(digest.digits());
        loop {
            if self.has_blob(digest) {
                return Ok(Claim::There);
            }
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let mut file = file.map_err(|error| Error::at_path("open", &path, error))?;
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|error| Error::at_path("lock", &path, error))?;
            let own = file.metadata().map_err(|error| Error::at_path("examine", &path, error))?;
            // Whoever had it has published it, or given it up.
            let is_there = std::fs::metadata(&path).is_ok_and(|found| found.ino() == own.ino());
            if is_there && !self.has_blob(digest) {
                let emptied = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
                emptied.map_err(|error| Error::at_path("empty", &path, error))?;
                return Ok(Claim::Ours(Partial { file, path, digest: digest.clone() }));
            }
        }
    }

    /// From here on it is there for everybody; its bytes are durable already.
    pub(super) fn publish_blob(&self, partial: &Partial) -> Result<()> {
        let path = self.blob_path(&partial.digest);
        std::fs::rename(&partial.path, &path).map_err(|error| Error::at_path("publish", &path, error))
    }
}

impl Partial {
    /// Takes it away; the error is why.
    pub(super) fn abandon(&self, error: Error) -> Error {
        // Somebody may have taken the whole store away.
        let _ = std::fs::remove_file(&self.path);
        error
    }
}
