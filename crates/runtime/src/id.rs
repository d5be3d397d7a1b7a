//! The name of a container, well-formed by construction.

use std::fmt;

use crate::error::{Error, Result};

/// A container's id: 1 to 128 bytes of `[A-Za-z0-9_+.-]`, and neither `.` nor `..`.
///
/// It is a file name in the state directory and part of a cgroup path, so nothing else is let in (the same set as
/// runc's).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<ContainerId> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        if text.is_empty() {
            return Err(Error::invalid("container ID", "is empty".to_owned()));
        }
        if text.len() > 128 {
            return Err(Error::invalid("container ID", format!("has {} bytes; 128 are allowed", text.len())));
        }
        let refused = |why: String| {
            Err(Error::invalid("container ID", why)
                .with_hint("it may have letters, digits, `_`, `+`, `-` and `.`, and be neither `.` nor `..`"))
        };
        if text == "." || text == ".." {
            return refused(format!("`{text}` is invalid, as it names a directory"));
        }
        if let Some(character) = text.chars().find(|one| !u8::try_from(*one).is_ok_and(legal)) {
            let (text, character) = (text.escape_debug(), character.escape_debug());
            return refused(format!("`{text}` has the invalid character `{character}`"));
        }
        Ok(ContainerId(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_the_directory_are_refused() {
        for text in ["", ".", "..", "a/b", "a b", "a\0b", "ä", &"x".repeat(129)] {
            assert!(ContainerId::parse(text).is_err(), "{text:?}");
        }
        for text in ["a", "web-1_2.3+4", &"x".repeat(128)] {
            assert!(ContainerId::parse(text).is_ok(), "{text:?}");
        }
    }
}
