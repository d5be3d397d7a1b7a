//! `rabbitc ps`, `rm`, `diff`, `commit`, `export`: containers that are kept, and what they have changed.

mod list;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use engine::{
    Change, ChangeKind, Code, CommitRequest, ContainerRemoval, EnginePaths, Error, ErrorKind, Kept,
    KeptContainers, KeptRoot, Patience, Pod, Pods, Result, parse_seconds,
};
use serde_json::json;

pub(crate) use self::list::ListArguments;
use crate::archive::{Output, check_output};
use crate::images::progress::{Quiet, Shown};
use crate::images::{failed, print};
use crate::life::{Missing, PlaceArguments, Targets, all_names, filtered, latest, paths};
use crate::manner::{exit_code, is_podmans, own_name};
use crate::render;

/// The verbs.
pub(crate) const VERBS: [&str; 5] = ["ps", "rm", "diff", "commit", "export"];

/// One of them.
pub(crate) enum KeptCommand {
    List(ListArguments),
    Remove(RemoveArguments),
    Changes(ChangesArguments),
    Commit(CommitArguments),
    Export(ExportArguments),
}

/// Forms of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// Removes containers, with all that they have changed.
#[derive(Debug, Parser)]
#[command(name = "rabbitc rm", max_term_width = 100)]
pub(crate) struct RemoveArguments {
    /// Their names, ids, or the beginnings of these
    #[arg(value_name = "CONTAINER")]
    ids: Vec<String>,
    /// One that runs is stopped first; nothing is wrong with one that is not there
    #[arg(short, long)]
    force: bool,
    /// All that there are
    #[arg(short, long)]
    all: bool,
    /// Nothing is wrong with one that is not there
    #[arg(short, long)]
    ignore: bool,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    /// Only those of which this holds, as for `rabbitc ps`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// With `--force`, seconds until one that runs is killed [default: 0]
    #[arg(short = 't', long, value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<String>,
    /// Read ids from this file, too
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
    /// With what keeps the namespaces of a pod the whole pod goes, and with any other what joins its namespaces
    #[arg(long)]
    depend: bool,
    /// Their own volumes go, too: those that nobody has named
    #[arg(short, long)]
    volumes: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Lists what a container has added (A), changed (C) and deleted (D) below its root.
#[derive(Debug, Parser)]
#[command(name = "rabbitc diff", max_term_width = 100)]
pub(crate) struct ChangesArguments {
    /// Its id, or the beginning of it
    #[arg(value_name = "CONTAINER", required_unless_present = "latest")]
    id: Option<String>,
    /// The one that was made last
    #[arg(short, long, conflicts_with = "id")]
    latest: bool,
    /// `table`, or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Directory that containers are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Directory of those that run [default: /run/rabbitc]
    #[arg(long, value_name = "DIR")]
    runroot: Option<PathBuf>,
}

/// Makes an image of a container: its image, and a layer more of what it has changed. Of one that ran on the host's root or
/// on a directory, all of that is the one layer.
#[derive(Debug, Parser)]
#[command(name = "rabbitc commit", max_term_width = 100)]
pub(crate) struct CommitArguments {
    /// Its id, or the beginning of it
    #[arg(value_name = "CONTAINER")]
    id: String,
    /// What the image is to be called
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Who made it
    #[arg(short, long, value_name = "AUTHOR")]
    author: Option<String>,
    /// A note for `rabbitc history`
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// What its containers are to be like, as in a Dockerfile: `CMD ["/bin/app"]`, `ENV NAME=VALUE`, `EXPOSE 80`
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Don't show how far it is
    #[arg(short, long)]
    quiet: bool,
    /// Write the image's id into this file, too
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Directory that images and containers are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Writes the whole root of a container that has ended as an archive (tar).
#[derive(Debug, Parser)]
#[command(name = "rabbitc export", max_term_width = 100)]
pub(crate) struct ExportArguments {
    /// Its id, or the beginning of it
    #[arg(value_name = "CONTAINER")]
    id: String,
    /// Into this file, in the place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Directory that containers are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Does it, and says what became of it.
pub(crate) fn run(command: &KeptCommand) -> ExitCode {
    let outcome = match command {
        KeptCommand::List(arguments) => list::list(arguments),
        KeptCommand::Remove(arguments) => return remove(arguments).unwrap_or_else(|error| failed(&error)),
        KeptCommand::Changes(arguments) => changes(arguments),
        KeptCommand::Commit(arguments) => commit(arguments),
        KeptCommand::Export(arguments) => export(arguments),
    };
    outcome.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

/// The kind of id that docker's tables have.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

impl RemoveArguments {
    /// Whether containers are chosen by what they are, not by their names.
    fn chooses(&self) -> bool {
        self.all || !self.filter.is_empty()
    }

    /// Those that are to go.
    fn targets(&self) -> Result<Targets> {
        let operation = || "rabbitc rm".to_owned();
        let names_some = !self.ids.is_empty() || !self.cidfile.is_empty() || self.latest;
        match (self.chooses(), names_some) {
            (true, true) => {
                let reason = "containers are named, and others chosen by `--all` or `--filter`".to_owned();
                return Err(Error::invalid(operation(), reason).with_hint("leave one of both out"));
            }
            (false, false) => {
                let error = Error::invalid(operation(), "a container is to be named".to_owned());
                return Err(error.with_hint("`rabbitc ps -a` lists those that there are"));
            }
            _ => {}
        }
        let missing = if self.force || self.ignore { Missing::Ignored } else { Missing::ToldOfRemoval };
        let names = all_names(&self.ids, &self.cidfile, missing)?;
        let mut targets = Targets::find(&self.place, &names, self.latest, missing)?;
        if self.chooses() {
            let chosen = filtered(&targets.containers, &targets.paths, &self.filter)?;
            targets.named.extend(chosen.into_iter().map(|one| (one.id.clone(), one)));
        }
        Ok(targets)
    }

    fn removal(&self) -> Result<ContainerRemoval> {
        Ok(match (self.force, &self.time) {
            (false, _) => ContainerRemoval::OfEnded,
            (true, None) => ContainerRemoval::Stopping(Patience::For(Duration::ZERO)),
            (true, Some(text)) => ContainerRemoval::Stopping(match parse_seconds("--time", text)? {
                Some(patience) => Patience::For(patience),
                None => Patience::Endless,
            }),
        })
    }
}

/// Each is tried, whatever became of the others.
fn remove(arguments: &RemoveArguments) -> Result<ExitCode> {
    let removal = arguments.removal()?;
    let targets = arguments.targets()?;
    let may_be_gone = arguments.force || arguments.ignore || arguments.chooses();
    // Of one that is not there both end with 1.
    let mut code = if targets.code() == ExitCode::SUCCESS { ExitCode::SUCCESS } else { ExitCode::from(1) };
    let Targets { containers, paths, named, .. } = targets;
    let Apart { alone, pods: of_pods } = apart_from_pods(arguments, &containers, &paths, named, &mut code)?;
    let alone = with_dependents(arguments, &containers, alone, &mut code)?;
    let mut failed = |error: Error| {
        // One that goes by itself meanwhile is no one's loss.
        if error.kind == ErrorKind::NotFound && may_be_gone {
            return;
        }
        render::error(&error);
        code = exit_code(1, if error.kind == ErrorKind::WrongStatus { 2 } else { 1 });
    };
    // Those that run are ended first: whoever removes files of other ids can do nothing else any more.
    let mut ended = Vec::new();
    for (name, kept) in alone {
        match containers.make_removable(&kept, removal, &paths) {
            Ok(()) => ended.push((name, kept)),
            Err(error) if is_podmans() && error.kind == ErrorKind::WrongStatus => {
                let reason = format!(
                    "cannot remove container {} as it is running - running or paused containers cannot be removed without \
                     force: container state improper",
                    kept.id
                );
                failed(Error { operation: String::new(), reason, ..error });
            }
            Err(error) => failed(error),
        }
    }
    let pods = Pods::of(&containers);
    let mut pods_to_go = Vec::new();
    for pod in of_pods {
        match pods.make_removable(&pod, removal, &paths).into_iter().next() {
            None => pods_to_go.push(pod),
            Some(error) => failed(error),
        }
    }
    containers.sweep_ended(&paths).iter().for_each(render::error);
    if ended.is_empty() && pods_to_go.is_empty() && !arguments.chooses() {
        return Ok(code);
    }
    let containers = KeptContainers::open(arguments.place.root())?;
    containers.sweep_all()?;
    for pod in pods_to_go {
        match Pods::of(&containers).remove(&pod, &paths) {
            Ok(()) => {
                print(&pod.containers.iter().map(|kept| format!("{}\n", kept.id)).collect::<String>())?;
            }
            Err(error) => failed(error),
        }
    }
    for (name, kept) in ended {
        let removed = containers.remove_removable(&kept);
        let removed = removed.and_then(|()| match arguments.volumes {
            true => containers.remove_volumes_of(&kept, &paths),
            false => Ok(()),
        });
        match removed {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(error) => failed(error),
        }
    }
    Ok(code)
}

/// What is to be removed.
struct Apart {
    /// Containers by themselves, each as it was named.
    alone: Vec<(String, Kept)>,
    /// Pods, of which what keeps their namespaces was named.
    pods: Vec<Pod>,
}

/// Finds out what is to be removed as a pod. What keeps a pod's namespaces goes with it alone: named, it is refused, and where all are
/// meant it stays.
fn apart_from_pods(
    arguments: &RemoveArguments,
    containers: &KeptContainers,
    paths: &EnginePaths,
    named: Vec<(String, Kept)>,
    code: &mut ExitCode,
) -> Result<Apart> {
    let pods = Pods::of(containers);
    let mut apart = Apart { alone: Vec::new(), pods: Vec::new() };
    for (name, kept) in named {
        match pods.kept_by(&kept, paths)? {
            None => apart.alone.push((name, kept)),
            Some(pod) if arguments.depend => apart.pods.push(pod),
            Some(_) if arguments.chooses() => {}
            Some(pod) => {
                let reason = format!(
                    "container {} is the infra container of pod {} and cannot be removed without removing the pod",
                    kept.id, pod.id
                );
                let operation = format!("remove the container `{name}`");
                let hint = format!("`rabbitc pod rm {}` removes the pod", pod.name);
                let error = Error::new(ErrorKind::WrongStatus, operation, reason);
                render::error(&error.with_code(Code::InUse).with_hint(hint));
                *code = ExitCode::from(crate::FAILED);
            }
        }
    }
    // Those of a pod that goes as a whole need no second word.
    let goes = |kept: &Kept| apart.pods.iter().any(|pod| pod.containers.iter().any(|one| one.id == kept.id));
    apart.alone.retain(|(_, kept)| !goes(kept));
    Ok(apart)
}

/// With what joins a namespace of one that is named goes that, too, where `--depend` says so. Where it does not, podman keeps the one that
/// is named.
fn with_dependents(
    arguments: &RemoveArguments,
    containers: &KeptContainers,
    named: Vec<(String, Kept)>,
    code: &mut ExitCode,
) -> Result<Vec<(String, Kept)>> {
    if arguments.chooses() || !(arguments.depend || is_podmans()) {
        return Ok(named);
    }
    let ids: Vec<String> = named.iter().map(|(_, kept)| kept.id.clone()).collect();
    let mut all: Vec<(String, Kept)> = Vec::new();
    for (name, kept) in named {
        let others: Vec<Kept> =
            containers.dependents(&kept)?.into_iter().filter(|one| !ids.contains(&one.id)).collect();
        if !others.is_empty() && !arguments.depend {
            let others: Vec<&str> = others.iter().map(|one| one.id.as_str()).collect();
            let reason = format!(
                "container {} has dependent containers which must be removed before it: {}: container already exists",
                kept.id,
                others.join(", ")
            );
            render::error(&Error::new(ErrorKind::WrongStatus, "", reason));
            *code = ExitCode::from(crate::FAILED);
            continue;
        }
        // Those of the others, too, the last one first.
        let mut chain = vec![kept];
        let mut at = 0;
        while at < chain.len() {
            let more = containers.dependents(&chain[at])?;
            let is_new = |one: &Kept| chain.iter().all(|known| known.id != one.id) && !ids.contains(&one.id);
            let more: Vec<Kept> = more.into_iter().filter(is_new).collect();
            chain.extend(more);
            at += 1;
        }
        let mut chain = chain.into_iter();
        let own = chain.next().map(|kept| (name, kept));
        let mut found: Vec<(String, Kept)> = chain.map(|one| (one.id.clone(), one)).collect();
        found.reverse();
        found.extend(own);
        found.retain(|(_, one)| all.iter().all(|(_, known)| known.id != one.id));
        all.extend(found);
    }
    Ok(all)
}

fn changes(arguments: &ChangesArguments) -> Result<()> {
    let root = arguments.root.as_deref();
    // Before this process is another user's.
    let id = match &arguments.id {
        Some(id) => id.clone(),
        None => latest(&KeptContainers::of(root)?, &paths(arguments.runroot.as_deref())?)?.1.id,
    };
    let kept = KeptContainers::open(root)?.find(&id)?;
    show_changes(&kept.changes()?, arguments.format)
}

/// As docker's and podman's `diff` have them.
pub(crate) fn show_changes(changes: &[Change], format: Format) -> Result<()> {
    let letter = |kind: ChangeKind| match kind {
        ChangeKind::Added => "A",
        ChangeKind::Changed => "C",
        ChangeKind::Deleted => "D",
    };
    if format == Format::Json {
        let of = |wanted: ChangeKind| -> Vec<String> {
            let found = changes.iter().filter(|change| change.kind == wanted);
            found.map(|change| change.path.to_string_lossy().into_owned()).collect()
        };
        let all = json!({"changed": of(ChangeKind::Changed), "added": of(ChangeKind::Added), "deleted": of(ChangeKind::Deleted)});
        return print(&format!("{all}\n"));
    }
    let lines = changes
        .iter()
        .map(|change| format!("{} {}\n", letter(change.kind), sys::plain(&change.path.to_string_lossy())));
    print(&lines.collect::<String>())
}

fn commit(arguments: &CommitArguments) -> Result<()> {
    let request = CommitRequest {
        name: arguments.name.as_deref().map(|name| own_name(name).parse()).transpose()?,
        author: arguments.author.clone(),
        message: arguments.message.clone(),
        changes: arguments.change.iter().map(|change| change.parse()).collect::<Result<_>>()?,
    };
    let kept = KeptContainers::open(arguments.root.as_deref())?.find(&arguments.id)?;
    if kept.root == KeptRoot::Host {
        render::notice(&engine::Notice {
            what: "this image has all of the host's root in it, secrets among them".to_owned(),
            remedy: Some("`rabbitc diff` lists what the container has changed".to_owned()),
        });
    }
    let id = match !arguments.quiet && std::io::stderr().is_terminal() {
        true => kept.commit(&request, &Shown::new(short(&kept.id)))?,
        false => kept.commit(&request, &Quiet)?,
    };
    if let Some(path) = &arguments.iidfile {
        std::fs::write(path, &id).map_err(|error| Error::at_path("write", path, error))?;
    }
    let shown = if is_podmans() { id.trim_start_matches("sha256:") } else { &id };
    print(&format!("{shown}\n"))
}

fn export(arguments: &ExportArguments) -> Result<()> {
    let (root, output) = (arguments.root.as_deref(), arguments.output.as_deref());
    check_output(output)?;
    // Nothing is begun for a container that is not there.
    KeptContainers::of(root)?.find(&arguments.id)?;
    let output = Output::begin(output)?;
    let kept = KeptContainers::open(root)?.find(&arguments.id)?;
    output.take(|out| kept.export(out))
}
