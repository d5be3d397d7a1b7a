//! From the kept networks that a container is to have to what the kernel is told of them. Changes nothing.

use std::net::{IpAddr, Ipv4Addr};

use network::{
    AddressRequest, BridgeNetwork, DefaultRoute, InterfaceName, Ipv4Network, Ipv6Choice, NetworkOptions,
    NetworkSettings, NetworkStateDirectory, Reach, Wire,
};
use runtime::ErrorKind;

use super::endpoint::{Endpoint, Plug};
use crate::error::{Error, Result, from_network};
use crate::names;
use crate::network_store::{Network, NetworkDriver, NetworkStore, Settings};
use crate::options::{NetworkAttachment, RunOptions};

/// The places of one container, in the order of its interfaces.
#[derive(Debug)]
pub(crate) struct Places {
    pub(super) store: NetworkStore,
    pub(super) places: Vec<Place>,
    /// The one that published ports lead to, and by which the container's own name is known.
    pub(super) main: usize,
}

/// A container's place in one network, before it has an address.
#[derive(Debug)]
pub(crate) struct Place {
    network: Network,
    pub(super) drawn: BridgeNetwork,
    wire: Option<Wire>,
    attachment: NetworkAttachment,
    interface: InterfaceName,
    slot: u32,
    default_route: DefaultRoute,
}

impl Network {
    /// As the kernel is told of it.
    pub(crate) fn drawn(&self) -> Result<BridgeNetwork> {
        let settings = Settings::read(self.driver, &self.options)?;
        let damaged = || {
            let operation = format!("read the network `{}`", self.name);
            let error = Error::new(ErrorKind::System, operation, "it has no subnet of IPv4");
            error.with_hint("remove it, and make it again")
        };
        let ipv4 = self.ipv4().ok_or_else(damaged)?;
        let ipv6 = match self.ipv6().and_then(|subnet| subnet.ipv6()) {
            _ if self.is_built_in() => Ipv6Choice::WhereTheHostHasIt,
            Some(subnet) => Ipv6Choice::This(subnet),
            None => Ipv6Choice::Off,
        };
        let reserved = ipv4.auxiliary.values().filter_map(|address| match address {
            std::net::IpAddr::V4(address) => Some(*address),
            std::net::IpAddr::V6(_) => None,
        });
        let options = NetworkOptions {
            name: self.state_name(),
            ipv4: ipv4.gateway.clone(),
            ipv6,
            settings: NetworkSettings {
                range: ipv4.range.as_deref().and_then(range),
                reserved: reserved.collect(),
                mtu: settings.mtu,
                reach: match (self.internal, settings.masquerades) {
                    (true, _) => Reach::Internal,
                    (false, true) => Reach::Masqueraded,
                    (false, false) => Reach::Routed,
                },
            },
        };
        options.check().map_err(from_network)
    }

    /// The wire whose end its containers get; none of a bridge.
    fn wire(&self, settings: &Settings) -> Result<Option<Wire>> {
        Ok(match self.driver {
            NetworkDriver::Bridge => None,
            _ => Some(Wire { parent: self.parent()?, kind: settings.wire_kind(self.driver) }),
        })
    }

    /// The host's interface whose wire it is: where none was named, that of the default route.
    fn parent(&self) -> Result<Option<InterfaceName>> {
        match self.interface.as_str() {
            "" => Ok(None),
            name => InterfaceName::parse(name).map(Some).map_err(from_network),
        }
    }
}

/// The first and the last address of `network/prefix`.
fn range(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix) = (address.parse::<Ipv4Addr>().ok()?.to_bits(), prefix.parse::<u32>().ok()?);
    let behind = u32::MAX.checked_shr(prefix).unwrap_or(0);
    Some((Ipv4Addr::from_bits(address & !behind), Ipv4Addr::from_bits(address | behind)))
}

/// Checks names and addresses; nothing is touched but the records of networks, which are read.
pub(crate) fn places(options: &RunOptions) -> Result<Places> {
    let store = match &options.network.store {
        Some(store) => store.clone(),
        None => NetworkStore::of(None)?,
    };
    let mut places = Vec::new();
    for (slot, attachment) in (0..).zip(&options.network.attachments) {
        let network = store.find(&attachment.network).map_err(|error| error.from_field("--network"))?;
        let place = Place::new(network, attachment.clone(), slot)?;
        let twice =
            |other: &&Place| other.network.id == place.network.id || other.interface == place.interface;
        if let Some(other) = places.iter().find(twice) {
            let reason = match other.network.id == place.network.id {
                true => format!("`{}` is named twice", place.network.name),
                false => format!("`{}` would be the name of two interfaces", place.interface),
            };
            return Err(Error::invalid("--network", reason).with_hint("leave one of the two out"));
        }
        places.push(place);
    }
    let main = settle_default_route(&mut places);
    if let (Some(main), false) = (places.get(main), options.network.publish.is_empty()) {
        main.check_ports()?;
    }
    Ok(Places { store, places, main })
}

/// Leaves the default route to the first network that has one; answers which that is, or else the first of all.
fn settle_default_route(places: &mut [Place]) -> usize {
    let has_route = |place: &Place| place.default_route != DefaultRoute::No;
    let first = places.iter().position(has_route);
    for (index, place) in places.iter_mut().enumerate() {
        if Some(index) != first {
            place.default_route = DefaultRoute::No;
        }
    }
    first.unwrap_or(0)
}

