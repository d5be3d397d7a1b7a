//! Status is derived from the kernel: is init alive, is the gate there, is the cgroup frozen. The record on disk
//! only says where to look.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sys::pidfd::send_signal;

use crate::error::{Error, ErrorKind, FailedStep, Result};
use crate::hooks::{self, World};
use crate::id::ContainerId;
use crate::init::failure::Failure;
use crate::plan::{BindRules, ContainerPlan, PlanOptions, Start};
use crate::seccomp_agent::{self, Agent};
use crate::signal::Signal;
use crate::spec::Spec;
use crate::state_dir::{Lock, Record, StateDir, StateRoot};
use crate::sync::{self, Record as Message};

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
    if state.has_gate() && gate_answers(state) { Status::Created } else { Status::Running }
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

fn gate_socket() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Makes the start gate: init inherits it and waits there.
pub(crate) fn open_gate(state: &StateDir) -> Result<OwnedFd> {
    let make = || -> rustix::io::Result<OwnedFd> {
        let socket = gate_socket()?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(state.gate_address())?)?;
        rustix::net::listen(&socket, 16)?;
        Ok(socket)
    };
    make().map_err(|error| Error::at_path("make the start gate in", state.path(), error))
}

fn connect_gate(state: &StateDir) -> rustix::io::Result<OwnedFd> {
    let socket = gate_socket()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(state.gate_address())?)?;
    Ok(socket)
}

/// Whether somebody waits behind the gate. Init takes a caller that goes away again for what it is.
fn gate_answers(state: &StateDir) -> bool {
    let look = || -> rustix::io::Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(state.gate_address())?)
    };
    // A full backlog is of callers that went away while init could not answer.
    matches!(look(), Ok(()) | Err(rustix::io::Errno::AGAIN))
}

