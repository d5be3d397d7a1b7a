//! Owns the responder's one loop: it waits for leases, questions and answers at once, in one thread. Decides nothing about a
//! name.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::inotify::{self, WatchFlags};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Responder;
use super::clients::Clients;
use super::forward::{Asker, Delivery, Forwarder};
use super::resolvers::HostResolvers;
use super::sockets::{PORT, Sockets};
use super::table::{self, Holder, Table, Verdict};
use super::wire;
use crate::error::{Error, Result};
use crate::options::BridgeNetwork;
use crate::state::NetworkStateDirectory;

/// How often the leases are looked at where the kernel does not tell of changes: where it can't, or where a lease is held by
/// a record, which lies elsewhere.
const OFTEN: Duration = Duration::from_secs(1);
/// And otherwise, for what may have been missed.
const SELDOM: Duration = Duration::from_secs(60);
/// How many datagrams of a socket are read before the others have their turn.
const AT_ONCE: usize = 64;
/// The longest question over UDP.
const MOST_QUESTION: usize = 4096;

pub(crate) struct Server<'a> {
    lock: OwnedFd,
    sockets: Sockets,
    state: &'a NetworkStateDirectory,
    network: &'a BridgeNetwork,
    label: &'a str,
    watch: Option<OwnedFd>,
    table: Table,
    next_look: Instant,
    clients: Clients,
    forwarder: Forwarder,
    host: HostResolvers,
}

/// What something has happened to.
#[derive(Debug, Clone, Copy)]
enum Place {
    Leases,
    Datagrams(usize),
    Listener(usize),
    Client(u64),
    Flight(u64),
}

impl<'a> Server<'a> {
    pub(crate) fn new(
        responder: Responder,
        state: &'a NetworkStateDirectory,
        network: &'a BridgeNetwork,
        label: &'a str,
    ) -> Self {
        Server {
            lock: responder.lock,
            sockets: responder.sockets,
            state,
            network,
            label,
            watch: None,
            table: Table::default(),
            next_look: Instant::now(),
            clients: Clients::default(),
            forwarder: Forwarder::default(),
            host: HostResolvers::default(),
        }
    }

    pub(crate) fn run(mut self) -> Result<()> {
        // Before the first look, so that no change is missed.
        self.watch = watch(self.state);
        self.look();
        loop {
            if self.table.is_empty() && self.leaves() {
                return Ok(());
            }
            let happened = self.wait()?;
            let now = Instant::now();
            let has_changed = happened.iter().any(|place| matches!(place, Place::Leases));
            if has_changed || now >= self.next_look {
                // Before the questions: a container that runs has been told of.
                self.look();
            }
            for place in happened {
                self.advance(place);
            }
            let overdue = self.forwarder.expire(now);
            overdue.into_iter().for_each(|delivery| self.deliver(delivery));
            self.clients.sweep(now).into_iter().for_each(|number| self.forwarder.forget(number));
        }
    }

    /// Reads all leases anew.
    fn look(&mut self) {
        if let Some(watch) = &self.watch {
            // What was told is forgotten: the leases themselves say it.
            let _ = sys::inotify::wait(watch.as_fd(), Duration::ZERO);
        }
        // Where that fails, what was known stays until the next look.
        let wait = match self.state.held_texts() {
            Ok((held, are_left)) => {
                self.table = Table::new(held.into_iter().map(Holder::of).collect());
                if are_left || self.watch.is_none() { OFTEN } else { SELDOM }
            }
            Err(_) => OFTEN,
        };
        self.next_look = Instant::now() + wait;
    }

    /// Lets the place go where nobody has a lease. A start that came before has its lease by now, and one that comes after
    /// takes the place itself.
    fn leaves(&mut self) -> bool {
        if flock(&self.lock, FlockOperation::Unlock).is_err() {
            return true;
        }
        self.look();
        self.table.is_empty() || flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_err()
    }

