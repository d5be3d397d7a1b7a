//! `stats`: what a container uses, at one moment.

use std::time::{Duration, Instant};

use runtime::{ErrorKind, lifecycle};

use super::Found;
use crate::error::{Error, Result};

/// What a container has used until a moment, and uses then. One that does not run uses nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// When; none of one that does not run.
    pub at: Option<Instant>,
    /// Processor time.
    pub processor: Duration,
    /// Bytes of memory, without what could be read again from files at once.
    pub memory: u64,
    /// The most bytes of memory that it can have.
    pub memory_limit: u64,
    /// Bytes that came over the network.
    pub received: u64,
    /// Bytes that went over the network.
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to block devices.
    pub written: u64,
    /// Processes and threads.
    pub tasks: u64,
}

impl Usage {
    /// How many percent of one processor it has used since `before`.
    pub fn percent_since(&self, before: &Usage) -> f64 {
        let (Some(now), Some(then)) = (self.at, before.at) else { return 0.0 };
        let used = self.processor.saturating_sub(before.processor).as_secs_f64();
        let passed = now.saturating_duration_since(then).as_secs_f64();
        if passed > 0.0 { used / passed * 100.0 } else { 0.0 }
    }

    /// How many percent of the memory that it can have it uses.
    pub fn memory_percent(&self) -> f64 {
        if self.memory_limit == 0 { 0.0 } else { self.memory as f64 / self.memory_limit as f64 * 100.0 }
    }
}

impl Found {
    /// What it uses; nothing where it does not run.
    pub fn usage(&self) -> Result<Usage> {
        let Some(view) = &self.view else { return Ok(Usage::default()) };
        let operation = || format!("look at what `{}` uses", self.called());
        if view.record.cgroup_path.is_none() {
            return Err(lifecycle::no_cgroup(operation()));
        }
        let group = lifecycle::cgroup_of(&view.record)?
            .ok_or_else(|| Error::new(ErrorKind::WrongStatus, operation(), "it has just ended"))?;
        let at = Instant::now();
        let statistics = group.statistics();
        // As docker has it: what of files was not touched lately is given back when memory runs short.
        let counters = &statistics.memory_counters;
        let idle = ["total_inactive_file", "inactive_file"].iter().find_map(|name| counters.get(*name));
        let all = statistics.memory.current.unwrap_or(0);
        let (received, sent) = traffic(view.record.pid);
        let total = memory_of_host();
        Ok(Usage {
            at: Some(at),
            processor: Duration::from_nanos(statistics.cpu.map_or(0, |cpu| cpu.usage)),
            memory: all.saturating_sub(idle.copied().unwrap_or(0)),
            memory_limit: statistics.memory.limit.map_or(total, |limit| limit.min(total)),
            received,
            sent,
            read: statistics.block_io.iter().map(|device| device.read_bytes).sum(),
            written: statistics.block_io.iter().map(|device| device.written_bytes).sum(),
            tasks: statistics.pids.map_or(0, |pids| pids.current),
        })
    }
}

/// Bytes received and sent over the network of process `pid`, but for its loopback. Over the host's own nobody counts for a container.
fn traffic(pid: i32) -> (u64, u64) {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    if namespace(&pid.to_string()) == namespace("self") {
        return (0, 0);
    }
    // One that has just ended has none.
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    sum_of_interfaces(&table)
}

/// Sums the bytes in the table of proc_pid_net(5), `dev`: the first number of a line received, the ninth sent.
fn sum_of_interfaces(table: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in table.lines() {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let mut numbers = numbers.split_ascii_whitespace().map(|number| number.parse().unwrap_or(0));
        if name.trim() != "lo" {
            sum.0 += numbers.next().unwrap_or(0_u64);
            sum.1 += numbers.nth(7).unwrap_or(0_u64);
        }
    }
    sum
}

/// Bytes of memory that this host has.
pub fn memory_of_host() -> u64 {
    let found = rustix::system::sysinfo();
    found.totalram as u64 * u64::from(found.mem_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_that_of_all_interfaces_but_the_loopback() {
        let table = "Inter-|   Receive    |  Transmit\n face |bytes packets |bytes packets\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n\
                     eth0:  100 2 0 0 0 0 0 0 30 3 0 0 0 0 0 0\n  eth1: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n";
        assert_eq!(sum_of_interfaces(table), (101, 32));
    }

    #[test]
    fn percent_is_of_one_processor() {
        let at = Instant::now();
        let before = Usage { at: Some(at), ..Usage::default() };
        let after = Usage {
            at: Some(at + Duration::from_millis(500)),
            processor: Duration::from_millis(750),
            ..Usage::default()
        };
        assert!((after.percent_since(&before) - 150.0).abs() < 0.001);
        assert_eq!(Usage::default().percent_since(&before), 0.0);
    }
}
