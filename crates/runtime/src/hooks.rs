//! Hooks: programs of the caller that run at fixed moments, bounded in time, killed as a group.

use std::ffi::{CStr, CString};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use sys::clone::{CloneRequest, flags};
use sys::exec::CStringArray;

use crate::error::{Error, ErrorKind, Result};
use crate::exec::{self, ProgramStart, Streams};
use crate::plan::process::{Home, Program};
use crate::plan::{MissingHome, c_path, c_string};
use crate::spec::{Hook, Process, Spec};
use crate::state_dir::Record;

/// In which world a hook runs.
#[derive(Clone, Copy)]
pub(crate) enum World<'a> {
    /// The caller's.
    Host,
    /// The namespaces of a container whose root is not `/` yet.
    Container(&'a Unpivoted<'a>),
    /// A started container, whose root may be anybody's: the hook is a file of that root, and gets the rights of the
    /// container's own program and no more.
    Program(&'a Record, &'a Spec),
}

/// A container in the making: its mounts are there, and `/` is still the host's.
pub(crate) struct Unpivoted<'a> {
    /// Its init.
    pub(crate) pidfd: BorrowedFd<'a>,
    /// `/proc/PID/root` of it: the host's tree, as its mount namespace has it.
    pub(crate) host_root: CString,
    /// Where its root is mounted; nothing where it lies over `/`, which the caller sees below it.
    pub(crate) rootfs: Option<CString>,
    /// Those that it does not share with the caller.
    pub(crate) namespaces: u64,
}

/// Runs `hooks` in order with `state` on their stdin, which is put together where there is one; the first that fails ends it.
pub(crate) fn run(hooks: &[Hook], list: &str, state: impl Fn() -> Vec<u8>, world: World<'_>) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(index, hook)| run_numbered(hook, index, list, &state(), world))
}

/// The same, but all of them run; returns what failed.
pub(crate) fn run_all(
    hooks: &[Hook],
    list: &str,
    state: impl Fn() -> Vec<u8>,
    world: World<'_>,
) -> Vec<Error> {
    let run = |(index, hook)| run_numbered(hook, index, list, &state(), world).err();
    hooks.iter().enumerate().filter_map(run).collect()
}

fn run_numbered(hook: &Hook, index: usize, list: &str, state: &[u8], world: World<'_>) -> Result<()> {
    let field = format!("hooks.{list}[{index}]");
    // Callers know these words of runc's.
    let operation = format!("{field}: error running {list} hook #{index}");
    run_one(hook, &field, operation, state, world)
}

fn run_one(hook: &Hook, field: &str, operation: String, state: &[u8], world: World<'_>) -> Result<()> {
    let name = format!("`{}`", hook.path.display());
    if !hook.path.is_absolute() {
        return Err(Error::invalid(format!("{field}.path"), "is not an absolute path".to_owned()));
    }
    if hook.timeout.is_some_and(|seconds| seconds <= 0) {
        return Err(Error::invalid(format!("{field}.timeout"), "must be greater than zero".to_owned()));
    }
    let strings = |texts: &[String], part: &str| -> Result<Vec<CString>> {
        texts.iter().map(|text| c_string(text, format_args!("{field}.{part}"))).collect()
    };
    let path = c_path(&hook.path, field)?;
    let mut arguments = strings(&hook.args, "args")?;
    if arguments.is_empty() {
        arguments.push(path.clone());
    }
    let arguments = CStringArray::new(arguments);
    let environment = strings(&hook.env, "env")?;
    let system = |error: std::io::Error| {
        let error = Error::system(operation.clone(), error);
        Error { reason: format!("{name}: {}", error.reason), ..error }
    };
    let deadline = hook
        .timeout
        // One beyond what a clock can tell is none.
        .and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds as u64)));
    let input = state_file(state).map_err(system)?;
    let mut told = None;
    let mut guard = match world {
        World::Program(record, spec) => {
            // One that names no variables has the program's, as with runc.
            let process = spec.process.clone().unwrap_or_default();
            let (environment, home) = if environment.is_empty() {
                crate::plan::process::environment(&process, MissingHome::Sought)?
            } else {
                (environment, Home::Given)
            };
            let environment = CStringArray::new(environment);
            let program = Program { candidates: vec![path], arguments, environment, home, open_files: None };
            start_inside(record, spec, program, input).map_err(|error| error.from_field(operation.clone()))?
        }
        World::Host | World::Container(_) => {
            let (read, write) =
                rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| system(error.into()))?;
            told = Some(read);
            let environment = CStringArray::new(environment);
            start_outside(&path, &arguments, &environment, input, world, write).map_err(system)?
        }
    };
    if !ended_by(guard.pidfd.as_fd(), deadline) {
        let seconds = hook.timeout.unwrap_or_default();
        return Err(Error::new(
            ErrorKind::System,
            operation,
            format!("{name} did not end within {seconds} seconds"),
        ));
    }
    let status = waitid(WaitId::PidFd(guard.pidfd.as_fd()), WaitIdOptions::EXITED)
        .map_err(|error| system(error.into()))?;
    guard.done = true;
    let mut errno = [0u8; 4];
    if told.is_some_and(|told| std::fs::File::from(told).read_exact(&mut errno).is_ok()) {
        return Err(system(std::io::Error::from_raw_os_error(i32::from_ne_bytes(errno))));
    }
    match status.and_then(|status| status.exit_status().map(Ok).or(status.terminating_signal().map(Err))) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => {
            Err(Error::new(ErrorKind::System, operation, format!("{name} ended with exit code {code}")))
        }
        Some(Err(signal)) => {
            // SIGSYS: a call that the seccomp filter kills for.
            let said = if signal == Signal::SYS.as_raw() { " (bad system call)" } else { "" };
            let reason = format!("{name} was killed by signal {signal}{said}");
            Err(Error::new(ErrorKind::System, operation, reason))
        }
        None => Err(Error::new(ErrorKind::System, operation, format!("{name} ended without a status"))),
    }
}

