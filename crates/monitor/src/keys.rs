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

    pub(crate) fn finder(&self) -> Finder {
        Finder { keys: self.keys.clone(), found: 0 }
    }
}

/// Looks for the keys in what is typed. A beginning of them is kept back until it is known what it was.
#[derive(Debug)]
pub(crate) struct Finder {
    keys: Vec<u8>,
    /// How many of them were typed.
    found: usize,
}

/// What was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Input for the container.
    Input,
    /// The keys, at the end of it.
    Keys,
}

impl Finder {
    /// Appends to `input` what of `typed` is for the container.
    pub(crate) fn find(&mut self, typed: &[u8], input: &mut Vec<u8>) -> Typed {
        if self.keys.is_empty() {
            input.extend_from_slice(typed);
            return Typed::Input;
        }
        for byte in typed {
            if *byte == self.keys[self.found] {
                self.found += 1;
                if self.found == self.keys.len() {
                    self.found = 0;
                    return Typed::Keys;
                }
                continue;
            }
            self.give_back(input);
            // It may be the first of them again.
            if *byte == self.keys[0] {
                self.found = 1;
            } else {
                input.push(*byte);
            }
        }
        Typed::Input
    }

    /// There is no more input: what was kept back was part of it.
    pub(crate) fn give_back(&mut self, input: &mut Vec<u8>) {
        input.extend_from_slice(&self.keys[..self.found]);
        self.found = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_docker_has_them() {
        let keys = |text| DetachKeys::parse(text).map(|keys| keys.keys);
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(DetachKeys::default().keys));
        assert_eq!(keys("a,ctrl-@,ctrl-[,ctrl-_,ctrl-z"), Ok(vec![b'a', 0, 27, 31, 26]));
        assert_eq!(keys(""), Ok(Vec::new()));
        for wrong in ["ctrl-", "ctrl-P", "ab", "ctrl-a,", "ctrl-1"] {
            let word = wrong.rsplit(',').next().unwrap_or_default();
            assert_eq!(keys(wrong), Err(UnknownKey(word.to_owned())), "{wrong}");
        }
        assert_eq!(UnknownKey("ctrl-".to_owned()).to_string(), "unknown character: `ctrl-`");
    }

    fn find(keys: &str, parts: &[&str]) -> (String, Typed) {
        let mut finder = DetachKeys::parse(keys).unwrap().finder();
        let mut input = Vec::new();
        for part in parts {
            if finder.find(part.as_bytes(), &mut input) == Typed::Keys {
                return (String::from_utf8(input).unwrap(), Typed::Keys);
            }
        }
        finder.give_back(&mut input);
        (String::from_utf8(input).unwrap(), Typed::Input)
    }

    #[test]
    fn keys_are_found_in_parts_and_their_beginnings_are_typed_all_the_same() {
        assert_eq!(find("x,y", &["axy"]), ("a".to_owned(), Typed::Keys));
        assert_eq!(find("x,y", &["ax", "yb"]), ("a".to_owned(), Typed::Keys));
        assert_eq!(find("x,y", &["xxy"]), ("x".to_owned(), Typed::Keys));
        assert_eq!(find("x,y", &["xaxbx"]), ("xaxbx".to_owned(), Typed::Input));
        assert_eq!(find("x", &["a", "x"]), ("a".to_owned(), Typed::Keys));
        assert_eq!(find("", &["a", "b"]), ("ab".to_owned(), Typed::Input));
    }
}
