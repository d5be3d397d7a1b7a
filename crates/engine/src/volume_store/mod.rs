//! Volumes: directories that are kept for containers, and what is known of each. What containers have to do with them is in the
//! modules below; what a bind needs of the host is not here.
//!
//! ```text
//! volumes/NAME/_data          what containers see
//! volumes/NAME/volume.json    what is known of it
//! volumes/NAME/lock           held by whoever fills it, or mounts something on it
//! volumes/NAME/fill           what is being copied to fill it; worth nothing by itself
//! volumes/NAME/filled         what is copied whole, and not yet all in its place
//! volumes/.new-…, .gone-…     one that is being made or removed; remains, where nobody holds its lock
//! ```
//!
//! Whoever starts or runs a container shares a lock of the kernel's on the directory of each of its volumes, and so does whoever
//! writes one out or brings it in; whoever makes or removes one has it alone. There is no other lock: what one volume is about
//! hinders nobody who uses another.

mod apart;
mod fill;
mod filter;
mod lease;
mod local;
mod make;
mod prune;
mod record;
mod remove;
mod settle;
#[cfg(test)]
mod tests;
mod transfer;
mod users;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use runtime::ErrorKind;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

pub use self::apart::{change_volume, is_volume_verb};
pub use self::filter::VolumeFilter;
pub(crate) use self::lease::{Filling, VolumeLeases};
pub use self::make::{CreatedVolume, NewVolume};
pub use self::prune::{PrunedVolumes, UnneededVolumes};
use self::record::Record;
pub(crate) use self::settle::settle;
pub use self::users::{VolumeUsage, VolumeUsers};
pub(crate) use self::users::{running, sweep_after};
use crate::directories::{self, Durability, Lock, sync};
use crate::error::{Error, Result};
use crate::events::{Event, EventLog};
use crate::images::{data_directory, enter_own_users};

/// What containers see of a volume.
const DATA: &str = "_data";

/// The volumes of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStore {
    path: PathBuf,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Seconds since 1970 at which it was made.
    pub created: u64,
    /// Whether it was made for one container, and nobody has named it.
    pub is_anonymous: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What is mounted there, where it is no directory of its own.
    pub options: BTreeMap<String, String>,
    /// Where what is in it is on the host.
    pub mountpoint: PathBuf,
}

/// Which volumes there are.
#[derive(Debug)]
pub struct VolumeSurvey {
    /// Those, sorted by their names.
    pub volumes: Vec<Volume>,
    /// Why others can't be looked at.
    pub damaged: Vec<Error>,
}

impl VolumeStore {
    /// Those below `root`, or where the caller's are without a word. Nothing is made.
    pub fn of(root: Option<&Path>) -> Result<VolumeStore> {
        Ok(VolumeStore { path: data_directory(root)?.join("volumes") })
    }

    /// As [`VolumeStore::of`], for somebody who reads or removes what is in them: without root this process, which must have one
    /// thread, enters a user namespace for good.
    pub fn open(root: Option<&Path>) -> Result<VolumeStore> {
        let store = VolumeStore::of(root)?;
        enter_own_users()?;
        Ok(store)
    }

    /// Those beside the images of a store.
    pub(crate) fn beside(images: &Path) -> VolumeStore {
        VolumeStore { path: images.with_file_name("volumes") }
    }

    /// Tells what has become of a volume.
    fn tell(&self, action: &str, name: &str) {
        self.events().tell(&Event::now("volume", action, name).with("driver", "local"));
    }

    fn events(&self) -> EventLog {
        EventLog::beside(&self.path)
    }

    /// Where they are.
    pub(crate) fn path_mut(&mut self) -> &mut PathBuf {
        &mut self.path
    }

    /// All of them.
    pub fn survey(&self) -> Result<VolumeSurvey> {
        let mut survey = VolumeSurvey { volumes: Vec::new(), damaged: Vec::new() };
        for name in self.names()? {
            match self.get(&name) {
                Ok(volume) => survey.volumes.extend(volume),
                Err(error) => survey.damaged.push(error),
            }
        }
        survey.volumes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(survey)
    }

    /// The one of this name, if it is there.
    pub fn get(&self, name: &str) -> Result<Option<Volume>> {
        if crate::options::check_volume_name(name).is_err() {
            return Ok(None);
        }
        let directory = self.path.join(name);
        Ok(Record::read(&directory)?.map(|record| record.into_volume(&directory)))
    }

    /// The one of this name, which must be there.
    pub fn find(&self, name: &str) -> Result<Volume> {
        self.get(name)?.ok_or_else(|| no_such(&format!("find the volume `{}`", name.escape_debug())))
    }

    /// How many bytes the files in a volume have.
    pub fn size(&self, volume: &Volume) -> Result<u64> {
        crate::kept::bytes_below(std::slice::from_ref(&volume.mountpoint))
    }

    /// The names of those that are there.
    fn names(&self) -> Result<Vec<String>> {
        let names = directories::names(&self.path)?.into_iter();
        Ok(names.filter(|name| crate::options::check_volume_name(name).is_ok()).collect())
    }

    /// A lock on the directory of a volume that is there.
    fn lock(&self, name: &str, operation: FlockOperation) -> Result<Lock> {
        directories::lock(&self.path.join(name), operation)
    }
}

fn no_such(operation: &str) -> Error {
    let error = Error::new(ErrorKind::NotFound, operation, "there is no such volume");
    error.with_hint("`rabbitc volume ls` lists those that are there")
}

/// Bytes of `COUNT` as hexadecimal digits.
fn random_name<const COUNT: usize>() -> Result<String> {
    let bytes = sys::random::bytes::<COUNT>().map_err(|error| Error::system("choose a name", error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The lock of whoever fills a volume or mounts something on it.
fn lock_content(directory: &Path) -> Result<File> {
    directories::lock_file(&directory.join("lock"))
}
