//! Owns the file language of cgroup v2: limits to lines. Must not touch the kernel.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::resources::{
    Absent, BlockIo, Cpu, Memory, Rdma, Resources, ThrottleDevice, Write, limited, present, tasks,
};

/// The lines that set `resources` on cgroup v2, in the order in which they are to be written.
///
/// Devices are not among them: v2 has no file for those but a program, see
/// [`device_filter`](crate::devices::device_filter). Nor are limits that v2 lacks (swappiness, real-time, packet
/// marks).
pub fn writes_v2(resources: &Resources) -> Vec<Write> {
    let mut writes = Vec::new();
    memory(&resources.memory, &mut writes);
    cpu(&resources.cpu, &mut writes);
    if let Some(limit) = resources.pids {
        writes.push(Write::new("pids", "pids.max", tasks(limit)));
    }
    block_io(&resources.block_io, &mut writes);
    for limit in &resources.hugepage_limits {
        let size = &limit.page_size;
        writes.push(Write::new("hugetlb", format!("hugetlb.{size}.max"), limit.limit));
        // Since Linux 5.7; a reservation that is never touched counts there alone.
        writes.push(Write::new("hugetlb", format!("hugetlb.{size}.rsvd.max"), limit.limit).or_skip());
    }
    rdma(&resources.rdma, &mut writes);
    // Last, so that the exact words of the caller win over anything translated.
    for (file, value) in &resources.unified {
        if file == "cpu.weight" && resources.unified.get("cpu.idle").is_some_and(|idle| idle.trim() == "1") {
            continue;
        }
        let controller = file.split('.').next().unwrap_or_default().to_owned();
        // A file of many devices takes one a write (`io.max`); where a value has one line, that is all of it.
        let mut lines = value.lines().filter(|line| !line.trim().is_empty()).peekable();
        let empty = lines.peek().is_none().then_some(value.as_str());
        for line in lines.chain(empty) {
            writes.push(Write {
                controller: Cow::Owned(controller.clone()),
                file: Cow::Owned(file.clone()),
                value: line.to_owned(),
                absent: Absent::Refuse,
            });
        }
    }
    writes
}

/// The `cpu.weight` of v2, 1 to 10000, for the `cpu.shares` of v1, 2 to 262144; 0 (absent) stays 0.
///
/// Maps both ends and the default on each other: 2 to 1, 1024 to 100, 262144 to 10000, with a quadratic curve
/// between the logarithms (as
/// newer runc and crun do; their older straight line gave 1024 the weight 39).
pub fn cpu_weight_of_shares(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let logarithm = (shares as f64).log2();
            let exponent = (logarithm * logarithm + 125.0 * logarithm) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// The `io.weight` of v2, 1 to 10000, for the `blkio.weight` of v1, 10 to 1000.
pub fn io_weight_of_block_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

fn memory(memory: &Memory, writes: &mut Vec<Write>) {
    let limit = present(memory.limit);
    match (present(memory.swap), limit) {
        // Without swap support there is no such file, and nothing to limit when it is unlimited anyway.
        (Some(-1), _) | (None, Some(-1)) => {
            writes.push(Write::new("memory", "memory.swap.max", "max").or_skip());
        }
        // The specification counts memory and swap together, v2 counts swap alone.
        (Some(swap), Some(limit)) => {
            let swap_alone = Write::new("memory", "memory.swap.max", swap.saturating_sub(limit).max(0));
            writes.push(if swap == limit { swap_alone.or_skip() } else { swap_alone });
        }
        (Some(_) | None, _) => {}
    }
    if let Some(limit) = limit {
        writes.push(Write::new("memory", "memory.max", limited(limit)));
    }
    if let Some(reservation) = present(memory.reservation) {
        writes.push(Write::new("memory", "memory.low", limited(reservation)));
    }
}

fn cpu(cpu: &Cpu, writes: &mut Vec<Write>) {
    // An idle group takes no weight, so leaving idleness comes first.
    if let Some(idle) = cpu.idle {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    if let Some(shares) = present(cpu.shares).filter(|_| cpu.idle != Some(1)) {
        writes.push(Write::new("cpu", "cpu.weight", cpu_weight_of_shares(shares)));
    }
    let quota = present(cpu.quota).map(|quota| if quota < 0 { "max".to_owned() } else { quota.to_string() });
    match (quota, present(cpu.period)) {
        (Some(quota), Some(period)) => writes.push(Write::new("cpu", "cpu.max", format!("{quota} {period}"))),
        // The kernel keeps the period when the line has none.
        (Some(quota), None) => writes.push(Write::new("cpu", "cpu.max", quota)),
        (None, Some(period)) => writes.push(Write::new("cpu", "cpu.max", format!("max {period}"))),
        (None, None) => {}
    }
    if let Some(burst) = cpu.burst {
        writes.push(Write::new("cpu", "cpu.max.burst", burst));
    }
    cpuset(cpu, writes);
}

/// The same files in both languages.
pub(crate) fn cpuset(cpu: &Cpu, writes: &mut Vec<Write>) {
    for (file, list) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            writes.push(Write::new("cpuset", file, list));
        }
    }
}

fn block_io(block_io: &BlockIo, writes: &mut Vec<Write>) {
    if let Some(weight) = present(block_io.weight) {
        // With the BFQ scheduler the v1 numbers hold; io.weight belongs to another policy and scale.
        let otherwise = Write::new("io", "io.weight", io_weight_of_block_weight(weight));
        writes.push(Write::new("io", "io.bfq.weight", weight).or(otherwise));
    }
    for device in &block_io.weight_device {
        if let Some(weight) = present(device.weight) {
            let name = format!("{}:{}", device.major, device.minor);
            let otherwise =
                Write::new("io", "io.weight", format!("{name} {}", io_weight_of_block_weight(weight)));
            writes.push(Write::new("io", "io.bfq.weight", format!("{name} {weight}")).or(otherwise));
        }
    }
    let throttles: [(&str, &[ThrottleDevice]); 4] = [
        ("rbps", &block_io.throttle_read_bps_device),
        ("wbps", &block_io.throttle_write_bps_device),
        ("riops", &block_io.throttle_read_iops_device),
        ("wiops", &block_io.throttle_write_iops_device),
    ];
    for (key, devices) in throttles {
        for ThrottleDevice { major, minor, rate } in devices {
            let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
            writes.push(Write::new("io", "io.max", format!("{major}:{minor} {key}={rate}")));
        }
    }
}

/// The same file in both languages.
pub(crate) fn rdma(devices: &BTreeMap<String, Rdma>, writes: &mut Vec<Write>) {
    for (device, limit) in devices {
        let mut value = device.clone();
        for (key, limit) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
            if let Some(limit) = limit {
                value.push_str(&format!(" {key}={limit}"));
            }
        }
        writes.push(Write::new("rdma", "rdma.max", value));
    }
}
