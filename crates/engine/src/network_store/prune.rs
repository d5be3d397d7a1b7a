//! Removing all networks that no container has.

use runtime::ErrorKind;

use super::{NetworkFilter, NetworkStore};
use crate::container::Notice;
use crate::error::{Error, Result};
use crate::paths::EnginePaths;

/// Networks that were removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrunedNetworks {
    /// Their names.
    pub names: Vec<String>,
    /// Why some stayed that nobody seems to need.
    pub notices: Vec<Notice>,
}

impl NetworkStore {
    /// Removes those that no container has, if they are among those that `filters` let pass.
    pub fn prune(&self, filters: &[NetworkFilter], paths: &EnginePaths) -> Result<PrunedNetworks> {
        let told = |error: Error| Notice { what: error.to_string(), remedy: error.hint };
        let mut pruned = PrunedNetworks::default();
        let survey = self.made()?;
        pruned.notices.extend(survey.damaged.into_iter().map(told));
        let users = self.users(paths)?;
        let mut networks = NetworkFilter::apply(filters, survey.networks, &users)?;
        if let Some(error) = users.damaged {
            pruned.notices.push(Notice {
                what: format!("no network was removed, as a damaged container may have it: {error}"),
                remedy: error.hint,
            });
            return Ok(pruned);
        }
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        for network in networks.iter().filter(|network| users.of(network).is_empty()) {
            match self.remove(&network.id, paths) {
                Ok(_) => pruned.names.push(network.name.clone()),
                // Somebody else was quicker, or has it by now.
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::WrongStatus) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }
}
