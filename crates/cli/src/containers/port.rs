//! `rabbitc port`: which ports of the host lead to a container.

use std::process::ExitCode;

use clap::Parser;
use engine::{PortMapping, Result, WantedPort};

use super::{containers, done, find, mistaken};
use crate::images::print;
use crate::life::PlaceArguments;

/// Lists the published ports of a container, or where one of them is published.
#[derive(Debug, Parser)]
#[command(name = "rabbitc port", max_term_width = 100)]
pub(crate) struct PortArguments {
    /// Its id, the beginning of it, or its name
    #[arg(value_name = "CONTAINER", required_unless_present_any = ["all", "latest"])]
    container: Option<String>,
    /// A port of the container: `80`, `53/udp`
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
    /// Of all that run
    #[arg(short, long, conflicts_with_all = ["container", "latest"])]
    all: bool,
    /// Of the one that was made last; then the port is all that is named
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn port(arguments: &PortArguments) -> ExitCode {
    let (named, port) = match (arguments.latest, &arguments.container, &arguments.port) {
        // Then the first word is the port.
        (true, first, None) => (None, first),
        (_, named, port) => (named.as_deref(), port),
    };
    match port.as_deref().map(str::parse::<WantedPort>).transpose() {
        Ok(wanted) => done(show(arguments, named, wanted)),
        Err(error) => mistaken(&error),
    }
}

fn show(arguments: &PortArguments, named: Option<&str>, wanted: Option<WantedPort>) -> Result<()> {
    let containers = containers(&arguments.place)?;
    if arguments.all {
        let mut text = String::new();
        for found in containers.running()? {
            let id = found.id.get(..12).unwrap_or(&found.id);
            text.extend(found.ports().iter().map(|one| format!("{id}\t{}", line(one))));
        }
        return print(&text);
    }
    let found = find(&containers, named)?;
    match wanted {
        Some(wanted) => {
            print(&found.port(wanted)?.iter().map(|one| format!("{}\n", one.host)).collect::<String>())
        }
        None => print(&found.ports().iter().map(line).collect::<String>()),
    }
}

fn line(one: &PortMapping) -> String {
    format!("{}/{} -> {}\n", one.port, one.protocol, one.host)
}
