//! Owns what people and callers read: one function turns an error into text. Must not decide anything.

use std::io::Write;
use std::process::ExitCode;

use runtime::{Error, ErrorKind};

use crate::args::{self, Globals};
use crate::log::{self, Level};

/// Tells `error` of `verb` on stderr and in the log, and gives the exit code.
pub(crate) fn fail(globals: &Globals, verb: &str, error: &Error, code: u8) -> ExitCode {
    let fact = fact(verb, error);
    to_stderr(&error_text(&fact, error));
    to_log(globals, Level::Error, &error_line(&fact, error));
    ExitCode::from(code)
}

/// Tells something that the caller should know and that stopped nothing.
pub(crate) fn warn(globals: &Globals, message: &str) {
    if globals.log.is_none() {
        to_stderr(&format!("warning: {message}\n"));
    }
    to_log(globals, Level::Warning, message);
}

/// Tells of poststop hooks that failed.
pub(crate) fn warn_of_hooks(globals: &Globals, failed: &[Error]) {
    failed.iter().for_each(|error| warn(globals, &error_line(&error.to_string(), error)));
}

/// Tells something to whoever asked for `--debug`.
pub(crate) fn debug(globals: &Globals, message: &str) {
    if !globals.debug {
        return;
    }
    match &globals.log {
        None => to_stderr(&log::line(globals.log_format, Level::Debug, message)),
        Some(_) => to_log(globals, Level::Debug, message),
    }
}

/// Writes `text` to stdout. A reader that has gone away is no failure.
pub(crate) fn print(text: &str) -> ExitCode {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let error = Error::system("write to standard output", error);
            to_stderr(&error_text(&error.to_string(), &error));
            ExitCode::from(1)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// What failed and why. Where it is a step of a start, or a mount that the kernel would refuse then, runc's sentence stands
/// before it, for the alerts and runbooks that look for that.
fn fact(verb: &str, error: &Error) -> String {
    let field = match &error.step {
        Some(step) => step.asked_by.as_deref().unwrap_or_default(),
        None => &error.operation,
    };
    let mounting = field.starts_with("mounts[");
    let ends_the_start = error.step.is_some() || (mounting && error.kind == ErrorKind::Permission);
    if !ends_the_start {
        return error.to_string();
    }
    let part = if mounting { "error during container init: error mounting: " } else { "" };
    format!("{} {verb} failed: unable to start container process: {part}{error}", args::called())
}

/// The error as people read it: the fact first, then where in the plan, then what one can do.
///
/// A program that the kernel refused to execute had its streams already, and whoever reads them expects one line of it, as
/// from a shell; the log has the rest.
fn error_text(fact: &str, error: &Error) -> String {
    let program = error.step.as_ref().and_then(|step| step.program.as_ref());
    if let (Some(program), Some(errno)) = (program, error.errno) {
        return format!("exec {program}: {}\n", sys::errno_text(errno));
    }
    let mut text = format!("error: {fact}\n");
    if let Some(step) = &error.step {
        text.push_str(&format!("  {}\n", place(step)));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    for failed in &error.rollback {
        text.push_str(&format!("  while taking back: {failed}\n"));
    }
    text
}

/// The same in one line, for logs: podman, containerd and CRI-O show this message to their users.
fn error_line(fact: &str, error: &Error) -> String {
    let mut text = fact.to_owned();
    let mut more = Vec::new();
    more.extend(error.step.as_deref().map(place));
    more.extend(error.hint.as_ref().map(|hint| format!("hint: {hint}")));
    if !more.is_empty() {
        text.push_str(&format!(" ({})", more.join("; ")));
    }
    text
}

fn place(step: &runtime::FailedStep) -> String {
    let mut text = format!("step {} of {}", step.number, step.total);
    if let Some(asked_by) = &step.asked_by {
        text.push_str(&format!(", from config.json: {asked_by}"));
    }
    text
}

fn to_stderr(text: &str) {
    // Nobody is left to be told that nobody can be told.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn to_log(globals: &Globals, level: Level, message: &str) {
    if let Some(path) = &globals.log
        && let Err(error) = log::append(path, globals.log_format, level, message)
    {
        to_stderr(&format!("warning: {}\n", Error::at_path("write the log", path, error)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_tells_fact_place_and_hint_in_this_order() {
        let mut error =
            Error::new(ErrorKind::Permission, "mount `proc` on `/proc`", "operation not permitted")
                .with_hint("unmask it");
        error.step = Some(Box::new(runtime::FailedStep {
            number: 9,
            total: 27,
            asked_by: Some("mounts[0]".to_owned()),
            call: Some("fsmount"),
            program: None,
            timeline: Vec::new(),
        }));
        assert_eq!(
            error_text("mount `proc`: no", &error),
            "error: mount `proc`: no\n  step 9 of 27, from config.json: mounts[0]\n  hint: unmask it\n"
        );
        assert_eq!(
            error_line("mount `proc`: no", &error),
            "mount `proc`: no (step 9 of 27, from config.json: mounts[0]; hint: unmask it)"
        );
        let fact = fact("run", &error);
        let sentence = "run failed: unable to start container process: error during container init: error mounting: \
                        mount `proc` on `/proc`: operation not permitted";
        assert!(fact.ends_with(sentence), "{fact}");
    }
}
