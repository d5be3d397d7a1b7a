//! Owns what is of the monitor's own process: how it becomes one, how it keeps out of everybody's way, and what it executes
//! at its end. Must not know what it does in between.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::exec::CStringArray;

use crate::error::{Error, Operation, errno_of};
use crate::service::{Service, VERB};

const PROGRAM: &std::ffi::CStr = c"/proc/self/exe";

pub(super) fn become_monitor(
    service: &Service,
    name: &OsStr,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Error {
    let mut words = vec![name.to_owned(), VERB.into()];
    words.extend(service.arguments());
    execute(words, environment, service.descriptors())
}

pub(super) fn become_next(
    words: Vec<OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    keep: &[OwnedFd],
    clients: &[OwnedFd],
) -> Error {
    // What is ignored stays so over exec, and that is for the next program to decide.
    sys::signal::reset_dispositions();
    execute(words, environment, keep.iter().chain(clients).map(AsFd::as_fd))
}

/// Executes this program with `descriptors` and the standard streams.
fn execute<'a>(
    words: Vec<OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    descriptors: impl IntoIterator<Item = BorrowedFd<'a>>,
) -> Error {
    let failed = |errno| Error::new(Operation::Execute, "this program once more", errno);
    let words: Option<Vec<CString>> = words.into_iter().map(c_string).collect();
    let environment: Option<Vec<CString>> = environment.into_iter().map(variable).collect();
    let (Some(words), Some(environment)) = (words, environment) else { return failed(Errno::INVAL) };
    if let Err(error) = sys::fd::close_on_exec_from(3) {
        return failed(errno_of(&error));
    }
    for descriptor in descriptors {
        if let Err(error) = sys::fd::keep_on_exec(descriptor.as_raw_fd()) {
            return failed(errno_of(&error));
        }
    }
    let error = sys::exec::execve(PROGRAM, &CStringArray::new(words), &CStringArray::new(environment), None);
    failed(errno_of(&error))
}

fn c_string(word: OsString) -> Option<CString> {
    CString::new(word.into_vec()).ok()
}

fn variable((name, value): (OsString, OsString)) -> Option<CString> {
    let mut entry = name;
    entry.push("=");
    entry.push(value);
    c_string(entry)
}

/// Nothing of who started it is held, and nothing that is sent to all processes of a session or a unit ends it: SIGKILL
/// alone does, and leaves the container running where that has no terminal. Whatever of this fails is no reason not to
/// stand behind the container.
pub(super) fn prepare() {
    // A name is for people alone; 15 bytes.
    let _ = rustix::thread::set_name(c"rabbitc-monitor");
    sys::signal::ignore_all();
    sys::signal::unblock_all();
    let _ = rustix::process::chdir("/");
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        for number in 0..3 {
            let _ = sys::fd::place(null.as_fd(), number);
        }
    }
}
