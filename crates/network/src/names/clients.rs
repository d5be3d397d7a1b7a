//! Owns the connections of containers that ask by TCP (RFC 7766): few, short, and each with a bounded memory. Answers nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};

use super::forward::whole;

/// How many connections there are at once, of all and of one address.
const MOST: usize = 64;
const MOST_OF_ONE: usize = 8;
/// How long one may be silent.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest question: most have less than a hundred bytes.
const MOST_QUESTION: usize = 4096;
/// How many answers may be outstanding, and how many bytes of them unsent.
const MOST_OPEN: usize = 16;
const MOST_UNSENT: usize = 256 * 1024;

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    all: Vec<Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    number: u64,
    peer: IpAddr,
    stream: TcpStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    /// Questions without an answer.
    open: usize,
    /// It asks nothing more.
    has_ended: bool,
    deadline: Instant,
}

impl Clients {
    /// Whether one more is accepted.
    pub(crate) fn have_room(&self) -> bool {
        self.all.len() < MOST
    }

    /// Takes a connection over, unless this address has enough of them.
    pub(crate) fn add(&mut self, stream: TcpStream, peer: IpAddr) {
        let of_one = self.all.iter().filter(|client| client.peer == peer).count();
        if of_one >= MOST_OF_ONE || stream.set_nonblocking(true).is_err() {
            return;
        }
        let deadline = Instant::now() + LIMIT;
        let (received, unsent) = (Vec::new(), Vec::new());
        self.all.push(Client {
            number: self.next,
            peer,
            stream,
            received,
            unsent,
            open: 0,
            has_ended: false,
            deadline,
        });
        self.next += 1;
    }

    /// What is waited for.
    pub(crate) fn waited_for(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, PollFlags)> {
        self.all.iter().filter_map(|client| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !client.has_ended && client.open < MOST_OPEN);
            flags.set(PollFlags::OUT, !client.unsent.is_empty());
            // Of one with nothing to do, the kernel would tell again and again that its other end is closed.
            (!flags.is_empty()).then(|| (client.number, client.stream.as_fd(), flags))
        })
    }

    /// When the first of them has been silent long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.all.iter().map(|client| client.deadline).min()
    }

    /// Reads and writes what can be: the questions that have come, and from whom.
    pub(crate) fn advance(&mut self, number: u64) -> Option<(IpAddr, Vec<Vec<u8>>)> {
        let client = self.find(number)?;
        match client.advance() {
            Ok(questions) => Some((client.peer, questions)),
            Err(_) => {
                self.close(number);
                None
            }
        }
    }

    /// Sends an answer; nothing where the connection is gone.
    pub(crate) fn answer(&mut self, number: u64, message: &[u8]) {
        let Some(client) = self.find(number) else { return };
        client.open = client.open.saturating_sub(1);
        if client.send(message).is_err() {
            self.close(number);
        }
    }

    /// Closes what is over: the numbers of those.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<u64> {
        let is_over = |client: &Client| client.deadline <= now || client.is_done();
        let over: Vec<u64> =
            self.all.iter().filter(|client| is_over(client)).map(|client| client.number).collect();
        self.all.retain(|client| !is_over(client));
        over
    }

    fn find(&mut self, number: u64) -> Option<&mut Client> {
        self.all.iter_mut().find(|client| client.number == number)
    }

    /// At the next sweep.
    fn close(&mut self, number: u64) {
        if let Some(client) = self.find(number) {
            client.has_ended = true;
            client.open = 0;
            client.unsent.clear();
        }
    }
}

impl Client {
    fn is_done(&self) -> bool {
        self.has_ended && self.open == 0 && self.unsent.is_empty()
    }

    fn advance(&mut self) -> std::io::Result<Vec<Vec<u8>>> {
        self.flush()?;
        let mut questions = Vec::new();
        let mut room = [0; MOST_QUESTION];
        if !self.has_ended && self.open < MOST_OPEN {
            match self.stream.read(&mut room) {
                Ok(0) => self.has_ended = true,
                Ok(length) => {
                    self.received.extend_from_slice(&room[..length]);
                    self.deadline = Instant::now() + LIMIT;
                }
                Err(error) if is_for_later(&error) => {}
                Err(error) => return Err(error),
            }
        }
        while let Some(question) = whole(&mut self.received) {
            self.open += 1;
            questions.push(question);
        }
        let announced =
            self.received.first_chunk::<2>().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        if announced > MOST_QUESTION {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(questions)
    }

    fn send(&mut self, message: &[u8]) -> std::io::Result<()> {
        if message.is_empty() {
            return Ok(());
        }
        let length = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidData)?;
        if self.unsent.len() + message.len() > MOST_UNSENT {
            return Err(ErrorKind::OutOfMemory.into());
        }
        self.unsent.extend(length.to_be_bytes());
        self.unsent.extend_from_slice(message);
        self.flush()
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            self.deadline = Instant::now() + LIMIT;
        }
        Ok(())
    }
}

fn is_for_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
