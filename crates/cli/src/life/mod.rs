//! Containers that live on: `rabbitc create`, `start`, `stop`, `restart`, `rename`, `attach`, `logs`, and the internal verbs of the
//! process behind each.

mod attach;
mod behind;
mod explain;
mod group;
mod logs;
mod run;
mod start;
mod stop;
mod targets;
mod why;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use engine::{EnginePaths, Error, KeptContainers, Result};

pub(crate) use self::attach::{AttachArguments, parse_keys};
pub(crate) use self::behind::{is_behind_verb, stand};
pub(crate) use self::explain::ExplainArguments;
pub(crate) use self::group::GroupArguments;
pub(crate) use self::logs::{LogView, LogsArguments};
pub(crate) use self::run::live;
pub(crate) use self::start::{RestartArguments, StartArguments};
pub(crate) use self::stop::{RenameArguments, StopArguments, tell as tell_kill};
pub(crate) use self::targets::{Missing, Targets, all_names, filtered, latest};
pub(crate) use self::why::WhyArguments;
use crate::args::{Refusal, RunArguments, read_plain};
use crate::images::failed;

/// The verbs, but for `create`, which has the flags of `run`.
pub(crate) const VERBS: [&str; 9] =
    ["start", "stop", "restart", "rename", "attach", "logs", "why", "explain", "container"];

/// One of them.
pub(crate) enum LifeCommand {
    Create(Box<RunArguments>),
    Start(StartArguments),
    Stop(StopArguments),
    Restart(RestartArguments),
    Rename(RenameArguments),
    Attach(AttachArguments),
    Logs(LogsArguments),
    Why(WhyArguments),
    Explain(ExplainArguments),
    Group(GroupArguments),
}

/// Where containers and volumes are.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlaceArguments {
    /// Directory that containers and volumes are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Directory of those that run, as `run --runroot` had it [default: /run/rabbitc]
    #[arg(long, alias = "state-dir", value_name = "DIR")]
    runroot: Option<PathBuf>,
}

impl PlaceArguments {
    pub(crate) fn containers(&self) -> Result<KeptContainers> {
        KeptContainers::of(self.root.as_deref())
    }

    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    pub(crate) fn paths(&self) -> Result<EnginePaths> {
        paths(self.runroot.as_deref())
    }
}

/// Where what runs is.
pub(crate) fn paths(directory: Option<&Path>) -> Result<EnginePaths> {
    let Some(directory) = directory else { return Ok(EnginePaths::of_caller()) };
    let absolute = std::path::absolute(directory);
    Ok(EnginePaths::below(absolute.map_err(|error| Error::at_path("find", directory, error))?))
}

/// Reads what stands behind a verb.
pub(crate) fn read(
    verb: &str,
    words: impl IntoIterator<Item = OsString>,
) -> std::result::Result<LifeCommand, Refusal> {
    match verb {
        "start" => read_plain(words).map(LifeCommand::Start),
        "stop" => read_plain(words).map(LifeCommand::Stop),
        "restart" => read_plain(words).map(LifeCommand::Restart),
        "rename" => read_plain(words).map(LifeCommand::Rename),
        "attach" => read_plain(words).map(LifeCommand::Attach),
        "why" => read_plain(words).map(LifeCommand::Why),
        "explain" => read_plain(words).map(LifeCommand::Explain),
        "container" => read_plain(words).map(LifeCommand::Group),
        _ => read_plain(words).map(LifeCommand::Logs),
    }
}

/// Does it, and says what became of it.
pub(crate) fn run(command: LifeCommand) -> ExitCode {
    let outcome = match command {
        LifeCommand::Create(arguments) => run::create(&arguments),
        LifeCommand::Start(arguments) => start::start(&arguments),
        LifeCommand::Stop(arguments) => stop::stop(&arguments),
        LifeCommand::Restart(arguments) => start::restart(&arguments),
        LifeCommand::Rename(arguments) => stop::rename(&arguments),
        LifeCommand::Attach(arguments) => attach::attach(&arguments),
        LifeCommand::Logs(arguments) => logs::logs(&arguments),
        LifeCommand::Why(arguments) => why::why(&arguments),
        LifeCommand::Explain(arguments) => explain::explain(&arguments),
        LifeCommand::Group(arguments) => group::run(&arguments),
    };
    outcome.unwrap_or_else(|error| failed(&error))
}
