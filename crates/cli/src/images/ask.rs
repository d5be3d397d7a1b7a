//! Asking on the terminal. Must not know for what.

use std::io::{BufRead, Write};
use std::os::fd::AsFd;

use engine::{Error, Result};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// What Ctrl-C types.
const INTERRUPT: u8 = 3;

/// Whether one sees what one types.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    Shown,
    Hidden,
}

/// Asks on the terminal, which standard input is.
pub(super) fn ask(question: &str, echo: Echo) -> Result<String> {
    let stdin = std::io::stdin();
    let operation = "ask on the terminal";
    let failed = |error: std::io::Error| Error::system(operation, error);
    let hidden = match echo {
        Echo::Shown => None,
        Echo::Hidden => Some(Hidden::new(&stdin).map_err(failed)?),
    };
    let mut stderr = std::io::stderr();
    stderr.write_all(question.as_bytes()).map_err(failed)?;
    let mut line = Vec::new();
    // With echo, Ctrl-C ends the command as ever.
    let is_end = |byte: &u8| matches!(byte, b'\n' | &INTERRUPT);
    let mut input = stdin.lock();
    while !line.last().is_some_and(is_end) {
        let available = input.fill_buf().map_err(failed)?;
        if available.is_empty() {
            break;
        }
        let count = available.iter().position(is_end).map_or(available.len(), |at| at + 1);
        line.extend_from_slice(&available[..count]);
        input.consume(count);
    }
    drop(hidden);
    if echo == Echo::Hidden {
        stderr.write_all(b"\n").map_err(failed)?;
    }
    if line.last() == Some(&INTERRUPT) {
        return Err(Error::invalid(operation, "it was interrupted".to_owned()));
    }
    let text =
        String::from_utf8(line).map_err(|_| Error::invalid(operation, "that is not UTF-8".to_owned()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that does not show what is typed. Ctrl-C ends the line instead of the command, so that nobody is left with a
/// terminal that stays so.
struct Hidden<'a> {
    terminal: &'a std::io::Stdin,
    before: Termios,
}

impl Hidden<'_> {
    fn new(terminal: &std::io::Stdin) -> std::io::Result<Hidden<'_>> {
        let before = tcgetattr(terminal.as_fd())?;
        let mut during = before.clone();
        during.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
        during.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(terminal.as_fd(), OptionalActions::Now, &during)?;
        Ok(Hidden { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing more anyway.
        let _ = tcsetattr(self.terminal.as_fd(), OptionalActions::Now, &self.before);
    }
}
