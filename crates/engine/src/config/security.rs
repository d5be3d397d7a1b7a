//! Rights: capabilities, seccomp, what is hidden (docs/security.md says why each).

use runtime::plan::Warning;
use runtime::plan::seccomp::default_profile;
use runtime::spec::{Capabilities, DeviceRule, Linux, Process, Spec};
use runtime::{ErrorKind, capability};

use super::{WhoseUsers, devices, seccomp_file};
use crate::error::{Error, Result};
use crate::options::{SeccompChoice, SecurityOptions};

/// What a container's root may do: enough for package managers and servers, nothing that reaches the host.
const CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
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

/// Restricts `spec`. `hidden` are paths of our own on the host's root.
pub(super) fn restrict(
    options: &SecurityOptions,
    users: WhoseUsers,
    spec: &mut Spec,
    hidden: &[String],
) -> Result<()> {
    mounts(options, spec);
    super::sysctl::check_domain(&options.sysctls, spec.domainname.as_deref())?;
    let Spec { process: Some(process), linux: Some(linux), .. } = spec else { return Ok(()) };
    let granted = grant(options, users, process)?;
    process.no_new_privileges = options.no_new_privileges.unwrap_or(!options.privileged);
    linux.seccomp = match &options.seccomp {
        None if options.privileged => None,
        Some(SeccompChoice::Unconfined) => None,
        None | Some(SeccompChoice::Builtin) => Some(default_profile(&granted)),
        Some(SeccompChoice::File(path)) => Some(seccomp_file::read(path, &granted)?),
    };
    if options.privileged {
        linux.resources.get_or_insert_default().devices =
            vec![DeviceRule { allow: true, access: Some("rwm".to_owned()), ..DeviceRule::default() }];
        linux.devices.extend(devices::of_the_host());
    }
    hide(options, linux, hidden);
    for (name, value) in &options.sysctls {
        super::sysctl::check(name, users, linux)?;
        linux.sysctl.insert(name.clone(), value.clone());
    }
    Ok(())
}

/// What may be written to, and how procfs is mounted.
fn mounts(options: &SecurityOptions, spec: &mut Spec) {
    for mount in &mut spec.mounts {
        let writable = match mount.destination.as_str() {
            "/sys" => options.privileged,
            "/sys/fs/cgroup" => {
                options.privileged
                    || options.writable_cgroups
                    || (!options.unmask.all && options.unmask.covers("/sys/fs/cgroup"))
            }
            "/proc" => {
                mount.options.get_or_insert_default().extend(options.proc_options.iter().cloned());
                false
            }
            _ => false,
        };
        if writable {
            mount.options.get_or_insert_default().retain(|option| option != "ro");
        }
    }
}

fn bit(name: &str) -> u64 {
    1 << capability::number(name).expect("a capability of this table")
}

/// Sets the capabilities and returns their names.
fn grant(options: &SecurityOptions, users: WhoseUsers, process: &mut Process) -> Result<Vec<String>> {
    let default = CAPABILITIES.iter().map(|name| bit(name)).fold(0, |set, bit| set | bit);
    let (add, drop) = (options.add_capabilities, options.drop_capabilities);
    // Looked up only where it decides.
    let held = if options.privileged || !add.is_empty() { held(users)? } else { default };
    if let Some(lacking) = (0..64).find(|number| add.named & !held & (1 << number) != 0) {
        let error = Error::new(
            ErrorKind::Permission,
            "--cap-add",
            format!("`{}` is not this rabbitc's to give", capability::NAMES[lacking]),
        );
        return Err(error.with_hint(
            "it lacks the capability itself (CapBnd in /proc/self/status), as in a container or a virtual machine",
        ));
    }
    let granted = if add.all {
        held & !drop.named
    } else if drop.all {
        add.named
    } else {
        let basis = if options.privileged { held } else { default };
        (basis & !drop.named) | add.named
    };
    process.capabilities = Some(sets(granted, add.named, process.user.uid));
    Ok(names(granted))
}

