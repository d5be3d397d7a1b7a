//! Golden pairs: limits, and the lines they become in both file languages. No kernel needed.

use std::collections::BTreeMap;

use rabbitc_cgroup::devices::{DeviceAccess, DeviceKind, DeviceRule};
use rabbitc_cgroup::{
    Absent, BlockIo, Cpu, HugepageLimit, InterfacePriority, Memory, Network, Rdma, Resources, ThrottleDevice,
    WeightDevice, Write, cpu_weight_of_shares, io_weight_of_block_weight, writes_v1, writes_v2,
};

fn line(write: &Write) -> String {
    let text = format!("{} {}={}", write.controller, write.file, write.value);
    match &write.absent {
        Absent::Refuse => text,
        Absent::Skip => format!("{text} (if there)"),
        Absent::Instead(other) => format!("{text} (else {})", line(other)),
    }
}

fn lines(writes: &[Write]) -> Vec<String> {
    writes.iter().map(line).collect()
}

fn full() -> Resources {
    let throttle = |rate| vec![ThrottleDevice { major: 8, minor: 16, rate }];
    Resources {
        memory: Memory {
            limit: Some(100),
            reservation: Some(50),
            swap: Some(300),
            kernel: Some(7),
            kernel_tcp: Some(8),
            swappiness: Some(0),
            disable_oom_killer: Some(true),
            use_hierarchy: Some(true),
            check_before_update: Some(true),
        },
        cpu: Cpu {
            shares: Some(1024),
            quota: Some(50_000),
            burst: Some(1_000),
            period: Some(100_000),
            realtime_runtime: Some(950),
            realtime_period: Some(1000),
            cpus: Some("0-1".into()),
            mems: Some("0".into()),
            idle: Some(0),
        },
        pids: Some(20),
        block_io: BlockIo {
            weight: Some(500),
            leaf_weight: Some(300),
            weight_device: vec![WeightDevice { major: 8, minor: 0, weight: Some(10), leaf_weight: Some(20) }],
            throttle_read_bps_device: throttle(600),
            throttle_write_bps_device: throttle(0),
            throttle_read_iops_device: throttle(3),
            throttle_write_iops_device: throttle(4),
        },
        hugepage_limits: vec![HugepageLimit { page_size: "2MB".into(), limit: 4_194_304 }],
        network: Network {
            class_id: Some(0x0010_0001),
            priorities: vec![InterfacePriority { name: "eth0".into(), priority: 5 }],
        },
        rdma: BTreeMap::from([("mlx5_1".into(), Rdma { hca_handles: Some(3), hca_objects: Some(10_000) })]),
        unified: BTreeMap::from([("memory.high".into(), "90".into())]),
        devices: vec![
            DeviceRule::everything(false),
            DeviceRule {
                allow: true,
                kind: DeviceKind::Character,
                major: Some(1),
                minor: None,
                access: DeviceAccess::ALL,
            },
            DeviceRule {
                allow: false,
                kind: DeviceKind::All,
                major: None,
                minor: None,
                access: DeviceAccess::MKNOD,
            },
        ],
    }
}

#[test]
fn every_limit_has_its_line_in_the_language_of_v1() {
    assert_eq!(
        lines(&writes_v1(&full())),
        [
            "devices devices.deny=a",
            "devices devices.allow=c 1:* rw",
            "memory memory.limit_in_bytes=100",
            "memory memory.memsw.limit_in_bytes=300",
            "memory memory.soft_limit_in_bytes=50",
            "memory memory.kmem.tcp.limit_in_bytes=8",
            "memory memory.swappiness=0",
            "memory memory.oom_control=1",
            "cpu cpu.idle=0",
            "cpu cpu.shares=1024",
            "cpu cpu.rt_period_us=1000",
            "cpu cpu.rt_runtime_us=950",
            "cpu cpu.cfs_period_us=100000",
            "cpu cpu.cfs_quota_us=50000",
            "cpu cpu.cfs_burst_us=1000",
            "cpuset cpuset.cpus=0-1",
            "cpuset cpuset.mems=0",
            "pids pids.max=20",
            "blkio blkio.weight=500 (else blkio blkio.bfq.weight=500)",
            "blkio blkio.leaf_weight=300",
            "blkio blkio.weight_device=8:0 10 (else blkio blkio.bfq.weight_device=8:0 10)",
            "blkio blkio.leaf_weight_device=8:0 20",
            "blkio blkio.throttle.read_bps_device=8:16 600",
            "blkio blkio.throttle.write_bps_device=8:16 0",
            "blkio blkio.throttle.read_iops_device=8:16 3",
            "blkio blkio.throttle.write_iops_device=8:16 4",
            "hugetlb hugetlb.2MB.limit_in_bytes=4194304",
            "hugetlb hugetlb.2MB.rsvd.limit_in_bytes=4194304 (if there)",
            "net_cls net_cls.classid=1048577",
            "net_prio net_prio.ifpriomap=eth0 5",
            "rdma rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
        ]
    );
}

