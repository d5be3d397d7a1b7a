//! Status is derived from the kernel: is init alive, is the gate there, is the cgroup frozen. The record on disk
//! only says where to look.

mod gate;
mod removal;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sys::pidfd::send_signal;

pub(crate) use self::gate::open_gate;
pub use self::gate::{run_poststart, start};
pub use self::removal::{Force, Warnings, delete, finish, remove, sweep};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks;
use crate::id::ContainerId;
use crate::signal::Signal;
use crate::state_dir::{Lock, Record, StateDir, StateRoot};

/// Where a container is in its life (runtime.md, "State").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Being made.
    Creating,
    /// Made, and waiting to be started.
    Created,
    /// Its program runs.
    Running,
    /// Frozen.
    Paused,
    /// Its init is gone.
    Stopped,
}

impl Status {
    /// As the specification spells it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// What can be done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Let its program begin.
    Start,
    /// Send it a signal.
    Kill,
    /// Remove it.
    Delete,
    /// Run another program in it.
    Exec,
    /// Freeze it.
    Pause,
    /// Thaw it.
    Resume,
    /// Change its limits, or look at what it uses.
    Update,
    /// Write it to files.
    Checkpoint,
}

/// The one table of which status permits which verb.
pub fn permits(status: Status, verb: Verb) -> bool {
    use Status::{Created, Paused, Running, Stopped};
    match verb {
        Verb::Start => status == Created,
        Verb::Kill => matches!(status, Created | Running | Paused),
        Verb::Delete => status == Stopped,
        Verb::Exec => matches!(status, Created | Running),
        Verb::Pause => matches!(status, Created | Running),
        Verb::Resume => status == Paused,
        Verb::Update => matches!(status, Created | Running | Paused),
        Verb::Checkpoint => matches!(status, Running | Paused),
    }
}

pub(crate) fn demand(id: &str, status: Status, verb: Verb) -> Result<()> {
    if permits(status, verb) {
        return Ok(());
    }
    let what = verb_name(verb);
    let hint = match verb {
        Verb::Start => "only a created container can be started",
        Verb::Kill => "there is nobody to signal",
        Verb::Delete => "kill it first, or delete it with `--force`",
        Verb::Exec => "only a running container can run more programs",
        Verb::Pause => "only a running container can be paused",
        Verb::Resume => "only a paused container can be resumed",
        Verb::Update => "a stopped container uses nothing",
        Verb::Checkpoint => "only a running container can be written to files",
    };
    let reason = match verb {
        // podman and containerd look for these words.
        Verb::Kill => "container not running".to_owned(),
        _ => format!("container is {}", status.name()),
    };
    Err(Error::new(ErrorKind::WrongStatus, format!("{what} `{id}`"), reason).with_hint(hint))
}

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "start",
        Verb::Kill => "kill",
        Verb::Delete => "delete",
        Verb::Exec => "exec in",
        Verb::Pause => "pause",
        Verb::Resume => "resume",
        Verb::Update => "look at or change the limits of",
        Verb::Checkpoint => "checkpoint",
    }
}

/// What is known of a container now.
#[derive(Debug, Clone)]
pub struct View {
    /// Its record.
    pub record: Record,
    /// Its status.
    pub status: Status,
}

/// Looks at a container.
pub fn view(root: &StateRoot, id: &ContainerId) -> Result<View> {
    let state = root.open(id, Lock::No)?;
    let record = state.read()?;
    let status = status(&state, &record);
    Ok(View { record, status })
}

pub(crate) fn status(state: &StateDir, record: &Record) -> Status {
    if record.pid == 0 {
        return if state.is_locked_by_another() { Status::Creating } else { Status::Stopped };
    }
    if init(record).is_none() {
        return Status::Stopped;
    }
    // First of all, as a frozen init answers nobody.
    // A group that can't be looked into does not make a container's status unknown; who changes it gets the error.
    if cgroup_of(record).is_ok_and(|group| group.is_some_and(|group| group.frozen())) {
        return Status::Paused;
    }
    if state.has_gate() && gate::gate_answers(state) { Status::Created } else { Status::Running }
}

/// Whether the process behind a pidfd has ended.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    hooks::ended_by(pidfd, Some(Instant::now()))
}

