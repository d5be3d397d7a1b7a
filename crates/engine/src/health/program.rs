//! The program of a check: executed in the container, heard, and ended with its session when its time is up.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::state::Checked;
use crate::error::{Error, Result};
use crate::kept::now;
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
        let streams = Streams::replace(&theirs)?;
        drop(theirs);
        let request = ExecRequest { command: self.command.clone(), ..ExecRequest::default() };
        let started = found.execute(&request);
        streams.give_back()?;
        let started = started?;
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
        Ok((-1, format!("Health check exceeded timeout ({}){separator}{text}", written(self.timeout))))
    }
}

/// A time as Go writes it.
fn written(time: Duration) -> String {
    let (minutes, seconds) = (time.as_secs() / 60, time.as_secs_f64() % 60.0);
    match time.as_secs() {
        0 => format!("{}ms", time.as_secs_f64() * 1000.0),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{seconds}s"),
        _ => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
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

/// This process's own streams while the program's stand in their place.
struct Streams([OwnedFd; 3]);

impl Streams {
    fn replace(output: &OwnedFd) -> Result<Streams> {
        let failed = |error: Errno| Error::system("set the streams of a health check", error);
        let keep = |descriptor: std::os::fd::BorrowedFd<'_>| {
            rustix::io::fcntl_dupfd_cloexec(descriptor, 3).map_err(failed)
        };
        let own = Streams([
            keep(std::io::stdin().as_fd())?,
            keep(std::io::stdout().as_fd())?,
            keep(std::io::stderr().as_fd())?,
        ]);
        let null = File::open("/dev/null").map_err(|error| Error::system("open `/dev/null`", error))?;
        let put = || -> rustix::io::Result<()> {
            rustix::stdio::dup2_stdin(&null)?;
            rustix::stdio::dup2_stdout(output)?;
            rustix::stdio::dup2_stderr(output)
        };
        match put() {
            Ok(()) => Ok(own),
            Err(error) => {
                own.give_back()?;
                Err(failed(error))
            }
        }
    }

    fn give_back(self) -> Result<()> {
        let [input, output, error] = &self.0;
        let put = || -> rustix::io::Result<()> {
            rustix::stdio::dup2_stdin(input)?;
            rustix::stdio::dup2_stdout(output)?;
            rustix::stdio::dup2_stderr(error)
        };
        put().map_err(|error| Error::system("take the streams back from a health check", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_does() {
        for (milliseconds, text) in
            [(500, "500ms"), (1000, "1s"), (1500, "1.5s"), (90_000, "1m30s"), (3_600_000, "1h0m0s")]
        {
            assert_eq!(written(Duration::from_millis(milliseconds)), text);
        }
    }
}
