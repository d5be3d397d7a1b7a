//! CPU and I/O scheduling of the calling thread, and its memory policy.

use std::io;

/// Arguments of `sched_setattr(2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value of the fair policies.
    pub nice: i32,
    /// Priority of the real-time policies.
    pub priority: u32,
    /// Runtime of SCHED_DEADLINE, nanoseconds.
    pub runtime: u64,
    /// Deadline of SCHED_DEADLINE, nanoseconds.
    pub deadline: u64,
    /// Period of SCHED_DEADLINE, nanoseconds.
    pub period: u64,
}

/// Applies `scheduling` to the calling thread.
pub fn set(scheduling: &Scheduling) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: scheduling.policy,
        flags: scheduling.flags,
        nice: scheduling.nice,
        priority: scheduling.priority,
        runtime: scheduling.runtime,
        deadline: scheduling.deadline,
        period: scheduling.period,
    };
    // SAFETY: the structure is version 0 of sched_attr (48 bytes) and says so in its size.
    let returned = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    crate::check(returned).map(drop)
}

/// Sets the calling thread's I/O priority (class in bits 13–15, level below; ioprio_set(2)).
pub fn set_io_priority(class: u16, level: u16) -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    let value = (libc::c_int::from(class) << 13) | libc::c_int::from(level);
    // SAFETY: numbers only.
    let returned = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) };
    crate::check(returned).map(drop)
}

/// Sets the calling thread's memory policy over NUMA nodes (set_mempolicy(2)); `nodes` is a bit mask.
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> io::Result<()> {
    let bits = nodes.len() * 64 + usize::from(!nodes.is_empty());
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the mask holds `bits` bits; the kernel reads one fewer than it is told (set_mempolicy(2)).
    let returned = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    crate::check(returned).map(drop)
}
