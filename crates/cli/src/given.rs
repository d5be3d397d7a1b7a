//! Which flags of this command line asked for a step. Must not read more of a value than what it is about.

use std::ffi::OsString;

use engine::StepDescription;

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

    /// As they were given.
    pub(crate) fn flags(&self) -> &[String] {
        &self.0
    }

    /// Those that were given for a container before.
    pub(crate) fn earlier(flags: Vec<String>) -> Given {
        Given(flags)
    }

    /// Puts into the description of a step what asked for it in the words of the command line, in the place of a field of
    /// the config; nothing, where nothing was given that did.
    pub(crate) fn name(&self, step: &mut StepDescription) {
        step.asked_by = step.asked_by.as_deref().and_then(|asked| self.origin(asked));
    }

    /// What asked for a step, as far as it was given. `asked_by` is the step's field of the config, or a flag already, or
    /// something else that is said so.
    pub(crate) fn origin(&self, asked_by: &str) -> Option<String> {
        match asked_by {
            "the command line" => return Some("the words of the command line".to_owned()),
            "the image" => return Some("the image".to_owned()),
            flag if flag.starts_with("--") && flags_of(flag).next().is_none() => {
                return Some(flag.to_owned());
            }
            _ => {}
        }
        let given: Vec<String> =
            flags_of(asked_by).filter(|flag| self.has(flag)).map(|flag| flag.replacen('=', " ", 1)).collect();
        (!given.is_empty()).then(|| given.join(", "))
    }

    /// Whether a flag was given; `--name=word` is one whose value begins with this word.
    fn has(&self, flag: &str) -> bool {
        let mut rests = self.0.iter().filter_map(|given| given.strip_prefix(flag));
        rests.any(|rest| rest.is_empty() || rest.starts_with(['=', ':']))
    }
}

/// What asked for a step whose origin is named already, in words.
pub(crate) fn asked_by(step: &StepDescription) -> &str {
    step.asked_by.as_deref().unwrap_or("default")
}

/// Fields of the config, and every flag that can ask for one of them.
const TABLE: &[(&[&str], &[&[&str]])] = &[
    (&["--rootfs", "root.path"], &[&["--rootfs", "--overlay"]]),
    (&["root.readonly"], &[&["--read-only"]]),
    (&["hostname"], &[&["--hostname"]]),
    (&["domainname"], &[&["--domainname"]]),
    (&["network.ports"], &[&["--publish", "--publish-all"]]),
    (
        &["network"],
        &[
            NETWORK,
            &[
                "--network-name",
                "--network-ip",
                "--container-ip",
                "--ip",
                "--ip6",
                "--mac-address",
                "--network-alias",
                "--firewall-integrate",
            ],
        ],
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
            ("linux.resources", Some("--memory, --pids-limit")),
            ("linux.seccomp", Some("--security-opt seccomp")),
            ("linux.maskedPaths", Some("--security-opt unmask")),
            ("network", Some("--network-ip")),
            ("root.path", Some("--rootfs")),
            ("--rootfs", Some("--rootfs")),
            ("hostname", None),
            ("process.noNewPrivileges", None),
            ("linux.namespaces", None),
            ("mounts[3]", None),
            ("default", None),
        ] {
            assert_eq!(some.origin(field).as_deref(), origin, "{field}");
            assert_eq!(none.origin(field), None, "{field}");
        }
        let same = "--volume /a:/b:ro";
        assert_eq!(none.origin(same).as_deref(), Some(same));
        assert_eq!(none.origin("the image").as_deref(), Some("the image"));
        assert_eq!(none.origin("the command line").as_deref(), Some("the words of the command line"));
    }

    /// Flags that the engine itself gives as the origin of a mount, a device or the program, with their values.
    const NAMED_BY_THE_ENGINE: &[&str] = &[
        "--volume",
        "--volumes-from",
        "--mount",
        "--tmpfs",
        "--tz",
        "--device",
        "--secret",
        "--shm-size",
        "--entrypoint",
    ];

    /// Flags for which no step of the start is there that would not be without them.
    const WITHOUT_A_STEP: &[&str] = &[
        // What the command does before and after the start, and around the program.
        "--interactive",
        "--rm",
        "--rmi",
        "--sig-proxy",
        "--stop-signal",
        "--stop-timeout",
        "--timeout",
        "--cidfile",
        "--pidfile",
        "--conmon-pidfile",
        "--detach",
        "--name",
        "--pod",
        "--pod-id-file",
        "--events-backend",
        "--replace",
        "--restart",
        "--log-driver",
        "--log-opt",
        "--detach-keys",
        "--attach",
        "--health-cmd",
        "--health-interval",
        "--health-timeout",
        "--health-retries",
        "--health-start-period",
        "--health-start-interval",
        "--no-healthcheck",
        "--health-on-failure",
        "--health-log-destination",
        "--health-max-log-count",
        "--health-max-log-size",
        "--health-startup-cmd",
        "--health-startup-interval",
        "--health-startup-retries",
        "--health-startup-success",
        "--health-startup-timeout",
        "--pull",
        "--quiet",
        "--platform",
        "--arch",
        "--os",
        "--variant",
        "--creds",
        "--authfile",
        "--cert-dir",
        "--tls-verify",
        "--root",
        "--explain",
        "--state-dir",
        "--help",
        "--version",
        // What the program is given at its exec.
        "--env",
        "--env-file",
        "--env-host",
        "--http-proxy",
        "--unsetenv",
        "--unsetenv-all",
        "--preserve-fds",
        "--init",
        // Notes.
        "--label",
        "--label-file",
        "--annotation",
        // Lines of files that every container has.
        "--cni-config-dir",
        "--cni-bin-dir",
        "--dns",
        "--dns-search",
        "--dns-option",
        "--add-host",
        "--no-hosts",
        "--no-hostname",
        // About what other flags ask for.
        "--expose",
        "--read-only-tmpfs",
        // Without effect.
        "--kernel-memory",
    ];

    #[test]
    fn every_flag_of_the_command_line_is_known_here_and_no_other() {
        let command = RunArguments::command();
        let flags: Vec<Vec<String>> = command
            .get_arguments()
            .filter_map(|flag| flag.get_long_and_visible_aliases())
            .map(|names| names.iter().map(|name| format!("--{name}")).collect())
            .chain([vec!["--version".to_owned()]])
            .collect();
        let of_the_table = TABLE.iter().flat_map(|(_, flags)| flags.iter().copied().flatten());
        let of_the_table = of_the_table.map(|flag| flag.split('=').next().expect("a name"));
        let known: BTreeSet<&str> =
            of_the_table.chain(NAMED_BY_THE_ENGINE.iter().chain(WITHOUT_A_STEP).copied()).collect();
        let is_there = |name: &str| flags.iter().flatten().any(|one| one == name);
        let dead: Vec<&&str> = known.iter().filter(|name| !is_there(name)).collect();
        assert!(dead.is_empty(), "no flags: {dead:?}");
        let is_known = |names: &&Vec<String>| names.iter().any(|name| known.contains(name.as_str()));
        let unknown: Vec<&Vec<String>> = flags.iter().filter(|names| !is_known(names)).collect();
        assert!(unknown.is_empty(), "which step do they ask for? {unknown:?}");
        let twice: Vec<&&str> = WITHOUT_A_STEP
            .iter()
            .filter(|flag| TABLE.iter().any(|(_, row)| row.iter().any(|group| group.contains(*flag))))
            .collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
