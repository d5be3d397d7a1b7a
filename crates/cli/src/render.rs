//! What people see of errors and notices.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Error, Notice};
use serde::Serialize;

use crate::given::Given;
use crate::manner::{Warning, is_podmans, podmans_sentence, podmans_warning};

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

/// The variable that says whether messages are for people, `text`, or for machines, `json`.
pub(crate) const LOG_FORMAT: &str = "RABBITC_LOG_FORMAT";

fn are_for_machines() -> bool {
    std::env::var_os(LOG_FORMAT).is_some_and(|format| format == "json")
}

/// Prints an error of no step: what, and the remedy.
pub(crate) fn error(error: &Error) {
    told(error, None);
}

/// Prints why a start failed: what, at which of its steps, and the remedy.
pub(crate) fn failed_start(error: &Error, given: &Given) {
    let step = error.step.as_ref().map(|step| {
        let origin = step.asked_by.as_deref().and_then(|asked| given.origin(asked));
        Step {
            number: step.number,
            total: step.total,
            asked_by: origin.unwrap_or_else(|| "default".to_owned()),
        }
    });
    told(error, step);
}

/// The step of a start that failed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    number: usize,
    total: usize,
    asked_by: String,
}

fn told(error: &Error, step: Option<Step>) {
    if are_for_machines() {
        return machine(Message::of(error, step));
    }
    if is_podmans() {
        // Its scripts compare the one line; hints are not podman's.
        return stderr(&format!("Error: {}\n", podmans_sentence(error)));
    }
    let bold = colours(std::io::stderr().is_terminal());
    let (on, off) = if bold { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let step = step.map_or_else(String::new, |Step { number, total, asked_by }| {
        format!("  step {number} of {total}, asked for by: {asked_by}\n")
    });
    let mut text = format!("{on}error:{off} {error}\n{step}");
    if let Some(hint) = &error.hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    for one in &error.rollback {
        text.push_str(&format!("  not taken back: {one}\n"));
    }
    stderr(&text);
}

/// A message for machines: one JSON object on one line. What there is none of is left out (docs/errors.md).
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    msg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    /// What the operation is on, where it names something.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    /// The same, where that is a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<Step>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_taken_back: Vec<String>,
    time: String,
}

impl<'a> Message<'a> {
    fn of(error: &'a Error, step: Option<Step>) -> Message<'a> {
        let object = error.operation.split('`').nth(1);
        Message {
            level: "error",
            code: Some(error.code().name()),
            msg: error.to_string(),
            operation: Some(&error.operation),
            object,
            path: object.filter(|object| object.starts_with('/')),
            reason: Some(&error.reason),
            errno: error.errno,
            hint: error.hint.as_deref(),
            step,
            not_taken_back: error.rollback.iter().map(ToString::to_string).collect(),
            ..Message::default()
        }
    }
}

fn machine(mut message: Message<'_>) {
    message.time = now();
    stderr(&format!("{}\n", serde_json::to_string(&message).expect("only string keys")));
}

fn now() -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    engine::Moment(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)).to_string()
}

/// Prints what a person asked for without knowing it.
pub(crate) fn information(text: &str) {
    match are_for_machines() {
        true => machine(Message { level: "info", msg: text.to_owned(), ..Message::default() }),
        false => stderr(&format!("{text}\n")),
    }
}

/// Prints what is no failure, and should not be overlooked.
pub(crate) fn warning(text: &str) {
    warn(text, None);
}

/// Prints a notice.
pub(crate) fn notice(notice: &Notice) {
    warn(&notice.what, notice.remedy.as_deref());
}

fn warn(what: &str, hint: Option<&str>) {
    if get_level() == Level::Errors {
        return;
    }
    if are_for_machines() {
        return machine(Message { level: "warning", msg: what.to_owned(), hint, ..Message::default() });
    }
    if is_podmans() {
        return match podmans_warning(what) {
            Warning::Plain(text) => stderr(&format!("{text}\n")),
            Warning::Logged(text) => {
                let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                stderr(&format!("time=\"{}\" level=warning msg=\"{text}\"\n", now()));
            }
        };
    }
    let hint = hint.map_or_else(String::new, |hint| format!("  hint: {hint}\n"));
    stderr(&format!("warning: {what}\n{hint}"));
}

/// Prints what the parser of the command line says by itself: its refusals, and help.
pub(crate) fn parser(error: &clap::Error) {
    if error.use_stderr() && are_for_machines() {
        let text = error.to_string();
        let reason = text.trim_start_matches("error: ").lines().next().unwrap_or_default();
        let error = Error::invalid("rabbitc", reason.to_owned()).with_hint("`--help` shows what there is");
        return told(&error, None);
    }
    // Where nobody reads the message, the exit code still tells.
    let _ = error.print();
}