/// The init process, if it is the one that was recorded and has not ended.
pub fn init(record: &Record) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(record.pid)?, PidfdFlags::empty()).ok()?;
    // The number may be another process's by now; after the descriptor is open, the start time decides for it.
    let same = start_time(record.pid) == Some(record.start_time);
    let ended = hooks::ended_by(pidfd.as_fd(), Some(Instant::now()));
    (same && !ended).then_some(pidfd)
}

/// Start time of a process in clock ticks after boot (proc_pid_stat(5), field 22).
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses; fields are counted after its last one.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Notes which process is the container's init.
pub(crate) fn note_init(record: &mut Record, pid: i32) -> Result<()> {
    record.pid = pid;
    record.start_time = start_time(pid).ok_or_else(|| {
        let reason = "/proc does not tell its start time";
        Error::new(ErrorKind::System, "record the init process", reason)
    })?;
    Ok(())
}

/// The container's cgroup; nothing when it has none, or none any more. One that is there and can't be looked into is an
/// error.
pub fn cgroup_of(record: &Record) -> Result<Option<cgroup::Cgroup>> {
    let Some(path) = cgroup_path(record) else { return Ok(None) };
    match path.and_then(|path| cgroup::Cgroup::open(&cgroup::Layout::detect()?, &path)) {
        Ok(group) => Ok(Some(group)),
        Err(error) if error.kind == cgroup::Kind::NotFound => Ok(None),
        Err(error) => Err(Error::from(error).in_container(&record.id)),
    }
}

/// Where its cgroup is, by its record.
fn cgroup_path(record: &Record) -> Option<std::result::Result<cgroup::CgroupPath, cgroup::Error>> {
    let path = record.cgroup_path.as_ref()?;
    Some(match record.cgroup_manager {
        Some(uid) => cgroup::CgroupPath::parse_scope(cgroup::Manager::of_user(uid), path),
        None => cgroup::CgroupPath::parse(path),
    })
}

/// The state document of the specification (runtime.md, "State"), as hooks and agents get it; `status` is one of its words.
pub fn state_document(record: &Record, status: &str) -> Vec<u8> {
    let mut document = serde_json::json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "status": status,
        "bundle": record.bundle,
    });
    if record.pid != 0 && status != "stopped" {
        document["pid"] = record.pid.into();
    }
    if !record.annotations.is_empty() {
        document["annotations"] = serde_json::to_value(&record.annotations).expect("strings");
    }
    document.to_string().into_bytes()
}

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The init process.
    Init,
    /// Every process of the cgroup.
    All,
}

/// Sends a signal.
pub fn kill(root: &StateRoot, id: &ContainerId, signal: Signal, target: Target) -> Result<()> {
    let state = root.open(id, Lock::No)?;
    let record = state.read()?;
    let status = status(&state, &record);
    if target == Target::All && status == Status::Stopped {
        // Without a pid namespace of its own, processes can outlive init.
        return signal_all(&record, signal);
    }
    let outlived = signal == Signal::KILL && record.shares_pids;
    if outlived && status == Status::Stopped && has_processes(&record)? {
        return signal_all(&record, signal);
    }
    demand(id.as_str(), status, Verb::Kill)?;
    // Without a group, init is all that can be reached.
    if target == Target::All || (outlived && record.cgroup_path.is_some()) {
        return signal_all(&record, signal);
    }
    let Some(pidfd) = init(&record) else { return demand(id.as_str(), Status::Stopped, Verb::Kill) };
    send_signal(pidfd.as_fd(), signal.number())
        .map_err(|error| Error::system(format!("send {signal} to `{id}`"), error))?;
    if signal == Signal::KILL
        && let Some(group) = cgroup_of(&record)?
    {
        // A frozen process dies only once it is thawed. One that was not may be dead by now, and its group gone.
        group.thaw_tree()?;
    }
    Ok(())
}

fn has_processes(record: &Record) -> Result<bool> {
    Ok(match cgroup_of(record)? {
        Some(group) => !group.processes_recursive()?.is_empty(),
        None => false,
    })
}

