//! What a person asks for, as meant: typed, with defaults resolved, nothing looked up yet.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// What stands at the container's root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RootOptions {
    /// The host's own root below a throw-away overlay.
    #[default]
    Host,
    /// A directory, written to directly.
    Directory(PathBuf),
    /// A directory below a throw-away overlay.
    Overlay(PathBuf),
}

/// How the container is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// A bridge with addresses of its own.
    #[default]
    Bridge,
    /// Loopback alone.
    None,
    /// The host's own network.
    Host,
}

/// Whether the container gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TerminalMode {
    /// The caller's streams are inherited.
    #[default]
    Inherit,
    /// A new terminal of this size (rows, columns).
    New(u16, u16),
}

/// A container as a person asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// What stands at its root.
    pub root: RootOptions,
    /// Whether the root refuses writes.
    pub read_only: bool,
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// Its host name.
    pub hostname: String,
    /// How it is connected.
    pub network: NetworkMode,
    /// The bridge.
    pub network_name: String,
    /// Address of the bridge and its subnet.
    pub network_ip: String,
    /// The container's own address; without one, the lowest that is free.
    pub container_ip: Option<String>,
    /// Its terminal.
    pub terminal: TerminalMode,
    /// Variables of its environment, `NAME=value`, over the defaults.
    pub environment: Vec<String>,
    /// Memory in bytes.
    pub memory: Option<i64>,
    /// Processor time, in thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// The most tasks.
    pub pids_limit: Option<i64>,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            root: RootOptions::Host,
            read_only: false,
            command: vec!["/bin/sh".to_owned()],
            hostname: "rabbitc".to_owned(),
            network: NetworkMode::Bridge,
            network_name: "rabbitc0".to_owned(),
            network_ip: "172.19.0.1/16".to_owned(),
            container_ip: None,
            terminal: TerminalMode::Inherit,
            environment: Vec::new(),
            memory: None,
            cpu_millis: None,
            pids_limit: None,
        }
    }
}

/// Reads a size such as `64m`: bytes, or with `b`, `k`, `m`, `g`, `t` in powers of 1024, as docker has them.
pub fn parse_size(field: &str, text: &str) -> Result<i64> {
    let wrong = || {
        let error = Error::invalid(field, format!("`{text}` is not a size"));
        error.with_hint("write bytes, or a number with b, k, m, g or t behind it: `64m`")
    };
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (number, shift) = match lower.char_indices().last() {
        Some((at, 'k')) => (&lower[..at], 10),
        Some((at, 'm')) => (&lower[..at], 20),
        Some((at, 'g')) => (&lower[..at], 30),
        Some((at, 't')) => (&lower[..at], 40),
        _ => (lower, 0),
    };
    let value: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = value * (1u64 << shift) as f64;
    if !(bytes.is_finite() && bytes >= 0.0 && bytes < i64::MAX as f64) {
        return Err(wrong());
    }
    Ok(bytes as i64)
}

/// Reads a number of processors such as `1.5` into thousandths.
pub fn parse_cpus(field: &str, text: &str) -> Result<u64> {
    let wrong = || {
        let error = Error::invalid(field, format!("`{text}` is not a number of processors"));
        error.with_hint("write a positive number such as `1.5`, at least 0.01")
    };
    let value: f64 = text.trim().parse().map_err(|_| wrong())?;
    if !(value.is_finite() && (0.01..=1_000_000.0).contains(&value)) {
        return Err(wrong());
    }
    Ok((value * 1000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("1024", 1024),
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("1.5g", 3 << 29),
            ("1GiB", 1 << 30),
            ("5b", 5),
        ] {
            assert_eq!(parse_size("--memory", text).expect(text), bytes, "{text}");
        }
        for text in ["", "m", "64x", "-1", "1e400", "nan", "64 m m"] {
            assert!(parse_size("--memory", text).is_err(), "{text}");
        }
    }

    #[test]
    fn processors_are_thousandths() {
        assert_eq!(parse_cpus("--cpus", "1.5").expect("legal"), 1500);
        assert!(parse_cpus("--cpus", "0").is_err());
        assert!(parse_cpus("--cpus", "inf").is_err());
    }
}
