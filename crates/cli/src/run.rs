//! `rabbitc run`: a container in the foreground.

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use engine::{
    EnginePaths, Error, ErrorKind, Finished, LaunchOptions, ReadyImage, Result, StepTiming, TerminalMode,
};
use sys::signal::SignalDescriptor;

use crate::args::{Life, ProcessArguments, RunArguments, TIDY};
use crate::explain::Explanation;
use crate::id_files::{IdFiles, Pids};
use crate::images::{self, NotReady};
use crate::life::live;
use crate::manner::start_code;
use crate::render;

pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    let paths = arguments.paths();
    // Before a file of our own is open, which would have a number that was to be handed on.
    let kept = check_kept_descriptors(arguments.process.preserve_fds).and_then(|()| check_name(&arguments));
    let explanation = match kept.and_then(|()| Explanation::open(arguments.look.explain.as_ref())) {
        Ok(explanation) => explanation,
        Err(error) => {
            render::error(&error);
            return ExitCode::from(error.kind.exit_code() as u8);
        }
    };
    let image = arguments.image().map(|name| images::ready(name, &arguments.of_image));
    let image = match image.transpose() {
        Ok(image) => Ok(image),
        Err(NotReady::Failed(error)) => Err(error),
        Err(NotReady::Told(code)) => return code,
    };
    let life = image.as_ref().ok().map(|image| arguments.way_of_life(image.as_ref()));
    match life.transpose() {
        Ok(Some(Life::LivingOn(stay))) => {
            let live = image.and_then(|image| {
                image.iter().for_each(tell_foreign);
                live(&arguments, &paths, image.as_ref(), stay)
            });
            return live.unwrap_or_else(|error| {
                render::failed_start(&error, &arguments.given);
                ExitCode::from(error.kind.exit_code() as u8)
            });
        }
        Err(error) => return images::failed(&error),
        Ok(_) => {}
    }
    let ended = image.and_then(|image| run_container(&arguments, &paths, image));
    if arguments.process.rmi {
        // Also where it failed to start; what else is of the image keeps it.
        remove_image(&arguments);
    }
    match ended {
        Ok((mut finished, timeline)) => {
            if finished.network_idle {
                tidy_later(&paths, finished.lingering.take());
            }
            report(&finished);
            explanation.show(&timeline, &arguments.given);
            ExitCode::from(finished.exit.code() as u8)
        }
        Err(error) => {
            tidy_later(&paths, None);
            render::failed_start(&error, &arguments.given);
            // A refusal before the start has no steps to show.
            explanation.show(error.step.as_ref().map_or(&[], |step| &step.timeline), &arguments.given);
            match sys::signal::waiting_end_request() {
                Some(signal) if error.kind == ErrorKind::Interrupted => ExitCode::from(128 + signal as u8),
                _ => start_code(&error),
            }
        }
    }
}

/// Runs it to its end; `image` is not removed until then.
fn run_container(
    arguments: &RunArguments,
    paths: &EnginePaths,
    image: Option<ReadyImage>,
) -> Result<(Finished, Vec<StepTiming>)> {
    let options = arguments.options(terminal(&arguments.process), image.as_ref())?;
    tell_typed(&arguments.process);
    image.iter().for_each(tell_foreign);
    let name = arguments.life.name.as_deref().filter(|name| !name.is_empty());
    let files = IdFiles::open(&arguments.process)?;
    let prepared = engine::prepare(&options, name, paths)?;
    let id = prepared.id().to_owned();
    // Before the start, so that no signal is lost between it and the supervision.
    let (signals, _) = SignalDescriptor::block_and_open()
        .map_err(|error| Error::system("open a signal descriptor", error))?;
    let interrupt = sys::signal::open_heeded_end_requests()
        .map_err(|error| Error::system("open a signal descriptor", error))?;
    let launch = LaunchOptions { interrupt: Some(interrupt), ..LaunchOptions::default() };
    let running = prepared.start(launch)?;
    let own = i32::try_from(std::process::id()).ok();
    files.keep(&id, Pids { program: Some(running.pid()), behind: own }).iter().for_each(render::notice);
    running.notices().iter().for_each(render::notice);
    running.chosen_ports().iter().for_each(|port| render::information(&format!("published {port}")));
    let timeline = match arguments.look.explain {
        Some(_) => running.timeline(),
        None => Vec::new(),
    };
    let finished = running.supervise(&signals, std::io::stdin().as_fd(), std::io::stdout().as_fd())?;
    Ok((finished, timeline))
}

/// Before an image is fetched for a container that can't be called so.
fn check_name(arguments: &RunArguments) -> Result<()> {
    let name = arguments.life.name.as_deref().filter(|name| !name.is_empty());
    name.map_or(Ok(()), engine::check_container_name)
}

