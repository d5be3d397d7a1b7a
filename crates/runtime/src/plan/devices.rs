//! Device nodes and the standard links in `/dev`.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, makedev};

use crate::error::{Error, Result};
use crate::init::step::{DeviceNode, InitAction, Link, Step, Target, TargetKind};
use crate::plan::{always, c_string};
use crate::spec::Device;

/// The nodes that every container has (config-linux.md, "Default Devices").
const STANDARD: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The standard nodes and those of `linux.devices`; in a user namespace all are bound from the host.
pub(crate) fn plan_devices(devices: &[Device], user_namespace: bool) -> Result<Vec<DeviceNode>> {
    let mut nodes = Vec::new();
    for (path, major, minor) in STANDARD {
        if devices.iter().any(|device| device.path == path) {
            continue;
        }
        nodes.push(DeviceNode {
            target: Target::parse(path, TargetKind::File, "default devices")?,
            host: c_string(path, "default devices")?,
            file_type: FileType::CharacterDevice,
            device: makedev(major, minor),
            mode: 0o666,
            uid: 0,
            gid: 0,
            bind: user_namespace,
        });
    }
    for (index, device) in devices.iter().enumerate() {
        let node = node(device, &format!("linux.devices[{index}]"), user_namespace)?;
        // The host's would lead to no terminals of the container's: the link does (`plan_links`).
        if node.target.path.as_c_str() != c"dev/ptmx" {
            nodes.push(node);
        }
    }
    Ok(nodes)
}

fn node(device: &Device, field: &str, user_namespace: bool) -> Result<DeviceNode> {
    let file_type = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => {
            return Err(Error::invalid(format!("{field}.type"), format!("`{other}` is none of b, c, u, p")));
        }
    };
    if !device.path.starts_with('/') {
        return Err(Error::invalid(format!("{field}.path"), format!("`{}` is not absolute", device.path)));
    }
    let number = |value: i64, name: &str| {
        u32::try_from(value)
            .map_err(|_| Error::invalid(format!("{field}.{name}"), format!("`{value}` is out of range")))
    };
    Ok(DeviceNode {
        target: Target::parse(&device.path, TargetKind::File, format_args!("{field}.path"))?,
        host: c_string(&device.path, field)?,
        file_type,
        device: makedev(number(device.major, "major")?, number(device.minor, "minor")?),
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        bind: user_namespace && file_type != FileType::Fifo,
    })
}

/// The step that opens the container's null device in the place of the host's; `proc` is the host's procfs where init can't
/// reach it by then.
pub(crate) fn null_streams(proc: Option<OwnedFd>) -> Result<Step> {
    let target = Target::parse("/dev/null", TargetKind::File, "default devices")?;
    Ok(always(InitAction::NullStreams { target, proc }))
}

/// The host's procfs, for when no path leads there any more: what a container shows as /proc could be a fake.
pub(crate) fn hosts_proc() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/proc", flags, Mode::empty())
        .map_err(|error| Error::at_path("open", Path::new("/proc"), error))
}

/// The links that programs expect (runtime-linux.md, "Dev symbolic links"), and ptmx, which leads to the
/// container's own terminals.
pub(crate) fn plan_links() -> Result<Vec<Link>> {
    let mut links = Vec::new();
    let standard = [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
        ("pts/ptmx", "/dev/ptmx"),
    ];
    for (text, path) in standard {
        links.push(Link {
            text: c_string(text, "standard links")?,
            target: Target::parse(path, TargetKind::File, "standard links")?,
        });
    }
    Ok(links)
}
