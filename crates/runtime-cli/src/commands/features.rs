//! `features`: what this runtime can do, as callers ask for it (features.md).

use lexopt::{Arg, Parser};

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
            "seccomp": { "enabled": true },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": true } },
        },
        "annotations": { "org.rabbitc.runtime.version": env!("CARGO_PKG_VERSION") },
    });
    render::print(&format!("{document:#}\n"));
    Ok(0)
}
