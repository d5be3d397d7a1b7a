//! `exec`: another program in a container that runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use monitor::{Console, DetachKeys, Exit, Input, Policy, Supervised, Supervision};
use runtime::launch::LineEnds;
use runtime::layers::Layers;
use runtime::spec::{ConsoleSize, Process};
use runtime::{ErrorKind, ExecOptions, Streams};
use sys::signal::SignalDescriptor;

use super::{Basis, Found, root_of};
use crate::accounts::{self, Account};
use crate::config::{self, Rights};
use crate::container::{Notice, new_id};
use crate::error::{Error, Result, from_monitor};
use crate::events::Subject;
use crate::options::{ProcessOptions, TerminalMode, UserOption, parse_group};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its terminal.
    pub terminal: TerminalMode,
    /// Variables beside those of the container, `NAME=value`.
    pub environment: Vec<String>,
    /// Who runs it; without, who runs the container's own program.
    pub user: Option<UserOption>,
    /// Where it starts; without, where the container's own program did.
    pub directory: Option<String>,
    /// Whether it gets every capability that there is to give.
    pub privileged: bool,
    /// How many descriptors from 3 on it inherits.
    pub kept_descriptors: u32,
}

/// What became of a program that somebody stood behind.
#[derive(Debug)]
pub enum ExecOutcome {
    /// How it ended, and what a person should know.
    Ended(Exit, Vec<Notice>),
    /// It runs, and this end of its terminal is for somebody to hold.
    Left(OwnedFd),
}

/// A program that was started in a container.
#[derive(Debug)]
pub struct Execution {
    started: runtime::Executed,
    /// What events tell of the container, and the id of this program there.
    told: Option<(Subject, String)>,
}

impl Found {
    /// Starts a program in it, with the streams of this process. Whoever calls this runs from a file that the container can't write
    /// to, see [`crate::host_binary`].
    pub fn exec(&self, request: &ExecRequest) -> Result<Execution> {
        let told = match self.subject() {
            Some(subject) => Some((subject, new_id()?.to_string())),
            None => None,
        };
        let tell = |action: &str| {
            let Some((subject, id)) = &told else { return };
            subject.tell_with(&format!("{action}: {}", request.command.join(" ")), [("execID", id.clone())]);
        };
        let basis = self.basis("exec in")?;
        tell("exec_create");
        let started = self.execute_by(&basis, request, None)?;
        tell("exec_start");
        Ok(Execution { started, told })
    }

    /// The same for rabbitc itself, with streams of its own: nobody is told.
    pub(crate) fn execute(&self, request: &ExecRequest, streams: Streams) -> Result<runtime::Executed> {
        self.execute_by(&self.basis("exec in")?, request, Some(streams))
    }

    fn basis(&self, operation: &str) -> Result<Basis> {
        let view = self.up(operation)?;
        if self.is_paused() {
            let error = self.wrong(operation, "is paused, unpause the container before exec");
            return Err(error.with_hint(format!("`rabbitc unpause {}` does that", self.called())));
        }
        Basis::read(&self.state, view)
    }

    fn execute_by(
        &self,
        basis: &Basis,
        request: &ExecRequest,
        streams: Option<Streams>,
    ) -> Result<runtime::Executed> {
        let operation = "exec in";
        let options = ExecOptions {
            process: process(request, basis, &|| self.of_first(operation, root_of))?,
            streams,
            kept_descriptors: request.kept_descriptors,
            line_ends: LineEnds::Screen,
            ..ExecOptions::default()
        };
        let started = runtime::exec_by(&self.state, &self.runtime_id()?, &basis.spec, options);
        started.map_err(|error| match error.kind {
            ErrorKind::WrongStatus => self.has_ended(operation),
            _ => by_flag(error),
        })
    }
}

/// The flag in the place of what a config calls it.
fn by_flag(mut error: Error) -> Error {
    for (field, flag) in [("process.cwd", "--workdir"), ("process.user", "--user"), ("process.env", "--env")]
    {
        if let Some(rest) = error.operation.strip_prefix(field) {
            error.operation = format!("{flag}{rest}");
            return error;
        }
    }
    error
}

/// The container's own process with what is asked for.
fn process(request: &ExecRequest, basis: &Basis, root: &dyn Fn() -> Result<Layers>) -> Result<Process> {
    let mut process = basis.spec.process.clone().unwrap_or_default();
    process.args.clone_from(&request.command);
    (process.terminal, process.console_size) = match request.terminal {
        TerminalMode::New(height, width) => (true, Some(ConsoleSize { height, width })),
        TerminalMode::Inherit => (false, None),
    };
    environment(&mut process, request, basis);
    if let Some(directory) = &request.directory {
        if !directory.starts_with('/') {
            let reason = format!("`{}` is not an absolute path", directory.escape_debug());
            let error = Error::invalid("--workdir", reason);
            return Err(error.with_hint("begin it with `/`, the container's root"));
        }
        process.cwd.clone_from(directory);
    }
    if let Some(user) = &request.user {
        let options = ProcessOptions {
            user: Some(user.clone()),
            groups: basis
                .groups
                .iter()
                .map(|group| parse_group("--group-add", group))
                .collect::<Result<_>>()?,
            ..ProcessOptions::default()
        };
        let Account { uid, gid, groups, .. } = accounts::look_up(root, &options)?;
        (process.user.uid, process.user.gid, process.user.additional_gids) = (uid, gid, groups);
    }
    if request.user.is_some() || request.privileged {
        let mut linux = basis.spec.linux.iter();
        let rights = match (request.privileged, linux.any(|linux| !linux.uid_mappings.is_empty())) {
            (false, _) => Rights::Containers,
            (true, false) => Rights::All,
            (true, true) => Rights::AllOverOwnUsers,
        };
        config::give_rights(&mut process, basis.named, rights)?;
    }
    Ok(process)
}

