//! Owns the copying between the caller's streams and the container's terminal. Must not wait: it says what it wants to
//! know and is told what is ready.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;

use crate::attach::{DetachKeys, Finder, Typed};
use crate::buffer::Buffer;
use crate::caller::{CallerTerminal, Job, copy_window_size};
use crate::end_of_input::EndOfInput;
use crate::error::{Error, Incidents, Operation};
use crate::stream::{Direction, Stream};

/// A pty hands out at most 4 KiB a read; a few of them fill a pipe without many turns.
const OUTPUT_BUFFER: usize = 16 * 1024;
const INPUT_BUFFER: usize = 4 * 1024;

/// More than a pty can hold (64 KiB of flip buffers, their slack, 4 KiB of line discipline): what is read beyond that
/// after the end of init was written after it, by a process of another pid namespace.
const MOST_AFTER_EXIT: usize = 256 * 1024;

/// How often a background job asks whether it is in the foreground now.
pub(crate) const LOOK_FOR_FOREGROUND: Duration = Duration::from_secs(1);

/// What is ready, or what should be waited for, on the three descriptors of a relay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Events {
    pub(crate) terminal: PollFlags,
    pub(crate) input: PollFlags,
    pub(crate) output: PollFlags,
}

impl Events {
    pub(crate) const NONE: Events =
        Events { terminal: PollFlags::empty(), input: PollFlags::empty(), output: PollFlags::empty() };
}

/// Whether the caller's terminal still exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// It does, or the caller has none.
    Up,
    /// It is gone, and with it whoever used the container.
    HungUp,
    /// The keys to leave the container were typed.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

/// The copying for one container.
pub(crate) struct Relay<'a> {
    terminal: OwnedFd,
    terminal_state: State,
    /// The container's end, held open so that reads of ours do not fail while no process in the container happens
    /// to have its terminal open: an init that reopens /dev/console for every message does so all the time.
    held_open: Option<OwnedFd>,
    input: Option<Stream<'a>>,
    output: Option<Stream<'a>>,
    /// The stream that knows the caller's window size.
    window: Option<BorrowedFd<'a>>,
    caller: Option<CallerTerminal<'a>>,
    to_container: Buffer,
    to_caller: Buffer,
    last_typed: Option<u8>,
    /// Looks for the keys by which the caller leaves.
    keys: Finder,
    /// There once the caller's input is over, and from the start where it is not read.
    end_of_input: Option<EndOfInput>,
    left_after_exit: usize,
}

