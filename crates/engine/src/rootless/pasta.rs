//! The network of a container without root: `pasta` (package `passt`), which copies between sockets of the host and an
//! interface in the container's network namespace. Owns that process: it goes with the container, whatever ends it.
//!
//! Between pasta and us stands a small process that does nothing but wait: for the end of a pipe that only we hold,
//! and then it kills pasta; or for pasta's own end. So pasta goes also when we are killed, which asking the kernel for
//! a signal at the parent's death does not do for a program that changes its credentials (prctl(2)).

use std::ffi::{CStr, CString};
use std::io::{Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::network::{HostPorts, PortRequest, Protocol};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use sys::clone::{Child, CloneRequest};
use sys::exec::CStringArray;

use crate::error::{Error, Result, io_text};
use crate::options::Lack;

/// Where it is looked for; the environment has no say.
const PLACES: [&str; 3] = ["/usr/bin/pasta", "/usr/local/bin/pasta", "/bin/pasta"];

/// The address at which pasta answers for the host's name server, where that one listens on the loopback alone.
pub(crate) const NAME_SERVER: &str = "169.254.1.1";

/// Where it finds the container's network namespace: its standard input.
const NETWORK: &str = "/proc/self/fd/0";

/// Where it finds the user namespace that owns that: its standard output, on which it says nothing.
const USERS: &str = "/proc/self/fd/1";

/// How long it may take to be ready: it needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Published TCP ports, each as pasta writes it: `[ADDRESS/]HOST:CONTAINER`.
    pub(crate) tcp: Vec<String>,
    /// Published UDP ports.
    pub(crate) udp: Vec<String>,
    /// Whether queries to [`NAME_SERVER`] go to the host's own name server.
    pub(crate) forward_names: bool,
}

/// The namespaces of a container's init, held open: no path leads to those of a process that has become another user.
#[derive(Debug)]
pub(crate) struct Namespaces {
    users: OwnedFd,
    network: OwnedFd,
}

impl Namespaces {
    /// Those of process `pid`.
    pub(crate) fn of(pid: i32) -> Result<Namespaces> {
        let open = |name: &str| {
            let path = PathBuf::from(format!("/proc/{pid}/ns/{name}"));
            let opened = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            opened.map_err(|error| Error::at_path("open", &path, error))
        };
        Ok(Namespaces { users: open("user")?, network: open("net")? })
    }
}

/// A pasta that could be started here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    path: PathBuf,
}

