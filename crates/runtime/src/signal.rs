//! Owns the reading of signals as people and callers write them. Must not send any.

use std::fmt;

use crate::error::{Error, Result};

/// A signal by its number on this machine, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

/// signal(7): names with the numbers of x86, arm and riscv (those built for).
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The real-time signals that programs see: libc keeps the first two of the kernel's for itself.
const FIRST_REAL_TIME: i32 = 34;
const LAST: i32 = 64;

impl Signal {
    /// Signal 0, which reaches nobody: the kernel only looks whether it could (kill(2)).
    pub const NONE: Signal = Signal(0);
    /// SIGKILL.
    pub const KILL: Signal = Signal(9);
    /// SIGTERM.
    pub const TERM: Signal = Signal(15);

    /// Reads `TERM`, `SIGTERM`, `term`, `15`, `RTMIN+3` or `SIGRTMAX-1`.
    pub fn parse(text: &str) -> Result<Signal> {
        let wrong = || {
            Error::invalid(
                "signal",
                format!("`{}` is neither a name nor a number of 1 to 64", text.escape_debug()),
            )
        };
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text
                .parse()
                .ok()
                .filter(|number| (1..=LAST).contains(number))
                .map(Signal)
                .ok_or_else(wrong);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Signal(*number));
        }
        let offset = |rest: &str, sign: char| -> Option<i32> {
            if rest.is_empty() {
                Some(0)
            } else {
                rest.strip_prefix(sign)?.parse().ok().filter(|n| (0..=LAST).contains(n))
            }
        };
        let number = if let Some(rest) = name.strip_prefix("RTMIN") {
            offset(rest, '+').map(|above| FIRST_REAL_TIME + above)
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            offset(rest, '-').map(|below| LAST - below)
        } else {
            None
        };
        number.filter(|number| (FIRST_REAL_TIME..=LAST).contains(number)).map(Signal).ok_or_else(wrong)
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(formatter, "SIG{name}"),
            None => write!(formatter, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form_that_people_write() {
        for text in ["TERM", "SIGTERM", "sigterm", "term", "15"] {
            assert_eq!(Signal::parse(text).expect(text), Signal::TERM);
        }
        assert_eq!(Signal::parse("SIGRTMIN+3").expect("legal").number(), 37);
        assert_eq!(Signal::parse("rtmax").expect("legal").number(), 64);
        assert_eq!(Signal::parse("64").expect("legal").number(), 64);
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in [
            "",
            "0",
            "65",
            "-9",
            "+9",
            "9x",
            "SIG",
            "SIGFOO",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX-31",
            " 9",
            "18446744073709551625",
        ] {
            assert!(Signal::parse(text).is_err(), "{text:?}");
        }
    }
}
