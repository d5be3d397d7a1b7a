//! The process behind a container, from its first instruction until it becomes the monitor. Its standard input is the socket of
//! who started it, its standard output that of who attaches from the first byte on, if anybody does.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use monitor::{Check, InputEnd, Io, JOURNAL_SOCKET, LogFiles, LogOptions, Parentage, Service};
use runtime::launch::{LaunchOptions, StepTimes};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::adopt::{LeftOver, left_over};
use super::end::remove_from_host;
use super::start::{AGAIN, RAN, RUNS};
use super::{END, InputUntil, LogChoice, StandardInput, journal, runtime_record};
use crate::container::{self, Entrusted, Notice};
use crate::directories::remove_file;
use crate::error::{Error, Result, from_monitor};
use crate::health::{CHECK, Health, HealthCheck, first_due};
use crate::kept::{Asked, End, KeptContainers, Lease, Record, StartNote, StartRecord, Stay, Wish, now};
use crate::options::TerminalMode;
use crate::paths::EnginePaths;

/// The internal verb: `internal-start ID ROOT BASE [again]`.
pub const BEGIN: &str = "internal-start";

/// What the verb came to.
#[derive(Debug)]
pub enum Begun {
    /// The container ran already, which has been told.
    Before,
    /// It runs: this process is to become its monitor.
    Now(Box<Standing>),
}

/// A container that runs, and all that its monitor needs.
#[derive(Debug)]
pub struct Standing {
    service: Service,
    report: Option<OwnedFd>,
    /// The record of the start, what it lacks, and when the start began.
    note: Option<(StartNote, StepTimes, u64)>,
    /// What a person should know.
    pub notices: Vec<Notice>,
    /// Published ports that nobody named, in words.
    pub chosen_ports: Vec<String>,
}

/// Why a container does not run.
#[derive(Debug)]
pub struct FailedBegin {
    /// What went wrong.
    pub error: Error,
    /// The flags that asked for the container: for messages.
    pub flags: Vec<String>,
}

impl From<Error> for Box<FailedBegin> {
    fn from(error: Error) -> Box<FailedBegin> {
        Box::new(FailedBegin { error, flags: Vec::new() })
    }
}

/// Which container, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) root: Option<PathBuf>,
    pub(crate) paths: EnginePaths,
}

impl Place {
    pub(crate) fn parse(arguments: &[OsString]) -> Result<Place> {
        let [id, root, base, ..] = arguments else {
            return Err(Error::invalid(BEGIN, "it is for rabbitc itself".to_owned()));
        };
        Ok(Place {
            id: id.to_string_lossy().into_owned(),
            root: Some(PathBuf::from(root)).filter(|root| !root.as_os_str().is_empty()),
            paths: EnginePaths::below(PathBuf::from(base)),
        })
    }

    pub(crate) fn containers(&self) -> Result<KeptContainers> {
        KeptContainers::of(self.root.as_deref())
    }

    /// As the arguments of an internal verb.
    pub(super) fn arguments(&self) -> [OsString; 3] {
        let root = self.root.clone().unwrap_or_default();
        [self.id.clone().into(), root.into(), self.paths.base().into()]
    }
}

/// Starts the container as a child of this process, which has left its caller's session. To be called by a process of its own: it
/// changes its standard streams and its directory.
pub fn begin(arguments: &[OsString]) -> std::result::Result<Begun, Box<FailedBegin>> {
    let place = Place::parse(arguments)?;
    // Out of the way of the container's own streams.
    let take = |descriptor: std::os::fd::BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(descriptor, 3)
            .map_err(|error| Error::system("keep a descriptor", error))
    };
    let report = take(std::io::stdin().as_fd())?;
    let client = match rustix::net::sockopt::socket_type(std::io::stdout()) {
        Ok(_) => Some(take(std::io::stdout().as_fd())?),
        Err(_) => None,
    };
    // Where this process leads a group already, it has left.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    let Some(lease) = place.containers()?.resume(&place.id)? else {
        tell(&report, RAN);
        return Ok(Begun::Before);
    };
    match left_over(&place, &lease)? {
        // Its monitor was killed, and nobody has looked since.
        LeftOver::Running(standing) => {
            tell(&report, RAN);
            return Ok(Begun::Now(standing));
        }
        LeftOver::Remains => remove_from_host(&place, lease.directory())?,
        LeftOver::Nothing => {}
    }
    let flags = lease.record().asked.as_ref().map(|asked| asked.life.all_flags()).unwrap_or_default();
    let cause = match arguments.get(3) {
        Some(word) if word == AGAIN => Cause::Again,
        _ => Cause::Asked,
    };
    match start(&place, lease, cause, Some(report), client) {
        Ok(standing) => Ok(Begun::Now(Box::new(standing))),
        Err(error) => Err(Box::new(FailedBegin { error, flags })),
    }
}

