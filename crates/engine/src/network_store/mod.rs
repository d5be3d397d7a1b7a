//! Networks that are kept: what is written down of each, from its making to its removal. What a container has to do with one is
//! `crate::network`'s; interfaces and rules are made with the first container, and nothing of them is here.
//!
//! ```text
//! networks/ID.json    what is known of one
//! networks/lock       whose lock those have alone who make or remove one; whoever leases an address there shares it
//! ```
//!
//! Beside them there are three that nobody makes: `bridge`, whose interface is `rabbitc0`, `host` and `none`.

mod check;
mod connect;
mod filter;
mod make;
mod prune;
mod remove;
mod settings;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ::network::{Ipv4Network, Ipv6Choice, Ipv6Network};
use runtime::ErrorKind;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

pub use self::check::check_network_name;
pub use self::filter::NetworkFilter;
pub use self::make::{CreatedNetwork, NewNetwork};
pub use self::prune::PrunedNetworks;
pub(crate) use self::settings::Settings;
pub use self::users::{NetworkUser, NetworkUsers};
use crate::directories::{self, Durability, read_record, write_record};
use crate::error::{Code, Error, Result};
use crate::events::{Event, EventLog};
use crate::images::data_directory;

/// The network that containers have where nobody names one.
pub(crate) const DEFAULT: &str = "bridge";
/// Its interface.
const DEFAULT_INTERFACE: &str = "rabbitc0";
/// The lock of all of them.
const LOCK: &str = "lock";
/// How their files end.
const RECORD: &str = ".json";

/// The networks of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStore {
    path: PathBuf,
}

/// What a network is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkDriver {
    /// A bridge on the host.
    Bridge,
    /// An address of its own on a wire of the host.
    Macvlan,
    /// The same with the wire's hardware address.
    Ipvlan,
    /// The host's own interfaces.
    Host,
    /// Nothing.
    Null,
}

impl NetworkDriver {
    /// In docker's words.
    pub fn as_str(self) -> &'static str {
        match self {
            NetworkDriver::Bridge => "bridge",
            NetworkDriver::Macvlan => "macvlan",
            NetworkDriver::Ipvlan => "ipvlan",
            NetworkDriver::Host => "host",
            NetworkDriver::Null => "null",
        }
    }
}

/// A subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSubnet {
    /// The gateway's address with the prefix length, and by these the subnet.
    pub gateway: String,
    /// The part of it that containers get their addresses from, where nobody names one: `network/prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Addresses that no container gets, by what they are for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub auxiliary: BTreeMap<String, IpAddr>,
}

impl NetworkSubnet {
    /// As it is read again; none where it is of the other family.
    pub fn ipv4(&self) -> Option<Ipv4Network> {
        Ipv4Network::parse(&self.gateway).ok()
    }

    /// The same of IPv6.
    pub fn ipv6(&self) -> Option<Ipv6Network> {
        Ipv6Network::parse(&self.gateway).ok()
    }

    /// `network/prefix`.
    pub fn subnet(&self) -> String {
        let ipv6 = || self.ipv6().map(|subnet| subnet.subnet());
        self.ipv4().map(|subnet| subnet.subnet()).or_else(ipv6).unwrap_or_default()
    }

