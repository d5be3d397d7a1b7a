//! The only code that runs between clone and exec: a loop over the plan's steps.
//!
//! It never allocates, locks, formats or logs, as the parent may have had many threads; what fails is told as a
//! step, a call and an errno.

mod bind;
mod console;
mod copy_up;
pub(crate) mod describe;
pub(crate) mod failure;
mod home;
mod memory_files;
mod mount;
mod network;
mod null_streams;
mod overlay;
mod pieces;
mod process;
pub(crate) mod procfs;
pub(crate) mod step;
mod way;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use self::failure::{Call, During, Failure, Outcome};
pub(crate) use self::null_streams::is_null;
pub(crate) use self::process::OWN_INIT;
use self::step::{ANCHORS, Action, Barrier, Handover, InitAction, Step};
use crate::state_dir;
use crate::sync::{self, Record};

/// Exit code of an init process that failed before its program ran; the parent renders the reason.
pub(crate) const FAILED: i32 = 125;

/// What the steps share while they run.
pub(crate) struct Context<'a> {
    /// The socket to the parent.
    sync: BorrowedFd<'a>,
    /// The listening socket of the start gate, where the plan has one.
    gate: Option<BorrowedFd<'a>>,
    /// Where the terminal's other end goes.
    console: Option<BorrowedFd<'a>>,
    /// Files of the cgroup through which this process moves itself.
    cgroup: &'a [OwnedFd],
    /// Such files that were received, where they were not there at the clone.
    received_cgroup: [Option<OwnedFd>; sync::MOST_DESCRIPTORS],
    /// Mounts that the parent has made, attached nowhere yet, by their numbers in the plan.
    detached: &'a [OwnedFd],
    /// The caller that opened the gate: from then on, failures go there.
    starter: Option<OwnedFd>,
    /// The mount that is or becomes the root.
    root: Option<OwnedFd>,
    /// Overlays in the root that change with it later; there is room for as many as do.
    pub(crate) layers: &'a mut [Option<OwnedFd>],
    /// Mounts of ours that later targets lie in (see `plan::anchor`).
    anchors: [Option<OwnedFd>; ANCHORS],
    /// A label file that was opened while the host's procfs was in reach.
    label: Option<OwnedFd>,
    /// Which candidate of the program's paths exists.
    program: usize,
    /// The home directory of the program's user, where it was looked for and found.
    home: Option<home::Home>,
    /// How many descriptors from 3 on the program inherits.
    kept_descriptors: u32,
    /// The file of an init of our own.
    pub(crate) init_binary: Option<BorrowedFd<'a>>,
    /// The directory of the container's record, where init publishes that, and the number of the step that does.
    pub(crate) record: Option<(BorrowedFd<'a>, u16)>,
    /// Whether the parent has written the record.
    is_drafted: bool,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        sync: BorrowedFd<'a>,
        gate: Option<BorrowedFd<'a>>,
        console: Option<BorrowedFd<'a>>,
        cgroup: &'a [OwnedFd],
        detached: &'a [OwnedFd],
    ) -> Context<'a> {
        Context {
            sync,
            gate,
            console,
            cgroup,
            received_cgroup: [const { None }; sync::MOST_DESCRIPTORS],
            detached,
            starter: None,
            root: None,
            layers: &mut [],
            anchors: [const { None }; ANCHORS],
            label: None,
            program: 0,
            home: None,
            kept_descriptors: 0,
            init_binary: None,
            record: None,
            is_drafted: false,
        }
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Failure> {
        self.root.as_ref().map(OwnedFd::as_fd).ok_or(Failure {
            call: Call::Open,
            errno: Errno::BADF.raw_os_error(),
            item: 0,
        })
    }

    /// Keeps an overlay in the root for the step that changes all of them, where there is one: then there is room for each.
    fn keep_layer(&mut self, layer: OwnedFd) -> Outcome {
        if self.layers.is_empty() {
            return Ok(());
        }
        let slot = self.layers.iter_mut().find(|slot| slot.is_none());
        let no_room = Failure { call: Call::Dup, errno: Errno::NOMEM.raw_os_error(), item: 0 };
        *slot.ok_or(no_room)? = Some(layer);
        Ok(())
    }

    /// The mount of this number that the parent has made.
    fn detached(&self, number: usize) -> Result<BorrowedFd<'a>, Failure> {
        self.detached.get(number).map(OwnedFd::as_fd).ok_or(Failure {
            call: Call::MoveMount,
            errno: Errno::BADF.raw_os_error(),
            item: 0,
        })
    }

    /// Where records go and come from now.
    fn peer(&self) -> BorrowedFd<'_> {
        self.starter.as_ref().map_or(self.sync, OwnedFd::as_fd)
    }
}

