//! The verbs, one module each: what was typed becomes options, options become one call of the library.

mod activation;
mod checkpoint;
mod create;
mod criu;
mod delete;
mod document;
mod events;
mod exec;
mod features;
mod kill;
mod launching;
mod list;
mod pause;
mod plan;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
mod stages;
mod start;
mod state;
mod supervising;
mod update;

use lexopt::Parser;
use runtime::{Error, ErrorKind};

pub(crate) use self::stages::tell_protected;

use crate::args::{self, Globals};
use crate::render;

/// Why a verb did not do what its name says.
pub(crate) enum Failure {
    /// It failed, and the process ends with this code.
    Failed {
        /// What to tell.
        error: Error,
        /// The exit code.
        code: u8,
    },
    /// Its help was asked for.
    Help,
}

impl From<Error> for Failure {
    /// runc ends with 1 for whatever fails, but for `exec` and missing programs; callers read the text.
    fn from(error: Error) -> Failure {
        Failure::Failed { error, code: 1 }
    }
}

/// The exit code of a verb that worked, or why it did not.
type Outcome = Result<u8, Failure>;

struct Verb {
    name: &'static str,
    summary: &'static str,
    usage: &'static str,
    run: fn(Parser, &Globals) -> Outcome,
}

macro_rules! verb {
    ($module:ident, $summary:literal) => {
        Verb { name: stringify!($module), summary: $summary, usage: $module::USAGE, run: $module::run }
    };
}

const VERBS: [Verb; 18] = [
    verb!(spec, "write a config.json to start from"),
    verb!(create, "make a container that waits to be started"),
    verb!(start, "let a created container's program begin"),
    verb!(run, "make a container, start it and wait for its end"),
    verb!(exec, "run another program in a created or running container"),
    verb!(state, "show a container's state as JSON"),
    verb!(list, "list the containers"),
    verb!(ps, "list a container's processes"),
    verb!(kill, "send a signal to a container"),
    verb!(pause, "freeze a container's processes"),
    verb!(resume, "thaw them"),
    verb!(update, "change a container's limits"),
    verb!(events, "show what a container uses, and when its memory runs out"),
    verb!(checkpoint, "write a running container to files"),
    verb!(restore, "start a container from such files again"),
    verb!(delete, "remove a container and all that was made for it"),
    verb!(plan, "print the steps of a start, and touch nothing"),
    verb!(features, "print what this runtime can do as JSON"),
];

/// Runs the verb of this name.
pub(crate) fn run(name: &str, parser: Parser, globals: &Globals) -> Outcome {
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        return Err(match wants_help(parser) {
            true => no_topic(name),
            false => unknown(name, format!("`{name}` is not a command")),
        }
        .into());
    };
    match (verb.run)(parser, globals) {
        Err(Failure::Help) => {
            render::print(&manual(verb));
            Ok(0)
        }
        other => other,
    }
}

fn unknown(name: &str, reason: String) -> Error {
    let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
    let nearest = names.iter().find(|known| known.starts_with(name) && !name.is_empty());
    let hint = match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("the commands are {}", names.join(", ")),
    };
    Error::new(ErrorKind::Invalid, "read the arguments", reason).with_hint(hint)
}

fn no_topic(name: &str) -> Error {
    unknown(name, format!("No help topic for '{name}'"))
}

fn wants_help(mut parser: Parser) -> bool {
    let rest = parser.raw_args();
    rest.is_ok_and(|mut rest| rest.any(|argument| argument == "-h" || argument == "--help"))
}

/// The text of `help VERB`.
pub(crate) fn help(name: &str) -> Result<String, Error> {
    VERBS.iter().find(|verb| verb.name == name).map(manual).ok_or_else(|| no_topic(name))
}

/// A verb's own help.
fn manual(verb: &Verb) -> String {
    let called = args::called();
    let usage =
        verb.usage.replace(&format!("rabbitc-runtime {}", verb.name), &format!("{called} {}", verb.name));
    format!("NAME:\n   {called} {} - {}\n\n{usage}", verb.name, verb.summary)
}

/// The text of `--help`.
pub(crate) fn overview() -> String {
    let called = args::called();
    let mut text = format!(
        "NAME:\n   {called} - Open Container Initiative runtime: starts containers from OCI bundles\n\n\
         Usage: {called} [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:\n",
    );
    for verb in &VERBS {
        text.push_str(&format!("  {:<10} {}\n", verb.name, verb.summary));
    }
    text.push_str(
        "\nOptions:\n\
         \x20 --root DIR           where state is kept [/run/rabbitc-runtime]\n\
         \x20 --log FILE           append errors and warnings to FILE\n\
         \x20 --log-format FORMAT  text or json\n\
         \x20 --debug              tell each step and how long it took\n\
         \x20 --cgroup-manager NAME  cgroupfs, systemd or disabled: who makes cgroups [cgroupfs]\n\
         \x20 --systemd-cgroup     the same as --cgroup-manager systemd: scopes; the path is SLICE:PREFIX:NAME\n\
         \x20 --rootless[=WHEN]    auto, true or false: accepted, and found out by itself\n\
         \x20 --version            show the versions\n\
         \x20 --help               show this; `COMMAND --help` shows a command's own\n",
    );
    text
}

/// The arguments of a verb that takes an id and nothing else.
fn only_id(mut parser: Parser, verb: &str) -> std::result::Result<runtime::ContainerId, Failure> {
    let mut id = None;
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Err(Failure::Help),
            lexopt::Arg::Value(value) => args::take_id(&mut id, value)?,
            other => return Err(args::unexpected(other).into()),
        }
    }
    Ok(args::need_id(id, verb)?)
}
