//! Owns the loop of a client: the caller's terminal, signals and streams on one side, the connection on the other. Must not
//! lose what came before the end.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::Signal;

use super::keys::{Finder, Typed};
use super::{Attached, Attachment, Departure, Reaction, Role, Terminal, converse_error};
use crate::buffer::Buffer;
use crate::caller::{CallerTerminal, Job};
use crate::error::{Error, Incidents, Operation, errno_of};
use crate::protocol::{self, MOST_INPUT, MOST_OUTPUT};
use crate::relay::LOOK_FOR_FOREGROUND;
use crate::signals::{Treatment, asks_to_end, treatment};
use crate::stream::{Direction, Stream};

/// Whether input is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputState {
    Open,
    /// It has ended, which the monitor has to be told.
    Ended,
    /// It is not read, or the monitor knows of its end.
    Closed,
}

pub(super) struct Client<'a> {
    attachment: Attachment<'a>,
    input: Option<Stream<'a>>,
    input_state: InputState,
    output: Sink<'a>,
    error: Sink<'a>,
    /// The stream that knows the caller's window size.
    window: Option<BorrowedFd<'a>>,
    caller: Option<CallerTerminal<'a>>,
    finder: Finder,
    /// What the monitor has not taken.
    typed: Vec<u8>,
    /// Whether it is to be told the size of the window.
    resize: bool,
    message: Box<[u8]>,
    lost: u64,
    departure: Option<Departure>,
    incidents: Incidents,
}

/// Where output goes.
struct Sink<'a> {
    name: &'static str,
    stream: Option<Stream<'a>>,
    waiting: Buffer,
}

/// What is ready.
struct Ready {
    signals: bool,
    connection: PollFlags,
    input: bool,
    output: bool,
    error: bool,
}