/// Where the child stores when each step ended, and which steps must fail for a test.
pub(crate) struct Trace<'a> {
    /// Nanoseconds of the monotonic clock, one for each step of the plan, then one for the child's beginning.
    pub(crate) ends: &'a [AtomicU64],
    /// The step that fails before it runs, for fault-injection tests.
    pub(crate) fail_at: Option<usize>,
}

/// Runs the plan's init steps; returns only if one failed, after it has told the parent.
pub(crate) fn run(steps: &[Step], context: &mut Context<'_>, trace: &Trace<'_>) -> i32 {
    if let Some(begun) = trace.ends.get(steps.len()) {
        begun.store(sys::process::monotonic_nanoseconds(), Ordering::Relaxed);
    }
    // Modes are as the plan says, whatever the caller's umask; the program's own is set by a step.
    rustix::process::umask(rustix::fs::Mode::empty());
    run_from(0, steps, context, trace)
}

fn run_from(first: usize, steps: &[Step], context: &mut Context<'_>, trace: &Trace<'_>) -> i32 {
    for (number, step) in steps.iter().enumerate().skip(first) {
        let Action::Init(action) = &step.action else { continue };
        if matches!(action, InitAction::Fork) && trace.fail_at != Some(number) {
            return fork(number, steps, context, trace);
        }
        let outcome = if trace.fail_at == Some(number) {
            Err(Failure { call: Call::Injected, errno: Errno::IO.raw_os_error(), item: 0 })
        } else {
            if let (InitAction::Execute(_), Some(end)) = (action, trace.ends.get(number)) {
                // A successful exec never comes back to say when.
                end.store(sys::process::monotonic_nanoseconds(), Ordering::Relaxed);
            }
            run_step(action, number as u16, context)
        };
        if let Err(failure) = outcome {
            // That it ended is said of a step that succeeded alone: the parent goes by it. A peer that is gone cannot be told; the exit status says the rest.
            let _ = sync::send(context.peer(), Record::Failed { step: number as u16, failure });
            return FAILED;
        }
        if let Some(end) = trace.ends.get(number) {
            end.store(sys::process::monotonic_nanoseconds(), Ordering::Relaxed);
        }
    }
    FAILED
}

/// Goes on in a child of this process's parent, which thereby is in the joined pid namespace; this process ends.
fn fork(number: usize, steps: &[Step], context: &mut Context<'_>, trace: &Trace<'_>) -> i32 {
    let request = sys::clone::CloneRequest { flags: sys::clone::flags::PARENT, cgroup: None };
    let socket = context.sync;
    let (told, teller) = match rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) {
        Ok(pipe) => pipe,
        Err(errno) => return tell_fork_failure(socket, number, errno.raw_os_error()),
    };
    let made = sys::clone::clone(&request, &mut |_| {
        // Not before the parent is told of this process: whatever it hears from here on, it knows whom to reap.
        sys::fd::close_copy(teller.as_fd());
        let mut byte = [0u8; 1];
        match sync::retry(|| rustix::io::read(&told, &mut byte[..])) {
            Ok(1) => run_from(number + 1, steps, context, trace),
            _ => FAILED,
        }
    });
    let pid = match made {
        Ok(child) => child.pid,
        Err(error) => return tell_fork_failure(socket, number, error.raw_os_error().unwrap_or(0)),
    };
    let sent = sync::send(socket, Record::Process { pid });
    match sent.and_then(|()| rustix::io::write(&teller, &[1])) {
        Ok(_) => 0,
        Err(_) => FAILED,
    }
}

fn tell_fork_failure(socket: BorrowedFd<'_>, number: usize, errno: i32) -> i32 {
    let failure = Failure { call: Call::Clone, errno, item: 0 };
    // A peer that is gone cannot be told.
    let _ = sync::send(socket, Record::Failed { step: number as u16, failure });
    FAILED
}

