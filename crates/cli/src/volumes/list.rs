//! `rabbitc volume ls`: what volumes are here.

use clap::Args;
use engine::{Notice, Result, Volume, VolumeFilter, VolumeUsers, rfc3339};

use crate::images::print;
use crate::life::PlaceArguments;
use crate::manner::is_podmans;
use crate::render;
use crate::template::{Field, Heading, Listing, Map, Value};

const COLUMNS: &str = "{{.Driver}}\t{{.Name}}";
const TITLES: [(&str, &str); 10] = [
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];

/// Lists volumes.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only those of which this holds: `name=PATTERN`, `label=NAME[=VALUE]`, `label!=NAME`, `dangling=BOOL`, `driver=local`,
    /// `until=TIME`, `since=VOLUME`, `opt=NAME[=VALUE]`, `anonymous=BOOL`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `json`: a line for each, or a line such as `{{.Name}} {{.Mountpoint}}`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Without titles of columns
    #[arg(short, long)]
    noheading: bool,
    /// Names alone
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn list(arguments: &ListArguments) -> Result<()> {
    let filters: Vec<VolumeFilter> =
        arguments.filter.iter().map(|filter| filter.parse()).collect::<Result<_>>()?;
    let store = arguments.place.volumes()?;
    let survey = store.survey()?;
    for error in survey.damaged {
        render::notice(&Notice { what: error.to_string(), remedy: error.hint });
    }
    // Containers are looked at for one question alone.
    let users = match filters.iter().any(|filter| matches!(filter, VolumeFilter::Dangling(_))) {
        true => store.users(&arguments.place.paths()?)?,
        false => VolumeUsers::default(),
    };
    let volumes = VolumeFilter::apply(&filters, survey.volumes, &users)?;
    if arguments.quiet && arguments.format.is_none() {
        return print(&volumes.iter().map(|volume| format!("{}\n", volume.name)).collect::<String>());
    }
    let is_podmans_json = is_podmans() && arguments.format.as_deref().map(str::trim) == Some("json");
    let rows: Vec<Value> = volumes.iter().map(if is_podmans_json { podmans } else { row }).collect();
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: COLUMNS,
        titles: &TITLES,
        heading: if arguments.noheading { Heading::LeftOut } else { Heading::Shown },
    };
    print(&listing.render(&rows)?)
}

/// Whether what the image has in its place still comes into it.
pub(super) fn is_empty(volume: &Volume) -> bool {
    std::fs::read_dir(&volume.mountpoint).is_ok_and(|mut entries| entries.next().is_none())
}

/// Podman's fields. What comes into one that is empty has the owner of what it is, so that both questions are one.
fn podmans(volume: &Volume) -> Value {
    let texts = |map: &std::collections::BTreeMap<String, String>| {
        Value::of_kind(&Value::Map(Map::with_zero("")), Some(&serde_json::json!(map)))
    };
    let is_empty = is_empty(volume);
    Value::Record(vec![
        Field::new("Name", volume.name.clone()),
        Field::new("Driver", "local"),
        Field::new("Mountpoint", volume.mountpoint.display().to_string()),
        Field::new("CreatedAt", rfc3339(volume.created)),
        Field::new("Labels", texts(&volume.labels)),
        Field::new("Scope", "local"),
        Field::new("Options", texts(&volume.options)),
        Field::new("Anonymous", Value::Bool(volume.is_anonymous)),
        Field::new("NeedsCopyUp", Value::Bool(is_empty)),
        Field::new("NeedsChown", Value::Bool(is_empty)),
    ])
}

/// Docker's fields, in its order.
fn row(volume: &Volume) -> Value {
    let labels: Vec<String> = volume.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    vec![
        Field::new("Availability", "N/A"),
        Field::new("Driver", "local"),
        Field::new("Group", "N/A"),
        Field::if_set("Label", Value::method(volume.labels.clone())),
        Field::new("Labels", labels.join(",")),
        Field::new("Links", "N/A"),
        Field::new("Mountpoint", volume.mountpoint.display().to_string()),
        Field::new("Name", volume.name.clone()),
        Field::new("Scope", "local"),
        Field::new("Size", "N/A"),
        Field::new("Status", "N/A"),
    ]
    .into()
}
