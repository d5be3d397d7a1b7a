//! `rabbitc network rm` and `prune`.

use std::process::ExitCode;

use clap::Args;
use engine::{
    ContainerRemoval, ErrorKind, KeptContainers, NetworkFilter, NetworkStore, Patience, Result, parse_seconds,
};

use crate::images::print;
use crate::images::prune::is_wanted;
use crate::life::PlaceArguments;
use crate::render;

/// Removes networks.
#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Their names or ids
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
    /// Remove the containers that have it, too; nothing is wrong with one that is not there
    #[arg(short, long)]
    force: bool,
    /// With `--force`: seconds until a container that runs is killed
    #[arg(short = 't', long, value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Removes networks that no container has.
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Only those of which this holds: `label=NAME[=VALUE]`, `label!=NAME`, `until=24h`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Each is tried, whatever became of the others.
pub(super) fn remove(arguments: &RemoveArguments) -> Result<ExitCode> {
    let (store, paths) = (arguments.place.networks()?, arguments.place.paths()?);
    if arguments.force {
        let patience = match &arguments.time {
            Some(text) => parse_seconds("--time", text)?.map_or(Patience::Endless, Patience::For),
            None => Patience::For(std::time::Duration::from_secs(10)),
        };
        remove_users(&store, arguments, patience)?;
    }
    let mut code = ExitCode::SUCCESS;
    for name in &arguments.names {
        match store.remove(name, &paths) {
            Err(error) if !(arguments.force && error.kind == ErrorKind::NotFound) => {
                render::error(&error);
                // As docker's.
                code = ExitCode::from(1);
            }
            _ => print(&format!("{name}\n"))?,
        }
    }
    Ok(code)
}

/// Removes the containers that have networks which are to go: those that run are ended first.
fn remove_users(store: &NetworkStore, arguments: &RemoveArguments, patience: Patience) -> Result<()> {
    let paths = arguments.place.paths()?;
    let users = store.users(&paths)?;
    let mut ids = std::collections::BTreeSet::new();
    for name in &arguments.names {
        let network = store.get(name)?.filter(|network| !network.is_built_in());
        ids.extend(network.iter().flat_map(|network| users.of(network)).map(|user| user.id));
    }
    let containers = KeptContainers::of(arguments.place.root())?;
    let mut ended = Vec::new();
    for id in &ids {
        let kept = match containers.find(id) {
            // It goes with its end, which is its command's.
            Err(error) if error.kind == ErrorKind::NotFound => continue,
            found => found?,
        };
        containers.make_removable(&kept, ContainerRemoval::Stopping(patience), &paths)?;
        ended.push(kept);
    }
    if ended.is_empty() {
        return Ok(());
    }
    let containers = KeptContainers::open(arguments.place.root())?;
    containers.sweep_all()?;
    ended.iter().try_for_each(|kept| containers.remove_removable(kept))
}

pub(super) fn prune(arguments: &PruneArguments) -> Result<()> {
    let filters: Vec<NetworkFilter> =
        arguments.filter.iter().map(|filter| filter.parse()).collect::<Result<_>>()?;
    let (store, paths) = (arguments.place.networks()?, arguments.place.paths()?);
    let what = "all custom networks not used by at least one container";
    let warning = format!("WARNING! This will remove {what}.\n");
    if !arguments.force && !is_wanted("rabbitc network prune", what, &warning)? {
        return Ok(());
    }
    let pruned = store.prune(&filters, &paths)?;
    pruned.notices.iter().for_each(render::notice);
    if pruned.names.is_empty() {
        return Ok(());
    }
    print(&format!("Deleted Networks:\n{}\n\n", pruned.names.join("\n")))
}
