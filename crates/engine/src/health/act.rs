//! What is done to a container that is unhealthy, or does not come up.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use runtime::state_dir::StateRoot;
use runtime::{ContainerId, Signal};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::state::Consequence;
use super::{HealthCheck, OnFailure};
use crate::error::{Error, Result};
use crate::kept::{Kept, KeptContainers, Wish};
use crate::life::{Place, Started, send};
use crate::paths::EnginePaths;

/// The internal verb: `internal-heal ID ROOT BASE stop|restart STARTED`, the last as the container's record has it.
pub const HEAL: &str = "internal-heal";

/// The verb that is noted as the sender of its signals.
const SENDER: &str = "healthcheck";

/// Does what was asked for where something follows from a check.
pub(super) fn act(
    containers: &KeptContainers,
    kept: &Kept,
    check: &HealthCheck,
    consequence: Consequence,
    paths: &EnginePaths,
) -> Result<()> {
    let action = match consequence {
        Consequence::Nothing | Consequence::Recovered => OnFailure::None,
        Consequence::FellIll | Consequence::StillIll => check.on_failure,
        Consequence::StartAgain => OnFailure::Restart,
    };
    match action {
        OnFailure::None => Ok(()),
        OnFailure::Kill => kill(containers, kept, paths),
        OnFailure::Restart | OnFailure::Stop => apart(containers, kept, action, paths),
    }
}

/// Its restart policy says what becomes of it then: nobody wants it to stay as it is.
fn kill(containers: &KeptContainers, kept: &Kept, paths: &EnginePaths) -> Result<()> {
    containers.edit(&kept.id, |record| record.note_sent(SENDER, Signal::KILL))?;
    kept.subject().tell_signal(Signal::KILL);
    send(&StateRoot::new(paths.containers()), &ContainerId::parse(&kept.id)?, Signal::KILL)
}

/// The file in a container's directory whose lock the one has who stops it.
const TURN: &str = "heal";

/// The turn to stop a container; none where somebody has it.
fn turn(kept: &Kept) -> Result<Option<File>> {
    let path = kept.directory.join(TURN);
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.map_err(|error| Error::at_path("open", &path, error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(Error::at_path("lock", &path, error)),
    }
}

/// Whoever stands behind a container ends this process with it. So another one, of a group of its own, stops the container.
fn apart(containers: &KeptContainers, kept: &Kept, action: OnFailure, paths: &EnginePaths) -> Result<()> {
    // A container takes its time to stop, and checks fail meanwhile.
    if turn(kept)?.is_none() {
        return Ok(());
    }
    // By this link, as the file that runs may have no path.
    let mut command = Command::new("/proc/self/exe");
    command.arg(HEAL).arg(&kept.id).arg(containers.data()).arg(paths.base()).arg(action.to_string());
    command.arg(kept.record.started.unwrap_or_default().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let spawned = command.spawn();
    spawned.map(drop).map_err(|error| Error::system("start the process that stops a container", error))
}

/// The body of that process.
pub fn heal(arguments: &[OsString]) -> Result<()> {
    let place = Place::parse(arguments)?;
    // Out of the session of whoever has asked for the check.
    let _ = rustix::process::setsid();
    let containers = place.containers()?;
    let kept = containers.find_living(&place.id, &place.paths)?;
    let Some(_turn) = turn(&kept)? else { return Ok(()) };
    let checked = arguments.get(4).and_then(|started| started.to_str()?.parse().ok());
    // Somebody may have started it anew since.
    if kept.record.started != checked {
        return Ok(());
    }
    let starts = arguments.get(3).is_some_and(|action| action == "restart");
    let wish = if starts { Wish::Again } else { Wish::Stop };
    if containers.stop_ill(&kept, wish, &place.paths)?
        && starts
        && containers.start_again(&kept.id, &place.paths)? == Started::Now
    {
        containers.tell_restarted(&kept);
    }
    Ok(())
}
