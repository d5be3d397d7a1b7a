//! `kill`, `pause` and `unpause`: a signal for a container's first process, and all its processes made to stand still.

use runtime::{ErrorKind, Signal, lifecycle};

use super::Found;
use crate::error::Result;
use crate::kept::Wish;

impl Found {
    /// Sends a signal to its first process; SIGKILL also ends one that is paused.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let operation = "kill";
        self.up(operation)?;
        self.note_signal(signal)?;
        lifecycle::kill(&self.state, &self.runtime_id()?, signal, lifecycle::Target::Init).map_err(
            |error| match error.kind {
                ErrorKind::WrongStatus => self.has_ended(operation),
                _ => error,
            },
        )?;
        self.subject().iter().for_each(|subject| subject.tell_signal(signal));
        Ok(())
    }

    /// Writes down that a person has sent a signal, so that it is not started again by itself where that is to end it.
    fn note_signal(&self, signal: Signal) -> Result<()> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let own = kept.record.asked.as_ref().map(|asked| asked.options.process.stop_signal);
        let noted = self.containers.edit_to_end(&self.id, |record| {
            record.note_sent("kill", signal);
            if signal == Signal::KILL || Some(signal) == own {
                record.wish = Wish::Stop;
            }
        });
        match noted {
            // It has just gone by itself.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            noted => noted.map(drop),
        }
    }

    /// Makes all of its processes stand still.
    pub fn pause(&self) -> Result<()> {
        self.up("pause")?;
        if self.is_paused() {
            let hint = format!("`rabbitc unpause {}` lets it go on", self.called());
            return Err(self.wrong("pause", "is already paused").with_hint(hint));
        }
        lifecycle::pause(&self.state, &self.runtime_id()?)?;
        self.tell_with("pause", []);
        Ok(())
    }

    /// Lets them go on.
    pub fn unpause(&self) -> Result<()> {
        self.up("unpause")?;
        if !self.is_paused() {
            return Err(self.wrong("unpause", "is not paused").with_hint("it runs"));
        }
        lifecycle::resume(&self.state, &self.runtime_id()?)?;
        self.tell_with("unpause", []);
        Ok(())
    }
}
