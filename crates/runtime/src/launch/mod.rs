//! The parent's side of a start: make what the plan says on the host, clone, serve the barriers, commit. Whatever
//! fails, everything made so far is taken back.

mod dialogue;
mod host_steps;
mod net_devices;
mod timeline;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use sys::clone::Child;
use sys::process::monotonic_nanoseconds;
use sys::shared::SharedCounters;

pub(crate) use self::host_steps::set_oom_score;
pub(crate) use self::timeline::Clock;
pub use self::timeline::{StepTimes, StepTiming};
use crate::detached_mounts::DetachedMounts;
use crate::error::{Error, ErrorKind, FailedStep, Result};
use crate::init::step::{Action, HostAction, InitAction, Step};
use crate::plan::{ContainerPlan, Lifetime};
use crate::state_dir::{Record, StateDir, StateRoot};
use crate::sync;

/// What the caller does on the host while a container starts.
pub trait Host {
    /// Does preparation `index` of the plan's options. What it makes, its own guards undo.
    fn prepare(&mut self, index: usize) -> Result<()>;
    /// Hears of process `pid` and the network namespace made with it, while it still is the user who cloned it: what it has
    /// in procfs is open to that user, which it no longer is once the process has taken another id.
    fn cloned(&mut self, _pid: i32) -> Result<()> {
        Ok(())
    }
    /// Attaches the network to the namespaces of process `pid`, while that process mounts.
    fn attach_network(&mut self, pid: i32) -> Result<()>;
    /// Publishes the container's ports, once its network is attached.
    fn publish_ports(&mut self) -> Result<()> {
        Ok(())
    }
    /// Takes back what it has made, where the start fails; what can't be is told beside the cause. There still is a record,
    /// by which a later command finds the rest if this one is killed meanwhile.
    fn undo(&mut self, _processes: Processes) -> Vec<Error> {
        Vec::new()
    }
    /// What is kept in the record for the caller, asked for when everything is made.
    fn record(&mut self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }
}

/// What has become of a container's processes when its start is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    /// There are none.
    Gone,
    /// Some may be left; then the record stays as well.
    MayRemain,
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
    /// What ends the lines that come out of a terminal.
    pub line_ends: LineEnds,
    /// Readable when the start is to be given up.
    pub interrupt: Option<OwnedFd>,
    /// For fault-injection tests: the step, from 1, that fails before it runs.
    pub fail_at_step: Option<usize>,
}

/// What ends the lines that come out of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineEnds {
    /// Carriage return and newline, as a screen wants them.
    #[default]
    Screen,
    /// Newline alone, for a reader that is no screen.
    Plain,
}

impl LineEnds {
    /// Sets a terminal, of which either end serves, to it.
    pub(crate) fn set(self, terminal: std::os::fd::BorrowedFd<'_>) -> rustix::io::Result<()> {
        use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};
        if self == LineEnds::Screen {
            return Ok(());
        }
        let mut settings = tcgetattr(terminal)?;
        settings.output_modes.remove(OutputModes::ONLCR);
        tcsetattr(terminal, OptionalActions::Now, &settings)
    }
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
    /// When each step ran: [`ContainerPlan::timeline`] puts it into words.
    pub times: StepTimes,
    /// Its cgroup.
    pub cgroup: Option<cgroup::Cgroup>,
}