impl Program {
    /// Looks whether it is installed and has what it needs; if not, why there can be none.
    pub(crate) fn find() -> std::result::Result<Program, Lack> {
        let Some(path) = PLACES.iter().map(PathBuf::from).find(|path| path.exists()) else {
            return Err(Lack {
                what: "`pasta` is not installed".to_owned(),
                remedy: "install it: package `passt`".to_owned(),
            });
        };
        match rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(_) => Ok(Program { path }),
            Err(Errno::NOENT) => Err(Lack {
                what: "`pasta` needs `/dev/net/tun`, which is not there".to_owned(),
                remedy: "as root, `modprobe tun`".to_owned(),
            }),
            Err(errno) => Err(Lack {
                what: format!("`pasta` needs `/dev/net/tun`, and this user may not open it: {}", io_text(&errno.into())),
                remedy: "as root, `chmod 666 /dev/net/tun`, which is safe: it gives no right over the host's network"
                    .to_owned(),
            }),
        }
    }

    /// Refuses ports of UDP for which this pasta does harm: one before July 2024 writes the way back, where the host's port
    /// has the higher number, beyond the end of its table. Callers on the host's loopback get no answer, and ports of that
    /// loopback show inside.
    pub(crate) fn check_ports(&self, publish: &[PortRequest]) -> Result<()> {
        let is_higher = |port: &&PortRequest| {
            port.protocol == Protocol::Udp
                && matches!(port.host, HostPorts::From(first) if first > port.container.first())
        };
        let Some(port) = publish.iter().find(is_higher) else { return Ok(()) };
        if self.knows("--map-host-loopback") {
            return Ok(());
        }
        let reason = format!(
            "this `pasta` loses answers over UDP where the host's port has a higher number than the container's: `{port}`"
        );
        let HostPorts::From(first) = port.host else { return Ok(()) };
        Err(Error::invalid("--publish", reason).with_hint(format!(
            "let the program listen on port {first} or a higher one inside, or install a `passt` of September 2024 or later"
        )))
    }

    /// Whether its help names this flag: a version is not what each build can tell.
    fn knows(&self, flag: &str) -> bool {
        let mut command = std::process::Command::new(&self.path);
        command.arg("--help").env_clear().current_dir("/").stdin(std::process::Stdio::null());
        // It fails after that, and some write to the one, some to the other.
        command.output().is_ok_and(|output| {
            [output.stdout, output.stderr].iter().any(|said| String::from_utf8_lossy(said).contains(flag))
        })
    }

    fn arguments(&self, request: &Request, ready: &Path) -> Vec<String> {
        let mut arguments = vec!["pasta".to_owned(), "--config-net".to_owned(), "--foreground".to_owned()];
        arguments.push("--quiet".to_owned());
        // Nothing of the host's loopback is in reach: neither by the gateway's address nor by a port of the same number.
        arguments.push("--no-map-gw".to_owned());
        for (flag, value) in [("-T", "none"), ("-U", "none")] {
            arguments.extend([flag.to_owned(), value.to_owned()]);
        }
        for (flag, ports) in [("-t", &request.tcp), ("-u", &request.udp)] {
            if ports.is_empty() {
                arguments.extend([flag.to_owned(), "none".to_owned()]);
            }
            arguments.extend(ports.iter().flat_map(|port| [flag.to_owned(), port.clone()]));
        }
        if request.forward_names {
            arguments.extend(["--dns-forward".to_owned(), NAME_SERVER.to_owned()]);
        }
        arguments.extend(["--ns-ifname".to_owned(), "eth0".to_owned()]);
        arguments.extend(["--pid".to_owned(), ready.display().to_string()]);
        arguments.extend(["--userns", USERS, "--netns", NETWORK].map(str::to_owned));
        arguments
    }

    /// Connects a container's network namespace; `directory` is the container's own.
    ///
    /// Returns when the interface is up.
    pub(crate) fn start(&self, namespaces: Namespaces, request: &Request, directory: &Path) -> Result<Pasta> {
        let pipe = directory.join("pasta");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .map_err(|error| Error::at_path("make", &pipe, error))?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let ready = rustix::fs::open(&pipe, flags, Mode::empty());
        let ready = ready.map_err(|error| Error::at_path("open", &pipe, error))?;
        let said = rustix::fs::memfd_create(c"pasta", MemfdFlags::CLOEXEC)
            .map_err(|error| Error::system("make a file for what `pasta` says", error))?;
        let pasta = self.spawn(&namespaces, &self.arguments(request, &pipe), said.as_fd())?;
        drop(namespaces);
        let outcome = pasta.wait_until_ready(ready.as_fd());
        let _ = std::fs::remove_file(&pipe);
        match outcome {
            Ok(()) => Ok(pasta),
            Err(reason) => {
                drop(pasta);
                let said = last_words(said).unwrap_or(reason);
                let error = Error::new(crate::ErrorKind::System, "connect the container with `pasta`", said);
                Err(error.with_hint(
                    "choose `--network=host` or `--network=none`; `pasta --config-net true` shows whether it works here",
                ))
            }
        }
    }

    fn spawn(&self, namespaces: &Namespaces, arguments: &[String], said: BorrowedFd<'_>) -> Result<Pasta> {
        let failed = |error: std::io::Error| Error::system("start `pasta`", error);
        let path = CString::new(self.path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
        let arguments: std::result::Result<Vec<CString>, _> =
            arguments.iter().map(|text| CString::new(text.as_str())).collect();
        let arguments = CStringArray::new(arguments.map_err(|error| failed(error.into()))?);
        let environment = CStringArray::new(vec![c"PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()]);
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (end, ours) = pipe.map_err(|error| failed(error.into()))?;
        let Namespaces { users, network } = namespaces;
        let mut kept = [&end, users, network].map(|one| one.as_raw_fd()).to_vec();
        kept.push(said.as_raw_fd());
        kept.sort_unstable();
        let request = CloneRequest { flags: 0, cgroup: None };
        let child = sys::clone::clone(&request, &mut |_| {
            sys::fd::close_copies_but(&kept);
            mind(end.as_fd(), namespaces, said, &path, &arguments, &environment)
        });
        Ok(Pasta { minder: child.map_err(failed)?, ours: Some(ours) })
    }
}

/// pasta ended before it was told to.
const ENDED_BY_ITSELF: i32 = 1;

/// What the small process does: it neither allocates nor locks, as it is a copy of a process with threads.
fn mind(
    end: BorrowedFd<'_>,
    namespaces: &Namespaces,
    said: BorrowedFd<'_>,
    path: &CStr,
    arguments: &CStringArray,
    environment: &CStringArray,
) -> i32 {
    // Signals of the caller's terminal are for the container. It fails for group leaders alone, which a child is not.
    let _ = rustix::process::setsid();
    // None of the caller's: whoever reads its output shall see its end when the container's is over. In their place stand the
    // namespaces: pasta closes whatever else it inherits, and to join the one it gives up the rights to open the other elsewhere.
    let streams = rustix::stdio::dup2_stdin(&namespaces.network)
        .and_then(|()| rustix::stdio::dup2_stdout(&namespaces.users))
        .and_then(|()| rustix::stdio::dup2_stderr(said));
    if streams.is_err() {
        return ENDED_BY_ITSELF;
    }
    let request = CloneRequest { flags: 0, cgroup: None };
    // Best effort: without it, the first connections by IPv6 wait some seconds.
    let setting =
        sys::clone::clone(&request, &mut |_| forgo_duplicate_detection(namespaces).map_or(1, |()| 0));
    if let Ok(child) = setting {
        let _ = reap(&child);
    }
    let pasta = sys::clone::clone(&request, &mut |_| {
        if sys::fd::close_on_exec_from(3).is_err() {
            return 127;
        }
        sys::signal::reset_dispositions();
        sys::signal::unblock_all();
        let error = sys::exec::execve(path, arguments, environment, None);
        error.raw_os_error().unwrap_or(127)
    });
    let Ok(pasta) = pasta else { return ENDED_BY_ITSELF };
    loop {
        let mut watched = [
            PollFd::from_borrowed_fd(end, PollFlags::IN),
            PollFd::from_borrowed_fd(pasta.pidfd.as_fd(), PollFlags::IN),
        ];
        // What can't be watched must not outlive the container unseen.
        let is_lost = match poll(&mut watched, None) {
            Err(Errno::INTR) => continue,
            result => result.is_err(),
        };
        if is_lost || !watched[0].revents().is_empty() {
            let _ = pidfd_send_signal(&pasta.pidfd, Signal::KILL);
            reap(&pasta);
            return 0;
        }
        if !watched[1].revents().is_empty() {
            reap(&pasta);
            return ENDED_BY_ITSELF;
        }
    }
}

/// Lets the addresses of interfaces that are made from now on be used at once: behind this one is nobody else who could
/// have them. Meant for a process of its own, which stays in the namespaces.
///
/// pasta answers from the first moment on, and what the container asks by its link-local address alone is lost as long
/// as the kernel looks for duplicates of that.
fn forgo_duplicate_detection(namespaces: &Namespaces) -> std::io::Result<()> {
    sys::namespace::join(namespaces.users.as_fd(), sys::clone::flags::NEWUSER)?;
    sys::namespace::join(namespaces.network.as_fd(), sys::clone::flags::NEWNET)?;
    // Both count (accept_dad in the kernel's ip-sysctl.rst). The kernel shows whoever looks those of its own namespace.
    for path in [c"/proc/sys/net/ipv6/conf/all/accept_dad", c"/proc/sys/net/ipv6/conf/default/accept_dad"] {
        let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, b"0")?;
    }
    Ok(())
}

fn reap(child: &Child) -> Option<i32> {
    loop {
        match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => return other.ok().flatten().and_then(|status| status.exit_status()),
        }
    }
}