/// Starts a hook of the container's root as another program of the container.
fn start_inside(record: &Record, spec: &Spec, program: Program, input: OwnedFd) -> Result<HookProcess> {
    // The directory may not be there for a hook that comes before the program.
    let process =
        Process { cwd: "/".to_owned(), terminal: false, ..spec.process.clone().unwrap_or_default() };
    let start = ProgramStart {
        subgroups: Vec::new(),
        process: &process,
        program,
        streams: Some(Streams { input, output: None }),
        console_socket: None,
        kept_descriptors: 0,
        line_ends: Default::default(),
        timed: false,
    };
    let started = exec::run_in(record, spec, start)?;
    Ok(HookProcess { pid: started.pid, pidfd: started.pidfd, done: false })
}

/// Starts a hook of the host; what keeps it from its program is written to `teller`.
fn start_outside(
    path: &CStr,
    arguments: &CStringArray,
    environment: &CStringArray,
    input: OwnedFd,
    world: World<'_>,
    teller: OwnedFd,
) -> std::io::Result<HookProcess> {
    let child = sys::clone::clone(&CloneRequest { flags: 0, cgroup: None }, &mut |_| {
        let code = become_hook(path, arguments, environment, input.as_fd(), world);
        // Best effort: without it the exit status still tells of a failure.
        let _ = rustix::io::write(&teller, &code.to_ne_bytes());
        127
    })?;
    Ok(HookProcess { pid: child.pid, pidfd: child.pidfd, done: false })
}

/// A hook that runs; dropped before its end, it is killed with all of its group.
struct HookProcess {
    pid: i32,
    pidfd: OwnedFd,
    done: bool,
}

impl Drop for HookProcess {
    fn drop(&mut self) {
        if self.done {
            // It was reaped: its number may be another group's by now.
            return;
        }
        if let Some(group) = Pid::from_raw(self.pid) {
            // Best effort: an empty group has nobody left to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
    }
}

/// In the child: neither allocates nor locks. Returns the errno of what failed.
fn become_hook(
    path: &CStr,
    arguments: &CStringArray,
    environment: &CStringArray,
    input: BorrowedFd<'_>,
    world: World<'_>,
) -> i32 {
    let attempt = || -> std::io::Result<()> {
        rustix::process::setpgid(None, None)?;
        rustix::stdio::dup2_stdin(input)?;
        sys::fd::close_on_exec_from(3)?;
        if let World::Container(container) = world {
            join(container)?;
        }
        sys::signal::reset_dispositions();
        sys::signal::unblock_all();
        Err(sys::exec::execve(path, arguments, environment, None))
    };
    attempt().err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

/// Enters the container's namespaces: `/` stays the host's tree, as its mount namespace has it, and the working directory is
/// the container's root.
fn join(container: &Unpivoted<'_>) -> std::io::Result<()> {
    use rustix::fs::{CWD, Mode, OFlags};
    let kinds = container.namespaces;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, container.host_root.as_c_str(), directory, Mode::empty())?;
    if kinds != 0 {
        match sys::namespace::join(container.pidfd, kinds) {
            // They belong to a user namespace in which this process has no rights before it joins it too.
            Err(error) if error.raw_os_error() == Some(1) => {
                sys::namespace::join(container.pidfd, kinds | flags::NEWUSER)?;
            }
            other => other?,
        }
    }
    // A mount namespace is entered on top of whatever lies over its root.
    let top = rustix::fs::openat(CWD, c"/", directory, Mode::empty())?;
    if kinds & flags::NEWNS != 0 {
        rustix::process::fchdir(&root)?;
        rustix::process::chroot(c".")?;
    }
    match &container.rootfs {
        Some(path) => rustix::process::chdir(path.as_c_str())?,
        None => rustix::process::fchdir(&top)?,
    }
    Ok(())
}

/// The state as a file in memory: a hook may read it at its own pace or not at all, and nobody waits for it.
fn state_file(state: &[u8]) -> std::io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(c"state", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(state)?;
    file.rewind()?;
    Ok(file.into())
}

/// Waits for the process's end until `deadline`; says whether it came.
pub(crate) fn ended_by(pidfd: BorrowedFd<'_>, deadline: Option<Instant>) -> bool {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left
            .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        let mut watched = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        match poll(&mut watched, timeout.as_ref()) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
