//! `spec`: writes a config.json to start from, with the same defaults as runc's.

use std::io::Write;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use runtime::spec::{
    Capabilities, DeviceRule, IdMapping, Linux, Mount, Namespace, NamespaceKind, Process, Resources, Rlimit,
    Root, Spec, User,
};
use runtime::{Error, ErrorKind};

use super::{Failure, Outcome};
use crate::args::{self, Globals};

pub(super) const USAGE: &str = "\
Write a config.json to start from: a shell on a terminal, on the root file system `rootfs`.

Usage: rabbitc-runtime spec [OPTIONS]

Options:
  -b, --bundle DIR  where to write it [.]
      --rootless    for a user without root: the caller is root inside, and nobody else exists there
";

pub(super) fn run(mut parser: Parser, _: &Globals) -> Outcome {
    let mut directory = PathBuf::from(".");
    let mut rootless = false;
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("bundle") | Arg::Short('b') => directory = args::path(&mut parser)?,
            Arg::Long("rootless") => {
                rootless = args::switch(&mut parser)?;
            }
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            other => return Err(args::unexpected(other).into()),
        }
    }
    let path = directory.join("config.json");
    let mut spec = default_spec();
    if rootless {
        give_up_root(&mut spec);
    }
    let mut text = serde_json::to_string_pretty(&spec).expect("only string keys");
    text.push('\n');
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let operation = format!("write `{}`", path.display());
            let error = Error::new(ErrorKind::AlreadyExists, operation, "the file exists");
            Err(error.with_hint("remove it first").into())
        }
        file => {
            let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|error| Error::at_path("write", &path, error))?;
            Ok(0)
        }
    }
}

/// What an ordinary user can have without `/etc/subuid` and without a cgroup. The network is the user's, as runc has it, for
/// nobody could connect one of the container's own; so is what sysfs shows of it.
fn give_up_root(spec: &mut Spec) {
    let own = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
    if let Some(linux) = &mut spec.linux {
        linux.namespaces.retain(|namespace| namespace.kind != NamespaceKind::Network);
        linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: None });
        linux.uid_mappings = own(rustix::process::geteuid().as_raw());
        linux.gid_mappings = own(rustix::process::getegid().as_raw());
        linux.resources = None;
    }
    for mount in spec.mounts.iter_mut().filter(|mount| mount.destination == "/dev/pts") {
        // The group of terminals is not mapped.
        mount.options.iter_mut().for_each(|options| options.retain(|option| option != "gid=5"));
    }
    for mount in spec.mounts.iter_mut().filter(|mount| mount.destination == "/sys") {
        // The kernel mounts sysfs for whoever owns the network namespace.
        mount.kind = Some("none".to_owned());
        mount.source = Some("/sys".to_owned());
        mount.options.get_or_insert_default().insert(0, "rbind".to_owned());
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn default_spec() -> Spec {
    Spec {
        oci_version: runtime::spec::VERSION.to_owned(),
        process: Some(default_process()),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        hostname: Some("rabbitc".to_owned()),
        mounts: default_mounts(),
        linux: Some(default_linux()),
        ..Spec::default()
    }
}

fn default_process() -> Process {
    let capabilities = strings(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    Process {
        terminal: true,
        user: User::default(),
        args: strings(&["sh"]),
        env: strings(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]),
        cwd: "/".to_owned(),
        capabilities: Some(Capabilities {
            bounding: capabilities.clone(),
            effective: capabilities.clone(),
            permitted: capabilities,
            ..Capabilities::default()
        }),
        rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".to_owned(), soft: 1024, hard: 1024 }],
        no_new_privileges: true,
        ..Process::default()
    }
}

fn default_mounts() -> Vec<Mount> {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: (!options.is_empty()).then(|| strings(options)),
        ..Mount::default()
    };
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &terminals),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

/// Whether cgroup v2 is all there is (cgroups(7)).
fn has_unified_cgroups() -> bool {
    cgroup::Layout::detect().is_ok_and(|layout| layout.version() == cgroup::Version::V2)
}

fn default_linux() -> Linux {
    use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let always = [Pid, Network, Ipc, Uts, Mount];
    // As runc does: on v1 whoever wants one adds it.
    let kinds = always.into_iter().chain(has_unified_cgroups().then_some(Cgroup));
    Linux {
        namespaces: kinds.map(|kind| Namespace { kind, path: None }).collect(),
        resources: Some(Resources {
            devices: vec![DeviceRule {
                allow: false,
                access: Some("rwm".to_owned()),
                ..DeviceRule::default()
            }],
            ..Resources::default()
        }),
        masked_paths: strings(&[
            "/proc/acpi",
            "/proc/asound",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/sys/firmware",
            "/proc/scsi",
        ]),
        readonly_paths: strings(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
        ..Linux::default()
    }
}
