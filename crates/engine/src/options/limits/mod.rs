//! What a container may use of the host, as meant. Looks nothing up.

pub mod parse;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub(crate) use self::parse::{MOST_BYTES, SizeMistake, read_size};
pub use self::parse::{NumberList, parse_size};

/// Length of the period of [`LimitOptions::cpu_time`], in microseconds: the kernel's own default.
pub(crate) const CPU_PERIOD: u64 = 100_000;

/// Limits of one container; absent means none of its own, or the kernel's default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LimitOptions {
    /// Memory in bytes.
    pub memory: Option<i64>,
    /// Memory that the kernel tries to leave to it under pressure, in bytes.
    pub memory_reservation: Option<i64>,
    /// Memory and swap together, in bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// Readiness to swap, 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Whether somebody asked for a limit of kernel memory, which no supported kernel has.
    pub kernel_memory: bool,
    /// Whether processes out of memory wait instead of being killed.
    pub oom_kill_disable: bool,
    /// What is added to its processes' score when the whole host is out of memory, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Processor time in microseconds for each 100 ms.
    pub cpu_time: Option<u64>,
    /// Share of processor time against the neighbours', 2 to 262144; 1024 is normal.
    pub cpu_shares: Option<u64>,
    /// Length of a period in microseconds.
    pub cpu_period: Option<u64>,
    /// Processor time in microseconds for each period; -1 is no limit.
    pub cpu_quota: Option<i64>,
    /// Length of a real-time period in microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Time for real-time tasks in microseconds for each real-time period.
    pub cpu_rt_runtime: Option<i64>,
    /// Processors to run on.
    pub cpuset_cpus: Option<NumberList>,
    /// Memory nodes to use.
    pub cpuset_mems: Option<NumberList>,
    /// The most tasks; -1 is no limit.
    pub pids_limit: Option<i64>,
    /// Weight of traffic with block devices against the neighbours', 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Such weights for single devices.
    pub blkio_weight_device: Vec<DeviceLimit<u16>>,
    /// Bytes read from a device in a second.
    pub device_read_bps: Vec<DeviceLimit<u64>>,
    /// Bytes written to a device in a second.
    pub device_write_bps: Vec<DeviceLimit<u64>>,
    /// Reads from a device in a second.
    pub device_read_iops: Vec<DeviceLimit<u64>>,
    /// Writes to a device in a second.
    pub device_write_iops: Vec<DeviceLimit<u64>>,
    /// Limits of each process (setrlimit(2)); of two of the same kind the later one counts.
    pub ulimits: Vec<Ulimit>,
    /// Files of cgroup v2 and what to write there.
    pub cgroup_conf: BTreeMap<String, String>,
    /// The group, or slice of systemd, below which the container's group is.
    pub cgroup_parent: Option<String>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
}

/// A limit on traffic with one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceLimit<T> {
    /// Its node.
    pub path: PathBuf,
    /// The limit.
    pub value: T,
}

/// A limit of each process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ulimit {
    /// The kernel's name without `RLIMIT_`, in lower case: `nofile`.
    pub name: &'static str,
    /// What a process starts with; `u64::MAX` is no limit.
    pub soft: u64,
    /// How far a process may raise it; `u64::MAX` is no limit.
    pub hard: u64,
}

/// The most tasks that a group can be limited to: there are no more process ids (PID_MAX_LIMIT of `linux/threads.h`).
const MOST_TASKS: i64 = 1 << 22;

/// The most microseconds in a period that the kernel computes with (`max_cfs_runtime` of kernel/sched/core.c).
const MOST_TIME: i64 = (1 << 44) - 1;

/// The most microseconds of real-time periods, which the kernel counts in nanoseconds (kernel/sched/rt.c).
const MOST_REAL_TIME: u64 = u64::MAX / 1000;

/// What the kernel takes as shares; others it moves to the nearer end (`MIN_SHARES` and `MAX_SHARES` of
/// kernel/sched/sched.h).
const SHARES: std::ops::RangeInclusive<u64> = 2..=1 << 18;

