//! Owns the translation of control files' lines into properties of a unit. Must not talk to systemd.

use super::value::Value;
use crate::error::{Error, Kind, Operation};
use crate::resources::Write;

/// systemd keeps the share of a processor in hundredths: microseconds of a second, in steps of this.
const QUOTA_STEP: u64 = 10_000;

/// The period where none is given, in microseconds, for the kernel and for systemd.
const USUAL_PERIOD: u64 = 100_000;

/// systemd's word for no limit.
const INFINITY: u64 = u64::MAX;

// The systemd that came with a property.
const CPU_QUOTA_PERIOD: u32 = 242;
const ALLOWED_CPUS: u32 = 244;
const CPU_IDLE: u32 = 252;

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name, see systemd.resource-control(5) and org.freedesktop.systemd1(5).
    pub name: String,
    /// Its value.
    pub value: Value,
}

impl Property {
    pub(crate) fn new(name: &str, value: Value) -> Property {
        Property { name: name.to_owned(), value }
    }

    /// Reads a property as an annotation `org.systemd.property.NAME` gives it.
    ///
    /// A name that ends in `Sec` is systemd's own spelling in unit files for what its interface counts in microseconds.
    pub fn parse(name: &str, text: &str) -> Result<Property, Error> {
        let refuse = |detail: String| {
            Err(Error::plain(Operation::ReadProperty, name.escape_debug().to_string(), Kind::Invalid, detail))
        };
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return refuse(
                "is no name of a property of systemd: three letters or more and nothing else".to_owned(),
            );
        }
        let value = match Value::parse(text) {
            Ok(value) => value,
            Err(reason) => return refuse(reason),
        };
        let seconds =
            name.strip_suffix("Sec").filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase()));
        match seconds {
            None => Ok(Property { name: name.to_owned(), value }),
            Some(stem) => match value.seconds_to_microseconds() {
                Some(value) => Ok(Property { name: format!("{stem}USec"), value }),
                None => refuse(format!("`{}` is no number of seconds", text.escape_debug())),
            },
        }
    }
}

/// The properties that say what `writes`, lines of cgroup v2, say, as far as this version of systemd has them. Lines of
/// the same file are one property, the last counts. A quota is rounded up to what systemd can keep, in the lines too:
/// otherwise it would write another value when it comes by again.
pub(crate) fn of_writes(writes: &mut [Write], version: u32) -> Vec<Property> {
    let mut properties: Vec<Property> = Vec::new();
    for write in writes {
        let mut put = |property: Property| {
            properties.retain(|known: &Property| known.name != property.name);
            properties.push(property);
        };
        let value = write.value.trim().to_owned();
        let number = || if value == "max" { Some(INFINITY) } else { value.parse().ok() };
        let named = |name: &str| number().map(|number| Property::new(name, Value::Uint64(number)));
        let property = match &*write.file {
            "memory.max" => named("MemoryMax"),
            "memory.high" => named("MemoryHigh"),
            "memory.low" => named("MemoryLow"),
            "memory.min" => named("MemoryMin"),
            "memory.swap.max" => named("MemorySwapMax"),
            "pids.max" => named("TasksMax"),
            "cpu.weight" => named("CPUWeight"),
            // What it calls a weight of 0 is this; back from it leads a weight.
            "cpu.idle" if value == "1" && version >= CPU_IDLE => {
                Some(Property::new("CPUWeight", Value::Uint64(0)))
            }
            "cpu.max" => {
                let Some((quota, period)) = quota(&value) else { continue };
                let (share, rounded) = share(quota, period);
                if rounded != quota {
                    write.value = format!("{} {period}", rounded.unwrap_or_default());
                }
                if version >= CPU_QUOTA_PERIOD {
                    put(Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)));
                }
                Some(Property::new("CPUQuotaPerSecUSec", Value::Uint64(share)))
            }
            "cpuset.cpus" if version >= ALLOWED_CPUS => mask("AllowedCPUs", &value),
            "cpuset.mems" if version >= ALLOWED_CPUS => mask("AllowedMemoryNodes", &value),
            _ => None,
        };
        property.into_iter().for_each(&mut put);
    }
    properties
}

/// The same of `writes` that are lines of cgroup v1.
pub(crate) fn of_writes_v1(writes: &mut [Write], version: u32) -> Vec<Property> {
    let mut rounded_quota = None;
    let find = |file: &str| writes.iter().rfind(|write| write.file == file).map(|write| write.value.trim());
    let mut properties = Vec::new();
    for (file, name) in [
        ("memory.limit_in_bytes", "MemoryLimit"),
        ("cpu.shares", "CPUShares"),
        ("blkio.weight", "BlockIOWeight"),
        ("pids.max", "TasksMax"),
    ] {
        let number = find(file).and_then(|value| match value {
            "max" | "-1" => Some(INFINITY),
            number => number.parse().ok(),
        });
        properties.extend(number.map(|number| Property::new(name, Value::Uint64(number))));
    }
    let quota = find("cpu.cfs_quota_us").and_then(|value| value.parse::<i64>().ok());
    let period =
        find("cpu.cfs_period_us").and_then(|value| value.parse::<u64>().ok()).filter(|period| *period > 0);
    if let Some(period) = period.filter(|_| version >= CPU_QUOTA_PERIOD) {
        properties.push(Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)));
    }
    if let Some(quota) = quota {
        let (share, rounded) = share(u64::try_from(quota).ok(), period.unwrap_or(USUAL_PERIOD));
        rounded_quota = rounded;
        properties.push(Property::new("CPUQuotaPerSecUSec", Value::Uint64(share)));
    }
    for (file, name) in [("cpuset.cpus", "AllowedCPUs"), ("cpuset.mems", "AllowedMemoryNodes")] {
        properties.extend(find(file).filter(|_| version >= ALLOWED_CPUS).and_then(|list| mask(name, list)));
    }
    let quota = writes.iter_mut().rfind(|write| write.file == "cpu.cfs_quota_us");
    if let (Some(line), Some(rounded)) = (quota, rounded_quota) {
        line.value = rounded.to_string();
    }
    properties
}

