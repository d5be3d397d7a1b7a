//! One check of a container: made, written down, told, and acted upon. Must not be made while the container stands still.

use std::ffi::OsString;
use std::time::Duration;

use runtime::ErrorKind;

use super::program::Probe;
use super::state::{Checked, Consequence};
use super::{Health, HealthCheck, HealthLogPlace, HealthStatus, act};
use crate::error::{Error, Result};
use crate::kept::{Kept, KeptContainers, KeptState, now};
use crate::life::Place;
use crate::paths::EnginePaths;
use crate::running::{Containers, Found};

/// The internal verb: `internal-check ID ROOT BASE`.
pub const CHECK: &str = "internal-check";

/// Makes the check that is due, and answers how long it is to the next one; nothing where none will be due.
pub fn check(arguments: &[OsString]) -> Result<Option<Duration>> {
    // The monitor, whose child this is, ignores them all; a program of the container is not to.
    sys::signal::reset_dispositions();
    let place = Place::parse(arguments)?;
    let containers = Containers::of(&place.paths, place.root.as_deref())?;
    let found = containers.find(&place.id)?;
    // By what holds now: it may have been changed since the start.
    let Some(check) = found.health_check().cloned() else { return Ok(None) };
    if found.is_up() && !found.is_paused() {
        make(&found, &check, &place.paths)?;
    }
    Ok(found.health().and_then(|(_, health)| health.next(&check, now())))
}

/// Makes a check, and answers how the container is then; nothing where it has ended or was paused meanwhile.
fn make(found: &Found, check: &HealthCheck, paths: &EnginePaths) -> Result<Option<HealthStatus>> {
    let Some((_, before)) = found.health() else { return Ok(None) };
    let (command, timeout) = match check.startup.as_ref().filter(|_| before.is_in_startup(check)) {
        Some(startup) => (startup.program(), startup.timeout()),
        None => (check.program(), check.timeout()),
    };
    let Some(command) = command else { return Ok(None) };
    let checked = Probe { command, timeout, most_bytes: check.log.most_bytes }.run(found);
    let Some(kept) = found.kept() else { return Ok(None) };
    let containers = found.containers();
    // A program of a container that stands still can't answer: it tells nothing.
    let now = Containers::of_kept(paths, containers.clone()).find(&found.id);
    if now.is_ok_and(|now| now.is_paused()) {
        return Ok(None);
    }
    let Some((health, consequence)) = containers.take_check(kept, check, &before, checked)? else {
        return Ok(None);
    };
    tell(kept, check, &health, consequence);
    act::act(containers, kept, check, consequence, paths)?;
    Ok(Some(health.status))
}

impl KeptContainers {
    /// Writes down what came of a check; nothing where the container has ended since, or was started again.
    fn take_check(
        &self,
        kept: &Kept,
        check: &HealthCheck,
        before: &Health,
        checked: Checked,
    ) -> Result<Option<(Health, Consequence)>> {
        // Several may be at it: the one that was due, and one that a person has asked for.
        let _turn = self.turn(&kept.id)?;
        let Some(record) = self.read(&kept.id)? else { return Ok(None) };
        let Some(mut health) = Health::read(&kept.directory) else { return Ok(None) };
        if record.end.is_some() || health.started != before.started {
            return Ok(None);
        }
        let consequence = health.take(check, checked);
        health.write(&kept.directory)?;
        if let HealthLogPlace::Directory(directory) = &check.log.place {
            let path = directory.join(format!("{}-healthcheck.log", kept.id));
            let text = health.to_json(health.status).to_string();
            // A copy for others: the container's own is there.
            let _ = std::fs::write(path, text);
        }
        Ok(Some((health, consequence)))
    }
}

fn tell(kept: &Kept, check: &HealthCheck, health: &Health, consequence: Consequence) {
    let action = format!("health_status: {}", health.status);
    match (&check.log.place, health.log.last()) {
        (HealthLogPlace::Events, Some(last)) => {
            let more = [("exitCode", last.exit_code.to_string()), ("output", last.output.clone())];
            kept.subject().tell_with(&action, more);
        }
        _ if matches!(consequence, Consequence::Recovered | Consequence::FellIll) => {
            kept.subject().tell(&action);
        }
        _ => {}
    }
}

impl Found {
    /// How its health is checked, if it is.
    pub(crate) fn health_check(&self) -> Option<&HealthCheck> {
        self.kept().and_then(Kept::health_check)
    }

    /// The same where it has to have one.
    pub(crate) fn required_health_check(&self, operation: &str) -> Result<&HealthCheck> {
        self.health_check().ok_or_else(|| {
            let operation = format!("{operation} `{}`", self.called());
            let error = Error::new(ErrorKind::Invalid, operation, "it has no health check");
            error.with_hint("`rabbitc run --health-cmd` gives one to a container")
        })
    }

    /// How its health is.
    pub(crate) fn health(&self) -> Option<(HealthStatus, Health)> {
        self.kept().and_then(Kept::health)
    }

    /// Makes a check now, and answers how it came out, in podman's words: none where it has succeeded, else unhealthy, however many
    /// may fail; of one that comes before the others, starting.
    pub fn check_health(&self, paths: &EnginePaths) -> Result<Option<HealthStatus>> {
        let operation = "check the health of";
        let check = self.required_health_check(operation)?;
        self.up(operation)?;
        if self.is_paused() {
            let hint = format!("`rabbitc unpause {}` lets it go on", self.called());
            return Err(self.wrong(operation, "is paused").with_hint(hint));
        }
        let is_over = || self.wrong(operation, "has just ended, or was paused");
        let is_startup = self.health().is_some_and(|(_, health)| health.is_in_startup(check));
        make(self, check, paths)?.ok_or_else(is_over)?;
        let last = self.health().and_then(|(_, health)| health.log.last().cloned()).ok_or_else(is_over)?;
        let failed = if is_startup { HealthStatus::Starting } else { HealthStatus::Unhealthy };
        Ok((last.exit_code != 0).then_some(failed))
    }
}

impl Kept {
    /// How its health is checked, if it is.
    pub(crate) fn health_check(&self) -> Option<&HealthCheck> {
        self.record.asked.as_ref().and_then(|asked| asked.life.health_check())
    }

    /// How its health is; nothing of one without a check, or that was never started.
    pub(crate) fn health(&self) -> Option<(HealthStatus, Health)> {
        self.health_check()?;
        let health = Health::read(&self.directory)?;
        let status = match self.state {
            KeptState::Running => health.status,
            // Docker's word for one of which nobody looks after the health.
            _ => HealthStatus::Unhealthy,
        };
        Some((status, health))
    }
}
