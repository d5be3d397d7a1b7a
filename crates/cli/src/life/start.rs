//! `rabbitc start` and `restart`.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use engine::{Error, ErrorKind, KeptState, Result, Started};
use sys::signal::SignalDescriptor;

use super::attach::{Streams, follow, pair, parse_keys};
use super::stop::{Timing, told};
use super::{PlaceArguments, each, filtered, find_all, latest};
use crate::containers::read_id;

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
    /// Only those of which this holds, as for `rabbitc ps`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
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
    /// Only those of which this holds, as for `rabbitc ps`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// A file that an id stands in, as `run --cidfile` writes it; may be repeated
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    timing: Timing,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn start(arguments: &StartArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let mut code = ExitCode::SUCCESS;
    if arguments.all && !arguments.names.is_empty() {
        let reason = "either start all containers or the container(s) provided in the arguments";
        let error = Error::invalid("rabbitc start", reason.to_owned());
        return Err(error.with_hint("leave `--all` out, or the containers"));
    }
    let mut named = find_all(&containers, &paths, &arguments.names, &mut code);
    if arguments.latest {
        named.push(latest(&containers, &paths)?);
    }
    // As with podman: the filter chooses among those that are named, or among all.
    if !arguments.filter.is_empty() {
        let matching = filtered(&containers, &paths, &arguments.filter)?;
        match arguments.names.is_empty() && !arguments.latest {
            true => named = matching.into_iter().map(|one| (one.id.clone(), one)).collect(),
            false => named.retain(|(_, kept)| matching.iter().any(|one| one.id == kept.id)),
        }
    } else if arguments.all {
        named = containers.living(&paths)?.into_iter().map(|one| (one.id.clone(), one)).collect();
    } else if arguments.names.is_empty() && !arguments.latest {
        return Err(Error::invalid("rabbitc start", "a container is to be named".to_owned())
            .with_hint("`rabbitc ps -a` lists those that there are"));
    }
    if arguments.all {
        named.retain(|(_, one)| one.state != KeptState::Running);
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
    let mut names = arguments.names.clone();
    for path in &arguments.cidfile {
        names.push(read_id(path)?);
    }
    let mut named = find_all(&containers, &paths, &names, &mut code);
    if arguments.latest {
        named.push(latest(&containers, &paths)?);
    }
    if arguments.all || arguments.running {
        let others = containers.living(&paths)?.into_iter();
        let wanted = others.filter(|one| arguments.all || one.state == KeptState::Running);
        named.extend(wanted.map(|one| (one.id.clone(), one)));
    } else if !arguments.filter.is_empty() {
        let matching = filtered(&containers, &paths, &arguments.filter)?;
        match named.is_empty() && names.is_empty() {
            true => named = matching.into_iter().map(|one| (one.id.clone(), one)).collect(),
            false => named.retain(|(_, kept)| matching.iter().any(|one| one.id == kept.id)),
        }
    } else if names.is_empty() && !arguments.latest {
        return Err(Error::invalid("rabbitc restart", "a container is to be named".to_owned())
            .with_hint("`rabbitc ps -a` lists those that there are"));
    }
    let request = arguments.timing.request()?;
    let done = each(&named, |kept| {
        told(kept, containers.stop(kept, request, &paths)?);
        Ok(match containers.start(&kept.id, None, &paths)? {
            Started::Now | Started::Before => ExitCode::SUCCESS,
            Started::Failed(code) => ExitCode::from(code as u8),
        })
    })?;
    Ok(if code == ExitCode::SUCCESS { done } else { code })
}
