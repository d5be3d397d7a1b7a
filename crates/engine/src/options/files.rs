//! What a container finds in its file system, as meant. Looks nothing up.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::devices::{DeviceRequest, DeviceRuleRequest};
use super::mounts::{MountKind, MountRequest, VolumesFrom};
use crate::error::{Error, Result};
use crate::volume_store::VolumeStore;

/// What stands at the container's root.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RootOptions {
    /// The host's own root below a throw-away overlay.
    #[default]
    Host,
    /// A directory, written to directly.
    Directory(PathBuf),
    /// A directory below a throw-away overlay.
    Overlay(PathBuf),
    /// The layers of an image below a throw-away overlay.
    Image(ImageRoot),
}

/// The files of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRoot {
    /// The directories of its layers, the topmost first; there is one at least.
    pub layers: Vec<PathBuf>,
    /// As it was named.
    pub name: String,
    /// The store that it lies in.
    pub store: PathBuf,
    /// The digest of its manifest.
    pub manifest: String,
    /// Its directories for data, as absolute paths.
    pub volumes: Vec<String>,
}

impl RootOptions {
    /// The directories that are shown as its root, the topmost first.
    pub(crate) fn directories(&self) -> Vec<&Path> {
        match self {
            RootOptions::Host => vec![Path::new("/")],
            RootOptions::Directory(path) | RootOptions::Overlay(path) => vec![path],
            RootOptions::Image(image) => image.layers.iter().map(PathBuf::as_path).collect(),
        }
    }
}

/// Whether a container whose root refuses writes has places in memory to write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReadOnlyTmpfs {
    /// `/tmp`, `/var/tmp` and `/run`, as programs expect.
    #[default]
    Usual,
    /// None but `/dev`.
    None,
}

/// Root, mounts and devices of one container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileOptions {
    /// What stands at its root.
    pub root: RootOptions,
    /// Whether the root refuses writes.
    pub read_only: bool,
    /// What can be written to then.
    pub read_only_tmpfs: ReadOnlyTmpfs,
    /// Directories and files of the host, and file systems in memory.
    pub mounts: Vec<MountRequest>,
    /// Containers whose mounts it gets, too.
    pub volumes_from: Vec<VolumesFrom>,
    /// Where volumes are; without it, where the caller's are without a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_store: Option<VolumeStore>,
    /// Device nodes of the host.
    pub devices: Vec<DeviceRequest>,
    /// Devices that may be used wherever a node of them is.
    pub device_rules: Vec<DeviceRuleRequest>,
}

impl FileOptions {
    /// Whether they ask for volumes, by themselves or by their image.
    pub fn may_need_volumes(&self) -> bool {
        let is_volume = |mount: &MountRequest| match &mount.kind {
            MountKind::Bind(bind) => bind.volume.is_some(),
            MountKind::Tmpfs(_) => false,
        };
        let of_image = match &self.root {
            RootOptions::Image(image) => !image.volumes.is_empty(),
            RootOptions::Host | RootOptions::Directory(_) | RootOptions::Overlay(_) => false,
        };
        of_image || !self.volumes_from.is_empty() || self.mounts.iter().any(is_volume)
    }

    /// Refuses mounts that get in each other's way, or in that of the container's own.
    pub(crate) fn check(&self) -> Result<()> {
        for (index, mount) in self.mounts.iter().enumerate() {
            check_target(mount)?;
            if let Some(earlier) = self.mounts[..index].iter().find(|one| one.target == mount.target) {
                let reason = format!("`{}` is the destination of `{}` already", mount.target, earlier.flag);
                return Err(Error::invalid(mount.flag.as_str(), reason).with_hint("leave one of the two out"));
            }
        }
        Ok(())
    }
}

fn check_target(mount: &MountRequest) -> Result<()> {
    let refuse = |reason: &str, hint: &str| {
        Err(Error::invalid(mount.flag.as_str(), reason.to_owned()).with_hint(hint))
    };
    match mount.target.as_str() {
        "/" => refuse("it would cover the container's whole root", "use `--rootfs` for the root itself"),
        "/proc" | "/sys" => refuse(
            "it would cover a file system that the container needs",
            "choose another destination, such as `/host/proc`",
        ),
        "/dev" if matches!(mount.kind, MountKind::Tmpfs(_)) => refuse(
            "it would cover the container's devices",
            "`/dev` is in memory already; use `--device` to add nodes",
        ),
        _ => Ok(()),
    }
}
