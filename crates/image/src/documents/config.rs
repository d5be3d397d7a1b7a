//! The configuration of an image: what runs in it and how, and the digests of its layers once they are unpacked.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::Platform;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

/// The configuration (image-spec, config.md). What rabbitc does not know is kept nowhere but in the document itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// When it was made, as RFC 3339 writes it.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// The processor.
    #[serde(default)]
    pub architecture: String,
    /// The system.
    #[serde(default)]
    pub os: String,
    /// The variant of the processor.
    pub variant: Option<String>,
    /// The version of the system.
    #[serde(rename = "os.version")]
    pub os_version: Option<String>,
    /// What containers are to be like.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Runtime,
    /// The layers.
    pub rootfs: RootFs,
    /// How each layer was made.
    #[serde(default, deserialize_with = "null_is_default")]
    pub history: Vec<History>,
}

/// What containers of an image are to be like.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Runtime {
    /// `USER[:GROUP]`, by name or number; empty is root.
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    /// Ports that the program listens on: `80/tcp`.
    #[serde(deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Variables, as `NAME=VALUE`.
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// The arguments where nobody gives any; without an entrypoint, the program.
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// Directories for data.
    #[serde(deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, Empty>,
    /// Where the program begins; empty is `/`.
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Notes.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that ends the program, by name or number.
    pub stop_signal: Option<String>,
    /// How one sees that it works.
    pub healthcheck: Option<Healthcheck>,
}

/// The value behind each name of a set, as Go writes sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// How one sees that a container works (Docker's).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`, or `CMD` or `CMD-SHELL` and what follows.
    #[serde(deserialize_with = "null_is_default")]
    pub test: Vec<String>,
    /// Nanoseconds between two checks.
    pub interval: Option<i64>,
    /// Nanoseconds that one may take.
    pub timeout: Option<i64>,
    /// Nanoseconds in which failures do not count.
    pub start_period: Option<i64>,
    /// Nanoseconds between two checks in that time.
    pub start_interval: Option<i64>,
    /// Failures in a row that make it ill.
    pub retries: Option<i64>,
}

/// The layers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the layers' archives, not compressed, the lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

/// How a layer was made, or what was set without making one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether there is no layer for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Docker writes `null` for what is empty.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ImageConfig {
    /// Reads one that belongs to a manifest with `layers` layers.
    pub fn parse(text: &[u8], layers: usize, operation: &str) -> Result<ImageConfig> {
        let corrupt = |reason: String| Err(Error::new(Kind::Corrupt, operation, reason));
        if text.len() > super::MOST_CONFIG_BYTES {
            return corrupt(format!("it is longer than {} MiB", super::MOST_CONFIG_BYTES >> 20));
        }
        let config: ImageConfig = match serde_json::from_slice(text) {
            Ok(config) => config,
            Err(error) => return corrupt(format!("it is no configuration: {error}")),
        };
        if config.rootfs.kind != "layers" {
            return corrupt(format!(
                "rootfs.type is `{}`, and not `layers`",
                config.rootfs.kind.escape_debug()
            ));
        }
        if config.rootfs.diff_ids.len() != layers {
            return corrupt(format!(
                "it has {} layers, and its manifest has {layers}",
                config.rootfs.diff_ids.len()
            ));
        }
        Ok(config)
    }

    /// When it was made, in seconds since 1970, where it says so as RFC 3339 has it.
    pub fn created(&self) -> Option<u64> {
        seconds(self.created.as_deref()?)
    }

    /// What it is for.
    pub fn platform(&self) -> Platform {
        let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: said(&self.os_version),
            variant: said(&self.variant),
            ..Platform::default()
        }
    }
}

/// Seconds since 1970 of a moment as RFC 3339 writes it: `2024-05-01T12:30:00.5Z`, or with `+02:00` at its end.
pub fn seconds(text: &str) -> Option<u64> {
    let number = |text: &str, from: usize, to: usize| {
        let digits = text.get(from..to).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits?.parse::<i64>().ok()
    };
    let (year, month, day) = (number(text, 0, 4)?, number(text, 5, 7)?, number(text, 8, 10)?);
    let (hour, minute, second) = (number(text, 11, 13)?, number(text, 14, 16)?, number(text, 17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone = text.get(19..)?.trim_start_matches(|letter: char| letter == '.' || letter.is_ascii_digit());
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(zone, 1, 3)?, number(zone, 4, 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = 60 * (60 * hours + minutes);
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let days = sys::calendar::days(year, month, day);
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second - offset).ok()
}

/// A moment in seconds since 1970, as RFC 3339 writes it.
pub fn moment(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = sys::calendar::date(days as i64);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn configuration_of_docker_with_its_nulls_is_read() {
        let text = format!(
            r#"{{"architecture": "amd64", "os": "linux", "config": {{"User": "", "Env": ["A=b"], "Cmd": null,
            "Entrypoint": ["/x"], "ExposedPorts": {{"80/tcp": {{}}}}, "Volumes": null, "Labels": null, "OnBuild": null,
            "Healthcheck": {{"Test": ["CMD", "x"], "Interval": 5}}}},
            "history": [{{"created_by": "x", "empty_layer": true}}], "rootfs": {{"type": "layers", "diff_ids": ["{DIGEST}"]}}}}"#
        );
        let config = ImageConfig::parse(text.as_bytes(), 1, "read").expect("legal");
        assert_eq!(config.config.entrypoint, ["/x"]);
        assert!(config.config.cmd.is_empty() && config.config.exposed_ports.contains_key("80/tcp"));
        assert_eq!(config.platform().to_string(), "linux/amd64");
        assert!(config.history[0].empty_layer);
        let none = text.replace(r#""config": {"#, r#""config": null, "other": {"#);
        assert_eq!(ImageConfig::parse(none.as_bytes(), 1, "read").expect("legal").config, Runtime::default());
    }

    #[test]
    fn moments_of_builders_are_read() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T00:00:00.123456789Z"), Some(951_782_400));
        assert_eq!(seconds("2035-01-01T01:59:59+02:00"), Some(2_051_222_399));
        assert_eq!(seconds("2100-03-01T00:00:00-00:30"), Some(4_107_544_200));
        for text in ["", "2024", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00", "0001-01-01T00:00:00Z", "x"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
        // What no builder writes, and what was more than there are numbers for.
        for zone in
            ["+9223372036854775807:00", "-00:9223372036854775807", "+24:00", "+00:60", "+2:00", "+-1:00"]
        {
            assert_eq!(seconds(&format!("2024-01-01T00:00:00{zone}")), None, "{zone}");
        }
    }

    #[test]
    fn moments_are_written_as_they_are_read() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(951_782_400), "2000-02-29T00:00:00Z");
        for second in (0..20_000_000_000u64).step_by(86_399 * 17) {
            assert_eq!(seconds(&moment(second)), Some(second));
        }
    }

    #[test]
    fn configuration_that_is_not_its_manifests_is_refused() {
        let text = format!(r#"{{"rootfs": {{"type": "layers", "diff_ids": ["{DIGEST}"]}}}}"#);
        assert!(ImageConfig::parse(text.as_bytes(), 1, "read").is_ok());
        for (text, layers) in [
            (text.clone(), 2),
            (text.replace("layers", "base"), 1),
            (text.replace("sha256:", "sha256:/"), 1),
            (text.replace("rootfs", "root"), 1),
            ("[]".to_owned(), 0),
        ] {
            assert!(ImageConfig::parse(text.as_bytes(), layers, "read").is_err(), "{text}");
        }
    }
}