#[test]
fn every_limit_that_v2_knows_has_its_line_there() {
    assert_eq!(
        lines(&writes_v2(&full())),
        [
            "memory memory.swap.max=200",
            "memory memory.max=100",
            "memory memory.low=50",
            "cpu cpu.idle=0",
            "cpu cpu.weight=100",
            "cpu cpu.max=50000 100000",
            "cpu cpu.max.burst=1000",
            "cpuset cpuset.cpus=0-1",
            "cpuset cpuset.mems=0",
            "pids pids.max=20",
            "io io.bfq.weight=500 (else io io.weight=4950)",
            "io io.bfq.weight=8:0 10 (else io io.weight=8:0 1)",
            "io io.max=8:16 rbps=600",
            "io io.max=8:16 wbps=max",
            "io io.max=8:16 riops=3",
            "io io.max=8:16 wiops=4",
            "hugetlb hugetlb.2MB.max=4194304",
            "hugetlb hugetlb.2MB.rsvd.max=4194304 (if there)",
            "rdma rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
            "memory memory.high=90",
        ]
    );
}

#[test]
fn nothing_asked_for_is_nothing_written() {
    assert!(writes_v1(&Resources::default()).is_empty());
    assert!(writes_v2(&Resources::default()).is_empty());
}

#[test]
fn no_limit_is_minus_one_on_v1_and_max_on_v2() {
    let resources = Resources {
        memory: Memory { limit: Some(-1), ..Memory::default() },
        cpu: Cpu { quota: Some(-1), ..Cpu::default() },
        pids: Some(-1),
        ..Resources::default()
    };
    assert_eq!(
        lines(&writes_v1(&resources)),
        [
            "memory memory.limit_in_bytes=-1",
            "memory memory.memsw.limit_in_bytes=-1 (if there)",
            "cpu cpu.cfs_quota_us=-1",
            "pids pids.max=max",
        ]
    );
    assert_eq!(
        lines(&writes_v2(&resources)),
        [
            "memory memory.swap.max=max (if there)",
            "memory memory.max=max",
            "cpu cpu.max=max",
            "pids pids.max=max"
        ]
    );
}

#[test]
fn swap_equal_to_memory_leaves_no_swap_on_v2() {
    let memory = Memory { limit: Some(100), swap: Some(100), ..Memory::default() };
    let resources = Resources { memory, ..Resources::default() };
    assert_eq!(
        lines(&writes_v2(&resources)),
        ["memory memory.swap.max=0 (if there)", "memory memory.max=100"]
    );
}

#[test]
fn zero_counts_as_absent_where_callers_rely_on_it() {
    let resources = Resources {
        memory: Memory {
            limit: Some(0),
            swap: Some(0),
            reservation: Some(0),
            kernel_tcp: Some(0),
            ..Memory::default()
        },
        cpu: Cpu { shares: Some(0), quota: Some(0), period: Some(0), ..Cpu::default() },
        block_io: BlockIo { weight: Some(0), ..BlockIo::default() },
        ..Resources::default()
    };
    assert!(writes_v1(&resources).is_empty());
    assert!(writes_v2(&resources).is_empty());
}

#[test]
fn shares_map_onto_weights_at_both_ends_and_at_the_default() {
    let pairs = [(0, 0), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000), (1, 1)];
    for (shares, weight) in pairs {
        assert_eq!(cpu_weight_of_shares(shares), weight, "{shares}");
    }
    let mut last = 0;
    for shares in 2..=262_144 {
        let weight = cpu_weight_of_shares(shares);
        assert!((1..=10_000).contains(&weight) && weight >= last, "{shares} gives {weight} after {last}");
        last = weight;
    }
}

#[test]
fn block_weights_map_onto_the_whole_range() {
    assert_eq!(io_weight_of_block_weight(10), 1);
    assert_eq!(io_weight_of_block_weight(1000), 10_000);
}

#[test]
fn no_task_at_all_is_one() {
    let resources = Resources { pids: Some(0), ..Resources::default() };
    assert_eq!(lines(&writes_v1(&resources)), ["pids pids.max=1"]);
    assert_eq!(lines(&writes_v2(&resources)), ["pids pids.max=1"]);
}

#[test]
fn idle_group_gets_no_weight_and_the_conflict_is_told() {
    let cpu = Cpu { idle: Some(1), shares: Some(200), ..Cpu::default() };
    let resources = Resources { cpu, ..Resources::default() };
    assert_eq!(lines(&writes_v1(&resources)), ["cpu cpu.idle=1"]);
    assert_eq!(lines(&writes_v2(&resources)), ["cpu cpu.idle=1"]);
    let (limit, what) = resources.conflict().expect("an idle group has no weight");
    assert!(limit == "cpu.idle" && what.contains("unable to apply both"), "{limit}: {what}");
    let words = [("cpu.idle", "1"), ("cpu.weight", "8")].map(|(file, value)| (file.into(), value.into()));
    let resources = Resources { unified: words.into(), ..Resources::default() };
    assert_eq!(lines(&writes_v2(&resources)), ["cpu cpu.idle=1"]);
    assert!(resources.conflict().is_some());
    let cpu = Cpu { idle: Some(0), shares: Some(200), ..Cpu::default() };
    assert_eq!(Resources { cpu, ..Resources::default() }.conflict(), None);
}

#[test]
fn words_for_many_devices_are_written_line_by_line() {
    let words = [("io.max".into(), "7:0 riops=333\n7:1 riops=555\n".into())];
    let resources = Resources { unified: words.into(), ..Resources::default() };
    assert_eq!(lines(&writes_v2(&resources)), ["io io.max=7:0 riops=333", "io io.max=7:1 riops=555"]);
    // An empty one is written too: for the kernel it means something.
    let words = [("cpuset.cpus".into(), String::new())];
    let resources = Resources { unified: words.into(), ..Resources::default() };
    assert_eq!(lines(&writes_v2(&resources)), ["cpuset cpuset.cpus="]);
}
