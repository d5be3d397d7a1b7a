//! `rabbitc healthcheck run`: a check of a container's health now.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use engine::Result;

use super::{containers, mistaken};
use crate::images::print;
use crate::life::PlaceArguments;

/// What concerns the health of containers.
#[derive(Debug, Parser)]
#[command(name = "rabbitc healthcheck", max_term_width = 100)]
pub(crate) struct HealthArguments {
    #[command(subcommand)]
    command: HealthCommand,
}

#[derive(Debug, Subcommand)]
enum HealthCommand {
    /// Makes the check of a container now; exits with 1 where it fails, and with 125 where it can't be made
    Run(RunArguments),
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Its name, id, or the beginning of it
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Exit with 0 also where it fails
    #[arg(long)]
    ignore_result: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn health(arguments: &HealthArguments) -> ExitCode {
    let HealthCommand::Run(arguments) = &arguments.command;
    run(arguments).unwrap_or_else(|error| mistaken(&error))
}

fn run(arguments: &RunArguments) -> Result<ExitCode> {
    let found = containers(&arguments.place)?.find(&arguments.container)?;
    let Some(status) = found.check_health(&arguments.place.paths()?)? else { return Ok(ExitCode::SUCCESS) };
    // As podman, who alone has the verb.
    print(&format!("{status}\n"))?;
    Ok(if arguments.ignore_result { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
