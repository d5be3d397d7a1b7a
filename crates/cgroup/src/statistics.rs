//! Owns reading what a group has used. Must not change anything.

use std::collections::BTreeMap;

use crate::counters::{Counter, Cpuset, MemoryCounters, ProcessorCounters};
use crate::files;
use crate::group::Cgroup;
use crate::layout::{Hierarchy, Language};

/// What a group's memory looks like, in bytes. A field is absent when the kernel does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryTable {
    /// The limit; absent also when there is none.
    pub limit: Option<u64>,
    /// The most that was ever in use (v2: Linux 5.19).
    pub peak: Option<u64>,
    /// In use now.
    pub current: Option<u64>,
    /// Processes killed for want of memory, in the group and below.
    pub oom_kills: Option<u64>,
}

/// What a group and the groups below it have used. A part is absent when no hierarchy has its controller.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics {
    /// Processor time.
    pub cpu: Option<CpuStatistics>,
    /// Time of each processor (v1).
    pub processors: ProcessorCounters,
    /// Where it may run (v1).
    pub cpuset: Option<Cpuset>,
    /// Memory in use, limit and kills.
    pub memory: MemoryTable,
    /// Kinds of memory.
    pub memory_kinds: MemoryCounters,
    /// All counters of `memory.stat`, under the kernel's names: bytes, pages or events.
    pub memory_counters: BTreeMap<String, u64>,
    /// Tasks now, and the most there may be (absent: no limit).
    pub pids: Option<PidsStatistics>,
    /// Traffic with block devices.
    pub block_io: Vec<BlockIoStatistics>,
    /// Huge pages, by size.
    pub hugepages: BTreeMap<String, Counter>,
    /// Time lost waiting (v2 and hybrid, kernels with PSI).
    pub pressure: PressureStatistics,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStatistics {
    /// All of it.
    pub usage: u64,
    /// In programs.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// Periods of the quota in which something ran.
    pub periods: u64,
    /// Periods in which the quota ran out.
    pub throttled_periods: u64,
    /// Time for which tasks had to wait for the next period.
    pub throttled_time: u64,
}

/// Number of tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PidsStatistics {
    /// Now.
    pub current: u64,
    /// The most there may be; absent when there is no limit.
    pub limit: Option<u64>,
}

/// Traffic with one block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockIoStatistics {
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
}

/// Pressure on each resource, see the kernel's documentation of PSI.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PressureStatistics {
    /// Waiting for a processor.
    pub cpu: Option<Pressure>,
    /// Waiting for memory.
    pub memory: Option<Pressure>,
    /// Waiting for block devices.
    pub io: Option<Pressure>,
}

/// Pressure on one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Some task waited.
    pub some: Stall,
    /// All tasks waited at once.
    pub full: Stall,
}

/// Share of the time spent waiting, in percent over a window, and in all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Percent of the last ten seconds.
    pub average_10: f64,
    /// Percent of the last minute.
    pub average_60: f64,
    /// Percent of the last five minutes.
    pub average_300: f64,
    /// Microseconds since the group was made.
    pub total: u64,
}

impl Cgroup {
    /// How many processes of the group and of groups below were killed for want of memory; 0 also when no
    /// hierarchy tells.
    pub fn out_of_memory_kills(&self) -> u64 {
        self.memory_hierarchy().and_then(|hierarchy| self.oom_kills(hierarchy)).unwrap_or(0)
    }

    /// Limit, use and kills, for the message about a container that ran out of memory.
    pub fn memory_table(&self) -> MemoryTable {
        let Some(hierarchy) = self.memory_hierarchy() else { return MemoryTable::default() };
        let number = |file: &str| files::read(hierarchy, self.path.as_str(), file).ok()?.trim().parse().ok();
        let (limit, peak, current) = match hierarchy.language() {
            Language::V1 => ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.usage_in_bytes"),
            Language::V2 => ("memory.max", "memory.peak", "memory.current"),
        };
        MemoryTable {
            // v1 writes no limit as the largest number of pages, some 2^63.
            limit: number(limit).filter(|&bytes: &u64| bytes < 1 << 62),
            peak: number(peak),
            current: number(current),
            oom_kills: self.oom_kills(hierarchy),
        }
    }

