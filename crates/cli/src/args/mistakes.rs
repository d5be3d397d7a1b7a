//! What the parser refuses, in the form of all other errors: flag, cause, remedy.

use std::any::TypeId;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory};
use engine::Error;

use super::PlanArguments;

/// What is missing, where words behind a verb are.
pub(super) fn missing(refusal: &clap::Error) -> &'static str {
    let Some(ContextValue::Strings(missing)) = refusal.get(ContextKind::InvalidArg) else {
        return "something is to be named";
    };
    match missing.first().map(|first| first.trim_end_matches('.')) {
        Some("<CONTAINER>") => "a container is to be named",
        Some("<LIST>") => "a list is to be named",
        Some("<FILE>") => "a file is to be named",
        Some("<NAME>") => "a new name is to be given",
        Some("<IMAGE>") => "an image is to be named",
        Some("<CONTAINER|IMAGE>") => "a container or an image is to be named",
        Some("<NETWORK>") => "a network is to be named",
        Some("<POD>") => "a pod is to be named",
        Some("<SECRET>") => "a secret is to be named",
        Some("<SHELL>") => "a shell is to be named",
        Some("<SOURCE>") => "what to copy is to be named, and where to",
        Some("<DESTINATION>") => "where to is to be named",
        Some("<VOLUME>") => "a volume is to be named",
        _ => "something is to be named",
    }
}

/// The parser's refusal in our words; `None` where it is help, or nothing that is known here.
pub(super) fn in_our_words(refusal: &clap::Error, command: &Command) -> Option<Error> {
    let context = |kind| match refusal.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(list) => list.first().cloned(),
        _ => None,
    };
    if refusal.kind() == ErrorKind::InvalidSubcommand {
        let (program, typed) = (command.get_name(), context(ContextKind::InvalidSubcommand)?);
        let error = Error::invalid(program, format!("`{}` is none of its commands", typed.escape_debug()));
        return Some(error.with_hint(lists(command)));
    }
    let typed = context(ContextKind::InvalidArg)?;
    let name = typed.split([' ', '=', '[']).next().unwrap_or_default();
    let flag = find(command, name);
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let shown = value.escape_debug();
    if refusal.kind() == ErrorKind::UnknownArgument && !name.starts_with('-') {
        let program = command.get_name();
        let error = Error::invalid(program, format!("`{}` is one word too many", typed.escape_debug()));
        return Some(error.with_hint(format!("`{program} --help` shows what it takes")));
    }
    let (reason, hint) = match refusal.kind() {
        ErrorKind::UnknownArgument
            if takes_a_program(command) && find(&PlanArguments::command(), name).is_some() =>
        {
            (
                "belongs to `rabbitc plan`, which prints the steps of a start".to_owned(),
                format!(
                    "leave it out, or write `rabbitc plan {name}=…`; a run shows its steps with `--explain`"
                ),
            )
        }
        ErrorKind::UnknownArgument => (
            "rabbitc has no such flag".to_owned(),
            match context(ContextKind::SuggestedArg).filter(|near| begin_alike(near, name)) {
                Some(near) => format!("did you mean `{near}`? {}", lists(command)),
                None if takes_a_program(command) => {
                    format!("{}; flags of the program stand behind its name", lists(command))
                }
                None => lists(command),
            },
        ),
        // Elsewhere `-h` is the help.
        ErrorKind::InvalidValue | ErrorKind::TooFewValues if value.is_empty() && name == "--hostname" => (
            "needs a value, and has none".to_owned(),
            format!("{}; help is `{} --help`", form(name, flag), command.get_name()),
        ),
        ErrorKind::InvalidValue | ErrorKind::TooFewValues if value.is_empty() => (
            "needs a value, and has none".to_owned(),
            format!("{}; a variable that it comes from may not be set", form(name, flag)),
        ),
        ErrorKind::InvalidValue => (format!("`{shown}` is not known"), form(name, flag)),
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(refusal).map(ToString::to_string).unwrap_or_default();
            match cause {
                _ if cause.contains("invalid digit") || cause.contains("empty string") => {
                    (format!("`{shown}` is not a whole number"), form(name, flag))
                }
                // It is a remedy already.
                _ if cause.starts_with("write ") => (format!("`{shown}` is not known"), cause),
                _ => (format!("`{shown}`: {cause}"), form(name, flag)),
            }
        }
        ErrorKind::TooManyValues => {
            (format!("takes no value, and has `{shown}`"), format!("write `{name}` alone"))
        }
        _ => return None,
    };
    Some(Error::invalid(name, reason).with_hint(hint))
}

fn lists(command: &Command) -> String {
    format!("`{} --help` lists what there is", command.get_name())
}

/// Whether words of a program may follow, with flags of its own.
fn takes_a_program(command: &Command) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == "arguments")
}

/// Whoever mistypes a name begins it rightly: what begins otherwise is another one.
fn begin_alike(one: &str, other: &str) -> bool {
    let first =
        |flag: &str| flag.trim_start_matches('-').chars().next().map(|letter| letter.to_ascii_lowercase());
    first(one) == first(other)
}

/// The refusal of a flag, in its one form, whose value must be text and is not.
pub(super) fn not_text(flag: &OsStr, command: &Command) -> Option<Error> {
    let bytes = flag.as_bytes();
    if std::str::from_utf8(bytes).is_ok() {
        return None;
    }
    let end = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(&bytes[..end]);
    let Some(known) = find(command, &name) else {
        let error = Error::invalid(name.escape_debug().to_string(), "rabbitc has no such flag".to_owned());
        return Some(error.with_hint("`rabbitc --help` lists what there is"));
    };
    if known.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
        return None;
    }
    let value = String::from_utf8_lossy(&bytes[end..]);
    let value = value.strip_prefix('=').unwrap_or(&value);
    let is_variable = *name == *"--env";
    let shown = match value.split_once('=') {
        // What stands behind the name of a variable may be a secret.
        Some((variable, _)) if is_variable && !variable.contains(char::REPLACEMENT_CHARACTER) => {
            format!("the value of `{}`", variable.escape_debug())
        }
        _ if is_variable => "a variable".to_owned(),
        _ => format!("`{}`", value.escape_debug()),
    };
    let error = Error::invalid(&*name, format!("{shown} is not UTF-8"));
    Some(error.with_hint(match is_variable {
        true => "the container's config is JSON, which can't hold other bytes: hand them over in a file",
        false => "the container's config is JSON, which can't hold other bytes: choose another name",
    }))
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    let long = name.strip_prefix("--")?;
    command
        .get_arguments()
        .find(|flag| flag.get_long_and_visible_aliases().is_some_and(|all| all.contains(&long)))
}

/// How a flag is written, and what it is for.
fn form(name: &str, flag: Option<&Arg>) -> String {
    let Some(flag) = flag else { return "`rabbitc --help` says what it takes".to_owned() };
    let values: Vec<String> =
        flag.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let value = match flag.get_value_names() {
        _ if !values.is_empty() => values.join("|"),
        Some([value, ..]) => value.to_string(),
        _ => "VALUE".to_owned(),
    };
    match flag.get_help() {
        Some(help) => format!("write `{name}={value}`: {}", uncapital(&help.to_string())),
        None => format!("write `{name}={value}`"),
    }
}

/// A sentence as the part of another one.
fn uncapital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
