//! What `update` changes of how a container's health is checked. What it does not name stays as it is.

use super::{HealthCheck, HealthLogPlace, OnFailure, StartupCheck};
use crate::error::{Error, Result};

/// What is to change of the checks of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthUpdate {
    /// They end.
    Off,
    /// They go on otherwise.
    Changed(Box<HealthChanges>),
}

/// What of them is to be otherwise; times are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthChanges {
    /// As that of [`HealthCheck`].
    pub test: Option<Vec<String>>,
    /// As that of [`HealthCheck`].
    pub interval: Option<u64>,
    /// As that of [`HealthCheck`].
    pub timeout: Option<u64>,
    /// As that of [`HealthCheck`].
    pub start_period: Option<u64>,
    /// As that of [`HealthCheck`].
    pub start_interval: Option<u64>,
    /// As that of [`HealthCheck`].
    pub retries: Option<u32>,
    /// As that of [`HealthCheck`].
    pub on_failure: Option<OnFailure>,
    /// As that of [`super::HealthLog`].
    pub place: Option<HealthLogPlace>,
    /// As that of [`super::HealthLog`].
    pub most_entries: Option<u32>,
    /// As that of [`super::HealthLog`].
    pub most_bytes: Option<u32>,
    /// Of the check that comes before the others.
    pub startup: StartupChanges,
}

/// What is to be otherwise of the check that comes before the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StartupChanges {
    /// As that of [`StartupCheck`].
    pub test: Option<Vec<String>>,
    /// As that of [`StartupCheck`].
    pub interval: Option<u64>,
    /// As that of [`StartupCheck`].
    pub timeout: Option<u64>,
    /// As that of [`StartupCheck`].
    pub retries: Option<u32>,
    /// As that of [`StartupCheck`].
    pub success: Option<u32>,
}

/// Puts what is given into the place of what was.
fn set<T: Clone>(place: &mut T, given: &Option<T>) {
    if let Some(given) = given {
        place.clone_from(given);
    }
}

impl HealthUpdate {
    /// The check with it; none where nothing is checked any more.
    pub(crate) fn applied(
        &self,
        before: Option<&HealthCheck>,
        operation: &str,
    ) -> Result<Option<HealthCheck>> {
        let HealthUpdate::Changed(changes) = self else { return Ok(None) };
        let mut check = before.cloned().unwrap_or_default();
        set(&mut check.test, &changes.test);
        set(&mut check.interval, &changes.interval);
        set(&mut check.timeout, &changes.timeout);
        set(&mut check.start_period, &changes.start_period);
        set(&mut check.start_interval, &changes.start_interval);
        set(&mut check.retries, &changes.retries);
        set(&mut check.on_failure, &changes.on_failure);
        set(&mut check.log.place, &changes.place);
        set(&mut check.log.most_entries, &changes.most_entries);
        set(&mut check.log.most_bytes, &changes.most_bytes);
        let is_off =
            changes.test.as_ref().is_some_and(|test| test.first().is_some_and(|kind| kind == "NONE"));
        if is_off {
            return Ok(None);
        }
        if !check.is_one() {
            let reason = "it has no health check that could be changed".to_owned();
            let error = Error::invalid(operation, reason);
            return Err(error.with_hint("write `--health-cmd`, too"));
        }
        check.startup = changes.startup.applied(check.startup, operation)?;
        Ok(Some(check))
    }
}

impl StartupChanges {
    fn applied(&self, before: Option<StartupCheck>, operation: &str) -> Result<Option<StartupCheck>> {
        if *self == StartupChanges::default() {
            return Ok(before);
        }
        let mut check = before.unwrap_or_default();
        set(&mut check.test, &self.test);
        set(&mut check.interval, &self.interval);
        set(&mut check.timeout, &self.timeout);
        set(&mut check.retries, &self.retries);
        set(&mut check.success, &self.success);
        if check.program().is_some() {
            return Ok(Some(check));
        }
        match self.test {
            // `none`, and nothing else of it.
            Some(_) => Ok(None),
            None => {
                let reason = "it has no check that comes before the others".to_owned();
                let error = Error::invalid(operation, reason);
                Err(error.with_hint("write `--health-startup-cmd`, too"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_health_command;
    use super::*;

    fn changed(changes: HealthChanges, before: Option<&HealthCheck>) -> Result<Option<HealthCheck>> {
        HealthUpdate::Changed(Box::new(changes)).applied(before, "update")
    }

    #[test]
    fn what_is_not_named_stays_and_what_is_about_nothing_is_refused() {
        let before = HealthCheck { test: parse_health_command("true"), retries: 7, ..HealthCheck::default() };
        let changes = HealthChanges { interval: Some(9), ..HealthChanges::default() };
        let now = changed(changes.clone(), Some(&before)).expect("legal").expect("one");
        assert_eq!(now, HealthCheck { interval: 9, ..before.clone() });
        changed(changes, None).expect_err("there is no check");
        assert_eq!(HealthUpdate::Off.applied(Some(&before), "update").expect("legal"), None);
        let none = HealthChanges { test: Some(parse_health_command("none")), ..HealthChanges::default() };
        assert_eq!(changed(none, Some(&before)).expect("legal"), None);
        let startup = StartupChanges { retries: Some(3), ..StartupChanges::default() };
        let changes = HealthChanges { startup: startup.clone(), ..HealthChanges::default() };
        changed(changes, Some(&before)).expect_err("there is no such check");
        let startup = StartupChanges { test: Some(parse_health_command("true")), ..startup };
        let now = changed(HealthChanges { startup, ..HealthChanges::default() }, Some(&before));
        assert_eq!(now.expect("legal").and_then(|check| check.startup).map(|check| check.retries), Some(3));
    }
}
