//! `rabbitc exec`: another program in a container that runs.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use engine::{
    DetachKeys, Error, ErrorKind, ExecOutcome, ExecRequest, Execution, Input, Result, TerminalMode,
    exec_exit_code, parse_user,
};
use sys::signal::SignalDescriptor;

use super::{containers, find, mistaken, refused, split};
use crate::args::{kept_descriptors, variables};
use crate::life::{PlaceArguments, parse_keys};
use crate::manner::exit_code;
use crate::render;
use crate::run::{check_kept_descriptors, window};

/// Runs another program in a container that runs, as the user of its own program unless said otherwise. Exits with what the program
/// exits with; with 127 where there is no such program, and with 126 where it can't be executed.
#[derive(Debug, Parser)]
#[command(
    name = "rabbitc exec",
    override_usage = "rabbitc exec [OPTIONS] CONTAINER PROGRAM [ARGS]...",
    max_term_width = 100
)]
pub(crate) struct ExecArguments {
    /// Don't wait for it; nobody sees what it writes
    #[arg(short, long)]
    detach: bool,
    /// Keys by which to leave it at a terminal, while it runs on [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Set a variable of its environment; `NAME` and `NAME*` take the caller's
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Read variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Pass standard input on; without it the program has none
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal of its own
    #[arg(short, long)]
    tty: bool,
    /// Run as this user, by the container's own /etc/passwd and /etc/group, or by numbers
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Directory to start in [default: that of the container's own program]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Give it all capabilities
    #[arg(long)]
    privileged: bool,
    /// Hand descriptors to it: how many from 3 on
    #[arg(long, value_name = "COUNT", default_value = "0", hide_default_value = true, value_parser = kept_descriptors)]
    preserve_fds: u32,
    /// In the container that was made last; then none is named
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    place: PlaceArguments,
    /// The container, by its id, the beginning of it, or its name; then the program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CONTAINER PROGRAM")]
    words: Vec<String>,
}

/// The internal verb of the process that holds the terminal of a program for which nobody waits; not for people.
pub(crate) const HOLD: &str = "internal-hold-terminal";

/// How it went on with the program.
enum Left {
    Waited(ExitCode),
    Running,
}

pub(super) fn exec(arguments: &ExecArguments) -> ExitCode {
    // Before a file of our own is open, which would have a number that was to be handed on.
    let asked = check_kept_descriptors(arguments.preserve_fds).and_then(|()| {
        let (named, command) = split("exec", &arguments.words, arguments.latest.into())?;
        let keys = parse_keys(arguments.detach_keys.as_deref())?;
        Ok((named, request(arguments, command)?, keys))
    });
    let (named, request, keys) = match asked {
        Ok(asked) => asked,
        Err(error) => return mistaken(&error),
    };
    let found = match containers(&arguments.place).and_then(|containers| find(&containers, named)) {
        Ok(found) => found,
        Err(error) => return refused(&error),
    };
    let started = match arguments.detach {
        true => detached(|| found.exec(&request)).map(|()| Left::Running),
        false => attached(arguments, &keys, || found.exec(&request)).map(Left::Waited),
    };
    match started {
        Ok(Left::Waited(code)) => code,
        Ok(Left::Running) => ExitCode::SUCCESS,
        Err(error) if matches!(error.kind, ErrorKind::WrongStatus | ErrorKind::NotFound) => refused(&error),
        Err(error) => {
            render::error(&error);
            let code = exec_exit_code(&error) as u8;
            exit_code(code, if arguments.detach { crate::FAILED } else { code })
        }
    }
}

fn request(arguments: &ExecArguments, command: &[String]) -> Result<ExecRequest> {
    if command.first().is_none_or(String::is_empty) {
        let reason = "must provide a non-empty command to start an exec session".to_owned();
        return Err(Error::invalid("rabbitc exec", reason).with_hint("name a program behind the container"));
    }
    let user = arguments.user.as_deref().filter(|user| !user.is_empty());
    Ok(ExecRequest {
        command: command.to_vec(),
        terminal: if arguments.tty { window() } else { TerminalMode::Inherit },
        environment: variables(&arguments.env_file, &arguments.env)?,
        user: user.map(|user| parse_user("--user", user)).transpose()?,
        directory: arguments.workdir.clone().filter(|directory| !directory.is_empty()),
        privileged: arguments.privileged,
        kept_descriptors: arguments.preserve_fds,
    })
}

/// Starts it and stands behind it.
fn attached(
    arguments: &ExecArguments,
    keys: &DetachKeys,
    start: impl FnOnce() -> Result<Execution>,
) -> Result<ExitCode> {
    if arguments.tty && arguments.interactive && !std::io::stdin().is_terminal() {
        render::notice(&engine::Notice {
            what: "standard input is no terminal, and is typed into the program's: keys such as Ctrl-C in it do what \
                   they do, and it is echoed"
                .to_owned(),
            remedy: Some("leave `-t` out to pass it on as it is".to_owned()),
        });
    }
    if !arguments.interactive && !arguments.tty {
        rustix::stdio::dup2_stdin(null()?).map_err(|error| Error::system("close standard input", error))?;
    }
    // Before the start, so that no signal is lost between it and the wait.
    let (signals, _) = SignalDescriptor::block_and_open()
        .map_err(|error| Error::system("open a signal descriptor", error))?;
    let execution = start()?;
    let typed = if arguments.interactive { Input::Copied } else { Input::Unread };
    let (input, output) = (std::io::stdin(), std::io::stdout());
    match execution.supervise(&signals, typed, keys, (input.as_fd(), output.as_fd()))? {
        ExecOutcome::Ended(exit, notices) => {
            notices.iter().for_each(render::notice);
            Ok(ExitCode::from(exit.code() as u8))
        }
        ExecOutcome::Left(terminal) => {
            hand_over(terminal)?;
            // As docker has it.
            render::information("read escape sequence");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Starts it without streams, and leaves it to itself.
fn detached(start: impl FnOnce() -> Result<Execution>) -> Result<()> {
    let failed = |error: rustix::io::Errno| Error::system("close the standard streams", error);
    let null = null()?;
    // For what is to be said if it fails.
    let own = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(failed)?;
    rustix::stdio::dup2_stdout(&null).map_err(failed)?;
    rustix::stdio::dup2_stderr(&null).map_err(failed)?;
    let started = start();
    rustix::stdio::dup2_stderr(&own).map_err(failed)?;
    match started?.leave() {
        Some(terminal) => hand_over(terminal),
        None => Ok(()),
    }
}

fn null() -> Result<OwnedFd> {
    let opened = File::options().read(true).write(true).open("/dev/null");
    opened.map(OwnedFd::from).map_err(|error| Error::system("open `/dev/null`", error))
}

/// A terminal that nobody holds hangs its program up.
fn hand_over(terminal: OwnedFd) -> Result<()> {
    // By this link, as the file that runs may have no path.
    let mut command = Command::new("/proc/self/exe");
    command.arg(HOLD).env_clear().current_dir("/").stdin(Stdio::from(terminal)).stdout(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let spawned = command.stderr(Stdio::null()).spawn();
    spawned.map(drop).map_err(|error| Error::system("leave the terminal to a process of its own", error))
}

/// The internal verb behind that: takes what comes out of the terminal until nobody has its other end.
pub(crate) fn hold_terminal() -> ExitCode {
    let mut bytes = [0; 4096];
    loop {
        match std::io::stdin().read(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return ExitCode::SUCCESS,
            Ok(_) => {}
        }
    }
}
