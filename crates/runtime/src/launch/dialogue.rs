//! What the parent hears from init, and what it answers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use sys::clone::Child;
use sys::process::monotonic_nanoseconds;

use super::host_steps::unheard;
use super::{Host, Launch, reap};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks;
use crate::init::failure::Failure;
use crate::init::step::{Action, Barrier, InitAction};
use crate::plan::Start;
use crate::seccomp_agent::Listener;
use crate::sync::{self, Record as Message};

impl Launch<'_> {
    /// Waits until init has something to say; an error where nobody wants to hear it any more.
    pub(super) fn wait_for_init(&self, socket: BorrowedFd<'_>) -> Result<()> {
        let Some(interrupt) = &self.interrupt else { return Ok(()) };
        loop {
            let mut watched = [
                PollFd::from_borrowed_fd(socket, PollFlags::IN),
                PollFd::from_borrowed_fd(interrupt.as_fd(), PollFlags::IN),
            ];
            match rustix::event::poll(&mut watched, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Error::system("wait for init", error)),
            }
            if !watched[0].revents().is_empty() {
                return Ok(());
            }
            if !watched[1].revents().is_empty() {
                let operation = format!("start container `{}`", self.plan.id);
                return Err(Error::new(ErrorKind::Interrupted, operation, "interrupted by a signal"));
            }
        }
    }

    /// Answers the child until its program runs or it waits at the gate.
    pub(super) fn serve(&mut self, socket: BorrowedFd<'_>, host: &mut dyn Host) -> Result<()> {
        let mut committed = false;
        loop {
            self.wait_for_init(socket)?;
            let (message, shown) = sync::receive_with_descriptor(socket)
                .map_err(|error| Error::system("hear from init", error))?;
            if let Some(group) = &mut self.cgroup {
                // Whatever init says, it says after it has joined.
                group.let_go();
            }
            match message {
                Some(Message::Reached { step }) => {
                    if self.help(step, shown)? {
                        sync::answer(socket, Message::Go { step }).map_err(unheard)?;
                        continue;
                    }
                    let barrier =
                        self.plan.steps.get(usize::from(step)).and_then(|step| match &step.action {
                            Action::Init(InitAction::Wait(barrier) | InitAction::Announce(barrier)) => {
                                Some(*barrier)
                            }
                            _ => None,
                        });
                    match barrier {
                        Some(Barrier::Hooks(kind)) => self.run_hooks(kind)?,
                        Some(Barrier::Ready) => {
                            self.receive_console()?;
                            self.join_rdt_group()?;
                            self.commit_record(host)?;
                            committed = true;
                        }
                        Some(Barrier::NetDevices) => self.move_net_devices()?,
                        Some(Barrier::Network) if self.network_comes_late() => self.attach_network(host)?,
                        // Open already.
                        Some(Barrier::HostReady) => continue,
                        Some(Barrier::Network) => {}
                        Some(Barrier::Gate | Barrier::Recorded) | None => {
                            return Err(Error::new(
                                ErrorKind::System,
                                "hear from init",
                                "it reached no barrier of the plan",
                            ));
                        }
                    }
                    match sync::send(socket, Message::Go { step }) {
                        Ok(()) => {}
                        // It died; why is said when its end is read.
                        Err(Errno::PIPE | Errno::CONNRESET) => continue,
                        Err(error) => return Err(unheard(error)),
                    }
                    if barrier == Some(Barrier::Ready) && self.plan.start == Start::AtGate {
                        self.ended = monotonic_nanoseconds();
                        return Ok(());
                    }
                }
                Some(Message::Failed { step, failure }) => {
                    return Err(self.explain(usize::from(step), failure));
                }
                Some(Message::Process { pid }) => self.follow(pid)?,
                Some(Message::Listener { step, descriptor }) => {
                    self.pass_listener(Listener { shown, number: descriptor })?;
                    sync::answer(socket, Message::Go { step }).map_err(unheard)?;
                }
                Some(Message::Go { .. }) => {}
                None if committed || self.is_published() => {
                    // Closed by exec: the program runs.
                    self.ended = monotonic_nanoseconds();
                    return Ok(());
                }
                None => {
                    let error = Error::new(
                        ErrorKind::System,
                        "start the init process",
                        "it ended before it was ready",
                    );
                    return Err(self.died_or(error));
                }
            }
        }
    }

    /// Whether init has published the record: the end of a step is noted where it succeeded. It was before the socket's end.
    fn is_published(&self) -> bool {
        let ended = |step: u16| self.counters.counters()[usize::from(step)].load(Ordering::Relaxed) != 0;
        self.publishing().is_some_and(ended)
    }

    /// Does what a step of init's wants of the parent with the descriptor that it showed; false if it wants nothing.
    fn help(&mut self, step: u16, shown: Option<OwnedFd>) -> Result<bool> {
        let Some(step) = self.plan.steps.get(usize::from(step)) else { return Ok(false) };
        match (&step.action, shown) {
            (Action::Init(InitAction::Bind(bind)), Some(mount)) => {
                let Some(inside) = &bind.kind.inside else { return Ok(false) };
                let Some(owners) = &inside.owners else { return Ok(false) };
                self.detached.map(mount.as_fd(), owners, &bind.kind.source).map_err(|error| {
                    error
                        .from_field(step.asked_by.clone().unwrap_or_default())
                        .in_container(self.plan.id.as_str())
                })?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn pass_listener(&mut self, listener: Listener) -> Result<()> {
        let Some(agent) = &self.plan.agent else { return Ok(()) };
        // Perhaps not recorded yet.
        self.record.pid = self.pid();
        let child = self.child.as_ref().expect("it spoke after the clone");
        agent.hand_over(listener, (child.pid, child.pidfd.as_fd()), &self.record, "creating")
    }

    /// The intermediate process has forked the one that matters.
    pub(super) fn follow(&mut self, pid: i32) -> Result<()> {
        let raw = rustix::process::Pid::from_raw(pid)
            .ok_or_else(|| Error::new(ErrorKind::System, "follow the init process", "it has no pid here"))?;
        let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
            .map_err(|error| Error::system("follow the init process", error))?;
        if let Some(intermediate) = self.child.replace(Child { pid, pidfd, in_cgroup: true }) {
            reap(&intermediate);
        }
        Ok(())
    }

    /// After a failure of the host's part: an intermediate process may have forked, and nobody has listened yet.
    pub(super) fn follow_unheard(&mut self, socket: BorrowedFd<'_>) {
        if !self.plan.namespaces.needs_intermediate {
            return;
        }
        if let Some(child) = &self.child {
            // It may be dead already; once it is, it has said what it had to say.
            let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
            hooks::ended_by(child.pidfd.as_fd(), None);
        }
        while let Ok(Some(message)) = sync::receive_waiting(socket) {
            if let Message::Process { pid } = message {
                // One that is gone already was reaped by somebody else.
                let _ = self.follow(pid);
                return;
            }
        }
    }

    pub(super) fn receive_console(&mut self) -> Result<()> {
        if let Some(console) = &mut self.console
            && let Some(ours) = &console.ours
        {
            let received = sync::receive_descriptor(ours.as_fd());
            console.received = received.map_err(|error| Error::system("receive the terminal", error))?;
            // Before the program writes its first line.
            if let Some(terminal) = &console.received {
                let set = self.line_ends.set(terminal.as_fd());
                set.map_err(|error| Error::system("set the terminal up", error))?;
            }
        }
        Ok(())
    }

    pub(super) fn explain(&self, index: usize, failure: Failure) -> Error {
        let mut step = self.failed_step(index, Some(failure.call.name()));
        let named = self.plan.steps.get(index);
        step.program = named.and_then(|named| crate::remedy::refused_program(named, failure));
        let error = crate::remedy::explain_step(&self.plan.steps, index, failure, self.plan.root.path());
        Error { step: Some(step), ..error }.in_container(self.plan.id.as_str())
    }

    /// A namespace can't be attached to any more when init has failed meanwhile: then that is the cause, and not what
    /// the host met because of it. Else `error`.
    pub(super) fn cause_in_init(&mut self, socket: BorrowedFd<'_>, error: Error) -> Error {
        while let Ok(Some(message)) = sync::receive_waiting(socket) {
            match message {
                Message::Failed { step, failure } => return self.explain(usize::from(step), failure),
                Message::Process { pid } => {
                    // One that is gone already was reaped by somebody else.
                    let _ = self.follow(pid);
                }
                Message::Reached { .. } | Message::Go { .. } | Message::Listener { .. } => {}
            }
        }
        self.died_or(error)
    }

    /// If the child is dead, says of what; else `error`.
    pub(super) fn died_or(&self, error: Error) -> Error {
        let Some(child) = &self.child else { return error };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        if !hooks::ended_by(child.pidfd.as_fd(), Some(Instant::now() + Duration::from_millis(200))) {
            return error;
        }
        let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), options).ok().flatten();
        let killed = self.cgroup.as_ref().map_or(0, cgroup::Cgroup::out_of_memory_kills);
        let operation = format!("start the init process in container `{}`", self.plan.id);
        if killed > 0 {
            let error = Error::new(ErrorKind::OutOfMemory, operation, "it was killed for want of memory");
            return error.with_hint("raise the memory limit; a start needs some megabytes");
        }
        match status.and_then(|status| status.terminating_signal()) {
            Some(signal) => {
                Error::new(ErrorKind::System, operation, format!("it was killed by signal {signal}"))
            }
            None => error,
        }
    }
}
