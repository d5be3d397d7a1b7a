//! Several containers, each of which something is done with, whatever becomes of the others: as docker's and podman's verbs take them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use engine::{Containers, Error, Found, Result, named_file};

use super::{Latest, REFUSED, containers, mistaken, nameless, refused};
use crate::images::print;
use crate::life::PlaceArguments;
use crate::manner::exit_code;
use crate::render;

/// Which containers.
#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// Their ids, the beginnings of these, or their names
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// A file that an id stands in, as `run --cidfile` writes it; may be repeated
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Which containers are meant by all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum All {
    /// Those that run and those that are paused.
    Running,
    /// Those that run and are not paused.
    Unpaused,
    /// Those that are paused.
    Paused,
    /// Nobody asked for all.
    No,
}

impl Targets {
    /// Does something with each, and prints how it was called.
    pub(super) fn each(&self, verb: &str, all: All, act: impl Fn(&Found) -> Result<()>) -> ExitCode {
        let named = match self.names() {
            Ok(named) => named,
            Err(error) => return mistaken(&error),
        };
        let containers = match containers(&self.place) {
            Ok(containers) => containers,
            Err(error) => return refused(&error),
        };
        let targets = match (all, named.is_empty()) {
            (All::No, true) if !self.latest => return mistaken(&nameless(verb)),
            (All::No, _) => named_of(&containers, &named, self.latest.into()).collect(),
            (_, false) => {
                let reason = "all containers and some of them exclude each other".to_owned();
                let error = Error::invalid(format!("rabbitc {verb}"), reason);
                return mistaken(&error.with_hint("leave `--all` out, or the containers"));
            }
            (all, true) => match all_of(&containers, all) {
                Ok(found) => found,
                Err(error) => return refused(&error),
            },
        };
        each(targets.into_iter(), |called, found| act(&found?).map(|()| called.to_owned()))
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = self.containers.clone();
        for path in &self.cidfile {
            names.push(read_id(path)?);
        }
        Ok(names)
    }
}

/// Does something with each, whatever becomes of the others, and prints the word that comes of it.
pub(super) fn each(
    targets: impl Iterator<Item = (String, Result<Found>)>,
    act: impl Fn(&str, Result<Found>) -> Result<String>,
) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (called, found) in targets {
        if let Err(error) = act(&called, found).and_then(|word| print(&format!("{word}\n"))) {
            render::error(&error);
            code = exit_code(REFUSED, crate::FAILED);
        }
    }
    code
}

/// Those that are named, and the one that was made last where that is meant, each with how it is called. Each is looked for when its
/// turn comes.
pub(super) fn named_of<'a>(
    containers: &'a Containers,
    names: &'a [String],
    latest: Latest,
) -> impl Iterator<Item = (String, Result<Found>)> + 'a {
    let last = (latest == Latest::Meant).then_some(()).into_iter().map(|()| match containers.latest() {
        Ok(found) => (found.id.clone(), Ok(found)),
        Err(error) => (String::new(), Err(error)),
    });
    names.iter().map(|called| (called.clone(), containers.find(called))).chain(last)
}

fn all_of(containers: &Containers, all: All) -> Result<Vec<(String, Result<Found>)>> {
    let mut found = containers.running()?;
    match all {
        All::Unpaused => found.retain(|one| !one.is_paused()),
        All::Paused => found.retain(Found::is_paused),
        All::Running | All::No => {}
    }
    Ok(found.into_iter().map(|one| (one.id.clone(), Ok(one))).collect())
}

/// The id in a file of `run --cidfile`.
pub(crate) fn read_id(path: &Path) -> Result<String> {
    let text = named_file::read("read", path, named_file::LONGEST_LIST)
        .map_err(|error| error.from_field("--cidfile").with_hint("name a file that `run --cidfile` wrote"))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}
