//! `rabbitc start` and `restart`.

use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Parser;
use engine::{Error, ErrorKind, KeptState, Result, Started};
use sys::signal::SignalDescriptor;

use super::attach::{Streams, follow, pair, parse_keys};
use super::stop::Timing;
use super::{PlaceArguments, each, find_all};

/// Starts containers that were made, or have ended.
#[derive(Debug, Parser)]
#[command(name = "rabbitc start", max_term_width = 100)]
pub(crate) struct StartArguments {
    /// Their names, ids, or the beginnings of these
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
    /// All that don't run
    #[arg(long)]
    all: bool,
    /// Show its output, pass signals on, and end with its exit code
    #[arg(short, long)]
    attach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave it alone [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Pass signals on to the program
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_possible_values = true)]
    sig_proxy: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Stops containers and starts them again.
#[derive(Debug, Parser)]
#[command(name = "rabbitc restart", max_term_width = 100)]
pub(crate) struct RestartArguments {
    /// Their names, ids, or the beginnings of these
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
    /// All that there are
    #[arg(short, long)]
    all: bool,
    /// All that run
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    timing: Timing,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn start(arguments: &StartArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let mut code = ExitCode::SUCCESS;
    let mut named = find_all(&containers, &paths, &arguments.names, &mut code);
    if arguments.all {
        let others = containers.living(&paths)?.into_iter();
        named.extend(others.filter(|one| one.state != KeptState::Running).map(|one| (one.id.clone(), one)));
    } else if arguments.names.is_empty() {
        return Err(Error::invalid("rabbitc start", "a container is to be named".to_owned())
            .with_hint("`rabbitc ps -a` lists those that there are"));
    }
    if !arguments.attach && !arguments.interactive {
        let done = each(&named, |kept| {
            Ok(match containers.start(&kept.id, None, &paths)? {
                Started::Now | Started::Before => ExitCode::SUCCESS,
                Started::Failed(code) => ExitCode::from(code as u8),
            })
        })?;
        return Ok(if code == ExitCode::SUCCESS { done } else { code });
    }
    let [(_, kept)] = &named[..] else {
        if named.is_empty() {
            return Ok(code);
        }
        let error = Error::invalid("--attach", "only one container can be attached to".to_owned());
        return Err(error.with_hint("name one, or leave `--attach` and `--interactive` out"));
    };
    let (signals, _) = SignalDescriptor::block_and_open()
        .map_err(|error| Error::system("open a signal descriptor", error))?;
    let (ours, theirs) = pair()?;
    match containers.start(&kept.id, Some(theirs), &paths)? {
        Started::Now => {
            let streams = Streams::of_start(arguments.interactive, kept.has_terminal());
            let keys = parse_keys(arguments.detach_keys.as_deref())?;
            follow(&containers, &kept.id, &paths, ours.as_fd(), &signals, streams, keys, arguments.sig_proxy)
        }
        Started::Before => {
            let error =
                Error::new(ErrorKind::WrongStatus, format!("start `{}`", kept.name), "it runs already");
            Err(error.with_hint(format!("`rabbitc attach {}` shows its output", kept.name)))
        }
        Started::Failed(code) => Ok(ExitCode::from(code as u8)),
    }
}

pub(super) fn restart(arguments: &RestartArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let mut code = ExitCode::SUCCESS;
    let mut named = find_all(&containers, &paths, &arguments.names, &mut code);
    if arguments.all || arguments.running {
        let others = containers.living(&paths)?.into_iter();
        let wanted = others.filter(|one| arguments.all || one.state == KeptState::Running);
        named.extend(wanted.map(|one| (one.id.clone(), one)));
    } else if arguments.names.is_empty() {
        return Err(Error::invalid("rabbitc restart", "a container is to be named".to_owned())
            .with_hint("`rabbitc ps -a` lists those that there are"));
    }
    let request = arguments.timing.request()?;
    let done = each(&named, |kept| {
        containers.stop(kept, request, &paths)?;
        Ok(match containers.start(&kept.id, None, &paths)? {
            Started::Now | Started::Before => ExitCode::SUCCESS,
            Started::Failed(code) => ExitCode::from(code as u8),
        })
    })?;
    Ok(if code == ExitCode::SUCCESS { done } else { code })
}
