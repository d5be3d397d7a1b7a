//! What is done to a container that is unhealthy, or does not come up.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use runtime::lifecycle::{self, Target};
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, ErrorKind, Signal};

use super::state::Consequence;
use super::{HealthCheck, OnFailure};
use crate::error::{Error, Result};
use crate::kept::{Kept, KeptContainers};
use crate::life::{Place, StopRequest};
use crate::paths::EnginePaths;

/// The internal verb: `internal-heal ID ROOT BASE stop|restart`.
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
    let is_ill =
        |kept: &Kept| kept.health().is_some_and(|(_, health)| health.failing_streak >= check.retries());
    match (consequence, check.on_failure) {
        (Consequence::Nothing, _) | (Consequence::Changed | Consequence::StillUnhealthy, OnFailure::None) => {
            Ok(())
        }
        (Consequence::StartAgain, _) => apart(containers, kept, OnFailure::Restart, paths),
        // It has just got well.
        (Consequence::Changed, _) if !is_ill(kept) => Ok(()),
        (_, OnFailure::Kill) => kill(containers, kept, paths),
        (_, action) => apart(containers, kept, action, paths),
    }
}

/// Its restart policy says what becomes of it then: nobody wants it to stay as it is.
fn kill(containers: &KeptContainers, kept: &Kept, paths: &EnginePaths) -> Result<()> {
    containers.edit(&kept.id, |record| record.note_sent(SENDER, Signal::KILL))?;
    kept.subject().tell_with("kill", [("signal", Signal::KILL.number().to_string())]);
    let (root, id) = (StateRoot::new(paths.containers()), ContainerId::parse(&kept.id)?);
    match lifecycle::kill(&root, &id, Signal::KILL, Target::Init) {
        // It has ended meanwhile.
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::WrongStatus) => Ok(()),
        sent => sent,
    }
}

/// Whoever stands behind a container ends this process with it. So another one, of a group of its own, stops the container.
fn apart(containers: &KeptContainers, kept: &Kept, action: OnFailure, paths: &EnginePaths) -> Result<()> {
    // By this link, as the file that runs may have no path.
    let mut command = Command::new("/proc/self/exe");
    command.arg(HEAL).arg(&kept.id).arg(containers.data()).arg(paths.base()).arg(action.to_string());
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
    containers.stop(&kept, StopRequest::default(), &place.paths)?;
    if arguments.get(3).is_some_and(|action| action == "restart") {
        containers.start(&kept.id, None, &place.paths)?;
        containers.tell_restarted(&kept);
    }
    Ok(())
}
