//! The program: its arguments, environment and terminal.

use runtime::spec::{ConsoleSize, Process, User};

use crate::options::{RunOptions, TerminalMode};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `process`, but for its rights.
pub(super) fn process(options: &RunOptions) -> Process {
    let console_size = match options.process.terminal {
        TerminalMode::New(height, width) => Some(ConsoleSize { height, width }),
        TerminalMode::Inherit => None,
    };
    Process {
        terminal: options.process.terminal != TerminalMode::Inherit,
        console_size,
        user: User::default(),
        args: options.process.command.clone(),
        env: environment(options),
        cwd: "/".to_owned(),
        ..Process::default()
    }
}

fn environment(options: &RunOptions) -> Vec<String> {
    let mut environment = vec![PATH.to_owned(), format!("HOSTNAME={}", options.namespaces.hostname)];
    if options.process.terminal != TerminalMode::Inherit {
        environment.push("TERM=xterm".to_owned());
    }
    environment.push("HOME=/root".to_owned());
    for entry in &options.process.environment {
        let name = entry.split('=').next().unwrap_or_default();
        environment.retain(|known| known.split('=').next() != Some(name));
        environment.push(entry.clone());
    }
    environment
}
