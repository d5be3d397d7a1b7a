//! Owns the keys by which a client leaves a container: how they are written, and how they are found in what is typed. Must
//! not read or write.

use std::fmt;

/// A sequence of keys, docker's `--detach-keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
}

impl Default for DetachKeys {
    /// `ctrl-p,ctrl-q`.
    fn default() -> DetachKeys {
        DetachKeys { keys: vec![16, 17] }
    }
}

impl DetachKeys {
    /// No keys at all: nothing that is typed detaches.
    pub const NONE: DetachKeys = DetachKeys { keys: Vec::new() };

    /// From docker's form: letters or `ctrl-` and one of `a` to `z`, `@`, `[`, `\`, `]`, `^`, `_`, with commas between. The
    /// empty text is [`DetachKeys::NONE`].
    pub fn parse(text: &str) -> Result<DetachKeys, UnknownKey> {
        if text.is_empty() {
            return Ok(DetachKeys::NONE);
        }
        let keys = text.split(',').map(|word| key(word).ok_or_else(|| UnknownKey(word.to_owned())));
        Ok(DetachKeys { keys: keys.collect::<Result<_, _>>()? })
    }

    pub(crate) fn keys(&self) -> &[u8] {
        &self.keys
    }
}

fn key(word: &str) -> Option<u8> {
    if let [key] = word.as_bytes() {
        return Some(*key);
    }
    match word.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [sign @ b'['..=b'_'] => Some(sign - b'[' + 27),
        _ => None,
    }
}

/// A word among the keys that names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey(pub String);

impl fmt::Display for UnknownKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "unknown character: `{}`", self.0)
    }
}

impl std::error::Error for UnknownKey {}
