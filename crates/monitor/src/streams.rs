//! Owns the container's side of its standard streams, pipes or a terminal: what it wrote, what is typed for it. Must never wait
//! for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::{Errno, ioctl_fionbio};
use rustix::pty::OpenptFlags;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::buffer::Buffer;
use crate::end_of_input::EndOfInput;
use crate::error::{Error, Incidents, Operation};
use crate::log::LogStream;
use crate::protocol::MOST_INPUT;

/// More than a pty can hold (64 KiB of flip buffers, their slack, 4 KiB of line discipline): what is read beyond that after
/// the end of init was written after it, by a process of another pid namespace.
const MOST_IN_TERMINAL: usize = 256 * 1024;

/// What connects the container with whoever stands behind it. Whatever it is, it is made non-blocking, so nobody else may read
/// from it.
#[derive(Debug)]
pub enum Io {
    /// FIFOs, which the container holds open for reading and writing: it outlives its monitor.
    Pipes {
        /// The end to write to; none where the container's input is `/dev/null`.
        stdin: Option<OwnedFd>,
        /// The end to read from.
        stdout: OwnedFd,
        /// The end to read from.
        stderr: OwnedFd,
    },
    /// The container has a terminal of its own.
    Terminal {
        /// The controlling end of its pty (`/dev/ptmx`).
        outer: OwnedFd,
    },
}

/// What the end of a client's input means to a container; docker's `StdinOnce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InputEnd {
    /// The container's input ends with it: `run -i`. Without a terminal also with a client that had input and is gone.
    #[default]
    Closes,
    /// Nothing: another client may come. `create -i`, `run -d -i`.
    KeptOpen,
}

pub(crate) struct Streams {
    outputs: Vec<Output>,
    input: Input,
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

/// What input is written to.
enum Input {
    Pipe(OwnedFd),
    /// What its output is read from.
    Terminal,
    /// Nothing: the container takes none, or no more.
    Closed,
}

struct Terminal {
    /// The container's end, held open so that reads do not fail while no process in it happens to have its terminal open: an
    /// init that reopens /dev/console for every message does so all the time.
    held_open: Option<OwnedFd>,
    last_typed: Option<u8>,
    /// There once the input is over, and until somebody types again.
    end: Option<EndOfInput>,
}

impl Streams {
    pub(crate) fn new(io: Io, input_end: InputEnd, incidents: &mut Incidents) -> Streams {
        let output = |descriptor, stream| Output { descriptor, stream, state: State::Open };
        let (outputs, input, terminal) = match io {
            Io::Pipes { stdin, stdout, stderr } => {
                let outputs = vec![output(stdout, LogStream::Stdout), output(stderr, LogStream::Stderr)];
                (outputs, stdin.map_or(Input::Closed, Input::Pipe), None)
            }
            Io::Terminal { outer } => {
                let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                // Best effort, and refused for a pty of another devpts than its path shows: then the terminal ends for us
                // when nobody in the container has it open any more.
                let held_open = rustix::pty::ioctl_tiocgptpeer(&outer, peer).ok();
                let terminal = Terminal { held_open, last_typed: None, end: None };
                (vec![output(outer, LogStream::Stdout)], Input::Terminal, Some(terminal))
            }
        };
        let to_container = Buffer::with_size(MOST_INPUT);
        let streams = Streams { outputs, input, to_container, input_end, terminal };
        let outputs = streams.outputs.iter().map(|output| output.descriptor.as_fd());
        for descriptor in outputs.chain(streams.typed_to()) {
            incidents.note(ioctl_fionbio(descriptor, true).map_err(prepare_error));
        }
        streams
    }

    /// The controlling end of the container's terminal, if it has one.
    pub(crate) fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().and(self.outputs.first()).map(|output| output.descriptor.as_fd())
    }

    /// Hands the controlling end to whoever is to hold it next: blocking, as it was.
    pub(crate) fn into_terminal(self) -> Option<Result<OwnedFd, Error>> {
        self.terminal?;
        let outer = self.outputs.into_iter().next()?.descriptor;
        Some(ioctl_fionbio(&outer, false).map(|()| outer).map_err(prepare_error))
    }

