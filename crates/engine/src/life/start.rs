//! Starting a container that was made, from any process: another one, that will stand behind it, is started and heard.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use super::BEGIN;
use crate::error::{Error, Result};
use crate::kept::{KeptContainers, Stay};
use crate::paths::EnginePaths;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It runs.
    Now,
    /// It ran already.
    Before,
    /// It does not run, and why has been told on standard error; the command's exit code.
    Failed(i32),
}

/// What the new process says.
pub(super) const RUNS: u8 = b'+';
pub(super) const RAN: u8 = b'=';

/// The word to it of who has ended the container to start it again.
pub(super) const AGAIN: &str = "again";

impl KeptContainers {
    /// Starts the container `id`; `client` is the other end of the one who attaches to it from the first byte on. What goes wrong is
    /// told on the standard error of this process, as is what a person should know.
    pub fn start(&self, id: &str, client: Option<OwnedFd>, paths: &EnginePaths) -> Result<Started> {
        self.start_while(id, client, paths, None, || Ok(()))
    }

    /// Starts one again that was ended for that, unless a person has stopped it meanwhile.
    pub(crate) fn start_again(&self, id: &str, paths: &EnginePaths) -> Result<Started> {
        self.start_while(id, None, paths, Some(AGAIN), || Ok(()))
    }

    /// The same for one that was just made: while it starts, it comes onto the disk, if it is to be kept.
    pub fn start_new(
        &self,
        id: &str,
        stay: Stay,
        client: Option<OwnedFd>,
        paths: &EnginePaths,
    ) -> Result<Started> {
        self.start_while(id, client, paths, None, || match stay {
            Stay::Kept => self.outlive_power(id),
            Stay::Removed => Ok(()),
        })
    }

    /// What goes wrong with `meanwhile` is told after the start.
    fn start_while(
        &self,
        id: &str,
        client: Option<OwnedFd>,
        paths: &EnginePaths,
        word: Option<&str>,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<Started> {
        let failed = |error: std::io::Error| Error::system("start the process behind a container", error);
        let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
        // By this link, as the file that runs may have no path.
        let mut command = Command::new("/proc/self/exe");
        // It says what goes wrong in the manner of whoever called.
        command.arg0(std::env::args_os().next().unwrap_or_default());
        command.arg(BEGIN).arg(id).arg(self.data()).arg(paths.base()).args(word);
        command.stdin(OwnedFd::from(theirs)).stdout(client.map_or_else(Stdio::null, Stdio::from));
        let mut child = command.spawn().map_err(failed)?;
        // With it, our copies of what the other has.
        drop(command);
        let meanwhile = meanwhile();
        let mut said = [0; 1];
        let read = ours.read(&mut said).map_err(failed)?;
        meanwhile.map_err(|error| error.with_hint("the start went on all the same"))?;
        match read {
            1 if said[0] == RUNS => return Ok(Started::Now),
            // It may stay, as the monitor of one that had lost its own.
            1 if said[0] == RAN => return Ok(Started::Before),
            _ => {}
        }
        let status = child.wait().map_err(failed)?;
        Ok(Started::Failed(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))))
    }
}
