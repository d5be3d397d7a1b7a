//! Making a network: its record, and nothing else, under the lock of all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ::network::Ipv4Network;
use runtime::ErrorKind;
use runtime::caller::Caller;

use super::{Network, NetworkDriver, NetworkStore, check};
use crate::container::new_id;
use crate::directories;
use crate::error::{Code, Error, Result};
use crate::kept::now;
use crate::network::namespace_of;
use crate::paths::EnginePaths;

/// A network that somebody asks for, as typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// Its driver; empty means `bridge`.
    pub driver: String,
    /// Its subnets: `10.5.0.0/16`, `fd00:5::/64`; of a family without one, a free one is chosen.
    pub subnets: Vec<String>,
    /// The gateways in them; of a subnet without one, its first address.
    pub gateways: Vec<String>,
    /// The parts of them that addresses are chosen from.
    pub ranges: Vec<String>,
    /// Addresses that no container gets, by what they are for.
    pub auxiliary: BTreeMap<String, IpAddr>,
    /// Whether it has IPv6 without a subnet that says so.
    pub ipv6: bool,
    /// Whether there is to be no way out.
    pub internal: bool,
    /// Docker's word for networks of many hosts.
    pub attachable: bool,
    /// Whether its containers don't find one another by name.
    pub dns_disabled: bool,
    /// Name servers of its containers.
    pub dns: Vec<IpAddr>,
    /// The name of its bridge.
    pub interface: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its driver's options.
    pub options: BTreeMap<String, String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatedNetwork {
    /// It is new.
    Made(Network),
    /// There was one of that name, which is left as it was.
    Found(Network),
}

impl NetworkStore {
    /// Makes a network, unless there is one of that name.
    pub fn create(&self, new: &NewNetwork, paths: &EnginePaths) -> Result<CreatedNetwork> {
        let asked = check::check(new)?;
        if Caller::find() == Caller::User {
            let error = Error::new(
                ErrorKind::Unsupported,
                "rabbitc network create",
                "it takes root: an ordinary user makes no interface",
            );
            return Err(
                error.with_hint("run it as root; without root, containers have `pasta`, `none` or `host`")
            );
        }
        let _lock = self.lock()?;
        self.sweep();
        let survey = self.survey()?;
        let same = |one: &&Network| one.name == new.name;
        if let Some(found) = survey.networks.iter().find(same) {
            return Ok(CreatedNetwork::Found(found.clone()));
        }
        // What a damaged one is called, and what subnet it has, nobody knows.
        if let Some(error) = survey.damaged.into_iter().next() {
            return Err(error);
        }
        let id = new_id()?.to_string();
        let mut network = Network {
            interface: match (asked.driver, asked.interface.clone()) {
                (NetworkDriver::Bridge, None) => format!("br-{}", &id[..12]),
                // Of a wire that nobody named, it is that of the host's default route.
                (_, named) => named.unwrap_or_default(),
            },
            id,
            name: new.name.clone(),
            created: now(),
            driver: asked.driver,
            subnets: Vec::new(),
            internal: new.internal,
            attachable: new.attachable,
            dns_enabled: !new.dns_disabled && asked.driver == NetworkDriver::Bridge,
            dns: new.dns.clone(),
            labels: new.labels.clone(),
            options: new.options.clone(),
        };
        refuse_taken_interface(&network, &survey.networks)?;
        network.subnets = asked.subnets(&network, &survey.networks, |others| self.choose(others, paths))?;
        self.write(&network)?;
        self.tell(&network, "create", None);
        Ok(CreatedNetwork::Made(network))
    }

    /// A subnet that nobody has.
    fn choose(&self, others: &[Ipv4Network], paths: &EnginePaths) -> Result<Ipv4Network> {
        let namespace = namespace_of(paths)?;
        ::network::choose_subnet(namespace.as_ref(), others).map_err(crate::error::from_network)
    }

    /// Removes what commands that were killed have half written. The lock is held.
    fn sweep(&self) {
        let drafts = directories::names(&self.path).unwrap_or_default();
        for name in drafts.iter().filter(|name| name.ends_with(".draft")) {
            // Best effort: nobody reads it.
            let _ = directories::remove_file(&self.path.join(name));
        }
    }
}

/// Two bridges of one name can't be.
fn refuse_taken_interface(network: &Network, others: &[Network]) -> Result<()> {
    let taken =
        |other: &&Network| other.driver == NetworkDriver::Bridge && other.interface == network.interface;
    match others.iter().find(taken).filter(|_| network.driver == NetworkDriver::Bridge) {
        Some(other) => {
            let reason =
                format!("bridge name {} already in use by network `{}`", network.interface, other.name);
            let error = Error::invalid("--interface-name", reason).with_code(Code::InUse);
            Err(error.with_hint("choose another name for the bridge, or leave it out"))
        }
        None => Ok(()),
    }
}
