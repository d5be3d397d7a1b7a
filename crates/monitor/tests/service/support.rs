//! Owns the processes of the tests: containers with their monitors, and clients.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rabbitc_monitor::{Check, InputEnd, Io, LogFiles, LogOptions, Parentage, Service, run_service};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Where a container's files are, in the environment of a monitor.
const DIRECTORY: &str = "SERVICE_TEST_DIRECTORY";
/// Its program, a shell script.
const SCRIPT: &str = "SERVICE_TEST_SCRIPT";
/// How it is served: words.
const WORDS: &str = "SERVICE_TEST_WORDS";

/// A container of a test, and its monitor.
pub struct Container {
    pub directory: PathBuf,
    pub monitor: Child,
}

impl Container {
    /// Starts `script`. The words: `terminal`, `kept-open`, `first` (a client that is there from the start), `adopt` (the
    /// one that wrote its pid), `then=SCRIPT`, `limit=MILLISECONDS`, `check=SCRIPT`, and a log as `json-file,SIZE,COUNT`, `k8s-file,…` or
    /// `journald`.
    pub fn start(name: &str, words: &[&str], script: &str) -> Container {
        let directory = new_directory(name);
        let monitor = starter(&directory, words, script).stdin(Stdio::null()).spawn().unwrap();
        let container = Container { directory, monitor };
        container.wait_for("ready");
        container
    }

