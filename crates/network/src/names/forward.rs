//! Owns questions that have been passed on to other resolvers: several at once, each with a socket of its own, a time limit
//! and other servers to fall back on. Chooses no servers, and does not speak to who has asked.
//!
//! A question goes on over what it came over: an answer that was cut over UDP says so to who asked, who then asks by TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::wire::{self, Carrier, Code, Query, Read as Message};

/// How many questions are under way at once, of all who ask and of one address.
const MOST: usize = 256;
const MOST_OF_ONE: usize = 64;
/// How long one server has; who asks waits for five seconds by default (resolv.conf(5)).
const LIMIT: Duration = Duration::from_millis(1500);
/// A single server is asked as often, as datagrams get lost.
const LEAST_TRIES: usize = 2;

/// Who has asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// By a datagram to this socket of ours.
    Datagram { socket: usize, from: SocketAddr },
    /// Over this connection.
    Connection { number: u64, peer: IpAddr },
}

impl Asker {
    pub(crate) fn address(&self) -> IpAddr {
        match self {
            Asker::Datagram { from, .. } => from.ip(),
            Asker::Connection { peer, .. } => *peer,
        }
    }

    pub(crate) fn carrier(&self) -> Carrier {
        match self {
            Asker::Datagram { .. } => Carrier::Udp,
            Asker::Connection { .. } => Carrier::Tcp,
        }
    }
}

/// An answer, and for whom it is.
pub(crate) type Delivery = (Asker, Vec<u8>);

/// Questions under way.
#[derive(Debug, Default)]
pub(crate) struct Forwarder {
    flights: Vec<Flight>,
    /// The number of the next one.
    next: u64,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    asker: Asker,
    /// As it came.
    query: Vec<u8>,
    /// Where its question ends.
    end: usize,
    servers: Vec<SocketAddr>,
    tries: usize,
    /// By which an answer is known to be to this: nobody else can guess it.
    id: [u8; 2],
    link: Option<Link>,
    deadline: Instant,
    /// What a server has answered that could not tell.
    failure: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Link {
    Datagrams(UdpSocket),
    Connection { stream: TcpStream, unsent: Vec<u8>, received: Vec<u8> },
}

/// How far a question has come.
enum Progress {
    Waiting,
    Answered(Vec<u8>),
    /// This server does not answer.
    Failed,
}

impl Forwarder {
    /// Passes a question on. What comes back is the answer where nobody can be asked.
    pub(crate) fn begin(
        &mut self,
        query: &Query<'_>,
        asker: Asker,
        servers: Vec<SocketAddr>,
    ) -> Option<Vec<u8>> {
        let refuse = || Some(query.reply(Code::ServerFailure, &[], asker.carrier()));
        let of_one = self.flights.iter().filter(|flight| flight.asker.address() == asker.address()).count();
        if servers.is_empty() || self.flights.len() >= MOST || of_one >= MOST_OF_ONE {
            return refuse();
        }
        let mut flight = Flight {
            number: self.next,
            asker,
            query: query.bytes().to_vec(),
            end: query.end(),
            servers,
            tries: 0,
            id: [0; 2],
            link: None,
            deadline: Instant::now(),
            failure: None,
        };
        self.next += 1;
        if !flight.try_next() {
            return refuse();
        }
        self.flights.push(flight);
        None
    }

    /// What is waited for.
    pub(crate) fn waited_for(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, PollFlags)> {
        self.flights.iter().filter_map(|flight| {
            let (descriptor, flags) = match flight.link.as_ref()? {
                Link::Datagrams(socket) => (socket.as_fd(), PollFlags::IN),
                Link::Connection { stream, unsent, .. } if unsent.is_empty() => {
                    (stream.as_fd(), PollFlags::IN)
                }
                Link::Connection { stream, .. } => (stream.as_fd(), PollFlags::OUT),
            };
            Some((flight.number, descriptor, flags))
        })
    }

    /// When the first of them has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.flights.iter().map(|flight| flight.deadline).min()
    }

    /// Something has come for this one.
    pub(crate) fn advance(&mut self, number: u64) -> Option<Delivery> {
        let place = self.flights.iter().position(|flight| flight.number == number)?;
        let answer = match self.flights[place].advance() {
            Progress::Waiting => return None,
            Progress::Answered(answer) => answer,
            Progress::Failed => self.flights[place].fall_back()?,
        };
        Some((self.flights.swap_remove(place).asker, answer))
    }

    /// Turns to other servers where one has not answered in time.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let mut place = 0;
        while let Some(flight) = self.flights.get_mut(place) {
            match (flight.deadline <= now).then(|| flight.fall_back()).flatten() {
                Some(answer) => deliveries.push((self.flights.swap_remove(place).asker, answer)),
                None => place += 1,
            }
        }
        deliveries
    }

    /// Nobody waits for what this connection has asked.
    pub(crate) fn forget(&mut self, connection: u64) {
        self.flights.retain(
            |flight| !matches!(flight.asker, Asker::Connection { number, .. } if number == connection),
        );
    }
}

