//! Owns the loop of a client: the caller's terminal, signals and streams on one side, the connection on the other. Must not
//! lose what came before the end.

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::Signal;

use super::{Attached, Attachment, Departure, Reaction, Role, converse_error};
use crate::error::{Error, Incidents, Operation, errno_of};
use crate::protocol::{self, MOST_INPUT, MOST_OUTPUT};
use crate::signals::{Treatment, asks_to_end, treatment};
use crate::sink::Sink;
use crate::typist::{Heard, Turn, Typist};
use crate::wait::Wait;

/// What the monitor has to be told of the end of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputEnd {
    Nothing,
    /// That there is no more.
    Untold,
}

pub(super) struct Client<'a> {
    attachment: Attachment<'a>,
    typist: Typist<'a>,
    output: Sink<'a>,
    error: Sink<'a>,
    /// What the monitor has not taken.
    typed: Vec<u8>,
    input_end: InputEnd,
    /// Whether it is to be told the size of the window.
    resize: bool,
    message: Box<[u8]>,
    lost: u64,
    departure: Option<Departure>,
    incidents: Incidents,
}

/// Whether a message has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// It has, or the monitor is gone.
    Done,
    /// There was no room for it.
    Held,
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
        let output = Sink::new("standard output", attachment.output, MOST_OUTPUT);
        let error = Sink::new("standard error", attachment.error, MOST_OUTPUT);
        let typist =
            Typist::new(attachment.input, output.stream(), attachment.terminal, &attachment.detach_keys);
        Client {
            resize: typist.window().is_some(),
            typist,
            output,
            error,
            typed: Vec::new(),
            input_end: InputEnd::Nothing,
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
            if self.typist.is_in_background() {
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
        self.incidents.note(self.typist.give_back());
        let departure = self.departure.unwrap_or(Departure::ConnectionLost);
        Ok(Attached { departure, lost: self.lost, incidents: self.incidents.into_errors() })
    }

    fn greet(&mut self) -> Result<(), Error> {
        let mut wants = 0;
        for (is_wanted, bit) in [
            (self.attachment.input.is_some(), protocol::WANTS_INPUT),
            (self.attachment.output.is_some(), protocol::WANTS_OUTPUT),
            (self.attachment.error.is_some(), protocol::WANTS_ERROR),
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
                Treatment::Resize => self.resize = self.typist.window().is_some(),
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
        if self.typist.look(&mut self.incidents) == Turn::Ours {
            self.resize = self.typist.window().is_some();
        }
    }

    fn read_input(&mut self) {
        match self.typist.read(&mut self.typed, &mut self.incidents) {
            Heard::Input => {}
            Heard::Turn => self.resize = self.typist.window().is_some(),
            Heard::Keys => self.leave(Departure::Detached),
            Heard::HangUp => self.leave(Departure::Signalled(Signal::HUP.as_raw())),
            Heard::End => self.input_end = InputEnd::Untold,
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
        if self.input_end == InputEnd::Untold
            && self.typed.is_empty()
            && self.send(protocol::INPUT_END, &[]) == Delivery::Done
        {
            self.input_end = InputEnd::Nothing;
        }
    }

    fn send_typed(&mut self) {
        while !self.typed.is_empty() {
            let count = self.typed.len().min(MOST_INPUT);
            if self.send(protocol::INPUT, &self.typed[..count]) == Delivery::Held {
                return;
            }
            self.typed.drain(..count);
        }
    }

    /// Sends the window's size, with so many rows more than it has.
    fn send_size(&mut self, more: u16) {
        let Some(size) = self.typist.window().and_then(|window| rustix::termios::tcgetwinsize(window).ok())
        else {
            return;
        };
        if size.ws_row == 0 || size.ws_col == 0 {
            return;
        }
        let (rows, columns) = (size.ws_row.saturating_add(more).to_le_bytes(), size.ws_col.to_le_bytes());
        let message = [rows[0], rows[1], columns[0], columns[1]];
        if self.send(protocol::RESIZE, &message) == Delivery::Held {
            self.resize = true;
        }
    }

    fn send(&self, kind: u8, bytes: &[u8]) -> Delivery {
        match protocol::send(self.attachment.connection, kind, bytes) {
            Err(errno) if protocol::is_full(errno) => Delivery::Held,
            _ => Delivery::Done,
        }
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
        let has_left = self.departure.is_some();
        let mut conversation = PollFlags::empty();
        conversation.set(PollFlags::IN, self.has_room());
        let has_to_speak = self.resize || !self.typed.is_empty() || self.input_end == InputEnd::Untold;
        conversation.set(PollFlags::OUT, has_to_speak);
        let mut wait = Wait::for_some(5);
        let signals = wait.add(Some(self.attachment.signals.descriptor()), PollFlags::IN);
        let connection = wait.add(Some(self.attachment.connection).filter(|_| !has_left), conversation);
        let typed = self.typist.descriptor().filter(|_| self.typed.is_empty() && !has_left);
        let input = wait.add(typed, PollFlags::IN);
        let output = wait.add(self.output.descriptor(), PollFlags::OUT);
        let error = wait.add(self.error.descriptor(), PollFlags::OUT);
        let failed = |errno| Error::new(Operation::Wait, "the container", errno);
        wait.wait(self.typist.timeout()).map_err(failed)?;
        Ok(Ready {
            signals: wait.is_ready(signals),
            connection: wait.flags(connection),
            input: wait.is_ready(input),
            output: wait.is_ready(output),
            error: wait.is_ready(error),
        })
    }
}
