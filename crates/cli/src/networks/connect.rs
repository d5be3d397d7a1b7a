//! `rabbitc network connect`, `disconnect` and `reload`.

use std::process::ExitCode;

use clap::Args;
use engine::{
    Containers, Error, ErrorKind, NetworkAttachment, Result, parse_alias, parse_container_ip,
    parse_container_ip6, parse_mac,
};

use crate::images::{failed, print};
use crate::life::PlaceArguments;
use crate::render;

/// Puts a container on a network.
#[derive(Debug, Args)]
pub(crate) struct ConnectArguments {
    /// The network
    #[arg(value_name = "NETWORK")]
    network: String,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Another name by which containers of the network find it
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// Its address there [default: the lowest that is free]
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// Its address of IPv6 there
    #[arg(long, value_name = "IP")]
    ip6: Option<String>,
    /// Its hardware address there
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
    /// An option of its end: `com.docker.network.endpoint.ifname=NAME`
    #[arg(long, value_name = "NAME=VALUE")]
    driver_opt: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Takes a container off a network.
#[derive(Debug, Args)]
pub(crate) struct DisconnectArguments {
    /// The network
    #[arg(value_name = "NETWORK")]
    network: String,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Nothing is wrong with a container that is not there
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Makes bridges and rules complete again.
#[derive(Debug, Args)]
pub(crate) struct ReloadArguments {
    /// The containers
    #[arg(required_unless_present = "all", value_name = "CONTAINER")]
    containers: Vec<String>,
    /// All that run
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) fn connect(arguments: &ConnectArguments) -> Result<()> {
    let mut attachment = NetworkAttachment {
        network: arguments.network.clone(),
        ip: arguments.ip.as_deref().map(|text| parse_container_ip("--ip", text)).transpose()?,
        ip6: arguments.ip6.as_deref().map(|text| parse_container_ip6("--ip6", text)).transpose()?,
        mac: arguments.mac_address.as_deref().map(|text| parse_mac("--mac-address", text)).transpose()?,
        aliases: arguments.alias.iter().map(|text| parse_alias("--alias", text)).collect::<Result<_>>()?,
        interface: None,
    };
    for option in &arguments.driver_opt {
        match option.split_once('=') {
            Some(("com.docker.network.endpoint.ifname", name)) => {
                attachment.interface = Some(name.to_owned())
            }
            _ => {
                let reason = format!("`{}` is no option of an end here", option.escape_debug());
                let error = Error::invalid("--driver-opt", reason);
                return Err(error.with_hint("there is com.docker.network.endpoint.ifname=NAME"));
            }
        }
    }
    let paths = arguments.place.paths()?;
    let found = Containers::of(&paths, arguments.place.root())?.find(&arguments.container)?;
    arguments.place.networks()?.connect(&found, attachment, &paths)
}

pub(super) fn disconnect(arguments: &DisconnectArguments) -> Result<()> {
    let paths = arguments.place.paths()?;
    let found = match Containers::of(&paths, arguments.place.root())?.find(&arguments.container) {
        Err(error) if arguments.force && error.kind == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let notices = arguments.place.networks()?.disconnect(&arguments.network, &found, &paths)?;
    notices.iter().for_each(render::notice);
    Ok(())
}

/// Each is tried, whatever became of the others.
pub(super) fn reload(arguments: &ReloadArguments) -> Result<ExitCode> {
    let paths = arguments.place.paths()?;
    let (containers, networks) =
        (Containers::of(&paths, arguments.place.root())?, arguments.place.networks()?);
    let found: Vec<Result<engine::Found>> = match arguments.all {
        true => containers.running()?.into_iter().map(Ok).collect(),
        false => arguments.containers.iter().map(|called| containers.find(called)).collect(),
    };
    let mut code = ExitCode::SUCCESS;
    for found in found {
        let reloaded = found.and_then(|found| networks.reload(&found, &paths).map(|()| found));
        match reloaded {
            Ok(found) => print(&format!("{}\n", found.id))?,
            Err(error) => code = failed(&error),
        }
    }
    Ok(code)
}
