//! The images of one user: blobs as they were received, layers unpacked once each, and which names stand for what.
//!
//! ```text
//! blobs/sha256/DIGITS     manifests, configurations and layers, exactly as received
//! layers/DIGITS/tree      a layer unpacked, by the digest of its archive before compression (diff_id); `layer.json` beside it
//! layers/DIGITS/tree-KEY  the same with other owners, for containers of a user whose ids stand for those
//! images/DIGITS           what an image consists of, by the digest of its manifest
//! names/DIGITS            a name and its manifest, by the digest of the name
//! lists/DIGITS            a list of images that was made here and the digest of its index, by the digest of its name
//! mounts/DIGITS           where an image is mounted on the host, by the digest of its manifest
//! partial/                what is being fetched and unpacked, locked by whoever does
//! changes                 locked by whoever changes images or names
//! unswept                 says that somebody wanted to remove what nobody refers to, and could not
//! lock                    shared by all who use the store, exclusive for whoever removes what nobody refers to
//! ```
//!
//! Whatever is there under its own name is whole: it was verified and made durable before it was renamed to that. Locks are the
//! kernel's and go with their owner, so that nothing has to be repaired after a crash.

mod blobs;
mod check;
mod images;
mod layers;
mod lists;
mod mounts;
mod publish;
mod pull;
mod shifted;
mod spool;
mod sweep;
mod until_over;
mod usage;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::check::{Damage, Depth, Part};
pub use self::images::{Image, InUse, Layer, Name, Seen};
pub use self::layers::{Finish, Unpacker};
pub use self::lists::{Chosen, List};
pub use self::mounts::{MountNamespace, MountedImage, Mounting, NamespaceFile};
pub use self::pull::{LayerState, Progress, PullOptions, Pulled, Silent, Source};
pub use self::sweep::Swept;
pub use self::usage::{AllUsage, Usage};
use crate::error::{Error, Kind, Result};

/// Version of the layout; another one is refused, not guessed at.
const FORMAT: &str = "1\n";

/// The directories of a store.
const DIRECTORIES: [&str; 6] = ["blobs/sha256", "blobs/sha512", "layers", "images", "names", "partial"];

/// A store that is in use by this process.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Held shared as long as this is used; none where there is no store.
    lock: Option<File>,
}

impl Store {
    /// Opens the store below `path`, and makes it where it is missing.
    pub fn open(path: impl Into<PathBuf>) -> Result<Store> {
        let path = path.into();
        if !is_there(&path)? {
            for directory in DIRECTORIES {
                make_directory(&path.join(directory))?;
            }
            write_atomically(&path, "version", FORMAT.as_bytes())?;
        }
        Store::open_made(path)
    }

    /// Opens the store below `path` for somebody who brings nothing: one that is missing has nothing, and is not made.
    pub fn open_to_read(path: impl Into<PathBuf>) -> Result<Store> {
        let path = path.into();
        match is_there(&path)? {
            true => Store::open_made(path),
            false => Ok(Store { path, lock: None }),
        }
    }

    fn open_made(path: PathBuf) -> Result<Store> {
        let place = path.join("lock");
        let mut options = OpenOptions::new();
        let lock = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&place);
        let lock = lock.map_err(|error| Error::at_path("open", &place, error))?;
        let store = Store { path, lock: Some(lock) };
        store.share()?;
        Ok(store)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nobody removes anything.
    fn share(&self) -> Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        flock(lock, FlockOperation::LockShared).map_err(|error| Error::at_path("lock", &self.path, error))
    }

    /// Makes the names durable that parts of an image have got: not every file system keeps renames in their order, and what says
    /// that an image is there must not be there before its parts.
    fn sync_names(&self, image: &Image) -> Result<()> {
        let blobs = image.layers.iter().map(|layer| &layer.blob).chain([&image.id, &image.manifest]);
        let mut directories: BTreeSet<PathBuf> =
            blobs.map(|digest| Path::new("blobs").join(digest.algorithm().name())).collect();
        directories.insert("layers".into());
        directories.iter().try_for_each(|directory| self.sync_directory(directory))
    }

    /// Makes durable what was named and removed in one of its directories.
    fn sync_directory(&self, directory: &Path) -> Result<()> {
        let path = self.path.join(directory);
        let synced = File::open(&path).and_then(|opened| opened.sync_all());
        synced.map_err(|error| Error::at_path("write to disk", &path, error))
    }

    /// Makes what was written before it durable.
    fn sync(&self, file: &File) -> Result<()> {
        rustix::fs::syncfs(file.as_fd())
            .map_err(|error| Error::at_path("write to disk what is in", &self.path, error))
    }
}

/// Whether there is a store, and of the layout that this program knows.
fn is_there(path: &Path) -> Result<bool> {
    let version = path.join("version");
    match std::fs::read_to_string(&version) {
        Ok(found) if found == FORMAT => Ok(true),
        Ok(found) => {
            let operation = format!("open the images in `{}`", path.display());
            let reason =
                format!("they are of version `{}`, and this program knows 1", found.trim().escape_debug());
            let error = Error::new(Kind::Unsupported, operation, reason);
            Err(error.with_hint("use the version of rabbitc that made them, or another `--root`"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::at_path("read", &version, error)),
    }
}

/// Makes a directory, and those above it, for its owner alone.
fn make_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Error::at_path("make", path, error))
}

/// Writes a file whole or not at all, durably.
fn write_atomically(directory: &Path, name: &str, content: &[u8]) -> Result<()> {
    let draft = directory.join(format!(".{name}-{}", random_digits()));
    let target = directory.join(name);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&draft, &target)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| {
        // It may never have been there.
        let _ = std::fs::remove_file(&draft);
        Error::at_path("write", &target, error)
    })
}

/// Digits that nobody else has.
fn random_digits() -> String {
    let mut random = [0u8; 8];
    // A kernel that can't is before its first entropy; nothing pulls images then.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    format!("{:016x}", u64::from_ne_bytes(random))
}

fn write_json(directory: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    write_atomically(directory, name, &serde_json::to_vec(value).expect("only string keys"))
}

/// Reads a document of ours; none where there is none.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::at_path("read", path, error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        let error = Error::new(Kind::Corrupt, format!("read `{}`", path.display()), error.to_string());
        // What is mounted only its owner can tell.
        error.with_hint(
            "`rabbitc system check --repair` mends it; one in `mounts` can be removed once its image is unmounted",
        )
    })
}

/// The names in a directory, but for drafts.
fn entries(path: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::at_path("list", path, error);
    let mut names = Vec::new();
    let listed = match std::fs::read_dir(path) {
        // A store that nobody has made has nothing.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        listed => listed.map_err(failed)?,
    };
    for entry in listed {
        let name = entry.map_err(failed)?.file_name();
        names.extend(name.into_string().ok().filter(|name| !name.starts_with('.')));
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests;