/// As docker has it: the container's variables, those that depend on the terminal and the user anew, and then those that are asked
/// for.
fn environment(process: &mut Process, request: &ExecRequest, basis: &Basis) {
    let name_of = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    // HOME is looked up by the user, inside.
    process.env.retain(|entry| !basis.usual.contains(&name_of(entry)));
    if process.terminal && basis.usual.iter().any(|name| name == "TERM") {
        process.env.push("TERM=xterm".to_owned());
    }
    for entry in &request.environment {
        process.env.retain(|known| name_of(known) != name_of(entry));
        process.env.push(entry.clone());
    }
}

impl Execution {
    /// Its pid on the host.
    pub fn pid(&self) -> i32 {
        self.started.pid
    }

    /// Stands behind it until it ends, or until `keys` are typed. The caller's signals are passed on to it.
    pub fn supervise(
        self,
        signals: &SignalDescriptor,
        typed: Input,
        keys: &DetachKeys,
        (input, output): (BorrowedFd<'_>, BorrowedFd<'_>),
    ) -> Result<ExecOutcome> {
        let Execution { started, told } = self;
        let runtime::Executed { pid, pidfd, console, .. } = started;
        let console = match console {
            Some(outer) => Console::Terminal { outer },
            None => Console::Inherited,
        };
        let policy = Policy { input: typed, ..Policy::default() };
        let supervision = Supervision { pidfd: pidfd.as_fd(), pid, signals, console, input, output, policy };
        let outcome = monitor::supervise_until_left(supervision, keys);
        let notice = |error: &monitor::Error| Notice {
            what: error.to_string(),
            remedy: error.hint().map(str::to_owned),
        };
        Ok(match outcome.map_err(|error| from_monitor(&error))? {
            Supervised::Ended(outcome) => {
                if let Some((subject, id)) = told {
                    let code = outcome.exit.code().to_string();
                    subject.tell_with("exec_die", [("execID", id), ("exitCode", code)]);
                }
                ExecOutcome::Ended(outcome.exit, outcome.incidents.iter().map(notice).collect())
            }
            Supervised::Left(terminal) => {
                if let Some((subject, id)) = told {
                    subject.tell_with("exec_detach", [("execID", id)]);
                }
                ExecOutcome::Left(terminal)
            }
        })
    }

    /// Leaves it to itself; the controlling end of its terminal, where it has one, is for somebody to hold.
    pub fn leave(self) -> Option<OwnedFd> {
        self.started.console
    }
}

/// What a program that could not be started exits with, as docker has it.
pub fn exec_exit_code(error: &Error) -> i32 {
    match error.kind {
        ErrorKind::ProgramNotFound => 127,
        _ if error.errno == Some(rustix::io::Errno::NOENT.raw_os_error()) => 127,
        _ => 126,
    }
}

#[cfg(test)]
mod tests {
    use runtime::spec::Spec;

    use super::*;

    fn basis(environment: &[&str], usual: &[&str]) -> Basis {
        let process = Process {
            env: environment.iter().map(|&entry| entry.to_owned()).collect(),
            cwd: "/work".to_owned(),
            ..Process::default()
        };
        Basis {
            spec: Spec { process: Some(process), ..Spec::default() },
            named: 0,
            groups: Vec::new(),
            usual: usual.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn process_of(request: &ExecRequest, basis: &Basis) -> Process {
        process(request, basis, &|| panic!("nobody is looked up")).expect("legal")
    }

    #[test]
    fn variables_are_the_containers_with_its_own_home_and_terminal() {
        let basis = basis(&["PATH=/bin", "TERM=xterm", "HOME=/root", "A=1"], &["HOME", "TERM"]);
        let mut request = ExecRequest { environment: vec!["A=2".to_owned()], ..ExecRequest::default() };
        assert_eq!(process_of(&request, &basis).env, ["PATH=/bin", "A=2"]);
        request.terminal = TerminalMode::New(24, 80);
        assert_eq!(process_of(&request, &basis).env, ["PATH=/bin", "TERM=xterm", "A=2"]);
    }

    #[test]
    fn variables_that_somebody_set_stay() {
        let basis = basis(&["TERM=vt100", "HOME=/x"], &[]);
        let request = ExecRequest { terminal: TerminalMode::New(24, 80), ..ExecRequest::default() };
        assert_eq!(process_of(&request, &basis).env, ["TERM=vt100", "HOME=/x"]);
    }

    #[test]
    fn directory_is_the_containers_unless_another_is_asked_for() {
        let basis = basis(&[], &[]);
        let mut request = ExecRequest::default();
        assert_eq!(process_of(&request, &basis).cwd, "/work");
        request.directory = Some("/tmp".to_owned());
        assert_eq!(process_of(&request, &basis).cwd, "/tmp");
    }
}
