//! `cp`: files from and into containers, as archives through a pipe. The container's end of it is a process of its own, which has the
//! container's root as its working directory and is root of the container's users; it enters nothing else, so that no program of the
//! container sees it. Every path inside is walked by the kernel within that root (openat2(2), `RESOLVE_IN_ROOT`), so that links lead
//! where they lead in the container.

mod apart;
mod ends;
mod ground;
mod place;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ::image::unpack::{LeftOut, Owners, Replaces};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use self::apart::Apart;
pub use self::apart::{copy_apart, is_copy_verb};
use self::ends::{Header, Taking, receive, send, send_stream};
use self::place::Place;
use super::Found;
use crate::container::Notice;
use crate::error::{Error, Result};

/// One end of a copy.
#[derive(Debug)]
pub enum CopyEnd {
    /// A path of the caller's.
    Host(PathBuf),
    /// A path of a container; one that does not begin with `/` begins at its root.
    Container(Box<Found>, String),
    /// An archive on a stream of the caller's.
    Stream,
}

/// How a copy is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyRequest {
    /// Whether a link is followed that is to be copied itself.
    pub follow: bool,
    /// Whether what comes into a container belongs to the user of its program, whomever it belonged to.
    pub owned: bool,
    /// Whether directories and other things may take each other's place.
    pub overwrite: bool,
}

impl CopyRequest {
    fn replaces(self) -> Replaces {
        if self.overwrite { Replaces::Anything } else { Replaces::Alike }
    }
}

/// Copies; `input` and `output` are the caller's streams. What a person should know comes back.
pub fn copy(
    from: &CopyEnd,
    to: &CopyEnd,
    request: CopyRequest,
    (input, output): (&mut dyn Read, &mut dyn Write),
) -> Result<Vec<Notice>> {
    let copied = match (from, to) {
        (CopyEnd::Container(found, path), CopyEnd::Stream) => {
            let mut source = Apart::source(found, path, request)?;
            let taken = Header::read(&mut source.data()?).and_then(|_| {
                let copied = std::io::copy(&mut source.data()?, output).and_then(|_| output.flush());
                copied.map(|()| LeftOut::default()).map_err(stream_failed)
            });
            joined(source.end(), taken)
        }
        (CopyEnd::Container(found, path), CopyEnd::Host(to)) => {
            // Before this process is another user's.
            let is_root = rustix::process::geteuid().is_root();
            let mut source = Apart::source(found, path, request)?;
            let owners = if is_root { Owners::Named } else { Owners::Unpackers };
            let taking = Taking { owner: None, owners, replaces: request.replaces() };
            let taken = source
                .data()
                .and_then(|mut data| receive(&Place::Host, to.as_os_str().as_bytes(), &mut data, taking));
            joined(source.end(), taken)
        }
        (CopyEnd::Container(found, path), CopyEnd::Container(other, to)) => {
            let mut source = Apart::source(found, path, request)?;
            let sink = Apart::sink_behind(other, to, request, source.take_data()?)?;
            let taken = sink.end();
            joined(source.end(), taken)
        }
        (CopyEnd::Host(from), CopyEnd::Container(found, path)) => {
            let mut sink = Apart::sink(found, path, request)?;
            let sent = sink.take_data().and_then(|data| {
                let from = from.as_os_str();
                send(&Place::Host, from.as_bytes(), None, request.follow, &mut std::fs::File::from(data))
            });
            joined(sent, sink.end())
        }
        (CopyEnd::Stream, CopyEnd::Container(found, path)) => {
            let mut sink = Apart::sink(found, path, request)?;
            let sent = sink.take_data().and_then(|data| send_stream(input, &mut std::fs::File::from(data)));
            joined(sent, sink.end())
        }
        (CopyEnd::Host(_) | CopyEnd::Stream, CopyEnd::Host(_) | CopyEnd::Stream) => {
            let error = Error::invalid("rabbitc cp", "must specify at least one container source".to_owned());
            Err(error.with_hint("write CONTAINER:PATH for one of both"))
        }
    };
    if copied.is_ok() {
        for (end, action) in [(from, "archive-path"), (to, "extract-to-dir")] {
            if let CopyEnd::Container(found, path) = end {
                found.tell_with(action, [("path", path.clone())]);
            }
        }
    }
    copied.map(notices)
}

/// What became of both ends. One that could send no more was left by the other, which tells why; of any other failure the taker
/// knows only that nothing more came.
fn joined<T>(sent: Result<T>, taken: Result<LeftOut>) -> Result<LeftOut> {
    match (sent, taken) {
        (Ok(_), taken) => taken,
        (Err(error), Err(reason)) if error.errno == Some(Errno::PIPE.raw_os_error()) => Err(reason),
        (Err(error), _) => Err(error),
    }
}

fn stream_failed(error: std::io::Error) -> Error {
    Error::system("copy the archive", error)
}

fn notices(left_out: LeftOut) -> Vec<Notice> {
    let mut notices = Vec::new();
    if left_out.devices > 0 {
        notices.push(Notice {
            what: format!("{} devices were left out: nobody may make them here", left_out.devices),
            remedy: None,
        });
    }
    notices
}

/// A path as it is shown.
fn shown(path: &[u8]) -> String {
    OsStr::from_bytes(path).to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_ends_that_have_failed_the_one_tells_why_that_did_so_first() {
        let left = || Err(Error::system("send what is copied", Errno::PIPE));
        let broken = || Err(Error::system("read the file", Errno::IO));
        let refused = || Err(Error::invalid("copy to `/x`", "no such directory".to_owned()));
        let told =
            |sent: Result<()>, taken: Result<LeftOut>| joined(sent, taken).map_err(|error| error.operation);
        assert_eq!(told(left(), refused()), Err("copy to `/x`".to_owned()));
        assert_eq!(told(broken(), refused()), Err("read the file".to_owned()));
        assert_eq!(told(broken(), Ok(LeftOut::default())), Err("read the file".to_owned()));
        assert_eq!(told(left(), Ok(LeftOut::default())), Err("send what is copied".to_owned()));
        assert_eq!(told(Ok(()), refused()), Err("copy to `/x`".to_owned()));
        assert_eq!(told(Ok(()), Ok(LeftOut::default())), Ok(LeftOut::default()));
    }
}
