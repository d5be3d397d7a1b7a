//! Owns the copying between the caller's streams and the container's terminal. Must not wait: it says what it wants to
//! know and is told what is ready.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::attach::Terminal;
use crate::caller::copy_window_size;
use crate::error::{Error, Incidents};
use crate::keys::DetachKeys;
use crate::sink::Sink;
use crate::streams::{InputEnd, Io, Streams};
use crate::typist::{Heard, Turn, Typist};
use crate::wait::{Place, Wait};

/// A pty hands out at most 4 KiB a read; a few of them fill a pipe without many turns.
const OUTPUT_BUFFER: usize = 16 * 1024;

/// The container's terminal is the one stream that it writes.
const TERMINAL: usize = 0;

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    terminal: Place,
    typed: Place,
    input: Place,
    output: Place,
}

/// What is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    terminal: bool,
    typed: bool,
    input: bool,
    pub(crate) output: bool,
}

impl Places {
    pub(crate) fn ready(&self, wait: &Wait<'_>) -> Ready {
        Ready {
            terminal: wait.is_ready(self.terminal),
            typed: wait.is_ready(self.typed),
            input: wait.is_ready(self.input),
            output: wait.is_ready(self.output),
        }
    }
}

/// Whether the caller is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is, or it has no terminal that could tell.
    Up,
    /// Its terminal is gone, and with it whoever used the container.
    HungUp,
    /// It has typed the keys to leave the container.
    Left,
}

/// The copying for one container.
pub(crate) struct Relay<'a> {
    container: Streams,
    typist: Typist<'a>,
    /// What the container has not taken.
    typed: Vec<u8>,
    output: Sink<'a>,
    /// Once init has ended: how much may be read yet.
    left: usize,
}