    fn wait(&self) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        let mut descriptors = Vec::new();
        let mut add = |place, descriptor, flags| {
            places.push(place);
            descriptors.push(PollFd::from_borrowed_fd(descriptor, flags));
        };
        self.watch.iter().for_each(|watch| add(Place::Leases, watch.as_fd(), PollFlags::IN));
        for (index, socket) in self.sockets.udp.iter().enumerate() {
            add(Place::Datagrams(index), socket.as_fd(), PollFlags::IN);
        }
        for (index, socket) in self.sockets.tcp.iter().enumerate().filter(|_| self.clients.have_room()) {
            add(Place::Listener(index), socket.as_fd(), PollFlags::IN);
        }
        self.clients
            .waited_for()
            .for_each(|(number, socket, flags)| add(Place::Client(number), socket, flags));
        self.forwarder
            .waited_for()
            .for_each(|(number, socket, flags)| add(Place::Flight(number), socket, flags));
        let deadlines = [Some(self.next_look), self.clients.deadline(), self.forwarder.deadline()];
        let deadline = deadlines.into_iter().flatten().min().unwrap_or(self.next_look);
        let limit = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
        match poll(&mut descriptors, limit.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR | Errno::AGAIN) => return Ok(Vec::new()),
            Err(errno) => {
                return Err(Error::from_errno(
                    "wait for questions on network",
                    self.state.name().as_str(),
                    errno,
                ));
            }
        }
        let happened =
            places.into_iter().zip(&descriptors).filter(|(_, descriptor)| !descriptor.revents().is_empty());
        Ok(happened.map(|(place, _)| place).collect())
    }

    fn advance(&mut self, place: Place) {
        match place {
            Place::Leases => {}
            Place::Datagrams(socket) => self.read_datagrams(socket),
            Place::Listener(index) => {
                if let Some(Ok((stream, peer))) =
                    self.sockets.tcp.get(index).map(std::net::TcpListener::accept)
                    && table::may_ask(self.network, peer.ip())
                {
                    self.clients.add(stream, peer.ip());
                }
            }
            Place::Client(number) => {
                let Some((peer, questions)) = self.clients.advance(number) else { return };
                for question in questions {
                    self.hear(&question, Asker::Connection { number, peer });
                }
            }
            Place::Flight(number) => {
                if let Some(delivery) = self.forwarder.advance(number) {
                    self.deliver(delivery);
                }
            }
        }
    }

    fn read_datagrams(&mut self, socket: usize) {
        let mut room = [0; MOST_QUESTION];
        for _ in 0..AT_ONCE {
            let Some(Ok((length, from))) =
                self.sockets.udp.get(socket).map(|socket| socket.recv_from(&mut room))
            else {
                return;
            };
            // The bridge carries what else may be plugged into it.
            if table::may_ask(self.network, from.ip()) {
                self.hear(&room[..length], Asker::Datagram { socket, from });
            }
        }
    }

    fn hear(&mut self, message: &[u8], asker: Asker) {
        let answer = match wire::read(message) {
            wire::Read::NoQuery => Some(Vec::new()),
            wire::Read::Unfit(code) => Some(wire::unfit(message, code)),
            wire::Read::Query(query) => match self.table.answer(&query, self.network, self.label) {
                Verdict::Reply(code, answers) => Some(query.reply(code, &answers, asker.carrier())),
                Verdict::Forward => {
                    let servers = self.servers_for(asker);
                    self.forwarder.begin(&query, asker, servers)
                }
            },
        };
        answer.into_iter().for_each(|answer| self.deliver((asker, answer)));
    }

    /// Whom a container's question goes on to: its own servers, or the host's. Never back to here.
    fn servers_for(&mut self, asker: Asker) -> Vec<SocketAddr> {
        let own = self.table.servers_of(asker.address());
        let mut servers: Vec<SocketAddr> = match own {
            [] => self.host.now().to_vec(),
            own => own.iter().map(|server| SocketAddr::new(*server, PORT)).collect(),
        };
        let ours = |server: &SocketAddr| {
            self.sockets.udp.iter().any(|socket| socket.local_addr().ok() == Some(*server))
        };
        servers.retain(|server| !ours(server));
        servers
    }

    fn deliver(&mut self, (asker, message): Delivery) {
        match asker {
            Asker::Connection { number, .. } => self.clients.answer(number, &message),
            Asker::Datagram { socket, from } => {
                if let Some(socket) = self.sockets.udp.get(socket).filter(|_| !message.is_empty()) {
                    // Who is gone needs no answer, and who lost it asks again.
                    let _ = socket.send_to(&message, from);
                }
            }
        }
    }
}

/// Told of by the kernel: leases that are written, removed, or let go by the death of their holder, which closes them.
fn watch(state: &NetworkStateDirectory) -> Option<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    let flags = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
    inotify::add_watch(&watch, state.leases_from_anywhere(), flags).ok()?;
    Some(watch)
}
