//! `rabbitc pull`, and what `rabbitc run` fetches.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use engine::{
    Came, Error, ErrorKind, ImageName, ImageStore, LoadFrom, PullRequest, PulledImage, ReadyImage, Result,
    Transport,
};

use super::progress::{Quiet, Shown};
use super::registries::{RegistryArguments, access, open, open_to_read};
use super::{parse_names, print};
use crate::args::Policy;
use crate::render;

/// Fetches images from registries.
#[derive(Debug, Parser)]
#[command(name = "rabbitc pull", max_term_width = 100)]
pub(crate) struct PullArguments {
    /// Names of images: `alpine`, `registry.example/team/app:v1`, `alpine@sha256:…`; also `oci:DIR[:NAME]`,
    /// `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME]`, `dir:DIR`
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
    /// All tags of each repository
    #[arg(short, long)]
    all_tags: bool,
    /// Say nothing but the digest
    #[arg(short, long)]
    quiet: bool,
    /// For which machine: `linux/amd64`, `linux/arm/v7` [default: this one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Name and password for the registry, in the place of what `rabbitc login` and others wrote
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<String>,
    #[command(flatten)]
    registries: RegistryArguments,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(super) fn pull(arguments: &PullArguments) -> Result<()> {
    let (places, names): (Vec<String>, Vec<String>) =
        arguments.names.iter().cloned().partition(|name| Transport::parse(name).is_some());
    let names = parse_names(&names)?;
    let images = open(arguments.root.as_deref())?;
    images.single.iter().for_each(render::notice);
    for place in places {
        pull_from(&images, &place, arguments)?;
    }
    for name in names {
        let request = PullRequest {
            name,
            platform: arguments.platform.clone(),
            access: arguments.registries.access(arguments.creds.as_ref()),
        };
        let all = match arguments.all_tags {
            true => images.tags_to_pull(&request)?,
            false => vec![request.name.clone()],
        };
        for name in all {
            pull_one(&images, &PullRequest { name, ..request.clone() }, arguments)?;
        }
    }
    Ok(())
}

fn pull_one(images: &ImageStore, request: &PullRequest, arguments: &PullArguments) -> Result<()> {
    let show = if arguments.quiet { Show::Nothing } else { Show::OnTerminal };
    let PulledImage { digest, came } = fetch(images, request, show)?;
    if arguments.quiet {
        return print(&format!("{digest}\n"));
    }
    let what = match came {
        Came::Fetched => "pulled",
        Came::Moved => "stands for another image now, which was here",
        Came::Not => "here already",
    };
    print(&format!("{}: {what}\n{digest}\n", request.name.as_str()))
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

/// Whether people see how far it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    Nothing,
    OnTerminal,
}

fn fetch(images: &ImageStore, request: &PullRequest, show: Show) -> Result<PulledImage> {
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
    find(&open_to_read(root)?, &name)
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
    let images = open_to_read(root)?;
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
        return Ok(find(&open_to_read(root)?, &name)?);
    }
    let images = open(root)?;
    let request = PullRequest { name: name.clone(), platform: None, access: access(None) };
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
