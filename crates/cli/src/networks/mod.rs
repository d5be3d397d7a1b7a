//! `rabbitc network`: networks that are kept for containers.

mod connect;
mod create;
mod inspect;
mod list;
mod remove;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use engine::{NetworkStore, Result};

use self::connect::{ConnectArguments, DisconnectArguments, ReloadArguments};
use self::create::CreateArguments;
use self::inspect::InspectArguments;
use self::list::ListArguments;
use self::remove::{PruneArguments, RemoveArguments};
use crate::images::failed;
use crate::life::PlaceArguments;

/// What concerns networks that containers share.
#[derive(Debug, Parser)]
#[command(name = "rabbitc network", max_term_width = 100)]
pub(crate) struct NetworkVerbs {
    #[command(subcommand)]
    pub(crate) command: NetworkCommand,
}

/// One of its verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Puts a container on a network, also one that runs
    Connect(ConnectArguments),
    /// Makes a network
    Create(Box<CreateArguments>),
    /// Takes a container off a network, also one that runs
    Disconnect(DisconnectArguments),
    /// Says by its exit code whether a network is there
    Exists(ExistsArguments),
    /// Shows all that is known of networks
    Inspect(InspectArguments),
    /// Lists networks
    #[command(visible_alias = "list")]
    Ls(ListArguments),
    /// Removes networks that no container has
    Prune(PruneArguments),
    /// Makes bridges and rules complete again of networks that running containers have
    Reload(ReloadArguments),
    /// Removes networks
    #[command(visible_alias = "remove")]
    Rm(RemoveArguments),
}

/// Says by its exit code whether a network is there.
#[derive(Debug, Args)]
pub(crate) struct ExistsArguments {
    /// Its name or id
    #[arg(value_name = "NETWORK")]
    name: String,
    #[command(flatten)]
    place: PlaceArguments,
}

impl PlaceArguments {
    pub(crate) fn networks(&self) -> Result<NetworkStore> {
        NetworkStore::of(self.root())
    }
}

/// Does it, and says what became of it.
pub(crate) fn run(command: &NetworkCommand) -> ExitCode {
    let outcome = match command {
        NetworkCommand::Connect(arguments) => connect::connect(arguments).map(|()| ExitCode::SUCCESS),
        NetworkCommand::Disconnect(arguments) => connect::disconnect(arguments).map(|()| ExitCode::SUCCESS),
        NetworkCommand::Reload(arguments) => connect::reload(arguments),
        NetworkCommand::Create(arguments) => create::create(arguments).map(|()| ExitCode::SUCCESS),
        NetworkCommand::Exists(arguments) => exists(arguments),
        NetworkCommand::Inspect(arguments) => inspect::inspect(arguments),
        NetworkCommand::Ls(arguments) => list::list(arguments).map(|()| ExitCode::SUCCESS),
        NetworkCommand::Prune(arguments) => remove::prune(arguments).map(|()| ExitCode::SUCCESS),
        NetworkCommand::Rm(arguments) => remove::remove(arguments),
    };
    outcome.unwrap_or_else(|error| failed(&error))
}

fn exists(arguments: &ExistsArguments) -> Result<ExitCode> {
    let found = arguments.place.networks()?.get(&arguments.name)?;
    Ok(ExitCode::from(u8::from(found.is_none())))
}
