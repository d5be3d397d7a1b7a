//! The program, as typed.

use clap::Args;
use engine::{Error, ProcessOptions, Result, TerminalMode};

/// The program and what it is given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Program")]
pub(crate) struct ProcessArguments {
    /// Program to run, with arguments as a shell would split them [default: /bin/sh]
    #[arg(short = 'c', long, value_name = "COMMAND")]
    pub(crate) cmd: Option<String>,
    /// Set a variable of the program's environment
    #[arg(short = 'e', long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
}

impl ProcessArguments {
    /// What they mean; `arguments` are those behind `--`.
    pub(crate) fn options(&self, terminal: TerminalMode, arguments: &[String]) -> Result<ProcessOptions> {
        Ok(ProcessOptions { command: self.command(arguments)?, terminal, environment: self.environment()? })
    }

    fn command(&self, arguments: &[String]) -> Result<Vec<String>> {
        let mut command = match &self.cmd {
            Some(text) => shlex::split(text).ok_or_else(|| {
                let error = Error::invalid("--cmd", format!("`{text}` has a quote that does not end"));
                error.with_hint("close the quote, or put a backslash before it")
            })?,
            None if arguments.is_empty() => vec!["/bin/sh".to_owned()],
            None => Vec::new(),
        };
        if self.cmd.is_some() && command.is_empty() {
            let error = Error::invalid("--cmd", "is empty".to_owned());
            return Err(error.with_hint("name a program, or leave it out to get `/bin/sh`"));
        }
        command.extend(arguments.iter().cloned());
        Ok(command)
    }

    /// A name without a value is taken from the caller's environment, as docker does.
    fn environment(&self) -> Result<Vec<String>> {
        let mut environment = Vec::new();
        for entry in &self.env {
            match entry.split_once('=') {
                Some(("", _)) => {
                    let error = Error::invalid("--env", format!("`{entry}` has no name"));
                    return Err(error.with_hint("write `NAME=value`, or `NAME` to take the caller's value"));
                }
                Some(_) => environment.push(entry.clone()),
                None => environment.extend(std::env::var(entry).ok().map(|value| format!("{entry}={value}"))),
            }
        }
        Ok(environment)
    }
}
