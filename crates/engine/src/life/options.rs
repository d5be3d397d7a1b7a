//! What becomes of a container that lives on, as meant.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::health::HealthCheck;

/// What a container that lives on is asked for beside what runs in it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LifeOptions {
    /// Whether it is started again by itself.
    pub restart: RestartPolicy,
    /// Whether its standard input stays open for those who attach.
    pub input: StandardInput,
    /// What becomes of its output.
    pub log: LogChoice,
    /// How its health is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// The flags that asked for it, as `--name=value`: for messages.
    pub flags: Vec<String>,
    /// The names of those that `update` was given since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub updated: Vec<String>,
}

impl LifeOptions {
    /// All that asked for what is started.
    pub(crate) fn all_flags(&self) -> Vec<String> {
        self.flags.iter().chain(&self.updated).cloned().collect()
    }

    /// How its health is checked, if it is.
    pub(crate) fn health_check(&self) -> Option<&HealthCheck> {
        self.health.as_ref().filter(|check| check.is_one())
    }
}

/// Whether a container is started again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It is not.
    #[default]
    No,
    /// Where its exit code is not 0; so often at most.
    OnFailure(Option<u32>),
    /// As long as nobody stops it; and after a boot.
    Always,
    /// As long as nobody stops it; after a boot unless somebody has.
    UnlessStopped,
}

/// What a container reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StandardInput {
    /// Nothing.
    #[default]
    Closed,
    /// What those write who attach.
    Open(InputUntil),
}

/// How long a standard input stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InputUntil {
    /// Until the first who attaches has no more.
    FirstEnd,
    /// Until the container ends.
    ContainerEnd,
}

/// How a container's output is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogChoice {
    /// `json-file`, `k8s-file`, `journald` or `none`.
    pub driver: String,
    /// Bytes after which a file is put aside.
    pub max_size: u64,
    /// How many files there are at most.
    pub max_files: u32,
    /// Further options, as they were given.
    pub options: Vec<(String, String)>,
}

impl Default for LogChoice {
    fn default() -> LogChoice {
        // Bounded: a container that talks for years does not fill the disk.
        LogChoice { driver: "json-file".to_owned(), max_size: 10 << 20, max_files: 3, options: Vec::new() }
    }
}

impl std::fmt::Display for RestartPolicy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure(_) => "on-failure",
            RestartPolicy::Always => "always",
            RestartPolicy::UnlessStopped => "unless-stopped",
        })
    }
}

impl RestartPolicy {
    /// Whether a container that has ended with this code, and was started again so often, is to be started once more.
    pub(crate) fn wants(self, code: Option<i32>, restarts: u32) -> bool {
        match self {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure(most) => code != Some(0) && most.is_none_or(|most| restarts < most),
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        }
    }
}

/// How long it is until the next start, after so many in a row that did not last: docker's times.
pub(crate) fn pause(in_a_row: u32) -> Duration {
    let milliseconds = 100u64.saturating_mul(1u64.checked_shl(in_a_row.min(10)).unwrap_or(u64::MAX));
    Duration::from_millis(milliseconds.min(60_000))
}

/// `--restart`.
pub fn parse_restart(text: &str) -> Result<RestartPolicy> {
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    let hint = "there are no, always, unless-stopped and on-failure[:TIMES]";
    let refuse = |reason: String| Err(Error::invalid("--restart", reason).with_hint(hint));
    let policy = match name {
        "" | "no" | "never" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => {
            let most = match count {
                None => None,
                Some(count) => match count.parse::<u32>() {
                    // Docker's word for: without end.
                    Ok(0) => None,
                    Ok(most) => Some(most),
                    Err(_) => return refuse(format!("`{}` is no number of times", count.escape_debug())),
                },
            };
            return Ok(RestartPolicy::OnFailure(most));
        }
        _ => return refuse(format!("`{}` is no restart policy", name.escape_debug())),
    };
    match count {
        Some(_) => refuse(format!("`{name}` takes no number of times")),
        None => Ok(policy),
    }
}

/// `--log-driver` and `--log-opt`.
pub fn parse_log(driver: Option<&str>, options: &[String]) -> Result<LogChoice> {
    let mut choice = LogChoice::default();
    if let Some(driver) = driver.filter(|driver| !driver.is_empty()) {
        choice.driver = match driver {
            "json-file" | "k8s-file" | "journald" | "none" => driver.to_owned(),
            // Podman's other name for it, and docker's for a file of its own form.
            "local" => "json-file".to_owned(),
            _ => {
                let reason = format!("`{}` is no log driver", driver.escape_debug());
                let hint = "there are json-file, k8s-file, journald and none";
                return Err(Error::invalid("--log-driver", reason).with_hint(hint));
            }
        };
    }
    for option in options {
        let refuse =
            |reason: String, hint: &str| Err(Error::invalid("--log-opt", reason).with_hint(hint.to_owned()));
        let Some((name, value)) = option.split_once('=') else {
            return refuse(format!("`{}` has no `=`", option.escape_debug()), "write NAME=VALUE");
        };
        match name {
            // Without a bound, in docker's words.
            "max-size" if value == "-1" => choice.max_size = u64::MAX,
            "max-size" => match log_size(value) {
                Some(size) => choice.max_size = size.max(1),
                None => {
                    return refuse(format!("`{}` is no size", value.escape_debug()), "write bytes, or `10m`");
                }
            },
            "max-file" => match value.parse::<u32>() {
                Ok(count @ 1..) => choice.max_files = count,
                _ => {
                    return refuse(
                        format!("`{}` is no number of files", value.escape_debug()),
                        "write 1 or more",
                    );
                }
            },
            "tag" | "labels" | "labels-regex" | "env" | "env-regex" | "mode" | "compress" | "path" => {}
            _ => {
                let hint = "there are max-size, max-file, tag, labels and env";
                return refuse(format!("`{}` is not known", name.escape_debug()), hint);
            }
        }
        choice.options.push((name.to_owned(), value.to_owned()));
    }
    Ok(choice)
}

/// A size in docker's words for logs, of which a kilobyte has 1000 bytes.
fn log_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) =
        text.split_at(text.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(text.len()));
    let unit = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1e3,
        "m" | "mb" | "mib" => 1e6,
        "g" | "gb" | "gib" => 1e9,
        "t" | "tb" | "tib" => 1e12,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| (number * unit).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_logs_are_decimal() {
        for (text, size) in
            [("10m", 10_000_000), ("7.043m", 7_043_000), ("512", 512), ("1KB", 1000), ("2g", 2_000_000_000)]
        {
            assert_eq!(log_size(text), Some(size), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1.2.3"] {
            assert_eq!(log_size(text), None, "{text}");
        }
    }

    #[test]
    fn restart_policies_are_dockers() {
        for (text, policy) in [
            ("no", RestartPolicy::No),
            ("always", RestartPolicy::Always),
            ("unless-stopped", RestartPolicy::UnlessStopped),
            ("on-failure", RestartPolicy::OnFailure(None)),
            ("on-failure:3", RestartPolicy::OnFailure(Some(3))),
        ] {
            assert_eq!(parse_restart(text).expect("legal"), policy);
        }
        for text in ["sometimes", "always:3", "on-failure:x", "on-failure:-1"] {
            assert!(parse_restart(text).expect_err("illegal").hint.is_some());
        }
    }

    #[test]
    fn pauses_between_starts_double_up_to_a_minute() {
        assert_eq!([0, 1, 4].map(|number| pause(number).as_millis()), [100, 200, 1600]);
        assert_eq!([10, 40, u32::MAX].map(|number| pause(number).as_secs()), [60, 60, 60]);
    }
}
