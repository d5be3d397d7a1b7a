//! `kill`, `pause` and `unpause`: a signal for a container's first process, and all its processes made to stand still.

use runtime::{ErrorKind, Signal, lifecycle};

use super::Found;
use crate::error::{Error, Result};

impl Found {
    /// Sends a signal to its first process; SIGKILL also ends one that is paused.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let operation = "kill";
        self.up(operation)?;
        // Where containers are started again by themselves, this is the place to note that a person has ended this one.
        lifecycle::kill(&self.state, &self.runtime_id()?, signal, lifecycle::Target::Init).map_err(|error| {
            match error.kind {
                ErrorKind::WrongStatus => self.has_ended(operation),
                _ => error,
            }
        })
    }

    /// Makes all of its processes stand still.
    pub fn pause(&self) -> Result<()> {
        self.up("pause")?;
        if self.is_paused() {
            let hint = format!("`rabbitc unpause {}` lets it go on", self.called());
            return Err(self.wrong("pause", "is already paused").with_hint(hint));
        }
        lifecycle::pause(&self.state, &self.runtime_id()?)
    }

    /// Lets them go on.
    pub fn unpause(&self) -> Result<()> {
        self.up("unpause")?;
        if !self.is_paused() {
            return Err(self.wrong("unpause", "is not paused").with_hint("it runs"));
        }
        lifecycle::resume(&self.state, &self.runtime_id()?)
    }

    fn wrong(&self, verb: &str, what: &str) -> Error {
        let operation = format!("{verb} `{}`", self.called());
        Error::new(ErrorKind::WrongStatus, operation, format!("container {} {what}", self.id))
    }
}
