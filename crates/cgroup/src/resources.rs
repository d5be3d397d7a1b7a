//! Owns the limits as the runtime specification means them, free of JSON and of either file language.
//! Must not touch the kernel.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::devices::DeviceRule;
use crate::error::{Error, Kind, Operation};

/// Limits of one container (`linux.resources` of the runtime specification). Absent means: leave as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Memory and swap.
    pub memory: Memory,
    /// Processor time and placement.
    pub cpu: Cpu,
    /// The most tasks; negative is no limit, and 0 is 1 (config-linux.md, "PIDs": systemd knows no 0).
    pub pids: Option<i64>,
    /// Weight and rate of block devices.
    pub block_io: BlockIo,
    /// Limits on huge pages, one per page size.
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Marks on network packets (v1 only).
    pub network: Network,
    /// Limits on RDMA devices, by device name.
    pub rdma: BTreeMap<String, Rdma>,
    /// Files of cgroup v2 and what to write there, as they are.
    pub unified: BTreeMap<String, String>,
    /// Which devices may be used, in order: for each kind of access the last rule that matches decides. Empty
    /// leaves things as they are; otherwise what no rule allows is refused.
    pub devices: Vec<DeviceRule>,
}

/// Limits on memory, in bytes; -1 is no limit, 0 counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The most memory.
    pub limit: Option<i64>,
    /// What the kernel tries to leave to the group under pressure.
    pub reservation: Option<i64>,
    /// The most memory and swap together.
    pub swap: Option<i64>,
    /// Kernel memory. No supported kernel has this limit any more; accepted and without effect, as in runc.
    pub kernel: Option<i64>,
    /// The most memory in TCP buffers (v1 only).
    pub kernel_tcp: Option<i64>,
    /// Readiness to swap, 0 to 100 (v1 only).
    pub swappiness: Option<u64>,
    /// Processes out of memory wait instead of being killed (v1 only).
    pub disable_oom_killer: Option<bool>,
    /// Accepted and without effect: since Linux 5.11 accounting is always hierarchical.
    pub use_hierarchy: Option<bool>,
    /// Refuse a limit below what is in use now, where the kernel would kill instead (v2).
    pub check_before_update: Option<bool>,
}

/// Limits on processors; times in microseconds, 0 counts as absent except for `burst` and `idle`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Share of the time in proportion to the neighbours', 2 to 262144, 1024 being normal.
    pub shares: Option<u64>,
    /// The most time within a period; negative is no limit.
    pub quota: Option<i64>,
    /// The most unused time that may be saved for later periods.
    pub burst: Option<u64>,
    /// Length of a period.
    pub period: Option<u64>,
    /// Time for real-time tasks within a real-time period (v1 only).
    pub realtime_runtime: Option<i64>,
    /// Length of a real-time period (v1 only).
    pub realtime_period: Option<u64>,
    /// Processors to run on, as a list such as `0-3,7`.
    pub cpus: Option<String>,
    /// Memory nodes to use, as a list.
    pub mems: Option<String>,
    /// 1: runs only when nobody else wants to.
    pub idle: Option<i64>,
}

/// Limits on block devices; 0 counts as absent for weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// Weight against the neighbours, 10 to 1000.
    pub weight: Option<u16>,
    /// Weight of the group's own tasks against its children (v1 only).
    pub leaf_weight: Option<u16>,
    /// Weights for single devices.
    pub weight_device: Vec<WeightDevice>,
    /// The most bytes read per second.
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// The most bytes written per second.
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// The most reads per second.
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// The most writes per second.
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// Weight for one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightDevice {
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
    /// Weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Weight of the group's own tasks against its children (v1 only).
    pub leaf_weight: Option<u16>,
}

/// Rate for one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThrottleDevice {
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
    /// Bytes or operations per second; 0 is no limit.
    pub rate: u64,
}

/// Limit on huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugepageLimit {
    /// Size as the kernel names it: `2MB`, `1GB`, `64KB`.
    pub page_size: String,
    /// The most bytes in such pages.
    pub limit: u64,
}

