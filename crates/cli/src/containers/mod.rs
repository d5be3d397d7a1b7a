//! The verbs that act on containers that run: `rabbitc exec`, `kill` and others, each with a file of its own; by themselves and behind
//! `rabbitc container`.

mod copy;
mod exec;
mod health;
mod port;
mod ports;
mod signal;
mod stats;
mod targets;
mod top;
mod update;
mod wait;

use std::process::ExitCode;

use engine::{Containers, Error, Found, Result};

pub(crate) use self::copy::CopyArguments;
pub(crate) use self::exec::{ExecArguments, HOLD, hold_terminal};
pub(crate) use self::health::HealthArguments;
pub(crate) use self::port::PortArguments;
pub(crate) use self::ports::PortsArguments;
pub(crate) use self::signal::{KillArguments, PauseArguments, UnpauseArguments};
pub(crate) use self::stats::{StatsArguments, binary};
pub(crate) use self::targets::read_id;
pub(crate) use self::top::{PODMANS, TopArguments};
pub(crate) use self::update::UpdateArguments;
pub(crate) use self::wait::WaitArguments;
use crate::life::PlaceArguments;
use crate::manner::exit_code;
use crate::render;

/// The verbs.
pub(crate) const VERBS: [&str; 12] = [
    "exec",
    "kill",
    "pause",
    "unpause",
    "top",
    "stats",
    "port",
    "ports",
    "wait",
    "cp",
    "update",
    "healthcheck",
];

/// Those of which a process is root of a container's users, or more than that: this program must not be written to from there.
pub(crate) const ENTERING: [&str; 3] = ["exec", "cp", "healthcheck"];

/// One of them.
pub(crate) enum ContainerCommand {
    Exec(ExecArguments),
    Kill(KillArguments),
    Pause(PauseArguments),
    Unpause(UnpauseArguments),
    Top(TopArguments),
    Stats(StatsArguments),
    Port(PortArguments),
    Ports(PortsArguments),
    Wait(WaitArguments),
    Copy(CopyArguments),
    Update(Box<UpdateArguments>),
    Health(HealthArguments),
}

/// What docker exits with where a container is not there, or not as it must be for a verb.
const REFUSED: u8 = 1;

/// Does it, and says what became of it.
pub(crate) fn run(command: &ContainerCommand) -> ExitCode {
    match command {
        ContainerCommand::Exec(arguments) => exec::exec(arguments),
        ContainerCommand::Kill(arguments) => signal::kill(arguments),
        ContainerCommand::Pause(arguments) => signal::pause(arguments),
        ContainerCommand::Unpause(arguments) => signal::unpause(arguments),
        ContainerCommand::Top(arguments) => top::top(arguments),
        ContainerCommand::Stats(arguments) => done(stats::stats(arguments)),
        ContainerCommand::Port(arguments) => port::port(arguments),
        ContainerCommand::Ports(arguments) => ports::ports(arguments),
        ContainerCommand::Wait(arguments) => wait::wait(arguments),
        ContainerCommand::Copy(arguments) => copy::cp(arguments),
        ContainerCommand::Update(arguments) => update::update(arguments),
        ContainerCommand::Health(arguments) => health::health(arguments),
    }
}

/// Those at a place.
fn containers(place: &PlaceArguments) -> Result<Containers> {
    Containers::of(&place.paths()?, place.root())
}

fn done(outcome: Result<()>) -> ExitCode {
    outcome.map_or_else(|error| refused(&error), |()| ExitCode::SUCCESS)
}

/// Says why it is refused.
fn refused(error: &Error) -> ExitCode {
    render::error(error);
    exit_code(REFUSED, crate::FAILED)
}

/// Says what is wrong with the command line.
fn mistaken(error: &Error) -> ExitCode {
    render::error(error);
    ExitCode::from(crate::FAILED)
}

/// A verb that names no container.
fn nameless(verb: &str) -> Error {
    let error =
        Error::invalid(format!("rabbitc {verb}"), "it needs the name or id of a container".to_owned());
    error.with_hint(format!("`rabbitc {verb} --help` shows how"))
}

/// The container that is named, or the one that was made last.
fn find(containers: &Containers, named: Option<&str>) -> Result<Found> {
    match named {
        Some(called) => containers.find(called),
        None => containers.latest(),
    }
}

/// The first of the words behind a verb's flags, which names a container, and the others, which are another program's. With
/// `latest` all of them are.
fn split<'a>(verb: &str, words: &'a [String], latest: Latest) -> Result<(Option<&'a str>, &'a [String])> {
    let (named, rest) = match (latest, words) {
        (Latest::Meant, all) => return Ok((None, all)),
        (Latest::No, [named, rest @ ..]) => (named, rest),
        (Latest::No, []) => return Err(nameless(verb)),
    };
    // The words of the other program may begin so, and therefore the parser lets this one through.
    if named.starts_with('-') {
        let reason = format!("there is no flag `{}`", named.escape_debug());
        let error = Error::invalid(format!("rabbitc {verb}"), reason);
        return Err(error.with_hint(format!("`rabbitc {verb} --help` lists those that there are")));
    }
    Ok((Some(named), rest))
}

/// Whether the container that was made last is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Latest {
    Meant,
    No,
}

impl From<bool> for Latest {
    fn from(is_meant: bool) -> Latest {
        if is_meant { Latest::Meant } else { Latest::No }
    }
}
