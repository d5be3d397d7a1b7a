//! What every container gets unless it is told otherwise: capabilities, seccomp, devices, mounts, hidden paths
//! (docs/security.md says why each).

use runtime::plan::seccomp::default_profile;
use runtime::spec::{
    Capabilities, Cpu, DeviceRule, Linux, Memory, Mount, Namespace, NamespaceKind, Pids, Process, Resources,
    Root, Spec, User, VERSION,
};

use crate::options::{NetworkMode, RootOptions, RunOptions, TerminalMode};

/// What a container's root may do: enough for package managers and servers, nothing that reaches the host.
const CAPABILITIES: [&str; 11] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Parts of /proc and /sys that show or reach the host.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// Parts of /proc that would change the host.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(kind.to_owned()),
        options: Some(options.iter().map(|&option| option.to_owned()).collect()),
        ..Mount::default()
    }
}

fn mounts(options: &RunOptions) -> Vec<Mount> {
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
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
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

fn namespaces(options: &RunOptions) -> Vec<Namespace> {
    use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    [Pid, Mount, Ipc, Uts, Cgroup, Network]
        .into_iter()
        .filter(|kind| *kind != Network || options.network != NetworkMode::Host)
        .map(|kind| Namespace { kind, path: None })
        .collect()
}

fn resources(options: &RunOptions) -> Resources {
    const PERIOD: u64 = 100_000;
    Resources {
        devices: vec![DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() }],
        // Without swap beside it: a limit that swaps instead is a slow surprise. A kernel without swap may lack the
        // file that says so.
        memory: options.memory.map(|limit| Memory {
            limit: Some(limit),
            swap: (rustix::system::sysinfo().totalswap > 0).then_some(limit),
            ..Memory::default()
        }),
        cpu: options.cpu_millis.map(|millis| Cpu {
            quota: Some((millis * PERIOD / 1000) as i64),
            period: Some(PERIOD),
            ..Cpu::default()
        }),
        pids: options.pids_limit.map(|limit| Pids { limit: Some(limit) }),
        ..Resources::default()
    }
}

fn environment(options: &RunOptions) -> Vec<String> {
    let mut environment = vec![PATH.to_owned(), format!("HOSTNAME={}", options.hostname)];
    if options.terminal != TerminalMode::Inherit {
        environment.push("TERM=xterm".to_owned());
    }
    environment.push("HOME=/root".to_owned());
    for entry in &options.environment {
        let name = entry.split('=').next().unwrap_or_default();
        environment.retain(|known| known.split('=').next() != Some(name));
        environment.push(entry.clone());
    }
    environment
}

/// The config.json that a person's options amount to. `hidden` are paths of our own on the host's root.
pub(crate) fn spec(
    options: &RunOptions,
    root: &std::path::Path,
    cgroups_path: &str,
    hidden: &[String],
) -> Spec {
    let names: Vec<String> = CAPABILITIES.iter().map(|&name| name.to_owned()).collect();
    let console_size = match options.terminal {
        TerminalMode::New(height, width) => Some(runtime::spec::ConsoleSize { height, width }),
        TerminalMode::Inherit => None,
    };
    let process = Process {
        terminal: options.terminal != TerminalMode::Inherit,
        console_size,
        user: User::default(),
        args: options.command.clone(),
        env: environment(options),
        cwd: "/".to_owned(),
        capabilities: Some(Capabilities {
            bounding: names.clone(),
            effective: names.clone(),
            permitted: names,
            ..Capabilities::default()
        }),
        no_new_privileges: true,
        ..Process::default()
    };
    let mut masked: Vec<String> = MASKED.iter().map(|&path| path.to_owned()).collect();
    masked.extend(thermal_throttle());
    masked.extend(hidden.iter().cloned());
    let linux = Linux {
        namespaces: namespaces(options),
        resources: Some(resources(options)),
        cgroups_path: Some(cgroups_path.to_owned()),
        seccomp: Some(default_profile(&CAPABILITIES)),
        masked_paths: masked,
        readonly_paths: READ_ONLY.iter().map(|&path| path.to_owned()).collect(),
        ..Linux::default()
    };
    Spec {
        oci_version: VERSION.to_owned(),
        root: Some(Root { path: root.to_owned(), readonly: options.read_only }),
        process: Some(process),
        hostname: Some(options.hostname.clone()),
        mounts: mounts(options),
        linux: Some(linux),
        ..Spec::default()
    }
}

/// Counters of each processor's heat: a side channel that podman hides as well.
fn thermal_throttle() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.path().join("thermal_throttle"))
        .filter(|path| path.exists())
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_capability_beyond_eleven_and_none_that_survives_exec_by_itself() {
        let spec = spec(&RunOptions::default(), std::path::Path::new("/"), "rabbitc-x", &[]);
        let capabilities = spec.process.expect("there is one").capabilities.expect("set");
        assert!(capabilities.bounding.len() <= 11);
        assert!(capabilities.inheritable.is_empty() && capabilities.ambient.is_empty());
    }
}
