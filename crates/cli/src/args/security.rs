//! Rights, as typed.

use clap::Args;
use engine::{CapabilityList, Result, SeccompChoice, SecurityOptions};

/// What the container's processes may do.
#[derive(Debug, Args)]
#[command(next_help_heading = "Security")]
pub(crate) struct SecurityArguments {
    /// Grant a capability beside the default ones; ALL grants all
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub(crate) cap_add: Vec<String>,
    /// Take a default capability away; ALL takes all, and --cap-add then grants some
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub(crate) cap_drop: Vec<String>,
    /// Give every right that there is to give: all capabilities and devices, no filter, nothing hidden
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Change one rule of the confinement, such as seccomp=FILE or no-new-privileges=false
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Set a kernel parameter of the container's own namespaces
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<String>,
}

impl SecurityArguments {
    /// What they mean.
    pub(crate) fn options(&self) -> Result<SecurityOptions> {
        let mut options = SecurityOptions {
            add_capabilities: CapabilityList::parse("--cap-add", &self.cap_add)?,
            drop_capabilities: CapabilityList::parse("--cap-drop", &self.cap_drop)?,
            privileged: self.privileged,
            ..SecurityOptions::default()
        };
        self.security_opt.iter().try_for_each(|option| options.apply(option))?;
        self.sysctl.iter().try_for_each(|text| options.apply_sysctl(text))?;
        if let Some(SeccompChoice::File(path)) = &mut options.seccomp
            && let Ok(absolute) = std::path::absolute(&path)
        {
            // The caller's directory is nothing that the engine knows of.
            *path = absolute;
        }
        Ok(options)
    }
}
