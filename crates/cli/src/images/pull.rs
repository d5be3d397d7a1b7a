//! `rabbitc pull`, and what `rabbitc run` fetches.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use clap::Parser;
use engine::{
    Came, Error, ErrorKind, ImageName, ImageStore, LoadFrom, PullRequest, PulledImage, ReadyImage, Result,
    Transport,
};

use super::progress::{Quiet, Shown};
use super::registries::{open, open_to_read};
use super::{FetchArguments, failed, print};
use crate::args::{ImageArguments, Policy};
use crate::manner::{is_podmans, shown_id};
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
    /// When to fetch it: always, where it is missing, where its registry has a newer one, or never
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "always",
        hide_default_value = true,
        hide_possible_values = true
    )]
    policy: Policy,
    #[command(flatten)]
    fetch: FetchArguments,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Each is pulled, whatever became of the others.
pub(super) fn pull(arguments: &PullArguments) -> ExitCode {
    let (images, places, names) = match begin(arguments) {
        Ok(begun) => begun,
        Err(error) => return failed(&error),
    };
    let mut code = ExitCode::SUCCESS;
    let mut ended = |outcome: Result<()>| {
        if let Err(error) = outcome {
            code = failed(&error);
        }
    };
    places.iter().for_each(|place| ended(pull_from(&images, place, arguments)));
    names.into_iter().for_each(|name| ended(pull_name(&images, name, arguments)));
    code
}

/// All words are looked at before the first image comes.
fn begin(arguments: &PullArguments) -> Result<(ImageStore, Vec<String>, Vec<ImageName>)> {
    let (places, names): (Vec<String>, Vec<String>) =
        arguments.names.iter().cloned().partition(|name| Transport::parse(name).is_some());
    let names = names.iter().map(|name| ImageName::in_registry(name)).collect::<Result<_>>()?;
    let images = open(arguments.root.as_deref())?;
    images.single.iter().for_each(render::notice);
    Ok((images, places, names))
}

fn pull_name(images: &ImageStore, name: ImageName, arguments: &PullArguments) -> Result<()> {
    if matches!(arguments.policy, Policy::Missing | Policy::Never) && !arguments.all_tags {
        match images.exists(&name)? {
            true => return print(&format!("{}\n", shown_id(images.inspect(&name)?.id))),
            false if arguments.policy == Policy::Never => {
                let operation = format!("find the image `{}`", name.as_str());
                let error = Error::new(ErrorKind::NotFound, operation, "it is not here");
                return Err(error.with_hint("leave `--policy` out to have it fetched"));
            }
            false => {}
        }
    }
    let request =
        PullRequest { name, platform: arguments.fetch.platform()?, access: arguments.fetch.access()? };
    let all = match arguments.all_tags {
        true => images.tags_to_pull(&request)?,
        false => vec![request.name.clone()],
    };
    for name in all {
        pull_one(images, &PullRequest { name, ..request.clone() }, arguments)?;
    }
    Ok(())
}

fn pull_one(images: &ImageStore, request: &PullRequest, arguments: &PullArguments) -> Result<()> {
    let show = if arguments.quiet { Show::Nothing } else { Show::OnTerminal };
    let PulledImage { digest, came } = fetch(images, request, show)?;
    if is_podmans() {
        return print(&format!("{}\n", shown_id(images.inspect(&request.name)?.id)));
    }
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
    let platform = arguments.fetch.platform()?;
    let platform = platform.as_deref();
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
    let name = request.name.as_str();
    let is_told = is_podmans() && show == Show::OnTerminal;
    if is_told {
        render::information(&format!("Trying to pull {name}..."));
    }
    let pulled = match show == Show::OnTerminal && std::io::stderr().is_terminal() {
        true => images.pull(request, &Shown::new(name)),
        false => images.pull(request, &Quiet),
    }?;
    if is_told && pulled.came == Came::Fetched {
        render::information("Writing manifest to image destination");
    }
    Ok(pulled)
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

/// The image that a container is to be of.
struct Wanted<'a> {
    name: ImageName,
    /// For which machine, where somebody says so.
    platform: Option<String>,
    arguments: &'a ImageArguments,
}

/// The image of a container, which must be here.
pub(crate) fn here(name: &str, arguments: &ImageArguments) -> Result<ReadyImage> {
    let wanted = Wanted::new(name, arguments)?;
    wanted.find(&open_to_read(arguments.root.as_deref())?, Fetched::No)
}

/// The image of a container: fetched as the policy of `arguments` says.
pub(crate) fn ready(name: &str, arguments: &ImageArguments) -> std::result::Result<ReadyImage, NotReady> {
    if Transport::parse(name).is_some() {
        // As podman's `run docker-archive:FILE`.
        return Ok(here(&bring_apart(name, arguments)?, arguments)?);
    }
    let wanted = Wanted::new(name, arguments)?;
    let images = open_to_read(arguments.root.as_deref())?;
    let is_here = match arguments.pull {
        Policy::Never => return Ok(wanted.find(&images, Fetched::No)?),
        Policy::Always => false,
        Policy::Missing => match wanted.suitable(&images)? {
            Some(image) => return Ok(image),
            None => false,
        },
        Policy::Newer => wanted.suitable(&images)?.is_some(),
    };
    let takes_namespace = images.is_to_read();
    // Whoever is alone in the store sweeps what a failure leaves.
    drop(images);
    let fetched = match takes_namespace {
        true => wanted.fetch_apart(),
        false => wanted.fetch(),
    };
    match fetched {
        Ok(()) => {}
        Err(reason) if is_here => wanted.tell_that_it_stays(&reason),
        Err(reason) => return Err(reason),
    }
    Ok(wanted.find(&open_to_read(arguments.root.as_deref())?, Fetched::Yes)?)
}

