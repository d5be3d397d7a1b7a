//! Which containers have which networks: told by the records of those that are kept and of those that run.

use super::{DEFAULT, Network, NetworkStore};
use crate::error::{Error, Result};
use crate::kept::{KeptContainers, ShownNetwork};
use crate::options::RunOptions;
use crate::paths::EnginePaths;

/// A container that has a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkUser {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub runs: bool,
    /// Where it is there, while it runs.
    pub(crate) place: Option<ShownNetwork>,
}

impl NetworkUser {
    /// Its address with the prefix length; empty where it does not run.
    pub fn ipv4(&self) -> String {
        self.place.as_ref().map(|place| format!("{}/{}", place.address, place.prefix)).unwrap_or_default()
    }

    /// The same of IPv6, with the prefix length of the network's subnet.
    pub fn ipv6(&self, network: &Network) -> String {
        let prefix = network.ipv6().and_then(|subnet| subnet.ipv6()).map_or(64, |subnet| subnet.prefix());
        let address = self.place.as_ref().and_then(|place| place.address_ipv6);
        address.map(|address| format!("{address}/{prefix}")).unwrap_or_default()
    }

    /// Its hardware address.
    pub fn mac(&self) -> &str {
        self.place.as_ref().map_or("", |place| place.mac.as_str())
    }
}

/// Containers, with the names of their networks.
#[derive(Debug, Default)]
pub struct NetworkUsers {
    users: Vec<(String, NetworkUser)>,
    /// Why it is not known what networks another container has.
    pub damaged: Option<Error>,
}

impl NetworkUsers {
    /// Those of one network.
    pub fn of(&self, network: &Network) -> Vec<NetworkUser> {
        let own = self.users.iter().filter(|(name, _)| *name == network.name);
        own.map(|(_, user)| user.clone()).collect()
    }

    fn add(&mut self, network: &str, user: NetworkUser) {
        if !self.users.iter().any(|(name, known)| name == network && known.id == user.id) {
            self.users.push((network.to_owned(), user));
        }
    }
}

impl NetworkStore {
    /// The containers that have networks: those that run, and those that are kept beside these networks.
    pub fn users(&self, paths: &EnginePaths) -> Result<NetworkUsers> {
        let mut users = NetworkUsers::default();
        for (id, shown) in crate::volume_store::running(paths)? {
            for place in shown.networks() {
                let user = NetworkUser {
                    id: id.clone(),
                    name: shown.name.clone(),
                    runs: true,
                    place: Some(place.clone()),
                };
                users.add(&place.name, user);
            }
        }
        let survey = KeptContainers::beside(&self.path).survey()?;
        for kept in &survey.kept {
            let options = kept.record.asked.as_ref().map(|asked| &asked.options);
            let user =
                || NetworkUser { id: kept.id.clone(), name: kept.name.clone(), runs: false, place: None };
            options.into_iter().flat_map(names).for_each(|name| users.add(name, user()));
        }
        users.damaged = survey.damaged.into_iter().next().map(|damaged| damaged.error);
        Ok(users)
    }
}

/// The names of the networks that a container of these options has.
pub(crate) fn names(options: &RunOptions) -> impl Iterator<Item = &str> {
    options
        .network
        .attachments
        .iter()
        .map(|attachment| attachment.network.as_str())
        .filter(|name| *name != DEFAULT)
}
