//! Which containers a verb is about: those that are named, the latest, those by which filters hold, or all.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use engine::{Code, ContainerFilter, EnginePaths, Error, ErrorKind, Kept, KeptContainers, Result};

use super::PlaceArguments;
use crate::containers::read_id;
use crate::images::print;
use crate::manner::{exit_code, is_podmans};
use crate::render;

/// Which containers.
#[derive(Debug, Args)]
pub(crate) struct TargetArguments {
    /// Their names, ids, or the beginnings of these
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
    /// Only those of which this holds, as for `rabbitc ps`: of those that are named, or of all
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// A file that an id stands in, as `run --cidfile` writes it; may be repeated
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    pub(super) place: PlaceArguments,
}

/// Who is meant where none is named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// Somebody asked for all.
    Wanted,
    /// Nobody did: it takes a filter to choose some.
    ByFilter,
}

/// What becomes of a name that nobody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is told, and the others are found all the same.
    Told,
    /// The same where they are to be removed, of which podman has another sentence.
    ToldOfRemoval,
    /// Nothing is wrong with it.
    Ignored,
}

/// The containers that were found.
pub(crate) struct Targets {
    pub(crate) containers: KeptContainers,
    pub(crate) paths: EnginePaths,
    /// As each was named, or its id.
    pub(crate) named: Vec<(String, Kept)>,
    /// The command's exit code if all goes well with these.
    code: ExitCode,
}

impl TargetArguments {
    /// Whether any is named.
    pub(super) fn names_some(&self) -> bool {
        !self.names.is_empty() || !self.cidfile.is_empty() || self.latest
    }

    /// Finds them. Of `others`, those are meant of which `is_meant` holds.
    pub(super) fn find(
        &self,
        verb: &str,
        others: Others,
        missing: Missing,
        is_meant: fn(&Kept) -> bool,
    ) -> Result<Targets> {
        if others == Others::Wanted && self.names_some() {
            let reason =
                format!("either {verb} all containers or the container(s) provided in the arguments");
            let error = Error::invalid(format!("rabbitc {verb}"), reason);
            return Err(error.with_hint("leave the flag that chooses all of them out, or the containers"));
        }
        let names = all_names(&self.names, &self.cidfile, missing)?;
        let mut targets = Targets::find(&self.place, &names, self.latest, missing)?;
        let matching = match (self.filter.is_empty(), others) {
            (true, Others::ByFilter) if self.names_some() => return Ok(targets),
            (true, Others::ByFilter) => {
                let error =
                    Error::invalid(format!("rabbitc {verb}"), "a container is to be named".to_owned());
                return Err(error.with_hint("`rabbitc ps -a` lists those that there are"));
            }
            _ => filtered(&targets.containers, &targets.paths, &self.filter)?,
        };
        match self.names_some() && !self.filter.is_empty() {
            true => targets.named.retain(|(_, kept)| matching.iter().any(|one| one.id == kept.id)),
            false => {
                targets.named.extend(matching.into_iter().filter(is_meant).map(|one| (one.id.clone(), one)))
            }
        }
        Ok(targets)
    }
}

/// The names, and the ids that stand in files.
pub(crate) fn all_names(names: &[String], files: &[PathBuf], missing: Missing) -> Result<Vec<String>> {
    let mut names = names.to_vec();
    for path in files {
        match read_id(path) {
            Ok(id) => names.push(id),
            Err(error)
                if missing == Missing::Ignored
                    && matches!(error.code(), Code::NotFound | Code::PathNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}

impl Targets {
    /// Finds those that are named, and the one that was made `last` where it is wanted.
    pub(crate) fn find(
        place: &PlaceArguments,
        names: &[String],
        last: bool,
        missing: Missing,
    ) -> Result<Targets> {
        let (containers, paths) = (place.containers()?, place.paths()?);
        let mut targets = Targets { containers, paths, named: Vec::new(), code: ExitCode::SUCCESS };
        for name in names {
            match targets.containers.find_living(name, &targets.paths) {
                Ok(kept) => targets.named.push((name.clone(), kept)),
                Err(error) if missing == Missing::Ignored && error.kind == ErrorKind::NotFound => {}
                Err(error) => {
                    let is_gone = error.kind == ErrorKind::NotFound && missing == Missing::ToldOfRemoval;
                    render::error(&match is_gone && is_podmans() {
                        true => {
                            let reason =
                                format!("no container with ID or name \"{name}\" found: no such container");
                            Error { operation: String::new(), reason, ..error }
                        }
                        false => error,
                    });
                    targets.code = exit_code(1, crate::FAILED);
                }
            }
        }
        if last {
            targets.named.push(latest(&targets.containers, &targets.paths)?);
        }
        Ok(targets)
    }

    /// Does something with each, whatever became of the others; what was done is printed as it was named.
    pub(super) fn each(&self, mut act: impl FnMut(&Kept) -> Result<ExitCode>) -> Result<ExitCode> {
        let mut code = self.code;
        for (name, kept) in &self.named {
            match act(kept) {
                Ok(done) if done == ExitCode::SUCCESS => print(&format!("{name}\n"))?,
                Ok(other) => code = other,
                Err(error) => {
                    render::error(&error);
                    let is_gone = error.kind == ErrorKind::NotFound;
                    code = if is_gone { exit_code(1, crate::FAILED) } else { ExitCode::from(crate::FAILED) };
                }
            }
        }
        Ok(code)
    }

    /// The command's exit code if all goes well with those that were found.
    pub(crate) fn code(&self) -> ExitCode {
        self.code
    }
}

/// Those by which filters hold, as they are. What can't be read is told, and is no one's obstacle.
pub(crate) fn filtered(
    containers: &KeptContainers,
    paths: &EnginePaths,
    filters: &[String],
) -> Result<Vec<Kept>> {
    let filters: Vec<ContainerFilter> = filters.iter().map(|filter| filter.parse()).collect::<Result<_>>()?;
    let (listed, damaged) = containers.list_all(paths, &filters)?;
    damaged.iter().for_each(|damaged| render::error(&damaged.error));
    let mut found = Vec::new();
    for one in listed.iter().filter(|one| one.is_kept()) {
        match containers.find(&one.id) {
            Ok(kept) => found.push(kept),
            // One that goes by itself meanwhile is no one's loss.
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => render::error(&error),
        }
    }
    Ok(found)
}

/// The one that was made last, with its id.
pub(crate) fn latest(containers: &KeptContainers, paths: &EnginePaths) -> Result<(String, Kept)> {
    let (listed, _) = containers.list_all(paths, &[])?;
    let last = listed.iter().find(|one| one.is_kept()).ok_or_else(|| {
        let error = Error::new(ErrorKind::NotFound, "find the container that was made last", "there is none");
        error.with_hint("`rabbitc create` and `rabbitc run` make some")
    })?;
    Ok((last.id.clone(), containers.find(&last.id)?))
}
