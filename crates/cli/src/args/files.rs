//! Root, mounts and devices, as typed.

use std::path::PathBuf;

use clap::Args;
use engine::{
    Access, BindRequest, DeviceRequest, DeviceRuleRequest, Error, FileOptions, MountKind, MountRequest,
    ReadOnlyTmpfs, Result, RootOptions, SecretOptions, SecretRequest, Toggle, VolumesFrom,
};

use super::globs::expand;
use super::said;
use crate::manner::is_podmans;

/// Root, mounts and devices.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct FileArguments {
    /// Directory to use as root; without it, a throw-away copy of the host's own root
    #[arg(short = 'r', long, value_name = "DIR")]
    pub(crate) rootfs: Option<PathBuf>,
    /// Keep writes in a throw-away layer over the root directory
    #[arg(long)]
    pub(crate) overlay: bool,
    /// Refuse writes to the root
    #[arg(long)]
    pub(crate) read_only: bool,
    /// With --read-only: whether /tmp, /var/tmp and /run are file systems in memory
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) read_only_tmpfs: bool,
    /// Show a directory or file of the host inside, or a volume by its name, or a new one; options are ro, nocopy, z, Z,
    /// U, O, rslave and others
    #[arg(short = 'v', long, value_name = "[SOURCE:]DESTINATION[:OPTIONS]")]
    pub(crate) volume: Vec<String>,
    /// Show what another container has of volumes and of the host; `:ro` to be read only
    #[arg(long, value_name = "CONTAINER[:OPTIONS]")]
    pub(crate) volumes_from: Vec<String>,
    /// Mount in docker's long form: type=volume, bind or tmpfs, source=, target=, readonly, and others
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub(crate) mount: Vec<String>,
    /// Put a file system in memory at a path
    #[arg(long, value_name = "DESTINATION[:OPTIONS]")]
    pub(crate) tmpfs: Vec<String>,
    /// Give a device of the host, or all of a directory; access is some of rwm
    #[arg(long, value_name = "SOURCE[:DESTINATION][:ACCESS]")]
    pub(crate) device: Vec<String>,
    /// Permit devices wherever a node of them is, such as `c 189:* rwm`
    #[arg(long, value_name = "RULE")]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Give a secret: as a file below /run/secrets, read-only and in memory, or with `type=env` as a variable
    #[arg(long, value_name = "SECRET[,KEY=VALUE…]")]
    pub(crate) secret: Vec<String>,
    /// Show the host's file of this time zone as /etc/localtime, such as `Europe/Vienna`; `local` is the host's own
    #[arg(long, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
}

impl FileArguments {
    /// What they mean.
    pub(crate) fn options(&self) -> Result<FileOptions> {
        let root = match (&self.rootfs, self.overlay) {
            (None, _) => RootOptions::Host,
            (Some(path), false) => RootOptions::Directory(path.clone()),
            (Some(path), true) => RootOptions::Overlay(path.clone()),
        };
        let devices = self.device.iter().map(|text| DeviceRequest::parse(text));
        let rules = self.device_cgroup_rule.iter().map(|text| DeviceRuleRequest::parse(text));
        Ok(FileOptions {
            root,
            read_only: self.read_only,
            read_only_tmpfs: if self.read_only_tmpfs { ReadOnlyTmpfs::Usual } else { ReadOnlyTmpfs::None },
            mounts: self.mounts()?,
            volumes_from: self
                .volumes_from
                .iter()
                .map(|text| VolumesFrom::parse(text))
                .collect::<Result<_>>()?,
            volume_store: None,
            devices: devices.collect::<Result<_>>()?,
            device_rules: rules.collect::<Result<_>>()?,
        })
    }

    /// The secrets that are asked for.
    pub(crate) fn secrets(&self) -> Result<SecretOptions> {
        let requests = self.secret.iter().map(|text| SecretRequest::parse(text));
        Ok(SecretOptions { requests: requests.collect::<Result<_>>()?, store: None })
    }

    fn mounts(&self) -> Result<Vec<MountRequest>> {
        let zone = said(&self.tz).map(zone).transpose()?;
        if self.volume.is_empty() && self.mount.is_empty() && self.tmpfs.is_empty() {
            return Ok(zone.into_iter().collect());
        }
        // Where relative sources begin; none where it is gone, and those are refused then.
        let directory = std::env::current_dir().unwrap_or_default();
        let volumes = self.volume.iter().map(|text| MountRequest::parse_volume(text, &directory));
        let texts: Vec<String> = self
            .mount
            .iter()
            .map(|text| expand(text))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect();
        let mounts = texts.iter().map(|text| MountRequest::parse_mount(text, &directory));
        let tmpfs = self.tmpfs.iter().map(|text| MountRequest::parse_tmpfs(text));
        let mut all: Vec<MountRequest> =
            volumes.chain(mounts).chain(tmpfs).chain(zone.map(Ok)).collect::<Result<_>>()?;
        if is_podmans() {
            // The same said twice is no mistake there.
            let mut seen: Vec<MountRequest> = Vec::new();
            all.retain(|one| {
                !seen.contains(one) && {
                    seen.push(one.clone());
                    true
                }
            });
        }
        Ok(all)
    }
}

/// Where a host has the files of time zones (tzset(3)), unless `TZDIR` says another directory.
const ZONES: &str = "/usr/share/zoneinfo";

/// `--tz`: one of the host's files in the place where programs look for the local time.
fn zone(name: &str) -> Result<MountRequest> {
    let wrong = |reason: String| {
        let error = Error::invalid("--tz", reason);
        error.with_hint(format!(
            "`ls {ZONES}` lists those that the host has; or set `--env=TZ=…`, which takes the root's own"
        ))
    };
    let shown = name.escape_debug();
    let path = match name {
        "local" => PathBuf::from("/etc/localtime"),
        _ => {
            // Nothing but a file below that directory.
            if name.starts_with('/')
                || name.split('/').any(|part| matches!(part, "" | "." | ".."))
                || name.contains(':')
            {
                return Err(wrong(format!("`{shown}` is no time zone")));
            }
            let directory = std::env::var_os("TZDIR").filter(|directory| !directory.is_empty());
            directory.map_or_else(|| PathBuf::from(ZONES), PathBuf::from).join(name)
        }
    };
    let found = path.canonicalize().ok().filter(|found| found.is_file());
    let found = found.ok_or_else(|| wrong(format!("the host has no file of the time zone `{shown}`")))?;
    let bind = BindRequest { source: found, access: Access::ReadOnly, ..BindRequest::default() };
    Ok(MountRequest {
        flag: format!("--tz {name}"),
        target: "/etc/localtime".to_owned(),
        kind: MountKind::Bind(bind),
        exec: Toggle::Default,
        suid: Toggle::Default,
        dev: Toggle::Default,
    })
}