fn refuse<T>(flag: &str, reason: impl Into<String>, hint: &str) -> Result<T> {
    Err(Error::invalid(flag, reason.into()).with_hint(hint))
}

impl LimitOptions {
    /// These with what `change` names in their place.
    pub(crate) fn updated(&self, change: &LimitOptions) -> LimitOptions {
        fn each<T: Clone>(now: &[DeviceLimit<T>], change: &[DeviceLimit<T>]) -> Vec<DeviceLimit<T>> {
            let stays = |one: &&DeviceLimit<T>| !change.iter().any(|other| other.path == one.path);
            now.iter().filter(stays).chain(change).cloned().collect()
        }
        let mut cgroup_conf = self.cgroup_conf.clone();
        cgroup_conf.extend(change.cgroup_conf.clone());
        // Two ways of saying the same: the later one counts.
        let by_time = change.cpu_time.is_some();
        let by_quota = change.cpu_quota.is_some() || change.cpu_period.is_some();
        LimitOptions {
            memory: change.memory.or(self.memory),
            memory_reservation: change.memory_reservation.or(self.memory_reservation),
            memory_swap: change.memory_swap.or(self.memory_swap),
            memory_swappiness: change.memory_swappiness.or(self.memory_swappiness),
            kernel_memory: self.kernel_memory,
            oom_kill_disable: self.oom_kill_disable,
            oom_score_adj: self.oom_score_adj,
            cpu_time: change.cpu_time.or(self.cpu_time.filter(|_| !by_quota)),
            cpu_shares: change.cpu_shares.or(self.cpu_shares),
            cpu_period: change.cpu_period.or(self.cpu_period.filter(|_| !by_time)),
            cpu_quota: change.cpu_quota.or(self.cpu_quota.filter(|_| !by_time)),
            cpu_rt_period: change.cpu_rt_period.or(self.cpu_rt_period),
            cpu_rt_runtime: change.cpu_rt_runtime.or(self.cpu_rt_runtime),
            cpuset_cpus: change.cpuset_cpus.clone().or_else(|| self.cpuset_cpus.clone()),
            cpuset_mems: change.cpuset_mems.clone().or_else(|| self.cpuset_mems.clone()),
            pids_limit: change.pids_limit.or(self.pids_limit),
            blkio_weight: change.blkio_weight.or(self.blkio_weight),
            blkio_weight_device: each(&self.blkio_weight_device, &change.blkio_weight_device),
            device_read_bps: each(&self.device_read_bps, &change.device_read_bps),
            device_write_bps: each(&self.device_write_bps, &change.device_write_bps),
            device_read_iops: each(&self.device_read_iops, &change.device_read_iops),
            device_write_iops: each(&self.device_write_iops, &change.device_write_iops),
            ulimits: self.ulimits.clone(),
            cgroup_conf,
            cgroup_parent: self.cgroup_parent.clone(),
            shm_size: self.shm_size,
        }
    }

    /// What of `self` is to be written where just `change` has changed: limits of memory and of swap depend on one another.
    pub(crate) fn touched(&self, change: &LimitOptions) -> LimitOptions {
        let mut touched = change.clone();
        if change.memory.is_some() || change.memory_swap.is_some() {
            (touched.memory, touched.memory_swap) = (self.memory, self.memory_swap);
        }
        touched
    }

