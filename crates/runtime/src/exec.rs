//! Another program in a running container: a second list over the same steps.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::clone::{CloneRequest, Placement, flags};
use sys::process::monotonic_nanoseconds;
use sys::shared::SharedCounters;

use crate::error::{Error, ErrorKind, FailedStep, Result};
use crate::id::ContainerId;
use crate::init::step::{Action, Barrier, InitAction, JoinedNamespace, Step, Target, TargetKind};
use crate::init::{self, Context, Trace};
use crate::launch::{Clock, LineEnds, StepTiming, set_oom_score};
use crate::lifecycle::{self, Status, Verb, View, permits};
use crate::plan::{MissingHome, always, c_string, devices, init_step, process};
use crate::seccomp_agent::{Agent, Listener};
use crate::spec::{Process, Spec};
use crate::state_dir::StateRoot;
use crate::sync::{self, Record};

/// What `exec` is asked for.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// The process to run, as config.json writes one.
    pub process: Process,
    /// Where the other end of its terminal goes; without one it comes back.
    pub console_socket: Option<OwnedFd>,
    /// How many descriptors from 3 on it inherits.
    pub kept_descriptors: u32,
    /// Its streams where they are not the caller's.
    pub streams: Option<Streams>,
    /// Whether a paused container is no obstacle: the program then runs when it is resumed.
    pub ignore_paused: bool,
    /// Which groups below the container's it joins: `PATH`, or several `CONTROLLER[,CONTROLLER…]:PATH` (v1). None is the
    /// container's own group.
    pub subgroups: Vec<String>,
    /// What ends the lines that come out of its terminal.
    pub line_ends: LineEnds,
    /// Whether it is told when each step ran.
    pub timed: bool,
}

/// Standard streams of a program that has not its caller's.
#[derive(Debug)]
pub struct Streams {
    /// What it reads.
    pub input: OwnedFd,
    /// Where its output and its errors go; none is the caller's.
    pub output: Option<OwnedFd>,
}

/// A program that `exec` started.
#[derive(Debug)]
pub struct Executed {
    /// Its pid in the caller's pid namespace.
    pub pid: i32,
    /// That process; it is the caller's child.
    pub pidfd: OwnedFd,
    /// The controlling end of its terminal, where it has one and it was not sent elsewhere.
    pub console: Option<OwnedFd>,
    /// When each step ran, if that was asked for.
    pub timeline: Vec<StepTiming>,
    /// The processors that it joined the container on, the first 64 as a mask, where `process.execCPUAffinity` names them.
    pub initial_affinity: Option<u64>,
}

/// Starts a program in the namespaces and the cgroup of container `id`.
pub fn exec(root: &StateRoot, id: &ContainerId, options: ExecOptions) -> Result<Executed> {
    let view = checked_view(root, id, &options)?;
    let spec: Spec = crate::bundle::read_json(&lifecycle::config_path(&view.record))?;
    exec_in(&view.record, &spec, options)
}

/// The same for a container that was started by `spec`, of which there is no bundle.
pub fn exec_by(root: &StateRoot, id: &ContainerId, spec: &Spec, options: ExecOptions) -> Result<Executed> {
    let view = checked_view(root, id, &options)?;
    exec_in(&view.record, spec, options)
}

fn checked_view(root: &StateRoot, id: &ContainerId, options: &ExecOptions) -> Result<View> {
    let view = lifecycle::view(root, id)?;
    let paused = view.status == Status::Paused && options.ignore_paused;
    if permits(view.status, Verb::Exec) || paused { Ok(view) } else { Err(refused(id.as_str(), view.status)) }
}

