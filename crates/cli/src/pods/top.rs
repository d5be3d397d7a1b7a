//! `rabbitc pod top`: the processes of a pod.

use std::process::ExitCode;

use clap::Args;
use engine::{Descriptor, Error, ErrorKind, Result};

use super::latest;
use crate::containers::PODMANS;
use crate::images::print;
use crate::life::PlaceArguments;
use crate::template::columns;

/// Lists the processes of a pod, in columns that are named, as for `rabbitc top`.
#[derive(Debug, Args)]
pub(crate) struct TopArguments {
    /// Of the one that was made last; then none is named
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    place: PlaceArguments,
    /// The pod, by its name, its id, or the beginning of that; then what is to be shown
    #[arg(trailing_var_arg = true, value_name = "POD")]
    words: Vec<String>,
}

pub(super) fn top(arguments: &TopArguments) -> Result<ExitCode> {
    let (pods, paths) = (arguments.place.pods()?, arguments.place.paths()?);
    let (pod, words) = match (&arguments.words[..], arguments.latest) {
        (words, true) => (latest(&pods, &paths)?, words),
        ([name, words @ ..], false) => (pods.find(name, &paths)?, words),
        ([], false) => {
            let error = Error::invalid("rabbitc pod top", "a pod is to be named".to_owned());
            return Err(error.with_hint("`rabbitc pod ps` lists those that there are"));
        }
    };
    let named: Vec<&str> = match words {
        [] => PODMANS.to_vec(),
        words => {
            words.iter().flat_map(|word| word.split([',', ' '])).filter(|name| !name.is_empty()).collect()
        }
    };
    let asked = named.iter().map(|name| {
        Descriptor::find(name).ok_or_else(|| {
            let reason = format!("`{}` is no column", name.escape_debug());
            let all = Descriptor::names().collect::<Vec<_>>().join(", ");
            Error::invalid("rabbitc pod top", reason).with_hint(format!("there are {all}"))
        })
    });
    let asked: Vec<Descriptor> = asked.collect::<Result<_>>()?;
    let running = pods.running(&pod, &paths);
    if running.is_empty() {
        let operation = format!("list the processes of the pod `{}`", pod.name);
        let error = Error::new(ErrorKind::WrongStatus, operation, "none of its containers runs");
        return Err(error.with_hint(format!("start it with `rabbitc pod start {}`", pod.name)));
    }
    let mut lines: Vec<Vec<String>> = vec![asked.iter().map(|column| column.title().to_owned()).collect()];
    for found in running {
        match found.describe_processes(&asked) {
            Ok(more) => lines.extend(more),
            // It has just ended.
            Err(error) if error.kind == ErrorKind::WrongStatus => {}
            Err(error) => return Err(error),
        }
    }
    let lines: Vec<Vec<&str>> = lines.iter().map(|line| line.iter().map(String::as_str).collect()).collect();
    print(&columns(&lines)).map(|()| ExitCode::SUCCESS)
}