    fn typed_to(&self) -> Option<BorrowedFd<'_>> {
        match &self.input {
            Input::Pipe(pipe) => Some(pipe.as_fd()),
            Input::Terminal => self.terminal(),
            Input::Closed => None,
        }
    }

    /// How many streams it writes, whether they are open or not.
    pub(crate) fn count(&self) -> usize {
        self.outputs.len()
    }

    /// What to read from, unless it has ended.
    pub(crate) fn output(&self, index: usize) -> Option<BorrowedFd<'_>> {
        let output = self.outputs.get(index).filter(|output| output.state == State::Open)?;
        Some(output.descriptor.as_fd())
    }

    /// What to write to, if something waits to be written.
    pub(crate) fn input(&self) -> Option<BorrowedFd<'_>> {
        self.typed_to().filter(|_| !self.to_container.is_empty())
    }

    /// Whether the container takes any input.
    pub(crate) fn has_input(&self) -> bool {
        !matches!(self.input, Input::Closed)
    }

    /// Where a client's message may be put, if there is room for a whole one.
    pub(crate) fn room_for_input(&mut self) -> Option<&mut [u8]> {
        self.takes_input().then(|| self.to_container.room())
    }

    pub(crate) fn takes_input(&self) -> bool {
        self.to_container.is_empty()
    }

    /// How long to wait at most.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let end = self.terminal.as_ref().and_then(|terminal| terminal.end.as_ref());
        end.filter(|_| self.has_input() && self.to_container.is_empty()).map(EndOfInput::timeout)
    }

    /// Reads once; answers which stream it was and how many bytes came: 0 where there are none now, or will be none.
    pub(crate) fn read(
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
                incidents.note(Err(Error::new(Operation::ReadContainer, "the container's output", errno)));
                0
            }
        };
        (output.stream, count)
    }

    /// Types as much as there is room for: all of it, if it is no longer than a client's message.
    pub(crate) fn type_some(&mut self, typed: &mut Vec<u8>, incidents: &mut Incidents) {
        let Some(room) = self.room_for_input() else { return };
        let count = typed.len().min(room.len());
        room[..count].copy_from_slice(&typed[..count]);
        typed.drain(..count);
        self.type_input(count, incidents);
    }

    /// So many bytes were put into the room for input.
    pub(crate) fn type_input(&mut self, count: usize, incidents: &mut Incidents) {
        if !self.has_input() || count == 0 {
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
    pub(crate) fn end_input(&mut self) {
        match (&mut self.terminal, self.input_end) {
            (_, InputEnd::KeptOpen) => {}
            (Some(terminal), InputEnd::Closes) => {
                terminal.end = Some(EndOfInput::behind(terminal.last_typed));
            }
            // Whatever was typed before has been written: only then is the next message taken.
            (None, InputEnd::Closes) => self.input = Input::Closed,
        }
    }

    /// A client that had input is gone. At a terminal that means nothing: it was detached, or its line was cut.
    pub(crate) fn leave_input(&mut self) {
        if self.terminal.is_none() {
            self.end_input();
        }
    }

    /// Types the end of input into a terminal, where that is due.
    pub(crate) fn type_end_of_input(&mut self, incidents: &mut Incidents) {
        let (Some(terminal), Input::Terminal, [output]) = (&mut self.terminal, &self.input, &*self.outputs)
        else {
            return;
        };
        let Some(end) = terminal.end.as_mut().filter(|_| self.to_container.is_empty()) else { return };
        let keys = end.keys(output.descriptor.as_fd(), terminal.held_open.as_ref().map(AsFd::as_fd));
        keys.into_iter().flatten().for_each(|key| self.to_container.push(key));
        self.write(incidents);
    }

    /// Writes what waits, as much as goes.
    pub(crate) fn write(&mut self, incidents: &mut Incidents) {
        let Some(input) = self.input() else { return };
        match rustix::io::write(input, self.to_container.pending()) {
            Ok(count) => self.to_container.written(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                self.input = Input::Closed;
                self.to_container.clear();
                // It has closed its input, or its terminal is gone.
                if !matches!(errno, Errno::PIPE | Errno::IO) {
                    incidents.note(Err(Error::new(
                        Operation::WriteContainer,
                        "the container's input",
                        errno,
                    )));
                }
            }
        }
    }

    /// Gives the terminal a size; one that is not known (0) changes nothing.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let Some(terminal) = self.terminal().filter(|_| rows > 0 && columns > 0) else { return };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // A terminal that is gone has no size.
        let _ = tcsetwinsize(terminal, size);
    }

    /// Init has ended: no more input, and output up to what there is, of which this is a bound for each stream.
    pub(crate) fn begin_to_drain(&mut self) -> usize {
        self.input = Input::Closed;
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

fn prepare_error(errno: Errno) -> Error {
    Error::new(Operation::PrepareTerminal, "the container's standard streams", errno)
}
