//! Rights, as typed.

use clap::Args;
use engine::{Result, SecurityOptions};

/// What the container's processes may do.
#[derive(Debug, Args)]
#[command(next_help_heading = "Security")]
pub(crate) struct SecurityArguments {}

impl SecurityArguments {
    /// What they mean.
    pub(crate) fn options(&self) -> Result<SecurityOptions> {
        Ok(SecurityOptions::default())
    }
}
