//! Owns the clients of a container: what they are told, and what is asked of them. Must never wait for one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};

use crate::exit_record::ExitRecord;
use crate::holdings;
use crate::log::LogStream;
use crate::protocol::{self, send};

/// More at once are turned away: each costs a buffer in the kernel.
const MOST: usize = 64;

/// What a socket's buffer is asked to be at the end, when nobody waits for its reader any more; the kernel gives what it
/// allows.
const LAST_ROOM: usize = 1 << 20;

/// Whether what was said has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Done,
    /// The first client has not taken it, and is waited for.
    Held,
}

/// What a client says.
#[derive(Debug)]
pub(super) enum Request {
    /// So many bytes of input are in the room that was given.
    Input(usize),
    /// It has no more of it.
    InputEnd,
    /// It is gone, and had not said that its input has ended.
    Left,
    /// Its window's rows and columns.
    Resize(u16, u16),
    /// How much of the output could not be logged?
    Unlogged,
    /// These are to be held.
    Hold(Vec<OwnedFd>),
    /// Which of those that are held may stay so: in so many bytes of the room.
    Keep(usize),
    /// Nothing that concerns the container.
    Nothing,
}

struct Client {
    connection: OwnedFd,
    /// Bits of `WANTS_…`.
    wants: u8,
    /// What it did not take, and was not told of.
    lost: u64,
}

/// It has closed its connection.
struct Gone;

pub(super) struct Clients {
    list: Vec<Client>,
}

impl Clients {
    pub(super) fn new(first: Option<OwnedFd>) -> Clients {
        let wants =
            protocol::WANTS_INPUT | protocol::WANTS_OUTPUT | protocol::WANTS_ERROR | protocol::WANTS_ALL;
        let first = first.map(|connection| Client { connection, wants, lost: 0 });
        Clients { list: first.into_iter().collect() }
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.list.iter().map(|client| client.connection.as_fd())
    }

    pub(super) fn into_connections(self) -> Vec<OwnedFd> {
        self.list.into_iter().map(|client| client.connection).collect()
    }

    /// The one that may hold the container back.
    pub(super) fn first(&self) -> Option<BorrowedFd<'_>> {
        self.list.iter().find(|client| client.may_hold()).map(|client| client.connection.as_fd())
    }

    /// Takes those that wait at `listener`.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>) -> Result<(), Errno> {
        loop {
            match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(connection) if self.list.len() < MOST => {
                    // What it wants is not known before it says so.
                    self.list.push(Client { connection, wants: 0, lost: 0 });
                }
                Ok(one_too_many) => drop(one_too_many),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Tells all who want it what the container wrote. Where the first client is full, the others have it all the same, and
    /// [`Clients::tell_first`] is to be called with it until that has.
    pub(super) fn tell(&mut self, stream: LogStream, bytes: &[u8]) -> Delivery {
        let mut delivery = Delivery::Done;
        for client in &mut self.list {
            if client.tell(stream, bytes) == Delivery::Held {
                delivery = Delivery::Held;
            }
        }
        delivery
    }

    /// Tells the first client again what it was told before and had no room for.
    pub(super) fn tell_first(&mut self, stream: LogStream, bytes: &[u8]) -> Delivery {
        let first = self.list.iter_mut().find(|client| client.may_hold());
        first.map_or(Delivery::Done, |first| first.tell(stream, bytes))
    }

    /// The first client is not waited for any more: what it does not take is lost to it.
    pub(super) fn let_first_lose(&mut self, bytes: usize) {
        if let Some(client) = self.list.iter_mut().find(|client| client.may_hold()) {
            client.wants &= !protocol::WANTS_ALL;
            client.lost += bytes as u64;
        }
    }

    /// The container has ended: the first client has room for what it left, however slow it reads.
    pub(super) fn make_room_for_first(&self) {
        self.first().into_iter().for_each(|first| make_room(first, LAST_ROOM / 2));
    }

    /// Tells all how the container ended.
    pub(super) fn tell_end(&mut self, record: &ExitRecord) {
        let mut flags = 0;
        if record.exit.is_none() {
            flags |= protocol::EXIT_UNKNOWN;
        }
        if record.time_was_up {
            flags |= protocol::EXIT_TIME_WAS_UP;
        }
        let code = record.exit.map_or(0, |exit| exit.code()).to_le_bytes();
        let message = [code[0], code[1], code[2], code[3], flags];
        for client in &mut self.list {
            // Those that did not read have room for this all the same.
            make_room(client.connection.as_fd(), LAST_ROOM);
            // One that cannot be told sees the end of its connection.
            let _ = client.tell_what_was_lost();
            let _ = send(client.connection.as_fd(), protocol::EXIT, &message);
        }
    }

    /// Tells the client at `index` how many bytes of output could not be logged.
    pub(super) fn tell_unlogged(&self, index: usize, bytes: u64) {
        if let Some(client) = self.list.get(index) {
            // One that does not read has no answer.
            let _ = send(client.connection.as_fd(), protocol::UNLOGGED, &bytes.to_le_bytes());
        }
    }

    /// Tells the client at `index` what became of what it asked for.
    pub(super) fn answer(&self, index: usize, result: Result<(), Errno>) {
        let code = result.map_or_else(Errno::raw_os_error, |()| 0);
        if let Some(client) = self.list.get(index) {
            // One that does not listen learns it from its connection's end.
            let _ = send(client.connection.as_fd(), protocol::ANSWER, &code.to_le_bytes());
        }
    }

    /// Reads one message of the client at `index`; input goes to `room`, which has room for a whole message. One that is
    /// gone, or says what no client says, is removed.
    pub(super) fn listen(&mut self, index: usize, room: &mut [u8]) -> Request {
        let client = &mut self.list[index];
        match client.receive(room) {
            Ok(request) => request,
            Err(Gone) => {
                let had_input = client.wants & protocol::WANTS_INPUT != 0;
                self.list.remove(index);
                if had_input { Request::Left } else { Request::Nothing }
            }
        }
    }
}

