//! Pods: containers that share namespaces, which a small container without a program keeps, the infra container. Which containers a pod
//! has is told by the containers' records alone; how a pod is follows from them.
//!
//! ```text
//! pods/ID/pod.json    what is known of it
//! pods/ID/edit        whose lock those have who change that
//! pods/ID/group       shared by those who start a container in its cgroup, had alone by who removes that
//! pods/.root          the empty root of the containers that keep namespaces
//! ```
//!
//! Whoever puts a container into a pod shares a lock of the kernel's on the pod's directory; whoever makes or removes a pod has it
//! alone. A pod that is only half made, or half gone, says so in its record, and the next command that looks at pods removes it.

mod act;
mod create;
mod filter;
mod group;
mod inspect;
mod join;
mod list;
mod record;
mod remove;

use std::path::PathBuf;
use std::time::Duration;

use runtime::ErrorKind;
use rustix::fs::FlockOperation;

pub use self::create::{InfraName, NewPod};
pub use self::filter::PodFilter;
pub(crate) use self::group::{after_end, after_start, before_start, leave_group};
pub use self::join::PodEntry;
pub use self::list::{ListedPod, PodState};
pub(crate) use self::record::Record as PodRecord;
use self::record::Record;
pub use self::record::{ExitPolicy, Shared};
use crate::directories::{Lock, lock, names};
use crate::error::{Error, Result};
use crate::events::EventLog;
use crate::kept::{Kept, KeptContainers, PodRole, is_id};
use crate::paths::EnginePaths;

/// The directory of all pods, beside that of the containers.
const PODS: &str = "pods";

/// How long whoever makes or removes a pod is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pods of the caller.
#[derive(Debug, Clone)]
pub struct Pods {
    containers: KeptContainers,
    path: PathBuf,
}

/// A pod, and its containers.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its containers, those that were made first in front.
    pub containers: Vec<Kept>,
    record: Record,
}

/// Pods, and those of which nobody can tell what they are.
#[derive(Debug)]
pub struct PodSurvey {
    /// The newest first.
    pub pods: Vec<Pod>,
    /// Why others can't be looked at.
    pub damaged: Vec<Error>,
}

impl Pods {
    /// Those beside these containers. Nothing is made.
    pub fn of(containers: &KeptContainers) -> Pods {
        Pods { path: containers.data().join(PODS), containers: containers.clone() }
    }

    /// The containers that their containers are among.
    pub fn containers(&self) -> &KeptContainers {
        &self.containers
    }

    /// Where it is told what becomes of them.
    pub(crate) fn events(&self) -> EventLog {
        EventLog::beside(&self.path)
    }

    fn directory(&self, id: &str) -> PathBuf {
        self.path.join(id)
    }

    /// The names of those that are whole, as they are read; nothing is removed or brought to life.
    pub fn names(&self) -> Result<Vec<String>> {
        let records = self.ids()?.into_iter().filter_map(|id| Record::read(&self.directory(&id)).ok()?);
        let mut names: Vec<String> = records.filter(Record::is_settled).map(|record| record.name).collect();
        names.sort();
        Ok(names)
    }

    fn ids(&self) -> Result<Vec<String>> {
        Ok(names(&self.path)?.into_iter().filter(|name| is_id(name)).collect())
    }

    /// All of them, with somebody behind each container that runs. What killed commands have left is removed on the way.
    pub fn survey(&self, paths: &EnginePaths) -> Result<PodSurvey> {
        let mut survey = PodSurvey { pods: Vec::new(), damaged: Vec::new() };
        let ids = self.ids()?;
        if ids.is_empty() {
            return Ok(survey);
        }
        let all = self.containers.living(paths)?;
        for id in ids {
            match self.look(&id, &all, paths) {
                Ok(pod) => survey.pods.extend(pod),
                Err(error) => survey.damaged.push(error),
            }
        }
        let made = |pod: &Pod| pod.record.created;
        survey.pods.sort_by(|one, other| made(other).cmp(&made(one)).then_with(|| one.id.cmp(&other.id)));
        Ok(survey)
    }

