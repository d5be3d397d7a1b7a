//! One run of criu: the process, the conversation over its socket, and the line of its log that says what went wrong.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use prost::Message;
use rustix::net::SendFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use sys::clone::{Child, CloneRequest, flags};
use sys::exec::CStringArray;
use sys::mount::propagation;

use super::messages::{Request, Response, kind};
use crate::error::{Error, ErrorKind, Result};
use crate::launch::reap;
use crate::plan::{c_path, c_string};
use crate::sync;

/// Where the program is looked for, once it is clear that it will be asked, and what it runs with.
#[derive(Debug, Clone)]
pub struct Criu {
    /// The directories of the caller's `PATH`, in order.
    pub directories: Vec<PathBuf>,
    /// Its environment, `NAME=VALUE`: it calls tar and the like by `PATH`.
    pub environment: Vec<CString>,
}

impl Criu {
    /// The first file of its name that can be executed.
    pub(super) fn find(&self) -> Result<PathBuf> {
        let executable = |path: &PathBuf| {
            std::fs::metadata(path)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let found = self.directories.iter().map(|directory| directory.join("criu")).find(executable);
        found.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "find criu", "no directory of PATH has it")
                .with_hint("install criu 4, which writes and restores the processes")
        })
    }
}

/// What criu says while it works.
pub(super) enum News {
    /// A moment that it names, with the pid of the container's init where there is one, and a descriptor that came along.
    Moment { name: String, pid: i32, descriptor: Option<OwnedFd> },
    /// It is done. The pid is that of a restored init.
    Done { pid: i32 },
}

/// A root that a restore is to find as a mount of its own, whose parent nothing covers.
pub(super) struct BoundRoot {
    pub(super) source: CString,
    pub(super) place: CString,
}

/// criu while it runs; dropped, it is killed and reaped.
pub(super) struct Process {
    child: Option<Child>,
    socket: OwnedFd,
}

