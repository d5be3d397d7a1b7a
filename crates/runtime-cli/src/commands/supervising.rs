//! The foreground: stands behind a started program until its end. Must not remove anything.

use std::os::fd::{AsFd, OwnedFd};

use monitor::{Console, Exit, Outcome, Supervision, supervise};
use runtime::{Error, ErrorKind, Result};
use sys::signal::SignalDescriptor;

use crate::args::Globals;
use crate::render;

/// The signals of this process, held back until somebody stands behind the program.
pub(super) fn hold_signals() -> Result<SignalDescriptor> {
    let (signals, _) =
        SignalDescriptor::block_and_open().map_err(|error| Error::system("hold signals back", error))?;
    Ok(signals)
}

/// Waits for the program's end, passes signals on to it and copies its terminal.
pub(super) fn stand_behind(
    globals: &Globals,
    signals: &SignalDescriptor,
    pid: i32,
    pidfd: &OwnedFd,
    console: Option<OwnedFd>,
) -> Result<Exit> {
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let supervision = Supervision {
        pidfd: pidfd.as_fd(),
        pid,
        signals,
        console: console.map_or(Console::Inherited, |outer| Console::Terminal { outer }),
        input: input.as_fd(),
        output: output.as_fd(),
        policy: Default::default(),
    };
    let Outcome { exit, incidents, .. } = supervise(supervision).map_err(|error| {
        let rendered = Error::new(ErrorKind::System, "stand behind the program", error.to_string());
        Error { hint: error.hint().map(str::to_owned), ..rendered }
    })?;
    for incident in incidents {
        render::warn(globals, &incident.to_string());
    }
    Ok(exit)
}

/// The exit code of this process for a program's end.
pub(super) fn exit_code(exit: Exit) -> u8 {
    // 128 and a signal's number of at most 64 fit, and so does a status of exit(2).
    u8::try_from(exit.code()).unwrap_or(u8::MAX)
}
