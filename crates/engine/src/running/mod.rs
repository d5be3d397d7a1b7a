//! What is done with containers that run, one file a verb, and how a container is found by what a person calls it. Must not start or
//! remove one.

mod basis;
mod copy;
mod exec;
mod exposed;
mod limits;
mod ports;
mod processes;
mod publish;
mod signal;
mod usage;
mod wait;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use runtime::layers::Layers;
use runtime::lifecycle::{self, Status, View};
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, ErrorKind};

pub(crate) use self::basis::Basis;
pub use self::copy::{CopyEnd, CopyRequest, copy, copy_apart, is_copy_verb};
pub use self::exec::{ExecOutcome, ExecRequest, Execution, exec_exit_code};
pub use self::exposed::{ExposedFilter, ExposedPort, Exposure, Wall};
pub use self::limits::{UpdateRequest, Updated};
pub(crate) use self::ports::PublishedPort;
pub use self::ports::{PortMapping, WantedPort};
pub use self::processes::Descriptor;
pub use self::publish::PortChange;
pub(crate) use self::publish::hold_again;
pub use self::usage::{Usage, memory_of_host};
pub use self::wait::{WaitCondition, Waited};
use crate::error::{Error, Result};
use crate::events::Subject;
use crate::kept::{Kept, KeptContainers, KeptState, Shown};
use crate::life::bring_back;
use crate::paths::EnginePaths;

/// The containers of the caller: those that run, and those that are kept.
#[derive(Debug, Clone)]
pub struct Containers {
    paths: EnginePaths,
    kept: KeptContainers,
}

/// A container that was found.
#[derive(Debug)]
pub struct Found {
    /// Its id.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What there is of it while it runs or is paused.
    view: Option<View>,
    /// What is kept of it.
    kept: Option<Kept>,
    containers: KeptContainers,
    state: StateRoot,
}

impl Containers {
    /// Those that run by `paths`, and those that are kept below `root`, or where the caller's are without a word. Nothing is made.
    pub fn of(paths: &EnginePaths, root: Option<&Path>) -> Result<Containers> {
        Ok(Containers { paths: paths.clone(), kept: KeptContainers::of(root)? })
    }

    /// The same of containers that are known.
    pub(crate) fn of_kept(paths: &EnginePaths, kept: KeptContainers) -> Containers {
        Containers { paths: paths.clone(), kept }
    }

    /// The one that is called so: by its id, its name, or the beginning of its id, in this order.
    pub fn find(&self, called: &str) -> Result<Found> {
        let id = self.kept.id_of(called, || self.running_ids())?.ok_or_else(|| not_found(called))?;
        self.look(&id)?.ok_or_else(|| not_found(called))
    }

    /// The one that was made last, in whatever state.
    pub fn latest(&self) -> Result<Found> {
        self.all()?.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "find the latest container", "there are no containers")
        })
    }

    /// All of them, the newest first; one that goes meanwhile, or whose record can't be read, hides no others.
    pub fn all(&self) -> Result<Vec<Found>> {
        let ids: BTreeSet<String> = self.running_ids()?.into_iter().chain(self.kept.ids()?).collect();
        let mut found: Vec<Found> = ids.iter().filter_map(|id| self.look(id).ok().flatten()).collect();
        found.sort_by(|one, other| other.created().cmp(&one.created()).then_with(|| one.id.cmp(&other.id)));
        Ok(found)
    }

    /// Those that run or are paused.
    pub fn running(&self) -> Result<Vec<Found>> {
        let mut found = self.all()?;
        found.retain(Found::is_up);
        Ok(found)
    }

    /// The ids of all that run, and of others that there is a record of.
    fn running_ids(&self) -> Result<Vec<String>> {
        let running = StateRoot::new(self.paths.containers()).list()?;
        Ok(running.iter().map(ToString::to_string).collect())
    }

    /// What there is of a container; nothing where it is neither up nor kept.
    fn look(&self, id: &str) -> Result<Option<Found>> {
        let mut kept = self.kept.kept(id)?;
        if let Some(found) = &kept
            && self.kept.heal(std::slice::from_ref(found), &self.paths)?
        {
            kept = self.kept.kept(id)?;
        }
        if let Some(found) = kept.as_ref().filter(|found| found.state == KeptState::Running) {
            // Where that fails, it is as it was before.
            let _ = bring_back(id, &found.directory, &self.paths);
        }
        let state = StateRoot::new(self.paths.containers());
        let is_up = |view: &View| matches!(view.status, Status::Running | Status::Paused);
        let view = match ContainerId::parse(id).and_then(|id| lifecycle::view(&state, &id)) {
            Ok(view) => Some(view).filter(is_up),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if view.is_none() && kept.is_none() {
            return Ok(None);
        }
        let named = |view: &View| serde_json::from_value::<Shown>(view.record.caller.clone()).ok();
        let name = match &kept {
            Some(kept) => Some(kept.name.clone()),
            None => view.as_ref().and_then(named).map(|shown| shown.name),
        };
        let name = name.filter(|name| !name.is_empty());
        let mut found = Found { id: id.to_owned(), name, view, kept, containers: self.kept.clone(), state };
        found.heal_ports();
        Ok(Some(found))
    }
}

