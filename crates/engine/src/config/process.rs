//! The program: who runs it, its arguments, environment and terminal.

use std::collections::BTreeMap;

use runtime::spec::{ConsoleSize, Process, User};

use crate::accounts::Account;
use crate::options::{ProcessOptions, RunOptions, TerminalMode};

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
