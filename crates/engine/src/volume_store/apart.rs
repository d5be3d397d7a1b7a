//! What takes the caller's own user namespace: files of all its ids are made and removed by this program executed again.

use std::ffi::OsStr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::fill::{self, Fill};
use crate::apart;
use crate::error::{Error, Result};
use crate::rootless::enter_own_users;

/// The verb by which this program is executed again for that; not for people.
const VERB: &str = "internal-change-volume";

/// What is to be done.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Work {
    Fill(Fill),
    Remove(PathBuf),
}

/// Has it done by a process of its own, and waits for that.
pub(super) fn have_done(work: &Work, operation: &str) -> Result<()> {
    apart::ask(VERB, work, operation)
}

/// Whether a command line is that of the process that changes a volume.
pub fn is_volume_verb(word: Option<&OsStr>) -> bool {
    word.is_some_and(|word| word == VERB)
}

/// What that process does; the exit code.
pub fn change_volume() -> i32 {
    apart::answer(change())
}

fn change() -> Result<()> {
    let work: Work = apart::asked()?;
    enter_own_users()?;
    apart::end_with_parent()?;
    match work {
        Work::Fill(request) => fill::fill(&request),
        Work::Remove(path) => {
            std::fs::remove_dir_all(&path).map_err(|error| Error::at_path("remove", &path, error))
        }
    }
}
