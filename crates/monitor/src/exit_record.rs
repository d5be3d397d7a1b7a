//! Owns the record of a container's end: what its monitor knew, as a file that is whole or not there. Must not guess.

use crate::error::Error;
use crate::exit::Exit;
use crate::moment::Moment;

/// What is known of a container's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitRecord {
    /// How its init ended; none where nobody can tell.
    pub exit: Option<Exit>,
    /// When that was seen.
    pub time: Moment,
    /// How many bytes of its output were not kept, as they could not be written.
    pub lost_bytes: u64,
    /// How many bytes of its log were removed by the cap on its files.
    pub rotated_out_bytes: u64,
    /// Whether its time was up, and that ended it.
    pub time_was_up: bool,
    /// What failed on the way without being a reason to leave the container alone. At most 16, each once.
    pub incidents: Vec<Error>,
}

impl ExitRecord {
    /// As the file has it, one line: `code` (0 to 255, 128 and the number of a signal; null where it is not known),
    /// `signal` (its number, or null), `coreDumped`, `time` (RFC 3339 with nanoseconds), `lostBytes`, `rotatedOutBytes`,
    /// `timeWasUp`, and `incidents` as texts.
    pub fn to_json(&self) -> String {
        todo!()
    }
}
