//! Owns Kubernetes' form of a log's line: time, stream, `F` or `P`, text. Must not write it anywhere.

use crate::log::LogStream;
use crate::log::lines::{Ending, Piece};
use crate::moment::Stamp;

/// Adds the line for `piece`. Where its own line goes on, or was never ended, it is tagged `P`.
pub(super) fn encode(record: &mut Vec<u8>, stream: LogStream, time: &Stamp, piece: Piece<'_>) {
    record.extend_from_slice(time.bytes());
    record.extend_from_slice(match stream {
        LogStream::Stdout => b" stdout ",
        LogStream::Stderr => b" stderr ",
    });
    record.extend_from_slice(match piece.ending {
        Ending::Line => b"F ",
        Ending::Open => b"P ",
    });
    record.extend_from_slice(piece.text());
    record.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Moment;

    #[test]
    fn line_is_kubernetes() {
        let mut record = Vec::new();
        encode(&mut record, LogStream::Stdout, &Moment(5).stamp(), Piece::line(b"a b\n"));
        encode(
            &mut record,
            LogStream::Stderr,
            &Moment(5).stamp(),
            Piece { bytes: b"c", ending: Ending::Open },
        );
        let expected =
            "1970-01-01T00:00:00.000000005Z stdout F a b\n1970-01-01T00:00:00.000000005Z stderr P c\n";
        assert_eq!(String::from_utf8(record).unwrap(), expected);
    }
}