fn not_found(called: &str) -> Error {
    let operation = format!("find the container `{}`", called.escape_debug());
    Error::new(ErrorKind::NotFound, operation, "no such container")
        .with_hint("`rabbitc ps -a` lists those that there are")
}

impl Found {
    /// What people call it: its name, or the beginning of its id.
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.id.get(..12).unwrap_or(&self.id))
    }

    /// Whether it runs or is paused.
    pub fn is_up(&self) -> bool {
        self.view.is_some()
    }

    /// Whether its processes stand still.
    pub fn is_paused(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.status == Status::Paused)
    }

    /// Nanoseconds since 1970 at which it was made.
    pub fn created(&self) -> u64 {
        let of_view = || self.view.as_ref().map(|view| view.record.created.saturating_mul(1_000_000_000));
        self.kept.as_ref().map(|kept| kept.record.created).or_else(of_view).unwrap_or_default()
    }

    /// How it is, in docker's words: `created`, `running`, `paused`, `restarting` or `exited`.
    pub fn status(&self) -> &'static str {
        match (&self.view, self.kept_state()) {
            (Some(_), _) if self.is_paused() => "paused",
            (Some(_), _) => "running",
            (None, Some(KeptState::Created)) => "created",
            (None, Some(KeptState::Restarting { .. })) => "restarting",
            (None, _) => "exited",
        }
    }

    /// What a listing shows of it.
    pub(crate) fn shown(&self) -> Shown {
        match &self.view {
            Some(view) => serde_json::from_value(view.record.caller.clone()).unwrap_or_default(),
            None => Shown::default(),
        }
    }

    /// What is kept of it.
    pub(crate) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// The containers that it is one of.
    pub(crate) fn containers(&self) -> &KeptContainers {
        &self.containers
    }

    /// What events tell of it; nothing of one of which nothing is kept.
    fn subject(&self) -> Option<Subject> {
        self.kept.as_ref().map(Kept::subject)
    }

    fn tell_with<'a>(&self, action: &str, more: impl IntoIterator<Item = (&'a str, String)>) {
        if let Some(subject) = self.subject() {
            subject.tell_with(action, more);
        }
    }

    /// How one that is kept has ended.
    fn kept_state(&self) -> Option<KeptState> {
        self.kept.as_ref().map(|kept| kept.state)
    }

    fn runtime_id(&self) -> Result<ContainerId> {
        ContainerId::parse(&self.id)
    }

    /// What there is of it, for something that `operation` does only with one that runs or is paused.
    pub(crate) fn up(&self, operation: &str) -> Result<&View> {
        self.view.as_ref().ok_or_else(|| self.not_running(operation, "is not running"))
    }

    /// The same with its first process, which is held to be the one that was found.
    fn first(&self, operation: &str) -> Result<(&View, OwnedFd)> {
        let view = self.up(operation)?;
        match lifecycle::init(&view.record) {
            Some(pidfd) => Ok((view, pidfd)),
            None => Err(self.has_ended(operation)),
        }
    }

    /// What is opened by the pid of its first process, and is that process's own: by then its number may have been another's.
    pub(crate) fn of_first<T>(&self, operation: &str, open: impl FnOnce(i32) -> Result<T>) -> Result<T> {
        let (view, first) = self.first(operation)?;
        let opened = open(view.record.pid);
        match lifecycle::has_ended(first.as_fd()) {
            true => Err(self.has_ended(operation)),
            false => opened,
        }
    }

    fn has_ended(&self, operation: &str) -> Error {
        self.not_running(operation, "is not running: it has just ended")
    }

    fn not_running(&self, operation: &str, how: &str) -> Error {
        self.wrong(operation, how).with_hint("`rabbitc ps` lists those that run")
    }

    /// It is not as it must be for `operation`.
    pub(crate) fn wrong(&self, operation: &str, how: &str) -> Error {
        let operation = format!("{operation} `{}`", self.called());
        Error::new(ErrorKind::WrongStatus, operation, format!("container {} {how}", self.id))
    }
}

/// The root of process `pid`.
fn root_of(pid: i32) -> Result<Layers> {
    Layers::open([Path::new(&format!("/proc/{pid}/root"))])
}
