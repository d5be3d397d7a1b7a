//! Making a volume: whole under a name that nobody looks at, then with its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FlockOperation, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{DATA, Durability, Lock, Record, Volume, VolumeStore, local, random_name, sync};
use crate::directories::{self, lock};
use crate::error::{Error, Result};
use crate::kept::{now, seconds};
use crate::options::{VOLUME_NAME_HINT, VolumeSettings, check_volume_name};

/// How the directories begin of volumes that are being made, and that are being removed.
pub(super) const DRAFT: &str = ".new-";
pub(super) const GONE: &str = ".gone-";

/// As long somebody may take from making a directory to locking it.
const LOCKED_BY_THEN: Duration = Duration::from_secs(60);

/// A volume that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewVolume {
    /// Its name; without it, it gets one of 64 random digits.
    pub name: Option<String>,
    /// `type`, `device` and `o`, as docker's driver `local` has them.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatedVolume {
    /// It is new.
    Made(Volume),
    /// There was one of that name, which is left as it was.
    Found(Volume),
}

impl VolumeStore {
    /// Makes a volume, unless there is one of that name.
    pub fn create(&self, new: &NewVolume) -> Result<CreatedVolume> {
        let is_anonymous = new.name.is_none();
        let name = new.name.clone().map_or_else(random_name::<32>, Ok)?;
        if let Err(reason) = check_volume_name(&name) {
            let operation = format!("create the volume `{}`", name.escape_debug());
            return Err(Error::invalid(operation, reason).with_hint(VOLUME_NAME_HINT));
        }
        local::check(&new.options)?;
        if let Some(found) = self.get(&name)? {
            return Ok(CreatedVolume::Found(found));
        }
        let settings = VolumeSettings { options: new.options.clone(), labels: new.labels.clone() };
        let record = record(&name, is_anonymous, &settings);
        let is_made = self.make(&record, Durability::Power)?;
        let volume = record.into_volume(&self.path.join(&name));
        Ok(match is_made {
            true => CreatedVolume::Made(volume),
            false => CreatedVolume::Found(self.get(&name)?.unwrap_or(volume)),
        })
    }

    /// Makes one; says whether it did, and nobody else was quicker.
    pub(super) fn make(&self, record: &Record, durability: Durability) -> Result<bool> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| Error::at_path("make", &self.path, error))?;
        self.sweep();
        let draft = Draft::begin(&self.path)?;
        let data = draft.path.join(DATA);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::create_dir(&data)
            .and_then(|()| std::fs::set_permissions(&data, mode))
            .map_err(|error| Error::at_path("make", &data, error))?;
        record.write(&draft.path, durability)?;
        if durability == Durability::Power {
            sync(&draft.path)?;
        }
        let path = self.path.join(&record.name);
        match renameat_with(CWD, &draft.path, CWD, &path, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => return Ok(false),
            renamed => renamed.map_err(|error| Error::at_path("make", &path, error))?,
        }
        if durability == Durability::Power {
            sync(&self.path)?;
        }
        self.tell("create", &record.name);
        Ok(true)
    }

    /// Removes what commands that were killed have left half made or half removed. What can't be removed stays for the next one.
    pub(super) fn sweep(&self) {
        let remains = |name: &String| name.starts_with(DRAFT) || name.starts_with(GONE);
        for name in directories::names(&self.path).unwrap_or_default().into_iter().filter(remains) {
            let path = self.path.join(name);
            if is_fresh(&path) {
                continue;
            }
            if let Ok(Lock::Held(_lock)) = lock(&path, FlockOperation::NonBlockingLockExclusive) {
                let _ = super::remove::remove_tree(&path);
            }
        }
    }
}

/// A record of now.
pub(super) fn record(name: &str, anonymous: bool, settings: &VolumeSettings) -> Record {
    Record {
        name: name.to_owned(),
        created: seconds(now()),
        anonymous,
        labels: settings.labels.clone(),
        options: settings.options.clone(),
    }
}

/// Whether somebody may just have made it, and not yet have locked it: there is nothing in it then.
fn is_fresh(path: &Path) -> bool {
    let is_empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let made = std::fs::symlink_metadata(path).and_then(|found| found.modified());
    let age = made.ok().and_then(|made| SystemTime::now().duration_since(made).ok());
    is_empty && age.is_none_or(|age| age < LOCKED_BY_THEN)
}

/// A volume that is being made: what stays of it goes with this value.
struct Draft {
    path: PathBuf,
    _lock: File,
}

impl Draft {
    fn begin(volumes: &Path) -> Result<Draft> {
        let path = volumes.join(format!("{DRAFT}{}", random_name::<8>()?));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Error::at_path("make", &path, error))?;
        match lock(&path, FlockOperation::NonBlockingLockExclusive)? {
            Lock::Held(lock) => Ok(Draft { path, _lock: lock }),
            // It is fresh, and its name is known to nobody: only a clock that was put forward lets somebody sweep it.
            Lock::Busy | Lock::Gone => Err(Error::at_path("lock", &path, Errno::NOENT)),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Best effort on the way out of an error; where the volume has its name, there is nothing here any more.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
