//! `rabbitc pod`: containers that share namespaces.

mod act;
mod create;
mod inspect;
mod list;
mod logs;
mod place;
mod remove;
mod stats;
mod top;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use engine::{EnginePaths, Error, ErrorKind, Pod, Pods, Result};

use self::act::{KillArguments, StopArguments};
use self::create::CreateArguments;
use self::inspect::InspectArguments;
use self::list::ListArguments;
use self::logs::LogsArguments;
pub(crate) use self::place::PodPlace;
use self::remove::{PruneArguments, RemoveArguments};
use self::stats::StatsArguments;
use self::top::TopArguments;
use crate::images::{failed, print};
use crate::life::PlaceArguments;
use crate::render;

/// What concerns pods: containers that share a network and more.
#[derive(Debug, Parser)]
#[command(name = "rabbitc pod", max_term_width = 100)]
pub(crate) struct PodArguments {
    #[command(subcommand)]
    pub(crate) command: PodCommand,
}

/// One of its verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum PodCommand {
    /// Makes a pod, and prints its id
    Create(Box<CreateArguments>),
    /// Says by its exit code whether a pod is there
    Exists(ExistsArguments),
    /// Shows all that is known of pods
    Inspect(InspectArguments),
    /// Sends a signal to the first processes of all containers of pods
    Kill(KillArguments),
    /// Shows what the containers of a pod have written
    Logs(LogsArguments),
    /// Makes all processes of pods stand still
    Pause(TargetArguments),
    /// Removes pods whose containers have ended
    Prune(PruneArguments),
    /// Lists pods
    #[command(visible_aliases = ["ls", "list"])]
    Ps(ListArguments),
    /// Stops the containers of pods and starts them again
    Restart(TargetArguments),
    /// Removes pods with their containers
    Rm(RemoveArguments),
    /// Starts the containers of pods
    Start(StartArguments),
    /// Shows what the containers of pods use
    Stats(StatsArguments),
    /// Stops the containers of pods
    Stop(StopArguments),
    /// Lists the processes of a pod
    Top(TopArguments),
    /// Lets the processes of pods that are paused go on
    Unpause(TargetArguments),
}

/// Says by its exit code whether a pod is there.
#[derive(Debug, Args)]
pub(crate) struct ExistsArguments {
    /// Its name, id, or the beginning of it
    #[arg(value_name = "POD")]
    name: String,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Which pods.
#[derive(Debug, Args)]
pub(crate) struct TargetArguments {
    /// Their names, ids, or the beginnings of these
    #[arg(value_name = "POD")]
    names: Vec<String>,
    /// All that there are
    #[arg(short, long)]
    all: bool,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// The same, and by files that their ids stand in.
#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    #[command(flatten)]
    targets: TargetArguments,
    /// A file that an id stands in, as `pod create --pod-id-file` writes it; may be repeated
    #[arg(long, value_name = "FILE")]
    pod_id_file: Vec<PathBuf>,
}

/// What becomes of a name that nobody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It is told, and the others are found all the same.
    Told,
    /// Nothing is wrong with it.
    Ignored,
}

/// The pods that were found.
struct Targets {
    pods: Pods,
    paths: EnginePaths,
    /// As each was named, or its id.
    named: Vec<(String, Pod)>,
    /// The command's exit code if all goes well with these.
    code: ExitCode,
}

impl PlaceArguments {
    fn pods(&self) -> Result<Pods> {
        Ok(Pods::of(&self.containers()?))
    }
}

