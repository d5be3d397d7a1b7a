//! `rabbitc history`: how an image was made.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{ArgAction, Parser};
use engine::{HistoryEntry, ImageName, Result, rfc3339};

use super::print;
use super::registries::open_to_read;
use super::table::{plain, short, since, size};
use crate::manner::is_podmans;
use crate::template::{Field, Heading, Listing, Value};

const COLUMNS: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const COLUMNS_IN_NUMBERS: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const TITLES: [(&str, &str); 7] = [
    ("ID", "IMAGE"),
    ("Created", "CREATED"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
/// How much of a command a table shows.
const LONGEST_COMMAND: usize = 45;

/// Shows how an image was made, the last step first.
#[derive(Debug, Parser)]
#[command(name = "rabbitc history", max_term_width = 100)]
pub(crate) struct HistoryArguments {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// `json`, or a line for each step such as `{{.CreatedBy}}`; of ID, CreatedSince, CreatedAt, CreatedBy, Size,
    /// Comment and Tags
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Times as how long ago, and sizes in units; `--human=false` for dates and bytes
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", action = ArgAction::Set)]
    human: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(super) fn history(arguments: &HistoryArguments) -> Result<()> {
    let name: ImageName = arguments.image.parse()?;
    let steps = open_to_read(arguments.root.as_deref())?.history(&name)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    if arguments.quiet {
        return print(&steps.iter().map(|step| format!("{}\n", id(step, arguments))).collect::<String>());
    }
    let rows: Vec<Value> = steps.iter().map(|step| row(step, arguments, now)).collect();
    if is_podmans() && arguments.format.as_deref().map(str::trim) == Some("json") {
        // Podman's document has ids and times under names of its own.
        let entries = steps.iter().zip(rows).map(|(step, row)| {
            let id = step.id.as_deref().map_or("<missing>", |id| id.trim_start_matches("sha256:"));
            let row = row
                .with(Field::new("id", id))
                .with(Field::new("created", step.created.map(rfc3339).unwrap_or_default()));
            row.with(Field::new("size", step.size)).with(Field::new("tags", step.tags.clone()))
        });
        return print(&format!("{}\n", Value::List(entries.collect()).pretty_json()));
    }
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: if arguments.human { COLUMNS } else { COLUMNS_IN_NUMBERS },
        titles: &TITLES,
        heading: Heading::Shown,
    };
    print(&listing.render(&rows)?)
}

fn id(step: &HistoryEntry, arguments: &HistoryArguments) -> String {
    match &step.id {
        None => "<missing>".to_owned(),
        Some(id) if arguments.no_trunc => id.clone(),
        Some(id) => short(id),
    }
}

fn row(step: &HistoryEntry, arguments: &HistoryArguments, now: u64) -> Value {
    let known = |shown: fn(u64, u64) -> String| {
        step.created.map_or_else(|| "N/A".to_owned(), |moment| shown(moment, now))
    };
    let mut command = plain(&step.created_by);
    if !arguments.no_trunc && command.chars().count() > LONGEST_COMMAND {
        command = command.chars().take(LONGEST_COMMAND - 1).chain(['…']).collect();
    }
    vec![
        Field::new("ID", id(step, arguments)),
        Field::new("CreatedSince", known(|moment, now| since(now.saturating_sub(moment)))),
        Field::alias("Created", known(|moment, now| since(now.saturating_sub(moment)))),
        Field::new("CreatedAt", known(|moment, _| rfc3339(moment))),
        Field::new("CreatedBy", command),
        Field::new("Size", if arguments.human { size(step.size) } else { step.size.to_string() }),
        Field::new("Comment", plain(&step.comment)),
        Field::alias("Tags", step.tags.clone()),
    ]
    .into()
}
