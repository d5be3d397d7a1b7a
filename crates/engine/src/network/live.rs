//! Plugs a container that runs into another network, and takes it out of one.

use std::os::fd::AsFd;
use std::path::Path;

use network::{
    DefaultRoute, Hairpin, InterfaceName, NamespaceConfiguration, NetnsTarget, NetworkStateDirectory,
};

use super::places::Place;
use super::{Missing, open_parent};
use crate::error::{Error, Result, from_network};
use crate::kept::ShownNetwork;
use crate::network_store::{Network, NetworkDriver};
use crate::paths::EnginePaths;

/// A container that runs.
pub(crate) struct Live<'a> {
    pub(crate) paths: &'a EnginePaths,
    pub(crate) id: &'a str,
    /// How it is called, and whom it asks for names that its networks don't know.
    pub(crate) name: &'a str,
    pub(crate) servers: &'a [std::net::IpAddr],
    /// The file of its network namespace, opened.
    pub(crate) namespace: &'a std::fs::File,
    /// As long as there is something there, what it has is its own.
    pub(crate) record: &'a Path,
}

impl Live<'_> {
    fn state(&self, name: &InterfaceName) -> Result<NetworkStateDirectory> {
        let parent = open_parent(&self.paths.networks(), Missing::Make)?.expect("it was made");
        NetworkStateDirectory::new(parent.as_fd(), name).map_err(from_network)
    }

    /// Plugs it into a network, with an interface that is up when this returns.
    pub(crate) fn plug_in(&self, place: Place) -> Result<ShownNetwork> {
        let state = self.state(place.state_name())?;
        let mut endpoint = place.lease(state, self.id)?;
        let own = std::iter::once(self.name).filter(|name| !name.is_empty()).map(str::to_owned);
        let short = self.id.get(..12).unwrap_or(self.id).to_owned();
        let called: Vec<String> = own.chain(endpoint.aliases.iter().cloned()).chain([short]).collect();
        endpoint.note_called(&called, self.servers)?;
        endpoint.ensure()?;
        endpoint.attach(NetnsTarget::Fd(self.namespace.as_fd()), Hairpin::Off)?;
        let configuration = NamespaceConfiguration::more(&endpoint.interface);
        let shown = endpoint.shown();
        let name = endpoint.interface.name().to_owned();
        // Others are reached by their addresses, where nobody answers.
        let _ = endpoint.answer_names(self.paths);
        let configured = network::configure_within(self.namespace.as_fd(), &configuration)
            .map_err(from_network)
            .and_then(|()| endpoint.entrust(self.record));
        match configured {
            // From here on the record keeps the address.
            Ok(leases) => {
                drop(leases);
                Ok(shown)
            }
            Err(mut error) => {
                let removed = network::remove_interface_within(self.namespace.as_fd(), &name);
                error.rollback.extend(removed.err().map(from_network));
                Err(error)
            }
        }
    }

    /// Takes it out of a network: its interface goes, and then its address is free.
    pub(crate) fn pull_out(&self, shown: &ShownNetwork) -> Result<()> {
        network::remove_interface_within(self.namespace.as_fd(), shown.interface()).map_err(from_network)?;
        let state = self.state(&InterfaceName::parse(shown.state_name()).map_err(from_network)?)?;
        for lease in state.held_leases().map_err(from_network)? {
            if lease.holder.as_deref() == Some(self.id) {
                state.give_back(lease.address, self.id).map_err(from_network)?;
            }
        }
        // Its bridge, where that was the last one: else the next command does it.
        let _ = network::remove_if_unused(&state);
        Ok(())
    }

    /// Makes the bridge and the rules of a network complete that it is in.
    pub(crate) fn mend(&self, network: &Network, shown: &ShownNetwork) -> Result<()> {
        if network.driver != NetworkDriver::Bridge {
            return Ok(());
        }
        let drawn = network.drawn()?;
        let state = self.state(drawn.name())?;
        network::ensure_for(&drawn, &state, shown.address).map(drop).map_err(from_network)
    }

    /// Gives it a default route through a network that it is in.
    pub(crate) fn route_through(&self, network: &Network, shown: &ShownNetwork) -> Result<bool> {
        let attachment = crate::options::NetworkAttachment {
            network: network.name.clone(),
            ip: Some(shown.address),
            interface: Some(shown.interface.clone()).filter(|name| !name.is_empty()),
            ..Default::default()
        };
        let interface = Place::new(network.clone(), attachment, shown.slot)?.foreseen()?;
        if interface.default_route() == DefaultRoute::No {
            return Ok(false);
        }
        let configuration = NamespaceConfiguration::default_routes(&interface);
        network::configure_within(self.namespace.as_fd(), &configuration).map_err(from_network)?;
        Ok(true)
    }
}

/// Opens the network namespace of a process.
pub(crate) fn namespace_file(pid: i32) -> Result<std::fs::File> {
    let path = format!("/proc/{pid}/ns/net");
    std::fs::File::open(&path).map_err(|error| Error::at_path("open", Path::new(&path), error))
}
