//! `rabbitc image prune`: removes the images that nobody needs.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, Parser};
use engine::{Error, ImageFilter, ImageFilters, Pruned, Removed, Result, Unneeded};

use super::print;
use super::registries::open_to_change;
use super::table::size;
use crate::manner::is_podmans;
use crate::render;

/// Removes images without a name, and with `--all` those that no container is of.
#[derive(Debug, Parser)]
#[command(name = "rabbitc image prune", max_term_width = 100)]
pub(crate) struct PruneArguments {
    #[command(flatten)]
    choice: ChoiceArguments,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// What goes, and whether that is asked.
#[derive(Debug, Args)]
pub(crate) struct ChoiceArguments {
    /// All images that no container is of, and not only those without a name
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only those of which this holds: `until=24h`, `label=NAME[=VALUE]`, `label!=NAME`
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
}

pub(super) fn prune(arguments: &PruneArguments) -> Result<()> {
    let filters = parse_filters(&arguments.choice.filter)?;
    let images = open_to_change(arguments.root.as_deref())?;
    let (which, what) = unneeded(arguments.choice.all);
    let question = format!("WARNING! This will remove {what}.\n");
    if !arguments.choice.force && !is_wanted("rabbitc image prune", what, &question)? {
        return Ok(());
    }
    let pruned = images.prune(which, &filters)?;
    pruned.notices.iter().for_each(render::notice);
    print(&format!("{}Total reclaimed space: {}\n", deleted(&pruned), size(pruned.bytes)))
}

pub(crate) fn parse_filters(texts: &[String]) -> Result<ImageFilters> {
    Ok(ImageFilters(texts.iter().map(|text| text.parse::<ImageFilter>()).collect::<Result<_>>()?))
}

/// Which images are meant by `--all`, or without it, and in docker's words.
pub(crate) fn unneeded(all: bool) -> (Unneeded, &'static str) {
    match all {
        true => (Unneeded::Unused, "all images without at least one container associated to them"),
        false => (Unneeded::Unnamed, "all dangling images"),
    }
}

/// A line for each that is gone; docker has these in lower case, and those of `rmi` not.
pub(crate) fn deleted(pruned: &Pruned) -> String {
    let line = |one: &Removed| match one {
        Removed::Name(name) => format!("untagged: {name}\n"),
        Removed::Image(id) => format!("deleted: {id}\n"),
    };
    match pruned.removed.is_empty() {
        true => String::new(),
        false => format!("Deleted Images:\n{}\n", pruned.removed.iter().map(line).collect::<String>()),
    }
}

/// Asks whoever sits there, and else whoever writes to standard input.
pub(crate) fn is_wanted(verb: &str, what: &str, warning: &str) -> Result<bool> {
    let input = std::io::stdin();
    if input.is_terminal() || is_podmans() {
        let question = format!("{warning}Are you sure you want to continue? [y/N] ");
        // Who can't be asked can't answer either.
        let _ = std::io::stderr().write_all(question.as_bytes());
    }
    let mut answer = String::new();
    let read = input.lock().read_line(&mut answer);
    match read.map_err(|error| Error::system("read the answer", error))? {
        0 if !input.is_terminal() => {
            let error = Error::invalid(verb, format!("{what} would go, and nobody said yes"));
            Err(error.with_hint("write `--force` where nobody can be asked"))
        }
        _ => Ok(matches!(answer.trim(), "y" | "Y" | "yes")),
    }
}
