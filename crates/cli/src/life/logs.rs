//! `rabbitc logs`.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::{Args, Parser};
use engine::{Error, Kept, KeptContainers, LogEntry, LogQuery, LogStream, Moment, Result};

use super::PlaceArguments;
use super::targets::{Missing, Targets};
use crate::manner::is_podmans;

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
    /// So many lines at the end [default: all]
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true)]
    tail: Option<String>,
    #[command(flatten)]
    view: LogView,
    /// With what the log's options added to each line
    #[arg(long)]
    details: bool,
    /// With the container's name before each line
    #[arg(long = "names")]
    names_shown: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Which part of a log is shown, and how.
#[derive(Debug, Args)]
pub(crate) struct LogView {
    /// Go on with what is written meanwhile
    #[arg(short, long)]
    follow: bool,
    /// From then on: a moment such as `2026-11-27T10:00:00Z`, or so long ago: `10m`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Up to then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
}

pub(super) fn logs(arguments: &LogsArguments) -> Result<ExitCode> {
    let query = arguments.view.query(arguments.tail.as_deref())?;
    let targets = Targets::find(&arguments.place, &arguments.names, arguments.latest, Missing::Told)?;
    for (_, kept) in &targets.named {
        // As podman's: whose a line is, where there are several.
        let prefix = match (arguments.names_shown, targets.named.len()) {
            (true, _) => format!("{} ", kept.name),
            (false, 0 | 1) => String::new(),
            (false, _) => format!("{} ", kept.id.get(..12).unwrap_or(&kept.id)),
        };
        arguments.view.show(&targets.containers, kept, query, &prefix)?;
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

impl LogView {
    /// Whether it goes on.
    pub(crate) fn follows(&self) -> bool {
        self.follow
    }

    /// Which lines are meant, of which `last` says how many at most.
    pub(crate) fn query(&self, last: Option<&str>) -> Result<LogQuery> {
        let moment = |flag: &str, text: &Option<String>| {
            text.as_deref().map(|text| engine::parse_moment(flag, text)).transpose()
        };
        Ok(LogQuery {
            tail: tail(last)?,
            since: moment("--since", &self.since)?,
            until: moment("--until", &self.until)?.map(|moment| self.until_there(moment)),
        })
    }

    /// Podman counts a time that `--until` is given from now on, where docker counts it back.
    fn until_there(&self, moment: Moment) -> Moment {
        let is_time = self.until.as_deref().is_some_and(|text| {
            text.ends_with(|unit: char| unit.is_ascii_lowercase()) && !text.contains([':', '-'])
        });
        match is_podmans() && is_time {
            true => Moment(Moment::now().0.saturating_mul(2).saturating_sub(moment.0)),
            false => moment,
        }
    }

    /// Shows the log of one container, each line with `prefix` in front.
    pub(crate) fn show(
        &self,
        containers: &KeptContainers,
        kept: &Kept,
        query: LogQuery,
        prefix: &str,
    ) -> Result<()> {
        let mut failure = None;
        let mut begins = true;
        let mut entry = |entry: LogEntry<'_>| {
            // Locked for a line: several logs may be shown at once.
            let sink: &mut dyn Write = match entry.stream {
                LogStream::Stdout => &mut std::io::stdout().lock(),
                LogStream::Stderr => &mut std::io::stderr().lock(),
            };
            let head = match (begins, self.timestamps) {
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
        containers.logs(kept, query, self.follow, &mut entry)?;
        failure.map_or(Ok(()), Err)
    }
}
