//! Removing all containers that have ended.

use runtime::ErrorKind;

use super::{Kept, KeptContainers, seconds};
use crate::error::Result;
use crate::events::EventLog;
use crate::filter::has;
use crate::images::{ImageFilter, ImageFilters};

/// Containers that were removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrunedContainers {
    /// Their ids.
    pub ids: Vec<String>,
    /// Bytes of what they had written.
    pub bytes: u64,
}

impl KeptContainers {
    /// Removes those that have ended, if they are among those that `filters` let pass, and what commands that were killed have
    /// left. Only labels and times are about containers; nothing passes another filter.
    pub fn prune(&self, filters: &ImageFilters) -> Result<PrunedContainers> {
        self.check_is_own()?;
        let mut pruned = PrunedContainers::default();
        for kept in self.list()? {
            // What keeps a pod's namespaces goes with the pod alone.
            if kept.record.is_infra()
                || kept.state.is_up()
                || !filters.0.iter().all(|filter| kept.passes(filter))
            {
                continue;
            }
            // This only informs: what can't be looked at is not counted.
            let bytes = kept.own_bytes().unwrap_or(0);
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
        self.sweep_all()?;
        EventLog::beside(self.path()).tell_pruned("container", pruned.bytes);
        Ok(pruned)
    }
}

impl Kept {
    fn passes(&self, filter: &ImageFilter) -> bool {
        let has = |label: &str, value: &Option<String>| has(&self.record.shown.labels, label, value.as_ref());
        match filter {
            ImageFilter::Until(moment) => seconds(self.record.created) < *moment,
            ImageFilter::Label(label, value) => has(label, value),
            ImageFilter::NoLabel(label, value) => !has(label, value),
            _ => false,
        }
    }
}
