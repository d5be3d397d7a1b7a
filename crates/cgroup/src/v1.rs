//! Owns the file language of cgroup v1: limits to lines. Must not touch the kernel.

use crate::devices::exceptions;
use crate::resources::{BlockIo, Cpu, Memory, Resources, ThrottleDevice, Write, present, tasks};

/// The lines that set `resources` on cgroup v1, in the order in which they are to be written.
///
/// Where two lines of one controller depend on each other (memory and swap, period, quota and burst), the order
/// is that for a new group; on a used one the kernel may refuse one with EINVAL until the other is written. The
/// device rules, too, are those for a new group.
pub fn writes_v1(resources: &Resources) -> Vec<Write> {
    let mut writes = exceptions::writes(&resources.devices);
    memory(&resources.memory, &mut writes);
    cpu(&resources.cpu, &mut writes);
    if let Some(limit) = resources.pids {
        writes.push(Write::new("pids", "pids.max", tasks(limit)));
    }
    block_io(&resources.block_io, &mut writes);
    for limit in &resources.hugepage_limits {
        let size = &limit.page_size;
        writes.push(Write::new("hugetlb", format!("hugetlb.{size}.limit_in_bytes"), limit.limit));
        // Since Linux 5.7; a reservation that is never touched counts there alone.
        let reserved = format!("hugetlb.{size}.rsvd.limit_in_bytes");
        writes.push(Write::new("hugetlb", reserved, limit.limit).or_skip());
    }
    if let Some(class) = present(resources.network.class_id) {
        writes.push(Write::new("net_cls", "net_cls.classid", class));
    }
    for priority in &resources.network.priorities {
        let value = format!("{} {}", priority.name, priority.priority);
        writes.push(Write::new("net_prio", "net_prio.ifpriomap", value));
    }
    crate::v2::rdma(&resources.rdma, &mut writes);
    writes
}

fn memory(memory: &Memory, writes: &mut Vec<Write>) {
    if let Some(limit) = present(memory.limit) {
        writes.push(Write::new("memory", "memory.limit_in_bytes", limit));
    }
    match (present(memory.swap), present(memory.limit)) {
        // Without swap accounting (swapaccount=0) there is no such file, and nothing to limit when it is to be
        // unlimited anyway.
        (Some(-1), _) | (None, Some(-1)) => {
            writes.push(Write::new("memory", "memory.memsw.limit_in_bytes", -1).or_skip());
        }
        (Some(swap), _) => writes.push(Write::new("memory", "memory.memsw.limit_in_bytes", swap)),
        (None, _) => {}
    }
    if let Some(reservation) = present(memory.reservation) {
        writes.push(Write::new("memory", "memory.soft_limit_in_bytes", reservation));
    }
    if let Some(limit) = present(memory.kernel_tcp) {
        writes.push(Write::new("memory", "memory.kmem.tcp.limit_in_bytes", limit));
    }
    if let Some(swappiness) = memory.swappiness {
        writes.push(Write::new("memory", "memory.swappiness", swappiness));
    }
    if let Some(disabled) = memory.disable_oom_killer {
        writes.push(Write::new("memory", "memory.oom_control", u8::from(disabled)));
    }
}

fn cpu(cpu: &Cpu, writes: &mut Vec<Write>) {
    // An idle group takes no shares, so leaving idleness comes first.
    if let Some(idle) = cpu.idle {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    if let Some(shares) = present(cpu.shares).filter(|_| cpu.idle != Some(1)) {
        writes.push(Write::new("cpu", "cpu.shares", shares));
    }
    if let Some(period) = present(cpu.realtime_period) {
        writes.push(Write::new("cpu", "cpu.rt_period_us", period));
    }
    if let Some(runtime) = present(cpu.realtime_runtime) {
        writes.push(Write::new("cpu", "cpu.rt_runtime_us", runtime));
    }
    if let Some(period) = present(cpu.period) {
        writes.push(Write::new("cpu", "cpu.cfs_period_us", period));
    }
    if let Some(quota) = present(cpu.quota) {
        writes.push(Write::new("cpu", "cpu.cfs_quota_us", quota.max(-1)));
    }
    if let Some(burst) = cpu.burst {
        writes.push(Write::new("cpu", "cpu.cfs_burst_us", burst));
    }
    crate::v2::cpuset(cpu, writes);
}

fn block_io(block_io: &BlockIo, writes: &mut Vec<Write>) {
    if let Some(weight) = present(block_io.weight) {
        let bfq = Write::new("blkio", "blkio.bfq.weight", weight);
        writes.push(Write::new("blkio", "blkio.weight", weight).or(bfq));
    }
    if let Some(weight) = present(block_io.leaf_weight) {
        writes.push(Write::new("blkio", "blkio.leaf_weight", weight));
    }
    for device in &block_io.weight_device {
        let name = format!("{}:{}", device.major, device.minor);
        if let Some(weight) = present(device.weight) {
            let value = format!("{name} {weight}");
            let bfq = Write::new("blkio", "blkio.bfq.weight_device", &value);
            writes.push(Write::new("blkio", "blkio.weight_device", value).or(bfq));
        }
        if let Some(weight) = present(device.leaf_weight) {
            writes.push(Write::new("blkio", "blkio.leaf_weight_device", format!("{name} {weight}")));
        }
    }
    let throttles: [(&'static str, &[ThrottleDevice]); 4] = [
        ("blkio.throttle.read_bps_device", &block_io.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", &block_io.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", &block_io.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", &block_io.throttle_write_iops_device),
    ];
    for (file, devices) in throttles {
        for ThrottleDevice { major, minor, rate } in devices {
            writes.push(Write::new("blkio", file, format!("{major}:{minor} {rate}")));
        }
    }
}