/// Starts the container that `plan` describes.
///
/// Returns when its program has begun, or with [`crate::plan::Start::AtGate`] when it waits to be started.
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
                step.timeline = launch.times(Some(step.number - 1)).describe(&plan.steps);
            }
            error.rollback.extend(launch.undo(host));
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
    /// Its cgroup, as long as it is not made in every hierarchy.
    creation: Option<cgroup::Creation>,
    cgroup: Option<cgroup::Cgroup>,
    rdt: Option<crate::rdt::Group>,
    child: Option<Child>,
    gate: Option<OwnedFd>,
    console: Option<Console>,
    line_ends: LineEnds,
    /// Mounts for init, until it has them.
    detached: DetachedMounts,
    /// Network devices that have left the host.
    moved: Option<net_devices::Moved<'a>>,
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
        let record = record_of(plan);
        Ok(Launch {
            plan,
            begun: monotonic_nanoseconds(),
            fail_at: options.fail_at_step.map(|number| number.saturating_sub(1)),
            host_times: vec![None; plan.steps.len()],
            counters,
            record,
            state: None,
            creation: None,
            cgroup: None,
            rdt: None,
            child: None,
            gate: None,
            console,
            line_ends: options.line_ends,
            detached: DetachedMounts::default(),
            moved: None,
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
        self.begin_cgroup()?;
        self.make_rdt_group()?;
        self.open_gate()?;
        let socket = self.clone_init()?;
        let mut serve = || -> Result<()> {
            if self.plan.has_network && !self.network_comes_late() {
                host.cloned(self.pid()).map_err(|error| self.cause_in_init(socket.as_fd(), error))?;
            }
            self.finish_cgroup(socket.as_fd())?;
            self.place_child(socket.as_fd())?;
            if !self.network_comes_late() {
                self.attach_network(host).map_err(|error| self.cause_in_init(socket.as_fd(), error))?;
            }
            self.draft_record(socket.as_fd(), host)
                .map_err(|error| self.cause_in_init(socket.as_fd(), error))?;
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
        self.run_step(index, run).map(Some)
    }

    fn run_step<T>(&mut self, index: usize, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let start = monotonic_nanoseconds();
        let result = if self.fail_at == Some(index) {
            let what = self.plan.steps[index].describe(index + 1).name;
            Err(Error::new(ErrorKind::System, what, "injected failure"))
        } else {
            run(self)
        };
        self.host_times[index] = Some((start, monotonic_nanoseconds()));
        result.map_err(|error| Error { step: Some(self.failed_step(index, None)), ..error })
    }

    fn failed_step(&self, index: usize, call: Option<&'static str>) -> Box<FailedStep> {
        Box::new(FailedStep {
            number: index + 1,
            total: self.plan.steps.len(),
            asked_by: self.plan.steps.get(index).and_then(|step| step.asked_by.clone()),
            call,
            program: None,
            timeline: Vec::new(),
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
            self.run_step(index, |launch| run(launch, number, action))?;
        }
        Ok(())
    }

    fn times(&self, failed: Option<usize>) -> StepTimes {
        let Launch { counters, host_times, begun, ended, .. } = self;
        Clock { counters, host_times, begun: *begun, ended: *ended }.read(&self.plan.steps, failed)
    }

    fn commit(mut self) -> Container {
        let times = self.times(None);
        let child = self.child.take().expect("a start that succeeded has a child");
        // They are the container's from now on.
        self.moved = None;
        self.rdt = None;
        Container {
            pid: child.pid,
            pidfd: child.pidfd,
            state: self.state.take().expect("a start that succeeded has a state directory"),
            console: self.console.take().and_then(|console| console.received),
            times,
            cgroup: self.cgroup.take(),
        }
    }

    /// Takes back whatever was made, last first, and returns what could not be.
    fn undo(&mut self, host: &mut dyn Host) -> Vec<Error> {
        let mut failures = Vec::new();
        self.detached = DetachedMounts::default();
        // As long as the namespace is there: with it, the kernel removes virtual devices.
        if let Some(moved) = self.moved.take() {
            failures.extend(moved.give_back());
        }
        let mut root = None;
        if let Some(child) = self.child.take() {
            root = crate::shared_root::keep(&self.record, child.pid);
            // It may be dead already; then there is nothing to kill.
            let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
            reap(&child);
        }
        // After a commit there is nothing to take back.
        if self.state.is_some() && self.has_reached_joined_mounts() {
            failures.extend(crate::shared_root::unmount(&self.record, root).err());
        }
        let mut gone = true;
        if let Some(begun) = self.creation.take() {
            let failed = begun.undo();
            gone &= failed.is_empty();
            failures.extend(failed.into_iter().map(Error::from));
        }
        if let Some(group) = self.cgroup.take()
            && let Err(error) = group.clear()
        {
            gone = false;
            failures.push(error.into());
        }
        if let Some(group) = self.rdt.take() {
            let failed = group.undo();
            gone &= failed.is_empty();
            failures.extend(failed);
        }
        let failed = host.undo(if gone { Processes::Gone } else { Processes::MayRemain });
        gone &= failed.is_empty();
        failures.extend(failed);
        // As long as something is there, its record is what a later command finds it by.
        if let Some(state) = self.state.take()
            && gone
            && let Err(error) = state.remove()
        {
            failures.push(error);
        }
        failures
    }
}

impl Launch<'_> {
    /// Whether init may have mounted the root where it is taken away again: in a namespace that is joined, another's may
    /// be at the same place.
    fn has_reached_joined_mounts(&self) -> bool {
        let steps = &self.plan.steps;
        let joins = |step: &Step| matches!(step.action, Action::Init(InitAction::JoinMounts { .. }));
        let Some(join) = steps.iter().position(joins) else { return true };
        let before = steps[..join].iter().rposition(|step| matches!(step.action, Action::Init(_)));
        before.is_none_or(|index| self.counters.counters()[index].load(Ordering::Relaxed) != 0)
    }
}

impl Drop for Launch<'_> {
    fn drop(&mut self) {
        // After `commit` or `undo` nothing is left to take back; this serves a panic in the caller's part.
        let _ = self.undo(&mut BareHost);
    }
}

/// What is known of a container before it has a process.
pub(crate) fn record_of(plan: &ContainerPlan) -> Record {
    let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    Record {
        oci_version: plan.oci_version.clone(),
        id: plan.id.to_string(),
        bundle: plan.bundle.clone(),
        config: plan.config.clone(),
        rootfs: plan.root.path().to_owned(),
        cgroup_path: plan.cgroup_path().map(str::to_owned),
        cgroup_manager: plan.cgroup_manager(),
        created,
        rdt: plan.rdt.as_ref().map(|wanted| wanted.membership.clone()),
        dies_with_launcher: plan.lifetime == Lifetime::Launcher,
        joined_mounts: plan.joined_mounts.clone(),
        shared_root: (!plan.owns_mounts()).then(|| crate::shared_root::mount_id(plan.root.path())),
        shares_pids: !plan.namespaces.makes(sys::clone::flags::NEWPID),
        gate: plan.gate().map(|index| (plan.steps.len(), index + 1)),
        annotations: plan.annotations.clone(),
        hooks: plan.hooks.clone(),
        ..Record::default()
    }
}

pub(crate) fn reap(child: &Child) {
    // Somebody else may have reaped it (SIGCHLD ignored): then it is gone as well.
    let _ = sync::retry(|| waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED));
}
