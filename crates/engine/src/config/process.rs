//! The program: who runs it, its arguments, environment and terminal.

use std::collections::BTreeMap;

use runtime::plan::Warning;
use runtime::spec::{ConsoleSize, IdMapping, Process, Spec, User};

use crate::accounts::Account;
use crate::error::Error;
use crate::options::{ProcessOptions, ProgramSource, RunOptions, TerminalMode};
use crate::rootless::Unprivileged;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The annotation by which crun keeps the caller's groups, and `runtime` too.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// `process`, but for its rights.
pub(super) fn process(options: &RunOptions, account: &Account) -> Process {
    let console_size = match options.process.terminal {
        TerminalMode::New(height, width) => Some(ConsoleSize { height, width }),
        TerminalMode::Inherit => None,
    };
    Process {
        terminal: options.process.terminal != TerminalMode::Inherit,
        console_size,
        user: User {
            uid: account.uid,
            gid: account.gid,
            umask: options.process.umask,
            additional_gids: if options.process.keep_groups { Vec::new() } else { account.groups.clone() },
        },
        args: options.process.command.clone(),
        env: environment(options, account),
        cwd: options.process.directory.clone(),
        ..Process::default()
    }
}

fn environment(options: &RunOptions, account: &Account) -> Vec<String> {
    let asked = &options.process;
    let mut environment = Vec::new();
    if !asked.without_defaults {
        environment.extend([PATH.to_owned(), format!("HOSTNAME={}", options.namespaces.hostname())]);
        if asked.terminal != TerminalMode::Inherit {
            environment.push("TERM=xterm".to_owned());
        }
        environment.push(format!("HOME={}", account.home));
    }
    let name_of = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    environment.retain(|known| !asked.unset.contains(&name_of(known)));
    for entry in &asked.environment {
        environment.retain(|known| name_of(known) != name_of(entry));
        environment.push(entry.clone());
    }
    environment
}

/// The variables that docker shows of a container: those that were asked for, and where it looks for programs.
pub(crate) fn shown_environment(asked: &ProcessOptions) -> Vec<String> {
    let is_path = |entry: &String| entry.split('=').next() == Some("PATH");
    let path = (!asked.leaves_out("PATH") && !asked.environment.iter().any(is_path)).then(|| PATH.to_owned());
    path.into_iter().chain(asked.environment.iter().cloned()).collect()
}

/// What asked for the program.
pub(super) fn source(options: &ProcessOptions) -> &'static str {
    match options.source {
        ProgramSource::Default => "default",
        ProgramSource::Cmd => "--cmd",
        ProgramSource::Entrypoint => "--entrypoint",
        ProgramSource::Words => "the command line",
        ProgramSource::Image => super::IMAGE,
    }
}

/// The refusal of a user or group that the container's user namespace lacks: the flag, who there is, and what helps.
pub(super) fn name_flags(
    error: Error,
    options: &ProcessOptions,
    spec: &Spec,
    caller: Option<&Unprivileged>,
) -> Error {
    let Some(field) = error.operation.strip_prefix("process.user.") else { return error };
    let (Some(linux), Some(process)) = (&spec.linux, &spec.process) else { return error };
    let (what, maps) = match field {
        "uid" => ("user", &linux.uid_mappings),
        _ => ("group", &linux.gid_mappings),
    };
    let flag = flag(field, options).unwrap_or("--uidmap, --gidmap");
    let id = match field {
        "uid" => process.user.uid,
        "gid" => process.user.gid,
        _ => process.user.additional_gids.iter().copied().find(|id| !has(maps, *id)).unwrap_or_default(),
    };
    let there = maps.iter().map(shown).collect::<Vec<_>>().join(", ");
    let single = caller.and_then(Unprivileged::single);
    let reason = match &single {
        Some(single) => format!("there is no {what} {id}, as {}", single.what),
        None => format!("{what} {id} does not exist in this container's user namespace, which has {there}"),
    };
    let hint = match (single.and_then(|single| single.remedy), caller) {
        (Some(remedy), _) => remedy,
        (None, Some(_)) => {
            format!("choose one of {there}, or have root grant more ids in /etc/subuid and /etc/subgid")
        }
        (None, None) => {
            format!(
                "choose one of {there}, or map more with `--userns=auto:size=N`, or `--uidmap` and `--gidmap`"
            )
        }
    };
    Error::invalid(flag, reason).with_hint(hint)
}

/// What is left out of the user, in the words of the command line. Without a flag, root's groups are those of the root's
/// own /etc/group.
pub(super) fn warning(warning: &Warning, options: &ProcessOptions) -> Option<String> {
    let field = warning.field.strip_prefix("process.user.")?;
    Some(format!("{}: {}", flag(field, options).unwrap_or("--user"), warning.what))
}

/// The flag that was given for a field of the user.
fn flag(field: &str, options: &ProcessOptions) -> Option<&'static str> {
    match field {
        "additionalGids" if !options.groups.is_empty() => Some("--group-add"),
        _ => options.user.as_ref().map(|_| options.user_origin()),
    }
}

fn has(maps: &[IdMapping], id: u32) -> bool {
    IdMapping::host_id(maps, id).is_some()
}

fn shown(map: &IdMapping) -> String {
    match map.size {
        1 => map.container_id.to_string(),
        size => format!("{}-{}", map.container_id, map.container_id + (size - 1)),
    }
}

/// Annotations that were asked for, and those that stand for a flag.
pub(super) fn annotations(options: &ProcessOptions) -> BTreeMap<String, String> {
    let mut annotations = options.annotations.clone();
    if options.keep_groups {
        annotations.insert(KEEP_GROUPS.to_owned(), "1".to_owned());
    }
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_replaces_defaults_and_what_is_unset_is_none() {
        let mut options = RunOptions::default();
        options.process.environment = ["A=1", "PATH=/x", "A=2"].map(str::to_owned).to_vec();
        options.process.unset = vec!["HOSTNAME".to_owned(), "A".to_owned()];
        assert_eq!(environment(&options, &Account::root()), ["HOME=/root", "PATH=/x", "A=2"]);
        options.process.without_defaults = true;
        assert_eq!(environment(&options, &Account::root()), ["PATH=/x", "A=2"]);
    }
}