impl<'a> Client<'a> {
    pub(super) fn new(attachment: Attachment<'a>) -> Client<'a> {
        let input = attachment.input.map(|input| Stream::new(input, Direction::Input));
        let output = Sink::new("standard output", attachment.output);
        let error = Sink::new("standard error", attachment.error);
        let has_terminal = attachment.terminal == Terminal::OfItsOwn;
        let mut streams = output.stream.iter().chain(&input).filter(|_| has_terminal);
        let window = streams.find(|stream| stream.is_terminal()).map(Stream::given);
        let typed_at = input.as_ref().filter(|input| has_terminal && input.is_terminal());
        let finder = match has_terminal {
            true => attachment.detach_keys.finder(),
            false => super::DetachKeys::NONE.finder(),
        };
        Client {
            caller: typed_at.map(|input| CallerTerminal::new(input.given())),
            input_state: if input.is_some() { InputState::Open } else { InputState::Closed },
            input,
            output,
            error,
            resize: window.is_some(),
            window,
            finder,
            typed: Vec::new(),
            message: vec![0; MOST_OUTPUT + 1].into_boxed_slice(),
            lost: 0,
            departure: None,
            incidents: Incidents::default(),
            attachment,
        }
    }

    pub(super) fn run(mut self) -> Result<Attached, Error> {
        self.greet()?;
        self.look_at_caller();
        // What came before the end is shown, and a slow output waited for.
        while self.departure.is_none() || self.output.waits() || self.error.waits() {
            let ready = self.wait()?;
            if ready.signals {
                self.take_signals()?;
            }
            if self.caller.as_ref().is_some_and(|caller| caller.job() == Job::Background) {
                self.look_at_caller();
            }
            if ready.output {
                self.output.write(&mut self.incidents);
            }
            if ready.error {
                self.error.write(&mut self.incidents);
            }
            if ready.input {
                self.read_input();
            }
            if !ready.connection.is_empty() && self.departure.is_none() {
                self.converse(ready.connection)?;
            }
            if matches!(self.departure, Some(Departure::Detached | Departure::Signalled(_))) {
                break;
            }
        }
        let given_back = self.caller.as_mut().map_or(Ok(()), CallerTerminal::give_back);
        self.incidents.note(given_back);
        let departure = self.departure.unwrap_or(Departure::ConnectionLost);
        Ok(Attached { departure, lost: self.lost, incidents: self.incidents.into_errors() })
    }

    fn greet(&mut self) -> Result<(), Error> {
        let mut wants = 0;
        for (is_wanted, bit) in [
            (self.input.is_some(), protocol::WANTS_INPUT),
            (self.output.stream.is_some(), protocol::WANTS_OUTPUT),
            (self.error.stream.is_some(), protocol::WANTS_ERROR),
            (self.attachment.role == Role::First, protocol::WANTS_ALL),
        ] {
            wants |= if is_wanted { bit } else { 0 };
        }
        match protocol::send(self.attachment.connection, protocol::HELLO, &[wants]) {
            // A monitor that has ended may have said how.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(errno) => return Err(converse_error(errno)),
        }
        if self.attachment.role == Role::Later && self.resize {
            // A program that has drawn its window before does it again where the size changes, so it is another one first.
            self.send_size(1);
        }
        Ok(())
    }

    fn take_signals(&mut self) -> Result<(), Error> {
        loop {
            let received =
                self.attachment.signals.read().map_err(|error| {
                    Error::new(Operation::ReceiveSignal, "the container", errno_of(&error))
                })?;
            let Some(received) = received else { return Ok(()) };
            let treatment = treatment(received.signal);
            match treatment {
                Treatment::Resize => self.resize = self.window.is_some(),
                Treatment::ForwardAndResume => self.look_at_caller(),
                Treatment::Forward | Treatment::Ignore => {}
            }
            if asks_to_end(received.signal) && matches!(self.departure, Some(Departure::Exited { .. })) {
                // There is no container to go to any more: it means the wait for a slow output.
                self.output.give_up();
                self.error.give_up();
            } else if matches!(treatment, Treatment::Forward | Treatment::ForwardAndResume)
                && (self.attachment.on_signal)(received.signal) == Reaction::Leave
                && self.departure.is_none()
            {
                self.departure = Some(Departure::Signalled(received.signal));
            }
        }
    }

    /// After SIGCONT, at the start, and where a background job should look again.
    fn look_at_caller(&mut self) {
        let Some(caller) = &mut self.caller else { return };
        let before = caller.job();
        self.incidents.note(caller.take());
        if before == Job::Background && caller.job() == Job::Foreground {
            // SIGWINCH goes to the foreground only, so we may have missed one.
            self.resize = self.window.is_some();
        }
    }

    fn read_input(&mut self) {
        let Some(input) = &self.input else { return };
        let mut bytes = [0; MOST_INPUT / 4];
        match input.read(&mut bytes) {
            Ok(count @ 1..) => {
                if self.finder.find(&bytes[..count], &mut self.typed) == Typed::Keys {
                    self.leave(Departure::Detached);
                }
                return;
            }
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(errno) if errno != Errno::IO => {
                self.input_state = InputState::Ended;
                let error = Error::new(Operation::ReadInput, "standard input", errno);
                self.incidents.note(Err(error));
                return;
            }
            Ok(_) | Err(_) => {}
        }
        match &self.caller {
            Some(caller) if caller.is_hung_up() => self.leave(Departure::Signalled(Signal::HUP.as_raw())),
            // Either another job has the terminal now (EIO), or it is not raw and Ctrl-D was typed.
            Some(_) => self.look_at_caller(),
            None => {
                self.finder.give_back(&mut self.typed);
                self.input_state = InputState::Ended;
            }
        }
    }

    /// What was typed before goes along, if the monitor takes it at once.
    fn leave(&mut self, departure: Departure) {
        self.send_typed();
        self.departure = Some(departure);
    }

    fn converse(&mut self, ready: PollFlags) -> Result<(), Error> {
        if ready.contains(PollFlags::OUT) {
            self.speak();
        }
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) && self.has_room() {
            self.listen()?;
        }
        Ok(())
    }

    /// Sends what there is to say. Where the monitor is gone, the next reading tells.
    fn speak(&mut self) {
        if self.resize {
            self.resize = false;
            self.send_size(0);
        }
        self.send_typed();
        if self.input_state == InputState::Ended
            && self.typed.is_empty()
            && !self.is_full(protocol::send(self.attachment.connection, protocol::INPUT_END, &[]))
        {
            self.input_state = InputState::Closed;
        }
    }

    fn send_typed(&mut self) {
        while !self.typed.is_empty() {
            let count = self.typed.len().min(MOST_INPUT);
            let sent = protocol::send(self.attachment.connection, protocol::INPUT, &self.typed[..count]);
            if self.is_full(sent) {
                return;
            }
            self.typed.drain(..count);
        }
    }

    /// Sends the window's size, with so many rows more than it has.
    fn send_size(&mut self, more: u16) {
        let Some(size) = self.window.and_then(|window| rustix::termios::tcgetwinsize(window).ok()) else {
            return;
        };
        if size.ws_row == 0 || size.ws_col == 0 {
            return;
        }
        let (rows, columns) = (size.ws_row.saturating_add(more).to_le_bytes(), size.ws_col.to_le_bytes());
        let message = [rows[0], rows[1], columns[0], columns[1]];
        if self.is_full(protocol::send(self.attachment.connection, protocol::RESIZE, &message)) {
            self.resize = true;
        }
    }

    fn is_full(&self, sent: Result<(), Errno>) -> bool {
        sent.is_err_and(protocol::is_full)
    }