    /// The one that is called so: by its id, its name, or the beginning of its id.
    pub fn find(&self, called: &str, paths: &EnginePaths) -> Result<Pod> {
        let none = || {
            let operation = format!("find the pod `{}`", called.escape_debug());
            let reason = format!("no pod with name or ID {} found: no such pod", called.escape_debug());
            let error = Error::new(ErrorKind::NotFound, operation, reason);
            error.with_hint("`rabbitc pod ps` lists those that there are")
        };
        let id = self.id_of(called)?.ok_or_else(none)?;
        let all = self.containers.living(paths)?;
        self.look(&id, &all, paths)?.ok_or_else(none)
    }

    /// The pod that a container keeps the namespaces of, if it does that for one that is still there.
    pub fn kept_by(&self, kept: &Kept, paths: &EnginePaths) -> Result<Option<Pod>> {
        match &kept.record.pod {
            Some(pod) if pod.role == PodRole::Infra && self.directory(&pod.id).exists() => {
                let all = self.containers.living(paths)?;
                self.look(&pod.id, &all, paths)
            }
            _ => Ok(None),
        }
    }

    fn id_of(&self, called: &str) -> Result<Option<String>> {
        if called.is_empty() {
            return Ok(None);
        }
        let mut ids: Vec<String> = self.ids()?.into_iter().filter(|id| id.starts_with(called)).collect();
        if let Some(whole) = ids.iter().position(|id| id == called) {
            return Ok(Some(ids.swap_remove(whole)));
        }
        if let Some(named) = self.containers.pod_called(called)? {
            return Ok(Some(named));
        }
        match ids.len() {
            0 | 1 => Ok(ids.pop()),
            number => {
                let operation = format!("find the pod `{}`", called.escape_debug());
                let reason = format!("more than one result for ID or name: {number} begin so");
                Err(Error::invalid(operation, reason).with_hint("write more of the id"))
            }
        }
    }

    /// A pod with its containers, which are among `all`; none where it is gone, or has only been half made.
    fn look(&self, id: &str, all: &[Kept], paths: &EnginePaths) -> Result<Option<Pod>> {
        let directory = self.directory(id);
        let Some(record) = Record::read(&directory)? else { return Ok(None) };
        let own = |kept: &&Kept| kept.record.pod.as_ref().is_some_and(|pod| pod.id == id);
        let mut containers: Vec<Kept> = all.iter().filter(own).cloned().collect();
        containers.sort_by_key(|kept| kept.record.created);
        let pod = Pod { id: id.to_owned(), name: record.name.clone(), containers, record };
        if pod.record.is_settled() {
            return Ok(Some(pod));
        }
        // Whoever makes or removes it is at work, or was killed.
        if let Lock::Held(_lock) = lock(&directory, FlockOperation::NonBlockingLockExclusive)? {
            self.remove_rest(&pod, paths)?;
        }
        Ok(None)
    }

    /// A lock on a pod's directory, which somebody else may be waited for.
    fn lock(&self, id: &str, operation: FlockOperation) -> Result<Lock> {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            match lock(&self.directory(id), operation)? {
                Lock::Busy if std::time::Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                found => return Ok(found),
            }
        }
    }
}

impl Pod {
    /// The container that keeps its namespaces, if it has one.
    pub fn infra(&self) -> Option<&Kept> {
        self.containers.iter().find(|kept| kept.record.is_infra())
    }

    /// The containers that people put there.
    pub fn ordinary(&self) -> impl Iterator<Item = &Kept> {
        self.containers.iter().filter(|kept| !kept.record.is_infra())
    }

    fn gone(&self) -> Error {
        let operation = format!("find the pod `{}`", self.name);
        Error::new(ErrorKind::NotFound, operation, "it has just been removed: no such pod")
    }
}
