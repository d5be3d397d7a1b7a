//! `rabbitc ports`: what this host exposes of containers.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Parser;
use engine::{ExposedFilter, ExposedPort, Exposure, Notice, Result};

use super::{containers, done};
use crate::images::print;
use crate::life::PlaceArguments;
use crate::render;
use crate::template::{Field, Heading, Listing, Value};

const COLUMNS: &str =
    "{{.ID}}\t{{.Name}}\t{{.Host}}\t{{.Protocol}}\t{{.Container}}\t{{.Network}}\t{{.Access}}";
const TITLES: [(&str, &str); 13] = [
    ("Access", "ACCESS"),
    ("Container", "CONTAINER"),
    ("ContainerAddress", "CONTAINER ADDRESS"),
    ("ContainerPort", "CONTAINER PORT"),
    ("Firewall", "FIREWALL"),
    ("Host", "HOST"),
    ("HostAddress", "HOST ADDRESS"),
    ("HostPort", "HOST PORT"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("Network", "NETWORK"),
    ("Protocol", "PROTOCOL"),
    ("Remedy", "REMEDY"),
];

/// Lists what this host exposes: the published ports of all containers that run, and whether the host's firewall lets
/// clients through.
#[derive(Debug, Parser)]
#[command(name = "rabbitc ports", max_term_width = 100)]
pub(crate) struct PortsArguments {
    /// Only those of which this holds: `name=NAME`, `id=ID`, `port=PORT`, `container-port=PORT`, `protocol=tcp`,
    /// `address=IP`, `network=NAME`, `access=dropped`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `json`: a line for each, or a line such as `{{.Host}} {{.Name}}`; of ContainerAddress, ContainerPort, Firewall,
    /// HostAddress, HostPort and Remedy too
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Without titles of columns
    #[arg(short, long)]
    noheading: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn ports(arguments: &PortsArguments) -> ExitCode {
    match arguments.filter.iter().map(|filter| filter.parse()).collect::<Result<Vec<ExposedFilter>>>() {
        Ok(filters) => done(list(arguments, &filters)),
        Err(error) => super::mistaken(&error),
    }
}

fn list(arguments: &PortsArguments, filters: &[ExposedFilter]) -> Result<()> {
    let all = ExposedFilter::apply(filters, containers(&arguments.place)?.exposed()?);
    let rows: Vec<Value> = all.iter().map(|one| row(one, arguments.no_trunc)).collect();
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: COLUMNS,
        titles: &TITLES,
        heading: if arguments.noheading { Heading::LeftOut } else { Heading::Shown },
    };
    print(&listing.render(&rows)?)?;
    if arguments.format.is_none() {
        all.iter().filter_map(notice).collect::<BTreeSet<_>>().into_iter().for_each(|(what, remedy)| {
            render::notice(&Notice { what, remedy: Some(remedy) });
        });
    }
    Ok(())
}

/// What to do about a firewall in the way.
fn notice(one: &ExposedPort) -> Option<(String, String)> {
    let Exposure::Dropped(walls) = &one.access else { return None };
    let chains: Vec<&str> = walls.iter().map(|wall| wall.chain.as_str()).collect();
    let commands: Vec<&str> = walls.iter().map(|wall| wall.command.as_str()).collect();
    let what =
        format!("the host's firewall drops what is forwarded to `{}`: {}", one.network, chains.join("; "));
    Some((what, format!("allow it as root: {}", commands.join(" && "))))
}

fn row(one: &ExposedPort, whole: bool) -> Value {
    let id = if whole { one.id.as_str() } else { one.id.get(..12).unwrap_or(&one.id) };
    let range = |(first, last): (u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let at = |address: &str, ports: &str| match address.contains(':') {
        true => format!("[{address}]:{ports}"),
        false => format!("{address}:{ports}"),
    };
    let host_address = one.address.map_or_else(|| "*".to_owned(), |address| address.to_string());
    let container_address = one.container_address.map(|address| address.to_string()).unwrap_or_default();
    let (host_port, container_port) = (range(one.ports), range(one.container_ports));
    let container = match container_address.is_empty() {
        true => container_port.clone(),
        false => at(&container_address, &container_port),
    };
    let joined = |part: fn(&engine::Wall) -> &str| {
        one.access.walls().iter().map(part).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
    };
    vec![
        Field::new("Access", one.access.word()),
        Field::new("Container", container),
        Field::new("ContainerAddress", container_address),
        Field::new("ContainerPort", container_port),
        Field::new("Firewall", joined(|wall| &wall.chain)),
        Field::new("Host", at(&host_address, &host_port)),
        Field::new("HostAddress", host_address),
        Field::new("HostPort", host_port),
        Field::new("ID", id),
        Field::new("Name", one.name.clone()),
        Field::new("Network", one.network.clone()),
        Field::new("Protocol", one.protocol.clone()),
        Field::new("Remedy", joined(|wall| &wall.command)),
    ]
    .into()
}
