//! Removing pods: the containers that people put there, then what keeps the namespaces, the cgroup, the name, the record.

use std::time::Duration;

use runtime::ErrorKind;
use rustix::fs::FlockOperation;

use super::record::{Record, Stage};
use super::{Pod, Pods};
use crate::directories::{Durability, Lock, remove_file};
use crate::error::{Code, Error, Result};
use crate::kept::{Kept, KeptContainers};
use crate::life::{Patience, Removal};
use crate::paths::EnginePaths;

impl Pods {
    /// Ends the containers of a pod that is to be removed, if they run and that is wanted; what failed.
    pub fn make_removable(&self, pod: &Pod, removal: Removal, paths: &EnginePaths) -> Vec<Error> {
        let mut failures = Vec::new();
        let runs: Vec<String> = pod.ordinary().filter(|kept| kept.state.is_up()).map(still_runs).collect();
        if removal == Removal::OfEnded && !runs.is_empty() {
            let operation = format!("remove the pod `{}`", pod.name);
            let reason = format!(
                "not all containers could be removed from pod {}: removing pod containers: {}",
                pod.id,
                runs.join("; ")
            );
            let error = Error::new(ErrorKind::WrongStatus, operation, reason);
            return vec![error.with_hint("stop it with `rabbitc pod stop`, or remove it with `--force`")];
        }
        let end = |kept: &Kept, removal: Removal| match self.containers.make_removable(kept, removal, paths) {
            Err(error) if error.kind == ErrorKind::NotFound => None,
            ended => ended.err(),
        };
        // All at once: each may take its seconds.
        std::thread::scope(|scope| {
            let begun: Vec<_> = pod.ordinary().map(|kept| scope.spawn(move || end(kept, removal))).collect();
            failures.extend(begun.into_iter().filter_map(|one| one.join().expect("it does not panic")));
        });
        // Nobody needs it any more.
        if let Some(infra) = pod.infra().filter(|_| failures.is_empty()) {
            let now = Removal::Stopping(Patience::For(Duration::from_secs(10)));
            // What it is told to keep up does not come back, as it is stopped.
            failures.extend(end(infra, now));
        }
        failures
    }

    /// Removes a pod whose containers have ended, with them.
    pub fn remove(&self, pod: &Pod, paths: &EnginePaths) -> Result<()> {
        let directory = self.directory(&pod.id);
        let _lock = match self.lock(&pod.id, FlockOperation::NonBlockingLockExclusive)? {
            Lock::Held(lock) => lock,
            Lock::Gone => return Err(pod.gone()),
            Lock::Busy => {
                let operation = format!("remove the pod `{}`", pod.name);
                let error = Error::new(ErrorKind::WrongStatus, operation, "somebody works on it");
                return Err(error.with_code(Code::InUse).with_hint("try it again"));
            }
        };
        let mut record = Record::read(&directory)?.ok_or_else(|| pod.gone())?;
        // Those that are there now: by the lock no more come.
        let containers = self.containers_of(&pod.id)?;
        for kept in containers.iter().filter(|kept| !kept.record.is_infra()) {
            match self.containers.remove_removable(kept) {
                Err(error) if error.kind == ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        record.stage = Stage::Going;
        record.write(&directory, Durability::Process)?;
        let rest = containers.into_iter().filter(|kept| kept.record.is_infra()).collect();
        self.remove_rest(&Pod { containers: rest, record, ..pod.clone() }, paths)
    }

    /// Removes what there is of a pod without ordinary containers, whose directory is held.
    pub(super) fn remove_rest(&self, pod: &Pod, paths: &EnginePaths) -> Result<()> {
        let at_once = Removal::Stopping(Patience::For(Duration::ZERO));
        for kept in &pod.containers {
            self.containers.make_removable(kept, at_once, paths)?;
            match self.containers.remove(kept) {
                Err(error) if error.kind == ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        self.remove_group(&pod.record)?;
        let directory = self.directory(&pod.id);
        self.containers.release_name(&pod.record.name, &pod.id);
        // The record at the last: as long as there is one, the next command finds the rest.
        for name in ["group", "edit", "pod.draft", "pod.json"] {
            remove_file(&directory.join(name))?;
        }
        match std::fs::remove_dir(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::at_path("remove", &directory, error));
            }
            _ => {}
        }
        if pod.record.stage == Stage::Going {
            // One that was never whole nobody has heard of.
            self.tell(&pod.record, "remove");
        }
        Ok(())
    }

    /// The containers of a pod as they are now, those that were made first in front.
    pub(super) fn containers_of(&self, id: &str) -> Result<Vec<Kept>> {
        let mut all = self.containers.list()?;
        all.retain(|kept| kept.record.pod.as_ref().is_some_and(|pod| pod.id == id));
        all.sort_by_key(|kept| kept.record.created);
        Ok(all)
    }

    /// For somebody who removes containers' files: without root this process enters a user namespace for good.
    pub fn open(root: Option<&std::path::Path>) -> Result<Pods> {
        Ok(Pods::of(&KeptContainers::open(root)?))
    }

    /// Removes directories of pods without a record that nobody holds, and the empty root where no pod is left.
    pub fn sweep(&self) -> Result<()> {
        for id in self.ids()? {
            let directory = self.directory(&id);
            if Record::read(&directory).is_ok_and(|record| record.is_none())
                && let Lock::Held(_lock) =
                    crate::directories::lock(&directory, FlockOperation::NonBlockingLockExclusive)?
            {
                for name in ["group", "edit", "pod.draft"] {
                    remove_file(&directory.join(name))?;
                }
                // Somebody may be making it again.
                let _ = std::fs::remove_dir(&directory);
            }
        }
        Ok(())
    }
}

/// Why a container of a pod is not removed, in podman's words.
fn still_runs(kept: &Kept) -> String {
    format!(
        "cannot remove container {} as it is running - running or paused containers cannot be removed without force: container \
         state improper",
        kept.id
    )
}