/// The state document of the specification (runtime.md, "State").
pub(crate) fn state_document(record: &Record, status: &str) -> Vec<u8> {
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

/// Lets the container's program begin.
pub fn start(root: &StateRoot, id: &ContainerId) -> Result<()> {
    let state = root.open(id, Lock::Wait)?;
    let record = state.read()?;
    demand(id.as_str(), status(&state, &record), Verb::Start)?;
    let system = |error: rustix::io::Errno| Error::system(format!("start `{id}`"), error);
    let socket = connect_gate(&state).map_err(system)?;
    sync::send(socket.as_fd(), Message::Go { step: 0 }).map_err(system)?;
    let mut taken = false;
    loop {
        let message = sync::receive_with_descriptor(socket.as_fd()).map_err(system)?;
        let (message, shown) = message.map_or((None, None), |(message, shown)| (Some(message), shown));
        match message {
            Some(Message::Reached { step }) => {
                // The only barrier beyond the gate.
                let document = state_document(&record, "created");
                let spec: Spec = crate::bundle::read_json(&config_path(&record))?;
                let list = &record.hooks.start_container;
                hooks::run(list, "startContainer", &document, World::Program(&record, &spec))?;
                sync::send(socket.as_fd(), Message::Go { step }).map_err(system)?;
            }
            Some(Message::Failed { failure, step }) => {
                let error = explain_late(root, id, &record, usize::from(step), failure);
                return Err(error);
            }
            Some(Message::Listener { step, descriptor }) => {
                pass_listener(&record, descriptor, shown)?;
                sync::send(socket.as_fd(), Message::Go { step }).map_err(system)?;
            }
            Some(Message::Go { .. }) => taken = true,
            Some(Message::Process { .. }) => {}
            None if taken => break,
            None => {
                let reason = "its init ended while it waited to be started";
                return Err(Error::new(ErrorKind::System, format!("start `{id}`"), reason));
            }
        }
    }
    state.remove_gate()?;
    let document = state_document(&record, "running");
    if let Err(error) = hooks::run(&record.hooks.poststart, "poststart", &document, World::Host) {
        // The specification (1.3): a poststart hook that fails ends the container.
        kill_all(&record);
        return Err(error);
    }
    Ok(())
}

/// Hands the listener of init's filter to the agent.
fn pass_listener(record: &Record, descriptor: i32, shown: Option<OwnedFd>) -> Result<()> {
    let gone = || Error::new(ErrorKind::System, format!("start `{}`", record.id), "its init ended");
    let listener = match shown {
        Some(listener) => listener,
        None => seccomp_agent::copy_from(init(record).ok_or_else(gone)?.as_fd(), descriptor)?,
    };
    let spec: Spec = crate::bundle::read_json(&config_path(record))?;
    let Some(agent) = Agent::of_spec(&spec) else { return Ok(()) };
    let sent = agent.hand_over(listener.as_fd(), record.pid, record, "creating");
    sent.map_err(|error| error.in_container(&record.id))
}

/// The error for a step beyond the gate. Its plan went with whoever made the container, so it is made again from the
/// bundle, for its words alone; steps are counted from the gate, as those before it may differ.
fn explain_late(root: &StateRoot, id: &ContainerId, record: &Record, step: usize, failure: Failure) -> Error {
    let (total, gate) = record.gate.unwrap_or((step + 1, step + 1));
    let again = || -> Option<(Error, Option<String>, Option<String>)> {
        let mut bundle = crate::Bundle::open_with(&record.bundle, &config_path(record)).ok()?;
        if let Some(linux) = &mut bundle.spec.linux {
            // They are gone from the host by now.
            linux.net_devices.clear();
        }
        let options = PlanOptions {
            start: Start::AtGate,
            bind_rules: BindRules::Customary,
            ..PlanOptions::new(id.clone(), bundle.path.clone(), root.directory(id))
        };
        let plan = ContainerPlan::new(&bundle.spec, &options).ok()?;
        let index = plan.gate()? + (step + 1).checked_sub(gate)?;
        let found = plan.steps.get(index)?;
        Some((
            crate::remedy::explain_step(&plan.steps, index, failure, &record.rootfs),
            found.asked_by.clone(),
            crate::remedy::refused_program(found, failure),
        ))
    };
    let (mut error, asked_by, program) = again().unwrap_or_else(|| {
        let reason = format!("{}: {}", failure.call.name(), crate::error::errno_text(failure.errno));
        (Error::new(crate::remedy::kind_of_exec(failure), "start".to_owned(), reason), None, None)
    });
    error.errno = Some(failure.errno);
    error.step = Some(Box::new(FailedStep {
        number: step + 1,
        total,
        asked_by,
        call: Some(failure.call.name()),
        program,
        timeline: Vec::new(),
    }));
    error.in_container(id.as_str())
}

/// Runs the poststart hooks of a container that was launched at once.
pub fn run_poststart(record: &Record) -> Result<()> {
    hooks::run(&record.hooks.poststart, "poststart", &state_document(record, "running"), World::Host)
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
    if target == Target::All || outlived {
        return signal_all(&record, signal);
    }
    let Some(pidfd) = init(&record) else { return demand(id.as_str(), Status::Stopped, Verb::Kill) };
    send_signal(pidfd.as_fd(), signal.number())
        .map_err(|error| Error::system(format!("send {signal} to `{id}`"), error))?;
    if signal == Signal::KILL
        && let Some(group) = cgroup_of(&record)?
    {
        // A frozen process dies only once it is thawed.
        group.thaw()?;
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
    let Some(group) = cgroup_of(record)? else { return Ok(()) };
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
    cgroup_of(record)?.ok_or_else(|| {
        let operation = format!("{} `{}`", verb_name(verb), record.id);
        let error = Error::new(ErrorKind::Unsupported, operation, "the container has no cgroup");
        error.with_hint("mount cgroups on this host, and start the container anew")
    })
}

/// How insistent a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Only a stopped container goes.
    No,
    /// It is killed first; what is half made or unreadable goes too; one that is not there is fine.
    Yes,
}

/// Removes a container and all that was made for it.
pub fn delete(root: &StateRoot, id: &ContainerId, force: Force) -> Result<()> {
    if force == Force::Yes {
        // What a creator that was killed left before it had the name.
        root.sweep_unfinished();
    }
    let state = match root.open(id, Lock::Wait) {
        Err(error) if error.kind == ErrorKind::NotFound && force == Force::Yes => return Ok(()),
        other => other?,
    };
    let record = match state.read() {
        Ok(record) => record,
        Err(_) if force == Force::Yes => unreadable(id),
        Err(error) => return Err(error),
    };
    let status = status(&state, &record);
    if force == Force::No && status == Status::Created {
        // As runc does: a container that never ran may be deleted.
        kill_all(&record);
    } else if force == Force::No {
        demand(id.as_str(), status, Verb::Delete)?;
    }
    remove(state, &record)
}

/// Kills what is left, removes the cgroup and the state, and runs the poststop hooks; all errors are tried to the end.
pub fn remove(state: StateDir, record: &Record) -> Result<()> {
    let group = cgroup_of(record);
    if let Some(pidfd) = init(record) {
        // It may end in between.
        let _ = send_signal(pidfd.as_fd(), Signal::KILL.number());
        if let Ok(Some(group)) = &group {
            // A frozen one dies once it is thawed. Removal names what can't be killed.
            let _ = group.kill();
        }
        hooks::ended_by(pidfd.as_fd(), Some(Instant::now() + Duration::from_secs(10)));
    }
    remove_rest(state, record, group?.as_ref())
}

/// Removes the container of record `made`, whose init has ended, and whose cgroup is still open; and not another one that
/// got its id meanwhile.
pub fn finish(
    root: &StateRoot,
    id: &ContainerId,
    made: &Record,
    group: Option<&cgroup::Cgroup>,
) -> Result<()> {
    let state = match root.open(id, Lock::Wait) {
        // Somebody else's `delete` was faster.
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let record = state.read()?;
    if (record.pid, record.start_time) != (made.pid, made.start_time) {
        return Ok(());
    }
    remove_rest(state, &record, group)
}

/// Removes a container whose init has ended.
fn remove_rest(state: StateDir, record: &Record, group: Option<&cgroup::Cgroup>) -> Result<()> {
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
    crate::shared_root::unmount(record)?;
    let document = state_document(record, "stopped");
    state.remove()?;
    // The specification: a failed poststop hook is told, and the rest goes on.
    hooks::run(&record.hooks.poststop, "poststop", &document, World::Host)
}

fn kill_all(record: &Record) {
    if let Some(pidfd) = init(record) {
        // It may end in between.
        let _ = send_signal(pidfd.as_fd(), Signal::KILL.number());
        if let Ok(Some(group)) = cgroup_of(record) {
            // Removal names what can't be killed.
            let _ = group.kill();
        }
        hooks::ended_by(pidfd.as_fd(), Some(Instant::now() + Duration::from_secs(10)));
    } else if let Ok(Some(group)) = cgroup_of(record) {
        let _ = group.kill();
    }
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
        let record = state.read().unwrap_or_else(|_| unreadable(&id));
        if record.dies_with_launcher || record.pid == 0 {
            // Whoever held the lock is gone, and so is its reason to be.
            removed(&record);
            match remove(state, &record) {
                Ok(()) => swept.push(id),
                Err(error) => failed(error),
            }
        }
    }
    Ok(swept)
}

/// What is assumed of a container whose record is gone: the default path of its cgroup is the best guess.
fn unreadable(id: &ContainerId) -> Record {
    let guess = || -> Option<String> {
        let layout = cgroup::Layout::detect().ok()?;
        let open = |name: &str| {
            let path = crate::plan::usual_cgroup(&layout, name).ok()?;
            cgroup::Cgroup::open(&layout, &path).ok()
        };
        // Nobody but `rabbitc` names groups so.
        let group = open(&format!("rabbitc-{id}")).or_else(|| open(id.as_str()).filter(is_a_containers))?;
        Some(group.path().as_str().to_owned())
    };
    let rdt = crate::rdt::guess(id.as_str(), &are_a_containers);
    Record { id: id.to_string(), cgroup_path: guess(), rdt, ..Record::default() }
}

/// Whether a group that was guessed by its name may be killed: an id such as `docker` names somebody else's group too.
/// A container's processes are not in the pid namespace of the one who asks; one that shares it is left alone.
fn is_a_containers(group: &cgroup::Cgroup) -> bool {
    group.processes_recursive().is_ok_and(|pids| are_a_containers(&pids))
}

fn are_a_containers(pids: &[i32]) -> bool {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace("self");
    pids.iter().all(|pid| namespace(&pid.to_string()) != own)
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
}