fn exec_in(record: &crate::state_dir::Record, spec: &Spec, options: ExecOptions) -> Result<Executed> {
    let program = process::plan_program(&options.process, MissingHome::Sought)?;
    let subgroups = cgroup::Subgroup::parse_all(&options.subgroups)
        .map_err(|error| Error::from(error).from_field("--cgroup"))?;
    let start = ProgramStart {
        subgroups,
        process: &options.process,
        program,
        streams: options.streams,
        console_socket: options.console_socket,
        kept_descriptors: options.kept_descriptors,
        line_ends: options.line_ends,
        timed: options.timed,
    };
    run_in(record, spec, start)
}

fn refused(id: &str, status: Status) -> Error {
    // Callers look for these words of runc's.
    let reason = format!("cannot exec in a {} container", status.name());
    let hint = match status {
        Status::Paused => "`resume` it first; or with `--ignore-paused` the program runs when it is resumed",
        _ => "only a created or running container can run more programs",
    };
    Error::new(ErrorKind::WrongStatus, format!("exec in `{id}`"), reason).with_hint(hint)
}

/// What is to be started in a container.
pub(crate) struct ProgramStart<'a> {
    /// Its user, rights and limits.
    pub(crate) process: &'a Process,
    pub(crate) program: process::Program,
    pub(crate) streams: Option<Streams>,
    pub(crate) console_socket: Option<OwnedFd>,
    pub(crate) kept_descriptors: u32,
    pub(crate) line_ends: LineEnds,
    pub(crate) timed: bool,
    /// Groups below the container's; none is that itself.
    pub(crate) subgroups: Vec<cgroup::Subgroup>,
}

