//! Limits as `linux.resources` says them.

use runtime::spec::{Cpu, DeviceRule, Memory, Pids, Resources};

use crate::options::LimitOptions;

pub(super) fn resources(options: &LimitOptions) -> Resources {
    const PERIOD: u64 = 100_000;
    Resources {
        devices: vec![DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() }],
        // Without swap beside it: a limit that swaps instead is a slow surprise. A kernel without swap may lack the
        // file that says so.
        memory: options.memory.map(|limit| Memory {
            limit: Some(limit),
            swap: (rustix::system::sysinfo().totalswap > 0).then_some(limit),
            ..Memory::default()
        }),
        cpu: options.cpu_millis.map(|millis| Cpu {
            quota: Some((millis * PERIOD / 1000) as i64),
            period: Some(PERIOD),
            ..Cpu::default()
        }),
        pids: options.pids_limit.map(|limit| Pids { limit: Some(limit) }),
        ..Resources::default()
    }
}
