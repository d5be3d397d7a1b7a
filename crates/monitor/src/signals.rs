//! Owns the decision of what a received signal means. Must not act on it.

use rustix::process::Signal;

/// What to do with a signal that this process received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Pass it on to the container's init.
    Forward,
    /// Pass it on, and look at the caller's terminal again: a shell has just continued this process.
    ForwardAndResume,
    /// Copy the window size.
    Resize,
    /// It is meant for this process alone and nothing needs to be done.
    Ignore,
}

/// Everything is passed on, as docker's `--sig-proxy` does, but what speaks of this process itself:
///
/// - SIGCHLD tells of our child, SIGPIPE of our output, SIGTTIN and SIGTTOU of our terminal;
/// - SIGWINCH tells of our window. The container's programs get one of their own from their terminal; forwarded to
///   one without a terminal it would be a request of another kind (Apache's server ends on it).
///
/// SIGTSTP is passed on: with a terminal, Ctrl-Z is typed through and no signal at all, so one that arrives was
/// sent on purpose; without one, Ctrl-Z asks the program to stop, which a pid 1 without a handler ignores.
pub(crate) fn treatment(number: i32) -> Treatment {
    match Signal::from_named_raw(number) {
        Some(Signal::CHILD | Signal::PIPE | Signal::TTIN | Signal::TTOU) => Treatment::Ignore,
        Some(Signal::WINCH) => Treatment::Resize,
        Some(Signal::CONT) => Treatment::ForwardAndResume,
        _ => Treatment::Forward,
    }
}

/// Whether somebody who sends this signal wants the process that receives it to end.
pub(crate) fn asks_to_end(number: i32) -> bool {
    matches!(
        Signal::from_named_raw(number),
        Some(Signal::HUP | Signal::INT | Signal::QUIT | Signal::TERM | Signal::ABORT | Signal::ALARM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_about_this_process_stay_here() {
        for signal in [Signal::CHILD, Signal::PIPE, Signal::TTIN, Signal::TTOU] {
            assert_eq!(treatment(signal.as_raw()), Treatment::Ignore);
        }
        assert_eq!(treatment(Signal::WINCH.as_raw()), Treatment::Resize);
    }

    #[test]
    fn every_other_signal_is_forwarded_real_time_ones_too() {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1, Signal::TSTP, Signal::URG] {
            assert_eq!(treatment(signal.as_raw()), Treatment::Forward);
        }
        for number in 34..=64 {
            assert_eq!(treatment(number), Treatment::Forward);
        }
        assert_eq!(treatment(Signal::CONT.as_raw()), Treatment::ForwardAndResume);
    }
}
