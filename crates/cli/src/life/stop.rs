//! `rabbitc stop` and `rename`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use engine::{
    Error, ErrorKind, Kept, KeptState, Patience, Result, StopRequest, Stopped, parse_seconds, parse_signal,
};

use super::{PlaceArguments, each, filtered, find_all, latest};
use crate::containers::read_id;
use crate::render;

/// How a container is asked to stop.
#[derive(Debug, Args)]
pub(crate) struct Timing {
    /// Seconds until it is killed; -1 is for ever [default: the container's own, 10]
    #[arg(
        short = 't',
        long,
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<String>,
    /// Signal that asks it to stop [default: the container's own, TERM]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
}

impl Timing {
    pub(super) fn request(&self) -> Result<StopRequest> {
        let patience = match &self.time {
            Some(text) => Some(match parse_seconds("--time", text)? {
                Some(patience) => Patience::For(patience),
                None => Patience::Endless,
            }),
            None => None,
        };
        let signal = self.signal.as_deref().map(|text| parse_signal("--signal", text)).transpose()?;
        Ok(StopRequest { signal, patience })
    }
}

/// Stops containers: asks them to end, and kills them where they don't.
#[derive(Debug, Parser)]
#[command(name = "rabbitc stop", max_term_width = 100)]
pub(crate) struct StopArguments {
    /// Their names, ids, or the beginnings of these
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
    /// All that run
    #[arg(short, long)]
    all: bool,
    /// Nothing is wrong with one that is not there
    #[arg(short, long)]
    ignore: bool,
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

/// Gives a container another name.
#[derive(Debug, Parser)]
#[command(name = "rabbitc rename", max_term_width = 100)]
pub(crate) struct RenameArguments {
    /// Its name, id, or the beginning of it
    #[arg(value_name = "CONTAINER")]
    name: String,
    /// What it is to be called
    #[arg(value_name = "NAME")]
    new: String,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn stop(arguments: &StopArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let request = arguments.timing.request()?;
    let mut code = ExitCode::SUCCESS;
    let mut named = Vec::new();
    let mut names = arguments.names.clone();
    for path in &arguments.cidfile {
        match read_id(path) {
            Ok(id) => names.push(id),
            Err(error) if arguments.ignore && error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if arguments.ignore {
        let found = names.iter().map(|name| (name.clone(), containers.find_living(name, &paths)));
        for (name, found) in found {
            match found {
                Ok(kept) => named.push((name, kept)),
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    } else {
        named = find_all(&containers, &paths, &names, &mut code);
    }
    if arguments.latest {
        named.push(latest(&containers, &paths)?);
    }
    if arguments.all || !arguments.filter.is_empty() {
        let runs = |one: &Kept| matches!(one.state, KeptState::Running | KeptState::Restarting { .. });
        let matching = filtered(&containers, &paths, &arguments.filter)?;
        named.extend(matching.into_iter().filter(runs).map(|one| (one.id.clone(), one)));
    } else if arguments.names.is_empty() && arguments.cidfile.is_empty() && !arguments.latest {
        return Err(Error::invalid("rabbitc stop", "a container is to be named".to_owned())
            .with_hint("`rabbitc ps` lists those that run; `--all` stops all of them"));
    }
    // All at once: each may take its seconds.
    let done = if named.len() < 2 {
        each(&named, |kept| containers.stop(kept, request, &paths).map(|stopped| told(kept, stopped)))?
    } else {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let begun: Vec<_> = named
                .iter()
                .map(|(_, kept)| scope.spawn(|| containers.stop(kept, request, &paths)))
                .collect();
            begun.into_iter().map(|one| one.join().expect("it does not panic")).collect()
        });
        let mut outcomes = outcomes.into_iter();
        each(&named, |kept| outcomes.next().expect("one for each").map(|stopped| told(kept, stopped)))?
    };
    Ok(if code == ExitCode::SUCCESS { done } else { code })
}

/// Says of a container that had to be killed that it had to be, as podman does: what it wanted to write last may be lost.
pub(super) fn told(kept: &Kept, stopped: Stopped) -> ExitCode {
    if let Stopped::Killed { asked, patience } = stopped {
        let seconds = patience.as_secs();
        render::warning(&format!(
            "StopSignal {asked} failed to stop container {} in {seconds} seconds, resorting to SIGKILL",
            kept.name
        ));
    }
    ExitCode::SUCCESS
}

pub(super) fn rename(arguments: &RenameArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let kept = containers.find_living(&arguments.name, &paths)?;
    containers.rename(&kept, &arguments.new)?;
    Ok(ExitCode::SUCCESS)
}
