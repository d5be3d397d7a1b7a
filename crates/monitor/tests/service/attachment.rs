//! The client's side, as a process of its own between a caller's terminal or pipes and a container.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rabbitc_monitor::{Attachment, Departure, DetachKeys, Reaction, Role, Terminal, attach, wait_for_hangup};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::{Container, connect, once_more, until};

/// Where the container is, in the environment of a client.
const DIRECTORY: &str = "ATTACHMENT_TEST_DIRECTORY";
/// How it is met: words.
const WORDS: &str = "ATTACHMENT_TEST_WORDS";

/// Not a test of its own but the client of the others, which have set its environment. What came of it is in the file
/// `departure` of the container.
#[test]
fn client_of_the_other_tests() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = std::path::PathBuf::from(directory);
    let words = std::env::var(WORDS).unwrap();
    let words: Vec<&str> = words.split(' ').collect();
    let has = |word: &str| words.contains(&word);
    // The test harness writes to 1, so the caller's streams are moved.
    sys::fd::close_on_exec_from(3).unwrap();
    let (input, output) = (sys::fd::adopt(3).unwrap(), sys::fd::adopt(4).unwrap());
    let (signals, _mask) = sys::signal::SignalDescriptor::block_and_open().unwrap();
    let connection = if has("first") { sys::fd::adopt(5).unwrap() } else { connect(&directory) };
    let keys = words.iter().find_map(|word| word.strip_prefix("keys="));
    let attached = attach(Attachment {
        connection: connection.as_fd(),
        role: if has("first") { Role::First } else { Role::Later },
        input: (!has("no-input")).then(|| input.as_fd()),
        output: Some(output.as_fd()),
        error: Some(std::io::stderr().as_fd()),
        terminal: if has("terminal") { Terminal::OfItsOwn } else { Terminal::None },
        detach_keys: keys.map_or_else(DetachKeys::default, |keys| DetachKeys::parse(keys).unwrap()),
        signals: &signals,
        on_signal: &mut |number| {
            std::fs::write(directory.join(format!("signal-{number}")), "").unwrap();
            if number == 15 { Reaction::Leave } else { Reaction::Stay }
        },
    });
    let attached = attached.unwrap();
    if matches!(attached.departure, Departure::Exited { .. }) {
        wait_for_hangup(connection.as_fd()).unwrap();
    }
    let text = format!("{:?} lost {} {:?}", attached.departure, attached.lost, attached.incidents);
    std::fs::write(directory.join("departure.new"), text).unwrap();
    std::fs::rename(directory.join("departure.new"), directory.join("departure")).unwrap();
    std::process::exit(0)
}

/// The client, with its standard input and output as 3 and 4.
fn client(container: &Container, words: &str) -> Command {
    let program = once_more("attachment::client_of_the_other_tests");
    let line = program.get_args().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
    // All threads of it have to block them.
    let shell = format!(
        "exec env --block-signal '{}' {line} 3<&0 4>&1 5<&2 </dev/null >/dev/null",
        program.get_program().display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).env(DIRECTORY, &container.directory).env(WORDS, words);
    command
}

#[test]
fn input_that_is_no_terminal_arrives_with_its_end_and_the_exit_code_comes_back() {
    let container = Container::start("pipe", &[], "sort -n; exit 7");
    let mut child = client(&container, "").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text: String = (0..20_000).rev().map(|number| format!("{number}\n")).collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(container.wait_for("departure"), "Exited { code: Some(7), time_was_up: false } lost 0 []");
    let expected: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    assert!(output.stdout == expected.as_bytes());
}

#[test]
fn first_client_with_a_slow_output_loses_nothing() {
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; exit 1";
    let (mut container, first) = Container::start_with_first("slow", &[], script);
    let mut child = client(&container, "first no-input")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(first.0))
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let (mut length, mut bytes) = (0, [0; 65536]);
    loop {
        std::thread::sleep(Duration::from_millis(2));
        match output.read(&mut bytes).unwrap() {
            0 => break,
            count => length += count,
        }
    }
    child.wait().unwrap();
    assert_eq!(length, 3_000_000);
    assert_eq!(container.wait_for("departure"), "Exited { code: Some(1), time_was_up: false } lost 0 []");
    container.end();
}

#[test]
fn client_whose_monitor_is_killed_says_that_the_connection_is_lost() {
    let mut container = Container::start("lost", &[], "echo up; sleep 60");
    let mut child = client(&container, "").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    container.monitor.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(container.wait_for("departure"), "ConnectionLost lost 0 []");
}

