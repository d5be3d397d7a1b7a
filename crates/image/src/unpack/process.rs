//! The process that unpacks one layer: a program of its own, which gives away all that it does not need before it reads a byte
//! of the archive.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};
use sys::mount::{Attributes, Reach, propagation};
use sys::seccomp::Instruction;

use super::{Devices, Limits, Options, Unpacked, Whiteouts, layer};
use crate::error::{Error, Kind, Result};

/// The most bytes of an answer.
const MOST_ANSWER: u64 = 64 << 10;

/// What such a process says at its end.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Unpacked(Unpacked),
    Failed(Error),
}

/// Unpacks what comes on standard input into the directory that standard error is, and answers on standard output. For a
/// process that has just begun, and does nothing else.
pub fn serve(whiteouts: Whiteouts) -> i32 {
    let answer = match unpack(whiteouts) {
        Ok(unpacked) => Answer::Unpacked(unpacked),
        Err(error) => Answer::Failed(error),
    };
    let text = serde_json::to_vec(&answer).expect("only string keys");
    i32::from(std::io::stdout().write_all(&text).is_err())
}

/// Reads the answer of such a process to its end; `operation` is what an error begins with where there is none.
pub fn answer(output: impl Read, operation: &str) -> Result<Unpacked> {
    let mut text = Vec::new();
    let read = output.take(MOST_ANSWER).read_to_end(&mut text);
    read.map_err(|error| Error::system(operation, error))?;
    match serde_json::from_slice(&text) {
        Ok(Answer::Unpacked(unpacked)) => Ok(unpacked),
        Ok(Answer::Failed(error)) => Err(error),
        Err(_) => {
            Err(Error::new(Kind::System, operation, "the process that unpacks it ended without a word"))
        }
    }
}

fn unpack(whiteouts: Whiteouts) -> Result<Unpacked> {
    let failed = |what: &str, error: std::io::Error| {
        Error::system(format!("confine what unpacks a layer: {what}"), error)
    };
    let tree = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3);
    let tree = tree.map_err(|error| failed("its directory", error.into()))?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let null = null.map_err(|error| failed("open `/dev/null`", error.into()))?;
    rustix::stdio::dup2_stderr(null).map_err(|error| failed("its streams", error.into()))?;
    let tree = enclose(tree).map_err(|error| failed("its root", error))?;
    disarm(whiteouts).map_err(|error| failed("its rights", error))?;
    // Read without a buffer of the standard library's, which would be one more copy.
    let archive = File::from(
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
            .map_err(|error| failed("its streams", error.into()))?,
    );
    layer(archive, tree.as_fd(), &Options { whiteouts, devices: Devices::Made, limits: Limits::default() })
}

/// Makes the directory all that there is: a mount namespace in which it is the root, without the host's network.
fn enclose(tree: OwnedFd) -> std::io::Result<OwnedFd> {
    use sys::clone::flags::{NEWIPC, NEWNET, NEWNS, NEWUTS};
    // While it is a mount of this namespace.
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(&tree, c"", clone)?;
    drop(tree);
    // As a copy of a shared mount it would be one of those, and no root may be.
    let private = Attributes { set: 0, clear: 0, propagation: propagation::PRIVATE };
    sys::mount::set_attributes(mount.as_fd(), private, Reach::Mount)?;
    sys::namespace::unshare(NEWNS | NEWNET | NEWIPC | NEWUTS)?;
    sys::mount::change(c"/", propagation::PRIVATE | propagation::REC)?;
    rustix::mount::move_mount(&mount, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    rustix::process::fchdir(&mount)?;
    sys::mount::pivot_root_here()?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::fs::openat(CWD, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP (capabilities(7)).
const RIGHTS: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 27 | 1 << 31;
/// CAP_SYS_ADMIN, which trusted.* attributes take.
const OF_TRUSTED: u64 = 1 << 21;

/// Leaves the rights that entries of an archive take, and the calls.
fn disarm(whiteouts: Whiteouts) -> std::io::Result<()> {
    let limit = |resource, most| {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(resource, limit)
    };
    limit(Resource::Nofile, 64)?;
    limit(Resource::Core, 0)?;
    let kept = if whiteouts == Whiteouts::Trusted { RIGHTS | OF_TRUSTED } else { RIGHTS };
    for number in (0..64).filter(|number| kept & (1 << number) == 0) {
        if sys::process::knows_capability(number) {
            sys::process::drop_from_bounding_set(number)?;
        }
    }
    // Whoever was started with less keeps less.
    let own = rustix::thread::capabilities(None)?.permitted.bits() & kept;
    sys::process::set_capabilities(own, own, 0)?;
    rustix::thread::set_no_new_privs(true)?;
    sys::seccomp::install(&filter(), 0).map(drop)
}

/// A filter by which calls end the process that no archive has a use for: with them, an error in what reads the archive would
/// be a way out of here.
fn filter() -> Vec<Instruction> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const KILL: u32 = 0x8000_0000;
    const ALLOW: u32 = 0x7fff_0000;
    let [refused, architecture] = [sys::seccomp::ESCAPES, &[sys::seccomp::ARCHITECTURE]];
    let step = |code, jt, jf, k| Instruction { code, jt, jf, k };
    // The architecture first: numbers mean something else on another (seccomp(2)).
    let mut program = vec![
        step(LOAD, 0, 0, 4),
        step(JUMP_IF_EQUAL, 1, 0, architecture[0]),
        step(RETURN, 0, 0, KILL),
        step(LOAD, 0, 0, 0),
        // Numbers of x32, which are those of the same calls.
        step(JUMP_IF_AT_LEAST, 0, 1, 0x4000_0000),
        step(RETURN, 0, 0, KILL),
    ];
    for number in refused {
        program.extend([step(JUMP_IF_EQUAL, 0, 1, *number), step(RETURN, 0, 0, KILL)]);
    }
    program.push(step(RETURN, 0, 0, ALLOW));
    program
}
