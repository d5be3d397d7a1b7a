//! `rabbitc rmi`: names go, and with its last name the image.

use std::path::Path;
use std::process::ExitCode;

use engine::{Error, ErrorKind, ImageFilters, ImageName, ImageStore, Listed, Removal, Removed, Result};

use super::registries::open_to_change;
use super::{RemoveArguments, failed, parse_names, print};
use crate::manner::exit_code;
use crate::render;

pub(super) fn remove(arguments: &RemoveArguments) -> ExitCode {
    let opened = parse_names(&arguments.names)
        .and_then(|names| Ok((names, open_to_change(arguments.root.as_deref())?)));
    let (names, images) = match opened {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    if arguments.all && !arguments.names.is_empty() {
        let error =
            Error::invalid("rabbitc rmi", "all images and some of them exclude each other".to_owned());
        return failed(&error.with_hint("leave `--all` out, or the images"));
    }
    let names = match arguments.all {
        true => match all(&images) {
            Ok(names) => names,
            Err(error) => return failed(&error),
        },
        false => names,
    };
    let how = if arguments.force { Removal::Forced } else { Removal::Careful };
    // Of all, one that goes with another one's name is no one's loss.
    let may_lack = arguments.force || arguments.ignore || arguments.all;
    each(&names, |name| match images.remove(name, how) {
        Err(error) if may_lack && error.kind == ErrorKind::NotFound => Ok(Vec::new()),
        removed => removed,
    })
}

/// Removes one by its name, where nothing is of it.
pub(crate) fn remove_one(name: &str, root: Option<&Path>) -> Result<()> {
    open_to_change(root)?.remove(&ImageName::in_registry(name)?, Removal::Careful).map(drop)
}

/// Every name, and the ids of those without one.
fn all(images: &ImageStore) -> Result<Vec<ImageName>> {
    let called = |one: &Listed| match (&one.repository, &one.tag) {
        (Some(repository), Some(tag)) => format!("{repository}:{tag}"),
        _ => one.id.clone(),
    };
    images.list(&ImageFilters(Vec::new()))?.iter().map(|one| called(one).parse()).collect()
}

/// Removes each, whatever became of the others.
pub(super) fn each(names: &[ImageName], remove: impl Fn(&ImageName) -> Result<Vec<Removed>>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        match remove(name) {
            Ok(removed) => {
                if let Err(error) = print(&lines(&removed)) {
                    return failed(&error);
                }
            }
            Err(error) => {
                render::error(&error);
                code = exit_code(1, if error.kind == ErrorKind::WrongStatus { 2 } else { 1 });
            }
        }
    }
    code
}

/// A line for each name and image that is gone.
fn lines(removed: &[Removed]) -> String {
    let line = |one: &Removed| match one {
        Removed::Name(name) => format!("Untagged: {name}\n"),
        Removed::Image(id) => format!("Deleted: {id}\n"),
    };
    removed.iter().map(line).collect()
}