    /// The gateway's address alone.
    pub fn gateway_address(&self) -> &str {
        self.gateway.split('/').next().unwrap_or_default()
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Its id, of 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since 1970 at which it was made.
    pub created: u64,
    /// What it is made of.
    pub driver: NetworkDriver,
    /// The bridge; of the other drivers the interface of the host whose wire it is.
    #[serde(default)]
    pub interface: String,
    /// Its subnets: one of IPv4, and perhaps one of IPv6.
    #[serde(default)]
    pub subnets: Vec<NetworkSubnet>,
    /// Whether there is no way out of it.
    #[serde(default)]
    pub internal: bool,
    /// Docker's word for networks of many hosts, which it is kept for alone.
    #[serde(default)]
    pub attachable: bool,
    /// Whether its containers find one another by name.
    #[serde(default)]
    pub dns_enabled: bool,
    /// Name servers of its containers, in place of the host's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its driver's options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Network {
    /// Whether it is there without being made.
    pub fn is_built_in(&self) -> bool {
        is_built_in(&self.name)
    }

    /// Its subnet of IPv4.
    pub fn ipv4(&self) -> Option<&NetworkSubnet> {
        self.subnets.iter().find(|subnet| subnet.ipv4().is_some())
    }

    /// Its subnet of IPv6.
    pub fn ipv6(&self) -> Option<&NetworkSubnet> {
        self.subnets.iter().find(|subnet| subnet.ipv4().is_none())
    }

    /// The beginning of its id, as listings show it.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// Whether a name is that of a network which is there without being made.
pub(crate) fn is_built_in(name: &str) -> bool {
    matches!(name, DEFAULT | "host" | "none")
}

/// Which networks there are.
#[derive(Debug)]
pub struct NetworkSurvey {
    /// Those, sorted by their names.
    pub networks: Vec<Network>,
    /// Why others can't be looked at.
    pub damaged: Vec<Error>,
}

impl NetworkStore {
    /// Those below `root`, or where the caller's are without a word. Nothing is made.
    pub fn of(root: Option<&Path>) -> Result<NetworkStore> {
        Ok(NetworkStore { path: data_directory(root)?.join("networks") })
    }

    /// Those beside the images of a store.
    #[cfg(test)]
    pub(crate) fn beside(images: &Path) -> NetworkStore {
        NetworkStore { path: images.with_file_name("networks") }
    }

    /// Where they are.
    pub(crate) fn path_mut(&mut self) -> &mut PathBuf {
        &mut self.path
    }

    /// All of them, those among them that nobody made.
    pub fn survey(&self) -> Result<NetworkSurvey> {
        let mut survey = self.made()?;
        survey.networks.extend(built_in());
        survey.networks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(survey)
    }

    /// Those that somebody made.
    pub(crate) fn made(&self) -> Result<NetworkSurvey> {
        let mut survey = NetworkSurvey { networks: Vec::new(), damaged: Vec::new() };
        for name in directories::names(&self.path)?.iter().filter(|name| name.ends_with(RECORD)) {
            match self.read(name) {
                Ok(network) => survey.networks.extend(network),
                Err(error) => survey.damaged.push(error),
            }
        }
        Ok(survey)
    }

    fn read(&self, file: &str) -> Result<Option<Network>> {
        read_record(&self.path.join(file), "remove the file, and make the network again")
    }

    /// The one that is called so: by its name, its id, or the beginning of its id.
    pub fn get(&self, called: &str) -> Result<Option<Network>> {
        let survey = self.survey()?;
        let mut all = survey.networks.into_iter();
        if let Some(named) = all.clone().find(|one| one.name == called || one.id == called) {
            return Ok(Some(named));
        }
        let is_meant = |one: &Network| !called.is_empty() && one.id.starts_with(called);
        let found = all.find(is_meant);
        if all.any(|one| is_meant(&one)) {
            let operation = format!("find the network `{}`", called.escape_debug());
            let error = Error::invalid(operation, "more than one id begins so".to_owned());
            return Err(error.with_hint("write more of the id"));
        }
        match survey.damaged.into_iter().next() {
            // It may be the one that is meant.
            Some(error) if found.is_none() => Err(error),
            _ => Ok(found),
        }
    }

    /// The one that is called so, which must be there.
    pub fn find(&self, called: &str) -> Result<Network> {
        self.get(called)?.ok_or_else(|| no_such(called))
    }

    /// Shares the lock: as long as it is held, no network is made or removed. None where there never was one.
    pub(crate) fn share(&self) -> Result<Option<File>> {
        let path = self.path.join(LOCK);
        match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            opened => {
                let file = opened.map_err(|error| Error::at_path("open", &path, error))?;
                rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockShared))
                    .map_err(|error| Error::at_path("lock", &path, error))?;
                Ok(Some(file))
            }
        }
    }

    /// The lock of whoever makes or removes one.
    fn lock(&self) -> Result<File> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| Error::at_path("make", &self.path, error))?;
        directories::lock_file(&self.path.join(LOCK))
    }

    /// Writes one down, for whoever has the lock.
    fn write(&self, network: &Network) -> Result<()> {
        write_record(&self.path.join(format!("{}{RECORD}", network.id)), network, Durability::Power)?;
        directories::sync(&self.path)
    }

    /// Tells what has become of one.
    pub(crate) fn tell(&self, network: &Network, action: &str, container: Option<&str>) {
        let event = Event::now("network", action, network.id.as_str())
            .with("name", network.name.as_str())
            .with("type", network.driver.as_str());
        let event = match container {
            Some(id) => event.with("container", id),
            None => event,
        };
        EventLog::beside(&self.path).tell(&event);
    }
}

/// In docker's words.
fn no_such(called: &str) -> Error {
    let called = called.escape_debug();
    let operation = format!("find the network `{called}`");
    let error = Error::new(ErrorKind::NotFound, operation, format!("network {called} not found"));
    error.with_hint("`rabbitc network ls` lists those that are there")
}

/// Those that nobody makes. Their ids are the same everywhere.
fn built_in() -> [Network; 3] {
    let network = |name: &str, id: &str, driver| Network {
        id: id.repeat(4),
        name: name.to_owned(),
        created: 0,
        driver,
        interface: String::new(),
        subnets: Vec::new(),
        internal: false,
        attachable: false,
        dns_enabled: false,
        dns: Vec::new(),
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    };
    let mut default = network(DEFAULT, "b41d6e00172019af", NetworkDriver::Bridge);
    default.interface = DEFAULT_INTERFACE.to_owned();
    let options = ::network::NetworkOptions { ipv6: Ipv6Choice::default(), ..Default::default() };
    let checked = options.check().expect("the default is legal");
    let subnet = |gateway: String| NetworkSubnet { gateway, range: None, auxiliary: BTreeMap::new() };
    default.subnets.push(subnet(checked.ipv4().to_string()));
    default.subnets.extend(checked.ipv6().map(|ipv6| subnet(ipv6.to_string())));
    [
        default,
        network("host", "405700000000c0de", NetworkDriver::Host),
        network("none", "000e00000000c0de", NetworkDriver::Null),
    ]
}
