//! The child's own attributes: session, keys, namespaces, limits, users, rights, and at last its program.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal};

use super::Context;
use super::failure::{Call, During, Failure, Outcome};
use super::procfs::is_procfs;
use super::step::{Execution, InitProgram, JoinedNamespace, ProgramUser, Sysctl, Target};
use crate::sync;

/// Moves itself into the cgroup, hierarchy by hierarchy.
pub(super) fn join_cgroup(context: &mut Context<'_>) -> Outcome {
    let received = context.received_cgroup.iter().flatten();
    for (item, file) in context.cgroup.iter().chain(received).enumerate() {
        rustix::io::write(file, b"0").during_item(Call::Write, item)?;
    }
    context.received_cgroup = [const { None }; sync::MOST_DESCRIPTORS];
    Ok(())
}

pub(super) fn new_session() -> Outcome {
    match rustix::process::setsid() {
        // Already a leader: what is wanted is there.
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno).during(Call::Setsid),
    }
}

/// Asks for SIGKILL at the parent's death, and makes sure that it has not died before.
pub(super) fn die_with_parent(context: &Context<'_>) -> Outcome {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).during(Call::Prctl)?;
    let mut watched =
        [rustix::event::PollFd::from_borrowed_fd(context.sync, rustix::event::PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut watched, Some(&now)).during(Call::Receive)?;
    let gone = watched[0].revents().contains(rustix::event::PollFlags::HUP);
    if gone { Err(Errno::CONNABORTED).during(Call::Receive) } else { Ok(()) }
}

pub(super) fn join_keyring(name: &CStr) -> Outcome {
    match sys::keyring::join_new_session(name) {
        // A kernel without keyrings has none to leak; a filter outside that refuses the call hides the host's too.
        Err(error) if matches!(error.raw_os_error(), Some(38 | 1)) => Ok(()),
        other => other.during(Call::Keyctl),
    }
}

/// Joins the user namespace after the others, as in it this process has no rights over those that belong to the host;
/// what it has no rights over before, it may get by joining it.
pub(super) fn join_namespaces(context: &mut Context<'_>, namespaces: &[JoinedNamespace]) -> Outcome {
    const USERS: u64 = sys::clone::flags::NEWUSER;
    let mut left = 0u64;
    let others = |wanted: u64| {
        let chosen = move |(_, one): &(usize, &JoinedNamespace)| one.flag & wanted != 0;
        namespaces.iter().enumerate().filter(chosen)
    };
    let joins_users = others(USERS).next().is_some();
    if joins_users {
        // The namespace may forbid it; and who has no right to now keeps the groups in either case.
        let _ = sys::process::set_groups(&[]);
    }
    for (item, namespace) in others(!USERS) {
        match join(context, namespace) {
            Err(Failure { errno, .. }) if joins_users && errno == Errno::PERM.raw_os_error() => {
                left |= namespace.flag;
            }
            other => other.map_err(|failure| Failure { item: item as u32, ..failure })?,
        }
    }
    for (item, namespace) in others(USERS).chain(others(left)) {
        join(context, namespace).map_err(|failure| Failure { item: item as u32, ..failure })?;
    }
    Ok(())
}

fn join(context: &mut Context<'_>, namespace: &JoinedNamespace) -> Outcome {
    sys::namespace::join(namespace.descriptor.as_fd(), namespace.flag).during(Call::Setns)?;
    if namespace.flag == sys::clone::flags::NEWNS {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        context.root = Some(rustix::fs::openat(CWD, c"/", flags, Mode::empty()).during(Call::Open)?);
    }
    Ok(())
}

/// Where nobody stands behind 0 in the namespace, this process stays who it is: it has its rights all the same, and
/// the program's own user is set later.
pub(super) fn become_namespace_root() -> Outcome {
    let unmapped = |result: std::io::Result<()>| match result {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        other => other,
    };
    unmapped(sys::process::set_group(0)).during(Call::Setresgid)?;
    unmapped(sys::process::set_user(0)).during(Call::Setresuid)
}

/// Shifts the clocks of the time namespace that this process's children will be in. Whoever has just become root of a
/// new user namespace is not dumpable, and its files in procfs are then the host's root's: it is dumpable for a moment,
/// in which nobody else is there.
pub(super) fn time_offsets(text: &[u8], new_users: bool) -> Outcome {
    if new_users {
        sys::process::set_dumpable(sys::process::Dumpable::Yes).during(Call::Prctl)?;
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, c"/proc/self/timens_offsets", flags, Mode::empty());
    if new_users {
        sys::process::set_dumpable(sys::process::Dumpable::No).during(Call::Prctl)?;
    }
    rustix::io::write(&file.during(Call::Open)?, text).during(Call::Write).map(drop)
}

/// Writes kernel parameters through the container's procfs, which must be one.
pub(super) fn sysctls(context: &Context<'_>, directory: &Target, values: &[Sysctl]) -> Outcome {
    let tree = super::mount::open_directory(context, directory).during(Call::Open)?;
    if !is_procfs(tree.as_fd())? {
        return Err(Errno::NODEV).during(Call::Stat);
    }
    for (item, value) in values.iter().enumerate() {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(&tree, value.path.as_c_str(), flags, Mode::empty(), inside)
            .during_item(Call::Open, item)?;
        rustix::io::write(&file, &value.value).during_item(Call::Write, item)?;
    }
    Ok(())
}

/// Every processor: the kernel leaves those that the cgroup's cpuset has.
pub(super) fn reset_cpu_affinity() -> Outcome {
    let mut every = rustix::thread::CpuSet::new();
    (0..rustix::thread::CpuSet::MAX_CPU).for_each(|cpu| every.set(cpu));
    match rustix::thread::sched_setaffinity(None, &every) {
        // A filter around this process, or a cpuset that is just changing: it runs where it ran.
        Ok(()) | Err(Errno::PERM | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno).during(Call::SchedSetaffinity),
    }
}

pub(super) fn resource_limits(limits: &[(Resource, Rlimit, String)]) -> Outcome {
    for (item, (resource, limit, _)) in limits.iter().enumerate() {
        rustix::process::setrlimit(*resource, *limit).during_item(Call::Setrlimit, item)?;
    }
    Ok(())
}

/// Remembers the first candidate that the program's user can execute; the last refusal is the failure.
pub(super) fn find_program(context: &mut Context<'_>, candidates: &[CString], user: &ProgramUser) -> Outcome {
    if user.uid == 0 {
        return find_executable(context, candidates);
    }
    // access(2) judges by the real ids, and without capabilities where those are not root's. Ids that can't be had are
    // told when they are changed for good.
    let groups = user.groups.as_ref().map_or(Ok(()), |groups| sys::process::set_groups(groups));
    // Root, as a rule; a user namespace need not have one.
    let (own_user, own_group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let changed = groups
        .and_then(|()| sys::process::set_real_group(user.gid))
        .and_then(|()| sys::process::set_real_user(user.uid));
    let found = find_executable(context, candidates);
    if changed.is_ok() {
        sys::process::set_real_user(own_user).during(Call::Setresuid)?;
        sys::process::set_real_group(own_group).during(Call::Setresgid)?;
    }
    found
}

fn find_executable(context: &mut Context<'_>, candidates: &[CString]) -> Outcome {
    let (mut refusal, mut refused) = (Errno::NOENT, candidates.len().saturating_sub(1));
    for (item, candidate) in candidates.iter().enumerate() {
        let checked = rustix::fs::accessat(CWD, candidate.as_c_str(), Access::EXEC_OK, AtFlags::empty());
        let errno = match checked {
            Ok(()) => match rustix::fs::statat(CWD, candidate.as_c_str(), AtFlags::empty()) {
                Ok(status) if rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir() => Errno::ISDIR,
                Ok(_) => {
                    context.program = item;
                    return Ok(());
                }
                Err(errno) => errno,
            },
            Err(errno) => errno,
        };
        if errno != Errno::NOENT && errno != Errno::NOTDIR {
            (refusal, refused) = (errno, item);
        }
    }
    Err(refusal).during_item(Call::Access, refused)
}

/// Enters the directory, makes it where it is missing, and makes sure that it lies inside the root (CVE-2024-21626).
pub(super) fn working_directory(
    context: &Context<'_>,
    path: &CStr,
    made: Option<&Target>,
    user: &ProgramUser,
) -> Outcome {
    match (rustix::process::chdir(path), made) {
        (Err(Errno::NOENT), Some(target)) => {
            super::way::make_working_directory(context, target)?;
            rustix::process::chdir(path).during(Call::Chdir)?;
        }
        // Root of a user namespace has no way into what belongs to owners whom it does not know.
        (Err(Errno::ACCESS), _) if user.uid != 0 => enter_as(path, user).during(Call::Chdir)?,
        (entered, _) => entered.during(Call::Chdir)?,
    }
    let mut buffer = [0u8; 4096];
    sys::process::current_directory(&mut buffer).during(Call::Chdir)?;
    if buffer[0] == b'/' { Ok(()) } else { Err(Errno::XDEV).during(Call::Chdir) }
}

/// Enters the directory as the program's user.
fn enter_as(path: &CStr, user: &ProgramUser) -> rustix::io::Result<()> {
    // Groups that can't be had are told when they are changed for good.
    if let Some(groups) = &user.groups {
        let _ = sys::process::set_groups(groups);
    }
    let (own_user, own_group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::process::set_file_group(user.gid);
    sys::process::set_file_user(user.uid);
    let entered = rustix::process::chdir(path);
    sys::process::set_file_user(own_user);
    sys::process::set_file_group(own_group);
    entered
}

pub(super) fn bounding_set(drop: &[u32]) -> Outcome {
    for (item, capability) in drop.iter().enumerate() {
        sys::process::drop_from_bounding_set(*capability).during_item(Call::Prctl, item)?;
    }
    Ok(())
}

pub(super) fn credentials(uid: u32, gid: u32, groups: Option<&[u32]>) -> Outcome {
    sys::process::keep_capabilities().during(Call::Prctl)?;
    if let Some(groups) = groups {
        match sys::process::set_groups(groups) {
            // A user namespace that forbids it; none are left from before it was joined.
            Err(error) if groups.is_empty() && error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {}
            other => other.during(Call::Setgroups)?,
        }
    }
    sys::process::set_group(gid).during(Call::Setresgid)?;
    sys::process::set_user(uid).during(Call::Setresuid)
}

pub(super) fn capabilities(effective: u64, permitted: u64, inheritable: u64, ambient: &[u32]) -> Outcome {
    sys::process::set_capabilities(effective, permitted, inheritable).during(Call::Capset)?;
    sys::process::clear_ambient_set().during(Call::Prctl)?;
    for (item, capability) in ambient.iter().enumerate() {
        sys::process::raise_ambient(*capability).during_item(Call::Prctl, item)?;
    }
    Ok(())
}

pub(super) fn open_label(context: &mut Context<'_>, proc: BorrowedFd<'_>, path: &CStr) -> Outcome {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(proc, path, flags, Mode::empty()).during(Call::Open)?;
    if !is_procfs(file.as_fd())? {
        return Err(Errno::NODEV).during(Call::Stat);
    }
    context.label = Some(file);
    Ok(())
}

pub(super) fn write_label(context: &Context<'_>, label: &CStr) -> Outcome {
    let file = context.label.as_ref().ok_or(Errno::BADF).during(Call::Write)?;
    rustix::io::write(file, label.to_bytes()).during(Call::Write).map(drop)
}

/// Everything from 3 on goes at exec, but for `keep` descriptors that the caller hands to the program.
pub(super) fn close_descriptors(keep: u32) -> Outcome {
    sys::fd::close_on_exec_from(3 + keep).during(Call::CloseRange)?;
    for number in 3..3 + keep {
        sys::fd::keep_on_exec(number as i32).during_item(Call::CloseRange, number as usize)?;
    }
    Ok(())
}

/// The item of a failure that speaks of our own init and not of the program.
pub(crate) const OWN_INIT: usize = u32::MAX as usize;

pub(super) fn execute(context: &Context<'_>, execution: &Execution) -> Outcome {
    sys::signal::reset_dispositions();
    sys::signal::unblock_all();
    if let Some(init) = &execution.init {
        return execute_init(context, init);
    }
    let Some(path) = execution.candidates.get(context.program) else {
        return Err(Failure { call: Call::Execve, errno: Errno::NOENT.raw_os_error(), item: 0 });
    };
    Err(sys::exec::execve(path, &execution.arguments, &execution.environment, home(context)))
        .during_item(Call::Execve, context.program)
}

/// What was found of the user's home, in the place of what is usual.
fn home<'a>(context: &'a Context<'_>) -> Option<&'a CStr> {
    context.home.as_ref().and_then(super::home::Home::entry)
}

/// The socket stays open in the init until the program runs, under a number that it knows.
fn execute_init(context: &Context<'_>, init: &InitProgram) -> Outcome {
    let binary = context.init_binary.ok_or(Errno::BADF).during_item(Call::Execve, OWN_INIT)?;
    let environment = init.environments.get(context.program).ok_or(Errno::NOENT).during(Call::Execve)?;
    // Out of the way, as that number may be the file's own.
    let above = init.socket as i32 + 1;
    let binary = rustix::io::fcntl_dupfd_cloexec(binary, above).during(Call::Dup)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(context.peer(), above).during(Call::Dup)?;
    sys::fd::place(socket.as_fd(), init.socket as i32).during(Call::Dup)?;
    Err(sys::exec::execve_descriptor(binary.as_fd(), &init.arguments, environment, home(context)))
        .during_item(Call::Execve, OWN_INIT)
}
