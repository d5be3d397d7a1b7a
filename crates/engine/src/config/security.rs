//! Rights: capabilities, seccomp, what is hidden (docs/security.md says why each).

use runtime::plan::seccomp::default_profile;
use runtime::spec::{Capabilities, Linux, Process};

use crate::options::SecurityOptions;

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

/// Restricts `process` and `linux`. `hidden` are paths of our own on the host's root.
pub(super) fn restrict(
    _options: &SecurityOptions,
    process: &mut Process,
    linux: &mut Linux,
    hidden: &[String],
) {
    let names: Vec<String> = CAPABILITIES.iter().map(|&name| name.to_owned()).collect();
    process.capabilities = Some(Capabilities {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
        ..Capabilities::default()
    });
    process.no_new_privileges = true;
    let mut masked: Vec<String> = MASKED.iter().map(|&path| path.to_owned()).collect();
    masked.extend(thermal_throttle());
    masked.extend(hidden.iter().cloned());
    linux.seccomp = Some(default_profile(&CAPABILITIES));
    linux.masked_paths = masked;
    linux.readonly_paths = READ_ONLY.iter().map(|&path| path.to_owned()).collect();
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
