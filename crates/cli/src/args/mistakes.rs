//! What the parser refuses, in the form of all other errors: flag, cause, remedy.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory};
use engine::Error;

use super::PlanArguments;

/// The parser's refusal in our words; `None` where it is help, or nothing that is known here.
pub(super) fn in_our_words(refusal: &clap::Error, command: &Command) -> Option<Error> {
    let context = |kind| match refusal.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(list) => list.first().cloned(),
        _ => None,
    };
    let typed = context(ContextKind::InvalidArg)?;
    let name = typed.split([' ', '=', '[']).next().unwrap_or_default();
    let flag = find(command, name);
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let shown = value.escape_debug();
    let (reason, hint) = match refusal.kind() {
        ErrorKind::UnknownArgument if find(&PlanArguments::command(), name).is_some() => (
            "belongs to `rabbitc plan`, which prints the steps of a start".to_owned(),
            format!("leave it out, or write `rabbitc plan {name}=…`; a run shows its steps with `--explain`"),
        ),
        ErrorKind::UnknownArgument => (
            "rabbitc has no such flag".to_owned(),
            match context(ContextKind::SuggestedArg) {
                Some(near) => format!("did you mean `{near}`? `rabbitc --help` lists what there is"),
                None => "`rabbitc --help` lists what there is; flags of the program stand behind its name"
                    .to_owned(),
            },
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
