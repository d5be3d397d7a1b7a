//! Owns the loop that stands behind one container that lives on, from its start to its end. Must not start or remove
//! anything, and kills only what has outlived its time.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::Signal;

use crate::error::{Error, Incidents, Operation};
use crate::exit_record::{ExitRecord, Place};
use crate::holdings::Holdings;
use crate::init;
use crate::log::Log;
use crate::log::LogStream;
use crate::moment::Moment;
use crate::protocol::MOST_OUTPUT;
use crate::service::check::Checks;
use crate::service::clients::{Clients, Delivery, Request};
use crate::service::ending;
use crate::service::{Parentage, Service};
use crate::streams::Streams;
use crate::wait::Wait;

/// How long nobody is taken where the kernel refused to take one.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the first client may take for what the container left, once that has ended; beside what its socket holds.
const PATIENCE: Duration = Duration::from_secs(10);

/// After how long without anything to do the process lets go of what it needs no more: there is one for each container.
const QUIET: Duration = Duration::from_millis(500);

/// Stands behind the container until it has ended and its record is written, and its clients were told.
pub(super) fn serve(service: Service) -> Left {
    let mut server = Server::new(service);
    server.stand_by();
    server.finish()
}

/// What is left at the end, for the program that follows.
pub(super) struct Left {
    /// The connections of the clients.
    pub(super) clients: Vec<OwnedFd>,
    /// What was held from the start.
    pub(super) held: Vec<OwnedFd>,
}

struct Server {
    pid: i32,
    pidfd: OwnedFd,
    parentage: Parentage,
    streams: Streams,
    listener: OwnedFd,
    /// Until when nobody is taken.
    pause: Option<Instant>,
    clients: Clients,
    holdings: Holdings,
    log: Log,
    exit: Place,
    incidents: Incidents,
    /// What was read last.
    chunk: Box<[u8]>,
    /// How much of it the first client has not taken, and where it came from.
    held: Option<(LogStream, usize)>,
    /// The end of the container's time.
    due: Option<Instant>,
    time_is_up: bool,
    checks: Option<Checks>,
    memory: Memory,
}

/// How often a stream is read in a row, while each time as much comes as there is room for: the log has larger writes then.
const READS: usize = 4;

/// How much memory the process has touched since it last let go of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Touched,
    LetGo,
}

/// What a wait ended with.
struct Ready {
    exited: bool,
    checked: bool,
    listener: bool,
    input: bool,
    /// By the index of the stream.
    outputs: [bool; 2],
    /// Whether the first client may take what it had no room for.
    held: bool,
    /// Indexes of the clients that say something, in ascending order.
    clients: Vec<usize>,
}

impl Server {
    fn new(service: Service) -> Server {
        let mut incidents = Incidents::default();
        incidents.note(ioctl_fionbio(&service.listener, true).map_err(accept_error));
        Server {
            pid: service.pid,
            pidfd: service.pidfd,
            parentage: service.parentage,
            streams: Streams::new(service.io, service.input_end, &mut incidents),
            listener: service.listener,
            pause: None,
            clients: Clients::new(service.first_client),
            holdings: Holdings::new(service.keep),
            log: Log::open(service.log, &mut incidents),
            exit: Place::reserve(service.exit),
            incidents,
            chunk: vec![0; MOST_OUTPUT].into_boxed_slice(),
            held: None,
            due: service.time_limit.and_then(|limit| Instant::now().checked_add(limit)),
            time_is_up: false,
            checks: service.check.map(Checks::new),
            memory: Memory::Touched,
        }
    }

    /// Copies until init has ended.
    fn stand_by(&mut self) {
        loop {
            let Some(ready) = self.wait() else { continue };
            self.kill_if_due();
            if let Some(checks) = &mut self.checks {
                if ready.checked {
                    checks.heed();
                    // To execute something takes much of the program, and the next check may come before there is quiet.
                    sys::text::let_go();
                }
                checks.begin_if_due(&mut self.incidents);
            }
            if ready.listener {
                self.accept();
            }
            if ready.input {
                self.streams.write(&mut self.incidents);
            }
            self.listen(&ready.clients);
            self.streams.type_end_of_input(&mut self.incidents);
            if ready.held {
                self.tell_first_again();
            }
            for index in (0..2).filter(|index| ready.outputs[*index]) {
                if self.held.is_none() {
                    self.copy(index);
                }
            }
            if ready.exited {
                return;
            }
        }
    }

