//! Owns what is known of a container's end. Must not guess: a status that the kernel did not report has no value here.

use rustix::process::{Signal, WaitIdStatus};

/// How the init process of a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called `exit`, with this status (0 to 255).
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
}

impl Exit {
    /// The exit code that a shell, and docker, reports for it: the program's own, or 128 + the signal's number.
    pub fn code(&self) -> i32 {
        match *self {
            Exit::Code(code) => code,
            Exit::Signal { number, .. } => 128 + number,
        }
    }

    /// Whether it was SIGKILL.
    pub(crate) fn is_kill(&self) -> bool {
        matches!(self, Exit::Signal { number, .. } if *number == Signal::KILL.as_raw())
    }

    /// From what `waitid(2)` reported; nothing if that is no end (a stop, a continuation).
    pub(crate) fn from_status(status: &WaitIdStatus) -> Option<Exit> {
        if let Some(code) = status.exit_status() {
            return Some(Exit::Code(code));
        }
        let number = status.terminating_signal()?;
        Some(Exit::Signal { number, core_dumped: status.dumped() })
    }

    /// From a status in the form of `wait(2)`.
    pub(crate) fn from_wait(status: i32) -> Exit {
        match status & 0x7f {
            0 => Exit::Code(status >> 8 & 0xff),
            number => Exit::Signal { number, core_dumped: status & 0x80 != 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_of_a_signal_is_128_more_than_its_number() {
        assert_eq!(Exit::Code(7).code(), 7);
        assert_eq!(Exit::Signal { number: 9, core_dumped: false }.code(), 137);
    }

    #[test]
    fn status_as_wait_has_it_is_read() {
        assert_eq!(Exit::from_wait(0x0700), Exit::Code(7));
        assert_eq!(Exit::from_wait(0x8b), Exit::Signal { number: 11, core_dumped: true });
    }
}