fn run_step(action: &InitAction, number: u16, context: &mut Context<'_>) -> Outcome {
    match action {
        InitAction::Wait(Barrier::Gate) => wait_at_gate(context),
        InitAction::Wait(Barrier::Recorded) => wait_announced(context),
        InitAction::Wait(_) => wait(number, context),
        InitAction::Announce(_) => announce(number, context),
        InitAction::PublishRecord => publish_record(number, context),
        InitAction::ReceiveCgroup => receive_cgroup(number, context),
        InitAction::JoinCgroup { .. } => process::join_cgroup(context),
        InitAction::NewSession => process::new_session(),
        InitAction::DieWithParent => process::die_with_parent(context),
        InitAction::JoinKeyring { name } => process::join_keyring(name),
        InitAction::JoinNamespaces { namespaces } => process::join_namespaces(context, namespaces),
        InitAction::HideFromOthers => {
            sys::process::set_dumpable(sys::process::Dumpable::No).during(Call::Prctl)
        }
        // Done by the loop, as the rest of the list runs in the new process.
        InitAction::Fork => Ok(()),
        InitAction::Unshare { flags, .. } | InitAction::UnshareMeanwhile { flags, .. } => {
            sys::namespace::unshare(*flags).during(Call::Unshare)
        }
        InitAction::TimeOffsets { text, new_users } => process::time_offsets(text, *new_users),
        InitAction::BecomeNamespaceRoot => process::become_namespace_root(),
        InitAction::Propagation { flags, .. } => sys::mount::change(c"/", *flags).during(Call::Mount),
        InitAction::BindRoot(root) => mount::bind_root(context, root),
        InitAction::OverlayRoot(overlay) => overlay::overlay_root(context, overlay),
        InitAction::PiecedRoot(root) => pieces::pieced_root(context, root),
        InitAction::Mount(plan) => mount::mount(context, plan),
        InitAction::Bind(plan) => bind::bind(context, plan, number),
        InitAction::MemoryFiles { files, label } => memory_files::show(context, files, label.as_ref()),
        InitAction::SetAttributes { target, set, clear } => {
            mount::change_attributes(context, target, *set, *clear)
        }
        InitAction::Devices { devices } => mount::devices(context, devices),
        InitAction::Links { links } => mount::links(context, links),
        InitAction::Console { size, terminals, target, owner } => {
            console::open(context, *size, terminals, target.as_ref(), *owner)
        }
        InitAction::Streams { input, output } => {
            rustix::stdio::dup2_stdin(input).during(Call::Dup)?;
            if let Some(output) = output {
                rustix::stdio::dup2_stdout(output).during(Call::Dup)?;
                rustix::stdio::dup2_stderr(output).during(Call::Dup)?;
            }
            Ok(())
        }
        InitAction::NullStreams { target, proc } => {
            null_streams::replace(context, target, proc.as_ref().map(OwnedFd::as_fd))
        }
        InitAction::Mask { targets } => mount::mask(context, targets),
        InitAction::ReadOnlyPaths { targets } => mount::read_only_paths(context, targets),
        InitAction::PivotRoot => mount::pivot(context),
        InitAction::RootAttributes { set, .. } => mount::root_attributes(context, *set),
        InitAction::RootPropagation { flags, .. } => mount::root_propagation(context, *flags),
        InitAction::Sysctls { directory, values } => process::sysctls(context, directory, values),
        InitAction::Hostname { name } => {
            rustix::system::sethostname(name.to_bytes()).during(Call::Sethostname)
        }
        InitAction::Domainname { name } => {
            rustix::system::setdomainname(name.to_bytes()).during(Call::Setdomainname)
        }
        InitAction::ConfigureNetwork(program) => network::configure(program),
        InitAction::HardLimits { limits } => process::resource_limits(limits),
        InitAction::ResourceLimits { limits } => {
            if limits.iter().any(|(resource, ..)| *resource == rustix::process::Resource::Nofile) {
                // Done with, and what is still to be opened needs a number below the limit.
                context.anchors = [const { None }; ANCHORS];
                context.root = None;
            }
            process::resource_limits(limits)
        }
        InitAction::Scheduler(scheduling) => sys::scheduling::set(scheduling).during(Call::SchedSetattr),
        InitAction::IoPriority { class, level } => {
            sys::scheduling::set_io_priority(*class, *level).during(Call::IoprioSet)
        }
        InitAction::CpuAffinity { cpus, .. } => {
            rustix::thread::sched_setaffinity(None, cpus).during(Call::SchedSetaffinity)
        }
        InitAction::Personality { persona } => {
            sys::process::set_personality(*persona).during(Call::Personality)
        }
        InitAction::MemoryPolicy { mode, nodes, .. } => {
            sys::scheduling::set_memory_policy(*mode, nodes).during(Call::SetMempolicy)
        }
        InitAction::FindProgram { candidates, user } => process::find_program(context, candidates, user),
        InitAction::Umask { mask } => {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(*mask));
            Ok(())
        }
        InitAction::WorkingDirectory { path, made, user } => {
            process::working_directory(context, path, made.as_ref(), user)
        }
        InitAction::BoundingSet { drop, .. } => process::bounding_set(drop),
        InitAction::Credentials { uid, gid, groups } => process::credentials(*uid, *gid, groups.as_deref()),
        InitAction::Capabilities { effective, permitted, inheritable, ambient } => {
            process::capabilities(*effective, *permitted, *inheritable, ambient)
        }
        InitAction::NoNewPrivileges => rustix::thread::set_no_new_privs(true).during(Call::Prctl),
        InitAction::OpenLabel { proc, path } => process::open_label(context, proc.as_fd(), path),
        InitAction::WriteLabel { label } => process::write_label(context, label),
        InitAction::Seccomp { instructions, flags, listener } => {
            let made = sys::seccomp::install(instructions, *flags).during(Call::Seccomp)?;
            match (made, listener) {
                (Some(made), Some(how)) => hand_over(context, number, made, *how),
                _ => Ok(()),
            }
        }
        InitAction::CloseDescriptors { keep } => {
            context.kept_descriptors = *keep;
            process::close_descriptors(*keep)
        }
        InitAction::FindHome { uid } => {
            // A container without such a file or user has what is usual.
            context.home = home::find(*uid);
            Ok(())
        }
        InitAction::ResetCpuAffinity => process::reset_cpu_affinity(),
        InitAction::MoveRoot { visible } => mount::move_root(context, visible),
        InitAction::ChangeRoot => mount::change_root(context),
        InitAction::JoinMounts { namespace, place, .. } => {
            mount::join(context, namespace.descriptor.as_fd(), place.as_fd())
        }
        InitAction::JoinRoot { root } => {
            context.root = Some(mount::duplicate(root.as_fd())?);
            mount::change_root(context)
        }
        InitAction::Execute(execution) => process::execute(context, execution),
    }
}

