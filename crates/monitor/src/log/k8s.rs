//! Owns Kubernetes' form of a log's line: time, stream, `F` or `P`, text. Must not write it anywhere.

use crate::log::LogStream;
use crate::log::frame::{Around, Frame};
use crate::moment::Stamp;

/// What stands around each text. Where its own line goes on, or was never ended, it is tagged `P`.
pub(super) fn frame(stream: LogStream, time: &Stamp) -> Frame {
    let around = |tag: &[u8]| {
        let name: &[u8] = match stream {
            LogStream::Stdout => b" stdout ",
            LogStream::Stderr => b" stderr ",
        };
        Around { before: [time.bytes(), name, tag].concat(), behind: b"\n".to_vec() }
    };
    Frame { line: around(b"F "), open: around(b"P ") }
}

/// A text is written as it is.
pub(super) fn write(record: &mut Vec<u8>, text: &[u8]) {
    record.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::lines::{Ending, Piece};
    use crate::moment::Moment;

    #[test]
    fn line_is_kubernetes() {
        let mut record = Vec::new();
        let stamp = Moment(5).stamp();
        frame(LogStream::Stdout, &stamp).put(&mut record, Piece::line(b"a b\n"), write);
        frame(LogStream::Stderr, &stamp).put(&mut record, Piece { bytes: b"c", ending: Ending::Open }, write);
        let expected =
            "1970-01-01T00:00:00.000000005Z stdout F a b\n1970-01-01T00:00:00.000000005Z stderr P c\n";
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }
}
