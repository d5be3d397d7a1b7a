//! Owns the container's side of its standard streams: what it wrote, what is typed for it. Must never wait for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::buffer::Buffer;
use crate::end_of_input::EndOfInput;
use crate::error::{Error, Incidents, Operation};
use crate::logs::LogStream;
use crate::protocol::MOST_INPUT;
use crate::service::{InputEnd, Io};

/// More than a pty can hold (64 KiB of flip buffers, their slack, 4 KiB of line discipline): what is read beyond that after
/// the end of init was written after it, by a process of another pid namespace.
const MOST_IN_TERMINAL: usize = 256 * 1024;

pub(super) struct Streams {
    outputs: Vec<Output>,
    /// What input is written to; none once the container takes no more.
    input: Option<OwnedFd>,
    to_container: Buffer,
    input_end: InputEnd,
    terminal: Option<Terminal>,
}

struct Output {
    descriptor: OwnedFd,
    stream: LogStream,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

struct Terminal {
    /// The container's end, held open so that reads do not fail while no process in it happens to have its terminal open.
    held_open: Option<OwnedFd>,
    last_typed: Option<u8>,
    /// There once a client's input is over, and until another one types.
    end: Option<EndOfInput>,
}

impl Streams {
    pub(super) fn new(io: Io, input_end: InputEnd, incidents: &mut Incidents) -> Streams {
        let output = |descriptor, stream| Output { descriptor, stream, state: State::Open };
        let (outputs, input, terminal) = match io {
            Io::Pipes { stdin, stdout, stderr } => {
                (vec![output(stdout, LogStream::Stdout), output(stderr, LogStream::Stderr)], stdin, None)
            }
            Io::Terminal { outer } => {
                let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                // Best effort, and refused for a pty of another devpts than its path shows.
                let held_open = rustix::pty::ioctl_tiocgptpeer(&outer, peer).ok();
                let input = rustix::io::fcntl_dupfd_cloexec(&outer, 3);
                incidents.note(input.as_ref().map(drop).map_err(|errno| {
                    Error::new(Operation::PrepareTerminal, "the container's terminal", *errno)
                }));
                let terminal = Terminal { held_open, last_typed: None, end: None };
                (vec![output(outer, LogStream::Stdout)], input.ok(), Some(terminal))
            }
        };
        let descriptors = outputs.iter().map(|output| output.descriptor.as_fd());
        for descriptor in descriptors.chain(input.as_ref().map(AsFd::as_fd)) {
            let set = rustix::fs::fcntl_getfl(descriptor)
                .and_then(|flags| rustix::fs::fcntl_setfl(descriptor, flags | OFlags::NONBLOCK));
            incidents.note(set.map_err(|errno| {
                Error::new(Operation::PrepareTerminal, "the container's standard streams", errno)
            }));
        }
        Streams { outputs, input, to_container: Buffer::with_size(MOST_INPUT), input_end, terminal }
    }

    /// How many streams it writes, whether they are open or not.
    pub(super) fn count(&self) -> usize {
        self.outputs.len()
    }

    /// What to read from, unless it has ended.
    pub(super) fn output(&self, index: usize) -> Option<BorrowedFd<'_>> {
        let output = self.outputs.get(index).filter(|output| output.state == State::Open)?;
        Some(output.descriptor.as_fd())
    }