/// Marks on network packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Class of all packets (net_cls).
    pub class_id: Option<u32>,
    /// Priority per network device (net_prio).
    pub priorities: Vec<InterfacePriority>,
}

/// Priority of packets that leave through one network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfacePriority {
    /// Name of the device.
    pub name: String,
    /// Priority.
    pub priority: u32,
}

/// Limits on one RDMA device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rdma {
    /// The most handles.
    pub hca_handles: Option<u32>,
    /// The most objects.
    pub hca_objects: Option<u32>,
}

/// One line for one control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Controller that owns the file (`memory`, `pids`, …).
    pub controller: Cow<'static, str>,
    /// Name of the file.
    pub file: Cow<'static, str>,
    /// What to write.
    pub value: String,
    /// What to do on a kernel that does not have the file.
    pub absent: Absent,
}

/// What to do when a control file does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// Fail: the limit was asked for.
    Refuse,
    /// Go on: without the file there is nothing to limit.
    Skip,
    /// Write there instead.
    Instead(Box<Write>),
}

impl Write {
    pub(crate) fn new(
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Write {
        Write {
            controller: Cow::Borrowed(controller),
            file: file.into(),
            value: value.to_string(),
            absent: Absent::Refuse,
        }
    }

    pub(crate) fn or_skip(self) -> Write {
        Write { absent: Absent::Skip, ..self }
    }

    pub(crate) fn or(self, other: Write) -> Write {
        Write { absent: Absent::Instead(Box::new(other)), ..self }
    }
}

impl Resources {
    /// The limit that contradicts another one, and which of both is left out: for the caller to tell.
    pub fn conflict(&self) -> Option<(&'static str, &'static str)> {
        let unified = |file: &str| self.unified.get(file).map(|value| value.trim());
        let idle = self.cpu.idle == Some(1) || unified("cpu.idle") == Some("1");
        let weight = present(self.cpu.shares).is_some() || unified("cpu.weight").is_some();
        let what = "unable to apply both this and a weight (cpu.shares, cpu.weight), which is left out: an idle group has \
                    none";
        (idle && weight).then_some(("cpu.idle", what))
    }

    /// [`check`](Resources::check) for a group that is new and has no limits that could complete these.
    pub fn check_new(&self) -> Result<(), Error> {
        self.check()?;
        if present(self.memory.swap).is_some_and(|swap| swap > 0) && present(self.memory.limit).is_none() {
            let detail = "needs memory.limit beside it";
            return Err(Error::plain(Operation::CheckLimits, "memory.swap", Kind::Invalid, detail));
        }
        Ok(())
    }