impl TargetArguments {
    /// Finds them.
    fn find(&self, verb: &str, files: &[PathBuf], missing: Missing) -> Result<Targets> {
        let (pods, paths) = (self.place.pods()?, self.place.paths()?);
        let mut targets = Targets { pods, paths, named: Vec::new(), code: ExitCode::SUCCESS };
        let mut names = self.names.clone();
        for file in files {
            match read_id(file) {
                Err(error) if missing == Missing::Ignored && error.kind == ErrorKind::NotFound => {}
                id => names.push(id?),
            }
        }
        let names_some = !self.names.is_empty() || !files.is_empty() || self.latest;
        match (self.all, names_some) {
            (true, true) => {
                let reason = format!("either {verb} all pods or the pod(s) provided in the arguments");
                let error = Error::invalid(format!("rabbitc pod {verb}"), reason);
                return Err(error.with_hint("leave `--all` out, or the pods"));
            }
            (false, false) => {
                let error = Error::invalid(format!("rabbitc pod {verb}"), "a pod is to be named".to_owned());
                return Err(error.with_hint("`rabbitc pod ps` lists those that there are"));
            }
            (true, false) => {
                let survey = targets.pods.survey(&targets.paths)?;
                survey.damaged.iter().for_each(render::error);
                targets.named = survey.pods.into_iter().map(|pod| (pod.id.clone(), pod)).collect();
            }
            (false, true) => {}
        }
        for name in names {
            match targets.pods.find(&name, &targets.paths) {
                Ok(pod) => targets.named.push((name, pod)),
                Err(error) if missing == Missing::Ignored && error.kind == ErrorKind::NotFound => {}
                Err(error) => {
                    render::error(&error);
                    targets.code = code_of(&error);
                }
            }
        }
        if self.latest {
            let pod = latest(&targets.pods, &targets.paths)?;
            targets.named.push((pod.id.clone(), pod));
        }
        Ok(targets)
    }
}

impl Targets {
    /// Does something with each, whatever became of the others, and prints what `shown` says of those with which all went well.
    fn each(
        &self,
        shown: impl Fn(&str, &Pod) -> String,
        act: impl Fn(&Pod) -> Vec<Error>,
    ) -> Result<ExitCode> {
        let mut code = self.code;
        for (name, pod) in &self.named {
            let failures = act(pod);
            failures.iter().for_each(render::error);
            match failures.first() {
                Some(error) => code = code_of(error),
                None => print(&format!("{}\n", shown(name, pod)))?,
            }
        }
        Ok(code)
    }
}

/// As podman's.
fn code_of(error: &Error) -> ExitCode {
    ExitCode::from(if error.kind == ErrorKind::NotFound { 1 } else { crate::FAILED })
}

/// The one that was made last.
fn latest(pods: &Pods, paths: &EnginePaths) -> Result<Pod> {
    pods.survey(paths)?.pods.into_iter().next().ok_or_else(|| {
        let error = Error::new(ErrorKind::NotFound, "find the pod that was made last", "there is none");
        error.with_hint("`rabbitc pod create` makes one")
    })
}

/// The id in a file of `pod create --pod-id-file`.
fn read_id(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Error::at_path("read", path, error).from_field("--pod-id-file"))?;
    Ok(text.trim().to_owned())
}

/// Does it, and says what became of it.
pub(crate) fn run(command: &PodCommand) -> ExitCode {
    let outcome = match command {
        PodCommand::Create(arguments) => create::create(arguments),
        PodCommand::Exists(arguments) => exists(arguments),
        PodCommand::Inspect(arguments) => inspect::inspect(arguments),
        PodCommand::Kill(arguments) => act::kill(arguments),
        PodCommand::Logs(arguments) => logs::logs(arguments),
        PodCommand::Pause(arguments) => act::pause(arguments),
        PodCommand::Prune(arguments) => remove::prune(arguments),
        PodCommand::Ps(arguments) => list::list(arguments),
        PodCommand::Restart(arguments) => act::restart(arguments),
        PodCommand::Rm(arguments) => remove::remove(arguments),
        PodCommand::Start(arguments) => act::start(arguments),
        PodCommand::Stats(arguments) => stats::stats(arguments),
        PodCommand::Stop(arguments) => act::stop(arguments),
        PodCommand::Top(arguments) => top::top(arguments),
        PodCommand::Unpause(arguments) => act::unpause(arguments),
    };
    outcome.unwrap_or_else(|error| failed(&error))
}

fn exists(arguments: &ExistsArguments) -> Result<ExitCode> {
    match arguments.place.pods()?.find(&arguments.name, &arguments.place.paths()?) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(ExitCode::from(1)),
        Err(error) => Err(error),
    }
}
