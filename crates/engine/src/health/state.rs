//! What is known of a container's health: `health.json` in its directory, whole or as it was before. What follows from a check is
//! docker's rule (daemon/health.go of its source says what its pages leave open).

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::HealthCheck;
use crate::directories::{Durability, write_record};
use crate::error::Result;

const FILE: &str = "health.json";

/// How many changes are remembered for `why`.
const MOST_CHANGES: usize = 8;

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It has not yet been seen to work.
    #[default]
    Starting,
    /// It works.
    Healthy,
    /// It does not.
    Unhealthy,
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        })
    }
}

/// A container's health.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Health {
    /// Of which start: nanoseconds since 1970.
    pub(crate) started: u64,
    pub(crate) status: HealthStatus,
    /// Failures in a row.
    pub(crate) failing_streak: u32,
    /// The last checks.
    pub(crate) log: Vec<Checked>,
    /// When it became what, the last times.
    pub(crate) changes: Vec<Change>,
    pub(crate) startup: Startup,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Checked {
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// -1 where it could not be executed, or took too long.
    pub(crate) exit_code: i32,
    pub(crate) output: String,
}

/// It became something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    pub(crate) status: HealthStatus,
}

/// How far the checks are that come before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Startup {
    pub(crate) is_over: bool,
    pub(crate) successes: u32,
    pub(crate) failures: u32,
}

/// What follows from a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consequence {
    Nothing,
    /// It is healthy, and was not before.
    Recovered,
    /// It is unhealthy, and was not before.
    FellIll,
    /// It is unhealthy, and was before.
    StillIll,
    /// It does not come up.
    StartAgain,
}

impl Health {
    /// That of the container of `directory`; none where none was ever begun, or what is there can't be read.
    pub(crate) fn read(directory: &Path) -> Option<Health> {
        serde_json::from_slice(&std::fs::read(directory.join(FILE)).ok()?).ok()
    }

    /// Of a container that is started now. What was known of earlier checks stays, as with docker.
    pub(crate) fn begin(directory: &Path, started: u64) -> Result<()> {
        let before = Health::read(directory).unwrap_or_default();
        let mut health = Health { started, log: before.log, changes: before.changes, ..Health::default() };
        health.note(HealthStatus::Starting, started);
        health.write(directory)
    }

    /// Writes it whole or not at all. Not synced: it is about this boot.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        write_record(&directory.join(FILE), self, Durability::Process)
    }

    fn note(&mut self, status: HealthStatus, at: u64) {
        self.status = status;
        if self.changes.len() >= MOST_CHANGES {
            self.changes.remove(0);
        }
        self.changes.push(Change { at, status });
    }

    /// Whether the check is to be made that comes before the others.
    pub(super) fn is_in_startup(&self, check: &HealthCheck) -> bool {
        check.startup.is_some() && !self.startup.is_over
    }

    /// Takes in what came of a check.
    pub(super) fn take(&mut self, check: &HealthCheck, checked: Checked) -> Consequence {
        let (before, code, start, end) = (self.status, checked.exit_code, checked.start, checked.end);
        let most = check.log.most_entries as usize;
        if most > 0 && self.log.len() >= most {
            self.log.drain(..=self.log.len() - most);
        }
        self.log.push(checked);
        if let Some(startup) = check.startup.as_ref().filter(|_| !self.startup.is_over) {
            match code {
                0 => self.startup.successes += 1,
                _ => (self.startup.failures, self.startup.successes) = (self.startup.failures + 1, 0),
            }
            self.startup.is_over = self.startup.successes >= startup.success.max(1);
            let is_hopeless = startup.retries > 0 && self.startup.failures >= startup.retries;
            return if is_hopeless { Consequence::StartAgain } else { Consequence::Nothing };
        }
        if code == 0 {
            self.failing_streak = 0;
            if before != HealthStatus::Healthy {
                self.note(HealthStatus::Healthy, end);
                return Consequence::Recovered;
            }
            return Consequence::Nothing;
        }
        let since = Duration::from_nanos(start.saturating_sub(self.started));
        if before == HealthStatus::Starting && since < check.start_period() {
            return Consequence::Nothing;
        }
        self.failing_streak = self.failing_streak.saturating_add(1);
        if self.failing_streak < check.retries() {
            return Consequence::Nothing;
        }
        if before == HealthStatus::Unhealthy {
            return Consequence::StillIll;
        }
        self.note(HealthStatus::Unhealthy, end);
        Consequence::FellIll
    }

    /// How long it is from the end of a check, or from the start, to the next one; none where none is due by itself.
    pub(super) fn next(&self, check: &HealthCheck, now: u64) -> Option<Duration> {
        let interval = check.interval()?;
        if let Some(startup) = check.startup.as_ref().filter(|_| !self.startup.is_over) {
            return Some(startup.interval());
        }
        let since = Duration::from_nanos(now.saturating_sub(self.started));
        let starts = since < check.start_period() && self.status == HealthStatus::Starting;
        Some(if starts { check.start_interval() } else { interval })
    }

    /// As docker's API has it; `status` is how it is now.
    pub(crate) fn to_json(&self, status: HealthStatus) -> Value {
        let moment = |at: u64| monitor::Moment(i64::try_from(at).unwrap_or(i64::MAX)).to_string();
        let log = self.log.iter().map(|checked| {
            json!({
                "Start": moment(checked.start),
                "End": moment(checked.end),
                "ExitCode": checked.exit_code,
                "Output": checked.output,
            })
        });
        json!({
            "Status": status.to_string(),
            "FailingStreak": self.failing_streak,
            "Log": log.collect::<Vec<_>>(),
        })
    }
}