/// Brings what an archive or a directory has, by a process of its own, which may take a user namespace; the id of the last image.
fn bring_apart(place: &str, arguments: &ImageArguments) -> std::result::Result<String, NotReady> {
    let mut command = pull_apart(arguments);
    command.args(["--quiet", "--", place]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let operation = format!("pull `{place}`");
    let output = command.output().map_err(|error| Error::system(operation.as_str(), error))?;
    told(output.status, &operation)?;
    let ids = String::from_utf8_lossy(&output.stdout);
    let id = ids.lines().last().ok_or_else(|| {
        let error = Error::new(ErrorKind::NotFound, operation, "there is no image in it");
        error.with_hint("`rabbitc load -i` says more of an archive")
    })?;
    Ok(id.to_owned())
}

/// The command of a process that pulls: without root that takes a user namespace, and the container gets another one.
fn pull_apart(arguments: &ImageArguments) -> Command {
    let mut command = Command::new("/proc/self/exe");
    // It speaks as this one does.
    command.arg0(std::env::args_os().next().unwrap_or_default());
    command.arg("pull").args(arguments.fetch.words());
    if let Some(root) = &arguments.root {
        command.arg("--root").arg(root);
    }
    command
}

/// What became of it.
fn told(status: ExitStatus, operation: &str) -> std::result::Result<(), NotReady> {
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(NotReady::Told(ExitCode::from(code as u8))),
        None => Err(Error::new(ErrorKind::System, operation, format!("it was ended by {status}")).into()),
    }
}

/// Whether an image has just been looked for in its registry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fetched {
    No,
    Yes,
}

impl Wanted<'_> {
    fn new<'a>(name: &str, arguments: &'a ImageArguments) -> Result<Wanted<'a>> {
        Ok(Wanted { name: ImageName::in_registry(name)?, platform: arguments.fetch.platform()?, arguments })
    }

    /// The one that is here, if it is for the machine that was asked for.
    fn suitable(&self, images: &ImageStore) -> Result<Option<ReadyImage>> {
        let Some(mut image) = images.ready(&self.name, self.platform.as_deref())? else { return Ok(None) };
        let is_for = match &self.platform {
            Some(platform) => image.is_for(platform)?,
            None => true,
        };
        // Whoever asks for another machine's knows.
        image.foreign = image.foreign.filter(|_| self.platform.is_none());
        Ok(is_for.then_some(image))
    }

    fn find(&self, images: &ImageStore, fetched: Fetched) -> Result<ReadyImage> {
        if let Some(image) = self.suitable(images)? {
            return Ok(image);
        }
        let shown = self.name.as_str();
        let failed =
            |reason: String| Error::new(ErrorKind::NotFound, format!("find the image `{shown}`"), reason);
        let (Some(other), Some(platform)) =
            (images.ready(&self.name, self.platform.as_deref())?, &self.platform)
        else {
            return Err(failed("it is not here".to_owned()).with_hint(format!(
                "`rabbitc pull {shown}` fetches it; `-- {shown}` runs a program of this name on a throw-away copy of the host's \
                 root"
            )));
        };
        let error = failed(format!("it is for `{}`, and not for `{platform}`", other.platform));
        Err(error.with_hint(match fetched {
            Fetched::No => format!(
                "`rabbitc pull --platform={platform} {shown}` fetches the other one, if its registry has it"
            ),
            Fetched::Yes => {
                "its registry has it for no other machine; leave `--platform` and `--arch` out to run it as it is"
                    .to_owned()
            }
        }))
    }

    fn show(&self) -> Show {
        if self.arguments.quiet { Show::Nothing } else { Show::OnTerminal }
    }

    fn fetch(&self) -> std::result::Result<(), NotReady> {
        let images = open(self.arguments.root.as_deref())?;
        let request = PullRequest {
            name: self.name.clone(),
            platform: self.platform.clone(),
            access: self.arguments.fetch.access()?,
        };
        fetch(&images, &request, self.show())?;
        Ok(())
    }

    /// Fetches in a process of its own.
    fn fetch_apart(&self) -> std::result::Result<(), NotReady> {
        let mut command = pull_apart(self.arguments);
        if self.show() == Show::Nothing {
            command.arg("--quiet");
        }
        let name = self.name.as_str();
        // What the program prints is all that is read there. A password is typed there and stands on no command line.
        let stdin = if self.arguments.fetch.asks() { Stdio::inherit() } else { Stdio::null() };
        command.args(["--", name]).stdin(stdin).stdout(Stdio::null());
        let operation = format!("pull `{name}`");
        told(command.status().map_err(|error| Error::system(operation.as_str(), error))?, &operation)
    }

    /// A newer one could not be had.
    fn tell_that_it_stays(&self, reason: &NotReady) {
        let name = self.name.as_str();
        let reason = match reason {
            NotReady::Failed(error) => format!(": {error}"),
            NotReady::Told(_) => String::new(),
        };
        render::notice(&engine::Notice {
            what: format!(
                "whether there is a newer `{name}` is not known, and the one that is here is used{reason}"
            ),
            remedy: None,
        });
    }
}
