//! `rabbitc volume ls`: what volumes are here.

use clap::Args;
use engine::{Notice, Result, Volume, VolumeFilter, VolumeUsers};

use crate::images::print;
use crate::life::PlaceArguments;
use crate::render;
use crate::template::{Field, Heading, Listing, Value};

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
    let rows: Vec<Value> = volumes.iter().map(row).collect();
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: COLUMNS,
        titles: &TITLES,
        heading: if arguments.noheading { Heading::LeftOut } else { Heading::Shown },
    };
    print(&listing.render(&rows)?)
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