    /// Refuses what no kernel could take, before anything is written. Errors are of [`Kind::Invalid`].
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |object: &str, detail: &str| {
            Err(Error::plain(Operation::CheckLimits, object, Kind::Invalid, detail))
        };
        let memory = &self.memory;
        for (name, value) in [
            ("memory.limit", memory.limit),
            ("memory.reservation", memory.reservation),
            ("memory.swap", memory.swap),
            ("memory.kernelTCP", memory.kernel_tcp),
        ] {
            if value.is_some_and(|bytes| bytes < -1) {
                return refuse(name, "is negative; only -1, for no limit, may be");
            }
        }
        if let Some(swap) = present(memory.swap)
            && swap > 0
        {
            match present(memory.limit) {
                // A group in use has one of its own.
                None => {}
                Some(-1) => {
                    return refuse("memory.swap", "is limited, but memory.limit, a part of it, is not");
                }
                Some(limit) if swap < limit => {
                    return refuse(
                        "memory.swap",
                        "is below memory.limit, but counts memory and swap together",
                    );
                }
                Some(_) => {}
            }
        }
        if memory.swappiness.is_some_and(|value| value > 100) {
            return refuse("memory.swappiness", "is above 100");
        }
        for (name, list) in [("cpu.cpus", &self.cpu.cpus), ("cpu.mems", &self.cpu.mems)] {
            let good =
                |list: &String| list.bytes().all(|byte| byte.is_ascii_digit() || b",-".contains(&byte));
            if !list.as_ref().is_none_or(good) {
                return refuse(name, "is no list such as `0-3,7`");
            }
        }
        if self.cpu.idle.is_some_and(|idle| !(0..=1).contains(&idle)) {
            return refuse("cpu.idle", "is neither 0 nor 1");
        }
        for limit in &self.hugepage_limits {
            if !is_page_size(&limit.page_size) {
                return refuse("hugepageLimits.pageSize", "is no size such as `2MB` or `1GB`");
            }
        }
        for priority in &self.network.priorities {
            if priority.name.is_empty() || priority.name.contains(char::is_whitespace) {
                return refuse("network.priorities.name", "is no name of a network device");
            }
        }
        for device in self.rdma.keys() {
            if device.is_empty() || device.contains(char::is_whitespace) {
                return refuse("rdma", "has a name that no device can have");
            }
        }
        for file in self.unified.keys() {
            let shaped = file
                .split_once('.')
                .is_some_and(|(controller, rest)| !controller.is_empty() && !rest.is_empty());
            if !shaped || file.contains(['/', '\0']) {
                return refuse("unified", "has a name that is no control file");
            }
            // Those files move, freeze and kill; none of them is a limit.
            if file.starts_with("cgroup.")
                && !["cgroup.max.depth", "cgroup.max.descendants"].contains(&&**file)
            {
                return refuse("unified", "would control the group itself instead of a limit");
            }
        }
        Ok(())
    }
}

/// A limit on tasks in either language.
pub(crate) fn tasks(limit: i64) -> String {
    limited(if limit == 0 { 1 } else { limit })
}

/// Every negative limit is none (v2, and tasks of v1).
pub(crate) fn limited(limit: i64) -> String {
    if limit < 0 { "max".to_owned() } else { limit.to_string() }
}

/// Zero means absent in the fields where runc takes it so and callers rely on it.
pub(crate) fn present<T: PartialEq + Default>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn is_page_size(text: &str) -> bool {
    let number = text.strip_suffix("KB").or(text.strip_suffix("MB")).or(text.strip_suffix("GB"));
    number.is_some_and(|digits| {
        !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_contradict_themselves_are_refused() {
        let memory = |limit, swap| Resources {
            memory: Memory { limit, swap, ..Memory::default() },
            ..Resources::default()
        };
        assert!(memory(None, Some(5)).check().is_ok() && memory(None, Some(5)).check_new().is_err());
        for (limit, swap) in [(Some(-1), Some(5)), (Some(10), Some(5)), (Some(-2), None)] {
            assert!(memory(limit, swap).check().is_err(), "{limit:?} {swap:?}");
        }
        for (limit, swap) in [(None, None), (Some(10), Some(10)), (Some(10), Some(-1)), (Some(10), Some(0))] {
            assert!(memory(limit, swap).check().is_ok(), "{limit:?} {swap:?}");
        }
    }

    #[test]
    fn unified_names_that_are_no_limits_are_refused() {
        for name in ["memory", "../x.y", "cgroup.procs", "cgroup.kill", ".max", "memory."] {
            let unified = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
            assert!(Resources { unified, ..Resources::default() }.check().is_err(), "{name}");
        }
    }

    #[test]
    fn list_of_processors_has_nothing_but_numbers() {
        let cpu = Cpu { cpus: Some("0-3\n".into()), ..Cpu::default() };
        assert!(Resources { cpu, ..Resources::default() }.check().is_err());
    }

    #[test]
    fn page_sizes_are_the_kernels() {
        assert!(is_page_size("2MB") && is_page_size("1GB") && is_page_size("64KB"));
        assert!(
            !is_page_size("02MB") && !is_page_size("MB") && !is_page_size("2mb") && !is_page_size("2.MB")
        );
    }
}