/// `--rmi`: that the image stays is no failure of the container.
fn remove_image(arguments: &RunArguments) {
    let Some(name) = arguments.image() else { return };
    if let Err(error) = images::remove_one(name, arguments.of_image.root.as_deref()) {
        let why = match error.kind {
            ErrorKind::WrongStatus => "image is in use by a container",
            _ => "it can't be removed",
        };
        render::notice(&engine::Notice {
            what: format!("the image stays: {why}: {error}"),
            remedy: error.hint,
        });
    }
}

fn tell_foreign(image: &ReadyImage) {
    let Some(machine) = &image.foreign else { return };
    render::notice(&engine::Notice {
        what: format!("the image is for {machine}, and this machine is another"),
        remedy: Some(
            "`rabbitc pull` without `--platform` fetches the one for this machine, if its registry has one"
                .to_owned(),
        ),
    });
}

/// A terminal of its own, of the caller's size, where a person sits at both ends, or where one is asked for.
pub(crate) fn terminal(process: &ProcessArguments) -> TerminalMode {
    let (input, output) = (std::io::stdin().is_terminal(), std::io::stdout().is_terminal());
    if !process.tty && (process.interactive || !input || !output) {
        return TerminalMode::Inherit;
    }
    window()
}

/// What becomes of an input that is no terminal, for whoever passes it to a container with one.
pub(crate) fn tell_typed(process: &ProcessArguments) {
    if process.tty && process.interactive && !std::io::stdin().is_terminal() {
        render::notice(&engine::Notice {
            what: "standard input is no terminal, and is typed into the container's: keys such as Ctrl-C in it do what \
                   they do, and it is echoed"
                .to_owned(),
            remedy: Some("leave `-t` out to pass it on as it is".to_owned()),
        });
    }
}

/// A terminal of the size of the caller's.
pub(crate) fn window() -> TerminalMode {
    let size = rustix::termios::tcgetwinsize(std::io::stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(std::io::stdin()));
    match size {
        Ok(size) => TerminalMode::New(size.ws_row, size.ws_col),
        Err(_) => TerminalMode::New(24, 80),
    }
}

/// Each descriptor to be handed on must be there: else one of our own would take its number.
pub(crate) fn check_kept_descriptors(count: u32) -> Result<()> {
    let missing = (3..count.saturating_add(3)).find(|number| !sys::fd::is_open(*number as i32));
    let Some(number) = missing else { return Ok(()) };
    let error = Error::invalid("--preserve-fds", format!("descriptor {number} is not open"));
    Err(error.with_hint("open it, as with `3<file` in a shell, or hand fewer on"))
}

fn report(finished: &Finished) {
    finished.notices.iter().for_each(render::notice);
    if let Some(memory) = finished.memory {
        let limit = memory.limit.map_or(String::new(), |limit| format!(": its limit is {}", size(limit)));
        let peak = memory.peak.map_or(String::new(), |peak| format!(", its peak was {}", size(peak)));
        let processes =
            if memory.kills == 1 { "1 process".to_owned() } else { format!("{} processes", memory.kills) };
        render::notice(&engine::Notice {
            what: format!("the container ran out of memory and the kernel killed {processes}{limit}{peak}"),
            remedy: Some("give it more with `--memory`".to_owned()),
        });
    }
    finished.remains.iter().for_each(render::error);
}

fn size(bytes: u64) -> String {
    const MEBIBYTE: u64 = 1 << 20;
    if bytes.is_multiple_of(MEBIBYTE) {
        format!("{} MiB", bytes / MEBIBYTE)
    } else {
        format!("{:.1} MiB", bytes as f64 / MEBIBYTE as f64)
    }
}

/// Leaves it to a process of its own to remove the network once the kernel has taken the container's part of it
/// apart: that takes a while, and nobody needs to wait for it. So does the closing of `lingering`.
pub(crate) fn tidy_later(paths: &EnginePaths, lingering: Option<OwnedFd>) {
    if !paths.networks().exists() {
        return;
    }
    // By this link, as the file that runs may have no path (see `host_binary`).
    let mut command = Command::new("/proc/self/exe");
    command.arg(TIDY).arg(paths.base()).current_dir("/");
    command
        .stdin(lingering.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // The next command does it if this one can't be started.
    drop(command.spawn());
}

/// The internal verb behind [`tidy_later`].
pub(crate) fn tidy(paths: &EnginePaths) -> ExitCode {
    match engine::tidy_networks(paths, Duration::from_secs(5)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            render::error(&error);
            ExitCode::from(crate::FAILED)
        }
    }
}
