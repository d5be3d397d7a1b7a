//! `rabbitc run` and `create` of containers that live on.

use std::os::fd::AsFd;
use std::process::ExitCode;

use engine::{CreateRequest, EnginePaths, Error, KeptContainers, Look, ReadyImage, Result, Started, Stay};
use sys::signal::SignalDescriptor;

use super::attach::{Bond, Streams, follow, pair};
use crate::args::{Life, RunArguments};
use crate::id_files::{IdFiles, Pids};
use crate::images::{self, NotReady, print};
use crate::pods::PodPlace;
use crate::run::{tell_typed, terminal};

/// Starts a container that lives on; attached to it, unless it is to be left alone.
pub(crate) fn live(
    arguments: &RunArguments,
    paths: &EnginePaths,
    image: Option<&ReadyImage>,
    stay: Stay,
) -> Result<ExitCode> {
    let containers = arguments.containers()?;
    let (request, place) = request(arguments, image, stay, paths)?;
    let bond = Bond::new(arguments.life.detach_keys.as_deref(), arguments.process.sig_proxy)?;
    let files = IdFiles::open(&arguments.process)?;
    make_room(arguments, &containers, paths)?;
    let has_terminal = request.options.process.terminal != engine::TerminalMode::Inherit;
    if !arguments.life.detach {
        tell_typed(&arguments.process);
    }
    if arguments.life.detach {
        let id = place.make(&containers, request, paths, Look::AtStart)?;
        return match containers.start_new(&id, stay, None, paths)? {
            Started::Failed(code) => Ok(ExitCode::from(code as u8)),
            Started::Now | Started::Before => {
                files.keep(&id, pids(&containers, &id, paths)).iter().for_each(crate::render::notice);
                print(&format!("{id}\n")).map(|()| ExitCode::SUCCESS)
            }
        };
    }
    // Before the start, so that no signal is lost between it and the attachment.
    let (signals, _) = SignalDescriptor::block_and_open()
        .map_err(|error| Error::system("open a signal descriptor", error))?;
    let (ours, theirs) = pair()?;
    let id = place.make(&containers, request, paths, Look::AtStart)?;
    containers.tell_attached(&id);
    if let Started::Failed(code) = containers.start_new(&id, stay, Some(theirs), paths)? {
        return Ok(ExitCode::from(code as u8));
    }
    files.keep(&id, pids(&containers, &id, paths)).iter().for_each(crate::render::notice);
    let shows = |name: &String| !name.eq_ignore_ascii_case("stdin");
    if !arguments.life.attach.is_empty() && !arguments.life.attach.iter().any(shows) {
        // As docker has it: whoever sees nothing of the container learns what it is called.
        print(&format!("{id}\n"))?;
    }
    let streams = Streams::of_run(arguments, has_terminal)?;
    follow(&containers, &id, paths, ours.as_fd(), &signals, streams, bond)
}

/// One that was short has ended by now.
fn pids(containers: &KeptContainers, id: &str, paths: &EnginePaths) -> Pids {
    Pids { program: containers.pid(id, paths), behind: containers.pid_behind(id) }
}

/// `rabbitc create`: prints the id.
pub(super) fn create(arguments: &RunArguments) -> Result<ExitCode> {
    let paths = arguments.paths();
    let image = arguments.image().map(|name| images::ready(name, &arguments.of_image)).transpose();
    let image = match image {
        Ok(image) => image,
        Err(NotReady::Failed(error)) => return Err(error),
        Err(NotReady::Told(code)) => return Ok(code),
    };
    let stay = if arguments.rm == Some(true) { Stay::Removed } else { Stay::Kept };
    let containers = arguments.containers()?;
    let (request, place) = request(arguments, image.as_ref(), stay, &paths)?;
    let files = IdFiles::open(&arguments.process)?;
    make_room(arguments, &containers, &paths)?;
    let id = place.make(&containers, request, &paths, Look::Now)?;
    if stay == Stay::Kept {
        containers.outlive_power(&id)?;
    }
    files.keep_id(&id).iter().for_each(crate::render::notice);
    print(&format!("{id}\n")).map(|()| ExitCode::SUCCESS)
}

fn request(
    arguments: &RunArguments,
    image: Option<&ReadyImage>,
    stay: Stay,
    paths: &EnginePaths,
) -> Result<(CreateRequest, PodPlace)> {
    // Conflicts are the same as where it is run at once.
    let _: Life = arguments.way_of_life(image)?;
    let directory =
        std::env::current_dir().map_err(|error| Error::system("find the working directory", error))?;
    let options = arguments.options(terminal(&arguments.process), image)?;
    let mut request = CreateRequest {
        options: options.made_absolute(&directory),
        life: arguments.life(image)?,
        name: arguments.life.name.clone().filter(|name| !name.is_empty()),
        stay,
        pod: None,
    };
    let place = PodPlace::find(arguments, &mut request, paths)?;
    Ok((request, place))
}

/// `--replace`.
fn make_room(arguments: &RunArguments, containers: &KeptContainers, paths: &EnginePaths) -> Result<()> {
    match arguments.life.name.as_deref().filter(|_| arguments.life.replace) {
        Some(name) => containers.remove_named(name, paths),
        None if arguments.life.replace => {
            let error = Error::invalid("--replace", "it takes a name to replace".to_owned());
            Err(error.with_hint("write `--name` too"))
        }
        None => Ok(()),
    }
}