    /// Hands on what a stream of the container has: of one that is full, some of it before anything else is looked at.
    fn copy(&mut self, index: usize) {
        for _ in 0..READS {
            if self.copy_once(index) < self.chunk.len() || self.held.is_some() {
                break;
            }
        }
        self.log.flush(&mut self.incidents);
    }

    /// Reads once from a stream of the container, and hands it on; answers how many bytes came.
    fn copy_once(&mut self, index: usize) -> usize {
        let (stream, count) = self.streams.read(index, &mut self.chunk, &mut self.incidents);
        if count > 0 {
            let bytes = &self.chunk[..count];
            self.log.write(stream, bytes, &mut self.incidents);
            if self.clients.tell(stream, bytes) == Delivery::Held {
                self.held = Some((stream, count));
            }
        }
        count
    }

    fn tell_first_again(&mut self) {
        if let Some((stream, count)) = self.held
            && self.clients.tell_first(stream, &self.chunk[..count]) == Delivery::Done
        {
            self.held = None;
        }
    }

    /// Hears one message of each, those who came first before the others.
    fn listen(&mut self, indexes: &[usize]) {
        let mut removed = 0;
        for index in indexes {
            let before = self.clients.count();
            self.listen_to(index - removed);
            removed += before - self.clients.count();
        }
        // It may have been the one that was waited for.
        if self.clients.first().is_none() {
            self.held = None;
        }
    }

    fn listen_to(&mut self, index: usize) {
        let Some(room) = self.streams.room_for_input() else { return };
        match self.clients.listen(index, room) {
            Request::Input(count) => self.streams.type_input(count, &mut self.incidents),
            Request::InputEnd => self.streams.end_input(),
            Request::Left => self.streams.leave_input(),
            Request::Resize(rows, columns) => self.streams.resize(rows, columns),
            Request::Unlogged => self.clients.tell_unlogged(index, self.log.lost()),
            Request::Hold(sockets) => {
                self.holdings.add(sockets);
                self.clients.answer(index, Ok(()));
            }
            Request::Keep(count) => {
                let kept = self.holdings.keep_only(&room[..count]);
                self.clients.answer(index, kept);
            }
            Request::Nothing => {}
        }
    }

    fn accept(&mut self) {
        if let Err(errno) = self.clients.accept(self.listener.as_fd()) {
            self.incidents.note(Err(accept_error(errno)));
            self.pause = Instant::now().checked_add(PAUSE);
        }
    }

    fn kill_if_due(&mut self) {
        let now = Instant::now();
        self.pause.take_if(|until| *until <= now);
        if self.due.take_if(|due| *due <= now).is_none() {
            return;
        }
        self.time_is_up = true;
        self.incidents.note(init::send_signal(self.pidfd.as_fd(), self.pid, Signal::KILL.as_raw()));
    }