/// Starts a program in the namespaces and the cgroup of the container that `record` tells of, whose init must live.
pub(crate) fn run_in(
    record: &crate::state_dir::Record,
    spec: &Spec,
    start: ProgramStart<'_>,
) -> Result<Executed> {
    let id = &record.id;
    let gone = || refused(id, Status::Stopped);
    let first = lifecycle::init(record).ok_or_else(gone)?;
    let (console_socket, terminal) = (start.console_socket, start.process.terminal);
    // As with runc: a process that says nothing of it has the container's.
    let container = spec.process.as_ref();
    let oom_score_adj = start.process.oom_score_adj.or(container.and_then(|process| process.oom_score_adj));
    let rights = Rights { process: start.process, kept_descriptors: start.kept_descriptors, oom_score_adj };
    let steps = plan(spec, &rights, start.program, start.streams, record)?;
    // Its number was its own until here, and with it the namespaces that were opened.
    if crate::hooks::ended_by(first.as_fd(), Some(std::time::Instant::now())) {
        return Err(gone());
    }
    let place = |error: Error| {
        let operation =
            format!("exec in `{id}`: adding pid of the new program to cgroups: {}", error.operation);
        Error { operation, ..error }
    };
    let destination = destination(record, &start.subgroups).map_err(place)?;
    let system = |error: std::io::Error| Error::system(format!("exec in `{id}`"), error);
    let (ours, theirs) = sync::pair().map_err(system)?;
    let (console_here, console_there) = match console_socket {
        Some(socket) => (None, Some(socket)),
        None if terminal => sync::pair().map(|(here, there)| (Some(here), Some(there))).map_err(system)?,
        None => (None, None),
    };
    let counters = SharedCounters::new(steps.len() + 1).map_err(system)?;
    let trace = Trace { ends: counters.counters(), fail_at: None };
    let unified =
        destination.as_ref().and_then(|destination| destination.unified.as_ref()).map(OwnedFd::as_fd);
    let request = CloneRequest { flags: 0, cgroup: unified };
    let files = destination.as_ref().map_or(&[][..], |destination| &destination.files);
    let console_end = console_there.as_ref().map(OwnedFd::as_fd);
    let begun = monotonic_nanoseconds();
    let child = sys::clone::clone(&request, &mut |placement| {
        sys::fd::close_copy(ours.as_fd());
        let skip = if placement == Placement::InCgroup { usize::from(unified.is_some()) } else { 0 };
        init::run(&steps, &mut Context::new(theirs.as_fd(), None, console_end, &files[skip..], &[]), &trace)
    })
    .map_err(|error| crate::remedy::explain_clone(error, 0))?;
    drop(theirs);
    drop(console_there);
    let mut guard = Started { pid: child.pid, pidfd: Some(child.pidfd) };
    let mut console = None;
    let mut ready = false;
    loop {
        let (message, shown) =
            sync::receive_with_descriptor(ours.as_fd()).map_err(|error| system(error.into()))?;
        match message {
            Some(Record::Reached { step }) => {
                let barrier = match steps.get(usize::from(step)).map(|step| &step.action) {
                    Some(Action::Init(InitAction::Wait(barrier))) => *barrier,
                    _ => {
                        return Err(Error::new(
                            ErrorKind::System,
                            format!("exec in `{id}`"),
                            "no barrier of the list",
                        ));
                    }
                };
                ready |= barrier == Barrier::Ready;
                if let (Barrier::HostReady, Some(score)) = (barrier, oom_score_adj) {
                    set_oom_score(guard.pid, score).map_err(|error| error.in_container(id))?;
                }
                if let (Barrier::Ready, Some(membership)) = (barrier, &record.rdt)
                    && let Some(group) = crate::rdt::Group::of(membership)?
                {
                    group.join(guard.pid)?;
                }
                if let (Barrier::Ready, Some(here)) = (barrier, &console_here) {
                    console = sync::receive_descriptor(here.as_fd()).map_err(system)?;
                    if let Some(console) = &console {
                        // Before the program writes its first line.
                        start.line_ends.set(console.as_fd()).map_err(|error| system(error.into()))?;
                    }
                }
                sync::answer(ours.as_fd(), Record::Go { step }).map_err(|error| system(error.into()))?;
            }
            Some(Record::Process { pid }) => guard.follow(pid)?,
            Some(Record::Failed { step, failure }) => {
                let index = usize::from(step);
                // All that is mounted there shows in the root of its init, as long as that has its number.
                let root = PathBuf::from(format!("/proc/{}/root", record.pid));
                let mut error = crate::remedy::explain_step(&steps, index, failure, &root);
                if crate::hooks::ended_by(first.as_fd(), Some(std::time::Instant::now())) {
                    error = gone();
                }
                error.step = Some(Box::new(FailedStep {
                    number: index + 1,
                    total: steps.len(),
                    asked_by: None,
                    call: Some(failure.call.name()),
                    program: steps.get(index).and_then(|step| crate::remedy::refused_program(step, failure)),
                    timeline: Vec::new(),
                }));
                let joins = matches!(
                    steps.get(index).map(|step| &step.action),
                    Some(Action::Init(InitAction::JoinCgroup { .. }))
                );
                return Err(if joins { place(error) } else { error.in_container(id) });
            }
            Some(Record::Listener { step, descriptor }) => {
                if let (Some(agent), Some(pidfd)) = (Agent::of_spec(spec), &guard.pidfd) {
                    let listener = Listener { shown, number: descriptor };
                    agent.hand_over(listener, (guard.pid, pidfd.as_fd()), record, "running")?;
                }
                sync::answer(ours.as_fd(), Record::Go { step }).map_err(|error| system(error.into()))?;
            }
            Some(Record::Go { .. }) => {}
            None if ready => break,
            None => {
                let reason = "it ended before its program began";
                return Err(Error::new(ErrorKind::System, format!("exec in `{id}`"), reason));
            }
        }
    }
    let pid = guard.pid;
    let pidfd = guard.pidfd.take().expect("taken only here");
    let clock = Clock { counters: &counters, host_times: &[], begun, ended: monotonic_nanoseconds() };
    let timeline = if start.timed { clock.read(&steps, None).describe(&steps) } else { Vec::new() };
    let initial_affinity = process::initial_affinity(start.process);
    Ok(Executed { pid, pidfd, console, timeline, initial_affinity })
}

