//! The verbs of images: `rabbitc pull`, `images`, `rmi` and others, each with a file of its own; by themselves and behind
//! `rabbitc image`.

mod arguments;
mod ask;
mod diff;
mod fetching;
mod history;
mod import;
mod inspect;
mod list;
mod load;
mod login;
mod manifest;
mod mount;
pub(crate) mod progress;
pub(crate) mod prune;
mod pull;
mod push;
mod registries;
mod remove;
mod save;
mod search;
pub(crate) mod table;
mod tag;
mod tree;

use std::io::Write;
use std::process::ExitCode;

use engine::{Error, ImageName, Result};

pub(crate) use self::arguments::{
    GroupArguments, ImageCommand, ListArguments, RemoveArguments, VERBS, behind_image,
};
pub(crate) use self::diff::DiffArguments;
pub(crate) use self::fetching::FetchArguments;
pub(crate) use self::history::HistoryArguments;
pub(crate) use self::import::ImportArguments;
pub(crate) use self::inspect::InspectArguments;
pub(crate) use self::load::LoadArguments;
pub(crate) use self::login::{LoginArguments, LogoutArguments};
pub(crate) use self::manifest::ManifestArguments;
pub(crate) use self::mount::{MountArguments, UnmountArguments};
pub(crate) use self::prune::PruneArguments;
pub(crate) use self::pull::{NotReady, PullArguments, here, ready};
pub(crate) use self::push::PushArguments;
pub(crate) use self::registries::{access, open_to_change};
pub(crate) use self::remove::remove_one;
pub(crate) use self::save::SaveArguments;
pub(crate) use self::search::SearchArguments;
pub(crate) use self::tag::{ExistsArguments, TagArguments, UntagArguments};
pub(crate) use self::tree::TreeArguments;
use crate::render;

/// Does it, and says what became of it.
pub(crate) fn run(command: ImageCommand) -> ExitCode {
    let outcome = match command {
        ImageCommand::Pull(arguments) => return pull::pull(&arguments),
        ImageCommand::Push(arguments) => push::push(&arguments),
        ImageCommand::Login(arguments) => login::login(&arguments),
        ImageCommand::Logout(arguments) => login::logout(&arguments),
        ImageCommand::Search(arguments) => search::search(&arguments),
        ImageCommand::List(arguments) => list::list(&arguments),
        ImageCommand::Remove(arguments) => return remove::remove(&arguments),
        ImageCommand::Tag(arguments) => tag::tag(&arguments),
        ImageCommand::Untag(arguments) => tag::untag(&arguments),
        ImageCommand::Exists(arguments) => return tag::exists(&arguments),
        ImageCommand::History(arguments) => history::history(&arguments),
        ImageCommand::Inspect(arguments) => return inspect::inspect(&arguments),
        ImageCommand::Prune(arguments) => prune::prune(&arguments),
        ImageCommand::Tree(arguments) => tree::tree(&arguments),
        ImageCommand::Diff(arguments) => diff::diff(&arguments),
        ImageCommand::Save(arguments) => save::save(&arguments),
        ImageCommand::Load(arguments) => load::load(&arguments),
        ImageCommand::Import(arguments) => import::import(&arguments),
        ImageCommand::Mount(arguments) => mount::mount(&arguments),
        ImageCommand::Unmount(arguments) => return mount::unmount(&arguments),
        ImageCommand::Manifest(arguments) => return manifest::manifest(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

pub(crate) fn failed(error: &Error) -> ExitCode {
    render::error(error);
    ExitCode::from(error.kind.exit_code() as u8)
}

/// Prints to standard output. A reader that has gone away is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::system("write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// All of them, before anything is done about the first.
fn parse_names(names: &[String]) -> Result<Vec<ImageName>> {
    names.iter().map(|name| name.parse()).collect()
}
