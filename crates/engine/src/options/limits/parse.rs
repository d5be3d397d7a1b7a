//! How limits are written. Strings stop here; what they mean is in the types of the module above.

use std::num::IntErrorKind;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{CPU_PERIOD, DeviceLimit, Ulimit};
use crate::error::{Error, Result};
use crate::options::nearest;

/// Numbers of processors or memory nodes, in ascending order without repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NumberList(Vec<u32>);

impl NumberList {
    /// Of these numbers, in ascending order and each once.
    pub(crate) fn from_numbers(numbers: Vec<u32>) -> NumberList {
        NumberList(numbers)
    }

    /// The numbers.
    pub fn numbers(&self) -> &[u32] {
        &self.0
    }
}

impl std::fmt::Display for NumberList {
    /// As the kernel writes it: `0-3,7`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut numbers = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while numbers.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match last - first {
                0 => write!(formatter, "{separator}{first}")?,
                _ => write!(formatter, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

/// Reads a size such as `64m`: bytes, or with `b`, `k`, `m`, `g`, `t`, `p` in powers of 1024, as docker has them.
pub fn parse_size(field: &str, text: &str) -> Result<i64> {
    read_size(text).map_err(|mistake| match mistake {
        SizeMistake::NoSize => {
            let error = Error::invalid(field, format!("`{text}` is not a size"));
            error.with_hint("write bytes, or a number with b, k, m, g or t behind it: `64m`")
        }
        SizeMistake::TooLarge => {
            let error = Error::invalid(field, format!("`{text}` is too large"));
            error.with_hint(format!("{MOST_BYTES}; no limit is to leave it out"))
        }
    })
}

/// Why a text is no size.
pub(crate) enum SizeMistake {
    /// It says none.
    NoSize,
    /// The kernel's numbers have no room for it.
    TooLarge,
}

/// Where sizes end, in words.
pub(crate) const MOST_BYTES: &str = "sizes end below 8192p, which is 2^63 bytes";

/// The same as [`parse_size`], for whoever has words of its own.
pub(crate) fn read_size(text: &str) -> std::result::Result<i64, SizeMistake> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (number, shift) = match lower.char_indices().last() {
        Some((at, 'k')) => (&lower[..at], 10),
        Some((at, 'm')) => (&lower[..at], 20),
        Some((at, 'g')) => (&lower[..at], 30),
        Some((at, 't')) => (&lower[..at], 40),
        Some((at, 'p')) => (&lower[..at], 50),
        _ => (lower, 0),
    };
    let value: f64 = number.parse().map_err(|_| SizeMistake::NoSize)?;
    let bytes = value * (1u64 << shift) as f64;
    if bytes.is_nan() || bytes < 0.0 {
        return Err(SizeMistake::NoSize);
    }
    if bytes >= i64::MAX as f64 {
        return Err(SizeMistake::TooLarge);
    }
    Ok(bytes as i64)
}

/// Reads the limit of memory and swap together: a size, or -1 for no limit.
pub fn parse_swap(field: &str, text: &str) -> Result<i64> {
    if text.trim() == "-1" { Ok(-1) } else { parse_size(field, text) }
}

/// Reads a number of processors such as `1.5` into microseconds for each 100 ms; 0 is no limit.
pub fn parse_cpus(field: &str, text: &str) -> Result<Option<u64>> {
    /// 1 ms of each period of 100 (`min_cfs_quota_period` of kernel/sched/core.c).
    const LEAST: f64 = 0.01;
    /// More than there are anywhere.
    const MOST: f64 = 1_000_000.0;
    let refuse = |reason: &str, hint: &str| {
        Err(Error::invalid(field, format!("`{text}` {reason}")).with_hint(hint.to_owned()))
    };
    let value: f64 = match text.trim().parse() {
        Ok(value) if value >= 0.0 => value,
        _ => return refuse("is not a number of processors", "write a positive number such as `1.5`"),
    };
    if value == 0.0 {
        return Ok(None);
    }
    if value < LEAST {
        return refuse(
            "is less than the kernel's smallest quota, which is 1 ms of each 100 ms",
            "give at least 0.01",
        );
    }
    if value > MOST {
        return refuse("is too large", "give at most as many as there are; 0 is no limit");
    }
    Ok(Some((value * CPU_PERIOD as f64).round() as u64))
}

/// Reads a list such as `0-3,7`.
pub fn parse_number_list(field: &str, text: &str) -> Result<NumberList> {
    /// More than any kernel is built for (CONFIG_NR_CPUS, at most 8192 on x86).
    const MOST: u32 = 1 << 16;
    let wrong = || {
        let error = Error::invalid(field, format!("`{}` is not a list of numbers", text.escape_debug()));
        error.with_hint("write numbers and ranges: `0-3,7`")
    };
    let number = |text: &str| {
        let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().unwrap_or(u32::MAX);
        match good {
            false => Err(wrong()),
            true if number < MOST => Ok(number),
            true => {
                let error = Error::invalid(field, format!("`{text}` is too large"));
                Err(error.with_hint(format!("no kernel has numbers above {}", MOST - 1)))
            }
        }
    };
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(NumberList(numbers))
}

/// Reads a whole number; one that has no room is the nearest that has, which the flag's own bound is to refuse.
pub fn parse_signed(text: &str) -> std::result::Result<i64, std::num::ParseIntError> {
    text.parse().or_else(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => Ok(i64::MAX),
        IntErrorKind::NegOverflow => Ok(i64::MIN),
        _ => Err(error),
    })
}