    /// Waits for something to do; nothing where that failed.
    fn wait(&mut self) -> Option<Ready> {
        let mut wait = Wait::for_some(7 + self.clients.count());
        let pidfd = wait.add(Some(self.pidfd.as_fd()), PollFlags::IN);
        let checks = wait.add(self.checks.as_ref().and_then(Checks::process), PollFlags::IN);
        let listener = wait.add(self.pause.is_none().then(|| self.listener.as_fd()), PollFlags::IN);
        let input = wait.add(self.streams.input(), PollFlags::OUT);
        let reads = self.held.is_none();
        let outputs = [0, 1].map(|index| {
            let output = self.streams.output(index).filter(|_| reads);
            wait.add(output, PollFlags::IN)
        });
        let held = wait.add(self.clients.first().filter(|_| self.held.is_some()), PollFlags::OUT);
        let listens = self.streams.takes_input();
        let clients = self.clients.connections();
        let clients: Vec<_> =
            clients.map(|connection| wait.add(Some(connection).filter(|_| listens), PollFlags::IN)).collect();
        match wait.wait(self.timeout()) {
            // What is due touches some.
            Ok(0) if self.is_check_due() => self.memory = Memory::Touched,
            Ok(0) if self.memory == Memory::Touched => {
                self.memory = Memory::LetGo;
                self.log.let_go();
                sys::text::let_go();
            }
            Ok(0) => {}
            Ok(_) => self.memory = Memory::Touched,
            Err(errno) => {
                let object = format!("process {}", self.pid);
                self.incidents.note(Err(Error::new(Operation::Wait, object, errno)));
                // The kernel is short of memory: not to ask it all the time.
                std::thread::sleep(Duration::from_millis(100));
                return None;
            }
        }
        Some(Ready {
            exited: wait.is_ready(pidfd),
            checked: wait.is_ready(checks),
            listener: wait.is_ready(listener),
            input: wait.is_ready(input),
            outputs: outputs.map(|output| wait.is_ready(output)),
            held: wait.is_ready(held),
            clients: (0..clients.len()).filter(|index| wait.is_ready(clients[*index])).collect(),
        })
    }

    fn is_check_due(&self) -> bool {
        let due = self.checks.as_ref().and_then(Checks::due);
        due.is_some_and(|due| due <= Instant::now())
    }

    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let check = self.checks.as_ref().and_then(Checks::due);
        let times = self.due.into_iter().chain(self.pause).chain(check);
        let left = times.map(|time| time.saturating_duration_since(now));
        let quiet = (self.memory == Memory::Touched).then_some(QUIET);
        left.chain(self.streams.timeout()).chain(quiet).min()
    }

    /// Init has ended: hands on what it left, writes the record, and only then says so.
    fn finish(mut self) -> Left {
        let time = Moment::now();
        self.checks.take().into_iter().for_each(Checks::end);
        self.clients.make_room_for_first();
        self.drain();
        self.log.finish(&mut self.incidents);
        let exit = match ending::status(self.pidfd.as_fd(), self.pid, self.parentage) {
            Ok(exit) => exit,
            Err(error) => {
                self.incidents.note(Err(error));
                None
            }
        };
        let record = ExitRecord {
            exit,
            time,
            lost_bytes: self.log.lost(),
            rotated_out_bytes: self.log.rotated_out(),
            time_was_up: self.time_is_up && exit.is_some_and(|exit| exit.is_kill()),
            incidents: self.incidents.into_errors(),
        };
        // Where it can't be written, the clients know all the same, and nobody else is told a wrong one.
        let _ = self.exit.fill(&record);
        // Those that came too late for anything else.
        let _ = self.clients.accept(self.listener.as_fd());
        self.clients.tell_end(&record);
        Left { clients: self.clients.into_connections(), held: self.holdings.into_first() }
    }

    fn drain(&mut self) {
        let most = self.streams.begin_to_drain();
        let deadline = Instant::now() + PATIENCE;
        self.wait_for_first(deadline);
        for index in 0..self.streams.count() {
            let mut left = most;
            while left > 0 && self.streams.output(index).is_some() {
                let count = self.copy_once(index);
                self.log.flush(&mut self.incidents);
                match count {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
                self.wait_for_first(deadline);
            }
        }
    }

    /// Until the first client has taken what it had no room for, or has had its time.
    fn wait_for_first(&mut self, deadline: Instant) {
        while let Some((_, count)) = self.held {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !is_writable(self.clients.first(), left) {
                self.clients.let_first_lose(count);
                self.held = None;
                return;
            }
            self.tell_first_again();
        }
    }
}

/// Waits for room in a connection, or for its end.
fn is_writable(connection: Option<BorrowedFd<'_>>, limit: Duration) -> bool {
    let Some(connection) = connection else { return true };
    let mut wait = Wait::for_some(1);
    wait.add(Some(connection), PollFlags::OUT);
    wait.wait(Some(limit)).is_ok_and(|count| count > 0)
}

fn accept_error(errno: Errno) -> Error {
    Error::new(Operation::Accept, "the container's socket", errno)
}
