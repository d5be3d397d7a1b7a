//! `rabbitc kill`, `pause` and `unpause`.

use std::process::ExitCode;

use clap::Parser;
use engine::{Error, Result, Signal, parse_signal};

use super::mistaken;
use super::targets::{All, Targets};

/// Sends a signal to the first process of containers.
#[derive(Debug, Parser)]
#[command(name = "rabbitc kill", max_term_width = 100)]
pub(crate) struct KillArguments {
    /// Which signal: a name such as `TERM` or `SIGUSR1`, or a number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", allow_hyphen_values = true)]
    signal: String,
    /// To all that run
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    targets: Targets,
}

/// Makes all processes of containers stand still.
#[derive(Debug, Parser)]
#[command(name = "rabbitc pause", max_term_width = 100)]
pub(crate) struct PauseArguments {
    /// All that run
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    targets: Targets,
}

/// Lets the processes of containers that are paused go on.
#[derive(Debug, Parser)]
#[command(name = "rabbitc unpause", max_term_width = 100)]
pub(crate) struct UnpauseArguments {
    /// All that are paused
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    targets: Targets,
}

pub(super) fn kill(arguments: &KillArguments) -> ExitCode {
    let signal = match signal(&arguments.signal) {
        Ok(signal) => signal,
        Err(error) => return mistaken(&error),
    };
    let all = if arguments.all { All::Running } else { All::No };
    arguments.targets.each("kill", all, |found| found.kill(signal))
}

/// Podman takes a dash before it, as kill(1) does.
fn signal(text: &str) -> Result<Signal> {
    let signal = parse_signal("--signal", text.strip_prefix('-').unwrap_or(text))?;
    match signal == Signal::NONE {
        true => Err(Error::invalid("--signal", format!("invalid signal: {text}"))
            .with_hint("write a name such as `TERM`, or a number from 1 to 64")),
        false => Ok(signal),
    }
}

pub(super) fn pause(arguments: &PauseArguments) -> ExitCode {
    let all = if arguments.all { All::Unpaused } else { All::No };
    arguments.targets.each("pause", all, engine::Found::pause)
}

pub(super) fn unpause(arguments: &UnpauseArguments) -> ExitCode {
    let all = if arguments.all { All::Paused } else { All::No };
    arguments.targets.each("unpause", all, engine::Found::unpause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_taken_with_a_dash_and_none_is_refused() {
        for text in ["TERM", "SIGTERM", "15", "-15", "-TERM"] {
            assert_eq!(signal(text).expect(text), Signal::TERM);
        }
        for text in ["0", "-0", "65", "", "-", "BAD"] {
            assert!(signal(text).is_err(), "{text}");
        }
    }
}
