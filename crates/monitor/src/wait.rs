//! Owns one wait for several descriptors. Must not know what they are.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What is waited for, and then what of it is ready.
pub(crate) struct Wait<'a> {
    watched: Vec<PollFd<'a>>,
}

/// One of the descriptors, if it is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(Option<usize>);

impl<'a> Wait<'a> {
    /// For about so many.
    pub(crate) fn for_some(count: usize) -> Wait<'a> {
        Wait { watched: Vec::with_capacity(count) }
    }

    /// A descriptor of which nothing is wanted stays out: it would report a hang-up for ever.
    pub(crate) fn add(&mut self, descriptor: Option<BorrowedFd<'a>>, wanted: PollFlags) -> Place {
        let descriptor = descriptor.filter(|_| !wanted.is_empty());
        Place(descriptor.map(|descriptor| {
            self.watched.push(PollFd::from_borrowed_fd(descriptor, wanted));
            self.watched.len() - 1
        }))
    }

    /// Until one is ready, a signal comes or time is up; how many are ready.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> Result<usize, Errno> {
        // A limit that is longer than the kernel can say is none.
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        match poll(&mut self.watched, limit.as_ref()) {
            Err(Errno::INTR) => Ok(0),
            ready => ready,
        }
    }

    pub(crate) fn flags(&self, place: Place) -> PollFlags {
        place.0.map_or(PollFlags::empty(), |index| self.watched[index].revents())
    }

    pub(crate) fn is_ready(&self, place: Place) -> bool {
        !self.flags(place).is_empty()
    }
}
