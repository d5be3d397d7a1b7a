//! The verbs of images: `rabbitc pull`, `images`, `rmi` and others, each with a file of its own; by themselves and behind
//! `rabbitc image`.

mod arguments;
mod history;
mod import;
mod inspect;
mod list;
mod load;
mod progress;
mod prune;
mod remove;
mod save;
pub(crate) mod table;
mod tag;
mod tree;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use engine::{
    Error, ErrorKind, ImageName, ImageStore, LoadFrom, PullRequest, ReadyImage, RegistryAccess, Result,
    Transport,
};

pub(crate) use self::arguments::{
    GroupArguments, ImageCommand, ListArguments, PullArguments, RemoveArguments, VERBS, behind_image,
};
pub(crate) use self::history::HistoryArguments;
pub(crate) use self::import::ImportArguments;
pub(crate) use self::inspect::InspectArguments;
pub(crate) use self::load::LoadArguments;
use self::progress::{Quiet, Shown};
pub(crate) use self::prune::PruneArguments;
pub(crate) use self::save::SaveArguments;
pub(crate) use self::tag::{ExistsArguments, TagArguments, UntagArguments};
pub(crate) use self::tree::TreeArguments;
use crate::args::Policy;
use crate::render;

/// Does it, and says what became of it.
pub(crate) fn run(command: ImageCommand) -> ExitCode {
    let outcome = match command {
        ImageCommand::Pull(arguments) => pull(&arguments),
        ImageCommand::List(arguments) => list::list(&arguments),
        ImageCommand::Remove(arguments) => return remove::remove(&arguments),
        ImageCommand::Tag(arguments) => tag::tag(&arguments),
        ImageCommand::Untag(arguments) => tag::untag(&arguments),
        ImageCommand::Exists(arguments) => return tag::exists(&arguments),
        ImageCommand::History(arguments) => history::history(&arguments),
        ImageCommand::Inspect(arguments) => return inspect::inspect(&arguments),
        ImageCommand::Prune(arguments) => prune::prune(&arguments),
        ImageCommand::Tree(arguments) => tree::tree(&arguments),
        ImageCommand::Save(arguments) => save::save(&arguments),
        ImageCommand::Load(arguments) => load::load(&arguments),
        ImageCommand::Import(arguments) => import::import(&arguments),
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

fn pull(arguments: &PullArguments) -> Result<()> {
    let (places, names): (Vec<String>, Vec<String>) =
        arguments.names.iter().cloned().partition(|name| Transport::parse(name).is_some());
    let names = parse_names(&names)?;
    let images = ImageStore::open(arguments.root.as_deref())?;
    images.single.iter().for_each(render::notice);
    for place in places {
        pull_from(&images, &place, arguments)?;
    }
    for name in names {
        let request = PullRequest {
            name,
            platform: arguments.platform.clone(),
            access: RegistryAccess {
                credentials: arguments.creds.clone(),
                credential_files: credential_files(arguments.authfile.as_ref()),
                insecure: arguments.tls_verify == Some(false),
            },
        };
        let show = if arguments.quiet { Show::Nothing } else { Show::OnTerminal };
        let (digest, is_new) = fetch(&images, &request, show)?;
        if arguments.quiet {
            print(&format!("{digest}\n"))?;
        } else {
            let what = if is_new { "pulled" } else { "here already" };
            print(&format!("{}: {what}\n{digest}\n", request.name.as_str()))?;
        }
    }
    Ok(())
}

/// From an archive or a directory, as podman's `pull oci:DIR`; the ids of what is there.
fn pull_from(images: &ImageStore, place: &str, arguments: &PullArguments) -> Result<()> {
    let from = LoadFrom::Transport(Transport::parse(place).expect("it was seen to be one"));
    let platform = arguments.platform.as_deref();
    let loaded = match !arguments.quiet && std::io::stderr().is_terminal() {
        true => images.load(from, platform, &Shown::new(place)),
        false => images.load(from, platform, &Quiet),
    };
    print(&loaded?.iter().map(|image| format!("{}\n", image.id)).collect::<String>())
}

/// All of them, before anything is done about the first.
fn parse_names(names: &[String]) -> Result<Vec<ImageName>> {
    names.iter().map(|name| name.parse()).collect()
}

/// Whether people see how far it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    Nothing,
    OnTerminal,
}

fn fetch(images: &ImageStore, request: &PullRequest, show: Show) -> Result<(String, bool)> {
    match show == Show::OnTerminal && std::io::stderr().is_terminal() {
        true => images.pull(request, &Shown::new(request.name.as_str())),
        false => images.pull(request, &Quiet),
    }
}

/// Why there is no image for a container.
pub(crate) enum NotReady {
    Failed(Error),
    /// As a process of its own has told.
    Told(ExitCode),
}

impl From<Error> for NotReady {
    fn from(error: Error) -> NotReady {
        NotReady::Failed(error)
    }
}

/// The image of a container, which must be here.
pub(crate) fn here(name: &str, root: Option<&Path>) -> Result<ReadyImage> {
    let name: ImageName = name.parse()?;
    find(&ImageStore::open_to_read(root)?, &name)
}

fn find(images: &ImageStore, name: &ImageName) -> Result<ReadyImage> {
    let shown = name.as_str();
    images.ready(name)?.ok_or_else(|| {
        let error = Error::new(ErrorKind::NotFound, format!("find the image `{shown}`"), "it is not here");
        error.with_hint(format!(
            "`rabbitc pull {shown}` fetches it; `-- {shown}` runs a program of this name on a throw-away copy of the host's root"
        ))
    })
}

/// The image of a container: fetched as `policy` says.
pub(crate) fn ready(
    name: &str,
    root: Option<&Path>,
    policy: Policy,
) -> std::result::Result<ReadyImage, NotReady> {
    let name: ImageName = name.parse()?;
    let images = ImageStore::open_to_read(root)?;
    if policy == Policy::Never {
        return Ok(find(&images, &name)?);
    }
    if policy != Policy::Always
        && let Some(image) = images.ready(&name)?
    {
        return Ok(image);
    }
    let takes_namespace = images.is_to_read();
    // Whoever is alone in the store sweeps what a failure leaves.
    drop(images);
    if takes_namespace {
        fetch_apart(&name, root)?;
        return Ok(find(&ImageStore::open_to_read(root)?, &name)?);
    }
    let images = ImageStore::open(root)?;
    let request = PullRequest {
        name: name.clone(),
        platform: None,
        access: RegistryAccess { credential_files: credential_files(None), ..RegistryAccess::default() },
    };
    fetch(&images, &request, Show::OnTerminal)?;
    Ok(find(&images, &name)?)
}

/// Fetches in a process of its own: without root that takes a user namespace, and the container gets another one.
fn fetch_apart(name: &ImageName, root: Option<&Path>) -> std::result::Result<(), NotReady> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("pull");
    if let Some(root) = root {
        command.arg("--root").arg(root);
    }
    // What the program prints is all that is read there.
    command.args(["--", name.as_str()]).stdin(Stdio::null()).stdout(Stdio::null());
    let status =
        command.status().map_err(|error| Error::system(format!("pull `{}`", name.as_str()), error))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(NotReady::Told(ExitCode::from(code as u8))),
        None => {
            let operation = format!("pull `{}`", name.as_str());
            Err(Error::new(ErrorKind::System, operation, format!("it was ended by {status}")).into())
        }
    }
}

/// Where docker and podman keep credentials, in podman's order; `given` is the file that somebody named.
pub(crate) fn credential_files(given: Option<&PathBuf>) -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = given.cloned().or_else(|| variable("REGISTRY_AUTH_FILE")) {
        return vec![file];
    }
    let session = variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
    let mut files: Vec<PathBuf> = session.into_iter().collect();
    // Root's, which nobody else may look at.
    files.extend(Some(PathBuf::from("/run/containers/0/auth.json")).filter(|file| file.exists()));
    let home = variable("HOME");
    files.extend(home.iter().map(|home| home.join(".config/containers/auth.json")));
    let docker = variable("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
    files.extend(docker.map(|directory| directory.join("config.json")));
    files
}
