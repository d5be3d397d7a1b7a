//! Owns the settings of the caller's terminal while a container uses it, and gives them back on every way out. Must
//! not touch a terminal that belongs to another job at that moment.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::{Error, Operation};

/// Whose turn it is on the caller's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Ours: keys go to the container.
    Foreground,
    /// Another's: this process is a background job of its shell.
    Background,
}

/// The caller's terminal, raw while it is ours. Dropped, it has its settings of before.
#[derive(Debug)]
pub(crate) struct CallerTerminal<'a> {
    terminal: BorrowedFd<'a>,
    before: Option<Termios>,
    job: Job,
}

impl<'a> CallerTerminal<'a> {
    /// Touches nothing yet: see [`CallerTerminal::take`].
    pub(crate) fn new(terminal: BorrowedFd<'a>) -> CallerTerminal<'a> {
        CallerTerminal { terminal, before: None, job: Job::Background }
    }

    pub(crate) fn job(&self) -> Job {
        self.job
    }

    /// Looks whether the terminal is ours now, and if so makes it raw: at the start, after a SIGCONT, and now and
    /// then while in the background, as no signal tells a running job that its shell brought it to the foreground.
    ///
    /// A background job must not do it: with SIGTTOU blocked the kernel would let it, and the shell's prompt would
    /// be without echo.
    pub(crate) fn take(&mut self) -> Result<(), Error> {
        self.job = job_on(self.terminal);
        if self.job == Job::Background {
            return Ok(());
        }
        match self.make_raw() {
            // It is gone, which the next read tells; the kernel sent SIGCONT with its SIGHUP.
            Ok(()) | Err(Errno::IO) => Ok(()),
            Err(errno) => Err(Error::new(Operation::EnterRawMode, "the caller's terminal", errno)),
        }
    }

    /// Gives the settings back; nothing to do where they were not changed, or where the shell has the terminal.
    pub(crate) fn give_back(&mut self) -> Result<(), Error> {
        let Some(before) = self.before.take() else { return Ok(()) };
        if job_on(self.terminal) == Job::Background {
            return Ok(());
        }
        // Not DRAIN: that would wait for a terminal that shows nothing any more.
        match tcsetattr(self.terminal, OptionalActions::Now, &before) {
            // It is gone, and its settings with it.
            Ok(()) | Err(Errno::IO) => Ok(()),
            Err(errno) => Err(Error::new(Operation::RestoreTerminal, "the caller's terminal", errno)),
        }
    }

    /// Whether the terminal itself is gone: its window closed, its line cut.
    pub(crate) fn is_hung_up(&self) -> bool {
        tcgetattr(self.terminal).is_err_and(|errno| errno == Errno::IO)
    }

    fn make_raw(&mut self) -> Result<(), Errno> {
        // The settings of the first time are those to give back: after a stop the shell has set its own.
        let before = match &self.before {
            Some(before) => before.clone(),
            None => tcgetattr(self.terminal)?,
        };
        let mut raw = before.clone();
        raw.make_raw();
        // Not FLUSH: what is typed ahead is for the container.
        tcsetattr(self.terminal, OptionalActions::Now, &raw)?;
        self.before = Some(before);
        Ok(())
    }
}

impl Drop for CallerTerminal<'_> {
    fn drop(&mut self) {
        // Best effort: on the regular way out `give_back` was called and its error told.
        let _ = self.give_back();
    }
}

fn job_on(terminal: BorrowedFd<'_>) -> Job {
    match rustix::termios::tcgetpgrp(terminal) {
        Ok(group) if group != rustix::process::getpgrp() => Job::Background,
        // Where it is not our controlling terminal there is no job control, so nobody to take turns with.
        _ => Job::Foreground,
    }
}

/// Gives the container's terminal `container` (either end) the window size of the caller's terminal `caller`.
///
/// Its foreground process gets SIGWINCH if that is a change. For the first size of all, call it before the program
/// starts, so that this sees it from its first look on. A terminal of unknown size (0 rows) is not copied.
pub fn copy_window_size(caller: BorrowedFd<'_>, container: BorrowedFd<'_>) -> Result<(), Error> {
    let failed = |errno| Error::new(Operation::CopyWindowSize, "the container's terminal", errno);
    let size = rustix::termios::tcgetwinsize(caller).map_err(failed)?;
    if size.ws_row == 0 || size.ws_col == 0 {
        return Ok(());
    }
    rustix::termios::tcsetwinsize(container, size).map_err(failed)
}
