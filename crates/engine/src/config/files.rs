//! Mounts that every container gets, and those that were asked for.

use std::collections::BTreeMap;
use std::path::Path;

use runtime::spec::{Mount, Spec};

use super::WhoseUsers;
use crate::error::{Error, Result};
use crate::options::{
    Access, BindRequest, FileOptions, Memory, MountKind, MountRequest, Propagation, Reach, ReadOnlyTmpfs,
    RootOptions, TmpfsRequest, Toggle,
};

fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(kind.to_owned()),
        options: Some(options.iter().map(|&option| option.to_owned()).collect()),
        ..Mount::default()
    }
}

pub(super) fn mounts(options: &FileOptions, shm_size: Option<u64>) -> Vec<Mount> {
    let shm_size = format!("size={}", shm_size.unwrap_or(64 << 20));
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &shm_size]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    if options.root == RootOptions::Host {
        // The host's /run is full of sockets of its services, our own state among them.
        mounts.push(mount("/run", "tmpfs", &["nosuid", "nodev", "mode=755", "size=65536k"]));
    }
    if options.read_only && options.read_only_tmpfs == ReadOnlyTmpfs::Usual {
        // Programs expect to write there, also where nothing else may be written.
        mounts.push(mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777", "size=65536k"]));
        mounts.push(mount("/var/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777", "size=65536k"]));
        if options.root != RootOptions::Host {
            mounts.push(mount("/run", "tmpfs", &["nosuid", "nodev", "tmpcopyup", "size=65536k"]));
        }
    }
    mounts.retain(|mount| !options.mounts.iter().any(|asked| replaces(asked, &mount.destination)));
    mounts.extend(options.mounts.iter().map(requested));
    mounts
}

/// Refuses owners that are to be shown through the map of a user namespace, where the container has none of its own.
pub(super) fn check(options: &FileOptions, users: WhoseUsers) -> Result<()> {
    let is_mapped = |request: &&MountRequest| matches!(&request.kind, MountKind::Bind(bind) if bind.idmap);
    match (users, options.mounts.iter().find(is_mapped)) {
        (WhoseUsers::Callers, Some(request)) => {
            let reason =
                "`idmap` shows owners through the map of the container's user namespace, and it has none";
            let error = Error::invalid(request.flag.as_str(), reason.to_owned());
            Err(error
                .with_hint("leave it out, or give the container users of its own, as with `--userns=auto`"))
        }
        _ => Ok(()),
    }
}

/// Whether a mount that somebody asks for stands in the place of one of ours. Another `/dev` comes without ours in it.
pub(super) fn replaces(asked: &MountRequest, ours: &str) -> bool {
    asked.target == ours || (asked.target == "/dev" && ours.starts_with("/dev/"))
}

fn requested(request: &MountRequest) -> Mount {
    let (kind, source, options) = match &request.kind {
        MountKind::Bind(bind) => {
            ("bind", bind.source.to_string_lossy().into_owned(), bind_options(request, bind))
        }
        MountKind::Tmpfs(tmpfs) => {
            let kind = match tmpfs.memory {
                Memory::Tmpfs => "tmpfs",
                Memory::Ramfs => "ramfs",
            };
            (kind, kind.to_owned(), tmpfs_options(request, tmpfs))
        }
    };
    Mount {
        destination: request.target.clone(),
        kind: Some(kind.to_owned()),
        source: Some(source),
        options: Some(options),
        ..Mount::default()
    }
}

/// Whether a source is in one of the kernel's own `trees`, by what its path leads to and not by its text alone:
/// `/dev/../srv` is none.
pub(crate) fn is_of_the_kernel(source: &Path, trees: &[&str]) -> bool {
    let is_in = |path: &Path| trees.iter().any(|tree| path.starts_with(tree));
    // One that can't be looked up can't be bound either, and that says why.
    is_in(source) && std::fs::canonicalize(source).map_or(true, |found| is_in(&found))
}

/// Restrictions hold for the whole tree. What the host's mount refuses stays refused: nothing is ever loosened.
fn bind_options(request: &MountRequest, bind: &BindRequest) -> Vec<String> {
    // A device node, or a directory of nothing else, is asked for to be used.
    let devices = is_of_the_kernel(&bind.source, &["/dev"]);
    let options = [
        Some(if bind.reach == Reach::Tree { "rbind" } else { "bind" }),
        match bind.access {
            Access::Writable => None,
            Access::ReadOnly => Some("rro"),
            Access::ReadOnlyHere => Some("ro"),
            Access::ThrownAway => Some("tmpoverlay"),
        },
        // What is in a volume came from containers, and what their programs may is bounded otherwise.
        (request.suid == Toggle::Off || (request.suid == Toggle::Default && bind.volume.is_none()))
            .then_some("rnosuid"),
        (request.dev == Toggle::Off || (request.dev == Toggle::Default && !devices)).then_some("rnodev"),
        (request.exec == Toggle::Off).then_some("rnoexec"),
        match bind.propagation {
            Propagation::Private => None,
            Propagation::Slave => Some("rslave"),
            Propagation::Shared => Some("rshared"),
        },
        bind.idmap.then_some(if bind.reach == Reach::Tree { "ridmap" } else { "idmap" }),
    ];
    options.into_iter().flatten().map(str::to_owned).collect()
}

/// As docker has it: nothing in memory is executed, unless asked for.
fn tmpfs_options(request: &MountRequest, tmpfs: &TmpfsRequest) -> Vec<String> {
    let words = [
        tmpfs.read_only.then_some("ro"),
        tmpfs.copy_up.then_some("tmpcopyup"),
        (request.suid != Toggle::On).then_some("nosuid"),
        (request.dev != Toggle::On).then_some("nodev"),
        (request.exec != Toggle::On).then_some("noexec"),
    ];
    let parameters = tmpfs.parameters.iter().map(|(key, value)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    });
    words.into_iter().flatten().map(str::to_owned).chain(parameters).collect()
}

/// Puts outer mounts before those that lie in them. Without any of a person's own, the order is right already.
pub(super) fn sort(options: &FileOptions, mounts: &mut [Mount]) {
    if !options.mounts.is_empty() || !options.devices.is_empty() {
        mounts.sort_by_key(|mount| mount.destination.split('/').filter(|part| !part.is_empty()).count());
    }
}

pub(super) fn origins(options: &FileOptions, spec: &Spec) -> BTreeMap<String, String> {
    let mut origins = BTreeMap::new();
    let flag_of = |target: &str| -> Option<String> {
        let mounts = options.mounts.iter().map(|one| (one.target.as_str(), &one.flag));
        let mut asked = mounts.chain(options.devices.iter().map(|one| (one.target.as_str(), &one.flag)));
        if let Some((_, flag)) = asked.find(|(known, _)| *known == target) {
            return Some(flag.clone());
        }
        let usual =
            ["/tmp", "/var/tmp"].contains(&target) || (target == "/run" && options.root != RootOptions::Host);
        (options.read_only && usual).then(|| "--read-only".to_owned())
    };
    if options.mounts.is_empty() && options.devices.is_empty() && !options.read_only {
        return origins;
    }
    for (index, mount) in spec.mounts.iter().enumerate() {
        origins.extend(flag_of(&mount.destination).map(|flag| (format!("mounts[{index}]"), flag)));
    }
    let devices = spec.linux.iter().flat_map(|linux| &linux.devices);
    for (index, device) in devices.enumerate() {
        origins.extend(flag_of(&device.path).map(|flag| (format!("linux.devices[{index}]"), flag)));
    }
    origins
}