/// Names of capabilities, of which each is a bit.
fn names(bits: u64) -> Vec<String> {
    let known = capability::NAMES.iter().enumerate();
    known.filter(|(number, _)| bits & (1 << number) != 0).map(|(_, name)| format!("CAP_{name}")).collect()
}

/// What user `uid` has of what was granted. Root has it by itself. Another one has what was named for him: file capabilities and
/// set-user-ID programs, which would be the other way to them, give nothing under no_new_privs.
fn sets(granted: u64, named: u64, uid: u32) -> Capabilities {
    let usable = if uid == 0 { granted } else { granted & named };
    let ambient = if uid == 0 { 0 } else { usable };
    Capabilities {
        bounding: names(granted),
        effective: names(usable),
        permitted: names(usable),
        inheritable: names(ambient),
        ambient: names(ambient),
    }
}

/// Which capabilities a further process of a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// The container's.
    Containers,
    /// All that can be given where the container has the caller's users.
    All,
    /// All that there are, as the container has users of its own.
    AllOverOwnUsers,
}

/// Gives a further process of a container its capabilities, by whom it runs as. `named` are those that any user has.
pub(crate) fn give_rights(process: &mut Process, named: u64, rights: Rights) -> Result<()> {
    let of_container = || {
        let bounding = process.capabilities.iter().flat_map(|sets| &sets.bounding);
        let numbers = bounding.filter_map(|name| capability::number(name));
        numbers.fold(0, |set, number| set | 1 << number)
    };
    let granted = match rights {
        Rights::Containers => of_container(),
        Rights::All => held(WhoseUsers::Callers)?,
        Rights::AllOverOwnUsers => held(WhoseUsers::Own)?,
    };
    process.capabilities = Some(sets(granted, named, process.user.uid));
    if rights != Rights::Containers {
        // As docker has it.
        process.apparmor_profile = None;
    }
    Ok(())
}

/// The capabilities that a container can have here.
fn held(users: WhoseUsers) -> Result<u64> {
    let known = (1 << (capability::last() + 1).min(capability::NAMES.len() as u32)) - 1;
    if users == WhoseUsers::Own {
        // Whoever makes a user namespace has all of them in it (user_namespaces(7)).
        return Ok(known);
    }
    let path = std::path::Path::new("/proc/self/status");
    let text = std::fs::read_to_string(path).map_err(|error| Error::at_path("read", path, error))?;
    let set = |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or_default()
    };
    Ok(known & set("CapPrm:") & set("CapBnd:"))
}

fn hide(options: &SecurityOptions, linux: &mut Linux, hidden: &[String]) {
    let (mut masked, mut read_only) = (Vec::new(), Vec::new());
    if !options.privileged {
        masked.extend(MASKED.iter().map(|&path| path.to_owned()));
        if options.label.nested {
            masked.retain(|path| path != "/sys/fs/selinux");
        }
        masked.extend(thermal_throttle());
        read_only.extend(READ_ONLY.iter().map(|&path| path.to_owned()));
        if options.unmask != Default::default() {
            masked.retain(|path| !options.unmask.covers(path));
            read_only.retain(|path| !options.unmask.covers(path));
        }
    }
    masked.extend(hidden.iter().cloned());
    masked.extend(options.mask.iter().cloned());
    linux.masked_paths = masked;
    linux.readonly_paths = read_only;
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

/// Names the flag where the plan refuses what only one flag can have asked for.
pub(super) fn name_flags(error: Error, options: &SecurityOptions) -> Error {
    match flag(&error.operation, options) {
        Some(flag) => {
            let hint = "change the rule in the file, or use the built-in profile with `seccomp=builtin`";
            error.from_field(flag).with_hint(hint)
        }
        None => error,
    }
}

/// What has no effect in a profile, with the flag; which part of the file it is, only the field says.
pub(super) fn warning(warning: &Warning, options: &SecurityOptions) -> Option<String> {
    flag(&warning.field, options).map(|flag| format!("{flag}: {warning}"))
}

/// The flag that gave what a field begins in.
fn flag(field: &str, options: &SecurityOptions) -> Option<&'static str> {
    let from_file = matches!(options.seccomp, Some(SeccompChoice::File(_)));
    (from_file && field.starts_with("linux.seccomp")).then_some("--security-opt seccomp")
}