/// The same, from 0 on.
pub fn parse_unsigned(text: &str) -> std::result::Result<u64, std::num::ParseIntError> {
    text.parse().or_else(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => Ok(u64::MAX),
        _ => Err(error),
    })
}

/// Reads a whole number within bounds.
fn parse_within(field: &str, text: &str, bounds: std::ops::RangeInclusive<i64>, hint: &str) -> Result<i64> {
    let reason = match parse_signed(text.trim()) {
        Ok(number) if bounds.contains(&number) => return Ok(number),
        Ok(_) => format!("`{text}` is not within {} and {}", bounds.start(), bounds.end()),
        Err(_) => format!("`{}` is not a whole number", text.escape_debug()),
    };
    Err(Error::invalid(field, reason).with_hint(hint))
}

/// Reads a readiness to swap; -1 is the kernel's default, as with docker.
pub fn parse_swappiness(field: &str, text: &str) -> Result<Option<u64>> {
    if text.trim() == "-1" {
        return Ok(None);
    }
    let hint = "0 swaps as late as possible, 100 as soon; -1 is the kernel's default";
    Ok(Some(parse_within(field, text, 0..=100, hint)?.unsigned_abs()))
}

/// Reads a score for the host's want of memory.
pub fn parse_oom_score(field: &str, text: &str) -> Result<i32> {
    Ok(parse_within(field, text, -1000..=1000, "-1000 is never killed, 1000 is killed first")? as i32)
}

/// Reads a weight of block devices; 0 is none.
pub fn parse_weight(field: &str, text: &str) -> Result<Option<u16>> {
    match text.trim().parse() {
        Ok(0) => Ok(None),
        Ok(weight @ 10..=1000) => Ok(Some(weight)),
        _ => {
            let error = Error::invalid(field, format!("`{text}` is not a weight"));
            Err(error.with_hint("write a number from 10 to 1000"))
        }
    }
}

/// Reads `/dev/NAME:WEIGHT`.
pub fn parse_device_weight(field: &str, text: &str) -> Result<DeviceLimit<u16>> {
    let (path, value) = device(field, text)?;
    let wrong = || {
        let error = Error::invalid(field, format!("`{text}` gives no weight"));
        error.with_hint("write a number from 10 to 1000 behind the colon: `/dev/sda:300`")
    };
    Ok(DeviceLimit { path, value: parse_weight(field, value)?.ok_or_else(wrong)? })
}

/// Reads `/dev/NAME:SIZE`.
pub fn parse_device_size(field: &str, text: &str) -> Result<DeviceLimit<u64>> {
    let (path, value) = device(field, text)?;
    Ok(DeviceLimit { path, value: parse_size(field, value)?.unsigned_abs() })
}

/// Reads `/dev/NAME:NUMBER`.
pub fn parse_device_count(field: &str, text: &str) -> Result<DeviceLimit<u64>> {
    let (path, value) = device(field, text)?;
    let number = parse_unsigned(value).map_err(|_| {
        let error = Error::invalid(field, format!("`{value}` is not a number of operations"));
        error.with_hint("write how many there may be in a second: `/dev/sda:100`")
    })?;
    // Cgroup v1 cuts off what does not fit (`tg_set_conf_uint` of block/blk-throttle.c).
    if number > u64::from(u32::MAX) {
        let error = Error::invalid(field, format!("`{value}` is too large"));
        return Err(error.with_hint(format!("the kernel counts up to {} in a second", u32::MAX)));
    }
    Ok(DeviceLimit { path, value: number })
}

/// The path may have colons, as links in /dev/disk/by-path do.
fn device<'a>(field: &str, text: &'a str) -> Result<(PathBuf, &'a str)> {
    match text.rsplit_once(':') {
        Some((path, value)) if path.starts_with("/dev/") => Ok((PathBuf::from(path), value)),
        _ => {
            let error = Error::invalid(field, format!("`{text}` is not a device with its limit"));
            Err(error.with_hint("write a path below /dev, a colon and the limit: `/dev/sda:1m`"))
        }
    }
}

