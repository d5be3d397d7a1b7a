//! `events`: what a container uses, and when its memory runs out, as one JSON document a line in runc's form.

use std::io::Write;
use std::time::Duration;

use lexopt::{Arg, Parser};
use runtime::limits::{self, Counter, Event, Pressure, Stall, Statistics};
use runtime::{Error, ErrorKind};
use serde_json::{Value, json};

use super::{Failure, Outcome};
use crate::args::{self, Globals};

pub(super) const USAGE: &str = "\
Show what a container uses, and when its memory runs out: one JSON document a line, until it ends.

Usage: rabbitc-runtime events [OPTIONS] ID

Options:
  --interval TIME  between two looks: 5s, 500ms, 1m30s [5s]
  --stats          look once
";

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut id = None;
    let mut interval = Duration::from_secs(5);
    let mut once = false;
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("interval") => interval = duration(&args::text(&mut parser)?)?,
            Arg::Long("stats") => once = args::switch(&mut parser)?,
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Value(value) => args::take_id(&mut id, value)?,
            other => return Err(args::unexpected(other).into()),
        }
    }
    let id = args::need_id(id, "events")?;
    let state = globals.state();
    if once {
        print(&document(id.as_str(), &Event::Statistics(Box::new(limits::statistics(&state, &id)?))))?;
    } else {
        limits::watch(&state, &id, interval, &mut |event| print(&document(id.as_str(), &event)))?;
    }
    Ok(0)
}

/// A line at once, as the reader waits for it.
fn print(document: &Document<'_>) -> Result<(), Error> {
    let line = serde_json::to_string(document).expect("only string keys") + "\n";
    let mut output = std::io::stdout().lock();
    let written = output.write_all(line.as_bytes()).and_then(|()| output.flush());
    written.map_err(|error| Error::system("write to standard output", error))
}

/// A length of time in Go's form, which callers write: numbers with a unit each.
fn duration(text: &str) -> Result<Duration, Error> {
    let wrong = |reason: &str| {
        Error::invalid("--interval", format!("`{text}` {reason}")).with_hint("write `5s`, `500ms` or `1m30s`")
    };
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(rest.len());
        let unit_end =
            rest[digits..].find(|one: char| one.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let number: f64 = rest[..digits].parse().map_err(|_| wrong("is not a length of time"))?;
        total += number
            * match &rest[digits..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(wrong("has a number without a unit of time")),
            };
        rest = &rest[unit_end..];
    }
    let length = Duration::try_from_secs_f64(total).map_err(|_| wrong("is too long"))?;
    if length.is_zero() {
        return Err(Error::new(ErrorKind::Invalid, "--interval", "must be greater than 0"));
    }
    Ok(length)
}

/// One line. Callers know its fields in this order.
#[derive(serde::Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

fn document<'a>(id: &'a str, event: &Event) -> Document<'a> {
    match event {
        Event::OutOfMemory => Document { kind: "oom", id, data: None },
        Event::Statistics(statistics) => Document { kind: "stats", id, data: Some(data(statistics)) },
    }
}

/// The fields that containerd and others read, in runc's form; what this host does not tell is left out or 0 as there.
fn data(statistics: &Statistics) -> Value {
    let cpu = statistics.cpu.unwrap_or_default();
    let mut usage = json!({ "total": cpu.usage, "kernel": cpu.system, "user": cpu.user });
    let processors = &statistics.processors;
    for (name, list) in [
        ("percpu", &processors.usage),
        ("percpu_kernel", &processors.system),
        ("percpu_user", &processors.user),
    ] {
        if !list.is_empty() {
            usage[name] = json!(list);
        }
    }
    let mut document = json!({
        "cpu": {
            "usage": usage,
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled_time,
            },
        },
        "cpuset": cpuset(statistics),
        "memory": memory(statistics),
        "pids": {},
        "blkio": block_io(statistics),
        "hugetlb": statistics.hugepages.iter().map(|(size, counter)| {
            let value = json!({ "usage": counter.usage, "max": counter.peak, "failcnt": counter.failures });
            (size.clone(), value)
        }).collect::<serde_json::Map<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null,
    });
    if let Some(pids) = statistics.pids {
        document["pids"] = json!({ "current": pids.current, "limit": pids.limit.unwrap_or(0) });
    }
    let waits = [
        ("cpu", statistics.pressure.cpu),
        ("memory", statistics.pressure.memory),
        ("blkio", statistics.pressure.io),
    ];
    for (name, pressure) in waits {
        if let Some(pressure) = pressure {
            document[name]["psi"] = psi(&pressure);
        }
    }
    document
}

fn cpuset(statistics: &Statistics) -> Value {
    let found = statistics.cpuset.clone().unwrap_or_default();
    let mut document = json!({ "cpus": found.cpus, "mems": found.mems });
    for (name, value) in found.flags {
        document[name] = value.into();
    }
    document
}

fn memory(statistics: &Statistics) -> Value {
    let counters = &statistics.memory_counters;
    let cache = ["cache", "file"].iter().find_map(|name| counters.get(*name));
    let entry = |counter: &Counter| {
        json!({
            "limit": counter.limit, "usage": counter.usage, "max": counter.peak, "failcnt": counter.failures,
        })
    };
    let kinds = &statistics.memory_kinds;
    json!({
        "cache": cache.copied().unwrap_or(0),
        "usage": entry(&kinds.memory),
        "swap": entry(&kinds.with_swap),
        "kernel": entry(&kinds.kernel),
        "kernelTCP": entry(&kinds.kernel_tcp),
        "raw": counters,
    })
}

fn block_io(statistics: &Statistics) -> Value {
    let entries = |read: fn(&limits::BlockIoStatistics) -> u64,
                   write: fn(&limits::BlockIoStatistics) -> u64| {
        let mut list = Vec::new();
        for device in &statistics.block_io {
            for (operation, value) in [("Read", read(device)), ("Write", write(device))] {
                list.push(json!({
                    "major": device.major, "minor": device.minor, "op": operation, "value": value,
                }));
            }
        }
        Value::Array(list)
    };
    json!({
        "ioServiceBytesRecursive": entries(|device| device.read_bytes, |device| device.written_bytes),
        "ioServicedRecursive": entries(|device| device.reads, |device| device.writes),
    })
}

fn psi(pressure: &Pressure) -> Value {
    let stall = |stall: &Stall| {
        json!({
            "avg10": stall.average_10, "avg60": stall.average_60, "avg300": stall.average_300, "total": stall.total,
        })
    };
    json!({ "some": stall(&pressure.some), "full": stall(&pressure.full) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_as_go_reads_them() {
        for (text, milliseconds) in [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1.5h", 5_400_000)] {
            assert_eq!(duration(text).expect(text).as_millis(), milliseconds, "{text}");
        }
        for text in ["", "5", "s", "5x", "0s", "-1s", "1s5", "1e99h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
