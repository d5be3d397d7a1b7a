//! Limits as the config says them (`linux.resources`, `process.rlimits`), and whether this host can keep them. What
//! bounds use and can't be kept is refused; what only prefers one use to another is left out with a notice. Must not
//! change anything.

use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use cgroup::Layout;
use runtime::ContainerId;
use runtime::spec::{
    BlockIo, Cpu, DeviceRule, Linux, Memory, Pids, Process, Resources, Rlimit, ThrottleDevice, WeightDevice,
};
use rustix::thread::CapabilitySet;

use super::host_cgroups::{HostCgroups, NODES, PROCESSORS, group_path};
use crate::container::Notice;
use crate::error::{Error, Result};
use crate::options::{CPU_PERIOD, DeviceLimit, LimitOptions, Ulimit};
use runtime::ErrorKind;

/// Puts the limits into the config.
pub(super) fn limit(
    options: &LimitOptions,
    id: &ContainerId,
    process: &mut Process,
    linux: &mut Linux,
) -> Result<()> {
    // A start without limits looks nothing up.
    let host = HostCgroups::new(options)?;
    let bounds = host.no_limits().map(|_| options.without_preferences());
    let options = bounds.as_ref().unwrap_or(options);
    linux.resources = Some(resources(options, &host)?);
    linux.cgroups_path = match &options.cgroup_parent {
        // The runtime's own default.
        None => None,
        Some(parent) => Some(cgroups_path(parent, id)?),
    };
    process.rlimits = rlimits(&options.ulimits)?;
    process.oom_score_adj = options.oom_score_adj.map(oom_score).transpose()?;
    Ok(())
}

/// Limits that change for a container which has others already.
pub(crate) fn changed(options: &LimitOptions) -> Result<Resources> {
    let host = HostCgroups::new(options)?;
    let bounds = host.no_limits().map(|_| options.without_preferences());
    let resources = resources(bounds.as_ref().unwrap_or(options), &host)?;
    // What devices it may use is no limit.
    Ok(Resources { devices: Vec::new(), ..resources })
}

/// The error of a plan that no group can keep the limits of, with their flags.
pub(super) fn name_flags(mut error: Error, options: &LimitOptions) -> Error {
    let flags: Vec<&str> = options.wanted_controllers().into_iter().map(|(flag, _)| flag).collect();
    if error.operation == "linux.resources" && !flags.is_empty() {
        error.operation = flags.join(", ");
    }
    if error.operation == "linux.cgroupsPath" && options.cgroup_parent.is_some() {
        error.operation = "--cgroup-parent".to_owned();
    }
    error
}

/// What is left out of what was asked for, and why.
pub(crate) fn notices(options: &LimitOptions) -> Vec<Notice> {
    let mut notices = Vec::new();
    let left_out = |notices: &mut Vec<Notice>, flag: &str, why: &str, remedy: &str| {
        notices
            .push(Notice { what: format!("`{flag}` is left out: {why}"), remedy: Some(remedy.to_owned()) });
    };
    if options.kernel_memory {
        left_out(
            &mut notices,
            "--kernel-memory",
            "no supported kernel has this limit; `--memory` includes the kernel's memory",
            "leave the flag out",
        );
    }
    // What `limit` would refuse with its reason is not worth a notice.
    let Ok(host) = HostCgroups::new(options) else { return notices };
    if let Some(error) = host.no_limits() {
        for flag in options.preferences() {
            left_out(&mut notices, flag, &error.reason, error.hint.as_deref().unwrap_or_default());
        }
        return notices;
    }
    if wants_swap_limit(options) && !host.limits_swap() {
        left_out(
            &mut notices,
            if options.memory_swap.is_some() { "--memory-swap" } else { "the limit of swap" },
            "this kernel does not count swap, so memory is limited and swap is not",
            "boot it with `swapaccount=1`, or turn swap off",
        );
    }
    if options.memory_swappiness.is_some() && !host.is_v1("memory") {
        left_out(&mut notices, "--memory-swappiness", "cgroup v2 has no such setting", "leave the flag out");
    }
    if options.oom_kill_disable {
        if !host.is_v1("memory") {
            left_out(
                &mut notices,
                "--oom-kill-disable",
                "cgroup v2 always kills when memory runs out",
                "leave the flag out; `--cgroup-conf=memory.high=SIZE` slows down before the limit",
            );
        } else if options.memory.is_none() {
            notices.push(Notice {
                what: "`--oom-kill-disable` without `--memory`: the whole host may run out of memory"
                    .to_owned(),
                remedy: Some("give the container a limit with `--memory`".to_owned()),
            });
        }
    }
    let weights = [
        (options.cpu_shares.is_some(), "--cpu-shares", "cpu"),
        (options.blkio_weight.is_some(), "--blkio-weight", "blkio"),
        (!options.blkio_weight_device.is_empty(), "--blkio-weight-device", "blkio"),
    ];
    for (_, flag, controller) in weights.into_iter().filter(|(asked, ..)| *asked) {
        if let Err(Error { reason, hint, .. }) = host.require(flag, controller) {
            left_out(&mut notices, flag, &reason, &hint.unwrap_or_default());
        }
    }
    let has_devices = host.offers("blkio");
    if options.blkio_weight.is_some() && has_devices && !host.weighs_devices() {
        left_out(
            &mut notices,
            "--blkio-weight",
            "this kernel does not weigh traffic with block devices",
            "it takes CONFIG_BFQ_GROUP_IOSCHED or CONFIG_BLK_CGROUP_IOCOST",
        );
    }
    for limit in options.blkio_weight_device.iter().filter(|_| has_devices) {
        let Ok((major, minor)) = whole_disk("--blkio-weight-device", &limit.path) else { continue };
        if !host.weighs_device(major, minor) {
            let why = format!("traffic with `{}` is not weighed by its scheduler", limit.path.display());
            let remedy = format!("have root `echo bfq >/sys/dev/block/{major}:{minor}/queue/scheduler`");
            left_out(&mut notices, "--blkio-weight-device", &why, &remedy);
        }
    }
    notices
}

