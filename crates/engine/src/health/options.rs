//! How a container's health is checked, as meant. Defaults and what takes precedence are docker's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::documents::Healthcheck;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// An interval of one that is never due by itself.
pub(crate) const NEVER: u64 = u64::MAX;

const SECOND: u64 = 1_000_000_000;

/// How a container's health is checked. Times are in nanoseconds; one that is 0 is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthCheck {
    /// `CMD` and a program with its arguments, `CMD-SHELL` and a script, or `NONE`.
    pub test: Vec<String>,
    /// From the end of a check to the next one; 30 s.
    pub interval: u64,
    /// How long one may take; 30 s.
    pub timeout: u64,
    /// How long after a start failures do not count; not at all.
    pub start_period: u64,
    /// The interval in that time, as long as none has succeeded; 5 s.
    pub start_interval: u64,
    /// Failures in a row that make it unhealthy; 3.
    pub retries: u32,
    /// What is done to one that is unhealthy.
    pub on_failure: OnFailure,
    /// What is kept of the checks.
    pub log: HealthLog,
    /// What is done before, until it has succeeded.
    pub startup: Option<StartupCheck>,
}

/// A check of a container that starts: the other ones begin when it has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StartupCheck {
    /// As that of a check.
    pub test: Vec<String>,
    /// As that of a check.
    pub interval: u64,
    /// As that of a check.
    pub timeout: u64,
    /// After how many failures the container is started again; 0 is never.
    pub retries: u32,
    /// How often it has to succeed; 0 is once.
    pub success: u32,
}

/// What is done to a container that is unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Nothing.
    #[default]
    None,
    /// It is killed; whether it is started again, its restart policy says.
    Kill,
    /// It is stopped and started again.
    Restart,
    /// It is stopped.
    Stop,
}

/// What is kept of checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthLog {
    /// Where.
    pub place: HealthLogPlace,
    /// Of how many; 0 is of all.
    pub most_entries: u32,
    /// How many bytes of what each has written; 0 is all.
    pub most_bytes: u32,
}

/// Where it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HealthLogPlace {
    /// With the container.
    #[default]
    Local,
    /// There, and each check is an event, too.
    Events,
    /// There, and in a file of this directory, too.
    Directory(PathBuf),
}

impl Default for HealthLog {
    fn default() -> HealthLog {
        HealthLog { place: HealthLogPlace::Local, most_entries: 5, most_bytes: 4096 }
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            OnFailure::None => "none",
            OnFailure::Kill => "kill",
            OnFailure::Restart => "restart",
            OnFailure::Stop => "stop",
        })
    }
}

/// A time that was given, or its default.
fn or(nanoseconds: u64, seconds: u64) -> Duration {
    Duration::from_nanos(if nanoseconds == 0 { seconds * SECOND } else { nanoseconds })
}

impl HealthCheck {
    /// That of an image.
    pub(crate) fn of_image(image: &Healthcheck) -> HealthCheck {
        // Less than nothing is nothing, as with docker.
        let time = |time: Option<i64>| time.and_then(|time| u64::try_from(time).ok()).unwrap_or(0);
        HealthCheck {
            test: image.test.clone(),
            interval: time(image.interval),
            timeout: time(image.timeout),
            start_period: time(image.start_period),
            start_interval: time(image.start_interval),
            retries: u32::try_from(image.retries.unwrap_or(0)).unwrap_or(0),
            ..HealthCheck::default()
        }
    }

    /// With what the image says where nobody has said anything.
    #[must_use]
    pub fn over(mut self, image: Option<&HealthCheck>) -> HealthCheck {
        let Some(image) = image else { return self };
        if self.test.is_empty() {
            self.test.clone_from(&image.test);
        }
        for (own, its) in [
            (&mut self.interval, image.interval),
            (&mut self.timeout, image.timeout),
            (&mut self.start_period, image.start_period),
            (&mut self.start_interval, image.start_interval),
        ] {
            if *own == 0 {
                *own = its;
            }
        }
        if self.retries == 0 {
            self.retries = image.retries;
        }
        self
    }

    /// As docker's API has it: what nobody has said is left out.
    pub(crate) fn to_json(&self) -> Value {
        let mut all = Map::new();
        if !self.test.is_empty() {
            all.insert("Test".to_owned(), json!(self.test));
        }
        for (name, number) in [
            ("Interval", self.interval),
            ("Timeout", self.timeout),
            ("StartPeriod", self.start_period),
            ("StartInterval", self.start_interval),
            ("Retries", u64::from(self.retries)),
        ] {
            if number != 0 && number != NEVER {
                all.insert(name.to_owned(), json!(number));
            }
        }
        Value::Object(all)
    }

    /// Whether there is something to execute.
    pub fn is_one(&self) -> bool {
        program(&self.test).is_some()
    }

    pub(crate) fn program(&self) -> Option<Vec<String>> {
        program(&self.test)
    }

    /// None where none is due by itself.
    pub(crate) fn interval(&self) -> Option<Duration> {
        (self.interval != NEVER).then(|| or(self.interval, 30))
    }

    pub(crate) fn timeout(&self) -> Duration {
        or(self.timeout, 30)
    }

    pub(crate) fn start_period(&self) -> Duration {
        Duration::from_nanos(self.start_period)
    }

    pub(crate) fn start_interval(&self) -> Duration {
        or(self.start_interval, 5)
    }

    pub(crate) fn retries(&self) -> u32 {
        if self.retries == 0 { 3 } else { self.retries }
    }
}

impl StartupCheck {
    pub(crate) fn program(&self) -> Option<Vec<String>> {
        program(&self.test)
    }

    pub(crate) fn interval(&self) -> Duration {
        or(self.interval, 30)
    }

