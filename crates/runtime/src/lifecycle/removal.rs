//! The end of containers, wanted or after a death half way: nothing of one is left.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use sys::pidfd::send_signal;

use super::{Status, Verb, cgroup_of, cgroup_path, demand, init, state_document, status};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{self, World};
use crate::id::ContainerId;
use crate::shared_root;
use crate::signal::Signal;
use crate::state_dir::{Lock, Record, StateDir, StateRoot};

/// How insistent a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Only a stopped container goes.
    No,
    /// It is killed first; what is half made or unreadable goes too; one that is not there is fine.
    Yes,
}

/// What became of poststop hooks: the errors of those that failed. A container is removed all the same, and they are for the
/// caller to tell (runtime.md, "Lifecycle": a warning, and all goes on as if the hook had succeeded).
pub type Warnings = Vec<Error>;

/// Removes a container and all that was made for it.
pub fn delete(root: &StateRoot, id: &ContainerId, force: Force) -> Result<Warnings> {
    if force == Force::Yes {
        // What a creator that was killed left before it had the name.
        root.sweep_unfinished();
    }
    let state = match root.open(id, Lock::Wait) {
        Err(error) if error.kind == ErrorKind::NotFound && force == Force::Yes => return Ok(Vec::new()),
        other => other?,
    };
    let record = match state.read() {
        Ok(record) => record,
        Err(_) if force == Force::Yes => unreadable(&state, id),
        Err(error) => return Err(error),
    };
    let status = status(&state, &record);
    // As runc does: a container that never ran may be deleted.
    if force == Force::No && status != Status::Created {
        demand(id.as_str(), status, Verb::Delete)?;
    }
    remove(state, &record)
}

/// Kills what is left, removes the cgroup and the state, and runs the poststop hooks; all errors are tried to the end.
pub fn remove(state: StateDir, record: &Record) -> Result<Warnings> {
    let group = cgroup_of(record);
    let root = init(record).and_then(|_| shared_root::keep(record, record.pid));
    end_init(record, group.as_ref().ok().and_then(Option::as_ref));
    remove_rest(state, record, group?.as_ref(), root)
}

/// Kills an init that still runs, and waits for its end.
pub(super) fn end_init(record: &Record, group: Option<&cgroup::Cgroup>) {
    let Some(pidfd) = init(record) else { return };
    // It may end in between.
    let _ = send_signal(pidfd.as_fd(), Signal::KILL.number());
    if let Some(group) = group {
        // A frozen one dies once it is thawed. Removal names what can't be killed.
        let _ = group.kill();
    }
    hooks::ended_by(pidfd.as_fd(), Some(Instant::now() + Duration::from_secs(10)));
}

/// Removes the container of record `made`, whose init has ended, and whose cgroup is still open; and not another one that
/// got its id meanwhile.
pub fn finish(
    root: &StateRoot,
    id: &ContainerId,
    made: &Record,
    group: Option<&cgroup::Cgroup>,
) -> Result<Warnings> {
    let state = match root.open(id, Lock::Wait) {
        // Somebody else's `delete` was faster.
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let record = state.read()?;
    if (record.pid, record.start_time) != (made.pid, made.start_time) {
        return Ok(Vec::new());
    }
    remove_rest(state, &record, group, None)
}

/// Removes a container whose init has ended.
fn remove_rest(
    state: StateDir,
    record: &Record,
    group: Option<&cgroup::Cgroup>,
    root: Option<OwnedFd>,
) -> Result<Warnings> {
    match group {
        Some(group) => group.clear()?,
        // systemd takes the group of a scope away with its last process, and the unit a moment later.
        None => {
            if let Some(Ok(path)) = cgroup_path(record) {
                path.end_scope()?;
            }
        }
    }
    if let Some(membership) = &record.rdt {
        crate::rdt::remove(membership)?;
    }
    shared_root::unmount(record, root)?;
    state.remove()?;
    let document = || state_document(record, "stopped");
    Ok(hooks::run_all(&record.hooks.poststop, "poststop", document, World::Host))
}

/// Finishes what died half way: containers that should have gone with their launcher, and starts that were never
/// committed. Returns the ids of what it removed.
pub fn sweep(
    root: &StateRoot,
    removed: &mut dyn FnMut(&Record),
    failed: &mut dyn FnMut(Error),
) -> Result<Vec<ContainerId>> {
    let mut swept = Vec::new();
    root.sweep_unfinished();
    for id in root.list()? {
        let Ok(state) = root.open(&id, Lock::No) else { continue };
        if !state.try_lock() {
            continue;
        }
        // A record that can't be read tells nothing of a container that should live on.
        let record = state.read().unwrap_or_else(|_| unreadable(&state, &id));
        if record.dies_with_launcher || record.pid == 0 {
            // Whoever held the lock is gone, and so is its reason to be.
            removed(&record);
            match remove(state, &record) {
                Ok(warnings) => {
                    warnings.into_iter().for_each(&mut *failed);
                    swept.push(id);
                }
                Err(error) => failed(error),
            }
        }
    }
    Ok(swept)
}

/// What is assumed of a container whose record is gone: the default path of its cgroup is the best guess.
fn unreadable(state: &StateDir, id: &ContainerId) -> Record {
    // A restore that died half way has made the groups, and its criu, which is in them, may still be at work.
    let is_half_restored = state.path().join(crate::checkpoint::PLACE).exists();
    let is_own = |pids: &[i32]| is_half_restored || are_a_containers(pids);
    let guess = || -> Option<String> {
        let layout = cgroup::Layout::detect().ok()?;
        let open = |name: &str| {
            let path = crate::plan::usual_cgroup(&layout, name).ok()?;
            cgroup::Cgroup::open(&layout, &path).ok()
        };
        // Nobody but `rabbitc` names groups so.
        let group = open(&format!("rabbitc-{id}"))
            .or_else(|| open(id.as_str()).filter(|group| is_a_containers(group, &is_own)))?;
        Some(group.path().as_str().to_owned())
    };
    let rdt = crate::rdt::guess(id.as_str(), &is_own);
    Record { id: id.to_string(), cgroup_path: guess(), rdt, ..Record::default() }
}

/// Whether a group that was guessed by its name may be killed: an id such as `docker` names somebody else's group too.
/// A container's processes are not in the pid namespace of the one who asks; one that shares it is left alone.
fn is_a_containers(group: &cgroup::Cgroup, is_own: &dyn Fn(&[i32]) -> bool) -> bool {
    group.processes_recursive().is_ok_and(|pids| is_own(&pids))
}

fn are_a_containers(pids: &[i32]) -> bool {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace("self");
    pids.iter().all(|pid| namespace(&pid.to_string()) != own)
}
