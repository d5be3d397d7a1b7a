//! `rabbitc rmi`: names go, and with its last name the image.

use std::process::ExitCode;

use engine::{ErrorKind, ImageName, Removal, Removed};

use super::registries::open_to_change;
use super::{RemoveArguments, failed, parse_names, print};
use crate::render;

pub(super) fn remove(arguments: &RemoveArguments) -> ExitCode {
    let opened = parse_names(&arguments.names)
        .and_then(|names| Ok((names, open_to_change(arguments.root.as_deref())?)));
    let (names, images) = match opened {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    let how = if arguments.force { Removal::Forced } else { Removal::Careful };
    each(&names, |name| match images.remove(name, how) {
        Err(error) if arguments.force && error.kind == ErrorKind::NotFound => Ok(Vec::new()),
        removed => removed,
    })
}

/// Removes each, whatever became of the others.
pub(super) fn each(
    names: &[ImageName],
    remove: impl Fn(&ImageName) -> engine::Result<Vec<Removed>>,
) -> ExitCode {
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
                // As docker's.
                code = ExitCode::from(1);
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
