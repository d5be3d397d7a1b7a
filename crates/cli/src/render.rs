//! What people see of errors and notices.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Error, Notice};

use crate::given::Given;

/// What is told beside errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nothing.
    Errors,
    /// Warnings.
    Warnings,
}

/// Whether warnings are told: set once, before anything is done.
static WARNS: AtomicBool = AtomicBool::new(true);

/// Sets what is told by `--log-level`.
pub(crate) fn set_level(level: Level) {
    WARNS.store(level == Level::Warnings, Ordering::Relaxed);
}

/// What is told.
pub(crate) fn get_level() -> Level {
    if WARNS.load(Ordering::Relaxed) { Level::Warnings } else { Level::Errors }
}

/// Whether text for people may have colours there.
pub(crate) fn colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn stderr(text: &str) {
    // Nobody may be reading; there is no other place to say so.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints an error of no step: what, and the remedy.
pub(crate) fn error(error: &Error) {
    told(error, "");
}

/// Prints why a start failed: what, at which of its steps, and the remedy.
pub(crate) fn failed_start(error: &Error, given: &Given) {
    let step = error.step.as_ref().map_or(String::new(), |step| {
        let origin = step.asked_by.as_deref().and_then(|asked| given.origin(asked));
        let origin = origin.as_deref().unwrap_or("default");
        format!("  step {} of {}, asked for by: {origin}\n", step.number, step.total)
    });
    told(error, &step);
}

fn told(error: &Error, step: &str) {
    let bold = colours(std::io::stderr().is_terminal());
    let (on, off) = if bold { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let mut text = format!("{on}error:{off} {error}\n{step}");
    if let Some(hint) = &error.hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    for one in &error.rollback {
        text.push_str(&format!("  not taken back: {one}\n"));
    }
    stderr(&text);
}

/// Prints what a person asked for without knowing it.
pub(crate) fn information(text: &str) {
    stderr(&format!("{text}\n"));
}

/// Prints what is no failure, and should not be overlooked.
pub(crate) fn warning(text: &str) {
    if get_level() == Level::Errors {
        return;
    }
    stderr(&format!("warning: {text}\n"));
}

/// Prints a notice.
pub(crate) fn notice(notice: &Notice) {
    if get_level() == Level::Errors {
        return;
    }
    let mut text = format!("warning: {}\n", notice.what);
    if let Some(remedy) = &notice.remedy {
        text.push_str(&format!("  hint: {remedy}\n"));
    }
    stderr(&text);
}
