//! Removing all containers that have ended.

use std::path::Path;

use runtime::ErrorKind;

use super::{KeptContainers, KeptState};
use crate::error::Result;

/// Containers that were removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrunedContainers {
    /// Their ids.
    pub ids: Vec<String>,
    /// Bytes of what they had written.
    pub bytes: u64,
}

impl KeptContainers {
    /// Removes those that have ended, and what commands that were killed have left.
    pub fn prune(&self) -> Result<PrunedContainers> {
        let mut pruned = PrunedContainers::default();
        for kept in self.list()?.into_iter().filter(|kept| kept.state != KeptState::Running) {
            let bytes = bytes_below(&kept.directory);
            match self.remove(&kept) {
                Ok(()) => {
                    pruned.bytes += bytes;
                    pruned.ids.push(kept.id);
                }
                // Somebody else was quicker, or looks at it.
                Err(error) if error.kind == ErrorKind::WrongStatus || !kept.directory.exists() => {}
                Err(error) => return Err(error),
            }
        }
        self.sweep()?;
        Ok(pruned)
    }
}

/// Bytes that are taken below a directory. Nothing is followed; what can't be looked at is not counted, as this only informs.
fn bytes_below(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            bytes += found.blocks() * 512;
            if found.is_dir() {
                left.push(entry.path());
            }
        }
    }
    bytes
}
