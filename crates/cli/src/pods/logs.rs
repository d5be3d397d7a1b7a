//! `rabbitc pod logs`: what the containers of a pod have written.

use std::process::ExitCode;

use clap::Args;
use engine::{Error, ErrorKind, Result};

use super::latest;
use crate::life::{LogView, PlaceArguments};

/// Shows what the containers of a pod have written.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// Its name, id, or the beginning of it
    #[arg(required_unless_present = "latest", value_name = "POD")]
    name: Option<String>,
    /// Of the one that was made last
    #[arg(short, long)]
    latest: bool,
    /// Of this container of it alone
    #[arg(short, long, value_name = "CONTAINER")]
    container: Option<String>,
    /// With the container's name before each line, in the place of its id
    #[arg(short, long)]
    names: bool,
    /// Taken for podman's sake: nothing has colours
    #[arg(long, hide = true)]
    color: bool,
    /// So many lines at the end of each [default: all]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    tail: Option<String>,
    #[command(flatten)]
    view: LogView,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn logs(arguments: &LogsArguments) -> Result<ExitCode> {
    let (pods, paths) = (arguments.place.pods()?, arguments.place.paths()?);
    let pod = match &arguments.name {
        Some(name) => pods.find(name, &paths)?,
        None => latest(&pods, &paths)?,
    };
    let containers = pods.containers();
    // What keeps the namespaces writes nothing.
    let mut meant: Vec<_> = pod.ordinary().cloned().collect();
    if let Some(called) = &arguments.container {
        let kept = containers.find_living(called, &paths)?;
        meant.retain(|one| one.id == kept.id);
        if meant.is_empty() {
            let operation = format!("find the container `{called}`");
            let reason = format!("container {called} is not in pod {}", pod.id);
            return Err(Error::new(ErrorKind::NotFound, operation, reason));
        }
    }
    let prefix = |kept: &engine::Kept| match arguments.names {
        true => format!("{} ", kept.name),
        false => format!("{} ", kept.id.get(..12).unwrap_or(&kept.id)),
    };
    let query = arguments.view.query(arguments.tail.as_deref())?;
    let show = |kept: &engine::Kept| arguments.view.show(containers, kept, query, &prefix(kept));
    // Who follows reads several at once.
    let outcomes: Vec<Result<()>> = match arguments.view.follows() {
        false => meant.iter().map(show).collect(),
        true => std::thread::scope(|scope| {
            let begun: Vec<_> = meant.iter().map(|kept| scope.spawn(move || show(kept))).collect();
            begun.into_iter().map(|one| one.join().expect("it does not panic")).collect()
        }),
    };
    outcomes.into_iter().collect::<Result<Vec<()>>>().map(|_| ExitCode::SUCCESS)
}
