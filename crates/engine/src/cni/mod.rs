//! Networks of CNI plugins in place of our own (decision 56): a list of plugins describes one, and each is a program that
//! connects a container's network namespace. Owns what is kept of that; makes no interface and no rule itself.

mod attachment;
mod configuration;
mod outcome;
mod plugin;
mod record;

use std::path::PathBuf;

use ::network::HostPorts;
use serde_json::{Map, Value, json};

pub(crate) use self::attachment::{Attachment, sweep};
use self::configuration::{CONFIGURATIONS, Configuration, PLUGINS};
pub(crate) use self::outcome::{Dns, Outcome};
use self::record::Record;
use crate::error::{Error, Result};
use crate::options::{CniNetwork, RunOptions};
use crate::paths::EnginePaths;

/// The interface inside, as of every network of ours.
const INTERFACE: &str = "eth0";

/// How a container will be connected.
#[derive(Debug)]
pub(crate) struct Plan {
    record: Record,
    options: Box<RunOptions>,
}

impl Plan {
    /// Finds the network and its plugins, and what of the options they are given. Nothing is run but plugins that say whether
    /// they are able.
    pub(crate) fn find(network: &CniNetwork, options: &RunOptions) -> Result<Plan> {
        let default = || PathBuf::from(CONFIGURATIONS);
        let configurations = network.configurations.clone().unwrap_or_else(default);
        let directories = match &network.plugins[..] {
            [] => PLUGINS.map(PathBuf::from).to_vec(),
            named => named.to_vec(),
        };
        let configuration = Configuration::find(&network.name, &configurations)?;
        if let Some((name, _)) = configuration.programs(&directories).find(|(_, path)| path.is_none()) {
            let places: Vec<String> = directories.iter().map(|one| one.display().to_string()).collect();
            let reason = format!(
                "the plugin `{}` of the CNI network `{}` is not in {}",
                name.escape_debug(),
                network.name,
                places.join(", ")
            );
            return Err(Error::invalid("--network", reason).with_hint(
                "install it (Debian: package `containernetworking-plugins`), or name its directory with `--cni-bin-dir`",
            ));
        }
        let capabilities = capabilities(network, options, &configuration)?;
        Ok(Plan {
            record: Record {
                host: 0,
                configuration,
                directories,
                container: String::new(),
                interface: INTERFACE.to_owned(),
                namespace: (String::new(), 0),
                capabilities,
                result: None,
            },
            options: Box::new(options.clone()),
        })
    }

    /// The same for the container that it is for, once plugins have said that they are able to connect one.
    pub(crate) fn of(mut self, container: &str) -> Result<Plan> {
        container.clone_into(&mut self.record.container);
        self.record.ask_status()?;
        Ok(self)
    }
}

/// What plugins are passed, by capability (the conventions beside the specification). What nobody would take is refused,
/// where it would be missed.
fn capabilities(
    asked: &CniNetwork,
    options: &RunOptions,
    configuration: &Configuration,
) -> Result<Map<String, Value>> {
    let network = &options.network;
    let mut passed = Map::new();
    let mut needed = |flag: &str, capability: &str, value: Value| {
        if !configuration.takes(capability) {
            let name = &configuration.name;
            let reason = format!(
                "no plugin of the CNI network `{name}` takes it: none has the capability `{capability}`"
            );
            let error = Error::invalid(flag, reason);
            return Err(error.with_hint(format!(
                "leave it out, or have a plugin in the list that can, with `\"capabilities\": {{\"{capability}\": true}}`"
            )));
        }
        passed.insert(capability.to_owned(), value);
        Ok(())
    };
    if !network.publish.is_empty() {
        needed("--publish", "portMappings", port_mappings(options)?)?;
    }
    if let Some(address) = &network.container_ip {
        needed("--container-ip", "ips", json!([checked_address(address)?]))?;
    }
    if let Some(mac) = network.mac {
        let text = mac.map(|byte| format!("{byte:02x}")).join(":");
        needed("--mac-address", "mac", json!(text))?;
    }
    if !asked.aliases.is_empty() {
        needed("--network-alias", "aliases", json!(asked.aliases))?;
    }
    let names = &network.names;
    if !(names.servers.is_empty() && names.search.is_empty() && names.options.is_empty()) {
        let dns = json!({"servers": names.servers, "searches": names.search, "options": names.options});
        passed.insert("dns".to_owned(), dns);
    }
    Ok(passed)
}

fn checked_address(text: &str) -> Result<&str> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(left, right)| (left, Some(right)));
    let most = match address.parse::<std::net::IpAddr>() {
        Ok(address) => {
            if address.is_ipv4() {
                32_u8
            } else {
                128
            }
        }
        Err(_) => {
            let reason = format!("`{}` is not an IP address", text.escape_debug());
            return Err(
                Error::invalid("--container-ip", reason).with_hint("write `10.0.0.7` or `10.0.0.7/16`")
            );
        }
    };
    match prefix.map(str::parse::<u8>) {
        None => Ok(text),
        Some(Ok(prefix)) if prefix <= most => Ok(text),
        Some(_) => {
            let reason = format!("`{}` has no size of a network after the `/`", text.escape_debug());
            Err(Error::invalid("--container-ip", reason).with_hint("write `10.0.0.7` or `10.0.0.7/16`"))
        }
    }
}

/// Each port by itself: there are no ranges in it.
fn port_mappings(options: &RunOptions) -> Result<Value> {
    let mut mappings = Vec::new();
    for port in &options.network.publish {
        let HostPorts::From(first) = port.host else {
            let reason = format!("`{port}` leaves the choice of a port to rabbitc");
            let error = Error::invalid("--publish", reason);
            return Err(error.with_hint("name the host's port: plugins choose none"));
        };
        for (number, container) in (port.container.first()..=port.container.last()).enumerate() {
            let host = usize::from(first) + number;
            if host > usize::from(u16::MAX) {
                let error = Error::invalid("--publish", format!("`{port}` goes beyond port 65535"));
                return Err(error.with_hint("choose lower ports"));
            }
            let mut mapping =
                json!({"hostPort": host, "containerPort": container, "protocol": port.protocol.to_string()});
            if let Some(address) = port.address {
                mapping["hostIP"] = json!(address);
            }
            mappings.push(mapping);
        }
    }
    Ok(Value::Array(mappings))
}

/// What inspecting a container shows of its network.
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) result: Value,
}

impl Shown {
    /// Of the container `id`, while it is connected.
    pub(crate) fn of(paths: &EnginePaths, id: &str) -> Option<Shown> {
        let record = Record::read(&paths.cni().join(id)).ok().flatten()?;
        let (name, outcome) = (record.configuration.name.clone(), record.outcome());
        record.result.map(|result| Shown { name, outcome, result })
    }
}