#[cfg(test)]
mod tests {
    use runtime::spec::User;

    use super::*;
    use crate::options::CapabilityList;

    fn given(options: &SecurityOptions, uid: u32) -> Capabilities {
        let mut process = Process { user: User { uid, ..User::default() }, ..Process::default() };
        // With users of its own, so that what the machine holds does not matter.
        grant(options, WhoseUsers::Own, &mut process).expect("legal");
        process.capabilities.expect("set")
    }

    fn list(names: &[&str]) -> CapabilityList {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        CapabilityList::parse("--cap-add", &names).expect("legal")
    }

    fn granted(add: &[&str], drop: &[&str], privileged: bool) -> Vec<String> {
        let options = SecurityOptions {
            add_capabilities: list(add),
            drop_capabilities: list(drop),
            privileged,
            ..SecurityOptions::default()
        };
        given(&options, 0).bounding
    }

    #[test]
    fn dropping_all_and_adding_some_leaves_those() {
        assert_eq!(granted(&["NET_RAW", "kill"], &["ALL"], false), ["CAP_KILL", "CAP_NET_RAW"]);
        assert_eq!(granted(&[], &["ALL"], false), Vec::<String>::new());
        assert_eq!(granted(&[], &["ALL"], true), Vec::<String>::new());
    }

    #[test]
    fn adding_all_and_dropping_some_leaves_the_others() {
        let all = granted(&["ALL"], &["SYS_ADMIN"], false);
        assert!(all.len() > 11 && !all.contains(&"CAP_SYS_ADMIN".to_owned()), "{all:?}");
        assert_eq!(granted(&[], &["SYS_ADMIN"], true), all);
    }

    #[test]
    fn added_capabilities_join_the_default_ones_and_dropped_ones_leave() {
        let default = granted(&[], &[], false);
        assert_eq!(default.len(), 11);
        let changed = granted(&["NET_RAW"], &["SETFCAP", "MKNOD"], false);
        assert_eq!(changed.len(), 11);
        assert!(changed.contains(&"CAP_NET_RAW".to_owned()));
        assert!(!changed.contains(&"CAP_SETFCAP".to_owned()));
    }

    #[test]
    fn user_other_than_root_has_only_what_was_named() {
        let sets_of = |add: &[&str]| {
            given(&SecurityOptions { add_capabilities: list(add), ..SecurityOptions::default() }, 1000)
        };
        let plain = sets_of(&[]);
        assert_eq!(plain.bounding.len(), 11);
        assert_eq!((plain.effective.len(), plain.permitted.len(), plain.ambient.len()), (0, 0, 0));
        let named = sets_of(&["NET_BIND_SERVICE"]);
        assert_eq!(named.ambient, ["CAP_NET_BIND_SERVICE"]);
        assert_eq!(named.effective, named.ambient);
        assert!(sets_of(&["ALL"]).ambient.is_empty());
    }

    #[test]
    fn unmasked_paths_are_shown_and_masked_ones_hidden() {
        let hidden = |options: &[&str], privileged: bool| {
            let mut security = SecurityOptions { privileged, ..SecurityOptions::default() };
            options.iter().for_each(|option| security.apply(option).expect("legal"));
            let mut linux = Linux::default();
            hide(&security, &mut linux, &["/run/own".to_owned()]);
            (linux.masked_paths, linux.readonly_paths)
        };
        let (masked, read_only) = hidden(&["unmask=/proc/*", "mask=/etc/secret"], false);
        assert!(masked.contains(&"/sys/firmware".to_owned()) && masked.contains(&"/etc/secret".to_owned()));
        assert!(!masked.contains(&"/proc/kcore".to_owned()) && read_only.is_empty());
        // Our own state is nobody's to see.
        assert_eq!(hidden(&["unmask=ALL"], false).0, ["/run/own"]);
        assert_eq!(hidden(&["mask=/x"], true), (vec!["/run/own".to_owned(), "/x".to_owned()], vec![]));
    }
}
