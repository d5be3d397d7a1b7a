//! `rabbitc secret ls`: what secrets are here.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use engine::{Notice, Result, Secret, SecretFilter};

use crate::images::print;
use crate::images::table::since;
use crate::life::PlaceArguments;
use crate::render;
use crate::template::{Field, Heading, Listing, Value};

const COLUMNS: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}";
const TITLES: [(&str, &str); 6] = [
    ("CreatedAt", "CREATED"),
    ("Driver", "DRIVER"),
    ("ID", "ID"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("UpdatedAt", "UPDATED"),
];

/// Lists secrets.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only those of which this holds: `name=PATTERN`, `id=ID`, `label=NAME[=VALUE]`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `json`: a line for each, or a line such as `{{.ID}} {{.Name}}`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Without titles of columns
    #[arg(short, long)]
    noheading: bool,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn list(arguments: &ListArguments) -> Result<()> {
    let filters: Vec<SecretFilter> =
        arguments.filter.iter().map(|filter| filter.parse()).collect::<Result<_>>()?;
    let survey = arguments.place.secrets()?.survey()?;
    for error in survey.damaged {
        render::notice(&Notice { what: error.to_string(), remedy: error.hint });
    }
    let secrets = SecretFilter::apply(&filters, survey.secrets)?;
    if arguments.quiet && arguments.format.is_none() {
        return print(&secrets.iter().map(|secret| format!("{}\n", secret.id)).collect::<String>());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let rows: Vec<Value> = secrets.iter().map(|secret| row(secret, now)).collect();
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: COLUMNS,
        titles: &TITLES,
        heading: if arguments.noheading { Heading::LeftOut } else { Heading::Shown },
    };
    print(&listing.render(&rows)?)
}

/// Docker's fields.
fn row(secret: &Secret, now: u64) -> Value {
    let ago = |nanoseconds: u64| since(now.saturating_sub(nanoseconds / 1_000_000_000));
    let labels: Vec<String> = secret.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    vec![
        Field::new("CreatedAt", ago(secret.created)),
        Field::new("Driver", "file"),
        Field::new("ID", secret.id.clone()),
        Field::if_set("Label", Value::method(secret.labels.clone())),
        Field::new("Labels", labels.join(",")),
        Field::new("Name", secret.name.clone()),
        Field::new("UpdatedAt", ago(secret.updated)),
    ]
    .into()
}