/// Where the program goes. On cgroup v2 a container may have divided its group, or its init may have left it: then to
/// where that is now, unless the caller says where.
fn destination(
    record: &crate::state_dir::Record,
    subgroups: &[cgroup::Subgroup],
) -> Result<Option<cgroup::Destination>> {
    if record.cgroup_path.is_none() {
        return match subgroups {
            [] => Ok(None),
            _ => Err(lifecycle::no_cgroup("--cgroup".to_owned())),
        };
    }
    let mut group = lifecycle::cgroup_of(record)?;
    if subgroups.is_empty() && group.as_ref().is_none_or(cgroup::Cgroup::is_divided) {
        group = cgroup::Cgroup::of_process(&cgroup::Layout::detect()?, record.pid)?.or(group);
    }
    let Some(group) = group else { return Ok(None) };
    group.reach()?;
    Ok(Some(group.destination(subgroups)?))
}

/// A child that is killed and reaped unless it is handed out.
struct Started {
    pid: i32,
    pidfd: Option<OwnedFd>,
}

impl Started {
    fn follow(&mut self, pid: i32) -> Result<()> {
        let system = |error: rustix::io::Errno| Error::system("follow the new process", error);
        let raw = rustix::process::Pid::from_raw(pid)
            .ok_or_else(|| Error::new(ErrorKind::System, "follow the new process", "it has no pid here"))?;
        let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).map_err(system)?;
        if let Some(intermediate) = self.pidfd.replace(pidfd) {
            sync::retry(|| waitid(WaitId::PidFd(intermediate.as_fd()), WaitIdOptions::EXITED))
                .map_err(system)?;
        }
        self.pid = pid;
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            // It may have ended by itself.
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        }
    }
}

/// As whom and with what a program runs.
struct Rights<'a> {
    process: &'a Process,
    kept_descriptors: u32,
    oom_score_adj: Option<i32>,
}

/// The list: join, fork, become the user, execute.
fn plan(
    spec: &Spec,
    Rights { process, kept_descriptors, oom_score_adj }: &Rights<'_>,
    mut program: process::Program,
    streams: Option<Streams>,
    record: &crate::state_dir::Record,
) -> Result<Vec<Step>> {
    let (pid, cgroup_path) = (record.pid, record.cgroup_path.as_deref().unwrap_or_default());
    let root = match record.shared_root.is_some() || record.joined_mounts.is_some() {
        true => Some(root_of(pid)?),
        false => None,
    };
    let affinity = process::plan_affinity(process)?;
    let mut steps: Vec<Step> = affinity.before.into_iter().collect();
    steps.push(always(InitAction::JoinCgroup { path: cgroup_path.to_owned() }));
    steps.extend(affinity.after);
    if oom_score_adj.is_some() {
        // Of a process that hides, this file is root's, also where the caller is not.
        steps.push(always(InitAction::Wait(Barrier::HostReady)));
    }
    steps.push(always(InitAction::NewSession));
    // A process of the container must not be able to attach before the program is its own (CVE-2016-9962).
    steps.push(always(InitAction::HideFromOthers));
    let namespaces = namespaces_of(pid)?;
    let own_pids = namespaces.iter().any(|namespace| namespace.flag == flags::NEWPID);
    let own_users = namespaces.iter().any(|namespace| namespace.flag == flags::NEWUSER);
    steps.push(always(InitAction::JoinNamespaces { namespaces }));
    steps.extend(root.map(|root| always(InitAction::JoinRoot { root })));
    if own_pids {
        steps.push(always(InitAction::Fork));
        // The parent of the one that forked: a session of its own again.
        steps.push(always(InitAction::NewSession));
    }
    // The file is the opening process's own, so it is opened after the fork.
    let label = crate::plan::label_step(process)?.map(|(open, label)| {
        steps.push(open);
        label
    });
    if own_users {
        steps.push(always(InitAction::BecomeNamespaceRoot));
    }
    if process.terminal {
        let size = process.console_size.map(|size| (size.height, size.width));
        let terminals = Target::parse("/dev/pts", TargetKind::Directory, "process.terminal")?;
        steps.push(init_step(
            InitAction::Console { size, terminals, target: None, owner: process.user.uid },
            "process.terminal",
        ));
    }
    if !process.terminal {
        let null = null_streams(streams.as_ref())?;
        if let Some(Streams { input, output }) = streams {
            steps.push(always(InitAction::Streams { input, output }));
        }
        steps.extend(null);
    }
    let user = process::program_user(process, process::Groups::Set);
    let path = c_string(&process.cwd, "process.cwd")?;
    let entering = InitAction::WorkingDirectory { path, made: None, user: user.clone() };
    steps.push(init_step(entering, "process.cwd"));
    if program.home == process::Home::Sought {
        steps.push(init_step(InitAction::FindHome { uid: process.user.uid }, "process.env"));
    }
    steps.push(init_step(
        InitAction::FindProgram {
            candidates: program.candidates.clone(),
            user: process::seeker(process, &user),
        },
        "process.args[0]",
    ));
    steps.push(always(InitAction::CloseDescriptors { keep: *kept_descriptors }));
    program.open_files = process::plan_limits(process, &mut steps)?;
    if let Some(linux) = &spec.linux {
        crate::plan::machine::plan_machine(linux, &mut steps)?;
    }
    steps.push(always(InitAction::Wait(Barrier::Ready)));
    let mut warnings = Vec::new();
    let filter = match &spec.linux {
        Some(linux) => crate::plan::seccomp_filter(linux, &mut warnings)?.map(|filter| filter.step),
        None => None,
    };
    let rights = process::plan_rights(process, &user, &mut warnings)?;
    steps.extend(process::plan_end(process, filter, label, None, false, rights, program));
    Ok(steps)
}

