//! Control groups of one container: paths, limits, statistics, on v1, hybrid and v2 hosts.
//!
//! Two independent questions shape this crate. *Who owns the group*: the files themselves ([`Cgroup`]), below a unit
//! that systemd is asked for once, where there is systemd ([`Parent::Usual`]); or systemd, in a scope for each container
//! ([`CgroupPath::of_scope`]).
//! *Which file language*: [`writes_v1`] and [`writes_v2`] turn checked [`Resources`] into lines, as pure
//! functions; [`Cgroup::apply`] sends each line to the hierarchy that has its controller, so a hybrid host, which
//! speaks both, needs no third language.
//!
//! Nothing here mounts anything, prints, or depends on working directory, umask or environment.

mod apply;
mod counters;
mod create;
mod delegate;
pub mod devices;
mod error;
mod files;
mod freezer;
mod group;
mod layout;
mod out_of_memory;
mod path;
mod processes;
mod remove;
mod resources;
mod statistics;
mod subgroup;
mod systemd;
mod v1;
mod v2;

pub use counters::{Counter, Cpuset, MemoryCounters, ProcessorCounters};
pub use create::Creation;
pub use error::{Error, Kind, Operation};
pub use group::Cgroup;
pub use layout::{Hierarchy, Language, Layout, Version};
pub use out_of_memory::OutOfMemoryWatch;
pub use path::{CgroupPath, DEFAULT_PARENT, Parent};
pub use resources::{
    Absent, BlockIo, Cpu, HugepageLimit, InterfacePriority, Memory, Network, Rdma, Resources, ThrottleDevice,
    WeightDevice, Write,
};
pub use statistics::{
    BlockIoStatistics, CpuStatistics, MemoryTable, PidsStatistics, Pressure, PressureStatistics, Stall,
    Statistics,
};
pub use subgroup::{Destination, Subgroup};
pub use systemd::{Manager, Property, Value, is_booted};
pub use v1::writes_v1;
pub use v2::{cpu_weight_of_shares, io_weight_of_block_weight, writes_v2};
