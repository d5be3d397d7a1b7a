//! Several containers, each of which something is done with, whatever becomes of the others: as docker's and podman's verbs take them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use engine::{Containers, Error, Found, Result, named_file};

use super::{Places, REFUSED, mistaken, nameless, refused};
use crate::images::print;
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
    pub(super) places: Places,
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
        let containers = match self.places.containers() {
            Ok(containers) => containers,
            Err(error) => return refused(&error),
        };
        let targets = match (all, named.is_empty()) {
            (All::No, true) if !self.latest => return mistaken(&nameless(verb)),
            (All::No, _) => self.found(&containers, named),
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
        let mut code = ExitCode::SUCCESS;
        for (called, found) in targets {
            let outcome = found.and_then(|found| act(&found)).and_then(|()| print(&format!("{called}\n")));
            if let Err(error) = outcome {
                render::error(&error);
                code = ExitCode::from(REFUSED);
            }
        }
        code
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = self.containers.clone();
        for path in &self.cidfile {
            names.push(read_id(path)?);
        }
        Ok(names)
    }

    fn found(&self, containers: &Containers, named: Vec<String>) -> Vec<(String, Result<Found>)> {
        let mut all: Vec<(String, Result<Found>)> = Vec::new();
        for called in named {
            let found = containers.find(&called);
            all.push((called, found));
        }
        if self.latest {
            match containers.latest() {
                Ok(found) => all.push((found.id.clone(), Ok(found))),
                Err(error) => all.push((String::new(), Err(error))),
            }
        }
        all
    }
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
