//! What is noted of a container that is kept.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use runtime::ErrorKind;
use serde::{Deserialize, Serialize};

use super::Shown;
use crate::error::{Error, Result};

/// What a container is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum KeptRoot {
    /// An image.
    Image {
        /// As it was named.
        name: String,
        /// The store that it lies in.
        store: PathBuf,
        /// The digest of its manifest.
        manifest: String,
    },
    /// A directory.
    Directory {
        /// Its path.
        path: PathBuf,
    },
    /// The host's own root.
    Host,
}

/// The record of one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) root: KeptRoot,
    pub(crate) command: Vec<String>,
    pub(crate) created: u64,
    /// Mounts of the host's root that have upper directories of their own, in their order.
    pub(crate) submounts: Vec<PathBuf>,
    /// Where something was mounted, as absolute paths of the container: the mount points there are not the container's work.
    #[serde(default)]
    pub(crate) points: Vec<PathBuf>,
    /// Directories of the host's root that were hidden from it.
    #[serde(default)]
    pub(crate) hidden: Vec<PathBuf>,
    /// Its image's directories for data: what is in them is no change of the root.
    #[serde(default)]
    pub(crate) volumes: Vec<PathBuf>,
    /// What only a listing shows.
    #[serde(default)]
    pub(crate) shown: Shown,
    pub(crate) end: Option<End>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) at: u64,
}

impl Record {
    pub(crate) fn new(id: &str, root: KeptRoot, command: &[String]) -> Record {
        Record {
            id: id.to_owned(),
            root,
            command: command.to_vec(),
            created: now(),
            submounts: Vec::new(),
            points: Vec::new(),
            hidden: Vec::new(),
            volumes: Vec::new(),
            shown: Shown::default(),
            end: None,
        }
    }

    pub(super) fn ended(&mut self, code: i32) {
        self.end = Some(End { code, at: now() });
    }

    /// Reads one; none where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Record>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::at_path("read", path, error)),
        };
        let record = serde_json::from_slice(&text);
        record.map(Some).map_err(|error| {
            let operation = format!("read `{}`", path.display());
            let error = Error::new(ErrorKind::System, operation, error.to_string());
            error.with_hint("remove the directory that it is in, and with it what this container has changed")
        })
    }

    /// Writes it whole or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let draft = path.with_extension("draft");
        let text = serde_json::to_vec(self).expect("only string keys");
        let write = || -> std::io::Result<()> {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&draft, path)
        };
        write().map_err(|error| Error::at_path("write", path, error))
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