/// Why a container is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A person wants it.
    Asked,
    /// It was ended for that, and who did it starts it.
    Again,
    /// Its restart policy.
    Policy,
}

/// Starts the container whose directory is held.
pub(super) fn start(
    place: &Place,
    mut lease: Lease,
    cause: Cause,
    report: Option<OwnedFd>,
    client: Option<OwnedFd>,
) -> Result<Standing> {
    let lock = lease.lock().try_clone().map_err(|error| Error::system("keep a lock", error))?;
    let mut is_wanted = true;
    lease.edit(|record| {
        is_wanted = cause != Cause::Again || record.wish == Wish::Again;
        if !is_wanted {
            return;
        }
        // One that comes back by itself does not overrule whoever has just stopped it.
        if cause != Cause::Policy {
            (record.wish, record.restarts, record.short_lives) = (Wish::Run, 0, 0);
        }
        (record.end, record.started) = (None, Some(now()));
        record.sent.clear();
    })?;
    if !is_wanted {
        let operation = format!("start `{}` again", place.id);
        return Err(Error::new(runtime::ErrorKind::WrongStatus, operation, "somebody has stopped it"));
    }
    if lease.record().asked.as_ref().is_some_and(|asked| asked.life.health_check().is_some()) {
        Health::begin(lease.directory(), lease.record().started.unwrap_or_default())?;
    }
    // Of an earlier start that was not cleaned up, as by a power cut: they would tell of this one.
    for name in ["exit", "attach"] {
        remove_file(&lease.directory().join(name))?;
    }
    let (began, directory) = (now(), lease.directory().to_owned());
    let begun = launch(place, lease, report.as_ref());
    let standing = begun.and_then(|(entrusted, more)| {
        let told = entrusted.kept.as_ref().map(Lease::told);
        let served = serve(place, entrusted, client, more);
        served
            .map_err(|mut error| {
                error.rollback.extend(remove_from_host(place, &directory).err());
                error
            })
            .inspect(|_| {
                let Some((container, volumes)) = told else { return };
                volumes.tell_mounted();
                container.tell("start");
            })
    });
    standing.map(|standing| Standing { report, ..standing }).map_err(|error| {
        // It is told as it is, whether that can be written down or not.
        let _ = StartRecord::of_failure(&error, began).write(&directory);
        note_failure(place, lock, error)
    })
}

/// Notes why a container did not start, or removes it where it goes with its end.
fn note_failure(place: &Place, lock: File, mut error: Error) -> Error {
    let end = End { error: Some(error.to_string()), ..End::now(Some(error.kind.exit_code())) };
    let note = || -> Result<()> {
        let mut lease = place.containers()?.inherit(&place.id, lock)?;
        match lease.record().stay {
            Stay::Removed => lease.remove(),
            Stay::Kept => lease.edit(|record| (record.end, record.started) = (Some(end), None)),
        }
    };
    let record = place.containers().and_then(|containers| containers.read(&place.id));
    error.rollback.extend(note().err());
    if let (Ok(Some(record)), Ok(containers)) = (record, place.containers()) {
        error.rollback.extend(crate::pods::leave_group(&containers, &record).err());
    }
    error
}

/// What was asked for.
fn asked(record: &Record) -> Result<&Asked> {
    record.asked.as_deref().ok_or_else(|| {
        let reason = "it ended with the command that started it, and nothing says how to start it again";
        Error::new(runtime::ErrorKind::WrongStatus, format!("start `{}`", record.id), reason)
    })
}

/// What is left to say of a start.
struct More {
    notices: Vec<Notice>,
    chosen_ports: Vec<String>,
    streams: Streams,
}

fn launch(place: &Place, lease: Lease, report: Option<&OwnedFd>) -> Result<(Entrusted, More)> {
    let Asked { mut options, life } = asked(lease.record())?.clone();
    if report.is_some() {
        // One that comes back by itself does so without its log, too.
        journal::check(&life.log)?;
    }
    let directory = lease.directory().to_owned();
    // Nobody removes the group of its pod until its own is there.
    let containers = place.containers()?;
    let turn = crate::pods::before_start(&containers, lease.record(), &place.paths)?;
    let of_pod = turn.is_some().then(|| lease.record().clone());
    turn.iter().for_each(|turn| turn.apply(&mut options));
    // What becomes of its own volumes goes by it.
    options.stay = Some((containers.clone(), lease.record().stay));
    let prepared = container::prepare_again(&options, &place.paths, lease)?;
    let streams = match options.process.terminal {
        TerminalMode::Inherit => Streams::make(&directory, life.input)?,
        TerminalMode::New(..) => Streams::default(),
    };
    let told = streams.take_place()?;
    let interrupt = report.map(|report| report.try_clone()).transpose();
    let interrupt = interrupt.map_err(|error| Error::system("keep a descriptor", error))?;
    let started = prepared.start(LaunchOptions { interrupt, ..LaunchOptions::default() });
    told.give_back()?;
    let running = started?;
    of_pod.iter().for_each(|record| crate::pods::after_start(&containers, record, &place.paths));
    drop(turn);
    let more = More { notices: running.notices(), chosen_ports: running.chosen_ports(), streams };
    Ok((running.entrust()?, more))
}