impl Process {
    /// Starts `program`. With `root` it gets a mount namespace of its own, in which that is bound: whatever happens to it, no
    /// mount is left behind. `kept` are descriptors that it inherits under their numbers.
    pub(super) fn start(
        criu: &Criu,
        program: &Path,
        root: Option<&BoundRoot>,
        kept: &[BorrowedFd<'_>],
    ) -> Result<Process> {
        let system = |error: std::io::Error| Error::at_path("start criu", program, error);
        let (ours, theirs) = sync::pair().map_err(system)?;
        let path = c_path(program, "criu")?;
        let number = c_string(&theirs.as_raw_fd().to_string(), "criu")?;
        let arguments = CStringArray::new(vec![c"criu".to_owned(), c"swrk".to_owned(), number]);
        let environment = CStringArray::new(criu.environment.clone());
        let kept: Vec<RawFd> = kept.iter().chain([&theirs.as_fd()]).map(AsRawFd::as_raw_fd).collect();
        let kinds = if root.is_some() { flags::NEWNS } else { 0 };
        let request = CloneRequest { flags: kinds, cgroup: None };
        let child = sys::clone::clone(&request, &mut |_| {
            let attempt = || -> std::io::Result<()> {
                if let Some(root) = root {
                    sys::mount::change(c"/", propagation::REC | propagation::PRIVATE)?;
                    rustix::mount::mount_bind_recursive(&*root.source, &*root.place)?;
                }
                sys::fd::close_on_exec_from(3)?;
                kept.iter().try_for_each(|number| sys::fd::keep_on_exec(*number))?;
                sys::signal::reset_dispositions();
                sys::signal::unblock_all();
                Err(sys::exec::execve(&path, &arguments, &environment, None))
            };
            attempt().err().and_then(|error| error.raw_os_error()).unwrap_or(0)
        });
        Ok(Process { child: Some(child.map_err(system)?), socket: ours })
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// Asks it, and hands on what it tells until it is done.
    pub(super) fn converse(
        mut self,
        request: &Request,
        hear: &mut dyn FnMut(News) -> Result<()>,
    ) -> Result<()> {
        self.send(request)?;
        loop {
            let (answer, descriptor) = self.receive()?;
            if !answer.success {
                // It quotes a line of its log, of the form `Error (FILE:LINE): TEXT`.
                let told = answer.message.unwrap_or_default();
                let told = told.trim().trim_start_matches("Error ");
                let reason =
                    if told.is_empty() { "criu failed".to_owned() } else { format!("criu failed: {told}") };
                let errno = answer.errno.filter(|errno| *errno != 0);
                return Err(Error { errno, ..Error::new(ErrorKind::System, "criu", reason) });
            }
            if answer.kind != kind::NOTIFY {
                hear(News::Done { pid: answer.restored.map_or(0, |restored| restored.pid) })?;
                break;
            }
            let told = answer.notification.unwrap_or_default();
            let (name, pid) = (told.script.unwrap_or_default(), told.pid.unwrap_or(0));
            hear(News::Moment { name, pid, descriptor })?;
            let taken = Request { kind: kind::NOTIFY, options: None, notify_success: Some(true) };
            self.send(&taken)?;
        }
        // The end that it waits for, also after a first dump that others are to follow.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        if let Some(child) = self.child.take() {
            reap(&child);
        }
        Ok(())
    }

    fn send(&self, request: &Request) -> Result<()> {
        let bytes = request.encode_to_vec();
        match sync::retry(|| rustix::net::send(&self.socket, &bytes, SendFlags::NOSIGNAL)) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.ended()),
        }
    }

    fn receive(&mut self) -> Result<(Response, Option<OwnedFd>)> {
        let mut bytes = vec![0u8; 64 << 10];
        let (length, descriptor) = match sync::receive_bytes(self.socket.as_fd(), &mut bytes) {
            Ok((0, _)) | Err(_) => return Err(self.ended()),
            Ok(received) => received,
        };
        let answer = Response::decode(&bytes[..length]).map_err(|error| {
            Error::new(ErrorKind::System, "criu", format!("its answer can't be read: {error}"))
        })?;
        Ok((answer, descriptor))
    }

    /// The error for a criu that went away without an answer.
    fn ended(&self) -> Error {
        let status = self.child.as_ref().and_then(|child| {
            sync::retry(|| {
                waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            })
            .ok()?
        });
        let how = status.map_or("ended".to_owned(), |status| {
            match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("ended with {code}"),
                (_, Some(signal)) => format!("was killed by signal {signal}"),
                _ => "ended".to_owned(),
            }
        });
        Error::new(ErrorKind::System, "criu", format!("criu {how} before it was done"))
            .with_hint("`criu check` tells what it lacks here; kernels of today want criu 4")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            // It may have ended.
            let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
            reap(&child);
        }
    }
}

/// What criu calls an error and goes on after: without CAP_SYS_RESOURCE it does with the open files that it may have, and
/// what the container's group permits tells it that there is no tun, which only a dump with one in it needs.
const GOES_ON: [&str; 2] = ["RLIMIT_NOFILE for self", "tun: Unable to create tun"];

/// Adds to `error` what criu's log tells of the cause, and where that is.
pub(super) fn quote_log(error: Error, operation: String, directory: &Path, name: &str) -> Error {
    let path = directory.join(name);
    let Ok(file) = File::open(&path) else { return Error { operation, ..error } };
    // The first is the cause, and what follows are its consequences. A line is cut, as it may be of any length.
    let lines = BufReader::new(file).split(b'\n').map_while(|line| line.ok());
    let culprit = lines.zip(1..).find_map(|(line, number)| {
        let line = String::from_utf8_lossy(&line);
        let (_, text) = line.split_once("Error ")?;
        if GOES_ON.iter().any(|known| text.contains(known)) {
            return None;
        }
        // `(criu/files.c:12): what is wrong`
        Some((number, text.chars().take(300).collect::<String>()))
    });
    match culprit {
        Some((number, text)) => {
            // criu itself quotes the first line of all.
            let what = error.reason.split(": ").next().unwrap_or_default();
            let reason = format!("{what}: {}", text.trim());
            let hint = format!("the whole log is {}, and this its line {number}", path.display());
            Error { operation, reason, ..error }.with_hint(hint)
        }
        None => Error { operation, ..error }.with_hint(format!("see criu's log {}", path.display())),
    }
}