/// Asks for a buffer of this size: what is sent from now on is read after the monitor's end.
fn make_room(connection: BorrowedFd<'_>, size: usize) {
    // Best effort; the first of them is for root alone.
    if sockopt::set_socket_send_buffer_size_force(connection, size).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(connection, size);
    }
}

impl Client {
    fn may_hold(&self) -> bool {
        self.wants & protocol::WANTS_ALL != 0
    }

    fn tell(&mut self, stream: LogStream, bytes: &[u8]) -> Delivery {
        let (kind, wanted) = match stream {
            LogStream::Stdout => (protocol::OUTPUT, protocol::WANTS_OUTPUT),
            LogStream::Stderr => (protocol::ERROR, protocol::WANTS_ERROR),
        };
        if self.wants & wanted == 0 {
            return Delivery::Done;
        }
        let sent = match self.tell_what_was_lost() {
            Ok(()) => send(self.connection.as_fd(), kind, bytes),
            full => full,
        };
        match sent {
            Err(errno) if protocol::is_full(errno) && self.may_hold() => return Delivery::Held,
            Err(errno) if protocol::is_full(errno) => self.lost += bytes.len() as u64,
            Ok(()) => {}
            // It is gone. What it said before is heard all the same, its end with it.
            Err(_) => self.wants &= protocol::WANTS_INPUT,
        }
        Delivery::Done
    }

    fn tell_what_was_lost(&mut self) -> Result<(), Errno> {
        if self.lost > 0 {
            send(self.connection.as_fd(), protocol::LOST, &self.lost.to_le_bytes())?;
            self.lost = 0;
        }
        Ok(())
    }

    fn receive(&mut self, room: &mut [u8]) -> Result<Request, Gone> {
        let mut receive = || holdings::receive(self.connection.as_fd(), room);
        // One that left without having read all is told of before what it said last.
        let received =
            receive().or_else(|errno| if errno == Errno::CONNRESET { receive() } else { Err(errno) });
        let (kind, length, sockets) = match received {
            Ok(message) => message.ok_or(Gone)?,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Request::Nothing),
            Err(_) => return Err(Gone),
        };
        match (kind, &room[..length]) {
            (protocol::HELLO, [wants]) => {
                // It was given to the one that was there from the start.
                let most = if self.may_hold() { u8::MAX } else { !protocol::WANTS_ALL };
                self.wants = wants & most;
                Ok(Request::Nothing)
            }
            (protocol::INPUT, _) => Ok(Request::Input(length)),
            (protocol::INPUT_END, []) => {
                // It has ended once.
                self.wants &= !protocol::WANTS_INPUT;
                Ok(Request::InputEnd)
            }
            (protocol::ASK_UNLOGGED, []) => Ok(Request::Unlogged),
            (protocol::HOLD, []) => Ok(Request::Hold(sockets)),
            (protocol::KEEP, _) => Ok(Request::Keep(length)),
            (protocol::RESIZE, [a, b, c, d]) => {
                Ok(Request::Resize(u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d])))
            }
            _ => Err(Gone),
        }
    }
}
