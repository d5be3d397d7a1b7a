//! What stands behind `rabbitc container` alone: `prune` and `exists`.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use engine::{ErrorKind, KeptContainers, Result};

use super::PlaceArguments;
use crate::images::table::size;
use crate::images::{print, prune as images_prune};

const OTHERS: &str = "`attach`, `commit`, `cp`, `create`, `diff`, `exec`, `export`, `inspect`, `kill`, `logs`, `ls`, `pause`, `port`, \
                      `rename`, `restart`, `rm`, `run`, `start`, `stats`, `stop`, `top`, `unpause`, `update` and `wait` are commands \
                      without `container`, too.";

/// What concerns containers.
#[derive(Debug, Parser)]
#[command(name = "rabbitc container", max_term_width = 100, after_help = OTHERS)]
pub(crate) struct GroupArguments {
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// Exits with 0 if it is there, with 1 if not
    Exists(ExistsArguments),
    /// Removes all that have ended
    Prune(PruneArguments),
}

#[derive(Debug, Args)]
struct ExistsArguments {
    /// Its name, id, or the beginning of it
    #[arg(value_name = "CONTAINER")]
    name: String,
    /// Taken for podman's sake: there are no others
    #[arg(short, long, hide = true)]
    external: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
struct PruneArguments {
    /// Don't ask
    #[arg(short, long)]
    force: bool,
    /// Only those of which this holds: `until=24h`, `label=NAME[=VALUE]`, `label!=NAME`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn run(arguments: &GroupArguments) -> Result<ExitCode> {
    match &arguments.command {
        GroupCommand::Exists(arguments) => exists(arguments),
        GroupCommand::Prune(arguments) => prune(arguments).map(|()| ExitCode::SUCCESS),
    }
}

fn exists(arguments: &ExistsArguments) -> Result<ExitCode> {
    match arguments.place.containers()?.find(&arguments.name) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(ExitCode::from(1)),
        Err(error) => Err(error),
    }
}

fn prune(arguments: &PruneArguments) -> Result<()> {
    let filters = images_prune::parse_filters(&arguments.filter)?;
    // Those whose monitor was killed have ended, or get another one.
    arguments.place.containers()?.living(&arguments.place.paths()?)?;
    let question = "WARNING! This will remove all stopped containers.\n";
    let what = "all stopped containers";
    if !arguments.force && !images_prune::is_wanted("rabbitc container prune", what, question)? {
        return Ok(());
    }
    let pruned = KeptContainers::open(arguments.place.root())?.prune(&filters)?;
    let mut text = String::new();
    if !pruned.ids.is_empty() {
        text.push_str("Deleted Containers:\n");
        text.extend(pruned.ids.iter().map(|id| format!("{id}\n")));
        text.push('\n');
    }
    print(&format!("{text}Total reclaimed space: {}\n", size(pruned.bytes)))
}
