//! Owns what waits for one of the caller's streams to take it. Must not wait itself.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::error::{Error, Incidents, Operation};
use crate::stream::{Direction, Stream};

/// Where output goes. Once that is gone, whatever comes is dropped: a reader that left is no reason to stop the container in
/// its next write.
pub(crate) struct Sink<'a> {
    name: &'static str,
    stream: Option<Stream<'a>>,
    waiting: Buffer,
}

impl<'a> Sink<'a> {
    /// With room for `size` bytes that wait; for none where nothing is `given`.
    pub(crate) fn new(name: &'static str, given: Option<BorrowedFd<'a>>, size: usize) -> Sink<'a> {
        let stream = given.map(|given| Stream::new(given, Direction::Output));
        let size = if stream.is_some() { size } else { 0 };
        Sink { name, stream, waiting: Buffer::with_size(size) }
    }

    pub(crate) fn stream(&self) -> Option<&Stream<'a>> {
        self.stream.as_ref()
    }

    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What to wait for, if something waits to be written.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().filter(|_| self.waits()).map(Stream::descriptor)
    }

    /// Where to put what comes: all the room there is.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.waiting.room()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting.room_left() > 0
    }

    /// Tells that the first `count` bytes of [`Sink::room`] have been filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.waiting.filled(count);
        if self.stream.is_none() {
            self.waiting.clear();
        }
    }

    /// Takes what came, as much of it as there is room for.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let room = self.room();
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.filled(count);
    }

    /// Nobody is waited for any more.
    pub(crate) fn give_up(&mut self) {
        self.stream = None;
        self.waiting.clear();
    }

    /// Writes once, as much as goes.
    pub(crate) fn write(&mut self, incidents: &mut Incidents) {
        let Some(stream) = &self.stream else { return };
        match stream.write(self.waiting.pending()) {
            Ok(count) => self.waiting.written(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                self.give_up();
                if !matches!(errno, Errno::PIPE | Errno::CONNRESET | Errno::IO) {
                    incidents.note(Err(Error::new(Operation::WriteOutput, self.name, errno)));
                }
            }
        }
    }
}
