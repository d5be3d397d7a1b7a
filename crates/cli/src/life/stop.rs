//! `rabbitc stop` and `rename`.

use std::process::ExitCode;

use clap::{Args, Parser};
use engine::{Kept, Patience, Result, StopRequest, Stopped, parse_seconds, parse_signal};

use super::PlaceArguments;
use super::targets::{Missing, Others, TargetArguments, Targets};
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
    /// All that run
    #[arg(short, long)]
    all: bool,
    /// Nothing is wrong with one that is not there
    #[arg(short, long)]
    ignore: bool,
    #[command(flatten)]
    timing: Timing,
    #[command(flatten)]
    targets: TargetArguments,
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
    let request = arguments.timing.request()?;
    let others = if arguments.all { Others::Wanted } else { Others::ByFilter };
    let missing = if arguments.ignore { Missing::Ignored } else { Missing::Told };
    let targets = arguments.targets.find("stop", others, missing, |kept| kept.state.is_up())?;
    let Targets { containers, paths, named, .. } = &targets;
    // All at once: each may take its seconds.
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let stop = |kept| move || containers.stop(kept, request, paths);
        let begun: Vec<_> = named.iter().map(|(_, kept)| scope.spawn(stop(kept))).collect();
        begun.into_iter().map(|one| one.join().expect("it does not panic")).collect()
    });
    let mut outcomes = outcomes.into_iter();
    targets.each(|kept| {
        tell(kept, outcomes.next().expect("one for each")?);
        Ok(ExitCode::SUCCESS)
    })
}

/// Says of a container that had to be killed that it had to be, as podman does: what it wanted to write last may be lost.
pub(crate) fn tell(kept: &Kept, stopped: Stopped) {
    if let Stopped::Killed { asked, patience } = stopped {
        let seconds = patience.as_secs();
        render::warning(&format!(
            "StopSignal {asked} failed to stop container {} in {seconds} seconds, resorting to SIGKILL",
            kept.name
        ));
    }
}

pub(super) fn rename(arguments: &RenameArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let kept = containers.find_living(&arguments.name, &paths)?;
    containers.rename(&kept, &arguments.new, &paths)?;
    Ok(ExitCode::SUCCESS)
}
