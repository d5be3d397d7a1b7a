//! Owns the reading of one record of a log, in each of its forms. Must not trust it: what is none is skipped.

use super::LogEntry;
use crate::log::{LogStream, scan};
use crate::moment::Moment;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    K8s,
}

pub(super) struct Parser {
    form: Form,
    /// What the last record said, where that is not how it was written.
    text: Vec<u8>,
    /// The last time, as it was written and as what: many lines in a row have the same.
    time: (Vec<u8>, Moment),
}

impl Parser {
    pub(super) fn json() -> Parser {
        Parser { form: Form::Json, text: Vec::new(), time: (Vec::new(), Moment(0)) }
    }

    pub(super) fn k8s() -> Parser {
        Parser { form: Form::K8s, ..Parser::json() }
    }

    /// Reads a record, without its line feed.
    pub(super) fn parse(&mut self, record: &[u8]) -> Option<LogEntry<'_>> {
        self.text.clear();
        let (stream, time) = match self.form {
            Form::Json => self.parse_json(record)?,
            Form::K8s => self.parse_k8s(record)?,
        };
        Some(LogEntry { stream, time, bytes: &self.text })
    }

    fn parse_k8s(&mut self, record: &[u8]) -> Option<(LogStream, Moment)> {
        let mut parts = record.splitn(4, |byte| *byte == b' ');
        let (time, stream, tag, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let time = self.moment(time)?;
        self.text.extend_from_slice(text);
        // More tags may follow, with colons between.
        match tag.first()? {
            b'F' => self.text.push(b'\n'),
            b'P' => {}
            _ => return None,
        }
        Some((stream_of(stream)?, time))
    }

    fn parse_json(&mut self, record: &[u8]) -> Option<(LogStream, Moment)> {
        let mut rest = record.strip_prefix(b"{")?;
        let (mut stream, mut time) = (None, None);
        loop {
            let name;
            (name, rest) = plain_string(rest)?;
            rest = rest.strip_prefix(b":")?;
            match name {
                b"log" => rest = unescape(rest.strip_prefix(b"\"")?, &mut self.text)?,
                b"stream" => {
                    let value;
                    (value, rest) = plain_string(rest)?;
                    stream = Some(stream_of(value)?);
                }
                b"time" => {
                    let value;
                    (value, rest) = plain_string(rest)?;
                    time = Some(self.moment(value)?);
                }
                // What is said beside that is an object of strings.
                _ => rest = skip_value(rest)?,
            }
            match rest.split_first()? {
                (b',', more) => rest = more,
                (b'}', _) => return Some((stream?, time?)),
                _ => return None,
            }
        }
    }

    fn moment(&mut self, text: &[u8]) -> Option<Moment> {
        if self.time.0 != text {
            let moment = Moment::parse(std::str::from_utf8(text).ok()?)?;
            self.time.0.clear();
            self.time.0.extend_from_slice(text);
            self.time.1 = moment;
        }
        Some(self.time.1)
    }
}

fn stream_of(name: &[u8]) -> Option<LogStream> {
    match name {
        b"stdout" => Some(LogStream::Stdout),
        b"stderr" => Some(LogStream::Stderr),
        _ => None,
    }
}

/// A string without escapes at the beginning, and what follows it.
fn plain_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = bytes.strip_prefix(b"\"")?;
    let end = scan::quote_or_backslash(bytes).filter(|end| bytes[*end] == b'"')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Passes over a string, an object of such, or a plain word.
fn skip_value(bytes: &[u8]) -> Option<&[u8]> {
    let mut depth = 0;
    let mut rest = bytes;
    loop {
        match rest.first()? {
            b'"' => rest = skip_string(&rest[1..])?,
            b'{' | b'[' => {
                depth += 1;
                rest = &rest[1..];
            }
            b',' | b'}' | b']' if depth == 0 => return Some(rest),
            b'}' | b']' => {
                depth -= 1;
                rest = &rest[1..];
            }
            _ => rest = &rest[1..],
        }
    }
}