fn signal_all(record: &Record, signal: Signal) -> Result<()> {
    let Some(group) = cgroup_of(record)? else { return signal_all_without_group(record, signal) };
    if signal == Signal::KILL {
        return Ok(group.kill()?);
    }
    for pid in group.processes_recursive()? {
        if let Some(pid) = Pid::from_raw(pid)
            && let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
        {
            // It may have ended in between; that is what was wanted anyway.
            let _ = send_signal(pidfd.as_fd(), signal.number());
        }
    }
    Ok(())
}

/// Only a cgroup knows whom a container has; but with the first of a pid namespace all the others end.
fn signal_all_without_group(record: &Record, signal: Signal) -> Result<()> {
    let Some(first) = init(record).filter(|_| record.cgroup_path.is_none()) else { return Ok(()) };
    if signal != Signal::KILL || record.shares_pids {
        return Err(no_cgroup(format!("send {signal} to all of `{}`", record.id)));
    }
    send_signal(first.as_fd(), signal.number())
        .map_err(|error| Error::system(format!("send {signal} to `{}`", record.id), error))
}

/// Freezes or thaws.
pub fn pause(root: &StateRoot, id: &ContainerId) -> Result<()> {
    let view = view(root, id)?;
    demand(id.as_str(), view.status, Verb::Pause)?;
    Ok(cgroup_to(Verb::Pause, &view.record)?.freeze()?)
}

/// Thaws.
pub fn resume(root: &StateRoot, id: &ContainerId) -> Result<()> {
    let view = view(root, id)?;
    demand(id.as_str(), view.status, Verb::Resume)?;
    Ok(cgroup_to(Verb::Resume, &view.record)?.thaw()?)
}

/// The cgroup that `verb` acts on: without one it would do nothing and say nothing.
fn cgroup_to(verb: Verb, record: &Record) -> Result<cgroup::Cgroup> {
    cgroup_of(record)?.ok_or_else(|| no_cgroup(format!("{} `{}`", verb_name(verb), record.id)))
}

/// What a command says that takes a group, of a container that was made without one.
pub fn no_cgroup(operation: String) -> Error {
    let error = Error::new(ErrorKind::Unsupported, operation, "the container has no cgroup");
    error.with_hint(
        "start it anew without `--cgroup-manager disabled`, on a host that has cgroups mounted and lets this user make one",
    )
}

/// Where a container's configuration is.
pub fn config_path(record: &Record) -> PathBuf {
    record.bundle.join(record.config.as_deref().unwrap_or(std::path::Path::new("config.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_permitted_in_just_these_statuses() {
        use Status::{Created, Creating, Paused, Running, Stopped};
        let table = [
            (Verb::Start, vec![Created]),
            (Verb::Kill, vec![Created, Running, Paused]),
            (Verb::Delete, vec![Stopped]),
            (Verb::Exec, vec![Created, Running]),
            (Verb::Pause, vec![Created, Running]),
            (Verb::Resume, vec![Paused]),
            (Verb::Update, vec![Created, Running, Paused]),
            (Verb::Checkpoint, vec![Running, Paused]),
        ];
        for (verb, statuses) in table {
            for status in [Creating, Created, Running, Paused, Stopped] {
                assert_eq!(permits(status, verb), statuses.contains(&status), "{verb:?} {status:?}");
            }
        }
    }

    #[test]
    fn start_time_survives_a_name_with_parentheses() {
        assert!(start_time(std::process::id() as i32).is_some());
        assert_eq!(start_time(i32::MAX), None);
    }

    proptest::proptest! {
        #[test]
        fn state_of_any_record_is_json_that_says_what_the_record_says(
            id: String, pid: i32, stopped: bool,
            annotations: std::collections::BTreeMap<String, String>,
        ) {
            let record = Record { id, pid, annotations, ..Record::default() };
            let status = if stopped { "stopped" } else { "running" };
            let document: serde_json::Value =
                serde_json::from_slice(&state_document(&record, status)).expect("JSON");
            assert_eq!((document["id"].as_str(), document["status"].as_str()), (Some(&*record.id), Some(status)));
            assert_eq!(document.get("pid").is_some(), !stopped && pid != 0);
            let told = document.get("annotations").cloned().unwrap_or_else(|| serde_json::json!({}));
            assert_eq!(told, serde_json::to_value(&record.annotations).expect("strings"));
        }
    }
}
