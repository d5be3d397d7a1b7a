//! Owns the one error type of this crate and its texts. Must not print.

use std::fmt;

use rustix::io::Errno;

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Waiting for something to happen.
    Wait,
    /// Reading the signals that this process received.
    ReceiveSignal,
    /// Passing a signal on to the container's init.
    ForwardSignal,
    /// Asking the kernel how the container's init ended.
    Reap,
    /// Setting up the container's terminal or pipes for copying.
    PrepareTerminal,
    /// Giving the container's terminal the size of the caller's.
    CopyWindowSize,
    /// Making the caller's terminal raw.
    EnterRawMode,
    /// Giving the caller's terminal its settings back.
    RestoreTerminal,
    /// Reading what the container wrote, to its terminal or to pipes.
    ReadContainer,
    /// Writing what was typed for the container to its terminal or pipe.
    WriteContainer,
    /// Reading the caller's standard input.
    ReadInput,
    /// Writing the caller's standard output.
    WriteOutput,
    /// Reading what a monitor was told when it was executed.
    ReadArguments,
    /// Executing a program in the place of this one.
    Execute,
    /// Opening the log.
    OpenLog,
    /// Writing to the log.
    WriteLog,
    /// Beginning a new file of the log.
    RotateLog,
    /// Reading the log.
    ReadLog,
    /// Writing the record of the end.
    WriteExit,
    /// Taking a client that came to the socket.
    Accept,
    /// Talking to the monitor.
    Converse,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Operation::Wait => "wait for events of",
            Operation::ReceiveSignal => "read the signals received for",
            Operation::ForwardSignal => "forward",
            Operation::Reap => "read the exit status of",
            Operation::PrepareTerminal => "prepare",
            Operation::CopyWindowSize => "copy the window size to",
            Operation::EnterRawMode => "set raw mode on",
            Operation::RestoreTerminal => "restore the settings of",
            Operation::ReadContainer | Operation::ReadInput | Operation::ReadLog => "read",
            Operation::ReadArguments => "read the argument",
            Operation::Execute => "execute",
            Operation::OpenLog => "open the log",
            Operation::WriteLog => "write to the log",
            Operation::RotateLog => "begin a new file of the log",
            Operation::WriteExit => "write the record of the end to",
            Operation::Accept => "take a client of",
            Operation::Converse => "talk to",
            Operation::WriteContainer | Operation::WriteOutput => "write to",
        })
    }
}

/// A failed operation of the supervision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was being done.
    pub operation: Operation,
    /// What it was done to or with, in words.
    pub object: String,
    /// The error number of the failed call.
    pub cause: Errno,
}

impl Error {
    pub(crate) fn new(operation: Operation, object: impl Into<String>, cause: Errno) -> Error {
        Error { operation, object: object.into(), cause }
    }

    /// What the user can do about it, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match (self.operation, self.cause) {
            (Operation::Reap, Errno::CHILD) => Some(
                "the parent ignores SIGCHLD, so the kernel threw the status away; start with the default \
                 disposition of SIGCHLD",
            ),
            (Operation::WriteLog, Errno::NOSPC | Errno::DQUOT) => {
                Some("the container kept running; what it wrote is counted in `lostBytes` of its end")
            }
            (Operation::WriteOutput, Errno::NOSPC) => {
                Some("the container kept running; what it wrote after that is lost")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = sys::errno_text(self.cause.raw_os_error());
        write!(formatter, "{} {}: {cause}", self.operation, self.object)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// The error number behind an error of the `sys` crate.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// What went wrong without ending the supervision: kept, so that it can be told, and bounded, so that a container of
/// years does not fill memory with it.
#[derive(Debug, Default)]
pub(crate) struct Incidents(Vec<Error>);

impl Incidents {
    const MOST: usize = 16;

    /// Keeps `result`'s error, once for each kind.
    pub(crate) fn note(&mut self, result: Result<(), Error>) {
        if let Err(error) = result
            && self.0.len() < Self::MOST
            && !self.0.contains(&error)
        {
            self.0.push(error);
        }
    }

    pub(crate) fn into_errors(self) -> Vec<Error> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_operation_object_and_cause() {
        let error = Error::new(Operation::ForwardSignal, "signal 15 to process 7", Errno::PERM);
        assert_eq!(error.to_string(), "forward signal 15 to process 7: operation not permitted");
    }

    #[test]
    fn same_incident_is_kept_once() {
        let mut incidents = Incidents::default();
        for _ in 0..3 {
            incidents.note(Err(Error::new(Operation::WriteOutput, "standard output", Errno::NOSPC)));
        }
        assert_eq!(incidents.into_errors().len(), 1);
    }
}
