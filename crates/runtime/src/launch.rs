//! The parent's side of a start: make what the plan says on the host, clone, serve the barriers, commit. Whatever
//! fails, everything made so far is taken back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use sys::clone::{Child, CloneRequest, Placement};
use sys::process::monotonic_nanoseconds;
use sys::shared::SharedCounters;

use crate::detached_mounts::DetachedMounts;
use crate::error::{Error, ErrorKind, FailedStep, Result};
use crate::hooks::{self, World};
use crate::init::failure::Failure;
use crate::init::step::{Action, Barrier, HookKind, HostAction, InitAction, Step, StepDescription};
use crate::init::{self, Context, Trace};
use crate::plan::{ContainerPlan, Lifetime, Start};
use crate::spec::Spec;
use crate::state_dir::{Record, StateDir, StateRoot};
use crate::sync::{self, Record as Message};

/// What the caller does on the host while a container starts.
pub trait Host {
    /// Does preparation `index` of the plan's options. What it makes, its own guards undo.
    fn prepare(&mut self, index: usize) -> Result<()>;
    /// Attaches the network to the namespaces of process `pid`, while that process mounts.
    fn attach_network(&mut self, pid: i32) -> Result<()>;
    /// Publishes the container's ports, once its network is attached.
    fn publish_ports(&mut self) -> Result<()> {
        Ok(())
    }
    /// What is kept in the record for the caller, asked for when everything is made.
    fn record(&mut self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// A host side without preparations and network.
#[derive(Debug, Default)]
pub struct BareHost;

impl Host for BareHost {
    fn prepare(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
    fn attach_network(&mut self, _: i32) -> Result<()> {
        Ok(())
    }
}

/// What a launch needs beside its plan.
#[derive(Debug, Default)]
pub struct LaunchOptions {
    /// Where the other end of the container's terminal is to be sent; without one it comes back in [`Container`].
    pub console_socket: Option<OwnedFd>,
    /// Readable when the start is to be given up.
    pub interrupt: Option<OwnedFd>,
    /// For fault-injection tests: the step, from 1, that fails before it runs.
    pub fail_at_step: Option<usize>,
}

/// A container that was launched.
#[derive(Debug)]
pub struct Container {
    /// Its init process in the caller's pid namespace.
    pub pid: i32,
    /// That process.
    pub pidfd: OwnedFd,
    /// Its directory, locked by this process.
    pub state: StateDir,
    /// The controlling end of its terminal, where it has one and it was not sent elsewhere.
    pub console: Option<OwnedFd>,
    /// When each step ran.
    pub timeline: Vec<StepTiming>,
    /// Its cgroup.
    pub cgroup: Option<cgroup::Cgroup>,
}

/// A step and when it ran, in nanoseconds after the launch began.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTiming {
    /// What it was.
    #[serde(flatten)]
    pub step: StepDescription,
    /// When it began.
    pub start_nanoseconds: u64,
    /// When it ended.
    pub end_nanoseconds: u64,
    /// Whether the start failed at it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// Starts the container that `plan` describes.
///
/// Returns when its program has begun, or with [`Start::AtGate`] when it waits to be started.
pub fn launch(
    plan: &ContainerPlan,
    root: &StateRoot,
    host: &mut dyn Host,
    options: LaunchOptions,
) -> Result<Container> {
    let mut launch = Launch::new(plan, options)?;
    match launch.run(root, host) {
        Ok(()) => Ok(launch.commit()),
        Err(mut error) => {
            if let Some(step) = &mut error.step {
                launch.ended = monotonic_nanoseconds();
                step.timeline = launch.timeline(Some(step.number - 1));
            }
            error.rollback = launch.undo();
            Err(error)
        }
    }
}

/// A start under way and all that it has made.
struct Launch<'a> {
    plan: &'a ContainerPlan,
    begun: u64,
    fail_at: Option<usize>,
    host_times: Vec<Option<(u64, u64)>>,
    counters: SharedCounters,
    record: Record,
    state: Option<StateDir>,
    cgroup: Option<cgroup::Cgroup>,
    child: Option<Child>,
    gate: Option<OwnedFd>,
    console: Option<Console>,
    /// Mounts for init, until it has them.
    detached: DetachedMounts,
    interrupt: Option<OwnedFd>,
    /// Our own program, where it is to be the container's init.
    init_binary: Option<OwnedFd>,
    ended: u64,
}

struct Console {
    ours: Option<OwnedFd>,
    theirs: OwnedFd,
    received: Option<OwnedFd>,
}

impl<'a> Launch<'a> {
    fn new(plan: &'a ContainerPlan, options: LaunchOptions) -> Result<Launch<'a>> {
        let counters = SharedCounters::new(plan.steps.len() + 1)
            .map_err(|error| Error::system("map shared memory", error))?;
        let init_binary = if plan.init { Some(crate::host_binary::open_for_init()?) } else { None };
        let console = match (plan.terminal, options.console_socket) {
            (false, _) => None,
            (true, Some(socket)) => Some(Console { ours: None, theirs: socket, received: None }),
            (true, None) => {
                let (ours, theirs) =
                    sync::pair().map_err(|error| Error::system("make a socket pair", error))?;
                Some(Console { ours: Some(ours), theirs, received: None })
            }
        };
        let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let record = Record {
            oci_version: plan.oci_version.clone(),
            id: plan.id.to_string(),
            bundle: plan.bundle.clone(),
            rootfs: plan.rootfs.clone(),
            cgroup_path: plan.cgroup_path().map(str::to_owned),
            created,
            dies_with_launcher: plan.lifetime == Lifetime::Launcher,
            gate: plan.gate().map(|index| (plan.steps.len(), index + 1)),
            annotations: plan.annotations.clone(),
            hooks: plan.hooks.clone(),
            ..Record::default()
        };
        Ok(Launch {
            plan,
            begun: monotonic_nanoseconds(),
            fail_at: options.fail_at_step.map(|number| number.saturating_sub(1)),
            host_times: vec![None; plan.steps.len()],
            counters,
            record,
            state: None,
            cgroup: None,
            child: None,
            gate: None,
            console,
            detached: DetachedMounts::default(),
            interrupt: options.interrupt,
            init_binary,
            ended: 0,
        })
    }

    /// The whole start.
    fn run(&mut self, root: &StateRoot, host: &mut dyn Host) -> Result<()> {
        self.detach_mounts()?;
        self.reserve_state(root)?;
        self.write_files()?;
        self.prepare(host)?;
        self.create_cgroup()?;
        self.open_gate()?;
        let socket = self.clone_init()?;
        let mut serve = || -> Result<()> {
            self.place_child(socket.as_fd())?;
            if !self.network_comes_late() {
                self.attach_network(host).map_err(|error| self.cause_in_init(socket.as_fd(), error))?;
            }
            self.serve(socket.as_fd(), host)
        };
        let result = serve();
        if result.is_err() {
            self.follow_unheard(socket.as_fd());
        }
        result
    }

    /// Runs the host step that `wanted` picks, if the plan has it; times it, and says where it failed.
    fn step<T>(
        &mut self,
        wanted: impl Fn(&HostAction) -> bool,
        run: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        let found = self
            .plan
            .steps
            .iter()
            .position(|step| matches!(&step.action, Action::Host(action) if wanted(action)));
        let Some(index) = found else { return Ok(None) };
        let start = monotonic_nanoseconds();
        let result = if self.fail_at == Some(index) {
            let what = self.plan.steps[index].describe(index + 1).name;
            Err(Error::new(ErrorKind::System, what, "injected failure"))
        } else {
            run(self)
        };
        self.host_times[index] = Some((start, monotonic_nanoseconds()));
        result.map(Some).map_err(|error| Error { step: Some(self.failed_step(index, None)), ..error })
    }

    fn failed_step(&self, index: usize, call: Option<&'static str>) -> Box<FailedStep> {
        Box::new(FailedStep {
            number: index + 1,
            total: self.plan.steps.len(),
            asked_by: self.plan.steps[index].asked_by.clone(),
            call,
            timeline: Vec::new(),
        })
    }

    fn reserve_state(&mut self, root: &StateRoot) -> Result<()> {
        let state = self.step(
            |action| matches!(action, HostAction::ReserveState { .. }),
            |launch| root.reserve(&launch.record),
        )?;
        self.state = state;
        Ok(())
    }

    fn write_files(&mut self) -> Result<()> {
        let plan = self.plan;
        self.step(
            |action| matches!(action, HostAction::WriteFiles { .. }),
            |launch| {
                let state = launch.state.as_ref().expect("the state directory was reserved first");
                let directory = state.path().to_owned();
                plan.files.iter().try_for_each(|file| {
                    let path = directory.join(file.name);
                    let write = || -> std::io::Result<()> {
                        use std::io::Write;
                        use std::os::unix::fs::OpenOptionsExt;
                        let mut options = std::fs::OpenOptions::new();
                        let mut target = options.write(true).create_new(true).mode(0o644).open(&path)?;
                        // Whatever the caller's umask: other users of the container read it too.
                        target.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
                        if let Some(label) = &plan.mount_label {
                            let flags = rustix::fs::XattrFlags::empty();
                            rustix::fs::fsetxattr(&target, c"security.selinux", label.as_bytes(), flags)?;
                        }
                        // Without root they stay the caller's, whoever that is inside.
                        if let Some(maps) = plan.id_maps.as_ref().filter(|_| plan.files_detached) {
                            std::os::unix::fs::fchown(&target, maps.root.0, maps.root.1)?;
                        }
                        target.write_all(file.content.as_bytes())
                    };
                    write().map_err(|error| Error::at_path("write", &path, error))?;
                    if plan.files_detached {
                        launch.detached.make_own(&path, plan.namespaces.joined_users())
                    } else {
                        Ok(())
                    }
                })
            },
        )?;
        Ok(())
    }

    fn prepare(&mut self, host: &mut dyn Host) -> Result<()> {
        let is_preparation = |action: &HostAction| matches!(action, HostAction::Prepare { .. });
        self.each_step(is_preparation, |_, number, _| host.prepare(number))
    }

    fn detach_mounts(&mut self) -> Result<()> {
        let is_mount = |action: &HostAction| matches!(action, HostAction::DetachMount(_));
        self.each_step(is_mount, |launch, _, action| match action {
            HostAction::DetachMount(mount) => {
                let opened = mount.opened.and_then(|number| launch.plan.bind_source(number));
                launch.detached.make(mount, opened)
            }
            _ => Ok(()),
        })
    }

    /// Runs every host step that `wanted` picks, with its number among them; times each, and says which failed.
    fn each_step(
        &mut self,
        wanted: impl Fn(&HostAction) -> bool,
        mut run: impl FnMut(&mut Self, usize, &HostAction) -> Result<()>,
    ) -> Result<()> {
        let plan = self.plan;
        let actions = plan.steps.iter().enumerate().filter_map(|(index, step)| match &step.action {
            Action::Host(action) if wanted(action) => Some((index, action)),
            _ => None,
        });
        for (number, (index, action)) in actions.enumerate() {
            let start = monotonic_nanoseconds();
            let result = if self.fail_at == Some(index) {
                let what = plan.steps[index].describe(index + 1).name;
                Err(Error::new(ErrorKind::System, what, "injected failure"))
            } else {
                run(self, number, action)
            };
            self.host_times[index] = Some((start, monotonic_nanoseconds()));
            result.map_err(|error| Error { step: Some(self.failed_step(index, None)), ..error })?;
        }
        Ok(())
    }

    fn create_cgroup(&mut self) -> Result<()> {
        let Some(cgroup) = &self.plan.cgroup else { return Ok(()) };
        self.step(
            |action| matches!(action, HostAction::CreateCgroup { .. }),
            |launch| {
                let group = cgroup::Cgroup::create(&cgroup.layout, &cgroup.path)?;
                if group.existed() && !group.processes_recursive()?.is_empty() {
                    // Not ours to limit, and by no means to kill when the start fails.
                    let operation = format!("create the cgroup `{}`", cgroup.path.as_str());
                    let error = Error::new(ErrorKind::Invalid, operation, "it exists and has processes");
                    return Err(error.with_hint("name a group of the container's own in linux.cgroupsPath"));
                }
                launch.cgroup = Some(group);
                Ok(())
            },
        )?;
        self.step(
            |action| matches!(action, HostAction::ApplyLimits { .. }),
            |launch| match &launch.cgroup {
                Some(group) => Ok(group.apply(&cgroup.resources)?),
                None => Ok(()),
            },
        )?;
        if let Some(user) = cgroup.delegate_to {
            self.step(
                |action| matches!(action, HostAction::DelegateCgroup { .. }),
                |launch| match &launch.cgroup {
                    Some(group) => Ok(group.delegate(user)?),
                    None => Ok(()),
                },
            )?;
        }
        Ok(())
    }

    fn open_gate(&mut self) -> Result<()> {
        let gate = self.step(
            |action| matches!(action, HostAction::OpenGate),
            |launch| {
                let state = launch.state.as_ref().expect("the state directory was reserved first");
                crate::lifecycle::open_gate(state)
            },
        )?;
        self.gate = gate;
        Ok(())
    }

    /// One clone with every namespace that can be made there, into the cgroup.
    fn clone_init(&mut self) -> Result<OwnedFd> {
        let (ours, theirs) = sync::pair().map_err(|error| Error::system("make a socket pair", error))?;
        let plan = self.plan;
        self.step(
            |action| matches!(action, HostAction::Clone { .. }),
            |launch| {
                let cgroup = launch.cgroup.as_ref().and_then(cgroup::Cgroup::clone_descriptor);
                let request = CloneRequest { flags: plan.namespaces.at_clone, cgroup };
                let trace = Trace { ends: launch.counters.counters(), fail_at: launch.fail_at };
                let files = match &launch.cgroup {
                    Some(group) => group.self_join_descriptors()?,
                    None => Vec::new(),
                };
                // The unified hierarchy comes first, and whoever was cloned into it has it behind him.
                let unified = usize::from(cgroup.is_some());
                let gate = launch.gate.as_ref().map(OwnedFd::as_fd);
                let console = launch.console.as_ref().map(|console| console.theirs.as_fd());
                let detached = launch.detached.descriptors();
                let init_binary = launch.init_binary.as_ref().map(OwnedFd::as_fd);
                let parent_ends = [Some(ours.as_fd()), launch.state.as_ref().map(StateDir::descriptor)];
                let child = sys::clone::clone(&request, &mut |placement| {
                    // With a copy open here, the parent's closing would never be seen, nor its lock be free.
                    parent_ends.into_iter().flatten().for_each(sys::fd::close_copy);
                    let skip = if placement == Placement::InCgroup { unified } else { 0 };
                    let mut context = Context::new(theirs.as_fd(), gate, console, &files[skip..], detached);
                    context.init_binary = init_binary;
                    init::run(&plan.steps, &mut context, &trace)
                });
                let child =
                    child.map_err(|error| crate::remedy::explain_clone(error, plan.namespaces.at_clone))?;
                launch.child = Some(child);
                // The child has copies.
                launch.detached.hand_over();
                Ok(())
            },
        )?;
        // The child holds its own; with ours closed, its end shows as an end here.
        drop(theirs);
        Ok(ours)
    }

    fn pid(&self) -> i32 {
        self.child.as_ref().expect("the child was cloned first").pid
    }

    /// Id maps, cgroup, score: what only the parent may give the child.
    fn place_child(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        let pid = self.pid();
        if let Some(maps) = self.plan.id_maps.clone() {
            self.step(
                |action| matches!(action, HostAction::WriteIdMaps { .. }),
                |_| crate::id_map_files::write(pid, &maps),
            )?;
        }
        if let Some(score) = self.plan.oom_score_adj {
            self.step(
                |action| matches!(action, HostAction::SetOomScore { .. }),
                |_| set_oom_score(pid, score),
            )?;
        }
        let ready = |step: &Step| matches!(step.action, Action::Init(InitAction::Wait(Barrier::HostReady)));
        if let Some(step) = self.plan.steps.iter().position(ready) {
            // Opened before it is reached, so that init mounts while the network is attached. One that has died is
            // seen when its end is read.
            let _ = sync::send(socket, Message::Go { step: step as u16 });
        }
        Ok(())
    }

    /// Whether the network namespace is made by init itself, so that it is not there when the clone returns.
    fn network_comes_late(&self) -> bool {
        self.plan.namespaces.unshared & sys::clone::flags::NEWNET != 0
    }

    fn attach_network(&mut self, host: &mut dyn Host) -> Result<()> {
        if !self.plan.has_network {
            return Ok(());
        }
        let pid = self.pid();
        let is_network = |action: &HostAction| matches!(action, HostAction::AttachNetwork { .. });
        self.step(is_network, |_| host.attach_network(pid))?;
        let is_publication = |action: &HostAction| matches!(action, HostAction::PublishPorts { .. });
        self.step(is_publication, |_| host.publish_ports())?;
        Ok(())
    }

    /// Waits until init has something to say; an error where nobody wants to hear it any more.
    fn wait_for_init(&self, socket: BorrowedFd<'_>) -> Result<()> {
        let Some(interrupt) = &self.interrupt else { return Ok(()) };
        loop {
            let mut watched = [
                PollFd::from_borrowed_fd(socket, PollFlags::IN),
                PollFd::from_borrowed_fd(interrupt.as_fd(), PollFlags::IN),
            ];
            match rustix::event::poll(&mut watched, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(Error::system("wait for init", error)),
            }
            if !watched[0].revents().is_empty() {
                return Ok(());
            }
            if !watched[1].revents().is_empty() {
                let operation = format!("start container `{}`", self.plan.id);
                return Err(Error::new(ErrorKind::Interrupted, operation, "interrupted by a signal"));
            }
        }
    }

    /// Answers the child until its program runs or it waits at the gate.
    fn serve(&mut self, socket: BorrowedFd<'_>, host: &mut dyn Host) -> Result<()> {
        let mut committed = false;
        loop {
            self.wait_for_init(socket)?;
            let message = sync::receive(socket).map_err(|error| Error::system("hear from init", error))?;
            match message {
                Some(Message::Reached { step }) => {
                    let barrier =
                        self.plan.steps.get(usize::from(step)).and_then(|step| match &step.action {
                            Action::Init(InitAction::Wait(barrier)) => Some(*barrier),
                            _ => None,
                        });
                    match barrier {
                        Some(Barrier::Hooks(kind)) => self.run_hooks(kind)?,
                        Some(Barrier::Ready) => {
                            self.receive_console()?;
                            self.commit_record(host)?;
                            committed = true;
                        }
                        Some(Barrier::Network) if self.network_comes_late() => self.attach_network(host)?,
                        // Open already.
                        Some(Barrier::HostReady) => continue,
                        Some(Barrier::Network) => {}
                        Some(Barrier::Gate) | None => {
                            return Err(Error::new(
                                ErrorKind::System,
                                "hear from init",
                                "it reached no barrier of the plan",
                            ));
                        }
                    }
                    if sync::send(socket, Message::Go { step }).is_err() {
                        // It died; why is said when its end is read.
                        continue;
                    }
                    if barrier == Some(Barrier::Ready) && self.plan.start == Start::AtGate {
                        self.ended = monotonic_nanoseconds();
                        return Ok(());
                    }
                }
                Some(Message::Failed { step, failure }) => {
                    return Err(self.explain(usize::from(step), failure));
                }
                Some(Message::Process { pid }) => self.follow(pid)?,
                Some(Message::Go { .. }) => {}
                None if committed => {
                    // Closed by exec: the program runs.
                    self.ended = monotonic_nanoseconds();
                    return Ok(());
                }
                None => {
                    let error = Error::new(
                        ErrorKind::System,
                        "start the init process",
                        "it ended before it was ready",
                    );
                    return Err(self.died_or(error));
                }
            }
        }
    }

    /// The intermediate process has forked the one that matters.
    fn follow(&mut self, pid: i32) -> Result<()> {
        let raw = rustix::process::Pid::from_raw(pid)
            .ok_or_else(|| Error::new(ErrorKind::System, "follow the init process", "it has no pid here"))?;
        let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
            .map_err(|error| Error::system("follow the init process", error))?;
        if let Some(intermediate) = self.child.replace(Child { pid, pidfd, in_cgroup: true }) {
            reap(&intermediate);
        }
        Ok(())
    }

    /// After a failure of the host's part: an intermediate process may have forked, and nobody has listened yet.
    fn follow_unheard(&mut self, socket: BorrowedFd<'_>) {
        if !self.plan.namespaces.needs_intermediate {
            return;
        }
        if let Some(child) = &self.child {
            // It may be dead already; once it is, it has said what it had to say.
            let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
            hooks::ended_by(child.pidfd.as_fd(), None);
        }
        while let Ok(Some(message)) = sync::receive_waiting(socket) {
            if let Message::Process { pid } = message {
                // One that is gone already was reaped by somebody else.
                let _ = self.follow(pid);
                return;
            }
        }
    }

    fn run_hooks(&mut self, kind: HookKind) -> Result<()> {
        let (list, status) = match kind {
            HookKind::CreateRuntime => ("createRuntime", "creating"),
            HookKind::CreateContainer => ("createContainer", "creating"),
            HookKind::StartContainer => ("startContainer", "created"),
        };
        self.record.pid = self.pid();
        self.step(
            |action| matches!(action, HostAction::RunHooks { kind: planned, .. } if *planned == kind),
            |launch| {
                let state = crate::lifecycle::state_document(&launch.record, status);
                let child = launch.child.as_ref().expect("hooks run after the clone");
                match kind {
                    HookKind::CreateRuntime => {
                        hooks::run(&launch.plan.hooks.prestart, "prestart", &state, World::Host)?;
                        hooks::run(&launch.plan.hooks.create_runtime, list, &state, World::Host)
                    }
                    HookKind::CreateContainer => hooks::run(
                        &launch.plan.hooks.create_container,
                        list,
                        &state,
                        World::Container(child.pidfd.as_fd()),
                    ),
                    HookKind::StartContainer => hooks::run(
                        &launch.plan.hooks.start_container,
                        list,
                        &state,
                        World::Program(
                            &launch.record,
                            launch.plan.hooked.as_deref().unwrap_or(&Spec::default()),
                        ),
                    ),
                }
            },
        )?;
        Ok(())
    }

    fn receive_console(&mut self) -> Result<()> {
        if let Some(console) = &mut self.console
            && let Some(ours) = &console.ours
        {
            let received = sync::receive_descriptor(ours.as_fd());
            console.received = received.map_err(|error| Error::system("receive the terminal", error))?;
        }
        Ok(())
    }

    /// From here on the container counts as made.
    fn commit_record(&mut self, host: &mut dyn Host) -> Result<()> {
        self.step(
            |action| matches!(action, HostAction::Commit),
            |launch| {
                launch.record.pid = launch.pid();
                launch.record.start_time =
                    crate::lifecycle::start_time(launch.record.pid).ok_or_else(|| {
                        Error::new(
                            ErrorKind::System,
                            "record the init process",
                            "/proc does not tell its start time",
                        )
                    })?;
                launch.record.caller = host.record();
                let state = launch.state.as_mut().expect("the state directory was reserved first");
                state.write(&launch.record)
            },
        )?;
        Ok(())
    }

    fn explain(&self, index: usize, failure: Failure) -> Error {
        let step = self.failed_step(index, Some(failure.call.name()));
        let error = crate::remedy::explain_step(&self.plan.steps, index, failure, &self.plan.rootfs);
        Error { step: Some(step), ..error }.in_container(self.plan.id.as_str())
    }

    /// A namespace can't be attached to any more when init has failed meanwhile: then that is the cause, and not what
    /// the host met because of it. Else `error`.
    fn cause_in_init(&mut self, socket: BorrowedFd<'_>, error: Error) -> Error {
        while let Ok(Some(message)) = sync::receive_waiting(socket) {
            match message {
                Message::Failed { step, failure } => return self.explain(usize::from(step), failure),
                Message::Process { pid } => {
                    // One that is gone already was reaped by somebody else.
                    let _ = self.follow(pid);
                }
                Message::Reached { .. } | Message::Go { .. } => {}
            }
        }
        self.died_or(error)
    }

    /// If the child is dead, says of what; else `error`.
    fn died_or(&self, error: Error) -> Error {
        let Some(child) = &self.child else { return error };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        if !hooks::ended_by(child.pidfd.as_fd(), Some(Instant::now() + Duration::from_millis(200))) {
            return error;
        }
        let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), options).ok().flatten();
        let killed = self.cgroup.as_ref().map_or(0, cgroup::Cgroup::out_of_memory_kills);
        let operation = format!("start the init process in container `{}`", self.plan.id);
        if killed > 0 {
            let error = Error::new(ErrorKind::OutOfMemory, operation, "it was killed for want of memory");
            return error.with_hint("raise the memory limit; a start needs some megabytes");
        }
        match status.and_then(|status| status.terminating_signal()) {
            Some(signal) => {
                Error::new(ErrorKind::System, operation, format!("it was killed by signal {signal}"))
            }
            None => error,
        }
    }

    fn commit(mut self) -> Container {
        let timeline = self.timeline(None);
        let child = self.child.take().expect("a start that succeeded has a child");
        Container {
            pid: child.pid,
            pidfd: child.pidfd,
            state: self.state.take().expect("a start that succeeded has a state directory"),
            console: self.console.take().and_then(|console| console.received),
            timeline,
            cgroup: self.cgroup.take(),
        }
    }

    /// When each step ran, in the order of the plan; `failed` is the index of the one that did not succeed.
    fn timeline(&self, failed: Option<usize>) -> Vec<StepTiming> {
        let counters = self.counters.counters();
        let mut last = counters[self.plan.steps.len()].load(Ordering::Relaxed);
        let mut timings = Vec::with_capacity(self.plan.steps.len());
        for (index, step) in self.plan.steps.iter().enumerate() {
            let times = match &step.action {
                Action::Host(_) => self.host_times[index],
                Action::Init(action) => {
                    let mut end = counters[index].load(Ordering::Relaxed);
                    let start = last;
                    let has_failed = failed == Some(index);
                    // An exec that succeeded does not say when; a step that was killed says nothing.
                    if (matches!(action, InitAction::Execute(_)) && end != 0 && !has_failed)
                        || (has_failed && end == 0)
                    {
                        end = self.ended;
                    }
                    if end != 0 {
                        last = end;
                    }
                    (end != 0).then_some((start, end))
                }
            };
            if let Some((start, end)) = times {
                timings.push(StepTiming {
                    step: step.describe(index + 1),
                    start_nanoseconds: start.saturating_sub(self.begun),
                    end_nanoseconds: end.saturating_sub(self.begun),
                    failed: failed == Some(index),
                });
            }
        }
        timings
    }

    /// Takes back whatever was made, last first, and returns what could not be.
    fn undo(&mut self) -> Vec<Error> {
        let mut failures = Vec::new();
        self.detached = DetachedMounts::default();
        if let Some(child) = self.child.take() {
            // It may be dead already; then there is nothing to kill.
            let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
            reap(&child);
        }
        let mut gone = true;
        if let Some(group) = self.cgroup.take() {
            if let Err(error) = group.kill() {
                failures.push(error.into());
            }
            if let Err(error) = group.remove() {
                gone = false;
                failures.push(error.into());
            }
        }
        // As long as the group is there, its record is what a later command finds it by.
        if let Some(state) = self.state.take()
            && gone
            && let Err(error) = state.remove()
        {
            failures.push(error);
        }
        failures
    }
}

impl Drop for Launch<'_> {
    fn drop(&mut self) {
        // After `commit` or `undo` nothing is left to take back; this serves a panic in the caller's part.
        let _ = self.undo();
    }
}

fn reap(child: &Child) {
    // Somebody else may have reaped it (SIGCHLD ignored): then it is gone as well.
    let _ = sync::retry(|| waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED));
}

fn set_oom_score(pid: i32, score: i32) -> Result<()> {
    let path = std::path::PathBuf::from(format!("/proc/{pid}/oom_score_adj"));
    std::fs::write(&path, score.to_string()).map_err(|error| {
        let hint = "lowering it takes CAP_SYS_RESOURCE, which this caller lacks; raise it or leave it out";
        Error::at_path(&format!("write `{score}` to"), &path, error).with_hint(hint)
    })
}
