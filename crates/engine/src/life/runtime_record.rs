//! A copy of the runtime's record beside what is kept of a container: while it runs, somebody may clean up the directory for what goes
//! with a boot or a session, and nothing else tells its processes.

use std::path::Path;

use runtime::state_dir::{Lock, Record, StateRoot};
use runtime::{ContainerId, ErrorKind, lifecycle};
use serde::{Deserialize, Serialize};

use super::Place;
use crate::directories::{Durability, read_record, remove_file, write_record};
use crate::error::Result;
use crate::images::boot_id;
use crate::paths::EnginePaths;

/// The file that it is in.
const FILE: &str = "runtime.json";

/// What is in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Copied {
    /// The boot that its pid is of.
    boot: String,
    record: Record,
}

/// Copies the record of a container that has just started into its directory.
pub(super) fn copy(place: &Place, directory: &Path) -> Result<()> {
    let root = StateRoot::new(place.paths.containers());
    let record = root.open(&ContainerId::parse(&place.id)?, Lock::No)?.read()?;
    write_record(&directory.join(FILE), &Copied { boot: boot_id()?, record }, Durability::Process)
}

/// Removes the copy of a container of which nothing is left.
pub(super) fn forget(directory: &Path) -> Result<()> {
    remove_file(&directory.join(FILE)).map(drop)
}

/// Brings the runtime's record back where it is gone though the container runs.
pub(crate) fn bring_back(id: &str, directory: &Path, paths: &EnginePaths) -> Result<()> {
    bring_back_where(id, directory, paths, |record| lifecycle::init(record).is_some())
}

/// The same for whoever is to end what there is of it.
pub(super) fn bring_back_remains(id: &str, directory: &Path, paths: &EnginePaths) -> Result<()> {
    bring_back_where(id, directory, paths, |_| true)
}

fn bring_back_where(
    id: &str,
    directory: &Path,
    paths: &EnginePaths,
    is_wanted: impl FnOnce(&Record) -> bool,
) -> Result<()> {
    let root = StateRoot::new(paths.containers());
    if root.directory(&ContainerId::parse(id)?).exists() {
        return Ok(());
    }
    let remedy = "remove it: the next start writes another";
    let Some(copied) = read_record::<Copied>(&directory.join(FILE), remedy)? else { return Ok(()) };
    if copied.boot != boot_id()? || !is_wanted(&copied.record) {
        return Ok(());
    }
    match root.reserve(&copied.record) {
        // Somebody else was faster.
        Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
        reserved => reserved.map(drop),
    }
}
