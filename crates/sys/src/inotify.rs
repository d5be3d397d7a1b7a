//! Waiting for changes that the kernel tells of (inotify(7)), where whoever waits looks for itself what has changed.

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::Reader;
use rustix::io::Errno;

/// Returns when something has changed, or the time is over; what was told is read, and forgotten.
pub fn wait(watch: BorrowedFd<'_>, limit: Duration) -> Result<(), Errno> {
    let limit = Timespec::try_from(limit).ok();
    match poll(&mut [PollFd::from_borrowed_fd(watch, PollFlags::IN)], limit.as_ref()) {
        Ok(0) | Err(Errno::INTR) => return Ok(()),
        Ok(_) => {}
        Err(errno) => return Err(errno),
    }
    let mut room = [const { MaybeUninit::uninit() }; 4096];
    let mut reader = Reader::new(watch, &mut room);
    loop {
        match reader.next() {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}
