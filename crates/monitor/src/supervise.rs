//! Owns the loop that stands behind one container from its start to its end. Must not start, kill or remove anything.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::Signal;
use sys::signal::SignalDescriptor;

use crate::error::{Error, Incidents, Operation, errno_of};
use crate::exit::Exit;
use crate::init;
use crate::keys::DetachKeys;
use crate::relay::{self, Line, Relay};
use crate::signals::{Treatment, asks_to_end, treatment};
use crate::wait::Wait;

/// What connects the container with its caller.
#[derive(Debug)]
pub enum Console {
    /// The container has the caller's own standard streams: nothing to copy.
    Inherited,
    /// The container has a terminal of its own.
    Terminal {
        /// The controlling end of its pty (`/dev/ptmx`). It is made non-blocking, so nobody else may read from it.
        outer: OwnedFd,
    },
}

/// What becomes of the signals that this process receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signals {
    /// They are passed on to the container's init.
    #[default]
    Forwarded,
    /// They are for this process: one that asks it to end stops the container.
    Kept,
}

/// Whether the caller's standard input is typed into the container's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Input {
    /// It is, with its end.
    #[default]
    Copied,
    /// It is not read.
    Unread,
}

/// How a container is treated while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The caller's signals.
    pub signals: Signals,
    /// The caller's input, with a terminal.
    pub input: Input,
    /// What asks the container to stop, a signal's number.
    pub stop_signal: i32,
    /// How long it has for that; then SIGKILL ends it.
    pub stop_patience: Duration,
    /// After what time SIGKILL ends it, unasked.
    pub time_limit: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            signals: Signals::Forwarded,
            input: Input::Copied,
            stop_signal: Signal::TERM.as_raw(),
            stop_patience: Duration::from_secs(10),
            time_limit: None,
        }
    }
}

/// A started container, and what its caller gave for it.
#[derive(Debug)]
pub struct Supervision<'a> {
    /// The container's init; a child of the calling process.
    pub pidfd: BorrowedFd<'a>,
    /// Its pid, for messages.
    pub pid: i32,
    /// The caller's signals: blocked since before the container was started, so that none is lost.
    pub signals: &'a SignalDescriptor,
    /// How the container's standard streams are connected.
    pub console: Console,
    /// The caller's standard input; used with a terminal only.
    pub input: BorrowedFd<'a>,
    /// The caller's standard output; used with a terminal only.
    pub output: BorrowedFd<'a>,
    /// How it is treated.
    pub policy: Policy,
}

/// What is known after a container's end.
#[derive(Debug)]
pub struct Outcome {
    /// How its init ended.
    pub exit: Exit,
    /// What failed on the way without being a reason to leave the container alone: a signal that could not be
    /// forwarded, a full disk behind standard output. At most 16, each once.
    pub incidents: Vec<Error>,
    /// Whether its time was up, and that ended it.
    pub time_was_up: bool,
}

/// Stands behind a container until it has ended and its output is written.
///
/// Until then the caller's terminal, where there is one on `input` and the calling process is in its foreground, is
/// raw, and it is as it was before when this returns, however it returns. If the caller's terminal goes away, so does
/// the container's: its session leader gets SIGHUP from the kernel, as at any terminal. A pid 1 that does not say what
/// to do then is ended, as the kernel ends any other program.
///
/// A failure of the supervision itself is an error; the container may be running then.
pub fn supervise(supervision: Supervision<'_>) -> Result<Outcome, Error> {
    match supervise_until_left(supervision, &DetachKeys::NONE)? {
        Supervised::Ended(outcome) => Ok(outcome),
        Supervised::Left(_) => unreachable!("no keys lead away"),
    }
}

/// How a supervision ended.
#[derive(Debug)]
pub enum Supervised {
    /// The container has ended.
    Ended(Outcome),
    /// The caller has left it by the keys for that, and it runs: the controlling end of its terminal is for somebody to hold.
    Left(OwnedFd),
}

