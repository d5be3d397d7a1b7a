//! The host's device nodes: those that a person asks for, or all of them.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use runtime::spec::{Device, DeviceRule, Mount, NamespaceKind, Spec};

use crate::error::{Error, Result};
use crate::options::{DeviceRequest, FileOptions};

/// Directories of `/dev` that are file systems of their own, or no devices.
const SKIPPED: [&str; 6] = ["pts", "shm", "fd", "mqueue", "hugepages", ".udev"];

/// Nodes that every container makes itself: its own terminals.
const OWN: [&str; 3] = ["/dev/console", "/dev/ptmx", "/dev/tty"];

/// No device lies deeper; a loop can't be, as links are not followed.
const DEPTH: usize = 5;

/// Every device node below `/dev`, in the order of their paths.
pub(super) fn of_the_host() -> Vec<Device> {
    let mut found = Vec::new();
    walk(Path::new("/dev"), DEPTH, &mut found);
    found.sort_by(|one: &Device, other| one.path.cmp(&other.path));
    found
}

fn walk(directory: &Path, depth: usize, found: &mut Vec<Device>) {
    // A directory or node that goes away meanwhile was unplugged.
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if kind.is_dir() && depth > 0 {
            if !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                walk(&path, depth - 1, found);
            }
        } else if let (Some(text), Ok(metadata)) = (path.to_str(), entry.metadata())
            && !OWN.contains(&text)
        {
            found.extend(node(text, &metadata));
        }
    }
}

/// The node at `path` of a container that stands for the device; none where it is none.
fn node(path: &str, metadata: &Metadata) -> Option<Device> {
    let kind = metadata.file_type();
    (kind.is_char_device() || kind.is_block_device()).then(|| Device {
        path: path.to_owned(),
        kind: if kind.is_block_device() { "b" } else { "c" }.to_owned(),
        major: rustix::fs::major(metadata.rdev()).into(),
        minor: rustix::fs::minor(metadata.rdev()).into(),
        file_mode: Some(metadata.mode() & 0o7777),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
    })
}

/// Gives the container the nodes of the host, and the rules, that a person asks for.
pub(super) fn give(options: &FileOptions, spec: &mut Spec) -> Result<()> {
    if options.devices.is_empty() && options.device_rules.is_empty() {
        return Ok(());
    }
    let Spec { linux: Some(linux), mounts, .. } = spec else { return Ok(()) };
    let own_users = linux.namespaces.iter().any(|one| one.kind == NamespaceKind::User);
    let rules = &mut linux.resources.get_or_insert_default().devices;
    for request in &options.devices {
        for (source, device) in found(request)? {
            rules.push(DeviceRule {
                allow: true,
                kind: Some(device.kind.clone()),
                major: Some(device.major),
                minor: Some(device.minor),
                access: Some(request.access.as_str().to_owned()),
            });
            // Only `/dev` is the container's own, and in a user namespace no node can be made: then the host's own
            // node appears inside.
            if !device.path.starts_with("/dev/") || (own_users && source != Path::new(&device.path)) {
                mounts.push(bind(&source, &device.path));
            } else {
                linux.devices.retain(|known| known.path != device.path);
                linux.devices.push(device);
            }
        }
    }
    rules.extend(options.device_rules.iter().map(|rule| DeviceRule {
        allow: true,
        kind: Some(rule.kind.to_string()),
        major: rule.major.map(i64::from),
        minor: rule.minor.map(i64::from),
        access: Some(rule.access.as_str().to_owned()),
    }));
    Ok(())
}

fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        destination: target.to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(source.to_string_lossy().into_owned()),
        options: Some(["bind", "nosuid", "noexec"].map(str::to_owned).to_vec()),
        ..Mount::default()
    }
}

/// The node that a request names, or every one in the directory that it names, as nodes of the container.
fn found(request: &DeviceRequest) -> Result<Vec<(PathBuf, Device)>> {
    let failed = |error| {
        let error = Error::at_path("examine the device", &request.source, error);
        error.from_field(request.flag.as_str()).with_hint("see that the host has it: `ls -l /dev`")
    };
    let metadata = std::fs::metadata(&request.source).map_err(failed)?;
    if !metadata.is_dir() {
        let Some(device) = node(&request.target, &metadata) else {
            let reason = format!("`{}` is no device", request.source.display());
            let error = Error::invalid(request.flag.as_str(), reason);
            return Err(error.with_hint("`--volume` shows files and directories of the host inside"));
        };
        return Ok(vec![(request.source.clone(), device)]);
    }
    let mut nodes = Vec::new();
    walk(&request.source, DEPTH, &mut nodes);
    nodes.sort_by(|one: &Device, other| one.path.cmp(&other.path));
    if nodes.is_empty() {
        let reason = format!("there is no device in `{}`", request.source.display());
        return Err(Error::invalid(request.flag.as_str(), reason).with_hint("name the node itself"));
    }
    let inside = |mut device: Device| {
        let source = PathBuf::from(&device.path);
        if let Ok(rest) = source.strip_prefix(&request.source) {
            device.path = format!("{}/{}", request.target.trim_end_matches('/'), rest.display());
        }
        (source, device)
    };
    Ok(nodes.into_iter().map(inside).collect())
}
