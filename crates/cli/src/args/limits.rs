//! Limits, as typed.

use clap::Args;
use engine::{LimitOptions, Result, limit_syntax as syntax, parse_size};

/// What the container may use of the host.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Limit of memory: bytes, or with k, m, g behind
    #[arg(short = 'm', long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Memory that the kernel tries to leave to the container when there is little
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_reservation: Option<String>,
    /// Limit of memory and swap together; -1 is all the swap [default: as --memory, no swap]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,
    /// Readiness to swap, 0 to 100 (cgroup v1)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) memory_swappiness: Option<String>,
    /// Taken and without effect: no supported kernel has this limit
    #[arg(long, value_name = "SIZE", hide = true)]
    pub(crate) kernel_memory: Option<String>,
    /// Let programs wait instead of killing them when memory runs out (cgroup v1)
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// Score of its programs when the host runs out of memory, -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) oom_score_adj: Option<String>,
    /// Limit of processor time, in processors
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) cpus: Option<String>,
    /// Share of processor time against other containers, 2 to 262144; 1024 is normal
    #[arg(long, value_name = "NUMBER", value_parser = syntax::parse_unsigned)]
    pub(crate) cpu_shares: Option<u64>,
    /// Length of a period of --cpu-quota, in microseconds
    #[arg(long, value_name = "MICROSECONDS", value_parser = syntax::parse_unsigned)]
    pub(crate) cpu_period: Option<u64>,
    /// Limit of processor time in each period, in microseconds; -1 is no limit
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true, value_parser = syntax::parse_signed)]
    pub(crate) cpu_quota: Option<i64>,
    /// Length of a real-time period, in microseconds (cgroup v1)
    #[arg(long, value_name = "MICROSECONDS", value_parser = syntax::parse_unsigned)]
    pub(crate) cpu_rt_period: Option<u64>,
    /// Time for real-time tasks in each real-time period, in microseconds (cgroup v1)
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true, value_parser = syntax::parse_signed)]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// Processors to run on: `0-2,5`
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes to use: `0,1`
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Limit of tasks (processes and threads); -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = syntax::parse_signed)]
    pub(crate) pids_limit: Option<i64>,
    /// Weight of traffic with block devices against other containers, 10 to 1000
    #[arg(long, value_name = "NUMBER")]
    pub(crate) blkio_weight: Option<String>,
    /// Such a weight for one device, may be repeated
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub(crate) blkio_weight_device: Vec<String>,
    /// Limit of bytes read from a device in a second, may be repeated
    #[arg(long, value_name = "DEVICE:SIZE")]
    pub(crate) device_read_bps: Vec<String>,
    /// Limit of bytes written to a device in a second, may be repeated
    #[arg(long, value_name = "DEVICE:SIZE")]
    pub(crate) device_write_bps: Vec<String>,
    /// Limit of reads from a device in a second, may be repeated
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub(crate) device_read_iops: Vec<String>,
    /// Limit of writes to a device in a second, may be repeated
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub(crate) device_write_iops: Vec<String>,
    /// Limit of each process, such as `nofile=1024:4096`, may be repeated
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub(crate) shm_size: Option<String>,
    /// Group, or slice of systemd, to put the container's cgroup into
    #[arg(long, value_name = "GROUP")]
    pub(crate) cgroup_parent: Option<String>,
    /// A file of cgroup v2 and what to write there, may be repeated
    #[arg(long, value_name = "FILE=VALUE")]
    pub(crate) cgroup_conf: Vec<String>,
}

/// Docker's zero: as if the flag were not there.
fn size(flag: &str, text: Option<&String>) -> Result<Option<i64>> {
    let bytes = text.map(|text| parse_size(flag, text)).transpose()?;
    Ok(bytes.filter(|&bytes| bytes != 0))
}

fn each<T>(flag: &str, list: &[String], parse: impl Fn(&str, &str) -> Result<T>) -> Result<Vec<T>> {
    list.iter().map(|text| parse(flag, text)).collect()
}

impl LimitArguments {
    /// What they mean.
    pub(crate) fn options(&self) -> Result<LimitOptions> {
        let swap = self.memory_swap.as_ref().map(|text| syntax::parse_swap("--memory-swap", text));
        let list = |flag, text: &Option<String>| {
            // Docker's empty list is none.
            let text = text.as_ref().filter(|text| !text.is_empty());
            text.map(|text| syntax::parse_number_list(flag, text)).transpose()
        };
        let cpus = self.cpus.as_ref().map(|text| syntax::parse_cpus("--cpus", text)).transpose()?;
        let weight = self.blkio_weight.as_ref().map(|text| syntax::parse_weight("--blkio-weight", text));
        let swappiness = self.memory_swappiness.as_ref();
        let swappiness = swappiness.map(|text| syntax::parse_swappiness("--memory-swappiness", text));
        let oom_score = self.oom_score_adj.as_ref();
        let oom_score = oom_score.map(|text| syntax::parse_oom_score("--oom-score-adj", text));
        let shm_size = size("--shm-size", self.shm_size.as_ref())?;
        Ok(LimitOptions {
            memory: size("--memory", self.memory.as_ref())?,
            memory_reservation: size("--memory-reservation", self.memory_reservation.as_ref())?,
            memory_swap: swap.transpose()?.filter(|&bytes| bytes != 0),
            memory_swappiness: swappiness.transpose()?.flatten(),
            kernel_memory: size("--kernel-memory", self.kernel_memory.as_ref())?.is_some(),
            oom_kill_disable: self.oom_kill_disable,
            oom_score_adj: oom_score.transpose()?,
            cpu_time: cpus.flatten(),
            cpu_shares: self.cpu_shares.filter(|&shares| shares != 0),
            cpu_period: self.cpu_period.filter(|&period| period != 0),
            cpu_quota: self.cpu_quota.filter(|&quota| quota != 0),
            cpu_rt_period: self.cpu_rt_period.filter(|&period| period != 0),
            cpu_rt_runtime: self.cpu_rt_runtime.filter(|&runtime| runtime != 0),
            cpuset_cpus: list("--cpuset-cpus", &self.cpuset_cpus)?,
            cpuset_mems: list("--cpuset-mems", &self.cpuset_mems)?,
            // Docker's zero is no limit.
            pids_limit: self.pids_limit.map(|limit| if limit == 0 { -1 } else { limit }),
            blkio_weight: weight.transpose()?.flatten(),
            blkio_weight_device: each(
                "--blkio-weight-device",
                &self.blkio_weight_device,
                syntax::parse_device_weight,
            )?,
            device_read_bps: each("--device-read-bps", &self.device_read_bps, syntax::parse_device_size)?,
            device_write_bps: each("--device-write-bps", &self.device_write_bps, syntax::parse_device_size)?,
            device_read_iops: each("--device-read-iops", &self.device_read_iops, syntax::parse_device_count)?,
            device_write_iops: each(
                "--device-write-iops",
                &self.device_write_iops,
                syntax::parse_device_count,
            )?,
            ulimits: each("--ulimit", &self.ulimit, syntax::parse_ulimit)?.into_iter().flatten().collect(),
            cgroup_conf: each("--cgroup-conf", &self.cgroup_conf, syntax::parse_cgroup_conf)?
                .into_iter()
                .collect(),
            cgroup_parent: self.cgroup_parent.clone().filter(|parent| !parent.is_empty()),
            shm_size: shm_size.map(i64::unsigned_abs),
        })
    }
}
