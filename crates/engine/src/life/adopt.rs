//! Containers behind which nobody stands any more, as their monitor was killed: those that run get another one, and what is left of
//! the others is cleaned up.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use monitor::{Io, Parentage};
use runtime::lifecycle;
use runtime::state_dir::{Lock, StateRoot};
use runtime::{ContainerId, ErrorKind};
use rustix::fs::{Mode, OFlags};

use super::begin::{Place, Process, Standing, service};
use super::end::{Ended, finish, memory};
use super::runtime_record::bring_back;
use crate::error::{Error, Result};
use crate::kept::{Kept, KeptContainers, KeptState, Lease};
use crate::paths::EnginePaths;
use crate::running::hold_again;

/// The internal verb: `internal-adopt ID ROOT BASE`.
pub const ADOPT: &str = "internal-adopt";

impl Kept {
    /// Whether whoever stood behind it is gone without a word of its end.
    fn is_orphaned(&self) -> bool {
        self.state == KeptState::Unknown && self.record.asked.is_some() && self.record.end.is_none()
    }
}

impl KeptContainers {
    /// Gives each of `kept` behind which nobody stands any more another monitor, or its end; whether there was one.
    pub(crate) fn heal(&self, kept: &[Kept], paths: &EnginePaths) -> Result<bool> {
        let failed = |error: std::io::Error| Error::system("start the process behind a container", error);
        let mut children = Vec::new();
        for one in kept.iter().filter(|one| one.is_orphaned()) {
            let mut command = Command::new("/proc/self/exe");
            command.arg(ADOPT).arg(&one.id).arg(self.data()).arg(paths.base());
            // It closes its output when all is as it should be.
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
            children.push(child.stdout.take());
        }
        let any = !children.is_empty();
        for mut output in children.into_iter().flatten() {
            std::io::copy(&mut output, &mut std::io::sink()).map_err(failed)?;
        }
        Ok(any)
    }

    /// The directory that all of the caller's is kept below.
    pub fn data(&self) -> &Path {
        self.path().parent().unwrap_or(Path::new("/"))
    }
}

/// Takes a container over; none where somebody stands behind it.
pub fn adopt(arguments: &[OsString]) -> Result<Option<Ended>> {
    let place = Place::parse(arguments)?;
    // Where this process leads a group already, it has left.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    let Some(lease) = place.containers()?.resume(&place.id)? else { return Ok(None) };
    if lease.record().end.is_some() {
        return Ok(None);
    }
    match left_over(&place, &lease)? {
        LeftOver::Running(standing) => Ok(Some(Ended::Again(standing))),
        LeftOver::Remains | LeftOver::Nothing => finish(&place, lease, memory(&place)).map(Some),
    }
}

/// What there is of a container behind which nobody stands.
pub(super) enum LeftOver {
    /// It runs: this process can become its monitor.
    Running(Box<Standing>),
    /// It has ended, or is half made.
    Remains,
    /// Nothing.
    Nothing,
}

/// Looks what there is of a container whose directory is held.
pub(super) fn left_over(place: &Place, lease: &Lease) -> Result<LeftOver> {
    let root = StateRoot::new(place.paths.containers());
    let id = ContainerId::parse(&place.id)?;
    bring_back(&place.id, lease.directory(), &place.paths)?;
    let view = match lifecycle::view(&root, &id) {
        Ok(view) => view,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(LeftOver::Nothing),
        Err(_) => return Ok(LeftOver::Remains),
    };
    // The socket is made last by a start, when all is left to the record: without it that start died before, and others may have
    // by now what this container has.
    let is_whole = lease.directory().join("attach").exists();
    let Some(pidfd) = lifecycle::init(&view.record).filter(|_| is_whole) else {
        return Ok(LeftOver::Remains);
    };
    // Who sweeps has it for a moment, and leaves a container that lives alone.
    let state = root.open(&id, Lock::Wait)?;
    let process =
        Process { pid: view.record.pid, pidfd, parentage: Parentage::Adopted, io: io(lease.directory())? };
    let held = [state.into_lock()].into_iter().chain(hold_again(&place.paths, &view)).collect();
    let service = service(place, lease, process, held)?;
    Ok(LeftOver::Running(Box::new(Standing::of(service))))
}

/// Its streams, as far as they are still there: a terminal has gone with its monitor, and of that nothing comes any more.
fn io(directory: &Path) -> Result<Io> {
    let open = |path: &Path, flags: OFlags| {
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map_err(|error| Error::at_path("open", path, error))
    };
    let output = |name: &str| {
        let path = directory.join(name);
        if path.exists() { open(&path, OFlags::RDONLY) } else { open(Path::new("/dev/null"), OFlags::RDONLY) }
    };
    // Nobody may read its input any more.
    let stdin = open(&directory.join("in"), OFlags::WRONLY).ok();
    Ok(Io::Pipes { stdin, stdout: output("out")?, stderr: output("err")? })
}