    /// With a client that is there from the start.
    pub fn start_with_first(name: &str, words: &[&str], script: &str) -> (Container, Connection) {
        let directory = new_directory(name);
        let (first, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let words = [&["first"], words].concat();
        let monitor = starter(&directory, &words, script).stdin(Stdio::from(other)).spawn().unwrap();
        let container = Container { directory, monitor };
        container.wait_for("ready");
        (container, Connection(first))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What a file has, once it is there.
    pub fn wait_for(&self, name: &str) -> String {
        let path = self.path(name);
        until(&format!("`{}` is there", path.display()), || path.exists());
        std::fs::read_to_string(path).unwrap()
    }

    pub fn connect(&self) -> Connection {
        Connection(connect(&self.directory))
    }

    /// The record of the end, once the monitor and what it executes are gone.
    pub fn end(&mut self) -> String {
        self.monitor.wait().unwrap();
        std::fs::read_to_string(self.path("exit")).unwrap()
    }

    pub fn pid(&self) -> i32 {
        self.wait_for("pid").trim().parse().unwrap()
    }

    pub fn log(&self) -> LogOptions {
        log_options(&self.directory, self.wait_for("log-words").split(' ')).unwrap()
    }

    /// What its log says of both streams.
    pub fn logged(&self) -> String {
        let mut text = Vec::new();
        rabbitc_monitor::read_log(&self.log(), Default::default(), None, &mut |entry| {
            text.extend_from_slice(entry.bytes);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        String::from_utf8(text).unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
        if let Ok(pid) = std::fs::read_to_string(self.path("pid"))
            && let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub fn new_directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("rabbitc-service-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).unwrap();
    directory
}

/// This program, as what starts a container and becomes its monitor.
pub fn starter(directory: &Path, words: &[&str], script: &str) -> Command {
    let mut command = once_more("support::monitor_of_the_other_tests");
    command.env(DIRECTORY, directory).env(SCRIPT, script).env(WORDS, words.join("\n"));
    command
}

/// This program, with one of its tests alone.
pub fn once_more(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).stdout(Stdio::null());
    command
}

pub fn connect(directory: &Path) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(directory.join("attach")).unwrap()).unwrap();
    socket
}

/// Until something is so; gives up after a minute instead of hanging the whole run.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "not so within a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Not a test of its own but the monitor of the others, which have set its environment.
#[test]
fn monitor_of_the_other_tests() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let (directory, words) = (PathBuf::from(directory), std::env::var(WORDS).unwrap());
    let words: Vec<&str> = words.split('\n').collect();
    let has = |word: &str| words.contains(&word);
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    for name in ["in", "out", "err"] {
        let mode = Mode::from_raw_mode(0o600);
        let _ = rustix::fs::mkfifoat(rustix::fs::CWD, directory.join(name), mode);
    }
    let open = |name: &str, flags| rustix::fs::open(directory.join(name), flags, Mode::empty()).unwrap();
    // Both ends at first, so that neither waits for the other.
    let input = open("in", OFlags::RDWR | OFlags::CLOEXEC);
    let io = if has("terminal") {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&outer).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&outer, size).unwrap();
        Io::Terminal { outer }
    } else {
        Io::Pipes {
            stdin: Some(open("in", OFlags::WRONLY | OFlags::CLOEXEC)),
            stdout: open("out", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC),
            stderr: open("err", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC),
        }
    };
    let (pid, parentage) = if has("adopt") {
        let pid = std::fs::read_to_string(directory.join("pid")).unwrap();
        (pid.trim().parse().unwrap(), Parentage::Adopted)
    } else {
        (start_container(&directory, &io), Parentage::Own)
    };
    drop(input);
    let log_words = words.iter().find(|word| log_options(&directory, word.split(',')).is_some());
    let log_words = log_words.copied().unwrap_or("none").replace(',', " ");
    std::fs::write(directory.join("log-words"), &log_words).unwrap();
    let _ = std::fs::remove_file(directory.join("attach"));
    let listener = listen(&directory.join("attach"));
    let lock = File::create(directory.join("lock")).unwrap();
    lock.lock().unwrap();
    let service = Service {
        pid,
        pidfd: pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap(),
        parentage,
        io,
        input_end: if has("kept-open") { InputEnd::KeptOpen } else { InputEnd::Closes },
        listener,
        first_client: has("first").then(|| std::io::stdin().as_fd().try_clone_to_owned().unwrap()),
        log: log_options(&directory, log_words.split(' ')).unwrap(),
        exit: directory.join("exit"),
        keep: vec![lock.into()],
        then: value("then=").map_or_else(Vec::new, |_| {
            let test = "support::clean_up_of_the_other_tests";
            ["clean-up", "--exact", test, "--nocapture"].map(Into::into).to_vec()
        }),
        time_limit: value("limit=").map(|limit| Duration::from_millis(limit.parse().unwrap())),
        check: value("check=").map(|_| Check {
            words: ["check", "--exact", "support::check_of_the_other_tests", "--nocapture"]
                .map(Into::into)
                .to_vec(),
            first: Duration::from_millis(50),
            again: Duration::from_millis(50),
        }),
    };
    std::fs::write(directory.join("ready"), "").unwrap();
    let words = service.arguments();
    // As exec would: the numbers are owned by what is read from the words.
    std::mem::forget(service);
    std::process::exit(run_service(words, std::env::vars_os()))
}

/// Not a test of its own but what the monitors of the others execute while the container runs. What the harness writes is no
/// time, so that it is due again as was said.
#[test]
fn check_of_the_other_tests() {
    let (Ok(words), Ok(directory)) = (std::env::var(WORDS), std::env::var(DIRECTORY)) else { return };
    let script = words.split('\n').find_map(|word| word.strip_prefix("check=")).unwrap();
    // Another child than the test's own thread, whose group is the monitor's to end.
    let status = Command::new("sh").args(["-c", script]).current_dir(directory).status().unwrap();
    std::process::exit(status.code().unwrap_or(1))
}

/// Not a test of its own but what the monitors of the others execute at the end.
#[test]
fn clean_up_of_the_other_tests() {
    // The tests' own run has no such variable.
    let (Ok(words), Ok(directory)) = (std::env::var(WORDS), std::env::var(DIRECTORY)) else { return };
    let script = words.split('\n').find_map(|word| word.strip_prefix("then=")).unwrap();
    let status = Command::new("sh").args(["-c", script]).current_dir(directory).status().unwrap();
    std::process::exit(status.code().unwrap())
}

