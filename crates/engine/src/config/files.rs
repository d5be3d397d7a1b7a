//! Mounts that every container gets, and those that were asked for.

use runtime::spec::Mount;

use crate::options::{FileOptions, RootOptions};

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
    if options.read_only {
        // Programs expect to write there, also where nothing else may be written.
        mounts.push(mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777", "size=65536k"]));
    }
    mounts
}
