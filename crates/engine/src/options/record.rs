//! How options are written down for a container that outlives its command, as JSON, and what has to be done to them before. What
//! is a default is left out, so that a later version can add fields and reads the records of this one. Decides nothing.

use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{
    CgroupMode, IpcMode, MountKind, NamespaceMode, NetworkMode, RootOptions, RunOptions, SeccompChoice,
    UserNamespace, parse_mac, parse_publish,
};
use crate::network_store::NetworkStore;
use crate::secret_store::SecretStore;
use crate::volume_store::VolumeStore;

impl RunOptions {
    /// The same with every path of the host absolute, where the relative ones began at `directory`: whoever starts the container
    /// from its record has another directory.
    pub fn made_absolute(mut self, directory: &Path) -> RunOptions {
        for path in self.host_paths() {
            if !path.is_absolute() {
                // Without dots that say nothing.
                *path = directory.join(&*path).components().collect();
            }
        }
        self
    }

    /// Each path of the host that the options hold.
    fn host_paths(&mut self) -> Vec<&mut PathBuf> {
        let RunOptions { process: _, files, limits, namespaces, security, network, secrets, stay } = self;
        let mut paths: Vec<&mut PathBuf> = Vec::new();
        match &mut files.root {
            RootOptions::Host => {}
            RootOptions::Directory(path) | RootOptions::Overlay(path) => paths.push(path),
            RootOptions::Image(image) => {
                paths.extend(&mut image.layers);
                paths.push(&mut image.store);
            }
        }
        paths.extend(files.mounts.iter_mut().filter_map(|mount| match &mut mount.kind {
            MountKind::Bind(bind) if bind.volume.is_none() => Some(&mut bind.source),
            MountKind::Bind(_) | MountKind::Tmpfs(_) => None,
        }));
        paths.extend(files.volume_store.as_mut().map(VolumeStore::path_mut));
        paths.extend(secrets.store.as_mut().map(SecretStore::path_mut));
        paths.extend(files.devices.iter_mut().map(|device| &mut device.source));
        paths.extend(limits.blkio_weight_device.iter_mut().map(|limit| &mut limit.path));
        for rates in [
            &mut limits.device_read_bps,
            &mut limits.device_write_bps,
            &mut limits.device_read_iops,
            &mut limits.device_write_iops,
        ] {
            paths.extend(rates.iter_mut().map(|limit| &mut limit.path));
        }
        if let UserNamespace::Path(path) = &mut namespaces.users {
            paths.push(path);
        }
        let ipc = match &mut namespaces.ipc {
            IpcMode::Shared(mode) => Some(mode),
            IpcMode::Private | IpcMode::None => None,
        };
        if let CgroupMode::Path(path) = &mut namespaces.cgroup {
            paths.push(path);
        }
        for mode in [Some(&mut namespaces.pid), Some(&mut namespaces.uts), ipc].into_iter().flatten() {
            if let NamespaceMode::Path(path) = mode {
                paths.push(path);
            }
        }
        if let Some(SeccompChoice::File(path)) = &mut security.seccomp {
            paths.push(path);
        }
        match &mut network.mode {
            NetworkMode::Joined { namespace, files } => {
                paths.push(namespace);
                paths.extend(files);
            }
            NetworkMode::Cni(network) => {
                paths.extend(&mut network.configurations);
                paths.extend(&mut network.plugins);
            }
            _ => {}
        }
        paths.extend(network.store.as_mut().map(NetworkStore::path_mut));
        paths.extend(stay.as_mut().map(|(containers, _)| containers.path_mut()));
        paths
    }
}

/// Writes a topic without what is as it is by default.
pub(super) fn sparse<T: Serialize + Default, S: Serializer>(
    topic: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let value = |topic: &T| serde_json::to_value(topic).map_err(serde::ser::Error::custom);
    let mut said = value(topic)?;
    leave_out(&mut said, &value(&T::default())?);
    said.serialize(serializer)
}

fn leave_out(said: &mut Value, default: &Value) {
    if let (Value::Object(said), Value::Object(default)) = (said, default) {
        said.retain(|key, value| match default.get(key) {
            Some(same) if same == value => false,
            // A duration has no fields that may lack.
            Some(Value::Object(other)) if other.contains_key("nanos") => true,
            Some(other) => {
                leave_out(value, other);
                true
            }
            None => true,
        });
    }
}

/// Whether the caller's input is copied.
#[derive(Serialize, Deserialize)]
#[serde(remote = "monitor::Input", rename_all = "camelCase")]
pub(super) enum InputForm {
    Copied,
    Unread,
}

/// What becomes of the caller's signals.
#[derive(Serialize, Deserialize)]
#[serde(remote = "monitor::Signals", rename_all = "camelCase")]
pub(super) enum SignalsForm {
    Forwarded,
    Kept,
}

/// Signals by their names.
pub(super) mod signal {
    use super::*;

    pub(in crate::options) fn serialize<S: Serializer>(
        signal: &runtime::Signal,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(signal)
    }

    pub(in crate::options) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<runtime::Signal, D::Error> {
        runtime::Signal::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Capabilities by their names.
pub(super) mod capabilities {
    use runtime::capability::{NAMES, number};

    use super::*;

    pub(in crate::options) fn serialize<S: Serializer>(
        named: &u64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let is_named = |(number, _): &(usize, &&str)| named & 1 << number != 0;
        serializer.collect_seq(NAMES.iter().enumerate().filter(is_named).map(|(_, name)| name))
    }

    pub(in crate::options) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u64, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().try_fold(0, |named, name| {
            let number = number(name);
            let number =
                number.ok_or_else(|| D::Error::custom(format_args!("`{name}` is not a capability")))?;
            Ok(named | 1 << number)
        })
    }
}

/// A hardware address as people write it.
pub(super) mod mac {
    use super::*;

    pub(in crate::options) fn serialize<S: Serializer>(
        mac: &Option<[u8; 6]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        mac.map(|bytes| bytes.map(|byte| format!("{byte:02x}")).join(":")).serialize(serializer)
    }

    pub(in crate::options) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 6]>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse_mac("mac", &text)).transpose().map_err(D::Error::custom)
    }
}

/// Published ports as people write them.
pub(super) mod ports {
    use ::network::PortRequest;

    use super::*;

    pub(in crate::options) fn serialize<S: Serializer>(
        publish: &[PortRequest],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(publish.iter().map(crate::options::ports::publish_text))
    }

    pub(in crate::options) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<PortRequest>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts
            .iter()
            .map(|text| parse_publish("publish", text))
            .collect::<Result<_, _>>()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
