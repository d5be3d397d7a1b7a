//! Owns the DNS messages of the responder (RFC 1035): reads the question of a query, writes answers to it. Knows no name,
//! opens no socket.
//!
//! Of a query only its question is read, and whether it has an OPT record (RFC 6891). All else of it goes on to other
//! resolvers byte by byte, so types and options that are not known here need not be.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest message: its length is two bytes over TCP.
pub(crate) const MOST: usize = 65_535;
/// What every resolver takes over UDP.
const LEAST_ROOM: usize = 512;
/// What we send over UDP where the asker takes that much: less than any link's smallest packet of IPv6, without fragments.
const MOST_ROOM: usize = 1232;
const HEADER: usize = 12;
/// How long an answer may be remembered: a name may be another container's after a restart.
const SECONDS: u32 = 5;

const IS_RESPONSE: u16 = 1 << 15;
const OPCODE: u16 = 0xf << 11;
const IS_AUTHORITATIVE: u16 = 1 << 10;
const IS_TRUNCATED: u16 = 1 << 9;
const WANTS_RECURSION: u16 = 1 << 8;
const HAS_RECURSION: u16 = 1 << 7;

/// Types of records.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
}

/// The class of the internet.
pub(crate) const IN: u16 = 1;

/// How an answer says what became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
}

impl Code {
    /// That of a message that is an answer.
    pub(crate) fn of(message: &[u8]) -> u8 {
        message.get(3).map_or(0, |byte| byte & 0xf)
    }
}

/// One question, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    bytes: &'a [u8],
    /// The name in lower case, its labels with points between them; none where a label has a point in it.
    pub(crate) name: Option<String>,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    /// Where the question ends.
    end: usize,
    extension: Option<Extension>,
}

/// What the OPT record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extension {
    room: u16,
    /// DO and its reserved neighbours.
    flags: u16,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    Query(Query<'a>),
    /// To be answered with that.
    Unfit(Code),
    /// To be left without an answer: an answer to it could be answered again, for ever.
    NoQuery,
}

/// What an answer consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Name(String),
}

/// Over what an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Udp,
    Tcp,
}

/// Reads a message that somebody has sent, whatever is in it.
pub(crate) fn read(bytes: &[u8]) -> Read<'_> {
    let Some(flags) = u16_at(bytes, 2).filter(|_| bytes.len() >= HEADER) else { return Read::NoQuery };
    if flags & IS_RESPONSE != 0 {
        return Read::NoQuery;
    }
    if flags & OPCODE != 0 {
        return Read::Unfit(Code::NotImplemented);
    }
    match query(bytes) {
        Some(query) => Read::Query(query),
        None => Read::Unfit(Code::FormatError),
    }
}

fn query(bytes: &[u8]) -> Option<Query<'_>> {
    if u16_at(bytes, 4)? != 1 {
        return None;
    }
    let (name, behind) = name_at(bytes, HEADER)?;
    let (kind, class) = (u16_at(bytes, behind)?, u16_at(bytes, behind + 2)?);
    let end = behind + 4;
    let records =
        [6, 8, 10].into_iter().map(|at| u16_at(bytes, at).map(usize::from)).sum::<Option<usize>>()?;
    let mut extension = None;
    let mut at = end;
    // Each takes eleven bytes or more: what lies about their number ends with the bytes.
    for _ in 0..records {
        let is_root = bytes.get(at) == Some(&0);
        let fixed = behind_name(bytes, at)?;
        let length = usize::from(u16_at(bytes, fixed + 8)?);
        if is_root && u16_at(bytes, fixed)? == kind::OPT {
            extension = Some(Extension { room: u16_at(bytes, fixed + 2)?, flags: u16_at(bytes, fixed + 6)? });
        }
        at = fixed + 10 + length;
        bytes.get(..at)?;
    }
    Some(Query { bytes, name, kind, class, end, extension })
}

/// The name of a question, of which nothing stands before it that it could point to; and where it ends.
fn name_at(bytes: &[u8], start: usize) -> Option<(Option<String>, usize)> {
    let mut text = String::new();
    let mut is_plain = true;
    let mut at = start;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..64 => {
                let label = bytes.get(at..at + length)?;
                is_plain &= label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.');
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(label.iter().map(|&byte| char::from(byte.to_ascii_lowercase())));
                at += length;
            }
            _ => return None,
        }
        if at - start > 254 {
            return None;
        }
    }
    Some((is_plain.then_some(text), at))
}

/// Where a name ends, which may point to another one.
fn behind_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..64 => at += 1 + length,
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

impl Query<'_> {
    /// The message as it came.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Where the question ends.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// An answer with as many records as there is room for.
    pub(crate) fn reply(&self, code: Code, answers: &[Answer], carrier: Carrier) -> Vec<u8> {
        let extension_length = if self.extension.is_some() { 11 } else { 0 };
        let room = match (carrier, self.extension) {
            (Carrier::Tcp, _) => MOST,
            (Carrier::Udp, Some(asked)) => usize::from(asked.room).clamp(LEAST_ROOM, MOST_ROOM),
            (Carrier::Udp, None) => LEAST_ROOM,
        };
        let mut reply = self.bytes[..self.end].to_vec();
        let mut flags = self.flags() | IS_AUTHORITATIVE | code as u16;
        let mut count = 0_u16;
        for answer in answers {
            let record = record(answer);
            if reply.len() + record.len() + extension_length > room {
                flags |= IS_TRUNCATED;
                break;
            }
            reply.extend(record);
            count += 1;
        }
        if let Some(asked) = self.extension {
            // The root's name, our room in place of a class, the flags where a lifetime would stand, nothing in it.
            reply.push(0);
            for number in [kind::OPT, MOST_ROOM as u16, 0, asked.flags, 0] {
                reply.extend(number.to_be_bytes());
            }
        }
        let counts = [flags, 1, count, 0, u16::from(self.extension.is_some())];
        for (place, number) in reply[2..HEADER].chunks_exact_mut(2).zip(counts) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        reply
    }

    fn flags(&self) -> u16 {
        let asked = u16_at(self.bytes, 2).unwrap_or(0);
        IS_RESPONSE | HAS_RECURSION | asked & WANTS_RECURSION
    }
}

/// An answer to what can't be read: its number and why.
pub(crate) fn unfit(bytes: &[u8], code: Code) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[..2].copy_from_slice(&bytes[..2]);
    let asked = u16_at(bytes, 2).unwrap_or(0);
    let flags = IS_RESPONSE | asked & (OPCODE | WANTS_RECURSION) | code as u16;
    reply[2..4].copy_from_slice(&flags.to_be_bytes());
    reply
}

/// A record for the name of the question, which stands behind the header.
fn record(answer: &Answer) -> Vec<u8> {
    let (kind, data) = match answer {
        Answer::Ipv4(address) => (kind::A, address.octets().to_vec()),
        Answer::Ipv6(address) => (kind::AAAA, address.octets().to_vec()),
        Answer::Name(name) => (kind::PTR, wire_name(name)),
    };
    let mut record = vec![0xc0, HEADER as u8];
    record.extend(kind.to_be_bytes());
    record.extend(IN.to_be_bytes());
    record.extend(SECONDS.to_be_bytes());
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

/// A name as it is sent. What is no name, as [`is_name`] has it, becomes the root's.
fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|_| is_name(name)) {
        wire.push(label.len() as u8);
        wire.extend(label.bytes());
    }
    wire.push(0);
    wire
}

/// Whether a text can be asked for: labels of 1 to 63 characters that can be seen, 253 in all.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.split('.').all(|label| (1..64).contains(&label.len()))
}
