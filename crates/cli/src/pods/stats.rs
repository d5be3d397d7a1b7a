//! `rabbitc pod stats`: what the containers of pods use, in podman's columns; on a terminal again and again.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use engine::{ErrorKind, Found, Result, Usage};

use super::{Missing, TargetArguments};
use crate::containers::binary;
use crate::images::print;
use crate::images::table::size;
use crate::template::{Field, Heading, Listing, Value};

const COLUMNS: &str =
    "{{.Pod}}\t{{.CID}}\t{{.Name}}\t{{.CPU}}\t{{.MemUsage}}\t{{.Mem}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDS}}";
const TITLES: [(&str, &str); 10] = [
    ("Pod", "POD"),
    ("CID", "CID"),
    ("Name", "NAME"),
    ("CPU", "CPU %"),
    ("MemUsage", "MEM USAGE/ LIMIT"),
    ("MemUsageBytes", "MEM USAGE/ LIMIT"),
    ("Mem", "MEM %"),
    ("NetIO", "NET IO"),
    ("BlockIO", "BLOCK IO"),
    ("PIDS", "PIDS"),
];

/// How long what a container uses is looked at before the first line.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// Shows what the containers of pods use.
#[derive(Debug, Args)]
pub(crate) struct StatsArguments {
    #[command(flatten)]
    targets: TargetArguments,
    /// `table`, `json`, or a line such as `{{.Name}} {{.CPU}}`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Once
    #[arg(long)]
    no_stream: bool,
    /// Don't clear the screen in between
    #[arg(long)]
    no_reset: bool,
}

pub(super) fn stats(arguments: &StatsArguments) -> Result<ExitCode> {
    let mut before = BTreeMap::new();
    look(arguments, &mut before)?;
    std::thread::sleep(FIRST_LOOK);
    if !arguments.no_stream && !arguments.no_reset {
        print("\u{1b}[2J")?;
    }
    loop {
        let rows = look(arguments, &mut before)?;
        let is_json = arguments.format.as_deref().map(str::trim) == Some("json");
        let text = match is_json {
            true => format!("{}\n", Value::List(rows).pretty_json()),
            false => {
                let listing = Listing {
                    format: arguments.format.as_deref(),
                    columns: COLUMNS,
                    titles: &TITLES,
                    heading: Heading::Shown,
                };
                listing.render(&rows)?
            }
        };
        if arguments.no_stream {
            return print(&text).map(|()| ExitCode::SUCCESS);
        }
        // From the top of the screen, and away with what is left of the last one.
        let frame = match arguments.no_reset {
            true => text,
            false => format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n")),
        };
        print(&frame)?;
        std::thread::sleep(Duration::from_secs(5));
    }
}

/// What each container uses now, and by `before` did since the last look.
fn look(arguments: &StatsArguments, before: &mut BTreeMap<String, Usage>) -> Result<Vec<Value>> {
    let targets = &arguments.targets;
    // All that run, where none is named.
    let all = TargetArguments {
        names: targets.names.clone(),
        all: targets.all || (targets.names.is_empty() && !targets.latest),
        latest: targets.latest,
        place: targets.place.clone(),
    };
    let found = all.find("stats", &[], Missing::Told)?;
    let (mut rows, mut now) = (Vec::new(), BTreeMap::new());
    for (_, pod) in &found.named {
        for one in found.pods.running(pod, &found.paths) {
            let usage = match one.usage() {
                Err(error) if error.kind == ErrorKind::WrongStatus => Usage::default(),
                usage => usage?,
            };
            let earlier = before.get(&one.id).copied().unwrap_or_default();
            rows.push(row(&pod.id, &one, &usage, usage.percent_since(&earlier)));
            now.insert(one.id.clone(), usage);
        }
    }
    *before = now;
    Ok(rows)
}

/// Podman's fields.
fn row(pod: &str, one: &Found, usage: &Usage, percent: f64) -> Value {
    let short = |id: &str| id.get(..12).unwrap_or(id).to_owned();
    let pair = |one: u64, other: u64| format!("{} / {}", size(one), size(other));
    vec![
        Field::new("CPU", format!("{percent:.2}%")),
        Field::new("MemUsage", pair(usage.memory, usage.memory_limit)),
        Field::new("MemUsageBytes", format!("{} / {}", binary(usage.memory), binary(usage.memory_limit))),
        Field::new("Mem", format!("{:.2}%", usage.memory_percent())),
        Field::new("NetIO", pair(usage.received, usage.sent)),
        Field::new("BlockIO", pair(usage.read, usage.written)),
        Field::new("PIDS", usage.tasks.to_string()),
        Field::new("Pod", short(pod)),
        Field::new("CID", short(&one.id)),
        Field::new("Name", one.called()),
    ]
    .into()
}
