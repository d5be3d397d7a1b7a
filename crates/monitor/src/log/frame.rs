//! Owns what stands around the texts of lines that were read at one time: written once, and copied for each. Must not know what a
//! text is, nor write it anywhere.

use crate::log::lines::{Ending, Piece};

/// What stands around each text, of one stream and one time.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// Around a whole line, or the end of one.
    pub(super) line: Around,
    /// Around a piece of a line that goes on.
    pub(super) open: Around,
}

/// What stands before a text, and behind it.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) before: Vec<u8>,
    pub(super) behind: Vec<u8>,
}

impl Frame {
    /// Adds the record for `piece`, whose text `write` appends.
    pub(super) fn put(
        &self,
        record: &mut Vec<u8>,
        piece: Piece<'_>,
        write: impl FnOnce(&mut Vec<u8>, &[u8]),
    ) {
        let around = match piece.ending {
            Ending::Line => &self.line,
            Ending::Open => &self.open,
        };
        record.extend_from_slice(&around.before);
        write(record, piece.text());
        record.extend_from_slice(&around.behind);
    }
}
