//! Owns the loop that stands behind one container from its start to its end. Must not start, kill or remove anything.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use sys::signal::SignalDescriptor;

use crate::attach::DetachKeys;
use crate::error::{Error, Incidents, Operation, errno_of};
use crate::exit::Exit;
use crate::relay::{Events, Line, Relay};
use crate::signals::{Treatment, asks_to_end, treatment};

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
    let mut relay = match console {
        Console::Inherited => None,
        Console::Terminal { outer } => Some(Relay::new(outer, input, output, keys, &mut incidents)?),
    };
    let end = container.stand_by(&mut relay, &mut incidents)?;
    if let (None, Some(relay)) = (&end, relay.take_if(|_| end.is_none())) {
        return relay.leave().map(Supervised::Left);
    }
    let End { asked, time_is_up } = end.expect("without a relay nobody leaves");
    let exit = container.reap()?;
    if let Some(mut relay) = relay {
        container.drain(&mut relay, &asked, &mut incidents)?;
        incidents.note(relay.finish());
    }
    let killed = matches!(exit, Exit::Signal { number, .. } if number == Signal::KILL.as_raw());
    let time_was_up = time_is_up && killed;
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
    relay: Events,
}

/// Whether init's end is among what is waited for.
#[derive(PartialEq, Eq)]
enum Init {
    Running,
    Ended,
}

/// How long a reader is waited for where this process was asked to end when the container ended.
const READER_PATIENCE: Duration = Duration::from_millis(200);

/// What is known when init has ended.
struct End {
    asked: Asked,
    time_is_up: bool,
}

/// What this process was asked for when init had ended.
#[derive(PartialEq, Eq)]
enum Asked {
    Nothing,
    /// Not to wait for somebody who does not read.
    ToEnd,
}

impl Container<'_> {
    /// Forwards signals and copies the terminal until init has ended; none where the caller has left before.
    fn stand_by(
        &self,
        relay: &mut Option<Relay<'_>>,
        incidents: &mut Incidents,
    ) -> Result<Option<End>, Error> {
        let mut due = Due {
            end: self.policy.time_limit.and_then(|limit| Instant::now().checked_add(limit)),
            kill: None,
        };
        let mut time_is_up = false;
        loop {
            let ready = self.wait(relay.as_ref(), &Init::Running, due.next())?;
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
                return Ok(Some(End { asked, time_is_up }));
            }
            time_is_up |= self.do_what_is_due(&mut due, incidents);
            let line = relay.as_mut().map(|relay| relay.copy(ready.relay, incidents));
            if line == Some(Line::Left) {
                return Ok(None);
            }
            if line == Some(Line::HungUp) {
                if let Some(relay) = relay {
                    relay.hang_up();
                }
                // Closes the container's terminal: that is what hangs it up.
                *relay = None;
                if self.dies_of_hangup() {
                    incidents.note(self.forward(Signal::KILL.as_raw()));
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
        match sys::pidfd::send_signal(self.pidfd, number).map_err(|error| errno_of(&error)) {
            // It has just ended, which the next wait will tell.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => {
                let object = format!("signal {number} to process {}", self.pid);
                Err(Error::new(Operation::ForwardSignal, object, errno))
            }
        }
    }

    fn reap(&self) -> Result<Exit, Error> {
        loop {
            let failed = |errno| Error::new(Operation::Reap, format!("process {}", self.pid), errno);
            match waitid(WaitId::PidFd(self.pidfd), WaitIdOptions::EXITED) {
                Ok(status) => {
                    if let Some(exit) = status.as_ref().and_then(Exit::from_status) {
                        return Ok(exit);
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Writes what the container left in its terminal. A slow reader is waited for, as there is no telling it from a
    /// stuck one; a signal that asks this process to end has no container to go to any more and ends the wait.
    fn drain(&self, relay: &mut Relay<'_>, asked: &Asked, incidents: &mut Incidents) -> Result<(), Error> {
        relay.begin_to_drain();
        while !relay.drain(incidents) {
            if relay.wanted().output.is_empty() {
                continue;
            }
            let until = (*asked == Asked::ToEnd).then(|| Instant::now() + READER_PATIENCE);
            let ready = self.wait(Some(relay), &Init::Ended, until)?;
            if until.is_some() && ready.relay.output.is_empty() {
                return Ok(());
            }
            if ready.signals {
                while let Some(number) = self.next_signal()? {
                    if asks_to_end(number) {
                        return Ok(());
                    }
                }
            }
            // The output alone: the terminal is read by `drain`, and input is over.
            relay.copy(Events { output: ready.relay.output, ..Events::NONE }, incidents);
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

    fn wait(&self, relay: Option<&Relay<'_>>, init: &Init, until: Option<Instant>) -> Result<Ready, Error> {
        let mut wanted = relay.map_or(Events::NONE, Relay::wanted);
        if *init == Init::Ended {
            wanted = Events { output: wanted.output, ..Events::NONE };
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = relay.and_then(Relay::timeout).into_iter().chain(left).min();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut descriptors = Vec::with_capacity(5);
        // A descriptor of which nothing is wanted stays out: it would report a hang-up for ever.
        let mut add = |descriptor: Option<_>, flags: PollFlags| {
            let descriptor = descriptor.filter(|_| !flags.is_empty())?;
            descriptors.push(PollFd::from_borrowed_fd(descriptor, flags));
            Some(descriptors.len() - 1)
        };
        let signals = add(Some(self.signals.descriptor()), PollFlags::IN);
        let pidfd = add((*init == Init::Running).then_some(self.pidfd), PollFlags::IN);
        let terminal = add(relay.map(Relay::terminal), wanted.terminal);
        let input = add(relay.and_then(Relay::input), wanted.input);
        let output = add(relay.and_then(Relay::output), wanted.output);
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(Error::new(Operation::Wait, format!("process {}", self.pid), errno));
            }
        }
        let flags = |index: Option<usize>| {
            index.map_or(PollFlags::empty(), |index: usize| descriptors[index].revents())
        };
        Ok(Ready {
            exited: !flags(pidfd).is_empty(),
            signals: !flags(signals).is_empty(),
            relay: Events { terminal: flags(terminal), input: flags(input), output: flags(output) },
        })
    }
}