    /// What to write to, if something waits to be written.
    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.to_container.is_empty()).map(AsFd::as_fd)
    }

    /// Where a client's message may be put, if there is room for a whole one.
    pub(super) fn room_for_input(&mut self) -> Option<&mut [u8]> {
        self.takes_input().then(|| self.to_container.room())
    }

    pub(super) fn takes_input(&self) -> bool {
        self.to_container.is_empty()
    }

    /// How long to wait at most.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let end = self.terminal.as_ref().and_then(|terminal| terminal.end.as_ref());
        end.filter(|_| self.input.is_some() && self.to_container.is_empty()).map(EndOfInput::timeout)
    }

    /// Reads once; answers which stream it was and how many bytes came: 0 where there are none now, or will be none.
    pub(super) fn read(
        &mut self,
        index: usize,
        room: &mut [u8],
        incidents: &mut Incidents,
    ) -> (LogStream, usize) {
        let output = &mut self.outputs[index];
        let count = match rustix::io::retry_on_intr(|| rustix::io::read(&output.descriptor, &mut *room)) {
            Ok(count @ 1..) => count,
            Err(Errno::AGAIN) => 0,
            // Nobody in the container has it open, and nobody can open it again.
            Ok(_) | Err(Errno::IO) => {
                output.state = State::Ended;
                0
            }
            Err(errno) => {
                output.state = State::Ended;
                incidents.note(Err(Error::new(Operation::ReadPipe, "the container's output", errno)));
                0
            }
        };
        (output.stream, count)
    }

    /// So many bytes were put into the room for input.
    pub(super) fn type_input(&mut self, count: usize, incidents: &mut Incidents) {
        if self.input.is_none() {
            return;
        }
        self.to_container.filled(count);
        if let Some(terminal) = &mut self.terminal {
            terminal.last_typed = self.to_container.pending().last().copied();
            terminal.end = None;
        }
        self.write(incidents);
    }

    /// A client has no more input.
    pub(super) fn end_input(&mut self) {
        match (&mut self.terminal, self.input_end) {
            (_, InputEnd::KeptOpen) => {}
            (Some(terminal), InputEnd::Closes) => {
                terminal.end = Some(EndOfInput::behind(terminal.last_typed));
            }
            // Whatever was typed before has been written: only then is the next message taken.
            (None, InputEnd::Closes) => self.input = None,
        }
    }

    /// A client that had input is gone. At a terminal that means nothing: it was detached, or its line was cut.
    pub(super) fn leave_input(&mut self) {
        if self.terminal.is_none() {
            self.end_input();
        }
    }

    /// Types the end of input into a terminal, where that is due.
    pub(super) fn type_end_of_input(&mut self, incidents: &mut Incidents) {
        let (Some(terminal), Some(input)) = (&mut self.terminal, &self.input) else { return };
        let Some(end) = terminal.end.as_mut().filter(|_| self.to_container.is_empty()) else { return };
        let keys = end.keys(input.as_fd(), terminal.held_open.as_ref().map(AsFd::as_fd));
        keys.into_iter().flatten().for_each(|key| self.to_container.push(key));
        self.write(incidents);
    }

    /// Writes what waits, as much as goes.
    pub(super) fn write(&mut self, incidents: &mut Incidents) {
        let Some(input) = self.input.as_ref().filter(|_| !self.to_container.is_empty()) else { return };
        match rustix::io::write(input, self.to_container.pending()) {
            Ok(count) => self.to_container.written(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                self.input = None;
                self.to_container.clear();
                // It has closed its input, or its terminal is gone.
                if !matches!(errno, Errno::PIPE | Errno::IO) {
                    incidents.note(Err(Error::new(Operation::WritePipe, "the container's input", errno)));
                }
            }
        }
    }

    /// Gives the terminal a size; one that is not known (0) changes nothing.
    pub(super) fn resize(&self, rows: u16, columns: u16) {
        let (Some(_), Some(terminal)) = (&self.terminal, self.outputs.first()) else { return };
        if rows > 0 && columns > 0 {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            // A terminal that is gone has no size.
            let _ = tcsetwinsize(&terminal.descriptor, size);
        }
    }

    /// Init has ended: no more input, and output up to what there is, of which this is a bound for each stream.
    pub(super) fn begin_to_drain(&mut self) -> usize {
        self.input = None;
        self.to_container.clear();
        let in_terminal = self.terminal.take().map(|_| MOST_IN_TERMINAL);
        for output in &mut self.outputs {
            // A terminal may have been opened again since it was found closed by all.
            output.state = State::Open;
        }
        let in_pipes = self
            .outputs
            .iter()
            .map(|output| rustix::pipe::fcntl_getpipe_size(&output.descriptor).unwrap_or(MOST_IN_TERMINAL));
        in_terminal.or_else(|| in_pipes.max()).unwrap_or_default()
    }
}
