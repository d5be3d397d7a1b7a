//! Owns what the caller types: where it comes from, whose turn it is on that terminal, and the keys to leave by. Must not know
//! where it goes.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;

use crate::attach::Terminal;
use crate::caller::{CallerTerminal, Job};
use crate::error::{Error, Incidents, Operation};
use crate::keys::{DetachKeys, Finder, Typed};
use crate::stream::{Direction, Stream};

/// How often a background job asks whether it is in the foreground now.
const LOOK_FOR_FOREGROUND: Duration = Duration::from_secs(1);

/// How much is read at once.
const MOST: usize = 4 * 1024;

/// What a reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Input for the container, or nothing.
    Input,
    /// The keys to leave it, at the end of the input.
    Keys,
    /// There is no more to come.
    End,
    /// The caller's terminal is gone, and with it whoever used the container.
    HangUp,
    /// It is this job's turn again, see [`Typist::look`].
    Turn,
}

/// Whether it is this job's turn on the caller's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// As before.
    Same,
    /// It is now. SIGWINCH goes to the foreground only, so one may have been missed.
    Ours,
}

pub(crate) struct Typist<'a> {
    /// None once it has ended, or where it is not read.
    input: Option<Stream<'a>>,
    /// Its terminal, where it is one and the container has one too.
    caller: Option<CallerTerminal<'a>>,
    /// The stream that knows the caller's window size.
    window: Option<BorrowedFd<'a>>,
    finder: Finder,
}

impl<'a> Typist<'a> {
    /// For a container with or without a `terminal`; without one, bytes alone are copied. Touches nothing yet: see
    /// [`Typist::look`].
    pub(crate) fn new(
        input: Option<BorrowedFd<'a>>,
        output: Option<&Stream<'a>>,
        terminal: Terminal,
        keys: &DetachKeys,
    ) -> Typist<'a> {
        let input = input.map(|input| Stream::new(input, Direction::Input));
        if terminal == Terminal::None {
            return Typist { input, caller: None, window: None, finder: DetachKeys::NONE.finder() };
        }
        let is_terminal = |stream: &&Stream<'a>| stream.is_terminal();
        let window = output.into_iter().chain(&input).find(is_terminal).map(Stream::given);
        let caller = input.as_ref().filter(is_terminal).map(|input| CallerTerminal::new(input.given()));
        Typist { input, caller, window, finder: keys.finder() }
    }

    pub(crate) fn window(&self) -> Option<BorrowedFd<'a>> {
        self.window
    }

    /// What to read from, if there is more to come and it is this job's turn.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.is_in_background()).map(Stream::descriptor)
    }

    /// Whether another job has the caller's terminal.
    pub(crate) fn is_in_background(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.job() == Job::Background)
    }

    /// How long to wait at most.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.is_in_background().then_some(LOOK_FOR_FOREGROUND)
    }

    /// At the start, after SIGCONT, and where a background job should look again.
    pub(crate) fn look(&mut self, incidents: &mut Incidents) -> Turn {
        let Some(caller) = &mut self.caller else { return Turn::Same };
        let before = caller.job();
        incidents.note(caller.take());
        match (before, caller.job()) {
            (Job::Background, Job::Foreground) => Turn::Ours,
            _ => Turn::Same,
        }
    }

    /// Reads once, and appends to `typed` what of it is for the container.
    pub(crate) fn read(&mut self, typed: &mut Vec<u8>, incidents: &mut Incidents) -> Heard {
        let Some(input) = &self.input else { return Heard::Input };
        let mut bytes = [0; MOST];
        match input.read(&mut bytes) {
            Ok(count @ 1..) => match self.finder.find(&bytes[..count], typed) {
                Typed::Input => return Heard::Input,
                Typed::Keys => return Heard::Keys,
            },
            Err(Errno::AGAIN | Errno::INTR) => return Heard::Input,
            Err(errno) if errno != Errno::IO => {
                incidents.note(Err(Error::new(Operation::ReadInput, "standard input", errno)));
            }
            Ok(_) | Err(_) => match &self.caller {
                Some(caller) if caller.is_hung_up() => {
                    self.input = None;
                    return Heard::HangUp;
                }
                // Either another job has the terminal now (EIO), or it is not raw and Ctrl-D was typed.
                Some(_) => {
                    return if self.look(incidents) == Turn::Ours { Heard::Turn } else { Heard::Input };
                }
                None => {}
            },
        }
        self.input = None;
        self.finder.give_back(typed);
        Heard::End
    }

    /// Gives the caller's terminal back.
    pub(crate) fn give_back(&mut self) -> Result<(), Error> {
        self.caller.as_mut().map_or(Ok(()), CallerTerminal::give_back)
    }
}
