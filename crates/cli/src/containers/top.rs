//! `rabbitc top`: the processes of a container.

use std::process::{Command, ExitCode};

use clap::Parser;
use engine::{Descriptor, Error, ErrorKind, Result};

use super::{containers, done, find, mistaken, split};
use crate::images::print;
use crate::life::PlaceArguments;
use crate::manner::is_podmans;
use crate::template::columns;

/// What podman shows without a word.
pub(crate) const PODMANS: [&str; 8] = ["user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args"];

/// Lists the processes of a container: as ps(1) of the host shows them, with the options that are given for it (`-ef`), or in podman's
/// columns, which are named: `user`, `pid`, `ppid`, `pcpu`, `etime`, `tty`, `time`, `args`, `comm`, `state`, `rss`, `vsz`, `hpid`,
/// `huser`, `capeff`, `seccomp`, `label` and others.
#[derive(Debug, Parser)]
#[command(
    name = "rabbitc top",
    override_usage = "rabbitc top [OPTIONS] CONTAINER [OPTIONS OF ps | COLUMNS]",
    max_term_width = 100
)]
pub(crate) struct TopArguments {
    /// Of the one that was made last; then none is named
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    place: PlaceArguments,
    /// The container, by its id, the beginning of it, or its name; then what is to be shown
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CONTAINER")]
    words: Vec<String>,
}

pub(super) fn top(arguments: &TopArguments) -> ExitCode {
    match split("top", &arguments.words, arguments.latest.into()) {
        Ok((named, words)) => done(show(arguments, named, words)),
        Err(error) => mistaken(&error),
    }
}

fn show(arguments: &TopArguments, named: Option<&str>, words: &[String]) -> Result<()> {
    let found = find(&containers(&arguments.place)?, named)?;
    let usual: Vec<String> = match words {
        [] if is_podmans() => PODMANS.map(str::to_owned).to_vec(),
        words => words.to_vec(),
    };
    if let Some(asked) = descriptors(&usual) {
        let mut lines = vec![asked.iter().map(|column| column.title().to_owned()).collect()];
        lines.extend(found.describe_processes(&asked)?);
        let lines: Vec<Vec<&str>> =
            lines.iter().map(|line: &Vec<String>| line.iter().map(String::as_str).collect()).collect();
        return print(&columns(&lines));
    }
    let pids = found.processes()?;
    let table = of_ps(words).and_then(|text| filter(&text, &pids)).map_err(|reason| {
        let operation = format!("list the processes of `{}`", found.called());
        let names = Descriptor::names().collect::<Vec<_>>().join(", ");
        Error::new(ErrorKind::System, operation, reason)
            .with_hint(format!("name columns instead, which takes no ps(1): {names}"))
    })?;
    print(&as_docker(&table))
}

/// The columns that words name, where each of them names one.
fn descriptors(words: &[String]) -> Option<Vec<Descriptor>> {
    let names = words.iter().flat_map(|word| word.split([',', ' '])).filter(|name| !name.is_empty());
    let found: Option<Vec<Descriptor>> = names.map(Descriptor::find).collect();
    found.filter(|found| !found.is_empty())
}

/// What ps(1) prints.
fn of_ps(words: &[String]) -> std::result::Result<String, String> {
    let mut command = Command::new("ps");
    match words {
        [] => command.arg("-ef"),
        words => command.args(words),
    };
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no ps(1) on this host".to_owned(),
        _ => Error::system("run ps", error).to_string(),
    })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(match String::from_utf8_lossy(&output.stderr).trim() {
            // As where its options are one that it does not say it lacks.
            "" => format!("ps(1) says nothing with `{}`, and ended with {}", words.join(" "), output.status),
            said => format!("ps: {said}"),
        }),
    }
}

/// The cells of the heading, and of the lines whose column PID has one of `pids`.
fn filter(text: &str, pids: &[i32]) -> std::result::Result<Vec<Vec<String>>, String> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
    let Some(column) = titles.iter().position(|title| title == "PID") else {
        return Err("couldn't find PID field in ps output".to_owned());
    };
    let count = titles.len();
    let mut table = vec![titles];
    for line in lines {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let pid = words.get(column).and_then(|pid| pid.parse::<i32>().ok());
        if pid.is_none_or(|pid| !pids.contains(&pid)) {
            continue;
        }
        // The last column is a command with its arguments.
        let (cells, last) = words.split_at(words.len().min(count - 1));
        table.push(cells.iter().map(|cell| (*cell).to_owned()).chain([last.join(" ")]).collect());
    }
    Ok(table)
}

/// Columns of at least twenty letters, three of them blank.
fn as_docker(table: &[Vec<String>]) -> String {
    let mut text = String::new();
    let width = |column: usize| {
        let cells = table.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count() + 3).max().unwrap_or(0).max(20)
    };
    for line in table {
        for (column, cell) in line.iter().enumerate() {
            match column + 1 == line.len() {
                true => text.push_str(cell),
                false => text.push_str(&format!("{cell:width$}", width = width(column))),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_named_pids_are_kept_in_dockers_columns() {
        let table =
            filter("UID   PID CMD\nroot  1 init 77\nroot  77 sh  -c x\n", &[77]).expect("a PID column");
        let expected =
            "UID                 PID                 CMD\nroot                77                  sh -c x\n";
        assert_eq!(as_docker(&table), expected);
        assert!(filter("A B\n", &[1]).is_err());
    }

    #[test]
    fn words_are_columns_only_where_each_is_one() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(descriptors(&words("pid,comm %C")).expect("columns").len(), 3);
        for text in ["aux", "-eo pid,comm", "pid nosuch"] {
            assert!(descriptors(&words(text)).is_none(), "{text}");
        }
        assert!(descriptors(&[]).is_none());
    }
}