    /// The flags that say what is here.
    pub(crate) fn flags(&self) -> Vec<String> {
        let fields = |options: &LimitOptions| match serde_json::to_value(options) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("it is an object with string keys"),
        };
        let none = fields(&LimitOptions::default());
        let said = fields(self).into_iter().filter(|(name, value)| none.get(name) != Some(value));
        said.map(|(name, _)| match name.as_str() {
            "cpuTime" => "--cpus".to_owned(),
            "ulimits" => "--ulimit".to_owned(),
            name => name.chars().fold("--".to_owned(), |flag, letter| match letter.is_ascii_uppercase() {
                true => format!("{flag}-{}", letter.to_ascii_lowercase()),
                false => format!("{flag}{letter}"),
            }),
        })
        .collect()
    }

    /// Refuses what no kernel could do.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_memory()?;
        self.check_cpu()?;
        if self.pids_limit.is_some_and(|limit| limit < -1) {
            return refuse(
                "--pids-limit",
                "is negative",
                "-1 is no limit; otherwise give the most tasks there may be",
            );
        }
        if self.pids_limit.is_some_and(|limit| limit > MOST_TASKS) {
            return refuse(
                "--pids-limit",
                format!("is more than the kernel's {MOST_TASKS} process ids"),
                "-1 is no limit",
            );
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<()> {
        if self.memory.is_some_and(|bytes| bytes < 512 * 1024) {
            return refuse(
                "--memory",
                "is less than a process needs to start",
                "give at least 512k; `64m` is a usual value",
            );
        }
        if let (Some(reservation), Some(limit)) = (self.memory_reservation, self.memory)
            && reservation > limit
        {
            return refuse(
                "--memory-reservation",
                format!("{reservation} bytes are more than the {limit} of `--memory`"),
                "the reservation is a part of the limit: make it smaller",
            );
        }
        match (self.memory_swap, self.memory) {
            (None | Some(-1), _) => {}
            (Some(_), None) => {
                return refuse(
                    "--memory-swap",
                    "counts memory and swap together, and memory has no limit",
                    "give `--memory` beside it",
                );
            }
            (Some(swap), Some(limit)) if swap < limit => {
                return refuse(
                    "--memory-swap",
                    format!("{swap} bytes are less than the {limit} of `--memory`, which they include"),
                    "give the sum of memory and swap; the same number is no swap, -1 is as much as there is",
                );
            }
            (Some(_), Some(_)) => {}
        }
        Ok(())
    }

    fn check_cpu(&self) -> Result<()> {
        if self.cpu_time.is_some() && (self.cpu_period.is_some() || self.cpu_quota.is_some()) {
            return refuse(
                "--cpus",
                "says the same as `--cpu-quota` and `--cpu-period`, which are there too",
                "give either `--cpus`, or the other two",
            );
        }
        if self.cpu_period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
            return refuse(
                "--cpu-period",
                "is not within 1000 and 1000000",
                "give microseconds; the kernel's default is 100000",
            );
        }
        if self.cpu_quota.is_some_and(|quota| quota != -1 && quota < 1000) {
            return refuse(
                "--cpu-quota",
                "is less than 1000",
                "give microseconds for each period, or -1 for no limit; `--cpus` is easier",
            );
        }
        if self.cpu_quota.is_some_and(|quota| quota > MOST_TIME) {
            return refuse(
                "--cpu-quota",
                format!("is more than the {MOST_TIME} microseconds that the kernel takes"),
                "-1 is no limit",
            );
        }
        if self.cpu_shares.is_some_and(|shares| !SHARES.contains(&shares)) {
            return refuse(
                "--cpu-shares",
                format!("is not within {} and {}", SHARES.start(), SHARES.end()),
                "1024 is normal: half of it is half the time beside others, where all want it",
            );
        }
        if self.cpu_rt_period == Some(0) || self.cpu_rt_runtime.is_some_and(|runtime| runtime < -1) {
            return refuse("--cpu-rt-period, --cpu-rt-runtime", "is negative or zero", "give microseconds");
        }
        for (flag, given) in [
            ("--cpu-rt-period", self.cpu_rt_period.unwrap_or_default()),
            ("--cpu-rt-runtime", self.cpu_rt_runtime.unwrap_or_default().unsigned_abs()),
        ] {
            if given > MOST_REAL_TIME {
                let reason = format!("is more than the {MOST_REAL_TIME} microseconds that the kernel takes");
                return refuse(flag, reason, "1000000 is usual for a period");
            }
        }
        if let (Some(runtime), Some(period)) = (self.cpu_rt_runtime, self.cpu_rt_period)
            && runtime > i64::try_from(period).unwrap_or(i64::MAX)
        {
            return refuse(
                "--cpu-rt-runtime",
                "is more than `--cpu-rt-period`",
                "it is a part of each period: make it smaller",
            );
        }
        Ok(())
    }

    /// The flags that bound nothing but prefer.
    pub(crate) fn preferences(&self) -> Vec<&'static str> {
        let asked = [
            (self.memory_swappiness.is_some(), "--memory-swappiness"),
            (self.oom_kill_disable, "--oom-kill-disable"),
            (self.cpu_shares.is_some(), "--cpu-shares"),
            (self.blkio_weight.is_some(), "--blkio-weight"),
            (!self.blkio_weight_device.is_empty(), "--blkio-weight-device"),
        ];
        asked.into_iter().filter(|(asked, _)| *asked).map(|(_, flag)| flag).collect()
    }

    /// The same without those.
    pub(crate) fn without_preferences(&self) -> LimitOptions {
        LimitOptions {
            memory_swappiness: None,
            oom_kill_disable: false,
            cpu_shares: None,
            blkio_weight: None,
            blkio_weight_device: Vec::new(),
            ..self.clone()
        }
    }

    /// The flags that are nothing without a controller, each with the controller's name on v1; on v2 `blkio` is `io`.
    pub(crate) fn wanted_controllers(&self) -> Vec<(&'static str, &'static str)> {
        let rates =
            [&self.device_read_bps, &self.device_write_bps, &self.device_read_iops, &self.device_write_iops];
        let rate_flags =
            ["--device-read-bps", "--device-write-bps", "--device-read-iops", "--device-write-iops"];
        let mut wanted = vec![
            (self.memory.is_some(), "--memory", "memory"),
            (self.memory_reservation.is_some(), "--memory-reservation", "memory"),
            (self.cpu_time.is_some(), "--cpus", "cpu"),
            (self.cpu_period.is_some(), "--cpu-period", "cpu"),
            (self.cpu_quota.is_some(), "--cpu-quota", "cpu"),
            (self.cpu_rt_period.is_some(), "--cpu-rt-period", "cpu"),
            (self.cpu_rt_runtime.is_some(), "--cpu-rt-runtime", "cpu"),
            (self.cpuset_cpus.is_some(), "--cpuset-cpus", "cpuset"),
            (self.cpuset_mems.is_some(), "--cpuset-mems", "cpuset"),
            (self.pids_limit.is_some(), "--pids-limit", "pids"),
        ];
        wanted
            .extend(rates.into_iter().zip(rate_flags).map(|(list, flag)| (!list.is_empty(), flag, "blkio")));
        wanted
            .into_iter()
            .filter(|(asked, _, _)| *asked)
            .map(|(_, flag, controller)| (flag, controller))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: LimitOptions) -> String {
        options.check().expect_err("a contradiction").operation
    }

    #[test]
    fn update_changes_what_it_names_and_nothing_else() {
        let none = LimitOptions::default;
        let device = |path: &str, value| DeviceLimit { path: path.into(), value };
        let now = LimitOptions {
            memory: Some(64 << 20),
            pids_limit: Some(9),
            cpu_quota: Some(5000),
            device_read_bps: vec![device("/dev/a", 1), device("/dev/b", 2)],
            ..none()
        };
        let change = LimitOptions {
            memory: Some(96 << 20),
            cpu_time: Some(50_000),
            device_read_bps: vec![device("/dev/b", 3)],
            ..none()
        };
        assert_eq!(change.flags(), ["--cpus", "--device-read-bps", "--memory"]);
        let updated = now.updated(&change);
        let expected = LimitOptions {
            memory: Some(96 << 20),
            pids_limit: Some(9),
            cpu_time: Some(50_000),
            device_read_bps: vec![device("/dev/a", 1), device("/dev/b", 3)],
            ..none()
        };
        assert_eq!(updated, expected);
        assert_eq!(updated.updated(&none()), updated);
        assert_eq!(updated.updated(&LimitOptions { cpu_quota: Some(7000), ..none() }).cpu_time, None);
    }

    #[test]
    fn limit_of_swap_is_written_with_that_of_memory() {
        let now = LimitOptions { memory: Some(64), memory_swap: Some(128), ..LimitOptions::default() };
        let change = LimitOptions { memory: Some(96), ..LimitOptions::default() };
        let touched = now.updated(&change).touched(&change);
        assert_eq!((touched.memory, touched.memory_swap), (Some(96), Some(128)));
        let change = LimitOptions { pids_limit: Some(3), ..LimitOptions::default() };
        assert_eq!(now.updated(&change).touched(&change).memory, None);
    }

    #[test]
    fn contradictions_are_refused_by_the_name_of_a_flag() {
        let none = LimitOptions::default;
        let big = Some(64 << 20);
        assert_eq!(refused(LimitOptions { memory: Some(4096), ..none() }), "--memory");
        assert_eq!(
            refused(LimitOptions { memory: big, memory_swap: Some(32 << 20), ..none() }),
            "--memory-swap"
        );
        assert_eq!(refused(LimitOptions { memory_swap: big, ..none() }), "--memory-swap");
        let reservation = LimitOptions { memory: big, memory_reservation: Some(65 << 20), ..none() };
        assert_eq!(refused(reservation), "--memory-reservation");
        for other in [
            LimitOptions { cpu_quota: Some(5000), ..none() },
            LimitOptions { cpu_period: Some(5000), ..none() },
        ] {
            assert_eq!(refused(LimitOptions { cpu_time: Some(5000), ..other }), "--cpus");
        }
        assert_eq!(refused(LimitOptions { cpu_period: Some(999), ..none() }), "--cpu-period");
        assert_eq!(refused(LimitOptions { cpu_quota: Some(999), ..none() }), "--cpu-quota");
        for limit in [-2, MOST_TASKS + 1] {
            assert_eq!(refused(LimitOptions { pids_limit: Some(limit), ..none() }), "--pids-limit");
        }
        assert_eq!(refused(LimitOptions { cpu_quota: Some(MOST_TIME + 1), ..none() }), "--cpu-quota");
        for shares in [1, 262_145] {
            assert_eq!(refused(LimitOptions { cpu_shares: Some(shares), ..none() }), "--cpu-shares");
        }
        assert_eq!(refused(LimitOptions { cpu_rt_period: Some(u64::MAX), ..none() }), "--cpu-rt-period");
        assert_eq!(refused(LimitOptions { cpu_rt_runtime: Some(i64::MAX), ..none() }), "--cpu-rt-runtime");
        let runtime = LimitOptions { cpu_rt_period: Some(5), cpu_rt_runtime: Some(6), ..none() };
        assert_eq!(refused(runtime), "--cpu-rt-runtime");
    }

    #[test]
    fn what_docker_takes_is_taken() {
        let none = LimitOptions::default;
        let big = Some(64 << 20);
        for legal in [
            none(),
            LimitOptions { memory: big, memory_swap: big, ..none() },
            LimitOptions { memory: big, memory_swap: Some(-1), ..none() },
            LimitOptions { memory_swap: Some(-1), ..none() },
            LimitOptions { memory_reservation: big, ..none() },
            LimitOptions { cpu_quota: Some(-1), cpu_period: Some(1000), ..none() },
            LimitOptions { cpu_quota: Some(MOST_TIME), cpu_shares: Some(2), ..none() },
            LimitOptions { pids_limit: Some(MOST_TASKS), cpu_shares: Some(262_144), ..none() },
        ] {
            assert!(legal.check().is_ok(), "{legal:?}");
        }
    }
}
