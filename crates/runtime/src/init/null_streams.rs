//! The container's null device in the place of the host's, where a standard stream is that. Opens no other device.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::Context;
use super::failure::{Call, During, Outcome};
use super::mount::Digits;
use super::step::Target;
use super::way::Way;

/// `TMPFS_MAGIC` (statfs(2)).
const TMPFS: u64 = 0x0102_1994;

/// Whether it is the null device, anybody's.
pub(crate) fn is_null(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(file).is_ok_and(|status| {
        FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
            && status.st_rdev == rustix::fs::makedev(1, 3)
    })
}

/// A container that has no null device, or has another thing at its path, keeps the host's. `proc` is the host's procfs,
/// where `/proc` is no more.
pub(super) fn replace(context: &Context<'_>, target: &Target, proc: Option<BorrowedFd<'_>>) -> Outcome {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()].map(is_null);
    if streams == [false; 3] {
        return Ok(());
    }
    let Some(null) = open(context, target, proc) else { return Ok(()) };
    let [input, output, errors] = streams;
    if input {
        rustix::stdio::dup2_stdin(&null).during(Call::Dup)?;
    }
    if output {
        rustix::stdio::dup2_stdout(&null).during(Call::Dup)?;
    }
    if errors {
        rustix::stdio::dup2_stderr(&null).during(Call::Dup)?;
    }
    Ok(())
}

/// Opening is an act, so that it is looked at first: what the image or another container has put there may be any device.
fn open(context: &Context<'_>, target: &Target, proc: Option<BorrowedFd<'_>>) -> Option<OwnedFd> {
    let way = Way::to(context, target).ok()?;
    let found = way.open(OFlags::PATH).ok()?;
    if !is_null(found.as_fd()) {
        return None;
    }
    if target.anchor.is_some() && is_tmpfs(way.start) {
        // A directory of ours in memory, where nobody else is yet. What follows would take several times as long.
        return way.open(OFlags::RDWR).ok();
    }
    let number = found.as_raw_fd() as usize;
    let (from, mut link) = match proc {
        Some(proc) => (proc, Digits::after(b"self/fd/", number)),
        None => (CWD, Digits::after(b"/proc/self/fd/", number)),
    };
    rustix::fs::openat(from, link.c_str(), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn is_tmpfs(directory: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|found| found.f_type as u64 == TMPFS)
}
