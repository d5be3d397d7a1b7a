//! Owns reading the counters that few ask for: swap and kernel memory apart, huge pages, each processor, the cpuset.
//! Must not change anything.

use std::collections::BTreeMap;

use crate::files;
use crate::group::Cgroup;
use crate::layout::{Hierarchy, Language};

/// A counter with its limit, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    /// In use now.
    pub usage: u64,
    /// The most that was ever in use; 0 where the kernel does not tell.
    pub peak: u64,
    /// The limit; `u64::MAX`, or on v1 the largest number of pages in bytes, for none.
    pub limit: u64,
    /// How often the limit was hit.
    pub failures: u64,
}

/// Kinds of memory, each as its own counter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryCounters {
    /// All of it.
    pub memory: Counter,
    /// Memory and swap together, on v2 as far as they can be added: no peak.
    pub with_swap: Counter,
    /// The kernel's (v1).
    pub kernel: Counter,
    /// TCP buffers (v1).
    pub kernel_tcp: Counter,
}

/// Time that each processor has spent, in nanoseconds (v1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessorCounters {
    /// All of it.
    pub usage: Vec<u64>,
    /// In programs.
    pub user: Vec<u64>,
    /// In the kernel.
    pub system: Vec<u64>,
}

/// Where the group may run (v1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpuset {
    /// Numbers of processors.
    pub cpus: Vec<u16>,
    /// Numbers of memory nodes.
    pub mems: Vec<u16>,
    /// The other files, by their names without `cpuset.`; 0 where the kernel has none.
    pub flags: BTreeMap<&'static str, i64>,
}

/// The numbers in a v1 cpuset, beside the lists.
const CPUSET_FLAGS: [&str; 9] = [
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
];

impl Default for Cpuset {
    fn default() -> Cpuset {
        Cpuset { cpus: Vec::new(), mems: Vec::new(), flags: CPUSET_FLAGS.map(|name| (name, 0)).into() }
    }
}

impl Cgroup {
    /// Kinds of memory; all 0 where no hierarchy tells.
    pub fn memory_counters(&self) -> MemoryCounters {
        let Some(hierarchy) = self.memory_hierarchy() else { return MemoryCounters::default() };
        match hierarchy.language() {
            Language::V1 => {
                let counter = |prefix: &str| {
                    let read = |file: &str| self.number(hierarchy, &format!("{prefix}.{file}"));
                    Counter {
                        usage: read("usage_in_bytes"),
                        peak: read("max_usage_in_bytes"),
                        limit: read("limit_in_bytes"),
                        failures: read("failcnt"),
                    }
                };
                MemoryCounters {
                    memory: counter("memory"),
                    with_swap: counter("memory.memsw"),
                    kernel: counter("memory.kmem"),
                    kernel_tcp: counter("memory.kmem.tcp"),
                }
            }
            Language::V2 => {
                let counter = |prefix: &str| {
                    let read = |file: &str| self.number(hierarchy, &format!("{prefix}.{file}"));
                    Counter { usage: read("current"), peak: read("peak"), limit: read("max"), failures: 0 }
                };
                let (memory, swap) = (counter("memory"), counter("memory.swap"));
                let limit = swap.limit.saturating_add(memory.limit);
                let with_swap = Counter { usage: memory.usage + swap.usage, peak: 0, limit, failures: 0 };
                MemoryCounters { memory, with_swap, ..MemoryCounters::default() }
            }
        }
    }

    /// Huge pages by the kernel's name of their size, such as `2MB`. What is reserved counts as used, where the kernel
    /// tells (5.7).
    pub fn hugepage_counters(&self) -> BTreeMap<String, Counter> {
        let Some(hierarchy) = self.hierarchy_of("hugetlb", "hugetlb") else { return BTreeMap::new() };
        let read = |size: String| {
            let text = |file: &str| files::read(hierarchy, self.path.as_str(), file).ok();
            let counter = |prefix: String| {
                let number = |text: String| text.trim().parse().ok();
                let value = |file: &str| text(&format!("{prefix}.{file}")).and_then(number);
                match hierarchy.language() {
                    Language::V1 => Some(Counter {
                        usage: value("usage_in_bytes")?,
                        peak: value("max_usage_in_bytes").unwrap_or(0),
                        limit: value("limit_in_bytes").unwrap_or(u64::MAX),
                        failures: value("failcnt").unwrap_or(0),
                    }),
                    Language::V2 => Some(Counter {
                        usage: value("current")?,
                        peak: 0,
                        limit: value("max").unwrap_or(u64::MAX),
                        failures: text(&format!("hugetlb.{size}.events"))
                            .and_then(|events| files::keyed(&events, "max"))
                            .unwrap_or(0),
                    }),
                }
            };
            let found =
                counter(format!("hugetlb.{size}.rsvd")).or_else(|| counter(format!("hugetlb.{size}")))?;
            Some((size, found))
        };
        hugepage_sizes().into_iter().filter_map(read).collect()
    }

    /// Each processor's time; empty on v2, which does not tell.
    pub fn processor_counters(&self) -> ProcessorCounters {
        let Some(hierarchy) = self.layout.v1("cpuacct") else { return ProcessorCounters::default() };
        let column = |file: &str, column: usize| -> Vec<u64> {
            // A line of names comes first.
            let text = self.text(hierarchy, file);
            text.lines().filter_map(|line| line.split(' ').nth(column)?.parse().ok()).collect()
        };
        let usage = self.text(hierarchy, "cpuacct.usage_percpu");
        ProcessorCounters {
            usage: usage.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect(),
            user: column("cpuacct.usage_all", 1),
            system: column("cpuacct.usage_all", 2),
        }
    }

    /// Where the group may run; nothing on v2.
    pub fn cpuset(&self) -> Option<Cpuset> {
        let hierarchy = self.layout.v1("cpuset")?;
        let text = |name: &str| self.text(hierarchy, &format!("cpuset.{name}"));
        let flag = |name| (name, text(name).trim().parse().unwrap_or(0));
        Some(Cpuset {
            cpus: numbers(&text("cpus")),
            mems: numbers(&text("mems")),
            flags: CPUSET_FLAGS.map(flag).into(),
        })
    }

    /// A number, of which `max` is the largest; 0 where it can't be read.
    fn number(&self, hierarchy: &Hierarchy, file: &str) -> u64 {
        match self.text(hierarchy, file).trim() {
            "max" => u64::MAX,
            text => text.parse().unwrap_or(0),
        }
    }
}

/// The numbers of a list such as `0-3,7`; what is none is left out.
fn numbers(list: &str) -> Vec<u16> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<u16>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// The sizes of huge pages that this kernel has, in the words of control files.
fn hugepage_sizes() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let mut sizes: Vec<u64> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
        })
        .collect();
    sizes.sort_unstable();
    sizes.into_iter().map(size_name).collect()
}

/// `2048` kB is `2MB`.
fn size_name(mut size: u64) -> String {
    for unit in ["KB", "MB"] {
        if size < 1024 {
            return format!("{size}{unit}");
        }
        size /= 1024;
    }
    format!("{size}GB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_huge_pages_are_named_as_files_name_them() {
        assert_eq!([64, 2048, 1 << 20, 16 << 20].map(size_name), ["64KB", "2MB", "1GB", "16GB"]);
    }

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(numbers("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(numbers("\n"), [0_u16; 0]);
    }
}