    /// Everything the group and those below have used. What can not be read counts as absent: statistics are also
    /// asked of groups that are just going away.
    pub fn statistics(&self) -> Statistics {
        let memory = self.memory_hierarchy().map(|hierarchy| self.text(hierarchy, "memory.stat"));
        Statistics {
            cpu: self.cpu_statistics(),
            processors: self.processor_counters(),
            cpuset: self.cpuset(),
            memory_kinds: self.memory_counters(),
            hugepages: self.hugepage_counters(),
            memory: self.memory_table(),
            memory_counters: memory.map(|text| counters(&text)).unwrap_or_default(),
            pids: self.statistics_of_pids(),
            block_io: self.block_io_statistics(),
            pressure: self.pressure_statistics(),
        }
    }

    fn cpu_statistics(&self) -> Option<CpuStatistics> {
        let v1 = (self.layout.v1("cpuacct"), self.layout.v1("cpu"));
        if v1.0.is_none() && v1.1.is_none() {
            let text = self.text(self.layout.unified()?, "cpu.stat");
            let nanoseconds = |key| files::keyed(&text, key).unwrap_or(0).saturating_mul(1000);
            return Some(CpuStatistics {
                usage: nanoseconds("usage_usec"),
                user: nanoseconds("user_usec"),
                system: nanoseconds("system_usec"),
                periods: files::keyed(&text, "nr_periods").unwrap_or(0),
                throttled_periods: files::keyed(&text, "nr_throttled").unwrap_or(0),
                throttled_time: nanoseconds("throttled_usec"),
            });
        }
        let usage =
            |file| v1.0.and_then(|hierarchy| self.text(hierarchy, file).trim().parse().ok()).unwrap_or(0);
        let text = v1.1.map(|hierarchy| self.text(hierarchy, "cpu.stat")).unwrap_or_default();
        Some(CpuStatistics {
            usage: usage("cpuacct.usage"),
            user: usage("cpuacct.usage_user"),
            system: usage("cpuacct.usage_sys"),
            periods: files::keyed(&text, "nr_periods").unwrap_or(0),
            throttled_periods: files::keyed(&text, "nr_throttled").unwrap_or(0),
            throttled_time: files::keyed(&text, "throttled_time").unwrap_or(0),
        })
    }

    pub(crate) fn statistics_of_pids(&self) -> Option<PidsStatistics> {
        let hierarchy = self.hierarchy_of("pids", "pids")?;
        Some(PidsStatistics {
            current: self.text(hierarchy, "pids.current").trim().parse().ok()?,
            limit: self.text(hierarchy, "pids.max").trim().parse().ok(),
        })
    }

    fn block_io_statistics(&self) -> Vec<BlockIoStatistics> {
        match self.hierarchy_of("blkio", "io") {
            Some(hierarchy) if hierarchy.language() == Language::V1 => block_io_v1(
                &self.text(hierarchy, "blkio.throttle.io_service_bytes_recursive"),
                &self.text(hierarchy, "blkio.throttle.io_serviced_recursive"),
            ),
            Some(hierarchy) => block_io_v2(&self.text(hierarchy, "io.stat")),
            None => Vec::new(),
        }
    }

    fn pressure_statistics(&self) -> PressureStatistics {
        let Some(unified) = self.layout.unified() else { return PressureStatistics::default() };
        let pressure = |file| pressure(&self.text(unified, file));
        PressureStatistics {
            cpu: pressure("cpu.pressure"),
            memory: pressure("memory.pressure"),
            io: pressure("io.pressure"),
        }
    }

    pub(crate) fn hierarchy_of(&self, v1: &str, v2: &str) -> Option<&Hierarchy> {
        self.layout.v1(v1).or_else(|| self.layout.unified().filter(|unified| unified.has(v2)))
    }

