//! `features`: what this runtime can do, as callers ask for it (features.md).

use lexopt::{Arg, Parser};
use runtime::spec::seccomp::{Action, Architecture, Flag, Operator};

use super::{Failure, Outcome};
use crate::args::{self, Globals};
use crate::render;

pub(super) const USAGE: &str = "\
Print what this runtime can do as JSON (runtime-spec, features.md).

Usage: rabbitc-runtime features
";

/// Options of mounts that are not passed on to the file system.
const MOUNT_OPTIONS: [&str; 56] = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "idmap",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "unbindable",
    "loud",
    "nolazytime",
    "tmpcopyup",
    "tmpoverlay",
];

pub(super) fn run(mut parser: Parser, _: &Globals) -> Outcome {
    if let Some(argument) = parser.next().map_err(args::wrong)? {
        return match argument {
            Arg::Long("help") | Arg::Short('h') => Err(Failure::Help),
            other => Err(args::unexpected(other).into()),
        };
    }
    let capabilities: Vec<String> =
        runtime::capability::NAMES.iter().map(|name| format!("CAP_{name}")).collect();
    let document = serde_json::json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": runtime::spec::VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": MOUNT_OPTIONS.as_slice(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
    "seccomp": seccomp(),
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true },
            "memoryPolicy": {
                "modes": runtime::plan::memory_policy_modes().collect::<Vec<_>>(),
                "flags": runtime::plan::memory_policy_flags().collect::<Vec<_>>(),
            },
        },
        "annotations": { "org.rabbitc.runtime.version": env!("CARGO_PKG_VERSION") },
    });
    render::print(&format!("{document:#}\n"));
    Ok(0)
}

/// Every name of `linux.seccomp` that is read; flags are supported where this kernel knows them.
fn seccomp() -> serde_json::Value {
    let known: Vec<&str> = Flag::ALL.iter().map(|flag| flag.as_str()).collect();
    let supported =
        Flag::ALL.iter().filter(|flag| **flag != Flag::WaitKillableRecv || kernel_is_at_least(5, 19));
    serde_json::json!({
        "enabled": true,
        "actions": Action::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>(),
        "operators": Operator::ALL.iter().map(|operator| operator.as_str()).collect::<Vec<_>>(),
        "archs": Architecture::ALL.iter().map(|architecture| architecture.as_str()).collect::<Vec<_>>(),
        "knownFlags": known,
        "supportedFlags": supported.map(|flag| flag.as_str()).collect::<Vec<_>>(),
    })
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut parts = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
}
