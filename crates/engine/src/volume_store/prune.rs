//! Removing all volumes that no container has.

use runtime::ErrorKind;

use super::{VolumeFilter, VolumeStore};
use crate::container::Notice;
use crate::error::{Error, Result};
use crate::paths::EnginePaths;

/// Which volumes are not needed, of those that no container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnneededVolumes {
    /// Those that nobody has named.
    Anonymous,
    /// All of them.
    All,
}

/// Volumes that were removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrunedVolumes {
    /// Their names.
    pub names: Vec<String>,
    /// Bytes of what was in them.
    pub bytes: u64,
    /// Why some stayed that nobody seems to need.
    pub notices: Vec<Notice>,
}

impl VolumeStore {
    /// Removes those that no container has, if they are among those that `filters` let pass, and what commands that were killed
    /// have left.
    pub fn prune(
        &self,
        which: UnneededVolumes,
        filters: &[VolumeFilter],
        paths: &EnginePaths,
    ) -> Result<PrunedVolumes> {
        let which = match filters.contains(&VolumeFilter::All(true)) {
            true => UnneededVolumes::All,
            false => which,
        };
        let told = |error: Error| Notice { what: error.to_string(), remedy: error.hint };
        let mut pruned = PrunedVolumes::default();
        let survey = self.survey()?;
        pruned.notices.extend(survey.damaged.into_iter().map(told));
        let users = self.users(paths)?;
        let volumes = VolumeFilter::apply(filters, survey.volumes, &users)?;
        if let Some(error) = users.damaged {
            pruned.notices.push(Notice {
                what: format!("no volume was removed, as a damaged container may have it: {error}"),
                remedy: error.hint,
            });
            return Ok(pruned);
        }
        for volume in volumes {
            let is_needed = users.is_needed(&volume.name);
            if is_needed || (which == UnneededVolumes::Anonymous && !volume.is_anonymous) {
                continue;
            }
            // This only informs: what can't be looked at is not counted.
            let bytes = self.size(&volume).unwrap_or(0);
            match self.remove(&volume.name, paths) {
                Ok(()) => {
                    pruned.bytes += bytes;
                    pruned.names.push(volume.name);
                }
                // Somebody else was quicker, or has it by now.
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::WrongStatus) => {}
                Err(error) => return Err(error),
            }
        }
        self.sweep();
        self.events().tell_pruned("volume", pruned.bytes);
        Ok(pruned)
    }
}
