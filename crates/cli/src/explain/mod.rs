//! The timeline of a start, for people and for machines: where it goes, and its text and JSON forms.

mod svg;

use std::fs::File;
use std::io::{IsTerminal, Write};

use engine::{Error, Result, StepTiming};

use crate::args::{Explain, Format};
use crate::given::{Given, asked_by};
use crate::render::{self, colours};

pub(crate) use self::svg::svg;

/// What was asked for, with the file it goes to.
pub(crate) struct Explanation {
    wanted: Option<(Format, Option<File>)>,
}

impl Explanation {
    /// Makes the file before anything else is done: one that can't be written is no reason to fail afterwards.
    pub(crate) fn open(wanted: Option<&Explain>) -> Result<Explanation> {
        let Some(Explain { format, file }) = wanted else { return Ok(Explanation { wanted: None }) };
        let file = file.as_ref().map(|path| {
            let made = File::create(path);
            made.map_err(|error| {
                let error = Error::at_path("make", path, error).from_field("--explain");
                error.with_hint("name a file in a directory that exists and that you may write to")
            })
        });
        Ok(Explanation { wanted: Some((*format, file.transpose()?)) })
    }

    /// Shows it; steps that are none are not shown.
    pub(crate) fn show(self, timeline: &[StepTiming], given: &Given) {
        let Some((format, file)) = self.wanted.filter(|_| !timeline.is_empty()) else { return };
        let mut timeline = timeline.to_vec();
        timeline.iter_mut().for_each(|timing| given.name(&mut timing.step));
        let document = match format {
            Format::Text => text(&timeline, file.is_none() && colours(std::io::stderr().is_terminal())),
            Format::Json => json(&timeline),
            Format::Svg => svg(&timeline),
        };
        match file {
            // Nobody may be reading.
            None => drop(std::io::stderr().write_all(document.as_bytes())),
            Some(mut file) => {
                if let Err(error) = file.write_all(document.as_bytes()) {
                    render::error(&Error::system("write the file of `--explain`", error));
                }
            }
        }
    }
}

/// When the last step ended, in nanoseconds.
pub(crate) fn total(timeline: &[StepTiming]) -> u64 {
    timeline.iter().map(|timing| timing.end_nanoseconds).max().unwrap_or(0)
}

fn took(timing: &StepTiming) -> u64 {
    timing.end_nanoseconds.saturating_sub(timing.start_nanoseconds)
}

/// What the whole of it is called.
fn heading(timeline: &[StepTiming]) -> String {
    match timeline.iter().find(|timing| timing.failed) {
        Some(failed) => {
            format!("What the start of this container consisted of until step {} failed", failed.step.number)
        }
        None => "What the start of this container consisted of".to_owned(),
    }
}

fn summary(timeline: &[StepTiming]) -> String {
    let milliseconds = total(timeline) as f64 / 1e6;
    format!("{} steps, {milliseconds:.2} ms; host and container work at the same time", timeline.len())
}

/// For people.
pub(crate) fn text(timeline: &[StepTiming], fancy: bool) -> String {
    let (bold, dim, red, off) =
        if fancy { ("\x1b[1m", "\x1b[2m", "\x1b[1;31m", "\x1b[0m") } else { ("", "", "", "") };
    let total = total(timeline);
    let mut lines = format!(
        "\n{bold}{}{off} ({})\n\n{bold}  #  side       at ms  took µs  share  step{off}\n",
        heading(timeline),
        summary(timeline)
    );
    for timing in timeline {
        let took = took(timing);
        let share = if total == 0 { 0.0 } else { took as f64 * 100.0 / total as f64 };
        let object =
            if timing.step.object.is_empty() { String::new() } else { format!(" {}", timing.step.object) };
        let failed = if timing.failed { format!("{red}failed:{off} ") } else { String::new() };
        lines.push_str(&format!(
            "{:>3}  {:<9}  {:>5.2}  {:>7.1}  {:>4.1}%  {failed}{bold}{}{off}{object}\n{dim}{:36}{}; asked for by: {}{off}\n",
            timing.step.number,
            timing.step.side,
            timing.start_nanoseconds as f64 / 1e6,
            took as f64 / 1e3,
            share,
            timing.step.name,
            "",
            timing.step.why,
            asked_by(&timing.step),
        ));
    }
    lines
}

/// For machines: one JSON document on one line.
fn json(timeline: &[StepTiming]) -> String {
    let document = serde_json::json!({ "totalNanoseconds": total(timeline), "steps": timeline });
    format!("{document}\n")
}
