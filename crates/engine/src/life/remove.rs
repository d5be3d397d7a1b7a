//! Removing a container, whatever its state.

use runtime::lifecycle;
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, ErrorKind};

use super::{Patience, StopRequest};
use crate::error::{Error, Result};
use crate::kept::{Kept, KeptContainers, KeptState};
use crate::paths::EnginePaths;

/// How insistent a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// One that runs is refused.
    OfEnded,
    /// One that runs has so long to stop, and is killed then.
    Stopping(Patience),
}

impl KeptContainers {
    /// Ends a container that is to be removed, if it runs and that is wanted.
    pub fn make_removable(&self, kept: &Kept, removal: Removal, paths: &EnginePaths) -> Result<()> {
        if self.heal(std::slice::from_ref(kept), paths)? && is_there(&kept.id, paths)? {
            // Whoever was to take it over has died, too. Where nothing of it is there it has ended, and only that could not be
            // written down, as on a full disk.
            let reason = "nobody stands behind it, though it may run";
            let operation = format!("remove the container `{}`", kept.shown_name());
            return Err(Error::new(ErrorKind::WrongStatus, operation, reason).with_hint("try it again"));
        }
        if !kept.state.is_up() {
            return self.end(kept, StopRequest::default(), paths).map(drop);
        }
        let Removal::Stopping(patience) = removal else {
            let operation = format!("remove the container `{}`", kept.shown_name());
            let state = if kept.state == KeptState::Running { "running" } else { "restarting" };
            let reason = format!("container is {state}");
            let hint =
                format!("stop it with `rabbitc stop {}`, or remove it with `--force`", kept.shown_name());
            return Err(Error::new(ErrorKind::WrongStatus, operation, reason).with_hint(hint));
        };
        self.end(kept, StopRequest { signal: None, patience: Some(patience) }, paths).map(drop)
    }

    /// Removes what commands that were killed have left of containers that run no more; what failed.
    pub fn sweep_ended(&self, paths: &EnginePaths) -> Vec<Error> {
        let mut failures = Vec::new();
        crate::container::sweep(paths, &mut |error| failures.push(error));
        failures
    }

    /// Removes a container that has ended, with what it has written; one that went by itself is removed.
    pub fn remove_removable(&self, kept: &Kept) -> Result<()> {
        match self.remove(kept) {
            Err(error) if error.kind == ErrorKind::NotFound && kept.goes_by_itself() => Ok(()),
            removed => removed,
        }
    }

    /// Removes whoever has this name, if anybody has.
    pub fn remove_named(&self, name: &str, paths: &EnginePaths) -> Result<()> {
        let name = crate::kept::parse_name(name)?;
        if self.holder_of(&name)?.is_none() {
            return Ok(());
        }
        let kept = self.find_living(&name, paths)?;
        self.make_removable(&kept, Removal::Stopping(Patience::For(std::time::Duration::ZERO)), paths)?;
        self.remove_removable(&kept)
    }
}

/// Whether the host has anything of it.
fn is_there(id: &str, paths: &EnginePaths) -> Result<bool> {
    match lifecycle::view(&StateRoot::new(paths.containers()), &ContainerId::parse(id)?) {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
        _ => Ok(true),
    }
}
