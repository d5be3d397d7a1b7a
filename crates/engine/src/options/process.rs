//! The program of a container, as meant. Looks nothing up.

use crate::error::{Error, Result};

/// Whether the container gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TerminalMode {
    /// The caller's streams are inherited.
    #[default]
    Inherit,
    /// A new terminal of this size (rows, columns).
    New(u16, u16),
}

/// The program and what it is given.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessOptions {
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// Its terminal.
    pub terminal: TerminalMode,
    /// Variables of its environment, `NAME=value`, over the defaults.
    pub environment: Vec<String>,
}

impl Default for ProcessOptions {
    fn default() -> ProcessOptions {
        ProcessOptions {
            command: vec!["/bin/sh".to_owned()],
            terminal: TerminalMode::Inherit,
            environment: Vec::new(),
        }
    }
}

impl ProcessOptions {
    /// Refuses what can't be executed anywhere.
    pub(crate) fn check(&self) -> Result<()> {
        if self.command.first().is_none_or(String::is_empty) {
            let error = Error::invalid("--cmd", "is empty".to_owned());
            return Err(error.with_hint("name a program, or leave it out to get `/bin/sh`"));
        }
        Ok(())
    }
}