    pub(crate) fn text(&self, hierarchy: &Hierarchy, file: &str) -> String {
        files::read(hierarchy, self.path.as_str(), file).unwrap_or_default()
    }

    pub(crate) fn memory_hierarchy(&self) -> Option<&Hierarchy> {
        self.hierarchy_of("memory", "memory")
    }

    fn oom_kills(&self, hierarchy: &Hierarchy) -> Option<u64> {
        let path = self.path.as_str();
        match hierarchy.language() {
            Language::V2 => files::keyed(&files::read(hierarchy, path, "memory.events").ok()?, "oom_kill"),
            // v1 counts each group for itself.
            Language::V1 => {
                let groups = files::tree(hierarchy, path).ok()?;
                let counts = groups.iter().filter_map(|group| {
                    files::keyed(&files::read(hierarchy, group, "memory.oom_control").ok()?, "oom_kill")
                });
                counts.reduce(|sum, count| sum + count)
            }
        }
    }
}

/// `name number` lines.
fn counters(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// `8:0 Read 4096` lines, the same devices in both files.
fn block_io_v1(bytes: &str, operations: &str) -> Vec<BlockIoStatistics> {
    let mut devices: BTreeMap<(u32, u32), BlockIoStatistics> = BTreeMap::new();
    for (text, is_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let mut words = line.split(' ');
            let Some((major, minor)) = words.next().and_then(device_number) else { continue };
            let (Some(direction), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) else {
                continue;
            };
            let entry = devices.entry((major, minor)).or_default();
            match (direction, is_bytes) {
                ("Read", true) => entry.read_bytes = value,
                ("Write", true) => entry.written_bytes = value,
                ("Read", false) => entry.reads = value,
                ("Write", false) => entry.writes = value,
                _ => {}
            }
        }
    }
    devices.into_iter().map(|((major, minor), entry)| BlockIoStatistics { major, minor, ..entry }).collect()
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …` lines.
fn block_io_v2(text: &str) -> Vec<BlockIoStatistics> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (major, minor) = device_number(words.next()?)?;
            let mut entry = BlockIoStatistics { major, minor, ..BlockIoStatistics::default() };
            for (key, value) in words.filter_map(|word| word.split_once('=')) {
                let value = value.parse().unwrap_or(0);
                match key {
                    "rbytes" => entry.read_bytes = value,
                    "wbytes" => entry.written_bytes = value,
                    "rios" => entry.reads = value,
                    "wios" => entry.writes = value,
                    _ => {}
                }
            }
            Some(entry)
        })
        .collect()
}

fn device_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A line for `some` and one for `full`: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`. Before Linux 5.13 the
/// processor has no `full`.
fn pressure(text: &str) -> Option<Pressure> {
    let stall = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let average = |key| value(key)?.parse().ok();
        Some(Stall {
            average_10: average("avg10")?,
            average_60: average("avg60")?,
            average_300: average("avg300")?,
            total: value("total")?.parse().ok()?,
        })
    };
    Some(Pressure { some: stall("some")?, full: stall("full").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_lines_are_read_as_the_kernel_writes_them() {
        let text = "some avg10=1.50 avg60=0.20 avg300=0.01 total=123456\n";
        let read = pressure(text).expect("pressure");
        assert_eq!(read.some, Stall { average_10: 1.5, average_60: 0.2, average_300: 0.01, total: 123_456 });
        assert_eq!(read.full, Stall::default());
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn traffic_with_block_devices_reads_the_same_from_both_languages() {
        let v1 = block_io_v1(
            "8:0 Read 4096\n8:0 Write 10\n8:0 Sync 5\nTotal 4106\n",
            "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
        );
        let v2 = block_io_v2("8:0 rbytes=4096 wbytes=10 rios=1 wios=2 dbytes=0 dios=0\n");
        let expected = BlockIoStatistics {
            major: 8,
            minor: 0,
            read_bytes: 4096,
            written_bytes: 10,
            reads: 1,
            writes: 2,
        };
        assert_eq!(v1, [expected]);
        assert_eq!(v2, [expected]);
    }
}
