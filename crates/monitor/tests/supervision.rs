//! Owns what supervision promises its caller, on real processes and real terminals. Most tests start this file's
//! program once more, as the supervisor: blocked signals need a process of their own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, OutputModes, Winsize, tcgetattr, tcsetwinsize};

use rabbitc_monitor::{
    Console, DetachKeys, Exit, Operation, Outcome, Policy, Supervised, Supervision, copy_window_size,
    supervise, supervise_until_left,
};

#[test]
fn exit_code_is_the_programs() {
    let status = supervised("inherited", "exit 7").status().unwrap();
    assert_eq!(status.code(), Some(7));
}

#[test]
fn death_by_a_signal_is_128_and_its_number() {
    let status = supervised("inherited", "kill -KILL $$").status().unwrap();
    assert_eq!(status.code(), Some(128 + 9));
}

#[test]
fn signals_to_the_supervisor_reach_the_program() {
    for number in ["TERM", "INT", "HUP", "QUIT", "USR1", "ALRM", "TSTP", "CONT", "40"] {
        let script =
            format!("trap 'echo got {number}; exit 3' {number}; echo ready; while :; do sleep 0.05; done");
        let mut child = supervised("inherited", &script).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = Reader::new(child.stdout.take().unwrap().into());
        output.until("ready");
        send(&child, number);
        output.until(&format!("got {number}"));
        assert_eq!(child.wait().unwrap().code(), Some(3), "{number}");
    }
}

