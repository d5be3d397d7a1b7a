//! Looking at containers that live on, and reaching them. Those whose monitor was killed get another one on the way.

use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use monitor::{Attached, Attachment, LogEntry, LogOptions, LogQuery, Moment};
use runtime::lifecycle::{self, Target};
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, ErrorKind, Signal};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::begin::log_options;
use super::{RestartPolicy, StandardInput, journal};
use crate::error::{Error, Result, from_monitor};
use crate::kept::{Kept, KeptContainers, Stay, Wish};
use crate::options::TerminalMode;
use crate::paths::EnginePaths;

impl KeptContainers {
    /// The one of this name, or whose id begins so, with somebody behind it where it runs.
    pub fn find_living(&self, text: &str, paths: &EnginePaths) -> Result<Kept> {
        let kept = self.find(text)?;
        if self.heal(std::slice::from_ref(&kept), paths)? { self.find(&kept.id) } else { Ok(kept) }
    }

    /// All that are kept, with somebody behind each that runs; the newest first.
    pub fn living(&self, paths: &EnginePaths) -> Result<Vec<Kept>> {
        let kept = self.list()?;
        if self.heal(&kept, paths)? { self.list() } else { Ok(kept) }
    }

    /// The pid of a container's first process; none where it has ended.
    pub fn pid(&self, id: &str, paths: &EnginePaths) -> Option<i32> {
        let view =
            lifecycle::view(&StateRoot::new(paths.containers()), &ContainerId::parse(id).ok()?).ok()?;
        lifecycle::init(&view.record).map(|_| view.record.pid)
    }

    /// Sends a signal to a container's first process.
    pub fn signal(&self, id: &str, signal: i32, paths: &EnginePaths) -> Result<()> {
        let root = StateRoot::new(paths.containers());
        let signal = Signal::parse(&signal.to_string())?;
        lifecycle::kill(&root, &ContainerId::parse(id)?, signal, Target::Init)?;
        if let Ok(Some(record)) = self.read(id) {
            record.subject(self.path()).tell_signal(signal);
        }
        Ok(())
    }

    /// A connection to the monitor of a container that runs.
    pub fn connect(&self, kept: &Kept) -> Result<OwnedFd> {
        let path = kept.directory.join("attach");
        let connect = || -> rustix::io::Result<OwnedFd> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let place = rustix::fs::open(&kept.directory, flags, Mode::empty())?;
            let socket = rustix::net::socket_with(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC,
                None,
            )?;
            let address = format!("/proc/self/fd/{}/attach", place.as_raw_fd());
            rustix::net::connect(&socket, &SocketAddrUnix::new(address)?)?;
            Ok(socket)
        };
        connect().map_err(|error| match error {
            rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED => {
                let reason = "it has the streams of the command that started it";
                Error::new(ErrorKind::WrongStatus, format!("attach to `{}`", kept.shown_name()), reason)
                    .with_hint("start it with `--detach`, or without `--rm`, to be able to attach to it")
            }
            error => Error::at_path("connect to", &path, error),
        })
    }

    /// Reads what a container has written; with `follow` as long as it runs.
    pub fn logs(
        &self,
        kept: &Kept,
        query: LogQuery,
        follow: bool,
        entry: &mut dyn FnMut(LogEntry<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let operation = || format!("read the log of `{}`", kept.shown_name());
        let asked = kept.record.asked.as_ref().ok_or_else(|| {
            let reason = "its output went to the command that started it, and nowhere else";
            Error::new(ErrorKind::Unsupported, operation(), reason)
                .with_hint("start it with `--detach`, or without `--rm`, to have a log of it")
        })?;
        let log = log_options(&asked.life.log, &kept.directory, &kept.record);
        match &log {
            LogOptions::None => {
                let error = Error::new(
                    ErrorKind::Unsupported,
                    operation(),
                    "it was started with `--log-driver=none`",
                );
                return Err(error.with_hint("leave `--log-driver` out to have a log of it"));
            }
            LogOptions::Journald { .. } | LogOptions::JsonFile { .. } | LogOptions::K8sFile { .. } => {}
        }
        let mut is_served = || self.has_someone_behind(&kept.id).unwrap_or(false);
        let is_served: Option<&mut dyn FnMut() -> bool> = if follow { Some(&mut is_served) } else { None };
        if let LogOptions::Journald { .. } = log {
            return journal::read(&kept.id, query, is_served, entry, &operation());
        }
        monitor::read_log(&log, query, is_served, entry).map_err(|error| from_monitor(&error))
    }

    /// Gives a container another name.
    pub fn rename(&self, kept: &Kept, new: &str, paths: &EnginePaths) -> Result<()> {
        let name = crate::kept::parse_name(new)
            .map_err(|error| Error { operation: format!("rename `{}`", kept.shown_name()), ..error })?;
        if name == kept.name {
            let reason = "it is called so already";
            return Err(Error::invalid(format!("rename `{}`", kept.name), reason.to_owned()));
        }
        self.claim_name(&kept.id, Some(&name))?;
        let record = self.edit(&kept.id, |record| record.name.clone_from(&name))?;
        self.release_name(&kept.name, &kept.id);
        crate::names::rename(paths, &kept.id, &kept.name, &name)?;
        // With the slash that docker's names have here.
        record.subject(self.path()).tell_with("rename", [("oldName", format!("/{}", kept.name))]);
        Ok(())
    }
}

