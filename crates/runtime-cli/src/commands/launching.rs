//! What `create` and `run` have in common: their options, and the way from a bundle to a launched container.

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};
use runtime::launch::{BareHost, Container, LaunchOptions, LineEnds, StepTiming, launch};
use runtime::plan::{BindRules, ContainerPlan, PlanOptions, RootChange, Start};
use runtime::spec::{ConsoleSize, Spec};
use runtime::state_dir::write_atomically;
use runtime::{Bundle, ContainerId, Error, ErrorKind, Result, lifecycle};

use super::{Failure, activation, stages};
use crate::args::{self, Globals};
use crate::render;

/// Who stays with the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// The command waits for its end.
    Foreground,
    /// The command ends, and the container goes on.
    Detached,
}

/// Options of `create` and `run`.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) id: ContainerId,
    pub(super) bundle: PathBuf,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) console_socket: Option<PathBuf>,
    pub(super) new_keyring: bool,
    pub(super) kept_descriptors: u32,
    pub(super) presence: Presence,
    pub(super) keep: bool,
    pub(super) pidfd_socket: Option<PathBuf>,
    pub(super) root_change: RootChange,
    /// In the place of the bundle's config.json.
    pub(super) config: Option<PathBuf>,
    pub(super) sockets: activation::Sockets,
}

/// Reads them; `verb` is `create` or `run`.
pub(super) fn parse(mut parser: Parser, verb: &str) -> std::result::Result<Arguments, Failure> {
    let mut id = None;
    let mut arguments = Arguments {
        id: ContainerId::parse("unknown")?,
        bundle: PathBuf::from("."),
        pid_file: None,
        console_socket: None,
        new_keyring: true,
        kept_descriptors: 0,
        presence: if verb == "create" { Presence::Detached } else { Presence::Foreground },
        keep: false,
        pidfd_socket: None,
        root_change: RootChange::Pivot,
        config: None,
        sockets: activation::Sockets::of_caller()?,
    };
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("bundle") | Arg::Short('b') => arguments.bundle = args::path(&mut parser)?,
            Arg::Long("pid-file") => arguments.pid_file = Some(args::path(&mut parser)?),
            Arg::Long("console-socket") => arguments.console_socket = Some(args::path(&mut parser)?),
            Arg::Long("no-new-keyring") => arguments.new_keyring = !args::switch(&mut parser)?,
            Arg::Long("preserve-fds") => {
                arguments.kept_descriptors = args::number(&mut parser, "--preserve-fds")?;
            }
            Arg::Long("no-pivot") => {
                arguments.root_change =
                    if args::switch(&mut parser)? { RootChange::Move } else { RootChange::Pivot };
            }
            Arg::Long("pidfd-socket") => arguments.pidfd_socket = Some(args::path(&mut parser)?),
            // crun's.
            Arg::Long("config") | Arg::Short('f') => arguments.config = Some(args::path(&mut parser)?),
            Arg::Long("detach") | Arg::Short('d') if verb == "run" => {
                arguments.presence =
                    if args::switch(&mut parser)? { Presence::Detached } else { Presence::Foreground };
            }
            Arg::Long("keep") if verb == "run" => arguments.keep = args::switch(&mut parser)?,
            // Nothing here makes this process a subreaper.
            Arg::Long("no-subreaper") if verb == "run" => drop(args::switch(&mut parser)?),
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Value(value) => args::take_id(&mut id, value)?,
            other => return Err(args::unexpected(other).into()),
        }
    }
    args::check_preserved(arguments.sockets.count.saturating_add(arguments.kept_descriptors))?;
    Ok(Arguments { id: args::need_id(id, verb)?, ..arguments })
}

/// From the bundle to a container, its pid file written; with whoever carries its news, if somebody waits for them and the
/// program runs.
pub(super) fn bring_up(
    globals: &Globals,
    arguments: &Arguments,
    start: Start,
) -> Result<(Container, Option<activation::Messenger>)> {
    let bundle = match &arguments.config {
        Some(config) => Bundle::open_with(&arguments.bundle, config)?,
        None => Bundle::open(&arguments.bundle)?,
    };
    let mut spec = bundle.spec;
    check_console(&spec, arguments)?;
    let foreground = arguments.presence == Presence::Foreground;
    if foreground {
        take_window_size(&mut spec);
    }
    let root = globals.state();
    give_callers_environment(&mut spec);
    let sockets = &arguments.sockets;
    let notify = activation::Notify::of_caller(&root, &arguments.id)?;
    if let Some(process) = &mut spec.process {
        process.env.extend(sockets.environment());
        process.env.extend(notify.as_ref().map(|_| activation::Notify::environment()));
    }
    spec.mounts.extend(notify.as_ref().map(activation::Notify::mount));
    let options = PlanOptions {
        start,
        cgroup_manager: globals.cgroup_manager,
        new_keyring: arguments.new_keyring,
        kept_descriptors: arguments.kept_descriptors + sockets.count,
        root_change: arguments.root_change,
        config: arguments.config.clone(),
        bind_rules: BindRules::Customary,
        ..PlanOptions::new(arguments.id.clone(), bundle.path, root.directory(&arguments.id))
    };
    let plan = ContainerPlan::new(&spec, &options)?;
    for warning in &plan.warnings {
        render::warn(globals, &warning.to_string());
    }
    let console_socket = arguments.console_socket.as_deref().map(connect).transpose()?;
    let pidfd_socket = arguments.pidfd_socket.as_deref().map(connect_for_pidfd).transpose()?;
    let line_ends = if foreground { line_ends() } else { LineEnds::Screen };
    let launch_options = LaunchOptions { console_socket, line_ends, ..LaunchOptions::default() };
    // Before the program can say anything.
    let messenger = match (&notify, start) {
        (Some(_), Start::Immediately) => activation::Messenger::open(&root, &arguments.id)?,
        _ => None,
    };
    let container = launch(&plan, &root, &mut BareHost, launch_options)?;
    if globals.debug {
        tell_timeline(globals, &plan.timeline(&container.times));
    }
    stages::tell_launched(globals, &plan, container.pid);
    let told = tell_process(arguments.pid_file.as_deref(), pidfd_socket, container.pid, &container.pidfd);
    if let Err(mut error) = told {
        error.rollback.extend(take_back(container));
        return Err(error);
    }
    if let Some(notify) = notify {
        notify.keep();
    }
    Ok((container, messenger))
}