fn skip_string(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let at = scan::quote_or_backslash(bytes)?;
        if bytes[at] == b'"' {
            return Some(&bytes[at + 1..]);
        }
        bytes = bytes.get(at + 2..)?;
    }
}

/// Appends what a string says, of which the first quote was read; answers what follows it.
fn unescape<'a>(mut bytes: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = scan::quote_or_backslash(bytes)?;
        text.extend_from_slice(&bytes[..at]);
        if bytes[at] == b'"' {
            return Some(&bytes[at + 1..]);
        }
        let (escape, rest) = bytes[at + 1..].split_first()?;
        bytes = rest;
        match escape {
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'u' => bytes = unescape_number(bytes, text)?,
            b'"' | b'\\' | b'/' => text.push(*escape),
            _ => return None,
        }
    }
}

/// Four digits, or twice as many where they are halves of one character.
fn unescape_number<'a>(bytes: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (unit, mut rest) = (hexadecimal(bytes)?, &bytes[4..]);
    let mut character = char::from_u32(unit);
    if (0xd800..0xdc00).contains(&unit)
        && let Some(second) = rest.strip_prefix(b"\\u").and_then(hexadecimal)
        && (0xdc00..0xe000).contains(&second)
    {
        character = char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00));
        rest = &rest[6..];
    }
    let mut place = [0; 4];
    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    text.extend_from_slice(character.encode_utf8(&mut place).as_bytes());
    Some(rest)
}

fn hexadecimal(bytes: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(bytes.get(..4)?).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(record: &str) -> Option<(LogStream, Moment, Vec<u8>)> {
        let mut parser = Parser::json();
        parser.parse(record.as_bytes()).map(|entry| (entry.stream, entry.time, entry.bytes.to_vec()))
    }

    #[test]
    fn dockers_line_is_read_whatever_it_has_beside() {
        let record = r#"{"log":"a\"\\\u003c\u0009ä\ud83d\ude00\ufffd\n","stream":"stderr","time":"1970-01-01T00:00:01.5Z"}"#;
        let expected = "a\"\\<\tä😀\u{fffd}\n".as_bytes().to_vec();
        assert_eq!(json(record), Some((LogStream::Stderr, Moment(1_500_000_000), expected)));
        let record = r#"{"log":"x","stream":"stdout","attrs":{"a":"}\"{,","b":"c"},"n":1,"time":"1970-01-01T00:00:01Z"}"#;
        assert_eq!(json(record), Some((LogStream::Stdout, Moment(1_000_000_000), b"x".to_vec())));
    }

    #[test]
    fn what_is_no_record_is_skipped() {
        for record in [
            "",
            "{",
            "{}",
            "x",
            r#"{"log":"a"#,
            r#"{"log":"a","stream":"stdout"}"#,
            r#"{"log":"a","stream":"other","time":"1970-01-01T00:00:01Z"}"#,
            r#"{"log":"\x","stream":"stdout","time":"1970-01-01T00:00:01Z"}"#,
            r#"{"log":"\u12","stream":"stdout","time":"1970-01-01T00:00:01Z"}"#,
            r#"{"log":"a","stream":"stdout","time":"yesterday"}"#,
        ] {
            assert_eq!(json(record), None, "{record}");
        }
        let mut parser = Parser::k8s();
        for record in ["", "1970-01-01T00:00:01Z stdout F", "1970-01-01T00:00:01Z stdout X a", "x stdout F a"]
        {
            assert!(parser.parse(record.as_bytes()).is_none(), "{record}");
        }
    }

    #[test]
    fn kubernetes_line_is_read() {
        let mut parser = Parser::k8s();
        let entry = parser.parse(b"1970-01-01T00:00:00.000000005+00:00 stdout F a b ").unwrap();
        assert_eq!((entry.stream, entry.time, entry.bytes), (LogStream::Stdout, Moment(5), &b"a b \n"[..]));
        let entry = parser.parse(b"1970-01-01T00:00:00.000000005Z stderr P ").unwrap();
        assert_eq!((entry.stream, entry.bytes), (LogStream::Stderr, &b""[..]));
    }
}