    /// Reads one message.
    fn listen(&mut self) -> Result<(), Error> {
        let received = recv(self.attachment.connection, &mut *self.message, RecvFlags::DONTWAIT);
        let count = match received {
            Ok((_, count)) => count,
            // A monitor that left something unread is told of before what it said last.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNRESET) => return Ok(()),
            Err(errno) => return Err(converse_error(errno)),
        };
        match &self.message[..count] {
            [] => self.departure = Some(Departure::ConnectionLost),
            [protocol::OUTPUT, bytes @ ..] => self.output.put(bytes),
            [protocol::ERROR, bytes @ ..] => self.error.put(bytes),
            [protocol::LOST, bytes @ ..] => {
                self.lost += bytes.try_into().map_or(0, u64::from_le_bytes);
            }
            [protocol::EXIT, a, b, c, d, flags] => {
                let code = i32::from_le_bytes([*a, *b, *c, *d]);
                let is_known = flags & protocol::EXIT_UNKNOWN == 0;
                let time_was_up = flags & protocol::EXIT_TIME_WAS_UP != 0;
                self.departure = Some(Departure::Exited { code: is_known.then_some(code), time_was_up });
            }
            // Of a newer monitor.
            _ => {}
        }
        Ok(())
    }

    /// Whether a whole message could be kept, whichever stream it is of.
    fn has_room(&self) -> bool {
        !self.output.waits() && !self.error.waits()
    }

    fn wait(&self) -> Result<Ready, Error> {
        let in_background = self.caller.as_ref().is_some_and(|caller| caller.job() == Job::Background);
        let has_left = self.departure.is_some();
        let reads =
            self.input_state == InputState::Open && self.typed.is_empty() && !in_background && !has_left;
        let mut conversation = PollFlags::empty();
        conversation.set(PollFlags::IN, self.has_room());
        let has_to_speak = self.resize || !self.typed.is_empty() || self.input_state == InputState::Ended;
        conversation.set(PollFlags::OUT, has_to_speak);
        let mut watched = Vec::with_capacity(5);
        // A descriptor of which nothing is wanted stays out: it would report a hang-up for ever.
        let mut add = |descriptor: Option<_>, flags: PollFlags| {
            let descriptor = descriptor.filter(|_| !flags.is_empty())?;
            watched.push(PollFd::from_borrowed_fd(descriptor, flags));
            Some(watched.len() - 1)
        };
        let signals = add(Some(self.attachment.signals.descriptor()), PollFlags::IN);
        let connection = add(Some(self.attachment.connection).filter(|_| !has_left), conversation);
        let input = add(self.input.as_ref().filter(|_| reads).map(Stream::descriptor), PollFlags::IN);
        let output = add(self.output.descriptor(), PollFlags::OUT);
        let error = add(self.error.descriptor(), PollFlags::OUT);
        let timeout = in_background.then(|| Timespec::try_from(LOOK_FOR_FOREGROUND).ok()).flatten();
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new(Operation::Wait, "the container", errno)),
        }
        let flags =
            |index: Option<usize>| index.map_or(PollFlags::empty(), |index: usize| watched[index].revents());
        Ok(Ready {
            signals: !flags(signals).is_empty(),
            connection: flags(connection),
            input: !flags(input).is_empty(),
            output: !flags(output).is_empty(),
            error: !flags(error).is_empty(),
        })
    }
}

impl<'a> Sink<'a> {
    fn new(name: &'static str, given: Option<BorrowedFd<'a>>) -> Sink<'a> {
        let stream = given.map(|given| Stream::new(given, Direction::Output));
        let size = if stream.is_some() { MOST_OUTPUT } else { 0 };
        Sink { name, stream, waiting: Buffer::with_size(size) }
    }

    fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What to wait for, if something waits to be written.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().filter(|_| self.waits()).map(Stream::descriptor)
    }

    /// Takes what came; nothing waits then.
    fn put(&mut self, bytes: &[u8]) {
        if self.stream.is_none() {
            return;
        }
        let bytes = &bytes[..bytes.len().min(MOST_OUTPUT)];
        self.waiting.room()[..bytes.len()].copy_from_slice(bytes);
        self.waiting.filled(bytes.len());
    }

    fn give_up(&mut self) {
        self.stream = None;
        self.waiting.clear();
    }

    fn write(&mut self, incidents: &mut Incidents) {
        let Some(stream) = &self.stream else { return };
        match stream.write(self.waiting.pending()) {
            Ok(count) => self.waiting.written(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                // From here on output is read and dropped: a reader that left is no reason to leave the container.
                self.give_up();
                if !matches!(errno, Errno::PIPE | Errno::CONNRESET | Errno::IO) {
                    incidents.note(Err(Error::new(Operation::WriteOutput, self.name, errno)));
                }
            }
        }
    }
}