impl Flight {
    /// Asks the next server that can be reached; whether there was one.
    fn try_next(&mut self) -> bool {
        while self.tries < self.servers.len().max(LEAST_TRIES) {
            let server = self.servers[self.tries % self.servers.len()];
            self.tries += 1;
            self.link = self.ask(server).ok();
            if self.link.is_some() {
                self.deadline = Instant::now() + LIMIT;
                return true;
            }
        }
        false
    }

    /// The next server, or what is answered where there is none.
    fn fall_back(&mut self) -> Option<Vec<u8>> {
        if self.try_next() {
            return None;
        }
        if let Some(failure) = self.failure.take() {
            return Some(failure);
        }
        match wire::read(&self.query) {
            Message::Query(query) => Some(query.reply(Code::ServerFailure, &[], self.asker.carrier())),
            Message::Unfit(code) => Some(wire::unfit(&self.query, code)),
            Message::NoQuery => Some(Vec::new()),
        }
    }

    fn ask(&mut self, server: SocketAddr) -> std::io::Result<Link> {
        rustix::rand::getrandom(&mut self.id, rustix::rand::GetRandomFlags::empty())?;
        let mut message = self.query.clone();
        message[..2].copy_from_slice(&self.id);
        match self.asker.carrier() {
            Carrier::Udp => {
                let any: IpAddr = match server {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                // A port that the kernel chooses at random, and answers from this server alone.
                let socket = UdpSocket::bind((any, 0))?;
                socket.set_nonblocking(true)?;
                socket.connect(server)?;
                socket.send(&message)?;
                Ok(Link::Datagrams(socket))
            }
            Carrier::Tcp => {
                let length = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidInput)?;
                let unsent = [&length.to_be_bytes(), &message[..]].concat();
                Ok(Link::Connection { stream: connecting(server)?, unsent, received: Vec::new() })
            }
        }
    }

    fn advance(&mut self) -> Progress {
        let mut datagram = [0; wire::MOST];
        let Some(link) = &mut self.link else { return Progress::Failed };
        let is_datagram = matches!(link, Link::Datagrams(_));
        let received = match link {
            Link::Datagrams(socket) => match socket.recv(&mut datagram) {
                Ok(length) => datagram[..length].to_vec(),
                Err(error) if is_for_later(&error) => return Progress::Waiting,
                // An answer of ICMP: nobody listens there.
                Err(_) => return Progress::Failed,
            },
            Link::Connection { stream, unsent, received } => {
                match exchange(stream, unsent, received, &mut datagram) {
                    Ok(Some(message)) => message,
                    Ok(None) => return Progress::Waiting,
                    Err(_) => return Progress::Failed,
                }
            }
        };
        if !self.is_answered_by(&received) {
            // Of somebody else, over UDP: the right one may still come.
            return if is_datagram { Progress::Waiting } else { Progress::Failed };
        }
        let mut answer = received;
        answer[..2].copy_from_slice(&self.query[..2]);
        let fails = [Code::ServerFailure, Code::NotImplemented, Code::Refused];
        if fails.iter().any(|code| *code as u8 == Code::of(&answer)) {
            self.failure = Some(answer);
            return Progress::Failed;
        }
        Progress::Answered(answer)
    }

    /// Whether a message is an answer to this: it has the number, and the question once more.
    fn is_answered_by(&self, message: &[u8]) -> bool {
        let question = 12..self.end;
        let is_of_this = message.len() >= 12 && message[..2] == self.id && message[2] & 0x80 != 0;
        let repeats = || {
            let asked = self.query.get(question.clone());
            asked
                .zip(message.get(question.clone()))
                .is_some_and(|(asked, own)| asked.eq_ignore_ascii_case(own))
        };
        // Who does not understand a question may leave it out.
        let leaves_out = || message[4..6] == [0, 0] && Code::of(message) != Code::NoError as u8;
        is_of_this && (repeats() || leaves_out())
    }
}

fn is_for_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// A connection that is being made.
fn connecting(server: SocketAddr) -> std::io::Result<TcpStream> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends what is unsent, and reads until there is a whole message.
fn exchange(
    stream: &mut TcpStream,
    unsent: &mut Vec<u8>,
    received: &mut Vec<u8>,
    room: &mut [u8],
) -> std::io::Result<Option<Vec<u8>>> {
    while !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(length) => drop(unsent.drain(..length)),
            Err(error) if is_for_later(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    loop {
        if let Some(message) = whole(received) {
            return Ok(Some(message));
        }
        match stream.read(room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => received.extend_from_slice(&room[..length]),
            Err(error) if is_for_later(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Takes a message out of what has come over a connection, where it is whole.
pub(crate) fn whole(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*received.first_chunk::<2>()?));
    if received.len() < 2 + length {
        return None;
    }
    let rest = received.split_off(2 + length);
    let mut message = std::mem::replace(received, rest);
    message.drain(..2);
    Some(message)
}
