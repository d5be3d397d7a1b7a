//! Man pages, of the definitions that the command line is read by: `internal-man DIR` writes them, for `cargo xtask man` and for
//! packages.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use engine::{Error, Result};

use crate::completion::definitions::{ALL, Definition};
use crate::render;

/// The name of the internal verb; not for people.
pub(crate) const MAN: &str = "internal-man";

const FILES: &str = "/var/lib/rabbitc, ~/.local/share/rabbitc: images, containers, pods and volumes that are kept.\n\n\
                     /run/rabbitc: what runs.";

/// Writes a page for each verb into a directory that is there.
pub(crate) fn write(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(directory) = words.next() else {
        let error = Error::invalid(MAN, "a directory is to be named".to_owned());
        render::error(&error);
        return ExitCode::from(crate::FAILED);
    };
    match write_into(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            render::error(&error);
            ExitCode::from(crate::FAILED)
        }
    }
}

fn write_into(directory: &Path) -> Result<()> {
    let failed = |error| Error::at_path("write man pages into", directory, error);
    clap_mangen::generate_to(tree(), directory).map_err(failed)
}

/// All verbs in one definition.
fn tree() -> Command {
    let mut all = Command::new("rabbitc")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Containers without a daemon")
        .long_about(
            "rabbitc runs programs in containers, with docker's and podman's commands and without a daemon. Without a command \
             it is `rabbitc run` of a throw-away copy of the host's root, or of `--rootfs`.",
        )
        .after_help(FILES)
        .disable_help_subcommand(true);
    let mut image = None;
    for Definition { verb, command } in ALL {
        let command = command().disable_help_subcommand(true);
        match (*verb, verb.strip_prefix("image ")) {
            ("image", _) => image = Some(command.name("image")),
            (_, Some(verb)) => image = image.map(|image| image.subcommand(command.name(verb))),
            ("create", _) => {
                let about = "Makes a container, which `start` starts; it takes the flags of `run`";
                all = all.subcommand(command.name("create").about(about));
            }
            (verb, None) => all = all.subcommand(command.name(verb)),
        }
    }
    all.subcommand(image.expect("it is among them"))
}
