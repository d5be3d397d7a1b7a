//! Owns reading what a group has used. Must not change anything.

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

    fn memory_hierarchy(&self) -> Option<&Hierarchy> {
        self.layout.v1("memory").or_else(|| self.layout.unified().filter(|unified| unified.has("memory")))
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
