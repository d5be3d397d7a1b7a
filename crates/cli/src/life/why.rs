//! `rabbitc why`.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use engine::{Result, Verdict};
use serde_json::json;

use super::PlaceArguments;
use crate::images::print;

/// Tells why a container has ended, or does not start, and what to do.
#[derive(Debug, Parser)]
#[command(name = "rabbitc why", max_term_width = 100)]
pub(crate) struct WhyArguments {
    /// Its name, id, or the beginning of it
    #[arg(value_name = "CONTAINER")]
    name: String,
    /// For people, or as JSON
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn why(arguments: &WhyArguments) -> Result<ExitCode> {
    let (containers, paths) = (arguments.place.containers()?, arguments.place.paths()?);
    let kept = containers.find_living(&arguments.name, &paths)?;
    let verdict = containers.why(&kept, &paths)?;
    print(&match arguments.format {
        Format::Text => text(&verdict),
        Format::Json => as_json(&verdict),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(verdict: &Verdict) -> String {
    let mut text = format!("{}\n", verdict.verdict);
    text.extend(verdict.facts.iter().map(|(name, fact)| format!("  {name:<9} {fact}\n")));
    if !verdict.output.is_empty() {
        text.push_str("last output:\n");
    }
    for (stream, line) in &verdict.output {
        let shown = line.split('\t').map(sys::plain).collect::<Vec<_>>().join("\t");
        text.push_str(&format!("  {stream} | {shown}\n"));
    }
    text.extend(verdict.advice.iter().map(|advice| format!("hint: {advice}\n")));
    text
}

fn as_json(verdict: &Verdict) -> String {
    let pair = |(name, value): &(&str, String)| json!({"name": name, "value": value});
    let line = |(stream, line): &(&str, String)| json!({"stream": stream, "line": line});
    let all = json!({
        "verdict": verdict.verdict,
        "facts": verdict.facts.iter().map(pair).collect::<Vec<_>>(),
        "output": verdict.output.iter().map(line).collect::<Vec<_>>(),
        "advice": verdict.advice,
    });
    format!("{all}\n")
}
