//! What people see of errors and notices.

use std::io::{IsTerminal, Write};

use engine::{Error, Notice};

/// The flag behind a field of the configuration; what is a flag already stays as it is.
pub(crate) fn flag_of(field: &str) -> &str {
    match field {
        flag if flag.starts_with("--") => flag,
        "the command line" => "the words of the command line",
        "linux.devices" => "--device, and the default devices",
        "root.path" => "--rootfs",
        "root.readonly" => "--read-only",
        "hostname" => "--hostname",
        "network.ports" => "--publish, --publish-all",
        "network" => "--network, --network-name, --network-ip, --container-ip",
        "linux.resources" => "--memory, --cpus, --pids-limit and other limits, and the default devices",
        "linux.cgroupsPath" => "--cgroup-parent, and the default group",
        "process.rlimits" => "--ulimit",
        "process.oomScoreAdj" => "--oom-score-adj",
        "process.capabilities" => "--cap-add, --cap-drop, --privileged, and the default capabilities",
        "process.noNewPrivileges" => "--security-opt no-new-privileges, the default",
        "linux.seccomp" => "--security-opt seccomp, and the default profile",
        "linux.maskedPaths" | "linux.readonlyPaths" => "--security-opt mask, unmask, and the default paths",
        "linux.sysctl" => "--sysctl",
        "process.apparmorProfile" => "--security-opt apparmor, or AppArmor of this host",
        "process.selinuxLabel" => "--security-opt label, or SELinux of this host",
        "linux.namespaces" => "--pid, --ipc, --uts, --cgroupns, --timens, --network, and the defaults",
        "linux.timeOffsets" => "--time-offset",
        "process.terminal" => "-t, or a terminal on stdin and stdout",
        "process.user" => "--user, --group-add",
        "process.user.umask" => "--umask",
        "process.cwd" => "--workdir",
        "linux.uidMappings" => "--userns, --uidmap, --gidmap",
        field if field.starts_with("process.args") => "--cmd",
        _ => "default",
    }
}

/// Whether text for people may have colours there.
pub(crate) fn colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn stderr(text: &str) {
    // Nobody may be reading; there is no other place to say so.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints an error: what, where in the start, and the remedy.
pub(crate) fn error(error: &Error) {
    let bold = colours(std::io::stderr().is_terminal());
    let (on, off) = if bold { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let mut text = format!("{on}error:{off} {error}\n");
    if let Some(step) = &error.step {
        let asked = step.asked_by.as_deref().map_or("default", flag_of);
        text.push_str(&format!("  step {} of {}, asked for by: {asked}\n", step.number, step.total));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    for one in &error.rollback {
        text.push_str(&format!("  not taken back: {one}\n"));
    }
    stderr(&text);
}

/// Prints what a person asked for without knowing it.
pub(crate) fn information(text: &str) {
    stderr(&format!("{text}\n"));
}

/// Prints a notice.
pub(crate) fn notice(notice: &Notice) {
    let mut text = format!("warning: {}\n", notice.what);
    if let Some(remedy) = &notice.remedy {
        text.push_str(&format!("  hint: {remedy}\n"));
    }
    stderr(&text);
}
