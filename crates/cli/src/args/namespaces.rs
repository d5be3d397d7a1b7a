//! What is shared with the host or another container, as typed.

use clap::Args;
use engine::{NamespaceOptions, Result};

/// Namespaces, the network's apart.
#[derive(Debug, Args)]
#[command(next_help_heading = "Namespaces")]
pub(crate) struct NamespaceArguments {
    /// Host name inside
    #[arg(short = 'h', long, default_value = "rabbitc", value_name = "NAME")]
    pub(crate) hostname: String,
}

impl NamespaceArguments {
    /// What they mean.
    pub(crate) fn options(&self) -> Result<NamespaceOptions> {
        Ok(NamespaceOptions { hostname: self.hostname.clone() })
    }
}
