//! `rabbitc logs`.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Parser;
use engine::{Error, KeptContainers, LogEntry, LogQuery, LogStream, Result};

use super::PlaceArguments;
use super::targets::{Missing, Targets};

/// Shows what a container has written.
#[derive(Debug, Parser)]
#[command(name = "rabbitc logs", max_term_width = 100)]
pub(crate) struct LogsArguments {
    /// Its name, id, or the beginning of it
    #[arg(required_unless_present = "latest", value_name = "CONTAINER")]
    names: Vec<String>,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    /// Go on with what it writes meanwhile
    #[arg(short, long)]
    follow: bool,
    /// From then on: a moment such as `2026-11-27T10:00:00Z`, or so long ago: `10m`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Up to then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// So many lines at the end [default: all]
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true)]
    tail: Option<String>,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// With what the log's options added to each line
    #[arg(long)]
    details: bool,
    /// With the container's name before each line
    #[arg(long = "names")]
    names_shown: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn logs(arguments: &LogsArguments) -> Result<ExitCode> {
    let moment = |flag: &str, text: &Option<String>| {
        text.as_deref().map(|text| engine::parse_moment(flag, text)).transpose()
    };
    let query = LogQuery {
        tail: tail(arguments.tail.as_deref())?,
        since: moment("--since", &arguments.since)?,
        until: moment("--until", &arguments.until)?,
    };
    let targets = Targets::find(&arguments.place, &arguments.names, arguments.latest, Missing::Told)?;
    for (_, kept) in &targets.named {
        // As podman's: whose a line is, where there are several.
        let prefix = match (arguments.names_shown, targets.named.len()) {
            (true, _) => format!("{} ", kept.name),
            (false, 0 | 1) => String::new(),
            (false, _) => format!("{} ", kept.id.get(..12).unwrap_or(&kept.id)),
        };
        show(&targets.containers, kept, query, arguments, &prefix)?;
    }
    Ok(targets.code())
}

fn tail(text: Option<&str>) -> Result<Option<u64>> {
    match text {
        None | Some("all" | "") => Ok(None),
        // Docker's and podman's: all.
        Some(text) => match text.parse::<i64>() {
            Ok(number) => Ok(u64::try_from(number).ok()),
            Err(_) => {
                let error =
                    Error::invalid("--tail", format!("`{}` is no number of lines", text.escape_debug()));
                Err(error.with_hint("write a number, or `all`"))
            }
        },
    }
}

fn show(
    containers: &KeptContainers,
    kept: &engine::Kept,
    query: LogQuery,
    arguments: &LogsArguments,
    prefix: &str,
) -> Result<()> {
    let (mut output, mut error) = (std::io::stdout().lock(), std::io::stderr().lock());
    let mut failure = None;
    let mut begins = true;
    let mut entry = |entry: LogEntry<'_>| {
        let sink: &mut dyn Write = match entry.stream {
            LogStream::Stdout => &mut output,
            LogStream::Stderr => &mut error,
        };
        let head = match (begins, arguments.timestamps) {
            (true, true) => format!("{prefix}{} ", entry.time),
            (true, false) => prefix.to_owned(),
            (false, _) => String::new(),
        };
        begins = entry.bytes.ends_with(b"\n");
        match sink
            .write_all(head.as_bytes())
            .and_then(|()| sink.write_all(entry.bytes))
            .and_then(|()| sink.flush())
        {
            Ok(()) => ControlFlow::Continue(()),
            // A reader that has seen enough is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ControlFlow::Break(()),
            Err(error) => {
                failure = Some(Error::system("write the log", error));
                ControlFlow::Break(())
            }
        }
    };
    containers.logs(kept, query, arguments.follow, &mut entry)?;
    failure.map_or(Ok(()), Err)
}
