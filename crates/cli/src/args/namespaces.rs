//! What is shared with the host or another container, as typed.

use clap::Args;
use engine::{NamespaceOptions, Result, UserFlags, UserNamespace};

/// Namespaces, the network's apart.
#[derive(Debug, Args)]
#[command(next_help_heading = "Namespaces")]
pub(crate) struct NamespaceArguments {
    /// Host name inside
    #[arg(short = 'h', long, default_value = "rabbitc", value_name = "NAME")]
    pub(crate) hostname: String,
    #[command(flatten)]
    pub(crate) users: UserArguments,
}

/// Whose ids the container's processes have.
#[derive(Debug, Args)]
#[command(next_help_heading = "Namespaces")]
pub(crate) struct UserArguments {
    /// User namespace: host, auto[:size=N,uidmapping=C:H:N,gidmapping=C:H:N], container:ID or ns:PATH
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// Users inside and on the host; may be repeated
    #[arg(long, value_name = "CONTAINER:HOST:SIZE")]
    uidmap: Vec<String>,
    /// Groups inside and on the host; may be repeated
    #[arg(long, value_name = "CONTAINER:HOST:SIZE")]
    gidmap: Vec<String>,
    /// Map the users that /etc/subuid grants NAME
    #[arg(long, value_name = "NAME")]
    subuidname: Option<String>,
    /// Map the groups that /etc/subgid grants NAME
    #[arg(long, value_name = "NAME")]
    subgidname: Option<String>,
}

impl UserArguments {
    fn options(&self) -> Result<UserNamespace> {
        UserNamespace::parse(UserFlags {
            mode: self.userns.as_deref(),
            uid_maps: &self.uidmap,
            gid_maps: &self.gidmap,
            sub_uid_name: self.subuidname.as_deref(),
            sub_gid_name: self.subgidname.as_deref(),
        })
    }
}

impl NamespaceArguments {
    /// What they mean.
    pub(crate) fn options(&self) -> Result<NamespaceOptions> {
        Ok(NamespaceOptions { hostname: self.hostname.clone(), users: self.users.options()? })
    }
}
