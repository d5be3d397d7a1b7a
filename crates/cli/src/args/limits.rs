//! Limits, as typed.

use clap::Args;
use engine::{LimitOptions, Result, parse_cpus, parse_size};

/// What the container may use of the host.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Limit of memory: bytes, or with k, m, g behind
    #[arg(short = 'm', long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Limit of processor time, in processors
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<String>,
    /// Limit of tasks (processes and threads); -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,
}

impl LimitArguments {
    /// What they mean.
    pub(crate) fn options(&self) -> Result<LimitOptions> {
        Ok(LimitOptions {
            memory: self.memory.as_deref().map(|text| parse_size("--memory", text)).transpose()?,
            cpu_millis: self.cpus.as_deref().map(|text| parse_cpus("--cpus", text)).transpose()?,
            pids_limit: self.pids_limit,
        })
    }
}