impl Kept {
    /// How it is called: by its name, if it has one.
    pub fn shown_name(&self) -> &str {
        if self.name.is_empty() { self.id.get(..12).unwrap_or(&self.id) } else { &self.name }
    }

    /// Whether a boot starts it.
    pub fn is_to_run_at_boot(&self) -> bool {
        if self.state.is_up() {
            return false;
        }
        match self.record.asked.as_ref().map(|asked| asked.life.restart) {
            Some(RestartPolicy::Always) => true,
            Some(RestartPolicy::UnlessStopped) => self.record.wish != Wish::Stop,
            Some(RestartPolicy::No | RestartPolicy::OnFailure(_)) | None => false,
        }
    }

    /// Whether it is removed at its end.
    pub(super) fn goes_by_itself(&self) -> bool {
        self.record.stay == Stay::Removed
    }

    /// Whether it has a terminal of its own.
    pub fn has_terminal(&self) -> bool {
        let asked = self.record.asked.as_ref();
        asked.is_some_and(|asked| asked.options.process.terminal != TerminalMode::Inherit)
    }

    /// Whether somebody who attaches can write to it.
    pub fn has_input(&self) -> bool {
        self.record.asked.as_ref().is_some_and(|asked| asked.life.input != StandardInput::Closed)
    }
}

/// A moment as docker's flags have it: RFC 3339, with or without its end, seconds since 1970, or so long ago.
pub fn parse_moment(flag: &str, text: &str) -> Result<Moment> {
    let refuse = || {
        Error::invalid(flag, format!("`{}` is no time", text.escape_debug()))
            .with_hint("write a moment such as `2026-11-27T10:00:00Z`, seconds since 1970, or so long ago: `10m`, `1h30m`")
    };
    if let Some(moment) = seconds(text) {
        return Ok(moment);
    }
    if let Some(ago) = crate::options::parse_duration(text) {
        let ago = i64::try_from(ago.as_nanos()).map_err(|_| refuse())?;
        return Ok(Moment(Moment::now().0.saturating_sub(ago)));
    }
    // So long from now.
    if let Some(ahead) = text.strip_prefix('-').and_then(crate::options::parse_duration) {
        let ahead = i64::try_from(ahead.as_nanos()).map_err(|_| refuse())?;
        return Ok(Moment(Moment::now().0.saturating_add(ahead)));
    }
    // ISO 8601 has a comma before a part of a second, and `date` writes it so.
    let text = &text.replacen(',', ".", 1);
    // What is left out is the beginning.
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        13 => format!("{text}:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    Moment::parse(&whole).or_else(|| Moment::parse(&format!("{text}Z"))).ok_or_else(refuse)
}

/// Seconds since 1970, with any number of digits behind a point.
fn seconds(text: &str) -> Option<Moment> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !(whole.bytes().chain(part.bytes())).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i64 = format!("{part:0<9}").get(..9)?.parse().ok()?;
    Some(Moment(whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?))
}

/// Copies between the caller's streams and a container until either leaves; see [`monitor::attach`].
pub fn attach(attachment: Attachment<'_>) -> Result<Attached> {
    monitor::attach(attachment).map_err(|error| from_monitor(&error))
}

/// Waits until a container that has ended is cleaned up: the other end of `connection` is gone then.
pub fn wait_for_hangup(connection: BorrowedFd<'_>) -> Result<()> {
    monitor::wait_for_hangup(connection).map_err(|error| from_monitor(&error))
}
