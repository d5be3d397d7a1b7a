//! `rabbitc network inspect`: all that is known of networks, as docker writes it.

use std::process::ExitCode;

use clap::Args;
use engine::{Network, NetworkUsers, Result, rfc3339};
use serde_json::{Map, Value as Json, json};

use crate::inspect::Form;
use crate::life::PlaceArguments;
use crate::template::{Field, Value};

/// Shows all that is known of networks.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// Their names or ids
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
    /// `json`, or a line for each network such as `{{.Driver}}` [default: one JSON document]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Taken for docker's sake
    #[arg(short, long, hide = true)]
    verbose: bool,
    /// Taken for docker's sake
    #[arg(long, value_name = "SCOPE", hide = true)]
    scope: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Each network is shown, whatever became of the others.
pub(super) fn inspect(arguments: &InspectArguments) -> Result<ExitCode> {
    let form = Form::parse(arguments.format.as_deref())?;
    let store = arguments.place.networks()?;
    let users = store.users(&arguments.place.paths()?)?;
    form.show(&arguments.names, |name| store.find(name).map(|network| value(&network, &users)))
}

/// Docker's fields in its order, then some that only podman has.
fn value(network: &Network, users: &NetworkUsers) -> Value {
    let config: Vec<Json> = network
        .subnets
        .iter()
        .map(|subnet| {
            let mut config = Map::new();
            config.insert("Subnet".to_owned(), json!(subnet.subnet()));
            config.extend(subnet.range.iter().map(|range| ("IPRange".to_owned(), json!(range))));
            config.insert("Gateway".to_owned(), json!(subnet.gateway_address()));
            if !subnet.auxiliary.is_empty() {
                config.insert("AuxiliaryAddresses".to_owned(), json!(subnet.auxiliary));
            }
            Json::Object(config)
        })
        .collect();
    let containers: Map<String, Json> = users
        .of(network)
        .into_iter()
        .filter(|user| user.runs)
        .map(|user| {
            let shown = json!({
                "Name": user.name,
                "EndpointID": "",
                "MacAddress": user.mac(),
                "IPv4Address": user.ipv4(),
                "IPv6Address": user.ipv6(network),
            });
            (user.id, shown)
        })
        .collect();
    Value::record(
        json!({
            "Name": network.name,
            "Id": network.id,
            "Created": rfc3339(network.created / 1_000_000_000),
            "Scope": "local",
            "Driver": network.driver.as_str(),
            "EnableIPv4": network.ipv4().is_some(),
            "EnableIPv6": network.ipv6().is_some(),
            "IPAM": {"Driver": "default", "Options": null, "Config": config},
            "Internal": network.internal,
            "Attachable": network.attachable,
            "Ingress": false,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": false,
            "Containers": containers,
            "Options": network.options,
            "Labels": network.labels,
            "NetworkInterface": network.interface,
            "DNSEnabled": network.dns_enabled,
            "NetworkDNSServers": network.dns,
        }),
        &["IPAM", "ConfigFrom"],
    )
    .with(Field::alias("ID", network.id.clone()))
}