#[test]
fn signals_are_told_and_may_end_the_client_alone() {
    let container = Container::start("told", &[], "sleep 60");
    let mut child = client(&container, "").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let send = |signal: &str| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    };
    send("USR1");
    container.wait_for("signal-10");
    send("WINCH");
    send("TERM");
    child.wait().unwrap();
    assert_eq!(container.wait_for("departure"), "Signalled(15) lost 0 []");
    assert!(!container.path("signal-28").exists());
    assert!(!container.path("exit").exists());
}

/// A caller's terminal.
struct Screen {
    outer: File,
    inner: OwnedFd,
    seen: String,
}

impl Screen {
    fn new() -> Screen {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let outer = openpt(flags).unwrap();
        unlockpt(&outer).unwrap();
        let inner = ioctl_tiocgptpeer(&outer, flags).unwrap();
        let screen = Screen { outer: outer.into(), inner, seen: String::new() };
        screen.resize(24, 80);
        screen
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.outer, size).unwrap();
    }

    /// Starts a client in its foreground.
    fn attach(&self, container: &Container, words: &str) -> Child {
        let stream = || Stdio::from(self.inner.try_clone().unwrap());
        let client = client(container, words);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(client.get_program()).args(client.get_args());
        command.env(DIRECTORY, &container.directory).env(WORDS, words);
        command.stdin(stream()).stdout(stream()).spawn().unwrap()
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.inner).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    fn type_in(&mut self, bytes: &[u8]) {
        self.outer.write_all(bytes).unwrap();
    }

    fn until(&mut self, text: &str) {
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let mut ready = [PollFd::new(&self.outer, PollFlags::IN)];
            let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
            assert!(poll(&mut ready, Some(&minute)).unwrap() > 0, "`{text}` did not come: {:?}", self.seen);
            let mut bytes = [0; 4096];
            let count = self.outer.read(&mut bytes).unwrap();
            self.seen.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }
}

#[test]
fn detach_keys_leave_the_container_running_and_the_terminal_as_it_was() {
    let script = "stty -echo; echo up; while read line; do echo \"got $line\"; done; exit 3";
    let container = Container::start("detach", &["terminal", "kept-open"], script);
    let mut screen = Screen::new();
    for (keys, typed) in [("", "\x10\x11"), ("keys=ctrl-a,x", "\x01x")] {
        let words = format!("terminal {keys}");
        let mut child = screen.attach(&container, words.trim());
        until("it is raw", || screen.is_raw());
        // A beginning of the keys is typed all the same.
        screen.type_in(b"a");
        screen.type_in(&typed.as_bytes()[..1]);
        screen.type_in(b"b\n");
        screen.until("got a");
        screen.until("b");
        screen.type_in(typed.as_bytes());
        child.wait().unwrap();
        assert_eq!(container.wait_for("departure"), "Detached lost 0 []");
        std::fs::remove_file(container.path("departure")).unwrap();
        assert!(!screen.is_raw());
        assert!(!container.path("exit").exists());
    }
    // One more, up to the container's end.
    let mut child = screen.attach(&container, "terminal");
    until("it is raw", || screen.is_raw());
    screen.type_in(b"\x04");
    child.wait().unwrap();
    assert_eq!(container.wait_for("departure"), "Exited { code: Some(3), time_was_up: false } lost 0 []");
    assert!(!screen.is_raw());
}

#[test]
fn container_has_the_size_of_the_callers_window_and_follows_it() {
    let script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done";
    let container = Container::start("window", &["terminal"], script);
    let mut screen = Screen::new();
    // Another size for a moment, so that a program that has drawn its window does so again.
    let mut child = screen.attach(&container, "terminal");
    screen.until("24 80");
    screen.resize(50, 100);
    screen.until("50 100");
    screen.type_in(b"\x10\x11");
    child.wait().unwrap();
}

#[test]
fn client_whose_terminal_is_gone_leaves_the_container_alone() {
    let container = Container::start("gone-terminal", &["terminal"], "stty -echo; cat");
    let screen = Screen::new();
    let mut child = screen.attach(&container, "terminal");
    until("it is raw", || screen.is_raw());
    drop(screen);
    child.wait().unwrap();
    assert_eq!(container.wait_for("departure"), "Signalled(1) lost 0 []");
    assert!(!container.path("exit").exists());
    // It goes on.
    let other = container.connect();
    other.send(b'H', &[3]);
    other.send(b'I', b"still here\n");
    other.until("still here");
}

#[test]
fn connection_of_a_container_that_has_ended_before_is_told_the_end() {
    let (mut container, first) = Container::start_with_first("ended", &[], "echo out; exit 5");
    container.end();
    let mut child = client(&container, "first no-input")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(first.0))
        .spawn()
        .unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    child.wait().unwrap();
    assert_eq!(output, "out\n");
    assert_eq!(container.wait_for("departure"), "Exited { code: Some(5), time_was_up: false } lost 0 []");
}
