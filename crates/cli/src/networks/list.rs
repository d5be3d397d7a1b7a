//! `rabbitc network ls`: what networks are here.

use clap::Args;
use engine::{Network, NetworkFilter, NetworkUsers, Notice, Result, rfc3339};

use crate::images::print;
use crate::life::PlaceArguments;
use crate::render;
use crate::template::{Field, Heading, Listing, Value};

const COLUMNS: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
const TITLES: [(&str, &str); 9] = [
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];

/// Lists networks.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only those of which this holds: `name=PATTERN`, `id=ID`, `driver=DRIVER`, `label=NAME[=VALUE]`, `dangling=BOOL`,
    /// `type=custom|builtin`, `until=TIME`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `json`: a line for each, or a line such as `{{.Name}} {{.Driver}}`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
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
    let filters: Vec<NetworkFilter> =
        arguments.filter.iter().map(|filter| filter.parse()).collect::<Result<_>>()?;
    let store = arguments.place.networks()?;
    let survey = store.survey()?;
    for error in survey.damaged {
        render::notice(&Notice { what: error.to_string(), remedy: error.hint });
    }
    // Containers are looked at for one question alone.
    let users = match filters.iter().any(|filter| matches!(filter, NetworkFilter::Dangling(_))) {
        true => store.users(&arguments.place.paths()?)?,
        false => NetworkUsers::default(),
    };
    let networks = NetworkFilter::apply(&filters, survey.networks, &users)?;
    let id = |network: &Network| match arguments.no_trunc {
        true => network.id.clone(),
        false => network.short_id().to_owned(),
    };
    if arguments.quiet && arguments.format.is_none() {
        return print(&networks.iter().map(|network| format!("{}\n", id(network))).collect::<String>());
    }
    let rows: Vec<Value> = networks.iter().map(|network| row(network, id(network))).collect();
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: COLUMNS,
        titles: &TITLES,
        heading: if arguments.noheading { Heading::LeftOut } else { Heading::Shown },
    };
    print(&listing.render(&rows)?)
}

/// Docker's fields, in its order.
fn row(network: &Network, id: String) -> Value {
    let labels: Vec<String> = network.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    vec![
        Field::new("CreatedAt", rfc3339(network.created / 1_000_000_000)),
        Field::new("Driver", network.driver.as_str()),
        Field::new("ID", id),
        Field::new("IPv4", network.ipv4().is_some().to_string()),
        Field::new("IPv6", network.ipv6().is_some().to_string()),
        Field::new("Internal", network.internal.to_string()),
        Field::if_set("Label", Value::method(network.labels.clone())),
        Field::new("Labels", labels.join(",")),
        Field::new("Name", network.name.clone()),
        Field::new("Scope", "local"),
    ]
    .into()
}
