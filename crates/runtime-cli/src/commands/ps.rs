//! `ps`: shows the processes of one container.

use std::process::Command;

use lexopt::{Arg, Parser, ValueExt};
use runtime::{Error, ErrorKind, lifecycle};

use super::{Failure, Outcome};
use crate::args::{self, Globals};
use crate::render;

pub(super) const USAGE: &str = "\
List the processes of a container.

Usage: rabbitc-runtime ps [OPTIONS] ID [OPTIONS OF ps(1)]

Options:
  -f, --format FORMAT  table (with the host's ps, `ps -ef` by default) or json (pids alone)
";

enum Form {
    Table,
    Json,
}

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut id = None;
    let mut form = Form::Table;
    let mut options = Vec::new();
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("format") | Arg::Short('f') => {
                form = match args::text(&mut parser)?.as_str() {
                    "table" => Form::Table,
                    "json" => Form::Json,
                    other => {
                        let reason = format!("`{other}` is neither table nor json");
                        return Err(Error::invalid("--format", reason).into());
                    }
                }
            }
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Value(value) => {
                args::take_id(&mut id, value)?;
                // What looks like an option from here on may be ps's, unless it is ours.
                if let Some(mut rest) = parser.try_raw_args().filter(|rest| !is_ours(rest.peek())) {
                    options = rest
                        .by_ref()
                        .map(|value| value.string())
                        .collect::<Result<_, _>>()
                        .map_err(args::wrong)?;
                }
            }
            other => return Err(args::unexpected(other).into()),
        }
    }
    let id = args::need_id(id, "ps")?;
    let view = lifecycle::view(&globals.state(), &id)?;
    let operation = format!("list the processes of `{id}`");
    if view.record.cgroup_path.is_none() {
        return Err(lifecycle::no_cgroup(operation).into());
    }
    let pids = match lifecycle::cgroup_of(&view.record)? {
        Some(group) => group.processes_recursive().map_err(Error::from)?,
        // A scope of systemd's ends with its last process.
        None if view.status == lifecycle::Status::Stopped => Vec::new(),
        None => return Err(Error::new(ErrorKind::WrongStatus, operation, "its cgroup is gone").into()),
    };
    match form {
        Form::Json => render::print(&format!("{}\n", serde_json::to_string(&pids).expect("numbers"))),
        Form::Table => render::print(&table(&pids, options).map_err(|error| {
            Error::new(ErrorKind::System, operation, error).with_hint("`--format json` needs no ps")
        })?),
    };
    Ok(0)
}

fn is_ours(next: Option<&std::ffi::OsStr>) -> bool {
    next.is_some_and(|next| {
        let next = next.to_string_lossy();
        ["-f", "-h", "--help"].contains(&next.as_ref())
            || next.starts_with("--format")
            || next.starts_with("-f=")
    })
}

/// The lines of ps(1) that are about these processes.
fn table(pids: &[i32], options: Vec<String>) -> Result<String, String> {
    let options = if options.is_empty() { vec!["-ef".to_owned()] } else { options };
    let output =
        Command::new("ps").args(&options).output().map_err(|error| Error::system("ps", error).to_string())?;
    if !output.status.success() {
        return Err(format!("ps: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    filter(&String::from_utf8_lossy(&output.stdout), pids)
}

/// The heading, and the lines whose PID column names one of `pids`.
fn filter(text: &str, pids: &[i32]) -> Result<String, String> {
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let Some(column) = heading.split_ascii_whitespace().position(|title| title == "PID") else {
        return Err("its output has no column PID".to_owned());
    };
    let mut kept = format!("{heading}\n");
    for line in lines {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|pid| pid.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            kept.push_str(&format!("{line}\n"));
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_named_pids_are_kept() {
        let text = "UID PID CMD\nroot 1 init 77\nroot 77 sh\n";
        assert_eq!(filter(text, &[77]).expect("a PID column"), "UID PID CMD\nroot 77 sh\n");
        assert!(filter("A B\n", &[1]).is_err());
    }
}