fn serve(place: &Place, entrusted: Entrusted, client: Option<OwnedFd>, more: More) -> Result<Standing> {
    let Entrusted { pid, pidfd, console, held, kept, note } = entrusted;
    let lease = kept.ok_or_else(|| Error::invalid(BEGIN, "the container has no record".to_owned()))?;
    runtime_record::copy(place, lease.directory())?;
    let io = match console {
        Some(outer) => Io::Terminal { outer },
        None => more.streams.into_io(),
    };
    let process = Process { pid, pidfd, parentage: Parentage::Own, io };
    let service = Service { first_client: client, ..service(place, &lease, process, held)? };
    Ok(Standing { note, notices: more.notices, chosen_ports: more.chosen_ports, ..Standing::of(service) })
}

/// A container's first process.
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) parentage: Parentage,
    pub(super) io: Io,
}

/// What the monitor of a container is to know; it holds `held` and the lease's lock.
pub(super) fn service(place: &Place, lease: &Lease, process: Process, held: Vec<OwnedFd>) -> Result<Service> {
    let Process { pid, pidfd, parentage, io } = process;
    let (directory, record) = (lease.directory(), lease.record());
    let Asked { options, life } = asked(record)?;
    let has_run = Duration::from_nanos(record.started.map_or(0, |started| now().saturating_sub(started)));
    let lock = OwnedFd::from(lease.lock().try_clone().map_err(|error| Error::system("keep a lock", error))?);
    let then = then(place, &lock, &held);
    Ok(Service {
        pid,
        pidfd,
        parentage,
        io,
        listener: listener(directory)?,
        first_client: None,
        input_end: match life.input {
            StandardInput::Open(InputUntil::FirstEnd) => InputEnd::Closes,
            _ => InputEnd::KeptOpen,
        },
        log: log_options(&life.log, directory, record),
        exit: directory.join("exit"),
        keep: held.into_iter().chain([lock]).collect(),
        then,
        time_limit: options.process.time_limit.map(|limit| limit.saturating_sub(has_run)),
        check: life.health_check().and_then(|check| due(place, directory, check)),
    })
}

/// The check of a container's health, and when it is due.
fn due(place: &Place, directory: &Path, check: &HealthCheck) -> Option<Check> {
    let first = first_due(check, &Health::read(directory)?, now())?;
    let words = ["rabbitc", CHECK].map(OsString::from).into_iter().chain(place.arguments());
    Some(Check { words: words.collect(), first, again: check.interval()? })
}

/// What is executed in the monitor's place when the container has ended.
fn then(place: &Place, lock: &OwnedFd, held: &[OwnedFd]) -> Vec<OsString> {
    use std::os::fd::AsRawFd;
    let numbers: Vec<String> = held.iter().map(|one| one.as_raw_fd().to_string()).collect();
    let mut then = vec!["rabbitc".into(), END.into()];
    then.extend(place.arguments());
    then.push(lock.as_raw_fd().to_string().into());
    then.push(numbers.join(",").into());
    then
}

/// Where a container's output is kept.
pub(super) fn log_options(choice: &LogChoice, directory: &Path, record: &Record) -> LogOptions {
    let files = LogFiles {
        max_size: Some(choice.max_size).filter(|size| *size < u64::MAX),
        max_files: choice.max_files,
        ..LogFiles::at(directory.join("log"))
    };
    match choice.driver.as_str() {
        "none" => LogOptions::None,
        "k8s-file" => LogOptions::K8sFile { files },
        "journald" => LogOptions::Journald {
            socket: JOURNAL_SOCKET.into(),
            fields: vec![
                ("CONTAINER_ID".to_owned(), record.id.get(..12).unwrap_or(&record.id).to_owned()),
                ("CONTAINER_ID_FULL".to_owned(), record.id.clone()),
                ("CONTAINER_NAME".to_owned(), record.name.clone()),
                ("SYSLOG_IDENTIFIER".to_owned(), record.name.clone()),
            ],
        },
        _ => LogOptions::JsonFile { files, attributes: Vec::new() },
    }
}

impl Standing {
    /// One of which nobody waits to hear.
    pub(super) fn of(service: Service) -> Standing {
        Standing { service, report: None, note: None, notices: Vec::new(), chosen_ports: Vec::new() }
    }

