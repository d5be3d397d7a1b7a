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

use self::apart::{Apart, Role};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyRequest {
    /// Whether a link is followed that is to be copied itself.
    pub follow: bool,
    /// Whether what comes into a container belongs to the user of its program, whomever it belonged to.
    pub owned: bool,
    /// Whether directories and other things may take each other's place.
    pub overwrite: bool,
}

/// Copies; `input` and `output` are the caller's streams. What a person should know comes back.
pub fn copy(
    from: &CopyEnd,
    to: &CopyEnd,
    request: CopyRequest,
    (input, output): (&mut dyn Read, &mut dyn Write),
) -> Result<Vec<Notice>> {
    let replaces = if request.overwrite { Replaces::Anything } else { Replaces::Alike };
    match (from, to) {
        (CopyEnd::Container(found, path), CopyEnd::Stream) => {
            let mut source = Apart::start(found, source_role(path, request))?;
            let copied = Header::read(&mut source.data()?)
                .and_then(|_| std::io::copy(&mut source.data()?, output).map_err(stream_failed).map(drop));
            source.end().and(copied)?;
            Ok(Vec::new())
        }
        (CopyEnd::Container(found, path), CopyEnd::Host(to)) => {
            // Before this process is another user's.
            let is_root = rustix::process::geteuid().is_root();
            let mut source = Apart::start(found, source_role(path, request))?;
            let taking = Taking {
                owner: None,
                owners: if is_root { Owners::Named } else { Owners::Unpackers },
                replaces,
            };
            let received = source
                .data()
                .and_then(|mut data| receive(&Place::Host, to.as_os_str().as_bytes(), &mut data, taking));
            // What failed at the beginning is why the end found nothing.
            source.end()?;
            received.map(notices)
        }
        (CopyEnd::Container(found, path), CopyEnd::Container(other, to)) => {
            let mut source = Apart::start(found, source_role(path, request))?;
            let sink = Apart::start_behind(other, Role::sink(to, request), source.take_data()?)?;
            let taken = sink.end();
            source.end()?;
            taken.map(notices)
        }
        (CopyEnd::Host(from), CopyEnd::Container(found, path)) => {
            let mut sink = Apart::start(found, Role::sink(path, request))?;
            let sent = sink.take_data().and_then(|data| {
                let from = from.as_os_str();
                send(&Place::Host, from.as_bytes(), request.follow, &mut std::fs::File::from(data))
            });
            both(sent, sink)
        }
        (CopyEnd::Stream, CopyEnd::Container(found, path)) => {
            let mut sink = Apart::start(found, Role::sink(path, request))?;
            let sent = sink.take_data().and_then(|data| send_stream(input, &mut std::fs::File::from(data)));
            both(sent, sink)
        }
        (CopyEnd::Host(_) | CopyEnd::Stream, CopyEnd::Host(_) | CopyEnd::Stream) => {
            let error = Error::invalid("rabbitc cp", "must specify at least one container source".to_owned());
            Err(error.with_hint("write CONTAINER:PATH for one of both"))
        }
    }
}

/// What became of a copy into a container: where its end has failed, that is why nothing more could be sent.
fn both(sent: Result<()>, sink: Apart) -> Result<Vec<Notice>> {
    match (sink.end(), sent) {
        (Ok(left_out), Ok(())) => Ok(notices(left_out)),
        // Nothing was sent, so that it found no beginning.
        (_, Err(error)) if error.errno != Some(rustix::io::Errno::PIPE.raw_os_error()) => Err(error),
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
    }
}

fn source_role(path: &str, request: CopyRequest) -> Role {
    Role::Source { path: path.to_owned(), follow: request.follow }
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