/// When the first check is due of a container for which somebody stands from now on: what was left of the time where somebody stood
/// before.
pub(crate) fn first_due(check: &HealthCheck, health: &Health, now: u64) -> Option<Duration> {
    let last = health.log.last().map(|checked| checked.end).filter(|end| *end >= health.started);
    let from = last.unwrap_or(health.started);
    let pause = health.next(check, from)?;
    Some(pause.saturating_sub(Duration::from_nanos(now.saturating_sub(from))))
}

#[cfg(test)]
mod tests {
    use super::super::StartupCheck;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn checked(at: u64, exit_code: i32) -> Checked {
        Checked { start: at * SECOND, end: at * SECOND + 1, exit_code, output: at.to_string() }
    }

    fn check() -> HealthCheck {
        HealthCheck { test: super::super::parse_health_command("true"), ..HealthCheck::default() }
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let mut health = Health::default();
        let check = check();
        let mut take = |at, code| {
            let consequence = health.take(&check, checked(at, code));
            (health.status, health.failing_streak, consequence)
        };
        use Consequence::{FellIll, Nothing, Recovered, StillIll};
        use HealthStatus::{Healthy, Starting, Unhealthy};
        assert_eq!(take(1, 1), (Starting, 1, Nothing));
        assert_eq!(take(2, 0), (Healthy, 0, Recovered));
        assert_eq!(take(3, -1), (Healthy, 1, Nothing));
        assert_eq!(take(4, 1), (Healthy, 2, Nothing));
        assert_eq!(take(5, 137), (Unhealthy, 3, FellIll));
        assert_eq!(take(6, 1), (Unhealthy, 4, StillIll));
        assert_eq!(take(7, 0), (Healthy, 0, Recovered));
        assert_eq!(
            health.log.iter().map(|one| one.output.as_str()).collect::<Vec<_>>(),
            ["3", "4", "5", "6", "7"]
        );
        assert_eq!(health.changes.len(), 3);
    }

    #[test]
    fn failures_while_it_starts_do_not_count_until_it_was_seen_to_work() {
        let check = HealthCheck { start_period: 10 * SECOND, retries: 1, ..check() };
        let mut health = Health::default();
        assert_eq!(health.take(&check, checked(1, 1)), Consequence::Nothing);
        assert_eq!((health.failing_streak, health.status), (0, HealthStatus::Starting));
        assert_eq!(health.next(&check, 2 * SECOND), Some(Duration::from_secs(5)), "often while it starts");
        assert_eq!(health.take(&check, checked(2, 0)), Consequence::Recovered);
        assert_eq!(health.next(&check, 3 * SECOND), Some(Duration::from_secs(30)));
        assert_eq!(health.take(&check, checked(3, 1)), Consequence::FellIll, "it worked before");
        assert_eq!(health.status, HealthStatus::Unhealthy);
        let mut late = Health::default();
        assert_eq!(late.take(&check, checked(11, 1)), Consequence::FellIll);
        assert_eq!(late.next(&check, 11 * SECOND), Some(Duration::from_secs(30)));
    }

    #[test]
    fn check_of_a_start_comes_before_the_others() {
        let startup = StartupCheck { success: 2, retries: 3, interval: SECOND, ..StartupCheck::default() };
        let check = HealthCheck { startup: Some(startup), ..check() };
        let mut health = Health::default();
        assert_eq!(health.next(&check, 0), Some(Duration::from_secs(1)));
        for (code, consequence) in [
            (1, Consequence::Nothing),
            (0, Consequence::Nothing),
            (1, Consequence::Nothing),
            (1, Consequence::StartAgain),
        ] {
            assert_eq!(health.take(&check, checked(1, code)), consequence);
        }
        let mut health = Health::default();
        health.take(&check, checked(1, 0));
        assert!(health.is_in_startup(&check));
        health.take(&check, checked(2, 0));
        assert!(!health.is_in_startup(&check));
        assert_eq!(
            (health.status, health.next(&check, 0)),
            (HealthStatus::Starting, Some(Duration::from_secs(30)))
        );
    }

    #[test]
    fn whoever_takes_over_goes_on_where_the_other_was() {
        let check = HealthCheck { interval: 10 * SECOND, ..check() };
        let mut health = Health { started: 100 * SECOND, ..Health::default() };
        let due = |health: &Health, at: u64| {
            first_due(&check, health, at * SECOND).map(|due| due.as_secs_f64().ceil())
        };
        assert_eq!(
            (due(&health, 100), due(&health, 104), due(&health, 200)),
            (Some(10.0), Some(6.0), Some(0.0))
        );
        // Of an earlier start.
        health.log.push(checked(90, 0));
        assert_eq!(due(&health, 104), Some(6.0));
        health.log.push(checked(110, 0));
        assert_eq!(due(&health, 113), Some(8.0));
        let never = HealthCheck { interval: super::super::options::NEVER, ..check };
        assert_eq!(first_due(&never, &health, 113), None);
    }
}
