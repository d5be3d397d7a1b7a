//! `rabbitc start` and `restart`.

use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Parser;
use engine::{EnginePaths, Error, ErrorKind, Kept, KeptContainers, KeptState, Result, Started};
use sys::signal::SignalDescriptor;

use super::attach::{BondArguments, Streams, follow, pair};
use super::stop::{Timing, tell};
use super::targets::{Missing, Others, TargetArguments, Targets};
use crate::manner::exit_code;

/// Starts containers that were made, or have ended.
#[derive(Debug, Parser)]
#[command(name = "rabbitc start", max_term_width = 100)]
pub(crate) struct StartArguments {
    /// All that don't run
    #[arg(long)]
    all: bool,
    /// Show its output, pass signals on, and end with its exit code
    #[arg(short, long)]
    attach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    bond: BondArguments,
    #[command(flatten)]
    targets: TargetArguments,
}

/// Stops containers and starts them again.
#[derive(Debug, Parser)]
#[command(name = "rabbitc restart", max_term_width = 100)]
pub(crate) struct RestartArguments {
    /// All that there are
    #[arg(short, long)]
    all: bool,
    /// All that run
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    timing: Timing,
    #[command(flatten)]
    targets: TargetArguments,
}

pub(super) fn start(arguments: &StartArguments) -> Result<ExitCode> {
    let others = if arguments.all { Others::Wanted } else { Others::ByFilter };
    let stands = |kept: &Kept| kept.state != KeptState::Running;
    let targets = arguments.targets.find("start", others, Missing::Told, stands)?;
    let Targets { containers, paths, named, .. } = &targets;
    if !arguments.attach && !arguments.interactive {
        return targets.each(|kept| begin(containers, kept, paths));
    }
    let [(_, kept)] = &named[..] else {
        if named.is_empty() {
            return Ok(targets.code());
        }
        let error = Error::invalid("--attach", "only one container can be attached to".to_owned());
        return Err(error.with_hint("name one, or leave `--attach` and `--interactive` out"));
    };
    let (signals, _) = SignalDescriptor::block_and_open()
        .map_err(|error| Error::system("open a signal descriptor", error))?;
    let bond = arguments.bond.read()?;
    let (ours, theirs) = pair()?;
    containers.tell_attached(&kept.id);
    match containers.start(&kept.id, Some(theirs), paths)? {
        Started::Now => {
            let streams = Streams::of_start(arguments.interactive, kept.has_terminal());
            follow(containers, &kept.id, paths, ours.as_fd(), &signals, streams, bond)
        }
        Started::Before => {
            let error =
                Error::new(ErrorKind::WrongStatus, format!("start `{}`", kept.name), "it runs already");
            Err(error.with_hint(format!("`rabbitc attach {}` shows its output", kept.name)))
        }
        Started::Failed(code) => Ok(ExitCode::from(code as u8)),
    }
}

/// Starts it, and answers the command's exit code.
fn begin(containers: &KeptContainers, kept: &Kept, paths: &EnginePaths) -> Result<ExitCode> {
    Ok(match containers.start(&kept.id, None, paths)? {
        Started::Now | Started::Before => ExitCode::SUCCESS,
        Started::Failed(code) => exit_code(code as u8, crate::FAILED),
    })
}

pub(super) fn restart(arguments: &RestartArguments) -> Result<ExitCode> {
    let request = arguments.timing.request()?;
    let (others, is_meant): (_, fn(&Kept) -> bool) = match (arguments.all, arguments.running) {
        (true, _) => (Others::Wanted, |_| true),
        (false, true) => (Others::Wanted, |kept| kept.state == KeptState::Running),
        (false, false) => (Others::ByFilter, |_| true),
    };
    let targets = arguments.targets.find("restart", others, Missing::Told, is_meant)?;
    let Targets { containers, paths, .. } = &targets;
    targets.each(|kept| {
        tell(kept, containers.stop(kept, request, paths)?);
        let code = begin(containers, kept, paths)?;
        if code == ExitCode::SUCCESS {
            containers.tell_restarted(kept);
        }
        Ok(code)
    })
}
