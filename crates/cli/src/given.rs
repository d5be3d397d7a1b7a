//! Which flags of this command line asked for a step. Must not read more of a value than what it is about.

use std::ffi::OsString;

/// The flags that were given, in the form `--name=value`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(Vec<String>);

impl Given {
    /// Takes the flags of a command line in its one form. An empty value is as if the flag were not there.
    pub(crate) fn new(flags: &[OsString]) -> Given {
        let texts = flags.iter().filter_map(|flag| flag.to_str());
        let said = texts.filter(|flag| flag.split_once('=').is_none_or(|(_, value)| !value.is_empty()));
        Given(said.map(str::to_owned).collect())
    }

    /// What asked for a step: its flags, as far as they were given, or `default`. `asked_by` is the step's field of the
    /// config, or a flag already.
    pub(crate) fn origin(&self, asked_by: Option<&str>) -> String {
        let asked = match asked_by {
            None => return DEFAULT.to_owned(),
            Some("the command line") => return "the words of the command line".to_owned(),
            Some(asked) => asked,
        };
        if asked.starts_with("--") && flags_of(asked).next().is_none() {
            return asked.to_owned();
        }
        let given: Vec<String> =
            flags_of(asked).filter(|flag| self.has(flag)).map(|flag| flag.replacen('=', " ", 1)).collect();
        if given.is_empty() { DEFAULT.to_owned() } else { given.join(", ") }
    }

    /// Whether a flag was given; `--name=word` is one whose value begins with this word.
    fn has(&self, flag: &str) -> bool {
        let mut rests = self.0.iter().filter_map(|given| given.strip_prefix(flag));
        rests.any(|rest| rest.is_empty() || rest.starts_with(['=', ':']))
    }
}

const DEFAULT: &str = "default";

/// Fields of the config, and every flag that can ask for one of them.
const TABLE: &[(&[&str], &[&[&str]])] = &[
    (&["--rootfs", "root.path"], &[&["--rootfs", "--overlay"]]),
    (&["root.readonly"], &[&["--read-only"]]),
    (&["hostname"], &[&["--hostname"]]),
    (&["domainname"], &[&["--domainname"]]),
    (&["network.ports"], &[&["--publish", "--publish-all"]]),
    (
        &["network"],
        &[NETWORK, &["--network-name", "--network-ip", "--container-ip", "--ip", "--mac-address"]],
    ),
    (&["linux.devices"], &[&["--device", "--privileged"]]),
    (&["linux.resources"], &[LIMITS, &["--device", "--device-cgroup-rule", "--privileged"]]),
    (&["linux.cgroupsPath"], &[&["--cgroup-parent"]]),
    (&["process.rlimits"], &[&["--ulimit"]]),
    (&["process.oomScoreAdj"], &[&["--oom-score-adj"]]),
    (&["process.capabilities"], &[&["--cap-add", "--cap-drop", "--privileged"]]),
    (&["process.noNewPrivileges"], &[&["--security-opt=no-new-privileges"]]),
    (&["linux.seccomp"], &[&["--security-opt=seccomp"]]),
    (
        &["linux.maskedPaths", "linux.readonlyPaths"],
        &[&["--security-opt=mask", "--security-opt=unmask", "--security-opt=systempaths"]],
    ),
    (&["linux.sysctl"], &[&["--sysctl"]]),
    (&["process.apparmorProfile"], &[&["--security-opt=apparmor"]]),
    (&["process.selinuxLabel", "linux.mountLabel"], &[&["--security-opt=label"]]),
    (
        &["linux.namespaces"],
        &[&["--pid", "--ipc", "--uts", "--cgroupns", "--timens", "--time-offset"], NETWORK, USERS],
    ),
    (&["linux.timeOffsets"], &[&["--time-offset"]]),
    (&["process.terminal"], &[&["--tty"]]),
    (&["process.user"], &[&["--user", "--group-add", "--userns=keep-id"]]),
    (&["process.user.umask"], &[&["--umask"]]),
    (&["process.cwd"], &[&["--workdir"]]),
    (&["linux.uidMappings", "linux.gidMappings"], &[USERS]),
    (&["process.args", "process.args[0]"], &[&["--cmd"]]),
];

const NETWORK: &[&str] = &["--network", "--net"];
const USERS: &[&str] = &["--userns", "--uidmap", "--gidmap", "--subuidname", "--subgidname"];
const LIMITS: &[&str] = &[
    "--memory",
    "--memory-reservation",
    "--memory-swap",
    "--memory-swappiness",
    "--oom-kill-disable",
    "--cpus",
    "--cpu-shares",
    "--cpu-period",
    "--cpu-quota",
    "--cpu-rt-period",
    "--cpu-rt-runtime",
    "--cpuset-cpus",
    "--cpuset-mems",
    "--pids-limit",
    "--blkio-weight",
    "--blkio-weight-device",
    "--device-read-bps",
    "--device-write-bps",
    "--device-read-iops",
    "--device-write-iops",
    "--cgroup-conf",
];

fn flags_of(field: &str) -> impl Iterator<Item = &'static str> {
    let row = TABLE.iter().find(|(fields, _)| fields.contains(&field));
    row.map_or(&[][..], |(_, flags)| flags).iter().copied().flatten().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::args::RunArguments;

    fn given(flags: &[&str]) -> Given {
        Given::new(&flags.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_was_given_asks_for_a_step() {
        let none = given(&[]);
        let some = given(&[
            "--memory=64m",
            "--pids-limit=9",
            "--hostname=",
            "--security-opt=seccomp:unconfined",
            "--security-opt=unmask=ALL",
            "--network-ip=10.0.0.1/24",
            "--rootfs=/r",
        ]);
        for (field, origin) in [
            ("linux.resources", "--memory, --pids-limit"),
            ("linux.seccomp", "--security-opt seccomp"),
            ("linux.maskedPaths", "--security-opt unmask"),
            ("network", "--network-ip"),
            ("root.path", "--rootfs"),
            ("--rootfs", "--rootfs"),
            ("hostname", "default"),
            ("process.noNewPrivileges", "default"),
            ("linux.namespaces", "default"),
            ("mounts[3]", "default"),
        ] {
            assert_eq!(some.origin(Some(field)), origin, "{field}");
            assert_eq!(none.origin(Some(field)), "default", "{field}");
        }
        assert_eq!(none.origin(Some("--volume /a:/b:ro")), "--volume /a:/b:ro");
        assert_eq!(none.origin(Some("the command line")), "the words of the command line");
        assert_eq!(none.origin(None), "default");
    }

    #[test]
    fn every_flag_of_the_table_is_one_of_the_command_line() {
        let command = RunArguments::command();
        let known: BTreeSet<String> = command
            .get_arguments()
            .filter_map(|flag| flag.get_long_and_visible_aliases())
            .flatten()
            .map(|name| format!("--{name}"))
            .collect();
        for flag in TABLE.iter().flat_map(|(_, flags)| flags.iter().copied().flatten()) {
            let name = flag.split('=').next().expect("a name");
            assert!(known.contains(name), "{flag}");
        }
    }
}