    pub(crate) fn timeout(&self) -> Duration {
        or(self.timeout, 30)
    }
}

/// What is executed; nothing of `NONE`, and of words that nobody knows.
fn program(test: &[String]) -> Option<Vec<String>> {
    match test {
        [kind, words @ ..] if kind == "CMD" && !words.is_empty() => Some(words.to_vec()),
        [kind, script, ..] if kind == "CMD-SHELL" => {
            Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
        }
        _ => None,
    }
}

/// `--health-cmd`: a script of the shell, or as podman has it a JSON array of a program and its arguments; `none` is no check.
pub fn parse_health_command(text: &str) -> Vec<String> {
    if text.eq_ignore_ascii_case("none") {
        return vec!["NONE".to_owned()];
    }
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) if matches!(words.first().map(String::as_str), Some("CMD" | "CMD-SHELL" | "NONE")) => words,
        Ok(words) if !words.is_empty() => [vec!["CMD".to_owned()], words].concat(),
        _ => vec!["CMD-SHELL".to_owned(), text.to_owned()],
    }
}

/// A time of a check in nanoseconds, of a millisecond at least; 0 is the default.
pub fn parse_health_time(flag: &str, text: &str) -> Result<u64> {
    let refuse = |reason: String| {
        Err(Error::invalid(flag, reason).with_hint("write a time such as `500ms`, `10s` or `1m30s`"))
    };
    if text == "0" {
        return Ok(0);
    }
    if text.starts_with('-') {
        return refuse(format!("`{}` is less than nothing", text.escape_debug()));
    }
    let Some(time) = crate::options::parse_duration(text) else {
        return refuse(format!("`{}` is no time", text.escape_debug()));
    };
    match u64::try_from(time.as_nanos()) {
        Ok(time) if time == 0 || time >= 1_000_000 => Ok(time),
        Ok(_) => refuse(format!("`{}` is less than a millisecond", text.escape_debug())),
        Err(_) => refuse(format!("`{}` is more than can be counted", text.escape_debug())),
    }
}

/// `--health-interval`: a time, or podman's `disable`, with which a check is made by `rabbitc healthcheck run` alone.
pub fn parse_health_interval(flag: &str, text: &str) -> Result<u64> {
    if text == "disable" { Ok(NEVER) } else { parse_health_time(flag, text) }
}

/// `--health-on-failure`.
pub fn parse_on_failure(text: &str) -> Result<OnFailure> {
    Ok(match text {
        "" | "none" => OnFailure::None,
        "kill" => OnFailure::Kill,
        "restart" => OnFailure::Restart,
        "stop" => OnFailure::Stop,
        _ => {
            let reason = format!("`{}` is nothing that can be done then", text.escape_debug());
            return Err(Error::invalid("--health-on-failure", reason)
                .with_hint("there are none, kill, restart and stop"));
        }
    })
}

/// `--health-log-destination`.
pub fn parse_health_log_place(text: &str) -> Result<HealthLogPlace> {
    let refuse = |reason: String| {
        let error = Error::invalid("--health-log-destination", reason);
        Err(error.with_hint("there are local, events_logger, and the path of a directory"))
    };
    match text {
        "" | "local" => Ok(HealthLogPlace::Local),
        "events_logger" => Ok(HealthLogPlace::Events),
        path if Path::new(path).is_dir() => {
            let absolute = std::path::absolute(path);
            let absolute = absolute.map_err(|error| Error::at_path("find", Path::new(path), error))?;
            Ok(HealthLogPlace::Directory(absolute))
        }
        other => refuse(format!("`{}` is no directory", other.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_a_script_or_a_list() {
        for (text, test) in [
            ("curl -f x || exit 1", &["CMD-SHELL", "curl -f x || exit 1"][..]),
            (r#"["CMD","curl","x"]"#, &["CMD", "curl", "x"]),
            (r#"["curl","x"]"#, &["CMD", "curl", "x"]),
            (r#"["CMD-SHELL","curl x"]"#, &["CMD-SHELL", "curl x"]),
            ("none", &["NONE"]),
            ("[ -e /x ]", &["CMD-SHELL", "[ -e /x ]"]),
        ] {
            assert_eq!(parse_health_command(text), test, "{text}");
        }
    }

    #[test]
    fn what_nobody_said_is_the_images_and_then_the_default() {
        let image = Healthcheck {
            test: ["CMD", "true"].map(str::to_owned).to_vec(),
            interval: Some(7),
            retries: Some(9),
            start_period: Some(-1),
            ..Healthcheck::default()
        };
        let image = HealthCheck::of_image(&image);
        let own = HealthCheck { interval: 5, timeout: 6, ..HealthCheck::default() }.over(Some(&image));
        assert_eq!((own.interval, own.timeout, own.retries()), (5, 6, 9));
        assert_eq!(own.program(), Some(vec!["true".to_owned()]));
        let none = HealthCheck::default();
        assert_eq!(
            (none.interval(), none.timeout()),
            (Some(Duration::from_secs(30)), Duration::from_secs(30))
        );
        assert_eq!(
            (none.start_interval().as_secs(), none.start_period().as_secs(), none.retries()),
            (5, 0, 3)
        );
        assert!(!none.is_one());
        let test = parse_health_command("none");
        assert!(!HealthCheck { test, ..HealthCheck::default() }.over(Some(&image)).is_one());
    }

    #[test]
    fn times_are_a_millisecond_at_least() {
        assert_eq!(parse_health_time("--x", "1m30s").expect("legal"), 90 * SECOND);
        assert_eq!(parse_health_time("--x", "0s").expect("legal"), 0);
        for wrong in ["", "x", "-1s", "10us", "5"] {
            assert!(parse_health_time("--x", wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_health_interval("--x", "disable").expect("legal"), NEVER);
    }
}
