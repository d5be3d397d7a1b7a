//! Docker's driver `local`: a volume is a directory of its own, a directory of the host, or something that is mounted on its own
//! one: a network file system, a device, memory.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};

use runtime::ErrorKind;
use runtime::caller::Caller;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount as detach};

use super::{DATA, lock_content};
use crate::error::{Error, Result};
use crate::options::Reach;

const KNOWN: [&str; 3] = ["type", "device", "o"];

/// What is behind a volume.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Its own directory.
    Directory,
    /// One of the host.
    Bind { device: PathBuf, reach: Reach, writes: Writes },
    /// What is mounted on its own directory.
    Mount { device: String, kind: String, flags: MountFlags, data: String },
}

/// Whether a directory of the host can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    Taken,
    Refused,
}

/// Refuses options that can't be had.
pub(super) fn check(options: &BTreeMap<String, String>) -> Result<()> {
    behind(options).map(drop)
}

/// What options mean.
pub(super) fn behind(options: &BTreeMap<String, String>) -> Result<Behind> {
    let refuse = |option: &str, reason: String, hint: &str| {
        Err(Error::invalid(format!("--opt {option}"), reason).with_hint(hint))
    };
    if options.is_empty() {
        return Ok(Behind::Directory);
    }
    if let Some(unknown) = options.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let hint = "there are type, device and o: `--opt type=tmpfs --opt device=tmpfs --opt o=size=100m`";
        return refuse(&unknown.escape_debug().to_string(), "it is not known".to_owned(), hint);
    }
    let option = |name: &str| options.get(name).map(String::as_str).unwrap_or_default();
    let (kind, device) = (option("type"), option("device"));
    if device.is_empty() {
        return refuse(
            "device",
            "it is missing, and something is to be mounted".to_owned(),
            "add `--opt device=…`",
        );
    }
    if kind.is_empty() && !options.contains_key("o") {
        return refuse(
            "type",
            "it is missing".to_owned(),
            "add `--opt type=…`, or `--opt o=bind` for a directory",
        );
    }
    let words: Vec<&str> = option("o").split(',').filter(|word| !word.is_empty()).collect();
    let reach = match () {
        () if words.contains(&"rbind") => Some(Reach::Tree),
        () if words.contains(&"bind") => Some(Reach::Mount),
        () => None,
    };
    if let Some(reach) = reach {
        if !device.starts_with('/') {
            let reason = format!("`{}` is not absolute", device.escape_debug());
            return refuse("device", reason, "name a directory of the host by its whole path");
        }
        let writes = if words.contains(&"ro") { Writes::Refused } else { Writes::Taken };
        return Ok(Behind::Bind { device: device.into(), reach, writes });
    }
    if matches!(kind, "" | "none") {
        return refuse("o", "it says neither `bind` nor `rbind`".to_owned(), "write `--opt o=bind`");
    }
    let (mut flags, mut data) = (MountFlags::empty(), Vec::new());
    for word in words {
        match flag(word) {
            Some((flag, true)) => flags |= flag,
            Some((flag, false)) => flags &= !flag,
            None => data.push(word),
        }
    }
    let (kind, device) = (kind.to_owned(), device.to_owned());
    Ok(Behind::Mount { device, kind, flags, data: data.join(",") })
}

/// Options of mount(8) that are no file system's own, and whether they set or clear.
fn flag(word: &str) -> Option<(MountFlags, bool)> {
    Some(match word {
        "defaults" => (MountFlags::empty(), true),
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        _ => return None,
    })
}

/// Mounts what is to be mounted on the directory of a volume, unless it is.
pub(super) fn mount_on(directory: &Path, name: &str, behind: &Behind) -> Result<()> {
    let Behind::Mount { device, kind, flags, data } = behind else { return Ok(()) };
    let operation = || format!("mount the volume `{name}`");
    if Caller::find() != Caller::Root {
        let reason = format!("only root mounts `{kind}` for several containers");
        let error = Error::new(ErrorKind::Permission, operation(), reason);
        return Err(error.with_hint("run it with sudo; memory for one container comes with `--tmpfs`"));
    }
    let _lock = lock_content(directory)?;
    if is_mounted(directory)? {
        return Ok(());
    }
    let data = with_address(kind, data);
    let data =
        CString::new(data).map_err(|_| Error::invalid(operation(), "an option has a NUL byte".to_owned()))?;
    mount(device.as_str(), directory.join(DATA), kind.as_str(), *flags, data.as_c_str()).map_err(|error| {
        let failed = Error::system(format!("{}: `{kind}` from `{device}`", operation()), error);
        failed.with_hint("look at its `--opt` with `rabbitc volume inspect`; the kernel's log may say more")
    })
}

/// The kernel takes a network file system's server by its number alone.
fn with_address(kind: &str, data: &str) -> String {
    if !kind.starts_with("nfs") && kind != "cifs" {
        return data.to_owned();
    }
    let words = data.split(',').map(|word| match word.strip_prefix("addr=") {
        Some(host) if host.parse::<std::net::IpAddr>().is_err() => {
            let found = (host, 0).to_socket_addrs().ok().and_then(|mut found| found.next());
            // What nobody knows the kernel refuses.
            found.map_or(word.to_owned(), |found| format!("addr={}", found.ip()))
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(",")
}

/// Takes what was mounted on the directory of a volume away.
pub(super) fn unmount(options: &BTreeMap<String, String>, directory: &Path) -> Result<()> {
    if options.is_empty() || !is_mounted(directory)? {
        return Ok(());
    }
    let data = directory.join(DATA);
    detach(&data, UnmountFlags::NOFOLLOW).map_err(|error| Error::at_path("unmount", &data, error))
}

/// Whether something is mounted there.
fn is_mounted(directory: &Path) -> Result<bool> {
    let data = directory.join(DATA);
    let device = |path: &Path| {
        rustix::fs::stat(path)
            .map(|found| found.st_dev)
            .map_err(|error| Error::at_path("examine", path, error))
    };
    Ok(device(&data)? != device(directory)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Behind> {
        behind(&options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn options_mean_what_they_mean_with_docker() {
        assert_eq!(read(&[]).expect("legal"), Behind::Directory);
        let bind = |reach, writes| Behind::Bind { device: "/srv".into(), reach, writes };
        for (o, expected) in
            [("bind", bind(Reach::Mount, Writes::Taken)), ("rbind,ro", bind(Reach::Tree, Writes::Refused))]
        {
            assert_eq!(read(&[("type", "none"), ("device", "/srv"), ("o", o)]).expect("legal"), expected);
            assert_eq!(read(&[("device", "/srv"), ("o", o)]).expect("legal"), expected);
        }
        let memory = read(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,nosuid,uid=5,exec")]);
        let expected = Behind::Mount {
            device: "tmpfs".to_owned(),
            kind: "tmpfs".to_owned(),
            flags: MountFlags::NOSUID,
            data: "size=1m,uid=5".to_owned(),
        };
        assert_eq!(memory.expect("legal"), expected);
    }

    #[test]
    fn options_that_say_too_little_or_nothing_known_are_refused() {
        for options in [
            &[("type", "tmpfs")][..],
            &[("device", "/srv")],
            &[("device", "/srv"), ("type", "none")],
            &[("device", "srv"), ("o", "bind")],
            &[("o", "bind")],
            &[("size", "5")],
        ] {
            let error = read(options).expect_err("illegal");
            assert!(error.to_string().starts_with("--opt ") && error.hint.is_some(), "{error}");
        }
    }
}
