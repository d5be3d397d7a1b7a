//! `rabbitc attach`, and what `run` and `start` have in common with it: the caller's streams and a container's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use clap::{Args, Parser};
use engine::{
    Attachment, Departure, DetachKeys, EnginePaths, Error, ErrorKind, KeptContainers, KeptState, Notice,
    Reaction, Result, Role, Terminal,
};
use sys::signal::SignalDescriptor;

use super::PlaceArguments;
use super::targets::latest;
use crate::args::RunArguments;
use crate::manner::is_podmans;
use crate::render;

/// Shows a container's output, and passes input and signals on to it.
#[derive(Debug, Parser)]
#[command(name = "rabbitc attach", max_term_width = 100)]
pub(crate) struct AttachArguments {
    /// Its name, id, or the beginning of it
    #[arg(required_unless_present = "latest", value_name = "CONTAINER")]
    name: Option<String>,
    /// The one that was made last
    #[arg(short, long, conflicts_with = "name")]
    latest: bool,
    /// Pass no input on
    #[arg(long)]
    no_stdin: bool,
    #[command(flatten)]
    bond: BondArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

/// What keys and signals do to who is attached.
#[derive(Debug, Args)]
pub(super) struct BondArguments {
    /// Keys that leave it alone [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Pass signals on to the program
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_possible_values = true)]
    sig_proxy: bool,
}

impl BondArguments {
    pub(super) fn read(&self) -> Result<Bond> {
        Bond::new(self.detach_keys.as_deref(), self.sig_proxy)
    }
}

/// The same, understood.
pub(super) struct Bond {
    detach_keys: DetachKeys,
    passes_signals: bool,
}

impl Bond {
    pub(super) fn new(detach_keys: Option<&str>, passes_signals: bool) -> Result<Bond> {
        Ok(Bond { detach_keys: parse_keys(detach_keys)?, passes_signals })
    }
}

/// Which of the caller's streams are a container's.
pub(super) struct Streams {
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
    terminal: Terminal,
    role: Role,
}

impl Streams {
    /// Those of `run`.
    pub(super) fn of_run(arguments: &RunArguments, has_terminal: bool) -> Result<Streams> {
        let attach = &arguments.life.attach;
        let mut wanted = [attach.is_empty(); 3];
        for name in attach {
            let number = ["stdin", "stdout", "stderr"].iter().position(|one| name.eq_ignore_ascii_case(one));
            let number = number.ok_or_else(|| {
                let error = Error::invalid("--attach", format!("`{}` is no stream", name.escape_debug()));
                error.with_hint("there are stdin, stdout and stderr")
            })?;
            wanted[number] = true;
        }
        let input = wanted[0] && arguments.reads_input();
        Ok(Streams::new([input, wanted[1], wanted[2]], has_terminal, Role::First))
    }

    /// Those of `start --attach`.
    pub(super) fn of_start(input: bool, has_terminal: bool) -> Streams {
        Streams::new([input, true, true], has_terminal, Role::First)
    }

    fn new(wanted: [bool; 3], has_terminal: bool, role: Role) -> Streams {
        let copy = |wanted: bool, descriptor: BorrowedFd<'_>| {
            wanted.then(|| descriptor.try_clone_to_owned().ok()).flatten()
        };
        Streams {
            input: copy(wanted[0], std::io::stdin().as_fd()),
            output: copy(wanted[1], std::io::stdout().as_fd()),
            error: copy(wanted[2] && !has_terminal, std::io::stderr().as_fd()),
            terminal: if has_terminal { Terminal::OfItsOwn } else { Terminal::None },
            role,
        }
    }
}

/// `--detach-keys`.
pub(crate) fn parse_keys(text: Option<&str>) -> Result<DetachKeys> {
    DetachKeys::parse(text.unwrap_or("ctrl-p,ctrl-q")).map_err(|unknown| {
        let error = Error::invalid("--detach-keys", format!("`{}` is no key", unknown.0.escape_debug()));
        error.with_hint("write letters, or `ctrl-` and a letter or one of @ ^ [ , _, with commas between: `ctrl-p,ctrl-q`")
    })
}

/// A connection for who attaches from the first byte on, and its other end.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|error| Error::system("make a socket pair", error))
}

/// Copies until the container ends, or the caller leaves; the exit code of the command.
pub(super) fn follow(
    containers: &KeptContainers,
    id: &str,
    paths: &EnginePaths,
    connection: BorrowedFd<'_>,
    signals: &SignalDescriptor,
    streams: Streams,
    bond: Bond,
) -> Result<ExitCode> {
    let mut pass_on = |signal: i32| {
        if bond.passes_signals {
            // It may have ended by now.
            let _ = containers.signal(id, signal, paths);
            return Reaction::Stay;
        }
        Reaction::Leave
    };
    let attached = engine::attach(Attachment {
        connection,
        role: streams.role,
        input: streams.input.as_ref().map(AsFd::as_fd),
        output: streams.output.as_ref().map(AsFd::as_fd),
        error: streams.error.as_ref().map(AsFd::as_fd),
        terminal: streams.terminal,
        detach_keys: bond.detach_keys,
        signals,
        on_signal: &mut pass_on,
    })?;
    for incident in &attached.incidents {
        render::notice(&Notice { what: incident.to_string(), remedy: incident.hint().map(str::to_owned) });
    }
    if attached.lost > 0 {
        render::notice(&Notice {
            what: format!("{} bytes of output were lost, as they were not read in time", attached.lost),
            remedy: Some("`rabbitc logs` has them".to_owned()),
        });
    }
    Ok(match attached.departure {
        Departure::Exited { code, time_was_up } => {
            // The clean-up is over when the other end is gone.
            engine::wait_for_hangup(connection)?;
            if time_was_up && is_podmans() {
                return Ok(ExitCode::from(255));
            }
            if time_was_up {
                render::warning("the time of `--timeout` was up, and the container was killed");
            }
            match code {
                Some(code) => ExitCode::from(code as u8),
                None => {
                    render::warning("nobody learned how the container ended");
                    ExitCode::from(crate::FAILED)
                }
            }
        }
        Departure::Detached => {
            containers.tell_detached(id);
            ExitCode::SUCCESS
        }
        Departure::Signalled(signal) => ExitCode::from(128 + signal as u8),
        Departure::ConnectionLost => {
            let reason = "the monitor of the container is gone";
            let error = Error::new(ErrorKind::System, format!("attach to `{id}`"), reason);
            return Err(
                error.with_hint("the container may run on: `rabbitc ps` tells, and gives it another one")
            );
        }
    })
}

pub(super) fn attach(arguments: &AttachArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let bond = arguments.bond.read()?;
    let kept = match &arguments.name {
        Some(name) => containers.find_living(name, &paths)?,
        None => latest(&containers, &paths)?.1,
    };
    if kept.state != KeptState::Running {
        let reason = "you cannot attach to a stopped container, start it first";
        return Err(Error::new(ErrorKind::WrongStatus, format!("attach to `{}`", kept.name), reason));
    }
    let (signals, _) = SignalDescriptor::block_and_open()
        .map_err(|error| Error::system("open a signal descriptor", error))?;
    let connection = containers.connect(&kept)?;
    containers.tell_attached(&kept.id);
    let input = !arguments.no_stdin && kept.has_input();
    let streams = Streams::new([input, true, true], kept.has_terminal(), Role::Later);
    follow(&containers, &kept.id, &paths, connection.as_fd(), &signals, streams, bond)
}
