//! What a container may use of the host, as meant. Looks nothing up.

use crate::error::{Error, Result};

/// Limits of one container; absent means none of its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LimitOptions {
    /// Memory in bytes.
    pub memory: Option<i64>,
    /// Processor time, in thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// The most tasks; -1 is no limit.
    pub pids_limit: Option<i64>,
}

impl LimitOptions {
    /// Refuses what no kernel could do.
    pub(crate) fn check(&self) -> Result<()> {
        if self.memory.is_some_and(|bytes| bytes < 512 * 1024) {
            let error = Error::invalid("--memory", "is less than a process needs to start".to_owned());
            return Err(error.with_hint("give at least 512k; `64m` is a usual value"));
        }
        if self.pids_limit.is_some_and(|limit| limit < -1) {
            let error = Error::invalid("--pids-limit", "is negative".to_owned());
            return Err(error.with_hint("-1 is no limit; otherwise give the most tasks there may be"));
        }
        Ok(())
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