/// Memory and swap together. Without a word about swap, none beside the memory: a limit that swaps instead is a slow
/// surprise. A kernel that does not count swap limits memory alone.
fn swap_limit(options: &LimitOptions, swap: HostSwap) -> Option<i64> {
    let memory = options.memory?;
    match (options.memory_swap, swap) {
        (Some(-1), _) => Some(-1),
        (_, HostSwap::NotCounted) => None,
        (Some(both), _) => Some(both),
        (None, HostSwap::Counted) => Some(memory),
        (None, HostSwap::CountedAndAbsent) => None,
    }
}

/// What the host has of swap, and whether its kernel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostSwap {
    Counted,
    CountedAndAbsent,
    NotCounted,
}

impl HostSwap {
    /// That of a kernel that counts.
    fn of_this_host() -> HostSwap {
        match rustix::system::sysinfo().totalswap {
            0 => HostSwap::CountedAndAbsent,
            _ => HostSwap::Counted,
        }
    }
}

/// Whether a limit of swap is asked for, by its flag or by that of memory.
fn wants_swap_limit(options: &LimitOptions) -> bool {
    swap_limit(options, HostSwap::of_this_host()).is_some_and(|limit| limit != -1)
}

fn resources(options: &LimitOptions, host: &HostCgroups) -> Result<Resources> {
    Ok(Resources {
        devices: vec![DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() }],
        memory: memory(options, host),
        cpu: cpu(options, host)?,
        pids: options.pids_limit.map(|limit| Pids { limit: Some(limit) }),
        block_io: block_io(options, host)?,
        unified: options.cgroup_conf.clone(),
        ..Resources::default()
    })
}

fn memory(options: &LimitOptions, host: &HostCgroups) -> Option<Memory> {
    let v1 = host.is_v1("memory");
    let counts = options.memory.is_some() && host.limits_swap();
    let swap = swap_limit(options, if counts { HostSwap::of_this_host() } else { HostSwap::NotCounted });
    let memory = Memory {
        limit: options.memory,
        reservation: options.memory_reservation,
        swap,
        swappiness: options.memory_swappiness.filter(|_| v1),
        disable_oom_killer: (options.oom_kill_disable && v1).then_some(true),
        ..Memory::default()
    };
    (memory != Memory::default()).then_some(memory)
}

