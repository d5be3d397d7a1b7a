//! What is shared with the host or another container, as typed.

use clap::Args;
use engine::{
    CgroupMode, IpcMode, NamespaceMode, NamespaceOptions, Result, TimeMode, UserFlags, UserNamespace,
};

use super::said;

/// Namespaces, the network's apart.
#[derive(Debug, Args)]
#[command(next_help_heading = "Namespaces")]
pub(crate) struct NamespaceArguments {
    /// Host name inside [default: rabbitc]
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// NIS domain name inside
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<String>,
    /// Whose processes are seen: private, host, container:ID or ns:PATH
    #[arg(long, default_value = "private", value_name = "MODE")]
    pub(crate) pid: String,
    /// Whose shared memory and queues: private, none, host, container:ID or ns:PATH
    #[arg(long, default_value = "private", value_name = "MODE")]
    pub(crate) ipc: String,
    /// Whose host name: private, host, container:ID or ns:PATH
    #[arg(long, default_value = "private", value_name = "MODE")]
    pub(crate) uts: String,
    /// Whose view of cgroups: private or host
    #[arg(long, default_value = "private", value_name = "MODE")]
    pub(crate) cgroupns: String,
    /// Whose clocks since boot: host or private
    #[arg(long, value_name = "MODE")]
    pub(crate) timens: Option<String>,
    /// Shift a clock since boot, monotonic or boottime, by whole seconds
    #[arg(long, value_name = "CLOCK=SECONDS", value_delimiter = ',')]
    pub(crate) time_offset: Vec<String>,
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
    pub(crate) fn options(&self) -> Result<UserNamespace> {
        UserNamespace::parse(UserFlags {
            mode: said(&self.userns),
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
        let time = self.timens.as_deref().map(|text| TimeMode::parse("--timens", text)).transpose()?;
        let mut options = NamespaceOptions {
            hostname: said(&self.hostname).map(str::to_owned),
            domainname: said(&self.domainname).map(str::to_owned),
            pid: NamespaceMode::parse("--pid", &self.pid)?,
            ipc: IpcMode::parse("--ipc", &self.ipc)?,
            uts: NamespaceMode::parse("--uts", &self.uts)?,
            cgroup: CgroupMode::parse("--cgroupns", &self.cgroupns)?,
            time: time.unwrap_or_default(),
            users: self.users.options()?,
            ..NamespaceOptions::default()
        };
        self.time_offset.iter().try_for_each(|text| options.apply_time_offset(text))?;
        Ok(options)
    }
}