/// The step for streams of which one is the null device.
fn null_streams(streams: Option<&Streams>) -> Result<Option<Step>> {
    let [input, output, errors] = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let given = match streams {
        Some(Streams { input, output: Some(output) }) => [input.as_fd(), output.as_fd(), output.as_fd()],
        Some(Streams { input, output: None }) => [input.as_fd(), output, errors],
        None => [input, output, errors],
    };
    if !given.into_iter().any(init::is_null) {
        return Ok(None);
    }
    devices::null_streams(Some(devices::hosts_proc()?)).map(Some)
}

/// The root of process `pid`.
fn root_of(pid: i32) -> Result<OwnedFd> {
    use rustix::fs::{CWD, Mode, OFlags};
    let path = PathBuf::from(format!("/proc/{pid}/root"));
    rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Error::at_path("open the root", &path, error))
}

/// The namespaces of process `pid` that differ from the caller's, the user namespace first.
fn namespaces_of(pid: i32) -> Result<Vec<JoinedNamespace>> {
    use std::os::unix::fs::MetadataExt;
    const FILES: [(&str, u64); 8] = [
        ("user", flags::NEWUSER),
        ("cgroup", flags::NEWCGROUP),
        ("ipc", flags::NEWIPC),
        ("uts", flags::NEWUTS),
        ("net", flags::NEWNET),
        ("pid", flags::NEWPID),
        ("time", flags::NEWTIME),
        ("mnt", flags::NEWNS),
    ];
    let mut joined = Vec::new();
    for (name, flag) in FILES {
        let path = PathBuf::from(format!("/proc/{pid}/ns/{name}"));
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            // A kernel without this kind.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && name == "time" => continue,
            Err(error) => return Err(Error::at_path("open the namespace", &path, error)),
        };
        let inode = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let own = std::fs::metadata(format!("/proc/self/ns/{name}")).map(inode).ok();
        if file.metadata().map(inode).ok() != own {
            joined.push(JoinedNamespace { descriptor: file.into(), flag, name, path });
        }
    }
    Ok(joined)
}