/// A hook of the host that names no variables has the caller's, as with runc: programs that are hooks rely on PATH.
fn give_callers_environment(spec: &mut Spec) {
    let Some(hooks) = &mut spec.hooks else { return };
    let lists = [
        &mut hooks.prestart,
        &mut hooks.create_runtime,
        &mut hooks.create_container,
        &mut hooks.poststart,
        &mut hooks.poststop,
    ];
    for hook in lists.into_iter().flatten().filter(|hook| hook.env.is_empty()) {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some(format!("{}={}", name.into_string().ok()?, value.into_string().ok()?))
        });
        hook.env = variables.collect();
    }
}

/// Lines as a screen wants them, unless the output is none: whoever reads it there expects newlines alone.
pub(super) fn line_ends() -> LineEnds {
    if std::io::stdout().is_terminal() { LineEnds::Screen } else { LineEnds::Plain }
}

/// Connects to the socket that takes a descriptor of the process.
pub(super) fn connect_for_pidfd(path: &Path) -> Result<OwnedFd> {
    UnixStream::connect(path)
        .map(OwnedFd::from)
        .map_err(|error| Error::at_path("connect to the pidfd socket", path, error))
}

/// Tells whoever waits for it which process was started: by the pid file and, as runc does it, by a descriptor.
pub(super) fn tell_process(
    pid_file: Option<&Path>,
    pidfd_socket: Option<OwnedFd>,
    pid: i32,
    pidfd: &OwnedFd,
) -> Result<()> {
    if let Some(path) = pid_file {
        write_pid_file(path, pid)?;
    }
    if let Some(socket) = pidfd_socket {
        runtime::sync::send_descriptor(socket.as_fd(), b"pidfd", pidfd.as_fd())
            .map_err(|error| Error::system("send the pidfd to `--pidfd-socket`", error))?;
    }
    Ok(())
}

/// Removes a container that was launched and can't be used. Returns what failed meanwhile.
pub(super) fn take_back(container: Container) -> Vec<Error> {
    let remove = || -> Result<lifecycle::Warnings> {
        let record = container.state.read()?;
        lifecycle::remove(container.state, &record)
    };
    remove().unwrap_or_else(|error| vec![error])
}

/// A terminal needs somebody at its other end, and a socket for it needs a terminal.
fn check_console(spec: &Spec, arguments: &Arguments) -> Result<()> {
    let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
    check_terminal(terminal, arguments.presence, arguments.console_socket.as_deref())
}

/// The same for every verb that starts a program.
pub(super) fn check_terminal(terminal: bool, presence: Presence, socket: Option<&Path>) -> Result<()> {
    match (terminal, presence, socket) {
        (true, Presence::Detached, None) => {
            let reason = "a terminal is asked for, and nobody would hold its other end".to_owned();
            let hint = "name a socket with `--console-socket`, or set process.terminal to false";
            Err(Error::invalid("process.terminal", reason).with_hint(hint))
        }
        (false, _, Some(_)) => {
            let hint = "set process.terminal to true, or leave the option out";
            Err(Error::invalid("--console-socket", "no terminal is asked for".to_owned()).with_hint(hint))
        }
        (_, Presence::Foreground, Some(_)) => {
            let hint = "add `--detach`, or leave the option out";
            let reason = "a command in the foreground shows the terminal itself".to_owned();
            Err(Error::invalid("--console-socket", reason).with_hint(hint))
        }
        _ => Ok(()),
    }
}

/// The caller's window size, where config.json has none.
fn take_window_size(spec: &mut Spec) {
    if let Some(process) = &mut spec.process
        && process.terminal
        && process.console_size.is_none()
    {
        process.console_size = window_size();
    }
}

/// The size of the terminal on stdin, where one is there and knows.
pub(super) fn window_size() -> Option<ConsoleSize> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(input.as_fd()).ok()?;
    (size.ws_row != 0).then_some(ConsoleSize { height: size.ws_row, width: size.ws_col })
}

/// Connects to the socket that takes the terminal.
pub(super) fn connect(path: &Path) -> Result<OwnedFd> {
    UnixStream::connect(path)
        .map(OwnedFd::from)
        .map_err(|error| Error::at_path("connect to the console socket", path, error))
}

/// Writes the pid as digits alone, whole or not at all, as callers watch for the file.
fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        let reason = format!("`{}` has no file name", path.display());
        return Err(Error::new(ErrorKind::Invalid, "--pid-file", reason));
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    write_atomically(directory, name, pid.to_string().as_bytes())
}

pub(super) fn tell_timeline(globals: &Globals, timeline: &[StepTiming]) {
    if !globals.debug {
        return;
    }
    for timing in timeline {
        let microseconds = timing.end_nanoseconds.saturating_sub(timing.start_nanoseconds) / 1000;
        let step = &timing.step;
        render::debug(globals, &format!("{} {} {}: {microseconds} us", step.number, step.name, step.object));
    }
}