/// A pasta that runs. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Pasta {
    minder: Child,
    /// Closed, it ends the minder and with it pasta.
    ours: Option<OwnedFd>,
}

impl Pasta {
    fn wait_until_ready(&self, ready: BorrowedFd<'_>) -> std::result::Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut wanted = PollFlags::IN;
        loop {
            let mut watched = [
                PollFd::from_borrowed_fd(self.minder.pidfd.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(ready, wanted),
            ];
            let count = if wanted.is_empty() { 1 } else { 2 };
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut watched[..count], Some(&limit)) {
                Ok(0) => return Err(format!("it was not ready within {} s", PATIENCE.as_secs())),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(io_text(&errno.into())),
            }
            let mut text = [0u8; 32];
            if !watched[1].revents().is_empty() {
                match rustix::io::read(ready, &mut text[..]) {
                    // Its number: written when all is set up.
                    Ok(count) if count > 0 => return Ok(()),
                    // It closed the pipe and said nothing: its end is all that can still come.
                    Ok(_) => wanted = PollFlags::empty(),
                    Err(_) => {}
                }
            }
            if !watched[0].revents().is_empty() {
                return Err("it ended without a word".to_owned());
            }
        }
    }

    /// Ends it; whether it had ended before, which left the container without its network.
    pub(crate) fn stop(mut self) -> Stopped {
        self.end()
    }

    /// Leaves it to whoever keeps the descriptor open that comes back: it ends when that is closed.
    pub(crate) fn entrust(mut self) -> OwnedFd {
        self.ours.take().expect("only who consumes it takes it")
    }

    fn end(&mut self) -> Stopped {
        let Some(ours) = self.ours.take() else { return Stopped::Now };
        // Closed first: that is what it waits for.
        drop(ours);
        if reap(&self.minder) == Some(ENDED_BY_ITSELF) { Stopped::EndedBefore } else { Stopped::Now }
    }
}

impl Drop for Pasta {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether pasta was there to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It was.
    Now,
    /// It had ended on its own, or somebody had killed it.
    EndedBefore,
}

/// The last line that it wrote.
fn last_words(said: OwnedFd) -> Option<String> {
    let mut file = std::fs::File::from(said);
    file.rewind().ok()?;
    let mut bytes = Vec::new();
    file.take(64 * 1024).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // It also complains when there is no system log.
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("syslog"));
    lines.next_back().map(str::to_owned)
}
