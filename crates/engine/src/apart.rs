//! Work that takes another user namespace than that of this process: done by this program executed again, which answers by its
//! exit code and a reason. Must not know what the work is.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use runtime::ErrorKind;
use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Failure, Result};

/// Has the process of `verb` do what `request` says, and waits for it.
pub(crate) fn ask(verb: &str, request: &impl Serialize, operation: &str) -> Result<()> {
    let failed = |error| Error::system(operation, error);
    let mut command = Command::new("/proc/self/exe");
    command.arg(verb).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let text = serde_json::to_vec(request).expect("only string keys");
    let mut input = child.stdin.take().expect("it was piped");
    // Whoever ends before it has read that says why.
    let _ = input.write_all(&text);
    drop(input);
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    match serde_json::from_slice::<Failure>(&output.stdout) {
        Ok(failure) => Err(failure.into()),
        Err(_) => Err(Error::new(
            ErrorKind::System,
            operation,
            "the process that does it has ended without an answer",
        )),
    }
}

/// What this process was asked for.
pub(crate) fn asked<T: DeserializeOwned>() -> Result<T> {
    const OPERATION: &str = "read what is to be done";
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).map_err(|error| Error::system(OPERATION, error))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::new(ErrorKind::Invalid, OPERATION, error.to_string()))
}

/// Ends this process with its parent, as nobody needs what it does any more then. Not before it has its ids, as a change of them
/// takes it back.
pub(crate) fn end_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Error::system("end with the command that asks for it", error))
}

/// Answers; the exit code.
pub(crate) fn answer(outcome: Result<()>) -> i32 {
    let Err(error) = outcome else { return 0 };
    let text = serde_json::to_vec(&Failure::from(error)).expect("only string keys");
    // Where nobody reads the answer, the exit code still tells.
    let _ = std::io::stdout().write_all(&text);
    1
}
