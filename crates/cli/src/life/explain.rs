//! `rabbitc explain`: what the last start of a container consisted of, and two of them side by side.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use engine::{
    ComparedStep, Error, ErrorKind, Kept, KeptContainers, Result, StartRecord, StepTime, compare_starts,
};
use serde_json::json;

use super::PlaceArguments;
use crate::args::Format;
use crate::explain;
use crate::given::Given;
use crate::images::print;
use crate::render::colours;

/// Shows what the last start of a container consisted of: each step, when, how long, what asked for it, why.
#[derive(Debug, Parser)]
#[command(name = "rabbitc explain", max_term_width = 100)]
pub(crate) struct ExplainArguments {
    /// Its name, id, or the beginning of it
    #[arg(value_name = "CONTAINER", required = true, num_args = 1..=2)]
    names: Vec<String>,
    /// Show the starts of two containers step by step: both times, the difference, and what only one has
    #[arg(long)]
    compare: bool,
    /// text, json or svg
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = Format::parse)]
    format: Format,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn explain(arguments: &ExplainArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let started = |name: &String| Started::find(&containers, &containers.find_living(name, &paths)?);
    let document = match (arguments.compare, &arguments.names[..]) {
        (false, [name]) => started(name)?.document(arguments.format)?,
        (true, [a, b]) => compared(&started(a)?, &started(b)?, arguments.format)?,
        (true, _) => {
            let error = Error::invalid("--compare", "two containers are to be named".to_owned());
            return Err(error.with_hint("write `rabbitc explain --compare A B`"));
        }
        (false, _) => {
            let error = Error::invalid("rabbitc explain", "one container is to be named".to_owned());
            return Err(error.with_hint("write `--compare` to see two side by side"));
        }
    };
    print(&document)?;
    Ok(ExitCode::SUCCESS)
}

/// A container and its last start.
struct Started {
    id: String,
    name: String,
    record: StartRecord,
}

impl Started {
    fn find(containers: &KeptContainers, kept: &Kept) -> Result<Started> {
        let mut record = containers.last_start(kept)?;
        if let Some(flags) = kept.flags() {
            let given = Given::earlier(flags);
            record.steps.iter_mut().for_each(|timing| given.name(&mut timing.step));
        }
        Ok(Started { id: kept.id.clone(), name: kept.shown_name().to_owned(), record })
    }

    fn began(&self) -> String {
        engine::Moment(i64::try_from(self.record.began).unwrap_or(i64::MAX)).to_string()
    }

    fn document(&self, format: Format) -> Result<String> {
        let StartRecord { failure, steps, .. } = &self.record;
        Ok(match format {
            Format::Text => {
                let fancy = colours(std::io::stdout().is_terminal());
                let verb = if failure.is_some() { "did not start" } else { "started" };
                let mut text = format!("`{}` {verb} at {}\n", self.name, self.began());
                match (steps.is_empty(), failure) {
                    (false, _) => text.push_str(&explain::text(steps, fancy)),
                    (true, Some(_)) => text.push_str("It was refused before the first step.\n"),
                    (true, None) => {}
                }
                if let Some(failure) = failure {
                    text.push_str(&format!("\nerror: {}\n", failure.error));
                    text.extend(failure.hint.iter().map(|hint| format!("  hint: {hint}\n")));
                }
                text
            }
            Format::Json => {
                let mut document = json!({
                    "container": self.id, "name": self.name, "began": self.began(),
                    "totalNanoseconds": explain::total(steps), "steps": steps,
                });
                if let Some(failure) = failure {
                    document["failure"] = json!(failure);
                }
                format!("{document}\n")
            }
            Format::Svg if steps.is_empty() => {
                let operation = format!("draw the start of `{}`", self.name);
                let error =
                    Error::new(ErrorKind::NotFound, operation, "it was refused before the first step");
                return Err(error.with_hint("`rabbitc explain` without `--format` tells why"));
            }
            Format::Svg => explain::svg(steps),
        })
    }
}

fn compared(a: &Started, b: &Started, format: Format) -> Result<String> {
    let rows = compare_starts(&a.record, &b.record, [&a.id, &b.id]);
    match format {
        Format::Text => Ok(side_by_side(a, b, &rows)),
        Format::Json => {
            let one = |one: &Started| {
                json!({
                    "container": one.id, "name": one.name, "began": one.began(),
                    "failure": one.record.failure, "totalNanoseconds": explain::total(&one.record.steps),
                })
            };
            Ok(format!("{}\n", json!({ "a": one(a), "b": one(b), "steps": rows })))
        }
        Format::Svg => {
            let error = Error::invalid("--format", "two starts are not drawn".to_owned());
            Err(error.with_hint("write `--format=text` or `--format=json`, or draw each alone"))
        }
    }
}

fn side_by_side(a: &Started, b: &Started, rows: &[ComparedStep]) -> String {
    let fancy = colours(std::io::stdout().is_terminal());
    let (bold, red, off) = if fancy { ("\x1b[1m", "\x1b[1;31m", "\x1b[0m") } else { ("", "", "") };
    let totals = [a, b].map(|one| explain::total(&one.record.steps));
    let mut text = String::new();
    for (letter, one, total) in [("A", a, totals[0]), ("B", b, totals[1])] {
        let failed = if one.record.failure.is_some() { ", failed" } else { "" };
        text.push_str(&format!(
            "{bold}{letter}{off}  `{}`, {} steps, {:.2} ms{failed}, at {}\n",
            one.name,
            one.record.steps.len(),
            total as f64 / 1e6,
            one.began()
        ));
    }
    text.push_str(&format!(
        "   B took {:+.2} ms\n\n{bold}  A    B  side          A µs      B µs     B - A  step{off}\n",
        (totals[1] as f64 - totals[0] as f64) / 1e6
    ));
    for row in rows {
        let number =
            |time: &Option<StepTime>| time.as_ref().map_or("-".to_owned(), |time| time.number.to_string());
        let took = |time: &Option<StepTime>| {
            time.as_ref().map_or("-".to_owned(), |time| format!("{:.1}", time.took_nanoseconds as f64 / 1e3))
        };
        let difference =
            row.difference_nanoseconds.map_or("-".to_owned(), |time| format!("{:+.1}", time as f64 / 1e3));
        let failed = [&row.a, &row.b].iter().any(|time| time.as_ref().is_some_and(|time| time.failed));
        let failed = if failed { format!("{red}failed:{off} ") } else { String::new() };
        let line = format!(
            "{:>3}  {:>3}  {:<9}  {:>8}  {:>8}  {:>8}  {failed}{bold}{}{off}{}",
            number(&row.a),
            number(&row.b),
            row.side,
            took(&row.a),
            took(&row.b),
            difference,
            row.name,
            objects(row)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What a step does it to: in both, where that differs.
fn objects(row: &ComparedStep) -> String {
    let shown = |object: &str| if object.is_empty() { "nothing".to_owned() } else { object.to_owned() };
    match (&row.a, &row.b) {
        (Some(a), Some(b)) if !row.is_same_object => {
            format!(" A: {}, B: {}", shown(&a.object), shown(&b.object))
        }
        (Some(one), _) | (None, Some(one)) if !one.object.is_empty() => format!(" {}", one.object),
        _ => String::new(),
    }
}
