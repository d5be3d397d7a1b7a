//! A container's end in one network: its leases, what it is plugged into, and its interface. What else the container has there,
//! such as published ports, is the connection's.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use network::{
    Bridge, BridgeNetwork, ContainerInterface, Hairpin, Lease, NetnsTarget, NetworkStateDirectory, Wire,
};

use crate::error::{Result, from_network};
use crate::kept::ShownNetwork;
use crate::names;
use crate::options::RunOptions;
use crate::paths::EnginePaths;

/// The end.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The network's name as people know it, and its id where it is kept.
    pub(super) shown_name: String,
    pub(super) network_id: String,
    pub(super) network: BridgeNetwork,
    pub(super) state: NetworkStateDirectory,
    pub(super) interface: ContainerInterface,
    pub(super) plug: Plug,
    /// Its own, and perhaps one that keeps an address of IPv6 from others.
    pub(super) leases: Vec<Lease>,
    pub(super) aliases: Vec<String>,
}

/// What it is plugged into.
#[derive(Debug)]
pub(super) enum Plug {
    /// A bridge that is yet to be made complete.
    BridgeToBe,
    /// A bridge.
    Bridge(Bridge),
    /// A wire of the host.
    Wire(Wire),
}

impl Endpoint {
    /// Its own lease.
    pub(super) fn lease(&self) -> &Lease {
        &self.leases[0]
    }

    /// The bridge, once it is complete.
    pub(super) fn bridge(&self) -> Option<&Bridge> {
        match &self.plug {
            Plug::Bridge(bridge) => Some(bridge),
            Plug::BridgeToBe | Plug::Wire(_) => None,
        }
    }

    /// Makes what it is plugged into complete.
    pub(super) fn ensure(&mut self) -> Result<()> {
        match &self.plug {
            Plug::Wire(wire) => wire.check().map_err(from_network),
            Plug::BridgeToBe | Plug::Bridge(_) => {
                let bridge =
                    network::ensure(&self.network, &self.state, self.lease()).map_err(from_network)?;
                self.plug = Plug::Bridge(bridge);
                Ok(())
            }
        }
    }

    /// Plugs a network namespace in.
    pub(super) fn attach(&self, target: NetnsTarget<'_>, hairpin: Hairpin) -> Result<()> {
        let attached = match &self.plug {
            Plug::Wire(wire) => network::attach_to_wire(wire, target, &self.interface),
            Plug::Bridge(bridge) => network::attach(bridge, target, &self.interface, hairpin).map(drop),
            Plug::BridgeToBe => unreachable!("the bridge is made before the clone"),
        };
        attached.map_err(from_network)
    }

    /// Where names are asked for; none where nobody answers, as on a wire, where the host can't be reached.
    pub(super) fn responder(&self) -> Option<IpAddr> {
        match &self.plug {
            Plug::Wire(_) => None,
            Plug::BridgeToBe | Plug::Bridge(_) => names::responder(&self.network),
        }
    }

    /// Writes down how the container is called there, where anybody asks.
    pub(super) fn note_names(&self, name: &str, options: &RunOptions) -> Result<()> {
        let called = names::of_container(name, &self.lease().holder(), &self.aliases, options);
        self.note_called(&called, &options.network.names.servers)
    }

    /// The same, of one that is called like this, and asks `servers` for other names.
    pub(super) fn note_called(&self, called: &[String], servers: &[IpAddr]) -> Result<()> {
        match self.responder() {
            Some(_) => self.lease().note_names(called, servers, self.interface.ipv6()).map_err(from_network),
            None => Ok(()),
        }
    }

    /// Has somebody answer names there.
    pub(super) fn answer_names(&self, paths: &EnginePaths) -> Result<()> {
        match self.responder() {
            Some(_) => names::start(paths, &self.state, &self.network, &self.shown_name),
            None => Ok(()),
        }
    }

    /// What inspecting a container shows of it.
    pub(super) fn shown(&self) -> ShownNetwork {
        let ipv4 = self.network.ipv4();
        ShownNetwork {
            name: self.shown_name.clone(),
            address: self.lease().address(),
            prefix: ipv4.prefix(),
            gateway: ipv4.gateway(),
            address_ipv6: self.interface.ipv6(),
            mac: self.interface.mac().map(|byte| format!("{byte:02x}")).join(":"),
            id: self.network_id.clone(),
            state: self.network.name().to_string(),
            interface: self.interface.name().to_owned(),
            slot: self.interface.slot(),
            prefix_ipv6: self.network.ipv6().map_or(0, |ipv6| ipv6.prefix()),
            gateway_ipv6: self.network.ipv6().map(|ipv6| ipv6.gateway()),
            aliases: self.aliases.clone(),
        }
    }

    /// Leaves its leases to the container, which is there as long as there is something at `record`.
    pub(super) fn entrust(self, record: &Path) -> Result<Vec<OwnedFd>> {
        self.leases.into_iter().map(|lease| lease.entrust(record).map_err(from_network)).collect()
    }
}