fn cpu(options: &LimitOptions, host: &HostCgroups) -> Result<Option<Cpu>> {
    let mut cpu = Cpu {
        shares: options.cpu_shares.filter(|_| host.offers("cpu")),
        period: options.cpu_period,
        quota: options.cpu_quota,
        realtime_period: options.cpu_rt_period,
        realtime_runtime: options.cpu_rt_runtime,
        cpus: host.existing("--cpuset-cpus", options.cpuset_cpus.as_ref(), &PROCESSORS)?,
        mems: host.existing("--cpuset-mems", options.cpuset_mems.as_ref(), &NODES)?,
        ..Cpu::default()
    };
    check_realtime(options, host)?;
    if let Some(time) = options.cpu_time {
        let online = host.numbers(&PROCESSORS).len().max(1) as u64;
        if time > online * CPU_PERIOD {
            let asked = time as f64 / CPU_PERIOD as f64;
            let error = Error::invalid("--cpus", format!("{asked} are more than the {online} of this host"));
            return Err(error.with_hint("give at most as many as there are, or leave the flag out"));
        }
        (cpu.quota, cpu.period) = (i64::try_from(time).ok(), Some(CPU_PERIOD));
    }
    Ok((cpu != Cpu::default()).then_some(cpu))
}

/// Time for real-time tasks is handed down from group to group; the kernel itself says no more than EINVAL.
fn check_realtime(options: &LimitOptions, host: &HostCgroups) -> Result<()> {
    let (flag, wanted) = match (options.cpu_rt_runtime, options.cpu_rt_period) {
        (Some(runtime), _) => ("--cpu-rt-runtime", runtime),
        (None, Some(_)) => ("--cpu-rt-period", 0),
        (None, None) => return Ok(()),
    };
    match host.v1_number("cpu", "cpu.rt_runtime_us") {
        None => {
            let what = "a limit of real-time tasks".to_owned();
            let hint = "it takes cgroup v1 and a kernel with CONFIG_RT_GROUP_SCHED; leave the flag out";
            Err(Error::unsupported(flag, what, hint))
        }
        Some(most) if most != -1 && most < wanted => {
            let error =
                Error::invalid(flag, format!("{wanted} are more than the {most} of the parent group"));
            Err(error.with_hint("raise cpu.rt_runtime_us there first, or give less"))
        }
        Some(_) => Ok(()),
    }
}

fn block_io(options: &LimitOptions, host: &HostCgroups) -> Result<Option<BlockIo>> {
    let throttle = |flag: &str, list: &[DeviceLimit<u64>]| -> Result<Vec<ThrottleDevice>> {
        list.iter()
            .map(|limit| {
                let (major, minor) = whole_disk(flag, &limit.path)?;
                Ok(ThrottleDevice { major, minor, rate: limit.value })
            })
            .collect()
    };
    let weighs = host.weighs_devices() && host.offers("blkio");
    let mut weight_device = Vec::new();
    for limit in &options.blkio_weight_device {
        let (major, minor) = whole_disk("--blkio-weight-device", &limit.path)?;
        if weighs && host.weighs_device(major, minor) {
            weight_device.push(WeightDevice { major, minor, weight: Some(limit.value), leaf_weight: None });
        }
    }
    let block_io = BlockIo {
        weight: options.blkio_weight.filter(|_| weighs),
        weight_device,
        throttle_read_bps_device: throttle("--device-read-bps", &options.device_read_bps)?,
        throttle_write_bps_device: throttle("--device-write-bps", &options.device_write_bps)?,
        throttle_read_iops_device: throttle("--device-read-iops", &options.device_read_iops)?,
        throttle_write_iops_device: throttle("--device-write-iops", &options.device_write_iops)?,
        ..BlockIo::default()
    };
    Ok((block_io != BlockIo::default()).then_some(block_io))
}

/// The numbers of a block device. The kernel knows limits of whole disks only.
fn whole_disk(flag: &str, path: &Path) -> Result<(i64, i64)> {
    let found = std::fs::metadata(path).map_err(|error| {
        Error::at_path("find the device", path, error)
            .from_field(flag)
            .with_hint("`lsblk -p` lists the disks of this host")
    })?;
    let refuse = |why: &str, hint: String| {
        Err(Error::invalid(flag, format!("`{}` is {why}", path.display())).with_hint(hint))
    };
    if !found.file_type().is_block_device() {
        return refuse(
            "no block device",
            "name a disk, such as `/dev/sda`; `lsblk -p` lists them".to_owned(),
        );
    }
    let device = found.st_rdev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let entry = format!("/sys/dev/block/{major}:{minor}");
    if Path::new(&entry).join("partition").exists() {
        let disk = std::fs::canonicalize(&entry).ok();
        let name = disk.as_deref().and_then(Path::parent).and_then(Path::file_name);
        let hint = match name {
            Some(disk) => format!("name the whole disk, `/dev/{}`", disk.to_string_lossy()),
            None => "name the whole disk".to_owned(),
        };
        return refuse("a partition, and the kernel limits whole disks", hint);
    }
    Ok((i64::from(major), i64::from(minor)))
}

fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<Rlimit>> {
    if ulimits.is_empty() {
        return Ok(Vec::new());
    }
    let mut rlimits: Vec<Rlimit> = Vec::new();
    for Ulimit { name, soft, hard } in ulimits {
        let kind = format!("RLIMIT_{}", name.to_ascii_uppercase());
        rlimits.retain(|earlier| earlier.kind != kind);
        rlimits.push(Rlimit { kind, soft: *soft, hard: *hard });
    }
    let may_raise = has_resource_capability();
    for limit in &rlimits {
        let name = limit.kind.trim_start_matches("RLIMIT_").to_ascii_lowercase();
        let refuse = |most: u64, why: &str, hint: &str| {
            let error = Error::new(
                ErrorKind::Permission,
                "--ulimit",
                format!("`{name}` can be at most {most}: {why}"),
            );
            Err(error.with_hint(hint))
        };
        if let Some(own) = runtime::plan::own_hard_limit(&limit.kind)
            && limit.hard > own
            && !may_raise
        {
            return refuse(
                own,
                "that is the caller's own, and it lacks CAP_SYS_RESOURCE to exceed it",
                "give less, or raise the caller's limit first (limits.conf(5), LimitNOFILE= and the like of its unit)",
            );
        }
        if limit.kind == "RLIMIT_NOFILE"
            && let Some(most) = number("/proc/sys/fs/nr_open")
            && limit.hard > most
        {
            return refuse(
                most,
                "the kernel's setting fs.nr_open",
                "give less, or raise it: `sysctl fs.nr_open`",
            );
        }
    }
    Ok(rlimits)
}

/// Lowering the score below the caller's own is a privilege.
fn oom_score(score: i32) -> Result<i32> {
    let own =
        std::fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse().ok());
    match own {
        Some(own) if score < own && !has_resource_capability() => {
            let reason = format!("{score} is below the caller's own {own}, and that takes CAP_SYS_RESOURCE");
            let error = Error::new(ErrorKind::Permission, "--oom-score-adj", reason);
            Err(error.with_hint("give at least as much, or start from a caller that has the capability"))
        }
        _ => Ok(score),
    }
}

fn has_resource_capability() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE))
}

fn cgroups_path(parent: &str, id: &ContainerId) -> Result<String> {
    let path = group_path(&Layout::detect()?, Some(parent), &format!("rabbitc-{id}"));
    let path = path.map_err(|error| {
        let error = Error::from(error).from_field("--cgroup-parent");
        error.with_hint(
            "name a group from the root of the hierarchies on, such as `/batch`, or a slice of systemd",
        )
    })?;
    Ok(path.to_string())
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_none_beside_the_memory_unless_it_is_asked_for_or_not_counted() {
        let limit = |memory, memory_swap, swap| {
            let options = LimitOptions { memory, memory_swap, ..LimitOptions::default() };
            swap_limit(&options, swap)
        };
        assert_eq!(limit(Some(5), None, HostSwap::Counted), Some(5));
        assert_eq!(limit(Some(5), None, HostSwap::CountedAndAbsent), None);
        assert_eq!(limit(Some(5), None, HostSwap::NotCounted), None, "memory is limited all the same");
        assert_eq!(limit(Some(5), Some(8), HostSwap::Counted), Some(8));
        assert_eq!(
            limit(Some(5), Some(8), HostSwap::CountedAndAbsent),
            Some(8),
            "swap may be turned on later"
        );
        assert_eq!(limit(Some(5), Some(8), HostSwap::NotCounted), None);
        assert_eq!(limit(Some(5), Some(-1), HostSwap::NotCounted), Some(-1));
        assert_eq!(limit(None, Some(-1), HostSwap::Counted), None);
    }

    #[test]
    fn later_limit_of_the_same_kind_counts() {
        let ulimits = [("core", 5), ("nofile", 9), ("core", 0)];
        let ulimits = ulimits.map(|(name, number)| Ulimit { name, soft: number, hard: number });
        let kinds: Vec<_> =
            rlimits(&ulimits).expect("low ones").into_iter().map(|one| (one.kind, one.hard)).collect();
        assert_eq!(kinds, [("RLIMIT_NOFILE".to_owned(), 9), ("RLIMIT_CORE".to_owned(), 0)]);
    }
}