/// The same, unless the caller leaves it before, by typing `keys` at a terminal.
pub fn supervise_until_left(supervision: Supervision<'_>, keys: &DetachKeys) -> Result<Supervised, Error> {
    let Supervision { pidfd, pid, signals, console, input, output, policy } = supervision;
    let container = Container { pidfd, pid, signals, policy };
    let mut incidents = Incidents::default();
    let input = (policy.input == Input::Copied).then_some(input);
    let relay = match console {
        Console::Inherited => None,
        Console::Terminal { outer } => Some(Relay::new(outer, input, output, keys, &mut incidents)),
    };
    let (relay, asked, time_is_up) = match container.stand_by(relay, &mut incidents)? {
        Stood::Left(relay) => return relay.leave().map(Supervised::Left),
        Stood::Ended { relay, asked, time_is_up } => (relay, asked, time_is_up),
    };
    let exit = init::reap(pidfd, pid)?;
    if let Some(mut relay) = relay {
        container.drain(&mut relay, &asked, &mut incidents)?;
        incidents.note(relay.finish());
    }
    let time_was_up = time_is_up && exit.is_kill();
    Ok(Supervised::Ended(Outcome { exit, incidents: incidents.into_errors(), time_was_up }))
}

struct Container<'a> {
    pidfd: BorrowedFd<'a>,
    pid: i32,
    signals: &'a SignalDescriptor,
    policy: Policy,
}

/// What is due, and when.
struct Due {
    /// The end of the container's time.
    end: Option<Instant>,
    /// The end of the patience with a container that was asked to stop.
    kill: Option<Instant>,
}

impl Due {
    fn next(&self) -> Option<Instant> {
        self.end.into_iter().chain(self.kill).min()
    }
}

/// What a wait ended with.
struct Ready {
    exited: bool,
    signals: bool,
    relay: Option<relay::Ready>,
}

/// How long a reader is waited for where this process was asked to end when the container ended.
const READER_PATIENCE: Duration = Duration::from_millis(200);