#[test]
fn signals_about_the_supervisor_are_not_forwarded() {
    let script = "for s in WINCH CHLD TTIN TTOU PIPE; do trap \"echo got $s\" $s; done
        trap 'echo got USR1' USR1; trap 'exit 0' TERM; echo ready; while :; do read line; done";
    let mut command = supervised("inherited", script);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = Reader::new(child.stdout.take().unwrap().into());
    output.until("ready");
    for number in ["WINCH", "CHLD", "TTIN", "TTOU", "PIPE"] {
        send(&child, number);
    }
    // Two of them: the lower number may overtake the ones above once, but not the second time.
    for _ in 0..2 {
        send(&child, "USR1");
        output.until("got USR1\n");
    }
    send(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(output.read_to_end(), "ready\ngot USR1\ngot USR1\n");
}

#[test]
fn a_megabyte_through_the_terminal_arrives_whole() {
    let output = supervised("terminal", "seq 1 150000").stdin(Stdio::null()).output().unwrap();
    let expected: String = (1..=150_000).map(|number| format!("{number}\r\n")).collect();
    assert!(expected.len() > 1_000_000);
    assert!(String::from_utf8(output.stdout).unwrap() == expected, "output is not what was written");
}

#[test]
fn output_that_is_left_at_the_end_waits_for_a_slow_reader() {
    let (mut child, mut output, expected) = ended_with_output_left();
    assert!(output.read_to_end().ends_with(&expected));
    assert_eq!(child.wait().unwrap().code(), Some(6));
}

#[test]
fn a_signal_ends_the_wait_for_a_reader_that_is_stuck() {
    let (mut child, output, _) = ended_with_output_left();
    send(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(6));
    drop(output);
}

#[test]
fn a_reader_that_left_stops_neither_program_nor_supervision() {
    let mut command = supervised("terminal", "yes | head -c 2000000; exit 5");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn callers_terminal_is_raw_while_the_program_runs_and_restored_after() {
    let terminal = Terminal::new();
    let before = terminal.settings();
    let mut child = terminal.run("stty size; echo ready; read line; exit 4");
    let mut output = Reader::new(terminal.outer.try_clone().unwrap());
    output.until("ready");
    assert!(output.seen.starts_with("24 80\r\n"), "{:?}", output.seen);
    let settings = tcgetattr(&terminal.inner).unwrap();
    assert!(!settings.local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
    assert!(!settings.output_modes.contains(OutputModes::OPOST));
    // The same description as the supervisor's standard streams.
    assert!(!rustix::fs::fcntl_getfl(&terminal.inner).unwrap().contains(OFlags::NONBLOCK));
    terminal.type_in(b"\r");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert_eq!(terminal.settings(), before);
}

#[test]
fn callers_terminal_is_restored_when_supervision_fails() {
    let terminal = Terminal::new();
    let before = terminal.settings();
    let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&outer).unwrap();
    let mut child = Command::new("true").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    // Its status is taken before the supervision can ask for it.
    child.wait().unwrap();
    let (signals, mask) = sys::signal::SignalDescriptor::block_and_open().unwrap();
    let result = supervise(Supervision {
        pidfd: pidfd.as_fd(),
        pid,
        signals: &signals,
        console: Console::Terminal { outer },
        input: terminal.inner.as_fd(),
        output: terminal.inner.as_fd(),
        policy: Default::default(),
    });
    mask.restore();
    let error = result.unwrap_err();
    assert_eq!(error.operation, Operation::Reap);
    assert_eq!(error.to_string(), format!("read the exit status of process {pid}: no child processes"));
    assert_eq!(terminal.settings(), before);
}

/// What supervision says of a child of this process.
fn outcome_of(child: Child, policy: Policy) -> Outcome {
    let pid = i32::try_from(child.id()).unwrap();
    let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let (signals, mask) = sys::signal::SignalDescriptor::block_and_open().unwrap();
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let outcome = supervise(Supervision {
        pidfd: pidfd.as_fd(),
        pid,
        signals: &signals,
        console: Console::Inherited,
        input: input.as_fd(),
        output: output.as_fd(),
        policy,
    });
    mask.restore();
    outcome.unwrap()
}

#[test]
fn ended_program_is_reported_with_its_signal() {
    // Waited for by the supervision.
    #[allow(clippy::zombie_processes)]
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    child.kill().unwrap();
    let policy = Policy { time_limit: Some(Duration::from_secs(1000)), ..Policy::default() };
    let outcome = outcome_of(child, policy);
    assert_eq!(outcome.exit, Exit::Signal { number: 9, core_dumped: false });
    assert_eq!(outcome.incidents, []);
    assert!(!outcome.time_was_up, "somebody else has killed it");
}

#[test]
fn program_whose_time_is_up_is_killed_unasked() {
    let script = "trap 'exit 3' TERM INT HUP; while :; do sleep 0.05; done";
    #[allow(clippy::zombie_processes)]
    let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
    let policy = Policy {
        time_limit: Some(Duration::from_millis(300)),
        stop_patience: Duration::MAX,
        ..Policy::default()
    };
    let outcome = outcome_of(child, policy);
    assert_eq!(outcome.exit, Exit::Signal { number: 9, core_dumped: false });
    assert!(outcome.time_was_up);
}

#[test]
fn what_was_typed_before_the_keys_to_leave_by_arrives_and_the_program_runs_on() {
    let (terminal, container) = (Terminal::new(), Terminal::new());
    let stream = || Stdio::from(container.inner.try_clone().unwrap());
    let script = "read line; echo \"got $line\"";
    let mut child = Command::new("sh").args(["-c", script]).stdin(stream()).stdout(stream()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let (signals, mask) = sys::signal::SignalDescriptor::block_and_open().unwrap();
    let before = terminal.settings();
    let typed = std::thread::scope(|threads| {
        threads.spawn(|| {
            while terminal.settings() == before {
                std::thread::sleep(Duration::from_millis(5));
            }
            terminal.type_in(b"hello\nxy");
        });
        let supervision = Supervision {
            pidfd: pidfd.as_fd(),
            pid,
            signals: &signals,
            console: Console::Terminal { outer: container.outer.try_clone().unwrap() },
            input: terminal.inner.as_fd(),
            output: terminal.inner.as_fd(),
            policy: Default::default(),
        };
        supervise_until_left(supervision, &DetachKeys::parse("x,y").unwrap()).unwrap()
    });
    mask.restore();
    let Supervised::Left(outer) = typed else { panic!("{typed:?}") };
    assert_eq!(terminal.settings(), before);
    assert!(!rustix::fs::fcntl_getfl(&outer).unwrap().contains(OFlags::NONBLOCK));
    Reader::new(outer).until("got hello");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn change_of_the_window_size_reaches_the_program() {
    let terminal = Terminal::new();
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut child = terminal.run(script);
    let mut output = Reader::new(terminal.outer.try_clone().unwrap());
    output.until("ready");
    tcsetwinsize(&terminal.outer, Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    output.until("33 101");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn ctrl_c_is_typed_to_the_program() {
    let terminal = Terminal::new();
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let mut child = terminal.run(script);
    let mut output = Reader::new(terminal.outer.try_clone().unwrap());
    output.until("ready");
    terminal.type_in(b"\x03");
    output.until("interrupted");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn closed_window_hangs_up_the_programs_terminal() {
    let terminal = Terminal::new();
    // The signal alone does not end it: it waits for its terminal.
    let script = "trap '' HUP; echo ready; read line; exit 8";
    let mut child = terminal.run(script);
    let mut output = Reader::new(terminal.outer.try_clone().unwrap());
    output.until("ready");
    drop(output);
    drop(terminal);
    assert_eq!(child.wait().unwrap().code(), Some(8));
}

#[test]
fn background_job_leaves_the_terminal_alone_until_it_is_in_the_foreground() {
    let terminal = Terminal::new();
    let before = terminal.settings();
    // bash controls jobs through its standard error.
    let shell = format!("exec 2>/dev/tty; set -m; ({}) & read key; fg >/dev/null; echo back", supervisor());
    let script = "echo in background; read line; echo \"got $line\"";
    let mut child = terminal.session(&["bash", "-c", &shell], script);
    let mut output = Reader::new(terminal.outer.try_clone().unwrap());
    output.until("in background");
    assert_eq!(terminal.settings(), before);
    terminal.type_in(b"key\n");
    while tcgetattr(&terminal.inner).unwrap().local_modes.contains(LocalModes::ECHO) {
        std::thread::sleep(Duration::from_millis(10));
    }
    terminal.type_in(b"line\r");
    output.until("got line");
    output.until("back\r\n");
    child.wait().unwrap();
    assert_eq!(terminal.settings(), before);
}

#[test]
fn program_may_close_its_terminal_and_open_it_again() {
    let script = "exec </dev/null >/dev/null 2>&1; sleep 0.2; echo again >/dev/tty";
    let output = supervised("terminal", script).stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "again\r\n");
}

#[test]
fn process_that_keeps_the_terminal_open_does_not_keep_the_supervisor() {
    // Before it has left the session, the end of that would end it too.
    let script = "trap '' HUP; setsid sleep 1000 & echo $!";
    let output = supervised("terminal", script).stdin(Stdio::null()).output().unwrap();
    let pid: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn end_of_input_is_typed_behind_an_unfinished_line_too() {
    let mut command = supervised("terminal", "cat; echo end");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\nb").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("bend\r\n"));
}

#[test]
fn full_disk_behind_standard_output_is_told_and_stops_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = supervised("terminal", "seq 1 100000; exit 2");
    let output = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message, "incident: write to standard output: no space left on device\n");
}

/// A supervised program that has ended with more output than fits into its reader's pipe; with that output.
fn ended_with_output_left() -> (Child, Reader, String) {
    let mut command = supervised("terminal", "echo $$; seq 1 4000; exit 6");
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let child = command.stdin(Stdio::null()).stdout(writer).spawn().unwrap();
    drop(command);
    let mut output = Reader::new(reader);
    output.until("\r\n");
    let pid = output.seen.lines().next().unwrap().to_owned();
    // Not yet reaped or reaped: in both cases it has written everything.
    while is_running(&pid) {
        std::thread::sleep(Duration::from_millis(5));
    }
    (child, output, (1..=4000).map(|number| format!("{number}\r\n")).collect())
}

fn is_running(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}

/// Names how the supervised program is connected, in the environment of a supervisor.
const CONNECTION: &str = "SUPERVISION_TEST_CONNECTION";
/// The program, a shell script.
const SCRIPT: &str = "SUPERVISION_TEST_SCRIPT";

/// Not a test of its own but the supervisor of the others, which have set its environment.
#[test]
fn supervisor_of_the_other_tests() {
    let (Ok(connection), Ok(script)) = (std::env::var(CONNECTION), std::env::var(SCRIPT)) else { return };
    // The test harness writes to 1, so the caller's streams are moved.
    sys::fd::close_on_exec_from(3).unwrap();
    let (input, output) = (sys::fd::adopt(3).unwrap(), sys::fd::adopt(4).unwrap());
    let (signals, _mask) = sys::signal::SignalDescriptor::block_and_open().unwrap();
    let mut command = Command::new("setsid");
    let console = if connection == "terminal" {
        let terminal = Terminal::new();
        if rustix::termios::isatty(&input) {
            copy_window_size(input.as_fd(), terminal.outer.as_fd()).unwrap();
        }
        let stream = || Stdio::from(terminal.inner.try_clone().unwrap());
        command.arg("--ctty").stdin(stream()).stdout(stream()).stderr(stream());
        Console::Terminal { outer: terminal.outer }
    } else {
        let stream = |descriptor: &OwnedFd| Stdio::from(descriptor.try_clone().unwrap());
        command.stdin(stream(&input)).stdout(stream(&output));
        Console::Inherited
    };
    // It inherits the blocked signals, which a container's init unblocks itself.
    let arguments = ["env", "--default-signal", "-u", CONNECTION, "sh", "-c", script.as_str()];
    let child = command.args(arguments).spawn().unwrap();
    // Closes our copies of the terminal's inner end.
    drop(command);
    let pid = i32::try_from(child.id()).unwrap();
    let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let outcome = supervise(Supervision {
        pidfd: pidfd.as_fd(),
        pid,
        signals: &signals,
        console,
        input: input.as_fd(),
        output: output.as_fd(),
        policy: Default::default(),
    });
    let outcome = outcome.unwrap();
    for incident in &outcome.incidents {
        eprintln!("incident: {incident}");
    }
    std::process::exit(outcome.exit.code())
}

/// The words of a supervisor's command line, for a shell.
fn supervisor() -> String {
    let program = std::env::current_exe().unwrap();
    format!(
        "exec env --block-signal '{}' --exact supervisor_of_the_other_tests --nocapture \
         3<&0 4>&1 </dev/null >/dev/null",
        program.display()
    )
}

fn supervised(connection: &str, script: &str) -> Command {
    // What a shell starts in the background ignores these, and what was ignored is neither caught nor passed on.
    let mut command = Command::new("env");
    command
        .args(["--default-signal=INT,QUIT", "sh", "-c", &supervisor()])
        .env(CONNECTION, connection)
        .env(SCRIPT, script);
    command
}

fn send(child: &Child, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// A terminal as a caller of rabbitc has one.
struct Terminal {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Terminal {
    fn new() -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let outer = openpt(flags).unwrap();
        unlockpt(&outer).unwrap();
        let inner = ioctl_tiocgptpeer(&outer, flags).unwrap();
        tcsetwinsize(&outer, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        Terminal { outer, inner }
    }

    /// Starts the supervisor in the foreground of this terminal, and `script` on a terminal under it.
    fn run(&self, script: &str) -> Child {
        self.session(&["sh", "-c", &supervisor()], script)
    }

    /// Starts a session on this terminal.
    fn session(&self, words: &[&str], script: &str) -> Child {
        let stream = || Stdio::from(self.inner.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(words).stdin(stream()).stdout(stream());
        command.env(CONNECTION, "terminal").env(SCRIPT, script).spawn().unwrap()
    }

    fn settings(&self) -> String {
        format!("{:?}", tcgetattr(&self.inner).unwrap())
    }

    fn type_in(&self, bytes: &[u8]) {
        File::from(self.outer.try_clone().unwrap()).write_all(bytes).unwrap();
    }
}

/// What comes out of a program. Gives up after a minute instead of hanging the whole run.
struct Reader {
    file: File,
    seen: String,
    matched: usize,
}

impl Reader {
    fn new(descriptor: OwnedFd) -> Reader {
        Reader { file: File::from(descriptor), seen: String::new(), matched: 0 }
    }

    /// Reads until `text` has come, after what was waited for before.
    fn until(&mut self, text: &str) {
        loop {
            if let Some(position) = self.seen[self.matched..].find(text) {
                self.matched += position + text.len();
                return;
            }
            assert!(self.read() > 0, "`{text}` did not come, but {:?}", self.seen);
        }
    }

    /// Reads to the end; everything seen.
    fn read_to_end(&mut self) -> String {
        while self.read() > 0 {}
        std::mem::take(&mut self.seen)
    }

    fn read(&mut self) -> usize {
        let mut ready = [PollFd::new(&self.file, PollFlags::IN)];
        let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert!(poll(&mut ready, Some(&minute)).unwrap() > 0, "nothing came, after {:?}", self.seen);
        let mut bytes = [0; 4096];
        let count = self.file.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        count
    }
}