fn ended() -> Failure {
    Failure { call: Call::Receive, errno: Errno::CONNABORTED.raw_os_error(), item: 0 }
}

fn announce(number: u16, context: &mut Context<'_>) -> Outcome {
    sync::send(context.peer(), Record::Reached { step: number }).during(Call::Send)
}

/// Waits until the barrier that was announced is open.
fn wait_announced(context: &mut Context<'_>) -> Outcome {
    match sync::receive(context.peer()).during(Call::Receive)? {
        Some(Record::Go { .. }) => Ok(()),
        _ => Err(ended()),
    }
}

/// Tells the parent that this barrier is reached, and waits until it is open.
fn wait(number: u16, context: &mut Context<'_>) -> Outcome {
    announce(number, context)?;
    await_opening(number, context)
}

/// Waits until this barrier is open. That the record is written is told whenever it is.
fn await_opening(number: u16, context: &mut Context<'_>) -> Outcome {
    loop {
        let answer = sync::receive(context.peer()).during(Call::Receive)?;
        match (answer, context.record) {
            (Some(Record::Go { step }), Some((_, publishing))) if step == publishing && step != number => {
                context.is_drafted = true;
            }
            (answer, _) => return is_open(number, answer),
        }
    }
}

/// Puts the record that the parent wrote while this process mounted in its place: to have the parent do it would be two
/// changes of who runs.
fn publish_record(number: u16, context: &mut Context<'_>) -> Outcome {
    let Some((directory, _)) = context.record else { return Err(ended()) };
    if !context.is_drafted {
        await_opening(number, context)?;
    }
    let renamed = rustix::fs::renameat(directory, state_dir::DRAFT, directory, state_dir::RECORD);
    renamed.during(Call::Rename)
}