fn start_container(directory: &Path, io: &Io) -> i32 {
    let script = std::env::var(SCRIPT).unwrap();
    let mut command = Command::new("setsid");
    match io {
        Io::Pipes { .. } => {
            let both = |name| {
                let path = directory.join(name);
                Stdio::from(File::options().read(true).write(true).open(path).unwrap())
            };
            // To be read alone: else its end would never come.
            command.stdin(File::open(directory.join("in")).unwrap()).stdout(both("out")).stderr(both("err"));
        }
        Io::Terminal { outer } => {
            let inner = ioctl_tiocgptpeer(outer, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            let stream = || Stdio::from(inner.try_clone().unwrap());
            command.arg("--ctty").stdin(stream()).stdout(stream()).stderr(stream());
        }
    }
    command.args(["sh", "-c", &script]).current_dir(directory);
    let pid = command.spawn().unwrap().id();
    std::fs::write(directory.join("pid.new"), pid.to_string()).unwrap();
    std::fs::rename(directory.join("pid.new"), directory.join("pid")).unwrap();
    i32::try_from(pid).unwrap()
}

fn listen(path: &Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&socket, 16).unwrap();
    socket
}

fn log_options<'a>(directory: &Path, words: impl IntoIterator<Item = &'a str>) -> Option<LogOptions> {
    let mut words = words.into_iter();
    let driver = words.next()?;
    let mut files = || LogFiles {
        path: directory.join("log"),
        max_size: words.next().and_then(|size| size.parse().ok()),
        max_files: words.next().map_or(1, |count| count.parse().unwrap()),
    };
    Some(match driver {
        "none" => LogOptions::None,
        "json-file" => LogOptions::JsonFile { files: files(), attributes: Vec::new() },
        "k8s-file" => LogOptions::K8sFile { files: files() },
        "journald" => LogOptions::Journald {
            socket: directory.join("journal"),
            fields: vec![("CONTAINER_NAME".to_owned(), "web".to_owned())],
        },
        _ => return None,
    })
}

/// A client that speaks for itself.
pub struct Connection(pub OwnedFd);

pub const WANTS_INPUT: u8 = 1;
pub const WANTS_OUTPUT: u8 = 2;
pub const WANTS_ERROR: u8 = 4;
pub const WANTS_ALL: u8 = 8;

impl Connection {
    pub fn send(&self, kind: u8, bytes: &[u8]) {
        let message = [&[kind], bytes].concat();
        rustix::net::send(&self.0, &message, SendFlags::NOSIGNAL).unwrap();
    }

    /// What it says next; nothing at its end.
    pub fn receive(&self) -> Option<(u8, Vec<u8>)> {
        let mut message = vec![0; 40_000];
        let mut receive = || rustix::net::recv(&self.0, &mut *message, RecvFlags::empty());
        // A monitor that left something unread is told of before what it said last.
        let received =
            receive().or_else(|errno| if errno == Errno::CONNRESET { receive() } else { Err(errno) });
        let count = received.unwrap().1;
        message.truncate(count);
        let kind = *message.first()?;
        Some((kind, message[1..].to_vec()))
    }

    /// All that it says until the container's end: standard output, standard error, how much was lost, and the message of
    /// the end.
    pub fn receive_all(&self) -> (Vec<u8>, Vec<u8>, u64, Vec<u8>) {
        let (mut output, mut error, mut lost) = (Vec::new(), Vec::new(), 0);
        while let Some((kind, bytes)) = self.receive() {
            match kind {
                b'O' => output.extend(bytes),
                b'E' => error.extend(bytes),
                b'L' => lost += u64::from_le_bytes(bytes.try_into().unwrap()),
                b'X' => return (output, error, lost, bytes),
                other => panic!("unknown message {other}"),
            }
        }
        panic!("it ended without a word, after {:?}", String::from_utf8_lossy(&output));
    }

    /// Output until `text` has come.
    pub fn until(&self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let (kind, bytes) = self.receive().unwrap_or_else(|| panic!("`{text}` did not come: {seen:?}"));
            assert_eq!(kind, b'O', "after {seen:?}: {bytes:?}");
            seen.push_str(&String::from_utf8(bytes).unwrap());
        }
        seen
    }
}
