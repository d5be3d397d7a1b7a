//! Owns how a program at a terminal is told that the caller's input is over, again and again as long as it reads. Must
//! not write: it answers with the keys to type (docs/decisions/0033-end-of-input-at-a-terminal.md).

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};

/// A program that waits for input shall not wait long for its end, and one that never reads shall cost nothing.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Ctrl-D, as line editors know it.
const CONTROL_D: u8 = 4;

/// How the terminal hands over what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// In lines, and the end of input is a character of its own.
    Lines,
    /// Key by key: the program has to know what Ctrl-D means.
    Keys,
}

/// The end of an input that is no terminal.
///
/// It is typed as a person would. One character is not enough: it ends one read, and is lost where the program
/// changes the terminal's mode before that, as every shell with a line editor does at its start.
#[derive(Debug)]
pub(crate) struct EndOfInput {
    /// Whether the last line that was typed lacks its end.
    unfinished: bool,
    next_look: Instant,
    pause: Duration,
    typed_in: Option<Mode>,
}

impl EndOfInput {
    /// Looks at once.
    pub(crate) fn behind(last_typed: Option<u8>) -> EndOfInput {
        EndOfInput {
            unfinished: last_typed.is_some_and(|byte| byte != b'\n' && byte != b'\r'),
            next_look: Instant::now(),
            pause: SHORTEST_PAUSE,
            typed_in: None,
        }
    }

    /// How long it is till the next look.
    pub(crate) fn timeout(&self) -> Duration {
        self.next_look.saturating_duration_since(Instant::now())
    }

    /// What is to be typed now: nothing while the program has not read what there is. `inner` is the container's end of
    /// `terminal`.
    pub(crate) fn keys(
        &mut self,
        terminal: BorrowedFd<'_>,
        inner: Option<BorrowedFd<'_>>,
    ) -> [Option<u8>; 2] {
        let now = Instant::now();
        if now < self.next_look {
            return [None; 2];
        }
        self.next_look = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let Ok(settings) = tcgetattr(terminal) else { return [None; 2] };
        let (mode, end) = match settings.local_modes.contains(LocalModes::ICANON) {
            true => (Mode::Lines, settings.special_codes[SpecialCodeIndex::VEOF]),
            false => (Mode::Keys, CONTROL_D),
        };
        let again = match inner {
            Some(inner) => !has_unread(inner),
            // Not to be known: then only a change tells that the last one may have been lost.
            None => self.typed_in != Some(mode),
        };
        // A program may turn the character off.
        if end == 0 || self.typed_in.is_some() && !again {
            return [None; 2];
        }
        if self.typed_in == Some(Mode::Lines) && mode == Mode::Lines {
            // It was read with the end that was typed behind it.
            self.unfinished = false;
        }
        self.typed_in = Some(mode);
        match (self.unfinished, mode) {
            (false, _) => [Some(end), None],
            // Typed behind an unfinished line, the character only hands that line over.
            (true, Mode::Lines) => [Some(end), Some(end)],
            // A line editor would not take it there at all.
            (true, Mode::Keys) => {
                self.unfinished = false;
                [Some(b'\r'), Some(end)]
            }
        }
    }
}

fn has_unread(inner: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(inner, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // An end that waits to be read counts as input.
    poll(&mut watched, Some(&at_once)).is_ok_and(|_| watched[0].revents().contains(PollFlags::IN))
}
