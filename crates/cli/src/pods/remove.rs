//! `rabbitc pod rm` and `prune`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use engine::{ContainerRemoval, Error, ErrorKind, Patience, Pod, PodFilter, PodState, Pods, Result};

use super::act::patience;
use super::{Missing, TargetArguments, code_of};
use crate::images::print;
use crate::images::prune::is_wanted;
use crate::life::PlaceArguments;
use crate::render;

/// Removes pods with their containers.
#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    #[command(flatten)]
    targets: TargetArguments,
    /// Containers that run are stopped first; nothing is wrong with a pod that is not there
    #[arg(short, long)]
    force: bool,
    /// Nothing is wrong with one that is not there
    #[arg(short, long)]
    ignore: bool,
    /// With `--force`, seconds until a container that runs is killed; -1 is for ever [default: 10]
    #[arg(
        short = 't',
        long,
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<String>,
    /// A file that an id stands in, as `pod create --pod-id-file` writes it, and which goes with the pod; may be repeated
    #[arg(long, value_name = "FILE")]
    pod_id_file: Vec<PathBuf>,
}

/// Removes pods whose containers have ended.
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Don't ask
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Each is tried, whatever became of the others.
pub(super) fn remove(arguments: &RemoveArguments) -> Result<ExitCode> {
    let removal = match (arguments.force, arguments.time.as_deref()) {
        (false, Some(_)) => {
            let reason = "--force option must be specified to use the --time option";
            return Err(Error::invalid("--time", reason.to_owned()).with_hint("write `--force` too"));
        }
        (false, None) => ContainerRemoval::OfEnded,
        (true, time) => {
            let ten = Patience::For(std::time::Duration::from_secs(10));
            ContainerRemoval::Stopping(patience(time)?.unwrap_or(ten))
        }
    };
    let missing = if arguments.force || arguments.ignore { Missing::Ignored } else { Missing::Told };
    let targets = arguments.targets.find("rm", &arguments.pod_id_file, missing)?;
    let mut code = targets.code;
    // Those that run are ended first: whoever removes files of other ids can do nothing else any more.
    let mut ended = Vec::new();
    for (_, pod) in &targets.named {
        let failures = targets.pods.make_removable(pod, removal, &targets.paths);
        match failures.first() {
            None => ended.push(pod),
            Some(first) => {
                code = code_of(first);
                failures.iter().for_each(render::error);
            }
        }
    }
    let gone = remove_ended(&ended, &arguments.targets.place, &mut code)?;
    for pod in gone {
        for file in
            arguments.pod_id_file.iter().filter(|file| super::read_id(file).is_ok_and(|id| id == pod.id))
        {
            // It names nobody any more.
            let _ = std::fs::remove_file(file);
        }
    }
    Ok(code)
}

/// Removes pods whose containers have ended, and prints their ids; those that have gone.
fn remove_ended<'a>(ended: &[&'a Pod], place: &PlaceArguments, code: &mut ExitCode) -> Result<Vec<&'a Pod>> {
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let paths = place.paths()?;
    let pods = Pods::open(place.root())?;
    pods.sweep()?;
    let mut gone = Vec::new();
    for pod in ended {
        match pods.remove(pod, &paths) {
            Ok(()) => {
                print(&format!("{}\n", pod.id))?;
                gone.push(*pod);
            }
            // Somebody else was quicker.
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => {
                render::error(&error);
                *code = code_of(&error);
            }
        }
    }
    Ok(gone)
}

pub(super) fn prune(arguments: &PruneArguments) -> Result<ExitCode> {
    let what = "all stopped/exited pods";
    if !arguments.force
        && !is_wanted("rabbitc pod prune", what, "WARNING! This will remove all stopped/exited pods.\n")?
    {
        return Ok(ExitCode::SUCCESS);
    }
    let (pods, paths) = (arguments.place.pods()?, arguments.place.paths()?);
    let (listed, damaged) = pods.list(&paths, &[] as &[PodFilter])?;
    damaged.iter().for_each(render::error);
    let has_ended = |state: PodState| matches!(state, PodState::Exited | PodState::Stopped | PodState::Dead);
    let mut code = ExitCode::SUCCESS;
    let mut ended = Vec::new();
    for one in listed.iter().filter(|one| has_ended(one.state)) {
        match pods.make_removable(&one.pod, ContainerRemoval::OfEnded, &paths).first() {
            None => ended.push(&one.pod),
            Some(error) => {
                render::error(error);
                code = code_of(error);
            }
        }
    }
    remove_ended(&ended, &arguments.place, &mut code)?;
    Ok(code)
}
