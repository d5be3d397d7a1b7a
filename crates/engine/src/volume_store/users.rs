//! Which containers have which volumes: told by the records of those that are kept and of those that run.

use std::collections::BTreeMap;
use std::path::Path;

use runtime::lifecycle::{self, Status};
use runtime::state_dir::StateRoot;

use super::VolumeStore;
use super::lease::OwnVolumes;
use crate::error::{Error, Result};
use crate::kept::{Kept, KeptContainers, Record, Shown, Stay};
use crate::options::{MountKind, MountRequest, VolumeRequest};
use crate::paths::EnginePaths;

/// Containers, by the volumes that they have.
#[derive(Debug, Default)]
pub struct VolumeUsers {
    /// Their ids.
    pub(super) by_name: BTreeMap<String, Vec<String>>,
    /// Why it is not known what volumes another container has.
    pub damaged: Option<Error>,
}

impl VolumeUsers {
    /// Those of one volume, by their ids.
    pub fn of(&self, name: &str) -> Vec<String> {
        self.by_name.get(name).cloned().unwrap_or_default()
    }

    /// Whether a container is known to have it.
    pub fn is_needed(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Without one container.
    pub(super) fn without(mut self, id: &str) -> VolumeUsers {
        for ids in self.by_name.values_mut() {
            ids.retain(|user| user != id);
        }
        self.by_name.retain(|_, ids| !ids.is_empty());
        self
    }

    fn add(&mut self, id: &str, mounts: &[MountRequest]) {
        for name in names(mounts) {
            let ids = self.by_name.entry(name.to_owned()).or_default();
            if !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
    }
}

/// How much room a volume takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUsage {
    /// Its name.
    pub name: String,
    /// How many containers have it.
    pub links: usize,
    /// Bytes of what is in it.
    pub bytes: u64,
}

/// The volumes among mounts, each with where it is.
fn volumes(mounts: &[MountRequest]) -> impl Iterator<Item = (&Path, &VolumeRequest)> {
    mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind(bind) => Some((bind.source.as_path(), bind.volume.as_ref()?)),
        MountKind::Tmpfs(_) => None,
    })
}

/// Their names.
pub(super) fn names(mounts: &[MountRequest]) -> impl Iterator<Item = &str> {
    volumes(mounts).filter_map(|(_, volume)| volume.name.as_deref())
}

/// Those of them that nobody has named: where each is, and its name.
fn own(mounts: &[MountRequest]) -> impl Iterator<Item = (&Path, &str)> {
    let own = volumes(mounts).filter(|(_, volume)| volume.anonymous);
    own.filter_map(|(source, volume)| Some((source, volume.name.as_deref()?)))
}

impl VolumeStore {
    /// How much room each takes.
    pub fn usage(&self, paths: &EnginePaths) -> Result<Vec<VolumeUsage>> {
        let users = self.users(paths)?;
        let volumes = self.survey()?.volumes.into_iter();
        // This only informs: what somebody removes meanwhile is not counted.
        let usage = volumes.map(|volume| VolumeUsage {
            links: users.of(&volume.name).len(),
            bytes: self.size(&volume).unwrap_or(0),
            name: volume.name,
        });
        Ok(usage.collect())
    }

    /// The containers that have volumes: those that are kept beside them, and those that run.
    pub fn users(&self, paths: &EnginePaths) -> Result<VolumeUsers> {
        let mut users = self.kept_users()?;
        for (id, shown) in running(paths)? {
            users.add(&id, &shown.mounts);
        }
        Ok(users)
    }

    /// Those of them that have records beside the volumes.
    pub(super) fn kept_users(&self) -> Result<VolumeUsers> {
        let mut users = VolumeUsers::default();
        let survey = KeptContainers::beside(&self.path).survey()?;
        for kept in &survey.kept {
            users.add(&kept.id, kept.mounts());
        }
        users.damaged = survey.damaged.into_iter().next().map(|damaged| damaged.error);
        Ok(users)
    }
}

impl KeptContainers {
    /// Removes the own volumes of a container that was removed, unless others have them.
    pub fn remove_volumes_of(&self, kept: &Kept, paths: &EnginePaths) -> Result<()> {
        let store = VolumeStore::beside(self.path());
        own(kept.mounts()).try_for_each(|(_, name)| store.remove_after(name, &kept.id, Some(paths)))
    }

    /// Gives the volumes back of a container that has ended, and was left to its record; its own go with one that goes.
    pub(crate) fn end_volumes(&self, record: &Record, paths: &EnginePaths) -> Vec<Error> {
        let store = VolumeStore::beside(self.path());
        let own = match record.stay {
            Stay::Kept => OwnVolumes::Stay,
            Stay::Removed => OwnVolumes::Go,
        };
        let given_back = volumes(&record.shown.mounts).filter_map(|(_, volume)| {
            let name = volume.name.as_deref()?;
            store.give_back(name, own.fate(volume.anonymous), &record.id, paths).err()
        });
        given_back.collect()
    }

    /// Removes the own volumes of a container whose command was killed, which would have removed them.
    pub(crate) fn sweep_volumes(&self, record: &Record) -> Vec<Error> {
        let store = VolumeStore::beside(self.path());
        let removed = own(&record.shown.mounts).map(|(_, name)| store.remove_after(name, &record.id, None));
        removed.filter_map(Result::err).collect()
    }
}

/// The same for one that had no record but that of its run, which is swept; what is kept tells of its own volumes itself.
pub(crate) fn sweep_after(id: &str, mounts: &[MountRequest], paths: &EnginePaths) -> Vec<Error> {
    let mut failures = Vec::new();
    for (data, name) in own(mounts) {
        let Some(volumes) = data.ancestors().nth(2) else { continue };
        let store = VolumeStore { path: volumes.to_owned() };
        match KeptContainers::beside(volumes).read(id) {
            Ok(None) => failures.extend(store.remove_after(name, id, Some(paths)).err()),
            Ok(Some(_)) => {}
            Err(error) => failures.push(error),
        }
    }
    failures
}

/// What is shown of the containers that run.
pub(crate) fn running(paths: &EnginePaths) -> Result<Vec<(String, Shown)>> {
    let root = StateRoot::new(paths.containers());
    let mut found = Vec::new();
    for id in root.list()? {
        // Removed in between, or of another version.
        let Ok(view) = lifecycle::view(&root, &id) else { continue };
        if view.status != Status::Stopped {
            found.push((id.to_string(), serde_json::from_value(view.record.caller).unwrap_or_default()));
        }
    }
    Ok(found)
}