    /// Tells whoever waits that the container runs, and becomes its monitor. Returns only where that fails.
    pub fn stand(self) -> Error {
        if let Some(report) = &self.report {
            tell(report, RUNS);
        }
        drop(self.report);
        if let Some((note, times, began)) = self.note {
            // After the word that it runs; where it fails, whoever asks finds no record.
            let _ = note.end(&times, began);
        }
        let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let silent = null().and_then(|null| {
            rustix::stdio::dup2_stdin(&null)?;
            rustix::stdio::dup2_stdout(&null)?;
            rustix::stdio::dup2_stderr(&null)
        });
        // Whoever reads the caller's output would wait for this process; else nothing.
        let _ = silent;
        from_monitor(&self.service.execute(std::ffi::OsStr::new("rabbitc"), std::env::vars_os()))
    }
}

fn tell(report: &OwnedFd, what: u8) {
    // Who has gone needs no answer.
    let _ = rustix::net::send(report, &[what], rustix::net::SendFlags::NOSIGNAL);
}

/// The container's standard streams: FIFOs that it holds open at both ends, so that it lives on without a reader.
#[derive(Debug, Default)]
pub(super) struct Streams {
    theirs: Option<[OwnedFd; 3]>,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
}

impl Streams {
    fn make(directory: &Path, input: StandardInput) -> Result<Streams> {
        let fifo = |name: &str| -> Result<PathBuf> {
            let path = directory.join(name);
            // One of an earlier start may hold what nobody read.
            remove_file(&path)?;
            let made = rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0);
            made.map(|()| path.clone()).map_err(|error| Error::at_path("make", &path, error))
        };
        let open = |path: &Path, flags: OFlags| {
            rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| Error::at_path("open", path, error))
        };
        let output = |name: &str| -> Result<(OwnedFd, OwnedFd)> {
            let path = fifo(name)?;
            let theirs = open(&path, OFlags::RDWR)?;
            Ok((theirs, open(&path, OFlags::RDONLY | OFlags::NONBLOCK)?))
        };
        let (own_input, input) = match input {
            StandardInput::Closed => (open(Path::new("/dev/null"), OFlags::RDONLY)?, None),
            StandardInput::Open(_) => {
                let path = fifo("in")?;
                // Both at once: either alone would wait for the other.
                let both = open(&path, OFlags::RDWR | OFlags::NONBLOCK)?;
                let theirs = open(&path, OFlags::RDONLY)?;
                let ours = open(&path, OFlags::WRONLY | OFlags::NONBLOCK)?;
                drop(both);
                (theirs, Some(ours))
            }
        };
        let (own_output, output_end) = output("out")?;
        let (own_error, error_end) = output("err")?;
        Ok(Streams {
            theirs: Some([own_input, own_output, own_error]),
            input,
            output: Some(output_end),
            error: Some(error_end),
        })
    }

    /// Puts them in the place of this process's own, which the container inherits.
    fn take_place(&self) -> Result<Replaced> {
        let failed = |error: Errno| Error::system("set the container's standard streams", error);
        let keep = |descriptor: std::os::fd::BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(descriptor, 3);
        let kept = keep(std::io::stderr().as_fd()).map_err(failed)?;
        if let Some([input, output, error]) = &self.theirs {
            let put = || -> rustix::io::Result<()> {
                rustix::stdio::dup2_stdin(input)?;
                rustix::stdio::dup2_stdout(output)?;
                rustix::stdio::dup2_stderr(error)
            };
            put().map_err(failed)?;
        }
        Ok(Replaced { kept })
    }

    fn into_io(self) -> Io {
        match (self.output, self.error) {
            (Some(stdout), Some(stderr)) => Io::Pipes { stdin: self.input, stdout, stderr },
            _ => unreachable!("a container without a terminal has streams"),
        }
    }
}

/// This process's standard error while the container's stands in its place.
struct Replaced {
    kept: OwnedFd,
}

impl Replaced {
    fn give_back(self) -> Result<()> {
        rustix::stdio::dup2_stderr(&self.kept)
            .map_err(|error| Error::system("take standard error back", error))
    }
}

/// Where those connect who attach.
fn listener(directory: &Path) -> Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    use std::os::fd::AsRawFd;
    let path = directory.join("attach");
    let failed = |error: Errno| Error::at_path("listen at", &path, error);
    remove_file(&path)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
    // Through the descriptor: the directory's path may be longer than an address can be.
    let address = format!("/proc/self/fd/{}/attach", place.as_raw_fd());
    rustix::net::bind(&socket, &SocketAddrUnix::new(address).map_err(failed)?).map_err(failed)?;
    rustix::net::listen(&socket, 16).map_err(failed)?;
    Ok(socket)
}