impl<'a> Relay<'a> {
    pub(crate) fn new(
        terminal: OwnedFd,
        input: Option<BorrowedFd<'a>>,
        output: BorrowedFd<'a>,
        keys: &DetachKeys,
        incidents: &mut Incidents,
    ) -> Result<Relay<'a>, Error> {
        let prepared = rustix::fs::fcntl_getfl(&terminal)
            .and_then(|flags| rustix::fs::fcntl_setfl(&terminal, flags | OFlags::NONBLOCK));
        prepared.map_err(|errno| terminal_error(Operation::PrepareTerminal, errno))?;
        let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let input = input.map(|input| Stream::new(input, Direction::Input));
        let output = Stream::new(output, Direction::Output);
        let mut streams = std::iter::once(&output).chain(&input);
        let window = streams.find(|stream| stream.is_terminal()).map(Stream::given);
        let mut relay = Relay {
            // Best effort, and refused for a pty of another devpts than its path shows: then the terminal ends
            // for us when nobody in the container has it open any more.
            held_open: rustix::pty::ioctl_tiocgptpeer(&terminal, peer).ok(),
            terminal,
            terminal_state: State::Open,
            window,
            caller: input
                .as_ref()
                .filter(|input| input.is_terminal())
                .map(|input| CallerTerminal::new(input.given())),
            end_of_input: input.is_none().then(|| EndOfInput::behind(None)),
            input,
            output: Some(output),
            to_container: Buffer::with_size(INPUT_BUFFER),
            to_caller: Buffer::with_size(OUTPUT_BUFFER),
            last_typed: None,
            keys: keys.finder(),
            left_after_exit: MOST_AFTER_EXIT,
        };
        relay.look_at_caller(incidents);
        relay.resize(incidents);
        Ok(relay)
    }

    /// What to wait for: room in a buffer decides. A terminal whose output nobody takes is not read, so the container
    /// waits in its write as it would at any slow terminal.
    pub(crate) fn wanted(&self) -> Events {
        let mut wanted = Events::NONE;
        if self.terminal_state == State::Open {
            wanted.terminal.set(PollFlags::IN, self.to_caller.room_left() > 0);
            wanted.terminal.set(PollFlags::OUT, !self.to_container.is_empty());
        }
        let in_background = self.caller.as_ref().is_some_and(|caller| caller.job() == Job::Background);
        // Two bytes: the end of input may take as many; and so may the keys that turn out to be none to leave by.
        let needed = 2 + self.keys.length();
        let takes_input = self.input.is_some() && self.to_container.room_left() >= needed && !in_background;
        wanted.input.set(PollFlags::IN, takes_input);
        wanted.output.set(PollFlags::OUT, self.output.is_some() && !self.to_caller.is_empty());
        wanted
    }

    /// How long to wait at most.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let in_background = self.caller.as_ref().is_some_and(|caller| caller.job() == Job::Background);
        let end_of_input = self.end_of_input.as_ref().map(EndOfInput::timeout);
        in_background.then_some(LOOK_FOR_FOREGROUND).into_iter().chain(end_of_input).min()
    }

    pub(crate) fn terminal(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }

    pub(crate) fn input(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().map(Stream::descriptor)
    }

    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(Stream::descriptor)
    }

    /// Copies what is ready.
    pub(crate) fn copy(&mut self, ready: Events, incidents: &mut Incidents) -> Line {
        let failed = PollFlags::HUP | PollFlags::ERR;
        if self.caller.as_ref().is_some_and(|caller| caller.job() == Job::Background) {
            self.look_at_caller(incidents);
        }
        self.type_end_of_input();
        if ready.output.intersects(PollFlags::OUT | failed) {
            self.write_output(incidents);
        }
        if ready.terminal.intersects(PollFlags::IN | failed) && self.to_caller.room_left() > 0 {
            self.read_terminal(incidents);
        }
        if ready.terminal.intersects(PollFlags::OUT | failed) && !self.to_container.is_empty() {
            self.write_terminal(incidents);
        }
        if ready.input.intersects(PollFlags::IN | failed) { self.read_input(incidents) } else { Line::Up }
    }

    /// After SIGCONT, and where a background job should look again.
    pub(crate) fn look_at_caller(&mut self, incidents: &mut Incidents) {
        let Some(caller) = &mut self.caller else { return };
        let before = caller.job();
        incidents.note(caller.take());
        if before == Job::Background && caller.job() == Job::Foreground {
            // SIGWINCH goes to the foreground only, so we may have missed one.
            self.resize(incidents);
        }
    }

    /// After SIGWINCH.
    pub(crate) fn resize(&mut self, incidents: &mut Incidents) {
        let Some(window) = self.window else { return };
        match copy_window_size(window, self.terminal.as_fd()) {
            Err(error) if error.cause == Errno::IO => {}
            result => incidents.note(result),
        }
    }

    /// Init has ended: no more input, and output up to what there is.
    pub(crate) fn begin_to_drain(&mut self) {
        self.input = None;
        self.end_of_input = None;
        self.to_container.clear();
        self.held_open = None;
        // It may have been opened again since it was found closed by all.
        self.terminal_state = State::Open;
    }

    /// Reads on until the buffer is full or the terminal has no more. Answers whether all is read and written.
    ///
    /// Every process of the container's pid namespace is dead before its init can be waited for, so the terminal
    /// says EIO after the last byte. EAGAIN instead means that a process outside that namespace (`--pid=host`) has it
    /// open: the kernel flushes what is on its way before it says so, so all that init wrote has been read then.
    pub(crate) fn drain(&mut self, incidents: &mut Incidents) -> bool {
        while self.terminal_state == State::Open && self.to_caller.room_left() > 0 {
            match self.read_terminal(incidents) {
                0 => self.terminal_state = State::Ended,
                count => {
                    self.left_after_exit = self.left_after_exit.saturating_sub(count);
                    if self.left_after_exit == 0 {
                        self.terminal_state = State::Ended;
                    }
                }
            }
        }
        self.terminal_state == State::Ended && self.to_caller.is_empty()
    }

    /// Tells the container's foreground job that its terminal is about to go. The kernel tells the session's leader
    /// alone; a shell that is pid 1 does not hear it, and would wait for its job for ever.
    pub(crate) fn hang_up(&self) {
        if let Ok(group) = rustix::termios::tcgetpgrp(&self.terminal) {
            // It may have ended by now: then the shell reads the end of its terminal next.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::HUP);
        }
    }

    /// Gives the caller's terminal back, and the container's to whoever is to hold it.
    pub(crate) fn leave(mut self) -> Result<OwnedFd, Error> {
        self.caller.as_mut().map_or(Ok(()), CallerTerminal::give_back)?;
        rustix::fs::fcntl_getfl(&self.terminal)
            .and_then(|flags| rustix::fs::fcntl_setfl(&self.terminal, flags - OFlags::NONBLOCK))
            .map_err(|errno| terminal_error(Operation::PrepareTerminal, errno))?;
        Ok(self.terminal)
    }

    /// Gives the caller's terminal back, with the error if that fails.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.caller.as_mut().map_or(Ok(()), CallerTerminal::give_back)
    }

    /// Reads once and answers how many bytes came.
    fn read_terminal(&mut self, incidents: &mut Incidents) -> usize {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.terminal, self.to_caller.room())) {
            Ok(count @ 1..) => {
                self.to_caller.filled(count);
                if self.output.is_none() {
                    self.to_caller.clear();
                }
                return count;
            }
            Err(Errno::AGAIN) => {}
            // Nobody in the container has it open, and nobody can open it again.
            Ok(_) | Err(Errno::IO) => self.terminal_state = State::Ended,
            Err(errno) => {
                self.terminal_state = State::Ended;
                incidents.note(Err(terminal_error(Operation::ReadTerminal, errno)));
            }
        }
        0
    }

    fn write_terminal(&mut self, incidents: &mut Incidents) {
        match rustix::io::write(&self.terminal, self.to_container.pending()) {
            Ok(count) => self.to_container.written(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                self.input = None;
                self.to_container.clear();
                if errno != Errno::IO {
                    incidents.note(Err(terminal_error(Operation::WriteTerminal, errno)));
                }
            }
        }
    }

    fn write_output(&mut self, incidents: &mut Incidents) {
        let Some(output) = &self.output else { return };
        match output.write(self.to_caller.pending()) {
            Ok(count) => self.to_caller.written(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                // From here on output is read and dropped: a reader that left is no reason to stop the container
                // in its next write.
                self.output = None;
                self.to_caller.clear();
                if !matches!(errno, Errno::PIPE | Errno::CONNRESET | Errno::IO) {
                    incidents.note(Err(Error::new(Operation::WriteOutput, "standard output", errno)));
                }
            }
        }
    }

    fn read_input(&mut self, incidents: &mut Incidents) -> Line {
        let Some(input) = &self.input else { return Line::Up };
        let room = self.to_container.room();
        let most = room.len().saturating_sub(self.keys.length());
        match input.read(&mut room[..most]) {
            Ok(count @ 1..) => {
                let line = match self.keys.length() {
                    0 => {
                        self.to_container.filled(count);
                        Line::Up
                    }
                    _ => {
                        let (typed, mut input) = (room[..count].to_vec(), Vec::with_capacity(count));
                        let found = self.keys.find(&typed, &mut input);
                        input.into_iter().for_each(|byte| self.to_container.push(byte));
                        if found == Typed::Keys { Line::Left } else { Line::Up }
                    }
                };
                self.last_typed = self.to_container.pending().last().copied();
                return line;
            }
            Err(Errno::AGAIN | Errno::INTR) => return Line::Up,
            Err(errno) if errno != Errno::IO => {
                self.input = None;
                incidents.note(Err(Error::new(Operation::ReadInput, "standard input", errno)));
                return Line::Up;
            }
            Ok(_) | Err(_) => {}
        }
        match &self.caller {
            Some(caller) if caller.is_hung_up() => {
                self.input = None;
                Line::HungUp
            }
            Some(_) => {
                // Either another job has the terminal now (EIO), or it is not raw and Ctrl-D was typed.
                self.look_at_caller(incidents);
                Line::Up
            }
            None => {
                self.input = None;
                let mut kept_back = Vec::new();
                self.keys.give_back(&mut kept_back);
                kept_back.into_iter().for_each(|byte| self.to_container.push(byte));
                self.end_of_input = Some(EndOfInput::behind(self.last_typed));
                self.type_end_of_input();
                Line::Up
            }
        }
    }

    /// The end of an input that is no terminal, so that `echo 'ls' | …` ends. docker refuses such an input together with
    /// a terminal; that is for the command line to decide, not for here.
    fn type_end_of_input(&mut self) {
        let Some(end) = &mut self.end_of_input else { return };
        if self.terminal_state == State::Ended || !self.to_container.is_empty() {
            return;
        }
        let keys = end.keys(self.terminal.as_fd(), self.held_open.as_ref().map(AsFd::as_fd));
        keys.into_iter().flatten().for_each(|key| self.to_container.push(key));
    }
}

fn terminal_error(operation: Operation, errno: Errno) -> Error {
    Error::new(operation, "the container's terminal", errno)
}