/// Kinds of setrlimit(2), as docker and the shell name them.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads `NAME=SOFT[:HARD]`; -1 or `unlimited` is no limit. Podman's `host`, which asks for the caller's own limits,
/// asks for nothing here: they are inherited.
pub fn parse_ulimit(field: &str, text: &str) -> Result<Option<Ulimit>> {
    if text == "host" {
        return Ok(None);
    }
    let wrong = |reason: String, hint: &str| Error::invalid(field, reason).with_hint(hint);
    let (name, value) = text.split_once('=').ok_or_else(|| {
        wrong(
            format!("`{text}` is not a limit"),
            "write a name, `=` and one or two numbers: `nofile=1024:4096`",
        )
    })?;
    let lower = name.to_ascii_lowercase();
    let plain = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    let name = ULIMITS.into_iter().find(|known| *known == plain).ok_or_else(|| {
        let hint = match nearest(plain, ULIMITS.into_iter()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("the kernel has {}", ULIMITS.join(", ")),
        };
        wrong(format!("`{name}` is no limit of processes"), &hint)
    })?;
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        digits => digits.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => {
                wrong(format!("`{digits}` is too large"), "limits end at 2^64 - 1, which is -1: no limit")
            }
            _ => wrong(format!("`{digits}` is not a number"), "write a number, or -1 for no limit"),
        }),
    };
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(wrong(
            format!("in `{text}` the first number exceeds the second"),
            "the first is where a process starts, the second how far it may raise that",
        ));
    }
    Ok(Some(Ulimit { name, soft, hard }))
}

impl<'de> Deserialize<'de> for Ulimit {
    /// By hand, as a derived one would want the names of a record to live as long as ours.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Ulimit, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Form {
            name: String,
            soft: u64,
            hard: u64,
        }
        let Form { name, soft, hard } = Form::deserialize(deserializer)?;
        let known = ULIMITS.into_iter().find(|known| *known == name);
        let name =
            known.ok_or_else(|| D::Error::custom(format_args!("`{name}` is no limit of processes")))?;
        Ok(Ulimit { name, soft, hard })
    }
}

