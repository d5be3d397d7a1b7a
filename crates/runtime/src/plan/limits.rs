//! `linux.resources` as the cgroup crate wants it: checked, and nothing is cut to fit.

use crate::error::{Error, Result};
use crate::spec;

/// Translates; the kernel has not been asked anything yet.
pub(crate) fn plan_limits(resources: &spec::Resources) -> Result<cgroup::Resources> {
    let mut plan = cgroup::Resources { unified: resources.unified.clone(), ..cgroup::Resources::default() };
    if let Some(memory) = &resources.memory {
        plan.memory = cgroup::Memory {
            limit: memory.limit,
            reservation: memory.reservation,
            swap: memory.swap,
            kernel: memory.kernel,
            kernel_tcp: memory.kernel_tcp,
            swappiness: memory.swappiness,
            disable_oom_killer: memory.disable_oom_killer,
            use_hierarchy: memory.use_hierarchy,
            check_before_update: memory.check_before_update,
        };
    }
    if let Some(cpu) = resources.processors() {
        plan.cpu = cgroup::Cpu {
            shares: cpu.shares,
            quota: cpu.quota,
            burst: cpu.burst,
            period: cpu.period,
            realtime_runtime: cpu.realtime_runtime,
            realtime_period: cpu.realtime_period,
            cpus: cpu.cpus,
            mems: cpu.mems,
            idle: cpu.idle,
        };
    }
    plan.pids = resources.pids.as_ref().and_then(|pids| pids.limit);
    if let Some(io) = &resources.block_io {
        plan.block_io = block_io(io)?;
    }
    plan.hugepage_limits = resources
        .hugepage_limits
        .iter()
        .map(|limit| cgroup::HugepageLimit { page_size: limit.page_size.clone(), limit: limit.limit })
        .collect();
    if let Some(network) = &resources.network {
        plan.network = cgroup::Network {
            class_id: network.class_id,
            priorities: network
                .priorities
                .iter()
                .map(|one| cgroup::InterfacePriority { name: one.name.clone(), priority: one.priority })
                .collect(),
        };
    }
    plan.rdma = resources
        .rdma
        .iter()
        .map(|(device, limit)| {
            (device.clone(), cgroup::Rdma { hca_handles: limit.hca_handles, hca_objects: limit.hca_objects })
        })
        .collect();
    plan.devices = device_rules(&resources.devices)?;
    plan.check().map_err(|error| Error::from(error).from_field("linux.resources"))?;
    Ok(plan)
}

fn number(value: i64, field: &str) -> Result<u32> {
    u32::try_from(value)
        .map_err(|_| Error::invalid(format!("linux.resources.{field}"), format!("`{value}` is out of range")))
}

fn block_io(io: &spec::BlockIo) -> Result<cgroup::BlockIo> {
    let throttle = |devices: &[spec::ThrottleDevice], field: &str| -> Result<Vec<cgroup::ThrottleDevice>> {
        devices
            .iter()
            .map(|device| {
                Ok(cgroup::ThrottleDevice {
                    major: number(device.major, field)?,
                    minor: number(device.minor, field)?,
                    rate: device.rate,
                })
            })
            .collect()
    };
    let weight = |device: &spec::WeightDevice| -> Result<cgroup::WeightDevice> {
        Ok(cgroup::WeightDevice {
            major: number(device.major, "blockIO.weightDevice")?,
            minor: number(device.minor, "blockIO.weightDevice")?,
            weight: device.weight,
            leaf_weight: device.leaf_weight,
        })
    };
    Ok(cgroup::BlockIo {
        weight: io.weight,
        leaf_weight: io.leaf_weight,
        weight_device: io.weight_device.iter().map(weight).collect::<Result<_>>()?,
        throttle_read_bps_device: throttle(&io.throttle_read_bps_device, "blockIO.throttleReadBpsDevice")?,
        throttle_write_bps_device: throttle(&io.throttle_write_bps_device, "blockIO.throttleWriteBpsDevice")?,
        throttle_read_iops_device: throttle(&io.throttle_read_iops_device, "blockIO.throttleReadIOPSDevice")?,
        throttle_write_iops_device: throttle(
            &io.throttle_write_iops_device,
            "blockIO.throttleWriteIOPSDevice",
        )?,
    })
}

