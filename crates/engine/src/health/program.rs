//! The program of a check: executed in the container, heard, and ended with its session when its time is up.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use runtime::Streams;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::state::Checked;
use crate::error::{Error, Result};
use crate::kept::now;
use crate::options::go_duration;
use crate::running::{ExecRequest, Found};

/// How long a program that was killed may take to go: one of a container that stands still goes later.
const GOING: Duration = Duration::from_secs(2);

/// What one is asked for.
pub(super) struct Probe {
    pub(super) command: Vec<String>,
    pub(super) timeout: Duration,
    /// How many bytes of what it writes are kept; 0 is all.
    pub(super) most_bytes: u32,
}

impl Probe {
    /// Executes it. That it can't be executed is what comes of it, and no error.
    pub(super) fn run(&self, found: &Found) -> Checked {
        let start = now();
        let (exit_code, output) = match self.execute(found) {
            Ok(ended) => ended,
            // Docker's code for it.
            Err(error) => (-1, error.to_string()),
        };
        Checked { start, end: now(), exit_code, output }
    }

    fn execute(&self, found: &Found) -> Result<(i32, String)> {
        let failed = |error: std::io::Error| Error::system("make a pipe for a health check", error);
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(|error| failed(error.into()))?;
        let deadline = Instant::now() + self.timeout;
        let null = File::open("/dev/null").map_err(|error| Error::system("open `/dev/null`", error))?;
        let streams = Streams { input: null.into(), output: Some(theirs) };
        let request = ExecRequest { command: self.command.clone(), ..ExecRequest::default() };
        let started = found.execute(&request, streams)?;
        let mut heard = Heard {
            pipe: File::from(ours),
            bytes: Vec::new(),
            most: self.most_bytes as usize,
            is_cut: false,
        };
        let has_ended = heard.until(started.pidfd.as_fd(), deadline)?;
        if has_ended {
            let code = code_of(&started.pidfd)?;
            heard.read();
            return Ok((code, heard.text()));
        }
        // It leads a session of its own, and with it a group.
        if let Some(group) = Pid::from_raw(started.pid) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = rustix::process::pidfd_send_signal(&started.pidfd, Signal::KILL);
        if heard.until(started.pidfd.as_fd(), Instant::now() + GOING)? {
            code_of(&started.pidfd)?;
        }
        let text = heard.text();
        let separator = if text.is_empty() { "" } else { ": " };
        Ok((-1, format!("Health check exceeded timeout ({}){separator}{text}", go_duration(self.timeout))))
    }
}

/// The exit code of a program that has ended, as a shell says it.
fn code_of(pidfd: &OwnedFd) -> Result<i32> {
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))
        .map_err(|error| Error::system("ask how a health check ended", error))?;
    let status = status.as_ref();
    let killed = status.and_then(|status| status.terminating_signal()).map(|signal| 128 + signal);
    Ok(status.and_then(|status| status.exit_status()).or(killed).unwrap_or(-1))
}

/// What a program writes.
struct Heard {
    pipe: File,
    bytes: Vec<u8>,
    most: usize,
    is_cut: bool,
}

impl Heard {
    /// Reads until the process has ended; whether it has, and its time was not up before.
    fn until(&mut self, process: std::os::fd::BorrowedFd<'_>, deadline: Instant) -> Result<bool> {
        let mut is_open = true;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).ok();
            let wanted = if is_open { PollFlags::IN } else { PollFlags::empty() };
            let mut watched = [
                PollFd::from_borrowed_fd(process, PollFlags::IN),
                PollFd::from_borrowed_fd(self.pipe.as_fd(), wanted),
            ];
            // One that hung up would say so for ever.
            let count = if is_open { 2 } else { 1 };
            match poll(&mut watched[..count], limit.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Error::system("wait for a health check", error)),
            }
            if !watched[0].revents().is_empty() {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
            is_open = is_open && self.read();
        }
    }

    /// Takes what is there; whether more can come.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match self.pipe.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => {
                    let room = match self.most {
                        0 => count,
                        most => most.saturating_sub(self.bytes.len()).min(count),
                    };
                    self.bytes.extend_from_slice(&chunk[..room]);
                    self.is_cut |= room < count;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        // Docker's sign for: there was more.
        format!("{text}{}", if self.is_cut { "..." } else { "" })
    }
}