/// Quota and period of a line for `cpu.max`; no quota is none.
fn quota(line: &str) -> Option<(Option<u64>, u64)> {
    let mut words = line.split_ascii_whitespace();
    let quota = match words.next()? {
        "max" => None,
        number => Some(number.parse().ok()?),
    };
    let period = words.next().map_or(Some(USUAL_PERIOD), |word| word.parse().ok())?;
    (period > 0).then_some((quota, period))
}

/// The share in microseconds of a second, in whole steps, and the quota that this amounts to.
fn share(quota: Option<u64>, period: u64) -> (u64, Option<u64>) {
    let Some(quota) = quota else { return (INFINITY, None) };
    let wide = |share: u64| u128::from(share) * u128::from(period) / 1_000_000;
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    let Ok(exact) = u64::try_from(exact) else { return (INFINITY, Some(quota)) };
    if exact.is_multiple_of(QUOTA_STEP) {
        return (exact, Some(quota));
    }
    let share = exact.next_multiple_of(QUOTA_STEP);
    (share, u64::try_from(wide(share)).ok())
}

/// A list such as `0-3,7` as the bit mask that systemd takes: bit 0 of the first byte is number 0.
fn mask(name: &str, list: &str) -> Option<Property> {
    /// The kernel's limit on processors (`CONFIG_NR_CPUS`) is lower on every architecture.
    const MOST: usize = 8192;
    let mut bytes: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        for number in first..=last {
            if bytes.len() <= number / 8 {
                bytes.resize(number / 8 + 1, 0);
            }
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    let mask = Value::Array("y".to_owned(), bytes.into_iter().map(Value::Byte).collect());
    Some(Property::new(name, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(lines: &[(&'static str, &str)], version: u32) -> (Vec<(String, Value)>, Vec<String>) {
        let mut writes: Vec<Write> =
            lines.iter().map(|(file, value)| Write::new("cpu", *file, value)).collect();
        let properties = of_writes(&mut writes, version);
        (
            properties.into_iter().map(|property| (property.name, property.value)).collect(),
            writes.into_iter().map(|write| write.value).collect(),
        )
    }

    fn one(name: &str, value: u64) -> (String, Value) {
        (name.to_owned(), Value::Uint64(value))
    }

    #[test]
    fn quota_is_rounded_up_to_hundredths_in_the_file_too() {
        let (found, lines) = properties(&[("cpu.max", "600000 900000")], 257);
        assert_eq!(found, [one("CPUQuotaPeriodUSec", 900_000), one("CPUQuotaPerSecUSec", 670_000)]);
        assert_eq!(lines, ["603000 900000"]);
        let (found, lines) = properties(&[("cpu.max", "5000 50000")], 241);
        assert_eq!(found, [one("CPUQuotaPerSecUSec", 100_000)]);
        assert_eq!(lines, ["5000 50000"]);
        let (found, lines) = properties(&[("cpu.max", "max 100000")], 257);
        assert_eq!(found, [one("CPUQuotaPeriodUSec", 100_000), one("CPUQuotaPerSecUSec", u64::MAX)]);
        assert_eq!(lines, ["max 100000"]);
    }

    #[test]
    fn last_line_of_a_file_is_the_property() {
        let (found, _) = properties(&[("pids.max", "5"), ("memory.max", "max"), ("pids.max", "6")], 257);
        assert_eq!(found, [one("MemoryMax", u64::MAX), one("TasksMax", 6)]);
    }

    #[test]
    fn processors_are_bits_and_older_systemds_do_not_hear_of_them() {
        let (found, _) = properties(&[("cpuset.cpus", "0-1,9")], 244);
        let bytes = vec![Value::Byte(3), Value::Byte(2)];
        assert_eq!(found, [("AllowedCPUs".to_owned(), Value::Array("y".into(), bytes))]);
        assert!(properties(&[("cpuset.cpus", "0-1,9")], 243).0.is_empty());
        assert!(properties(&[("cpuset.cpus", "0-99999999999")], 257).0.is_empty());
    }

    #[test]
    fn idleness_is_a_weight_of_nothing_since_252() {
        assert_eq!(properties(&[("cpu.idle", "1")], 252).0, [one("CPUWeight", 0)]);
        assert!(properties(&[("cpu.idle", "0")], 252).0.is_empty());
        assert!(properties(&[("cpu.idle", "1")], 251).0.is_empty());
    }

    #[test]
    fn annotated_seconds_are_microseconds_and_names_are_letters() {
        let property = Property::parse("TimeoutStopSec", "5").expect("legal");
        assert_eq!(property, Property::new("TimeoutStopUSec", Value::Uint64(5_000_000)));
        assert_eq!(Property::parse("TimeoutStopUSec", "uint64 5").expect("legal").name, "TimeoutStopUSec");
        for name in ["", "Ab", "Bad-Name", "A B C", "Näme"] {
            assert!(Property::parse(name, "true").is_err(), "{name}");
        }
        assert!(Property::parse("TimeoutStopSec", "'soon'").is_err());
    }
}