/// Character devices that every container may use, whatever its rules say: the standard nodes, its terminals, and
/// making nodes, which gives no access yet.
const ALWAYS_ALLOWED: [(Option<u32>, Option<u32>, &str); 9] = [
    (None, None, "m"),
    (Some(1), Some(3), "rwm"),
    (Some(1), Some(5), "rwm"),
    (Some(1), Some(7), "rwm"),
    (Some(1), Some(8), "rwm"),
    (Some(1), Some(9), "rwm"),
    (Some(5), Some(0), "rwm"),
    (Some(5), Some(2), "rwm"),
    (Some(136), None, "rwm"),
];

fn device_rules(rules: &[spec::DeviceRule]) -> Result<Vec<cgroup::devices::DeviceRule>> {
    let mut plan = Vec::with_capacity(rules.len() + ALWAYS_ALLOWED.len() + 1);
    for (index, rule) in rules.iter().enumerate() {
        let field = format!("devices[{index}]");
        // -1 and absence both mean any number.
        let wanted = |value: Option<i64>, name: &str| -> Result<Option<u32>> {
            value
                .filter(|number| *number != -1)
                .map(|value| number(value, &format!("{field}.{name}")))
                .transpose()
        };
        plan.push(cgroup::devices::DeviceRule {
            allow: rule.allow,
            kind: match rule.kind.as_deref() {
                None | Some("" | "a") => cgroup::devices::DeviceKind::All,
                Some("b") => cgroup::devices::DeviceKind::Block,
                Some("c" | "u") => cgroup::devices::DeviceKind::Character,
                Some(other) => {
                    let field = format!("linux.resources.{field}.type");
                    return Err(Error::invalid(field, format!("`{other}` is none of a, b, c, u")));
                }
            },
            major: wanted(rule.major, "major")?,
            minor: wanted(rule.minor, "minor")?,
            access: access(rule.access.as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm"), &field)?,
        });
    }
    for kind in [cgroup::devices::DeviceKind::Character, cgroup::devices::DeviceKind::Block] {
        for (major, minor, letters) in ALWAYS_ALLOWED {
            if kind == cgroup::devices::DeviceKind::Block && major.is_some() {
                continue;
            }
            plan.push(cgroup::devices::DeviceRule {
                allow: true,
                kind,
                major,
                minor,
                access: access(letters, "")?,
            });
        }
    }
    Ok(plan)
}

fn access(text: &str, field: &str) -> Result<cgroup::devices::DeviceAccess> {
    // `a` for all, as the kind of a device has it, is what runc's configurations hold here.
    let letters = if text.contains('a') { text.replace('a', "rwm") } else { text.to_owned() };
    cgroup::devices::DeviceAccess::parse(&letters).ok_or_else(|| {
        Error::invalid(
            format!("linux.resources.{field}.access"),
            format!("`{text}` has letters other than r, w, m"),
        )
    })
}

/// The limits in a few words, for the timeline.
pub(crate) fn describe(resources: &cgroup::Resources) -> String {
    let mut parts = Vec::new();
    let mut number = |name: &str, value: Option<i64>| {
        if let Some(value) = value {
            parts.push(format!("{name} {value}"));
        }
    };
    number("memory", resources.memory.limit);
    number("memory and swap", resources.memory.swap);
    number("memory reservation", resources.memory.reservation);
    number("cpu quota", resources.cpu.quota);
    number("cpu period", resources.cpu.period.map(|period| period as i64));
    number("cpu shares", resources.cpu.shares.map(|shares| shares as i64));
    number("pids", resources.pids);
    number("io weight", resources.block_io.weight.map(i64::from));
    for (name, list) in [("processors", &resources.cpu.cpus), ("memory nodes", &resources.cpu.mems)] {
        parts.extend(list.as_ref().map(|list| format!("{name} {list}")));
    }
    let io = &resources.block_io;
    for (name, list) in [
        ("read bytes", &io.throttle_read_bps_device),
        ("written bytes", &io.throttle_write_bps_device),
        ("reads", &io.throttle_read_iops_device),
        ("writes", &io.throttle_write_iops_device),
    ] {
        let each = |limit: &cgroup::ThrottleDevice| {
            format!("{name} of {}:{} {} a second", limit.major, limit.minor, limit.rate)
        };
        parts.extend(list.iter().map(each));
    }
    parts.extend(resources.unified.iter().map(|(file, value)| format!("{file} {value}")));
    if !resources.devices.is_empty() {
        parts.push(format!("{} device rules", resources.devices.len()));
    }
    parts.join(", ")
}