fn receive_cgroup(number: u16, context: &mut Context<'_>) -> Outcome {
    let answer = sync::receive_descriptors(context.sync, &mut context.received_cgroup);
    is_open(number, answer.during(Call::Receive)?)
}

/// Whether the parent's answer opens this barrier.
fn is_open(number: u16, answer: Option<Record>) -> Outcome {
    if answer == Some(Record::Go { step: number }) { Ok(()) } else { Err(ended()) }
}

/// A created container may wait for long: it holds nothing of the host and of its caller open that the rest of the list
/// does not want.
fn close_what_is_done_with(context: &mut Context<'_>, gate: BorrowedFd<'_>) {
    context.anchors = [const { None }; ANCHORS];
    context.root = None;
    let label = context.label.as_ref().map(OwnedFd::as_fd);
    let wanted = [Some(context.sync), Some(gate), label, context.init_binary];
    let mut kept = [-1; 4];
    for (place, descriptor) in kept.iter_mut().zip(wanted) {
        *place = descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd());
    }
    kept.sort_unstable();
    sys::fd::close_copies_from(3 + context.kept_descriptors as i32, &kept);
}

/// Shows the parent a mount, and waits until it has done with it what the plan says.
fn ask_with(context: &mut Context<'_>, number: u16, mount: BorrowedFd<'_>) -> Outcome {
    let asked = Record::Reached { step: number };
    sync::send_with(context.peer(), asked, mount).during(Call::Send)?;
    await_opening(number, context)
}

/// Gives the listener to the parent, and waits until the agent has it: at exec it is closed here.
fn hand_over(context: &Context<'_>, number: u16, listener: OwnedFd, how: Handover) -> Outcome {
    match how {
        Handover::Number => {
            let told = Record::Listener { step: number, descriptor: listener.as_raw_fd() };
            sync::write(context.peer(), told).during(Call::Write)?;
        }
        Handover::Descriptor => {
            let told = Record::Listener { step: number, descriptor: -1 };
            sync::send_with(context.peer(), told, listener.as_fd()).during(Call::Send)?;
        }
    }
    // Closed by exec, as a call less that the filter could hold up.
    let _ = listener.into_raw_fd();
    is_open(number, sync::read(context.peer()).during(Call::Receive)?)
}

/// Waits until somebody calls `start`. A caller that connects and goes away (a look at the state, a `start` that
/// was killed) changes nothing.
fn wait_at_gate(context: &mut Context<'_>) -> Outcome {
    let gate = context.gate.ok_or_else(ended)?;
    close_what_is_done_with(context, gate);
    // Every signal is blocked here, and of those that ask for an end none would be heard before the program runs. Where
    // that can't be had, SIGKILL still ends it.
    let end_requests = sys::signal::open_end_requests().ok();
    loop {
        if let Some(requests) = &end_requests {
            let mut watched = [
                PollFd::from_borrowed_fd(gate, PollFlags::IN),
                PollFd::from_borrowed_fd(requests.as_fd(), PollFlags::IN),
            ];
            sync::retry(|| rustix::event::poll(&mut watched, None)).during(Call::Receive)?;
            if !watched[1].revents().is_empty() {
                return Err(ended());
            }
        }
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let caller = sync::retry(|| rustix::net::accept_with(gate, flags)).during(Call::Accept)?;
        if let Ok(Some(Record::Go { step })) = sync::receive(caller.as_fd()) {
            // Told back, so that an end that follows means the program and not that nobody was here.
            if sync::send(caller.as_fd(), Record::Go { step }).is_err() {
                continue;
            }
            context.starter = Some(caller);
            return Ok(());
        }
    }
}

/// Makes a mount point of `path` below `root`, and what is missing of the way to it, in the parent: for mounts that
/// another program makes.
pub(crate) fn make_mount_point(
    root: BorrowedFd<'_>,
    path: &str,
    kind: step::TargetKind,
    field: &str,
) -> crate::error::Result<()> {
    let target = step::Target::parse(path, kind, field)?;
    way::open_target(way::Way::from_root(root, &target)).map(drop).map_err(|failure| {
        let error = std::io::Error::from_raw_os_error(failure.errno);
        crate::error::Error::at_path("make the mount point", std::path::Path::new(path), error)
            .from_field(field)
    })
}
