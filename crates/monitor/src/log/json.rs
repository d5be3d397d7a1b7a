//! Owns docker's form of a log's line: a JSON object. Must not write it anywhere.

use crate::log::LogStream;
use crate::log::frame::{Around, Frame};
use crate::log::scan;
use crate::moment::Stamp;

/// What stands around each text, as docker's `json-file` driver has it; a text is written by [`escape`].
pub(super) fn frame(stream: LogStream, time: &Stamp, attributes: &[u8]) -> Frame {
    let mut behind = Vec::with_capacity(80 + attributes.len());
    // The line feed, which is of the text.
    behind.extend_from_slice(b"\\n");
    behind.extend_from_slice(match stream {
        LogStream::Stdout => b"\",\"stream\":\"stdout\",",
        LogStream::Stderr => b"\",\"stream\":\"stderr\",",
    });
    behind.extend_from_slice(attributes);
    behind.extend_from_slice(b"\"time\":\"");
    behind.extend_from_slice(time.bytes());
    behind.extend_from_slice(b"\"}\n");
    let before = b"{\"log\":\"".to_vec();
    let open = Around { before: before.clone(), behind: behind[2..].to_vec() };
    Frame { line: Around { before, behind }, open }
}

/// `"attrs":{…},`, in the order of their names, as Go has them; nothing where there are none.
pub(super) fn attributes(pairs: &[(String, String)]) -> Vec<u8> {
    let mut text = Vec::new();
    if pairs.is_empty() {
        return text;
    }
    let mut pairs: Vec<_> = pairs.iter().collect();
    pairs.sort();
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        text.extend_from_slice(if index == 0 { b"\"attrs\":{\"" } else { b",\"" });
        escape(&mut text, name.as_bytes());
        text.extend_from_slice(b"\":\"");
        escape(&mut text, value.as_bytes());
        text.push(b'"');
    }
    text.extend_from_slice(b"},");
    text
}

/// As docker writes strings: what HTML would take for its own is escaped too, a tab has no short form, and what is no UTF-8
/// becomes U+FFFD.
pub(crate) fn escape(text: &mut Vec<u8>, mut bytes: &[u8]) {
    while let Some(at) = scan::not_plain(bytes) {
        text.extend_from_slice(&bytes[..at]);
        bytes = &bytes[at..];
        let taken = match bytes[0] {
            0x80.. => escape_wide(text, bytes),
            byte => {
                escape_narrow(text, byte);
                1
            }
        };
        bytes = &bytes[taken..];
    }
    text.extend_from_slice(bytes);
}

fn escape_narrow(text: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
        b'\n' => text.extend_from_slice(b"\\n"),
        b'\r' => text.extend_from_slice(b"\\r"),
        _ => {
            let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            text.extend_from_slice(b"\\u00");
            text.extend_from_slice(&digits);
        }
    }
}

/// One character beyond ASCII; answers how many bytes it has.
fn escape_wide(text: &mut Vec<u8>, bytes: &[u8]) -> usize {
    let length = scan::character_length(bytes[0]);
    let character = bytes.get(..length).filter(|bytes| std::str::from_utf8(bytes).is_ok());
    match character {
        None => {
            text.extend_from_slice(b"\\ufffd");
            1
        }
        // Line ends to JavaScript.
        Some(b"\xe2\x80\xa8") => {
            text.extend_from_slice(b"\\u2028");
            3
        }
        Some(b"\xe2\x80\xa9") => {
            text.extend_from_slice(b"\\u2029");
            3
        }
        Some(character) => {
            text.extend_from_slice(character);
            length
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::lines::{Ending, Piece};
    use crate::moment::Moment;

    #[test]
    fn line_is_dockers() {
        let mut record = Vec::new();
        let piece = Piece::line(b"a\"b\\<\x01\t\xc3\xa4\xff\xe2\x80\xa8\n");
        frame(LogStream::Stderr, &Moment(500_000_000).short_stamp(), b"").put(&mut record, piece, escape);
        let expected = concat!(
            r#"{"log":"a\"b\\\u003c\u0001\u0009ä\ufffd\u2028\n","stream":"stderr","#,
            r#""time":"1970-01-01T00:00:00.5Z"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }

    #[test]
    fn piece_of_a_line_has_no_line_feed() {
        let mut record = Vec::new();
        let piece = Piece { bytes: b"a", ending: Ending::Open };
        frame(LogStream::Stdout, &Moment(0).short_stamp(), b"\"attrs\":{},").put(&mut record, piece, escape);
        let expected =
            concat!(r#"{"log":"a","stream":"stdout","attrs":{},"time":"1970-01-01T00:00:00Z"}"#, "\n");
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }

    #[test]
    fn attributes_stand_before_the_time_by_their_names() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let text = attributes(&[pair("tag", "x\"y"), pair("com.a", "1")]);
        assert_eq!(String::from_utf8(text).unwrap(), r#""attrs":{"com.a":"1","tag":"x\"y"},"#);
        assert!(attributes(&[]).is_empty());
    }
}
