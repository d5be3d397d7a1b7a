//! Owns what stands behind a container that lives on: what a monitor process is told, and how that travels through
//! exec. Must not start or remove anything: the program that is executed at the end does that.

mod arguments;
mod check;
mod clients;
mod ending;
mod process;
mod serve;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

pub use self::check::Check;
use crate::error::Error;
use crate::log::LogOptions;
use crate::streams::{InputEnd, Io};

/// The first argument by which a program knows that it is to call [`run_service`] with those that follow.
pub const VERB: &str = "internal-monitor";

/// Whose child the container's init is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parentage {
    /// This process's own: `waitid(2)` tells how it ended.
    #[default]
    Own,
    /// Another's, whose monitor was lost. The kernel tells how it ended where a pidfd was open then
    /// (PIDFD_GET_INFO with PIDFD_INFO_EXIT, 6.15); else that is unknown.
    Adopted,
}

/// A started container, and all that its monitor needs. Paths are absolute.
#[derive(Debug)]
pub struct Service {
    /// The container's init, for messages.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// Whose child it is.
    pub parentage: Parentage,
    /// How its standard streams are connected.
    pub io: Io,
    /// What the end of a client's input means.
    pub input_end: InputEnd,
    /// A listening socket of type SEQPACKET: clients come by it.
    pub listener: OwnedFd,
    /// One that is there from the start (the other end of a SEQPACKET pair is [`attach`](crate::attach())'s): it holds the
    /// container back as a pipe would, so that nothing is lost. Without a word from it, it wants all there is.
    pub first_client: Option<OwnedFd>,
    /// Where output is kept.
    pub log: LogOptions,
    /// The record of the end that is put there, see [`ExitRecord`](crate::ExitRecord); whatever is there is replaced.
    pub exit: PathBuf,
    /// Descriptors that are only held, and that `then` inherits under the same numbers: locks, sockets of ports. Of the sockets,
    /// a client may have it let go of some ([`keep_sockets`](crate::keep_sockets())): `/dev/null` has their numbers then.
    pub keep: Vec<OwnedFd>,
    /// The arguments, with the program's name first, with which this program (`/proc/self/exe`) is executed at the end in
    /// the monitor's place: with the descriptors of `keep`, and the connections of the clients, which see the end of file
    /// when that program is gone. Empty: the monitor just ends.
    pub then: Vec<OsString>,
    /// After what time SIGKILL ends the container, unasked.
    pub time_limit: Option<Duration>,
    /// What looks after the container while it runs.
    pub check: Option<Check>,
}

impl Service {
    /// The words that follow [`VERB`]. They name descriptors by number: see [`Service::descriptors`].
    pub fn arguments(&self) -> Vec<OsString> {
        arguments::write(self)
    }

    /// Takes ownership of the descriptors that the words name, close-on-exec from then on. To be called once.
    pub fn from_arguments(words: impl IntoIterator<Item = OsString>) -> Result<Service, Error> {
        arguments::read(words)
    }

    /// Every descriptor that the words name: those that an exec has to keep.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.pidfd.as_fd(), self.listener.as_fd()];
        match &self.io {
            Io::Pipes { stdin, stdout, stderr } => {
                all.extend(stdin.as_ref().map(AsFd::as_fd));
                all.extend([stdout.as_fd(), stderr.as_fd()]);
            }
            Io::Terminal { outer } => all.push(outer.as_fd()),
        }
        all.extend(self.first_client.as_ref().map(AsFd::as_fd));
        all.extend(self.keep.iter().map(AsFd::as_fd));
        all
    }

    /// Executes this program (`/proc/self/exe`) as the monitor, in the place of the calling process: `name` and [`VERB`]
    /// are its first words. Of the descriptors from 3 on it gets those of the service alone. Returns only with the reason
    /// why that could not be; the descriptors of the service are not close-on-exec then.
    pub fn execute(
        &self,
        name: &OsStr,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Error {
        process::become_monitor(self, name, environment)
    }
}

/// The body of a program that was executed with [`VERB`]: serves by the words that follow it, then executes what
/// [`Service::then`] says, with `environment`. To be called before anything else; returns the exit code to end with if there
/// is nothing to execute, or if that failed.
pub fn run_service(
    words: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> i32 {
    let Ok(mut service) = Service::from_arguments(words) else { return FAILED };
    process::prepare();
    let then = std::mem::take(&mut service.then);
    let serve::Left { clients, held } = serve::serve(service);
    if then.is_empty() {
        return 0;
    }
    // There is nobody to tell why not: the record of the end is there, and who looks next does what is left to do.
    let _ = process::become_next(then, environment, &held, &clients);
    FAILED
}

/// The exit code of a failure of the monitor itself.
const FAILED: i32 = 125;