/// Why nobody stands by any more.
enum Stood<'a> {
    /// Init has ended.
    Ended { relay: Option<Relay<'a>>, asked: Asked, time_is_up: bool },
    /// The caller has left.
    Left(Relay<'a>),
}

/// What this process was asked for when init had ended.
#[derive(PartialEq, Eq)]
enum Asked {
    Nothing,
    /// Not to wait for somebody who does not read.
    ToEnd,
}

impl Container<'_> {
    /// Forwards signals and copies the terminal until init has ended, or the caller has left before.
    fn stand_by<'a>(
        &self,
        mut relay: Option<Relay<'a>>,
        incidents: &mut Incidents,
    ) -> Result<Stood<'a>, Error> {
        let mut due = Due {
            end: self.policy.time_limit.and_then(|limit| Instant::now().checked_add(limit)),
            kill: None,
        };
        let mut time_is_up = false;
        loop {
            let ready = self.wait(relay.as_ref(), due.next())?;
            let mut asked = Asked::Nothing;
            if ready.signals {
                while let Some(number) = self.next_signal()? {
                    if ready.exited && asks_to_end(number) {
                        asked = Asked::ToEnd;
                    }
                    self.treat(number, relay.as_mut(), &mut due, incidents);
                }
            }
            if ready.exited {
                return Ok(Stood::Ended { relay, asked, time_is_up });
            }
            time_is_up |= self.do_what_is_due(&mut due, incidents);
            let (Some(mut one), Some(ready)) = (relay.take(), ready.relay) else { continue };
            match one.copy(ready, incidents) {
                Line::Up => relay = Some(one),
                Line::Left => return Ok(Stood::Left(one)),
                Line::HungUp => {
                    one.hang_up();
                    // Closes the container's terminal: that is what hangs it up.
                    drop(one);
                    if self.dies_of_hangup() {
                        incidents.note(self.forward(Signal::KILL.as_raw()));
                    }
                }
            }
        }
    }

    fn treat(&self, number: i32, relay: Option<&mut Relay<'_>>, due: &mut Due, incidents: &mut Incidents) {
        let treatment = treatment(number);
        if matches!(treatment, Treatment::Forward | Treatment::ForwardAndResume) {
            match self.policy.signals {
                Signals::Forwarded if number == Signal::HUP.as_raw() && self.dies_of_hangup() => {
                    incidents.note(self.forward(Signal::KILL.as_raw()));
                }
                Signals::Forwarded => incidents.note(self.forward(number)),
                Signals::Kept if asks_to_end(number) => self.stop(due, incidents),
                Signals::Kept => {}
            }
        }
        match (treatment, relay) {
            (Treatment::Resize, Some(relay)) => relay.resize(incidents),
            (Treatment::ForwardAndResume, Some(relay)) => relay.look_at_caller(incidents),
            _ => {}
        }
    }

    /// Kills the container where that is due; whether it is its time that is up.
    fn do_what_is_due(&self, due: &mut Due, incidents: &mut Incidents) -> bool {
        let now = Instant::now();
        let is_up = |time: &mut Option<Instant>| time.take_if(|time| *time <= now).is_some();
        let (time_is_up, patience_is_over) = (is_up(&mut due.end), is_up(&mut due.kill));
        if time_is_up || patience_is_over {
            incidents.note(self.forward(Signal::KILL.as_raw()));
        }
        time_is_up
    }

    /// Asks the container to stop, once.
    fn stop(&self, due: &mut Due, incidents: &mut Incidents) {
        if due.kill.is_none() {
            incidents.note(self.forward(self.policy.stop_signal));
            due.kill = Instant::now().checked_add(self.policy.stop_patience);
        }
    }

    /// Whether init neither handles, ignores nor blocks SIGHUP. The kernel spares a pid 1 the default action of signals,
    /// so one whose terminal is gone would run on unseen where any other program ends.
    fn dies_of_hangup(&self) -> bool {
        // Not reaped yet, so the number is its own.
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let set = |name: &str| {
            let text = status.lines().find_map(|line| line.strip_prefix(name))?;
            u64::from_str_radix(text.trim(), 16).ok()
        };
        let sets = [set("SigCgt:"), set("SigIgn:"), set("SigBlk:")];
        // What can't be read is left alone.
        sets.iter().all(|set| set.is_some_and(|set| set & (1 << (Signal::HUP.as_raw() - 1)) == 0))
    }

    fn forward(&self, number: i32) -> Result<(), Error> {
        init::send_signal(self.pidfd, self.pid, number)
    }

    /// Writes what the container left in its terminal. A slow reader is waited for, as there is no telling it from a
    /// stuck one; a signal that asks this process to end has no container to go to any more and ends the wait.
    fn drain(&self, relay: &mut Relay<'_>, asked: &Asked, incidents: &mut Incidents) -> Result<(), Error> {
        relay.begin_to_drain();
        while !relay.drain(incidents) {
            if !relay.waits() {
                continue;
            }
            let patience = (*asked == Asked::ToEnd).then_some(READER_PATIENCE);
            let (signals, output) = self.wait_for_reader(relay, patience)?;
            if patience.is_some() && !output {
                return Ok(());
            }
            if signals {
                while let Some(number) = self.next_signal()? {
                    if asks_to_end(number) {
                        return Ok(());
                    }
                }
            }
            if output {
                relay.write_output(incidents);
            }
        }
        Ok(())
    }

    fn next_signal(&self) -> Result<Option<i32>, Error> {
        match self.signals.read() {
            Ok(received) => Ok(received.map(|received| received.signal)),
            Err(error) => {
                let object = format!("process {}", self.pid);
                Err(Error::new(Operation::ReceiveSignal, object, errno_of(&error)))
            }
        }
    }

    fn wait(&self, relay: Option<&Relay<'_>>, until: Option<Instant>) -> Result<Ready, Error> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let mut wait = Wait::for_some(6);
        let signals = wait.add(Some(self.signals.descriptor()), PollFlags::IN);
        let pidfd = wait.add(Some(self.pidfd), PollFlags::IN);
        let places = relay.map(|relay| relay.watch(&mut wait));
        let limit = relay.and_then(Relay::timeout).into_iter().chain(left).min();
        wait.wait(limit).map_err(|errno| self.wait_error(errno))?;
        Ok(Ready {
            exited: wait.is_ready(pidfd),
            signals: wait.is_ready(signals),
            relay: places.map(|places| places.ready(&wait)),
        })
    }

    /// After init's end: whether signals came, and whether the caller takes output.
    fn wait_for_reader(&self, relay: &Relay<'_>, limit: Option<Duration>) -> Result<(bool, bool), Error> {
        let mut wait = Wait::for_some(2);
        let signals = wait.add(Some(self.signals.descriptor()), PollFlags::IN);
        let output = relay.watch_output(&mut wait);
        wait.wait(limit).map_err(|errno| self.wait_error(errno))?;
        Ok((wait.is_ready(signals), wait.is_ready(output)))
    }

    fn wait_error(&self, errno: Errno) -> Error {
        Error::new(Operation::Wait, format!("process {}", self.pid), errno)
    }
}
