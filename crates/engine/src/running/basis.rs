//! What another program in a container begins with: how its own program was started. It is written beside the container's record when
//! that is, and goes with it.

use std::path::Path;

use runtime::lifecycle::View;
use runtime::spec::Spec;
use runtime::state_dir::{StateRoot, write_atomically};
use serde::{Deserialize, Serialize};

use crate::directories::damaged;
use crate::error::{Error, Result};
use crate::options::{Identity, RunOptions};

/// The file in the container's directory.
const FILE: &str = "basis.json";

/// What one can do where it can't be read.
const OTHER_VERSION: &str = "one that another version of rabbitc started has to be started anew";

/// How a container's own program was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Basis {
    /// The container as it was planned.
    pub(crate) spec: Spec,
    /// Capabilities that were asked for by name: those also a user other than root has. One bit for each number.
    pub(crate) named: u64,
    /// Further groups that were asked for, by number or name.
    pub(crate) groups: Vec<String>,
    /// Variables that nobody set, and that another user or another terminal has otherwise: HOME, TERM.
    pub(crate) usual: Vec<String>,
}

impl Basis {
    pub(crate) fn of(options: &RunOptions, spec: &Spec) -> Basis {
        let is_asked = |name: &&str| {
            let mut asked = options.process.environment.iter();
            asked.any(|entry| entry.split('=').next() == Some(*name))
        };
        let usual = ["HOME", "TERM"].into_iter().filter(|name| !is_asked(name));
        let written = |group: &Identity| match group {
            Identity::Id(number) => number.to_string(),
            Identity::Name(name) => name.clone(),
        };
        Basis {
            spec: spec.clone(),
            named: options.security.add_capabilities.named,
            groups: options.process.groups.iter().map(written).collect(),
            usual: usual.map(str::to_owned).collect(),
        }
    }

    /// The host name that the container of a directory began with.
    pub(crate) fn host_name(directory: &Path) -> Option<String> {
        let text = std::fs::read(directory.join(FILE)).ok()?;
        serde_json::from_slice::<Basis>(&text).ok()?.spec.hostname
    }

    /// Writes it into the container's directory.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        write_atomically(directory, FILE, &serde_json::to_vec(self).expect("only string keys"))
    }

    /// Reads that of a container.
    pub(crate) fn read(state: &StateRoot, view: &View) -> Result<Basis> {
        let path = state.path().join(&view.record.id).join(FILE);
        let text = std::fs::read(&path)
            .map_err(|error| Error::at_path("read", &path, error).with_hint(OTHER_VERSION))?;
        serde_json::from_slice(&text).map_err(|error| damaged(&path, &error, OTHER_VERSION))
    }
}