impl<'a> Relay<'a> {
    pub(crate) fn new(
        outer: OwnedFd,
        input: Option<BorrowedFd<'a>>,
        output: BorrowedFd<'a>,
        keys: &DetachKeys,
        incidents: &mut Incidents,
    ) -> Relay<'a> {
        let output = Sink::new("standard output", Some(output), OUTPUT_BUFFER);
        let mut relay = Relay {
            container: Streams::new(Io::Terminal { outer }, InputEnd::Closes, incidents),
            typist: Typist::new(input, output.stream(), Terminal::OfItsOwn, keys),
            typed: Vec::new(),
            output,
            left: 0,
        };
        if input.is_none() {
            relay.container.end_input();
        }
        relay.look_at_caller(incidents);
        relay.resize(incidents);
        relay
    }

    /// What to wait for: room in a buffer decides. A terminal whose output nobody takes is not read, so the container
    /// waits in its write as it would at any slow terminal.
    pub(crate) fn watch<'b>(&'b self, wait: &mut Wait<'b>) -> Places {
        let terminal = self.container.output(TERMINAL).filter(|_| self.output.has_room());
        let types = self.typed.is_empty() && self.container.has_input() && self.container.takes_input();
        Places {
            terminal: wait.add(terminal, PollFlags::IN),
            typed: wait.add(self.container.input(), PollFlags::OUT),
            input: wait.add(self.typist.descriptor().filter(|_| types), PollFlags::IN),
            output: self.watch_output(wait),
        }
    }

    /// The same once init has ended: the terminal is read by [`Relay::drain`], and input is over.
    pub(crate) fn watch_output<'b>(&'b self, wait: &mut Wait<'b>) -> Place {
        wait.add(self.output.descriptor(), PollFlags::OUT)
    }

    /// How long to wait at most.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.typist.timeout().into_iter().chain(self.container.timeout()).min()
    }

    /// Copies what is ready.
    pub(crate) fn copy(&mut self, ready: Ready, incidents: &mut Incidents) -> Line {
        if self.typist.is_in_background() {
            self.look_at_caller(incidents);
        }
        self.container.type_end_of_input(incidents);
        if ready.output {
            self.output.write(incidents);
        }
        if ready.terminal {
            self.read_terminal(incidents);
        }
        if ready.typed {
            self.container.write(incidents);
        }
        self.container.type_some(&mut self.typed, incidents);
        if ready.input { self.read_input(incidents) } else { Line::Up }
    }

    /// Writes what waits for the caller.
    pub(crate) fn write_output(&mut self, incidents: &mut Incidents) {
        self.output.write(incidents);
    }

    /// After SIGCONT, and where a background job should look again.
    pub(crate) fn look_at_caller(&mut self, incidents: &mut Incidents) {
        if self.typist.look(incidents) == Turn::Ours {
            self.resize(incidents);
        }
    }

    /// After SIGWINCH.
    pub(crate) fn resize(&mut self, incidents: &mut Incidents) {
        let (Some(window), Some(terminal)) = (self.typist.window(), self.container.terminal()) else {
            return;
        };
        match copy_window_size(window, terminal) {
            Err(error) if error.cause == Errno::IO => {}
            result => incidents.note(result),
        }
    }

    /// Init has ended: no more input, and output up to what there is.
    pub(crate) fn begin_to_drain(&mut self) {
        self.typed.clear();
        self.left = self.container.begin_to_drain();
    }

    /// Reads on until the buffer is full or the terminal has no more. Answers whether all is read and written.
    ///
    /// Every process of the container's pid namespace is dead before its init can be waited for, so the terminal
    /// says EIO after the last byte. EAGAIN instead means that a process outside that namespace (`--pid=host`) has it
    /// open: the kernel flushes what is on its way before it says so, so all that init wrote has been read then.
    pub(crate) fn drain(&mut self, incidents: &mut Incidents) -> bool {
        while self.left > 0 && self.output.has_room() {
            self.left = match self.read_terminal(incidents) {
                0 => 0,
                count => self.left.saturating_sub(count),
            };
        }
        self.left == 0 && !self.output.waits()
    }

    /// Whether there is anything to write.
    pub(crate) fn waits(&self) -> bool {
        self.output.waits()
    }

    /// Tells the container's foreground job that its terminal is about to go. The kernel tells the session's leader
    /// alone; a shell that is pid 1 does not hear it, and would wait for its job for ever.
    pub(crate) fn hang_up(&self) {
        if let Some(group) =
            self.container.terminal().and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok())
        {
            // It may have ended by now: then the shell reads the end of its terminal next.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::HUP);
        }
    }

    /// Gives the caller's terminal back, and the container's to whoever is to hold it.
    pub(crate) fn leave(mut self) -> Result<OwnedFd, Error> {
        self.typist.give_back()?;
        self.container.into_terminal().expect("it was made for one")
    }

    /// Gives the caller's terminal back, with the error if that fails.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.typist.give_back()
    }

    /// Reads once and answers how many bytes came.
    fn read_terminal(&mut self, incidents: &mut Incidents) -> usize {
        let (_, count) = self.container.read(TERMINAL, self.output.room(), incidents);
        self.output.filled(count);
        count
    }

    fn read_input(&mut self, incidents: &mut Incidents) -> Line {
        let heard = self.typist.read(&mut self.typed, incidents);
        // What was typed before the keys goes along too.
        self.container.type_some(&mut self.typed, incidents);
        match heard {
            Heard::Input => Line::Up,
            Heard::Turn => {
                self.resize(incidents);
                Line::Up
            }
            Heard::Keys => Line::Left,
            Heard::HangUp => Line::HungUp,
            // The end of an input that is no terminal, so that `echo 'ls' | …` ends. docker refuses such an input
            // together with a terminal; that is for the command line to decide, not for here.
            Heard::End => {
                self.container.end_input();
                self.container.type_end_of_input(incidents);
                Line::Up
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    use rustix::pty::{OpenptFlags, openpt, unlockpt};

    #[test]
    fn end_of_input_wakes_nobody_while_the_terminal_takes_no_more() {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&outer).unwrap();
        let (output, mut incidents) = (std::io::stderr(), Incidents::default());
        let mut relay = Relay::new(outer, None, output.as_fd(), &DetachKeys::NONE, &mut incidents);
        assert!(relay.timeout().is_some());
        // Nobody reads what is typed.
        while relay.container.takes_input() {
            relay.container.type_some(&mut b"line\n".repeat(1000), &mut incidents);
        }
        relay.container.end_input();
        assert_eq!(relay.timeout(), None);
        assert!(incidents.into_errors().is_empty());
    }
}
