//! Owns one connection to a systemd manager: greeting, a call with its answer, waiting for a job. Must not know what
//! is asked for.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Manager;
use super::message::{self, Call, FIXED, Message, Reader, Writer};

/// How long systemd may take for all that is asked of it here.
const PATIENCE: Duration = Duration::from_secs(30);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The manager's own word: a D-Bus error name and a text.
    Answer { name: String, text: String },
    /// No way to it, or it does not speak as expected.
    Connection(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Connection(error)
    }
}

/// A connection, greeted.
pub(crate) struct Connection {
    stream: UnixStream,
    serial: u32,
    deadline: Instant,
    /// Jobs that ended and how, as far as nobody has waited for them yet.
    ended: Vec<(String, String)>,
}

impl Connection {
    /// Connects by the manager's own socket, where no message bus needs to run; else by the bus.
    pub(crate) fn open(manager: Manager) -> Result<Connection, Refusal> {
        let (direct, bus) = manager.sockets();
        match Connection::greeted(Path::new(&direct)) {
            Ok(connection) => Ok(connection),
            Err(_) => {
                let mut connection = Connection::greeted(Path::new(&bus))?;
                connection.enter_bus()?;
                Ok(connection)
            }
        }
    }

    /// The SASL part: who we are is what the socket says.
    fn greeted(path: &Path) -> io::Result<Connection> {
        let stream = UnixStream::connect(path)?;
        let deadline = Instant::now() + PATIENCE;
        let mut connection = Connection { stream, serial: 0, deadline, ended: Vec::new() };
        connection.stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            let line = connection.line()?;
            match line.split(' ').next() {
                Some("OK") => return Ok(connection),
                // An empty challenge, answered already.
                Some("DATA") => {}
                _ => return Err(io::Error::other(format!("it refuses us: `{}`", line.escape_debug()))),
            }
        }
    }

    /// On a bus one has a name, and hears only what one asks for.
    fn enter_bus(&mut self) -> Result<(), Refusal> {
        let bus = |member, signature, body| Call {
            destination: BUS,
            path: "/org/freedesktop/DBus",
            interface: BUS,
            member,
            signature,
            body,
        };
        self.call(bus("Hello", "", Writer::default()), |_| Some(()))?;
        let mut rule = Writer::default();
        rule.string(&format!("type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='JobRemoved'"));
        self.call(bus("AddMatch", "s", rule), |_| Some(()))?;
        self.manager("Subscribe", "", Writer::default(), |_| Some(()))
    }

    /// Calls a method of the manager; `read` takes the answer's body.
    pub(crate) fn manager<T>(
        &mut self,
        member: &str,
        signature: &str,
        body: Writer,
        read: impl FnOnce(Reader<'_>) -> Option<T>,
    ) -> Result<T, Refusal> {
        let call =
            Call { destination: SYSTEMD, path: MANAGER_PATH, interface: MANAGER, member, signature, body };
        self.call(call, read)
    }

    /// The manager's version: the number at the beginning of its property `Version`, which may be `v257-1.fc41`.
    pub(crate) fn version(&mut self) -> Result<u32, Refusal> {
        let mut body = Writer::default();
        body.string(MANAGER);
        body.string("Version");
        let call = Call {
            destination: SYSTEMD,
            path: MANAGER_PATH,
            interface: PROPERTIES,
            member: "Get",
            signature: "ss",
            body,
        };
        let text = self.call(call, |mut body| body.text_variant().map(str::to_owned))?;
        let digits = text.trim_start_matches('v').split(|one: char| !one.is_ascii_digit()).next();
        Ok(digits.and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }

    fn call<T>(&mut self, call: Call<'_>, read: impl FnOnce(Reader<'_>) -> Option<T>) -> Result<T, Refusal> {
        self.serial += 1;
        let expected = self.serial;
        self.stream.write_all(&call.encode(expected))?;
        loop {
            let bytes = self.message()?;
            match message::decode(&bytes).ok_or_else(rubbish)? {
                (Message::Return { serial }, body) if serial == expected => {
                    return Ok(read(body).ok_or_else(rubbish)?);
                }
                (Message::Error { serial, name }, mut body) if serial == expected => {
                    // The text is there by convention only.
                    let text = body.string().unwrap_or_default().to_owned();
                    return Err(Refusal::Answer { name, text });
                }
                (message, body) => self.note(&message, body),
            }
        }
    }

    /// Waits until `job` has ended, and returns systemd's word for how: `done`, if all went well.
    pub(crate) fn wait_for_job(&mut self, job: &str) -> io::Result<String> {
        loop {
            if let Some(at) = self.ended.iter().position(|(ended, _)| ended == job) {
                return Ok(self.ended.swap_remove(at).1);
            }
            let bytes = self.message()?;
            let (message, body) = message::decode(&bytes).ok_or_else(rubbish)?;
            self.note(&message, body);
        }
    }

    /// `JobRemoved(u id, o job, s unit, s result)` is what one waits for; nothing else matters.
    fn note(&mut self, message: &Message, mut body: Reader<'_>) {
        if !matches!(message, Message::Signal { member } if member == "JobRemoved") {
            return;
        }
        let mut read = || {
            body.u32()?;
            let job = body.string()?.to_owned();
            body.string()?;
            Some((job, body.string()?.to_owned()))
        };
        self.ended.extend(read());
    }

    fn message(&mut self) -> io::Result<Vec<u8>> {
        let mut fixed = [0_u8; FIXED];
        self.fill(&mut fixed)?;
        let mut bytes = vec![0_u8; message::length(&fixed).ok_or_else(rubbish)?];
        bytes[..FIXED].copy_from_slice(&fixed);
        self.fill(&mut bytes[FIXED..])?;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() > 1024 {
                return Err(rubbish());
            }
            let mut byte = [0_u8];
            self.fill(&mut byte)?;
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => bytes = &mut bytes[length..],
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn rubbish() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it sends what is no D-Bus message")
}
