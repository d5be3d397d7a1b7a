//! Paths of an archive, as ways downwards from its tree, and what the names mean that hide others. Looks at no file.

use std::ffi::CString;

use super::Limits;
use super::fault::{Fault, Outcome};

/// What stands before the name of a file of a lower layer that is to be hidden (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// What begins the names of notes that aufs kept for itself.
const NOTE: &[u8] = b".wh..wh.";
/// What hides all that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The longest name in a directory: Linux's NAME_MAX.
const LONGEST_PART: usize = 255;

/// A path: the directory, and the name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// Without slashes around it, and with one between any two parts; empty is the tree itself.
    pub(super) parent: Vec<u8>,
    /// Empty only where this is the tree itself.
    pub(super) last: CString,
}

/// What a name asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What the entry says.
    Itself,
    /// To hide this name, in the same directory, of lower layers.
    Hides(CString),
    /// To hide all that lower layers have in the directory.
    HidesAll,
    /// Nothing.
    Note,
}

impl Name {
    /// Reads a path of an archive. Those that begin at the root begin at the tree, as they do for the container.
    pub(super) fn parse(path: &[u8], limits: &Limits) -> Outcome<Name> {
        if path.contains(&0) {
            return Err(Fault::corrupt("its path has a NUL byte"));
        }
        if path.len() > limits.path_bytes {
            return Err(Fault::too_much(format!("its path is longer than {} bytes", limits.path_bytes)));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(Fault::corrupt("its path leads upwards")),
                _ if part.len() > LONGEST_PART => {
                    return Err(Fault::too_much("a part of its path is longer than 255 bytes"));
                }
                part => parts.push(part),
            }
        }
        if parts.len() > limits.depth {
            return Err(Fault::too_much(format!("its path has more than {} parts", limits.depth)));
        }
        let last = CString::new(parts.pop().unwrap_or_default()).expect("no NUL byte in all the path");
        Ok(Name { parent: parts.join(&b'/'), last })
    }

    /// Whether this is the tree itself.
    pub(super) fn is_root(&self) -> bool {
        self.last.is_empty()
    }

    /// The whole path.
    pub(super) fn path(&self) -> Vec<u8> {
        join(&self.parent, self.last.to_bytes())
    }

    /// What it asks for.
    pub(super) fn meaning(&self) -> Outcome<Meaning> {
        let last = self.last.to_bytes();
        if self.parent.split(|byte| *byte == b'/').any(|part| part.starts_with(NOTE)) {
            return Ok(Meaning::Note);
        }
        if self.parent.split(|byte| *byte == b'/').any(|part| part.starts_with(WHITEOUT)) {
            return Err(Fault::corrupt("its path leads through a whiteout"));
        }
        match last.strip_prefix(WHITEOUT) {
            None => Ok(Meaning::Itself),
            Some(_) if last == OPAQUE => Ok(Meaning::HidesAll),
            Some(_) if last.starts_with(NOTE) => Ok(Meaning::Note),
            Some(b"" | b"." | b"..") => Err(Fault::corrupt("it is a whiteout of no name")),
            Some(hidden) => Ok(Meaning::Hides(CString::new(hidden).expect("part of a C string"))),
        }
    }
}

/// A name in a directory, as a path.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || name.is_empty() {
        [directory, name].concat()
    } else {
        [directory, b"/", name].concat()
    }
}