impl Place {
    /// Where names are asked for; none where nobody answers.
    pub(super) fn responder(&self) -> Option<IpAddr> {
        self.wire.is_none().then(|| names::responder(&self.drawn)).flatten()
    }

    /// A place in a network by what is asked for there; `slot` counts the container's interfaces.
    pub(crate) fn new(network: Network, attachment: NetworkAttachment, slot: u32) -> Result<Place> {
        if matches!(network.driver, NetworkDriver::Host | NetworkDriver::Null) {
            let reason = format!("`{}` goes with no other network", network.name);
            return Err(Error::invalid("--network", reason).with_hint("name it alone, or leave it out"));
        }
        let settings = Settings::read(network.driver, &network.options)?;
        let drawn = network.drawn()?;
        if let Some(ip) = attachment.ip {
            drawn.ipv4().check_container_address(ip).map_err(from_network)?;
        }
        if let Some(ip6) = attachment.ip6 {
            drawn.address_beside(ip6).map_err(from_network)?;
        }
        let name = attachment.interface.clone().unwrap_or_else(|| format!("eth{slot}"));
        let interface =
            InterfaceName::parse(&name).map_err(|error| from_network(error).from_field("--network"))?;
        let wire = network.wire(&settings)?;
        let default_route = match settings.has_default_route && !network.internal {
            true if settings.is_routed_by_the_wire() => DefaultRoute::Direct(settings.metric.unwrap_or(0)),
            true => DefaultRoute::Yes(settings.metric.unwrap_or(0)),
            false => DefaultRoute::No,
        };
        Ok(Place { network, drawn, wire, attachment, interface, slot, default_route })
    }

    /// The same beside other networks that have the default route.
    pub(crate) fn without_default_route(self) -> Place {
        Place { default_route: DefaultRoute::No, ..self }
    }

    /// The network that it is in.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    fn check_ports(&self) -> Result<()> {
        let name = &self.network.name;
        let reason = match (self.network.driver, self.network.internal) {
            (NetworkDriver::Bridge, false) => return Ok(()),
            (NetworkDriver::Bridge, true) => format!("nothing comes in to the internal network `{name}`"),
            _ => format!("containers of the network `{name}` are reached by addresses of their own"),
        };
        let error = Error::invalid("--publish", reason);
        Err(error.with_hint("leave it out, or name a network with a bridge before it"))
    }

    /// Where its leases are.
    pub(super) fn state_name(&self) -> &InterfaceName {
        self.drawn.name()
    }

    /// The address that would be leased, where the first one is free.
    pub(super) fn foreseen(&self) -> Result<network::ContainerInterface> {
        let beside = self.beside()?;
        let first = || {
            let first = self.drawn.settings().range.map(|(first, _)| first);
            let behind_gateway = Ipv4Addr::from_bits(self.drawn.ipv4().gateway().to_bits() + 1);
            first
                .filter(|first| self.drawn.ipv4().check_container_address(*first).is_ok())
                .unwrap_or(behind_gateway)
        };
        let address = self.attachment.ip.or(beside).unwrap_or_else(first);
        let interface = self.drawn.container_interface(address).map_err(from_network)?;
        Ok(self.fitted(interface))
    }

    fn beside(&self) -> Result<Option<Ipv4Addr>> {
        let beside = self.attachment.ip6.map(|ip6| self.drawn.address_beside(ip6)).transpose();
        beside.map_err(from_network)
    }

    fn fitted(&self, interface: network::ContainerInterface) -> network::ContainerInterface {
        let mut interface =
            interface.numbered(self.slot, &self.interface).with_default_route(self.default_route);
        if let Some(ip6) = self.attachment.ip6 {
            interface = interface.with_ipv6(ip6);
        }
        match (self.attachment.mac, &self.wire) {
            (Some(mac), _) => interface.with_mac(mac),
            // Others of the wire may know the address by another hardware address.
            (None, Some(_)) => interface.with_mac(interface.mac()),
            (None, None) => interface,
        }
    }

    /// Leases its address for the container `holder`.
    pub(super) fn lease(self, state: NetworkStateDirectory, holder: &str) -> Result<Endpoint> {
        let beside = self.beside()?;
        let wanted = match self.attachment.ip.or(beside) {
            Some(address) => AddressRequest::Exactly(address),
            None => AddressRequest::LowestFree,
        };
        let mut own = state.lease(&self.drawn, wanted, holder).map_err(from_network)?;
        let interface = self.fitted(*own.interface());
        own.set_interface(interface);
        let mut leases = vec![own];
        if let Some(beside) = beside.filter(|beside| *beside != leases[0].address()) {
            // Whoever had this address would have the same of IPv6.
            let request = AddressRequest::Exactly(beside);
            leases.push(state.lease(&self.drawn, request, holder).map_err(from_network)?);
        }
        Ok(Endpoint {
            shown_name: self.network.name.clone(),
            network_id: self.network.id.clone(),
            network: self.drawn,
            state,
            interface,
            plug: self.wire.map_or(Plug::BridgeToBe, Plug::Wire),
            leases,
            aliases: self.attachment.aliases,
        })
    }
}

/// The subnets that are written down, for networks that get one without being told.
pub(super) fn written_down(options: &RunOptions) -> Vec<Ipv4Network> {
    // Where they can't be read, a start with the same subnet is refused.
    let survey = options.network.store.as_ref().and_then(|store| store.made().ok());
    let networks = survey.map(|survey| survey.networks).unwrap_or_default();
    networks.iter().filter_map(|network| network.ipv4()?.ipv4()).collect()
}
