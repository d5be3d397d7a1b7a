//! What a person asks for, as meant: typed, with defaults resolved, nothing looked up yet. One module a topic.

use serde::{Deserialize, Serialize};

mod devices;
mod duration;
mod environment;
mod files;
mod limits;
mod mounts;
mod namespaces;
mod nearest;
mod network;
mod ports;
mod process;
mod record;
mod secrets;
mod security;
mod users;

pub use self::devices::{DeviceAccess, DeviceRequest, DeviceRuleRequest};
pub(crate) use self::duration::{go_duration, parse_duration};
pub use self::environment::{Value, parse_labels, parse_pair, parse_variable, parse_variables};
pub use self::files::{FileOptions, ImageRoot, ReadOnlyTmpfs, RootOptions};
pub(crate) use self::limits::CPU_PERIOD;
pub use self::limits::parse as limit_syntax;
pub use self::limits::{DeviceLimit, LimitOptions, NumberList, Ulimit, parse_size};
use self::limits::{MOST_BYTES, SizeMistake, read_size};
pub use self::mounts::{
    Access, BindRequest, Memory, MountKind, MountRequest, Propagation, Reach, Relabel, TmpfsRequest, Toggle,
    VolumeContent, VolumeRequest, VolumeSettings, VolumesFrom,
};
pub(crate) use self::mounts::{VOLUME_NAME_HINT, check_volume_name};
pub use self::namespaces::{CgroupMode, Clock, IpcMode, NamespaceMode, NamespaceOptions, TimeMode};
pub use self::network::{
    CniNetwork, HostAddress, NameOptions, NetworkAttachment, NetworkMode, NetworkOptions, OwnedFile,
    parse_alias, parse_container_ip, parse_container_ip6, parse_host, parse_mac, parse_name_server,
    parse_networks, parse_resolver_word,
};
pub(crate) use self::network::{Lack, Unnamed};
pub(crate) use self::ports::publish_text;
pub use self::ports::{parse_exposed, parse_publish, publish_exposed};
pub use self::process::{
    Identity, ProcessOptions, ProgramSource, Source, TerminalMode, UserOption, parse_entrypoint, parse_group,
    parse_seconds, parse_signal, parse_time_limit, parse_umask, parse_user,
};
pub use self::secrets::{SecretOptions, SecretPlace, SecretRequest};
pub use self::security::{
    AppArmorChoice, CapabilityList, LabelOptions, SeccompChoice, SecurityOptions, Unmask,
};
pub use self::users::{AutoUsers, KeptIds, MappedUsers, UserFlags, UserNamespace};

pub use self::nearest::nearest;
use crate::error::{Error, Result};
use crate::kept::{KeptContainers, Stay};

/// A container as a person asks for it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunOptions {
    /// The program and what it is given.
    #[serde(serialize_with = "record::sparse")]
    pub process: ProcessOptions,
    /// Root and mounts.
    #[serde(serialize_with = "record::sparse")]
    pub files: FileOptions,
    /// What it may use of the host.
    #[serde(serialize_with = "record::sparse")]
    pub limits: LimitOptions,
    /// What it shares.
    #[serde(serialize_with = "record::sparse")]
    pub namespaces: NamespaceOptions,
    /// What it may do.
    #[serde(serialize_with = "record::sparse")]
    pub security: SecurityOptions,
    /// How it is connected.
    #[serde(serialize_with = "record::sparse")]
    pub network: NetworkOptions,
    /// Its secrets.
    #[serde(skip_serializing_if = "SecretOptions::is_none")]
    pub secrets: SecretOptions,
    /// Where what it writes to its root is on the disk, and whether that stays; without it, it is in memory and goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stay: Option<(KeptContainers, Stay)>,
}

impl RunOptions {
    /// Refuses what is wrong on every host; nothing is touched.
    pub(crate) fn check(&self) -> Result<()> {
        self.process.check()?;
        self.files.check()?;
        self.secrets.check(&self.files.mounts)?;
        self.limits.check()?;
        self.namespaces.check()?;
        self.check_shared_memory()?;
        self.network.check(None)
    }

    /// Refuses a size for a `/dev/shm` that is not made for this container.
    fn check_shared_memory(&self) -> Result<()> {
        if self.limits.shm_size.is_none() {
            return Ok(());
        }
        let taken = self.files.mounts.iter().find(|mount| ["/dev", "/dev/shm"].contains(&&*mount.target));
        let (there, hint) = match (self.namespaces.ipc.shared_memory_of(), taken) {
            (_, Some(mount)) => {
                let hint = match &mount.kind {
                    MountKind::Tmpfs(_) => "leave `--shm-size` out: that mount has a `size=` of its own",
                    MountKind::Bind(_) => "leave one of the two out",
                };
                (mount.flag.clone(), hint)
            }
            (Some(mode), None) => (format!("--ipc={mode}"), "leave one of the two out"),
            (None, None) => return Ok(()),
        };
        let reason = format!("no `/dev/shm` is made for this container with `{there}`");
        Err(Error::invalid("--shm-size", reason).with_hint(hint))
    }
}
