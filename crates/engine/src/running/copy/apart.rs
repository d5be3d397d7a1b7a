//! The process that is a container's end of a copy: this program, executed again. Its working directory is the container's root, its
//! standard input the user namespace to enter or nothing, its standard output the pipe of what is copied, whichever way that goes, and
//! its standard error takes the answer.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use ::image::unpack::{LeftOut, Owners};
use runtime::ErrorKind;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use super::super::Found;
use super::CopyRequest;
use super::ends::{Taking, receive, send};
use super::ground::{Access, Ground, Spot};
use super::place::Place;
use crate::error::{Error, Failure, Result};

/// The verb by which this program is executed again for that; not for people.
const VERB: &str = "internal-copy";

/// What the process is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Role {
    /// Sends what is at a path.
    Source { path: String, called: Option<String>, request: CopyRequest },
    /// Takes what is sent to a path; all of it belongs to `owner`, where there is one.
    Sink { path: String, request: CopyRequest, owner: Option<(u32, u32)> },
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Done(LeftOut),
    Failed(Failure),
}

const OPERATION: &str = "copy from or to the container";

fn failed(error: impl Into<std::io::Error>) -> Error {
    Error::system(OPERATION, error)
}

/// Its end to read from, and its end to write to.
fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).map_err(failed)
}

/// The process, and this end of its pipe.
pub(super) struct Apart {
    child: Child,
    data: Option<OwnedFd>,
    /// So that a kept container stays as it is.
    _ground: Ground,
}

impl Apart {
    /// That of a container that sends what is at `path`.
    pub(super) fn source(found: &Found, path: &str, request: CopyRequest) -> Result<Apart> {
        let Spot { ground, path, called } = found.spot(path, Access::Read)?;
        let role = Role::Source { path, called, request };
        let (here, there) = pipe()?;
        let mut apart = Apart::start(&role, ground, there)?;
        apart.data = Some(here);
        Ok(apart)
    }

    /// That of a container that takes what is sent to `path`.
    pub(super) fn sink(found: &Found, path: &str, request: CopyRequest) -> Result<Apart> {
        let (there, here) = pipe()?;
        let mut apart = Apart::sink_behind(found, path, request, there)?;
        apart.data = Some(here);
        Ok(apart)
    }

    /// The same with a pipe that is there already.
    pub(super) fn sink_behind(
        found: &Found,
        path: &str,
        request: CopyRequest,
        data: OwnedFd,
    ) -> Result<Apart> {
        let Spot { ground, path, .. } = found.spot(path, Access::Write)?;
        let owner = request.owned.then(|| found.owner(&ground)).transpose()?;
        let role = Role::Sink { path, request, owner };
        Apart::start(&role, ground, data)
    }

    fn start(role: &Role, ground: Ground, data: OwnedFd) -> Result<Apart> {
        let users = ground.users.as_ref().map(|users| users.try_clone().map(Stdio::from));
        let users = users.transpose().map_err(failed)?;
        // By this link, as the file that runs may have no path.
        let mut command = Command::new("/proc/self/exe");
        command.arg(VERB).arg(serde_json::to_string(role).expect("only string keys"));
        command.env_clear().current_dir(format!("/proc/self/fd/{}", ground.root.as_raw_fd()));
        command.stdin(users.unwrap_or_else(Stdio::null)).stdout(Stdio::from(data)).stderr(Stdio::piped());
        let child = command.spawn().map_err(failed)?;
        Ok(Apart { child, data: None, _ground: ground })
    }

    /// This end of the pipe.
    pub(super) fn data(&mut self) -> Result<File> {
        let data = self.data.as_ref().expect("nobody has taken it");
        data.try_clone().map(File::from).map_err(failed)
    }

    /// The same, for good.
    pub(super) fn take_data(&mut self) -> Result<OwnedFd> {
        Ok(self.data.take().expect("nobody has taken it"))
    }

    /// Waits for its end, and hears what became of it.
    pub(super) fn end(mut self) -> Result<LeftOut> {
        // One that still sends or waits for something hears that nobody is there.
        self.data = None;
        let mut text = Vec::new();
        if let Some(answer) = &mut self.child.stderr {
            answer.read_to_end(&mut text).map_err(failed)?;
        }
        self.child.wait().map_err(failed)?;
        match serde_json::from_slice(&text) {
            Ok(Answer::Done(left_out)) => Ok(left_out),
            Ok(Answer::Failed(failure)) => Err(failure.into()),
            Err(_) => {
                let said = String::from_utf8_lossy(&text).trim().to_owned();
                let reason = format!("the process that does it has ended without an answer {said}");
                Err(Error::new(ErrorKind::System, OPERATION, reason.trim().to_owned()))
            }
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Where it was not waited for, as something else has failed, nobody needs it any more.
        self.data = None;
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Whether a command line is that of such a process.
pub fn is_copy_verb(word: Option<&std::ffi::OsStr>) -> bool {
    word.is_some_and(|word| word == VERB)
}

/// What that process does; the exit code.
pub fn copy_apart(role: Option<std::ffi::OsString>) -> i32 {
    let (answer, code) = match work(role) {
        Ok(left_out) => (Answer::Done(left_out), 0),
        Err(error) => (Answer::Failed(error.into()), 1),
    };
    let text = serde_json::to_vec(&answer).expect("only string keys");
    // Where nobody reads the answer, the exit code still tells.
    let _ = std::io::stderr().write_all(&text);
    code
}

fn work(role: Option<std::ffi::OsString>) -> Result<LeftOut> {
    let wrong = || Error::new(ErrorKind::Invalid, OPERATION, "it was not said what is to be done");
    let role = role.and_then(|role| role.into_string().ok()).ok_or_else(wrong)?;
    let role: Role = serde_json::from_str(&role).map_err(|_| wrong())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, c".", flags, Mode::empty()).map_err(failed)?;
    let has_users = rustix::fs::fstat(std::io::stdin()).is_ok_and(|found| {
        rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::RegularFile
    });
    if has_users {
        runtime::user_namespace::join(std::io::stdin().as_fd())?;
    }
    let data = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map_err(failed)?;
    let mut data = File::from(data);
    let place = Place::Inside(root.as_fd());
    match role {
        Role::Source { path, called, request } => {
            // What is mounted somewhere is called as its place is.
            let called = called.filter(|_| path == "/").map(String::into_bytes);
            send(&place, path.as_bytes(), called, request.follow, &mut data).map(|()| LeftOut::default())
        }
        Role::Sink { path, request, owner } => {
            let taking = Taking { owner, owners: Owners::Named, replaces: request.replaces() };
            receive(&place, path.as_bytes(), &mut data, taking)
        }
    }
}
