//! Which networks a listing is about: `--filter`.

use std::str::FromStr;

use super::{Network, NetworkDriver, NetworkUsers};
use crate::error::{Error, Result};
use crate::filter::{Pattern, has, moment, pair, passing, truth};
use crate::kept::seconds;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkFilter {
    /// What is found in its name.
    Name(Pattern),
    /// How its id begins.
    Id(String),
    /// Its driver.
    Driver(String),
    /// A label, and its value where that counts.
    Label(String, Option<String>),
    /// It lacks that.
    NoLabel(String, Option<String>),
    /// Whether no container has it.
    Dangling(bool),
    /// Where it is known: `local` is here.
    Scope(String),
    /// Whether somebody made it.
    Made(bool),
    /// Made before that second since 1970.
    Until(u64),
}

const HINT: &str = "there are name=PATTERN, id=ID, driver=bridge|macvlan|ipvlan|host|null, label=NAME[=VALUE], \
                    label!=NAME[=VALUE], dangling=BOOL, type=custom|builtin, scope=local and until=TIME";

impl FromStr for NetworkFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<NetworkFilter> {
        let refuse = |reason: String| Error::invalid("--filter", reason).with_hint(HINT);
        let shown = text.escape_debug();
        let Some((key, value)) = text.split_once('=') else {
            return Err(refuse(format!("`{shown}` has no `=`")));
        };
        let own = value.to_owned();
        let of_pair = |make: fn(String, Option<String>) -> NetworkFilter| {
            let (name, value) = pair(value);
            make(name, value)
        };
        Ok(match key {
            "name" => NetworkFilter::Name(Pattern::parse(value)?),
            "id" => NetworkFilter::Id(own),
            "driver" => NetworkFilter::Driver(own),
            "label" => of_pair(NetworkFilter::Label),
            "label!" => of_pair(NetworkFilter::NoLabel),
            "dangling" => {
                let wrong = || refuse(format!("`{}` is neither true nor false", value.escape_debug()));
                NetworkFilter::Dangling(truth(value).ok_or_else(wrong)?)
            }
            "scope" => NetworkFilter::Scope(own),
            "type" => match value {
                "custom" => NetworkFilter::Made(true),
                "builtin" => NetworkFilter::Made(false),
                _ => return Err(refuse(format!("`{}` is neither custom nor builtin", value.escape_debug()))),
            },
            "until" => NetworkFilter::Until(moment(value)?),
            _ => return Err(refuse(format!("`{}` is not known", key.escape_debug()))),
        })
    }
}

impl NetworkFilter {
    /// Of several of one kind one must hold, but for labels, of which each must.
    pub fn apply(filters: &[NetworkFilter], all: Vec<Network>, users: &NetworkUsers) -> Result<Vec<Network>> {
        let is_label =
            |filter: &NetworkFilter| matches!(filter, NetworkFilter::Label(..) | NetworkFilter::NoLabel(..));
        passing(filters, all, is_label, |filter, network, _| Ok(filter.holds(network, users)))
    }

    fn holds(&self, network: &Network, users: &NetworkUsers) -> bool {
        match self {
            NetworkFilter::Name(pattern) => pattern.is_in(&network.name),
            NetworkFilter::Id(id) => network.id.starts_with(id),
            NetworkFilter::Driver(driver) => network.driver.as_str() == driver,
            NetworkFilter::Label(name, value) => has(&network.labels, name, value.as_ref()),
            NetworkFilter::NoLabel(name, value) => !has(&network.labels, name, value.as_ref()),
            NetworkFilter::Dangling(wanted) => {
                let has_wire = !matches!(network.driver, NetworkDriver::Host | NetworkDriver::Null);
                (has_wire && !network.is_built_in() && users.of(network).is_empty()) == *wanted
            }
            NetworkFilter::Scope(scope) => scope == "local",
            NetworkFilter::Made(wanted) => network.is_built_in() != *wanted,
            NetworkFilter::Until(moment) => seconds(network.created) < *moment,
        }
    }
}
