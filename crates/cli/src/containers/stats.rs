//! `rabbitc stats`: what containers use, in docker's columns; on a terminal again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Parser;
use engine::{Containers, ErrorKind, Found, Result, Usage};

use super::containers;
use super::targets::named_of;
use crate::images::print;
use crate::images::table::size;
use crate::life::PlaceArguments;
use crate::template::{Field, Heading, Listing, Value};

const COLUMNS: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
const TITLES: [(&str, &str); 9] = [
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
];

/// How long what a container uses is looked at before the first line.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// Shows what containers use: again and again, until it is interrupted, or once.
#[derive(Debug, Parser)]
#[command(name = "rabbitc stats", max_term_width = 100)]
pub(crate) struct StatsArguments {
    /// Their ids, the beginnings of these, or their names [default: all that run]
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Those that have ended, too
    #[arg(short, long)]
    all: bool,
    /// `table`, `json`: a line for each, or a line such as `{{.Name}} {{.CPUPerc}}`; of Container, ID, MemUsage, MemPerc, NetIO,
    /// BlockIO and PIDs too
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Once
    #[arg(long)]
    no_stream: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Don't clear the screen in between
    #[arg(long)]
    no_reset: bool,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// A container that is shown, as it was called.
struct Shown {
    called: String,
    found: Found,
}

pub(super) fn stats(arguments: &StatsArguments) -> Result<()> {
    let containers = containers(&arguments.place)?;
    let first = shown(arguments, &containers)?;
    let mut before = look(&first)?;
    std::thread::sleep(FIRST_LOOK);
    if !arguments.no_stream && !arguments.no_reset {
        print("\u{1b}[2J")?;
    }
    loop {
        let all = match arguments.are_named() {
            true => those_left(&first, &containers)?,
            false => shown(arguments, &containers)?,
        };
        let now = look(&all)?;
        let text = table(arguments, &all, &before, &now)?;
        if arguments.no_stream {
            return print(&text);
        }
        // From the top of the screen, and away with what is left of the last one.
        let frame = match arguments.no_reset {
            true => text,
            false => format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n")),
        };
        print(&frame)?;
        if arguments.are_named() && all.is_empty() {
            return Ok(());
        }
        before = now;
        std::thread::sleep(Duration::from_secs(arguments.interval));
    }
}

impl StatsArguments {
    /// Whether some are asked for, and not whichever there are at a time.
    fn are_named(&self) -> bool {
        self.latest || !self.containers.is_empty()
    }
}

/// Those that are asked for.
fn shown(arguments: &StatsArguments, containers: &Containers) -> Result<Vec<Shown>> {
    if !arguments.are_named() {
        let found = if arguments.all { containers.all()? } else { containers.running()? };
        return Ok(found.into_iter().map(|found| Shown { called: found.id.clone(), found }).collect());
    }
    named_of(containers, &arguments.containers, arguments.latest.into())
        .map(|(called, found)| Ok(Shown { called, found: found? }))
        .collect()
}

/// Those of `first` that there are now: one that has gone since is shown no longer.
fn those_left(first: &[Shown], containers: &Containers) -> Result<Vec<Shown>> {
    let again = |one: &Shown| match containers.find(&one.found.id) {
        Ok(found) => Some(Ok(Shown { called: one.called.clone(), found })),
        Err(error) if error.kind == ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
    };
    first.iter().filter_map(again).collect()
}

/// What each uses; one that has just ended uses nothing.
fn look(all: &[Shown]) -> Result<BTreeMap<String, Usage>> {
    let mut found = BTreeMap::new();
    for one in all {
        let usage = match one.found.usage() {
            Err(error) if error.kind == ErrorKind::WrongStatus => Usage::default(),
            usage => usage?,
        };
        found.insert(one.found.id.clone(), usage);
    }
    Ok(found)
}

fn table(
    arguments: &StatsArguments,
    all: &[Shown],
    before: &BTreeMap<String, Usage>,
    now: &BTreeMap<String, Usage>,
) -> Result<String> {
    let rows: Vec<Value> = all
        .iter()
        .map(|one| {
            let usage = now.get(&one.found.id).copied().unwrap_or_default();
            let earlier = before.get(&one.found.id).copied().unwrap_or_default();
            row(one, &usage, usage.percent_since(&earlier), arguments.no_trunc)
        })
        .collect();
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: COLUMNS,
        titles: &TITLES,
        heading: Heading::Shown,
    };
    listing.render(&rows)
}

fn row(one: &Shown, usage: &Usage, percent: f64, whole: bool) -> Value {
    let id = match whole {
        true => one.found.id.as_str(),
        false => one.found.id.get(..12).unwrap_or(&one.found.id),
    };
    let pair = |one: u64, other: u64| format!("{} / {}", size(one), size(other));
    vec![
        Field::new("BlockIO", pair(usage.read, usage.written)),
        Field::new("CPUPerc", format!("{percent:.2}%")),
        Field::new("Container", one.called.as_str()),
        Field::new("ID", id),
        Field::new("MemPerc", format!("{:.2}%", usage.memory_percent())),
        Field::new("MemUsage", format!("{} / {}", binary(usage.memory), binary(usage.memory_limit))),
        Field::new("Name", one.found.called()),
        Field::new("NetIO", pair(usage.received, usage.sent)),
        Field::new("PIDs", usage.tasks.to_string()),
    ]
    .into()
}

/// A size as docker shows memory, in powers of two with four digits (`BytesSize` of its go-units).
pub(crate) fn binary(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    let whole = value.max(1.0).log10().floor() as usize + 1;
    let text = format!("{value:.digits$}", digits = 4_usize.saturating_sub(whole));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_as_docker_does() {
        let shown = [0, 1023, 1024, 1_572_864, 16_642_998_272, 123_456].map(binary);
        assert_eq!(shown, ["0B", "1023B", "1KiB", "1.5MiB", "15.5GiB", "120.6KiB"]);
    }
}