/// Reads `FILE=VALUE`, a file of cgroup v2.
pub fn parse_cgroup_conf(field: &str, text: &str) -> Result<(String, String)> {
    let legal = |file: &str| {
        let (controller, rest) = file.split_once('.')?;
        let good = !controller.is_empty() && !rest.is_empty() && !file.contains(['/', '\0', ' ']);
        good.then_some(())
    };
    match text.split_once('=') {
        Some((file, value)) if legal(file).is_some() => Ok((file.to_owned(), value.to_owned())),
        _ => {
            let error = Error::invalid(field, format!("`{text}` is no control file with its value"));
            Err(error.with_hint("write a file of cgroup v2, `=` and what it is to hold: `memory.high=64M`"))
        }
    }
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
        for text in ["", "m", "64x", "-1", "nan", "64 m m"] {
            let error = parse_size("--memory", text).expect_err(text);
            assert!(error.reason.ends_with("is not a size"), "{error}");
        }
        assert_eq!(parse_size("--memory", "8191p").expect("the most"), 8191 << 50);
        for text in ["8192p", "99999999999g", "99999999999999999999", "1e400"] {
            let error = parse_size("--memory", text).expect_err(text);
            assert!(error.reason.ends_with("is too large"), "{error}");
        }
        assert_eq!(parse_swap("--memory-swap", "-1").expect("no limit"), -1);
        assert!(parse_swap("--memory-swap", "-2").is_err());
    }

    #[test]
    fn processors_are_microseconds_of_a_period() {
        assert_eq!(parse_cpus("--cpus", "1.5").expect("legal"), Some(150_000));
        assert_eq!(parse_cpus("--cpus", "0.0125").expect("legal"), Some(1250));
        assert_eq!(parse_cpus("--cpus", "0").expect("docker's default"), None);
        for (text, reason) in [
            ("0.001", "`0.001` is less than the kernel's smallest quota, which is 1 ms of each 100 ms"),
            ("inf", "`inf` is too large"),
            ("99999999999999999999", "`99999999999999999999` is too large"),
            ("-1", "`-1` is not a number of processors"),
            ("nan", "`nan` is not a number of processors"),
            ("two", "`two` is not a number of processors"),
            ("", "`` is not a number of processors"),
        ] {
            assert_eq!(parse_cpus("--cpus", text).expect_err(text).reason, reason);
        }
        assert_eq!(parse_cpus("--cpus", "0.01").expect("the least"), Some(1000));
    }

    #[test]
    fn lists_of_processors_are_read_and_written_as_the_kernel_does() {
        for (text, canonical) in [("0", "0"), ("1,0", "0-1"), ("0-3,7", "0-3,7"), ("2,2,4-5", "2,4-5")] {
            assert_eq!(parse_number_list("--cpuset-cpus", text).expect(text).to_string(), canonical);
        }
        for text in ["", "a", "1-", "-1", "3-1", "0,,1", "+1", "99999999", "0-4294967295"] {
            assert!(parse_number_list("--cpuset-cpus", text).is_err(), "{text}");
        }
        let error = parse_number_list("--cpuset-cpus", "0,99999999999").expect_err("no such number");
        assert_eq!(error.reason, "`99999999999` is too large");
    }

    #[test]
    fn number_without_room_is_refused_by_a_bound() {
        const NINES: &str = "99999999999999999999";
        assert_eq!(parse_signed(NINES), Ok(i64::MAX));
        assert_eq!(parse_signed(&format!("-{NINES}")), Ok(i64::MIN));
        assert_eq!(parse_unsigned(NINES), Ok(u64::MAX));
        assert!(parse_unsigned("-1").is_err() && parse_signed("x").is_err());
        let reason = |result: Result<()>| result.expect_err("a bound").to_string();
        assert_eq!(
            reason(parse_swappiness("--memory-swappiness", NINES).map(drop)),
            format!("--memory-swappiness: `{NINES}` is not within 0 and 100")
        );
        assert_eq!(
            reason(parse_oom_score("--oom-score-adj", NINES).map(drop)),
            format!("--oom-score-adj: `{NINES}` is not within -1000 and 1000")
        );
        assert_eq!(
            reason(parse_device_count("--device-read-iops", "/dev/sda:4294967296").map(drop)),
            "--device-read-iops: `4294967296` is too large"
        );
        assert_eq!(
            reason(parse_ulimit("--ulimit", &format!("nofile={NINES}")).map(drop)),
            format!("--ulimit: `{NINES}` is too large")
        );
        assert_eq!(parse_swappiness("--memory-swappiness", "-1").expect("the default"), None);
        assert_eq!(parse_oom_score("--oom-score-adj", "-1000").expect("the least"), -1000);
    }

    #[test]
    fn devices_carry_their_limit_behind_the_last_colon() {
        let read = parse_device_size("--device-read-bps", "/dev/disk/by-path/pci-0:1:2m").expect("legal");
        assert_eq!((read.path.to_str(), read.value), (Some("/dev/disk/by-path/pci-0:1"), 2 << 20));
        assert_eq!(parse_device_count("--device-read-iops", "/dev/sda:7").expect("legal").value, 7);
        assert_eq!(parse_device_weight("--blkio-weight-device", "/dev/sda:10").expect("legal").value, 10);
        assert!(parse_device_count("--device-read-iops", "/dev/sda:1m").is_err());
        assert!(parse_device_size("--device-read-bps", "sda:1m").is_err());
        assert!(parse_device_size("--device-read-bps", "/dev/sda").is_err());
        for weight in ["9", "1001", "0", "x"] {
            assert!(parse_device_weight("--blkio-weight-device", &format!("/dev/sda:{weight}")).is_err());
        }
    }

    #[test]
    fn ulimits_have_one_number_or_two() {
        let read = |text| parse_ulimit("--ulimit", text).expect(text).expect("one");
        assert_eq!(read("nofile=5"), Ulimit { name: "nofile", soft: 5, hard: 5 });
        assert_eq!(read("core=0:-1"), Ulimit { name: "core", soft: 0, hard: u64::MAX });
        assert_eq!(read("RLIMIT_NPROC=unlimited").soft, u64::MAX);
        assert_eq!(parse_ulimit("--ulimit", "host").expect("podman's"), None);
        for text in ["nofile", "nofile=", "nofile=2:1", "nofile=-1:5", "nofile=x", "bogus=1", "nofile=1:2:3"]
        {
            assert!(parse_ulimit("--ulimit", text).is_err(), "{text}");
        }
        let error = parse_ulimit("--ulimit", "nofiles=1").expect_err("a mistake");
        assert!(error.hint.is_some_and(|hint| hint.contains("`nofile`")));
    }

    #[test]
    fn files_of_cgroup_v2_are_names_with_a_controller() {
        let read = parse_cgroup_conf("--cgroup-conf", "io.max=8:0 rbps=1").expect("legal");
        assert_eq!(read, ("io.max".to_owned(), "8:0 rbps=1".to_owned()));
        for text in ["memory.high", "memory=1", "../x.y=1", ".max=1", "a/b.c=1"] {
            assert!(parse_cgroup_conf("--cgroup-conf", text).is_err(), "{text}");
        }
    }
}
