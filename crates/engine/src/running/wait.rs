//! `wait`: until a container has ended, or is otherwise as it is waited for. Its exit code is what its record tells, or the kernel; none
//! is made up.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use runtime::{ErrorKind, lifecycle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Containers, Found};
use crate::error::{Error, Result};
use crate::health::HealthStatus;
use crate::kept::KeptState;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// That it does not run.
    Stopped,
    /// That it runs.
    Running,
    /// That its processes stand still.
    Paused,
    /// That it is gone.
    Removed,
    /// That its health is so.
    Health(HealthStatus),
}

impl std::str::FromStr for WaitCondition {
    type Err = Error;

    fn from_str(text: &str) -> Result<WaitCondition> {
        Ok(match text {
            "stopped" | "exited" | "not-running" => WaitCondition::Stopped,
            "running" => WaitCondition::Running,
            "paused" => WaitCondition::Paused,
            "removing" | "removed" => WaitCondition::Removed,
            "healthy" => WaitCondition::Health(HealthStatus::Healthy),
            "unhealthy" => WaitCondition::Health(HealthStatus::Unhealthy),
            _ => {
                let reason = format!("`{}` is not what a container can be waited for", text.escape_debug());
                let hint = "there are stopped, exited, running, paused, removed, healthy and unhealthy";
                return Err(Error::invalid("--condition", reason).with_hint(hint));
            }
        })
    }
}

/// What became of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// It has ended with this code.
    Ended(i32),
    /// It is as it was waited for, and that is no end.
    Reached,
}

/// How often what gives no sign of itself is looked at, at first.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// How long the command behind a container may take to write down how it ended.
const CLEAN_UP: Duration = Duration::from_secs(60);

impl Containers {
    /// Waits for one of `conditions`; `interval` is how often those are looked at of which the kernel gives no sign.
    pub fn wait(&self, found: Found, conditions: &[WaitCondition], interval: Duration) -> Result<Waited> {
        if conditions == [WaitCondition::Stopped] {
            return self.wait_for_end(found).map(Waited::Ended);
        }
        let id = found.id.clone();
        let mut known = found.first_process();
        loop {
            let now = self.look(&id)?;
            let is_reached = |condition: &WaitCondition| match (condition, &now) {
                (WaitCondition::Stopped, None) => true,
                (WaitCondition::Stopped, Some(now)) => !now.is_up(),
                (WaitCondition::Running, Some(now)) => now.is_up() && !now.is_paused(),
                (WaitCondition::Paused, Some(now)) => now.is_paused(),
                (WaitCondition::Removed, now) => now.is_none(),
                (WaitCondition::Health(wanted), Some(now)) => {
                    now.health().is_some_and(|(status, _)| status == *wanted)
                }
                (WaitCondition::Running | WaitCondition::Paused | WaitCondition::Health(_), None) => false,
            };
            if let Some(condition) = conditions.iter().find(|condition| is_reached(condition)) {
                return match condition {
                    WaitCondition::Stopped => self.code(&id, now, known).map(Waited::Ended),
                    _ => Ok(Waited::Reached),
                };
            }
            if let (Some(now), [WaitCondition::Health(_)]) = (&now, conditions) {
                now.required_health_check("wait for the health of")?;
            }
            let Some(now) = now else {
                let operation = format!("wait for `{}`", id.get(..12).unwrap_or(&id));
                return Err(Error::new(ErrorKind::NotFound, operation, "it has been removed"));
            };
            known = now.first_process().or(known);
            std::thread::sleep(interval);
        }
    }

    fn wait_for_end(&self, found: Found) -> Result<i32> {
        let Some(first) = found.first_process() else {
            let id = found.id.clone();
            return self.code(&id, Some(found), None);
        };
        wait_for(&first, PollFlags::IN, None)?;
        let id = found.id;
        let now = self.look(&id)?;
        self.code(&id, now, Some(first))
    }

    /// The exit code of one that has ended, once whoever stands behind it has written it down.
    fn code(&self, id: &str, mut now: Option<Found>, first: Option<OwnedFd>) -> Result<i32> {
        let end = Instant::now() + CLEAN_UP;
        let mut pause = FIRST_LOOK;
        loop {
            match now.as_ref().and_then(Found::kept_state) {
                Some(KeptState::Exited { code, .. }) => return Ok(code),
                // As docker has it: one that never ran has not failed.
                Some(KeptState::Created) => return Ok(0),
                // As docker has it: that it will be started again does not undo that it has ended.
                Some(KeptState::Restarting { code: Some(code), .. }) => return Ok(code),
                Some(KeptState::Running) if now.as_ref().is_some_and(Found::goes_on) => match (now, &first) {
                    // It was just being started.
                    (Some(now), None) => return self.wait_for_end(now),
                    // It has been started again since.
                    _ => break,
                },
                Some(KeptState::Restarting { code: None, .. }) => break,
                Some(KeptState::Running) if Instant::now() < end => {}
                Some(KeptState::Running | KeptState::Unknown) | None => break,
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
            now = self.look(id)?;
        }
        match first.map(|first| code_of(&first)).transpose()?.flatten() {
            Some(code) => Ok(code),
            None => {
                let operation = format!("wait for `{}`", id.get(..12).unwrap_or(id));
                let error = Error::new(ErrorKind::System, operation, "nobody knows how it ended");
                Err(error.with_hint("the command that ran it was killed before it could note that"))
            }
        }
    }
}

impl Found {
    /// Whether its first process has not ended.
    fn goes_on(&self) -> bool {
        self.first_process().is_some_and(|first| !lifecycle::has_ended(first.as_fd()))
    }

    fn first_process(&self) -> Option<OwnedFd> {
        self.view.as_ref().and_then(|view| lifecycle::init(&view.record))
    }
}

/// What the kernel kept of the end of a process that others have reaped (Linux 6.15).
fn code_of(first: &OwnedFd) -> Result<Option<i32>> {
    // Before it is reaped there is nothing kept.
    wait_for(first, PollFlags::empty(), Some(Duration::from_secs(10)))?;
    let status = sys::pidfd::exit_status(first.as_fd());
    let status = status.map_err(|error| Error::system("ask the kernel how a process ended", error))?;
    Ok(status.map(|status| match status & 0x7f {
        0 => (status >> 8) & 0xff,
        signal => 128 + signal,
    }))
}

/// Waits until a process has ended, or with no flags until it is reaped.
fn wait_for(pidfd: &OwnedFd, flags: PollFlags, limit: Option<Duration>) -> Result<()> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    loop {
        let mut watched = [PollFd::from_borrowed_fd(pidfd.as_fd(), flags)];
        match poll(&mut watched, limit.as_ref()) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::system("wait for the end of a process", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_process_that_was_reaped_is_what_it_was() {
        for (script, expected) in [("exit 7", 7), ("kill -9 $$", 137)] {
            let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().expect("sh runs");
            let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a pid");
            let pidfd =
                rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("alive");
            child.wait().expect("reaped");
            match code_of(&pidfd).expect("asked") {
                Some(code) => assert_eq!(code, expected, "{script}"),
                None => println!("skipped: takes Linux 6.15"),
            }
        }
    }

    #[test]
    fn conditions_are_podmans() {
        assert_eq!("exited".parse::<WaitCondition>().expect("one"), WaitCondition::Stopped);
        let healthy = WaitCondition::Health(HealthStatus::Healthy);
        assert_eq!("healthy".parse::<WaitCondition>().expect("one"), healthy);
        assert!("happy".parse::<WaitCondition>().is_err());
    }
}
