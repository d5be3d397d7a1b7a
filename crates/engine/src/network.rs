//! The container's networks: their leases before the start, bridges on the way, nothing of them after the end.

mod endpoint;
mod live;
mod places;

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

use network::{
    AddressRequest, Bridge, BridgeNetwork, ContainerInterface, Families, Finding, Hairpin, HeldLease,
    HeldPorts, HostPorts, InterfaceName, Ipv4Network, Ipv6Choice, Lease, Lingering, NamespaceConfiguration,
    NamespaceState, NetnsTarget, NetworkOptions, NetworkStateDirectory, NewSubnet, Outbound, PortHolder,
    PortRange, PortRequest, Protocol, Publication, Published, Reach, Removal, Stray, Tenant, TidyTurn, Ways,
};
use runtime::ContainerId;
use runtime::lifecycle;
use runtime::plan::NetworkProgram;
use runtime::state_dir::StateRoot;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use self::endpoint::{Endpoint, Plug};
pub(crate) use self::live::{Live, namespace_file};
pub(crate) use self::places::{Place, Places};
use crate::error::{Error, Result, from_network};
use crate::kept::{Shown, ShownNetwork};
use crate::names;
use crate::options::RunOptions;
use crate::paths::EnginePaths;
use crate::rootless::{pasta, ports};

/// A container's place in its networks.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Whether firewalls of the host are told of its bridges.
    integrates: bool,
    requests: Vec<PortRequest>,
    // In the order in which they must end.
    published: Option<Published>,
    ports: Option<HeldPorts>,
    /// In the order of the interfaces.
    endpoints: Vec<Endpoint>,
    /// The one that published ports lead to.
    main: usize,
}

/// What a person should know of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

/// The network that is meant.
pub(crate) enum Wanted {
    /// With a subnet that somebody named, or that of `rabbitc0`.
    Named(BridgeNetwork),
    /// With the subnet that it has, or gets when it is made.
    Own { name: InterfaceName, new: NewSubnet },
    /// Kept ones.
    Kept(Places),
}

const IPV6: Ipv6Choice = Ipv6Choice::WhereTheHostHasIt;

/// Checks names and addresses; nothing is touched.
pub(crate) fn check(options: &RunOptions) -> Result<Wanted> {
    if !options.network.attachments.is_empty() {
        return places::places(options).map(Wanted::Kept);
    }
    let bridge = options.network.bridge();
    let named = |ipv4: &str| {
        let checked =
            NetworkOptions { name: bridge.to_owned(), ipv4: ipv4.to_owned(), ..NetworkOptions::default() };
        checked.check().map_err(from_network)
    };
    if let Some(ipv4) = options.network.subnet() {
        let network = named(ipv4)?;
        wanted_address(options, &network.ipv4()).map_err(from_network)?;
        return Ok(Wanted::Named(network));
    }
    let name = InterfaceName::parse(bridge).map_err(from_network)?;
    let new = match &options.network.container_ip {
        None => NewSubnet::Free(places::written_down(options)),
        // Whoever chooses an address without a subnet means that of the default.
        Some(_) => NewSubnet::This(named(NetworkOptions::default().ipv4.as_str())?.ipv4()),
    };
    Ok(Wanted::Own { name, new })
}

fn wanted_address(options: &RunOptions, subnet: &Ipv4Network) -> network::Result<AddressRequest> {
    match &options.network.container_ip {
        Some(text) => subnet.parse_container_address(text).map(AddressRequest::Exactly),
        None => Ok(AddressRequest::LowestFree),
    }
}

/// Addresses and how init takes them.
pub(crate) struct Wiring {
    /// That by which its own name is known.
    pub(crate) address: std::net::Ipv4Addr,
    /// Those in its other networks.
    pub(crate) more_addresses: Vec<std::net::Ipv4Addr>,
    /// Where the host is.
    pub(crate) gateway: std::net::Ipv4Addr,
    pub(crate) program: NetworkProgram,
    /// The networks, in words.
    pub(crate) network: String,
    /// What is plugged into what, in words.
    pub(crate) attachment: String,
    /// Which ports are published, in words.
    pub(crate) publication: Option<String>,
    /// Who answers names there, where somebody does.
    pub(crate) responder: Option<std::net::IpAddr>,
}

/// `main` is the number of the network by whose address the container's own name is known.
fn wiring(ends: &[(&BridgeNetwork, ContainerInterface)], main: usize, ports: &[impl ToString]) -> Wiring {
    let ports: Vec<String> = ports.iter().map(|port| format!("`{}`", port.to_string())).collect();
    let interfaces: Vec<ContainerInterface> = ends.iter().map(|(_, interface)| *interface).collect();
    let joined = |words: &dyn Fn(&BridgeNetwork, &ContainerInterface) -> String| {
        let all: Vec<String> = ends.iter().map(|(network, interface)| words(network, interface)).collect();
        all.join(", ")
    };
    let others = interfaces.iter().enumerate().filter(|(index, _)| *index != main);
    Wiring {
        address: interfaces[main].ipv4(),
        more_addresses: others.map(|(_, interface)| interface.ipv4()).collect(),
        gateway: ends[main].0.ipv4().gateway(),
        network: joined(&|network, _| format!("`{}`, {}", network.name(), network.ipv4())),
        attachment: joined(&|network, interface| format!("`{}` to `{}`", interface.name(), network.name())),
        program: program(NamespaceConfiguration::plan(&interfaces)),
        publication: (!ports.is_empty()).then(|| ports.join(", ")),
        responder: None,
    }
}

fn interface(options: &RunOptions, interface: ContainerInterface) -> ContainerInterface {
    options.network.mac.map_or(interface, |mac| interface.with_mac(mac))
}

/// What a container without a network still has: itself.
pub(crate) fn loopback() -> NetworkProgram {
    program(NamespaceConfiguration::loopback())
}

fn program(plan: NamespaceConfiguration) -> NetworkProgram {
    let words: Vec<String> = plan.steps.iter().map(|step| format!("{} {}", step.name, step.object)).collect();
    NetworkProgram {
        count: plan.steps.len(),
        description: words.join(", "),
        items: plan.steps.iter().map(|step| format!("`{}`", step.object)).collect(),
        messages: plan.messages,
    }
}

/// What a start would configure; without a requested address, as if the first one were free.
pub(crate) fn planned_wiring(paths: &EnginePaths, wanted: Wanted, options: &RunOptions) -> Result<Wiring> {
    let network = match wanted {
        Wanted::Named(network) => network,
        Wanted::Own { name, new } => {
            let state = namespace_of(paths)?.map(|namespace| namespace.network(&name));
            network::foresee(&name, state.as_ref(), IPV6, new).map_err(from_network)?
        }
        Wanted::Kept(Places { places, main, .. }) => {
            let ends = places.iter().map(|place| place.foreseen().map(|interface| (&place.drawn, interface)));
            let ends: Vec<_> = ends.collect::<Result<_>>()?;
            let responder = places[main].responder();
            return Ok(Wiring { responder, ..wiring(&ends, main, &options.network.publish) });
        }
    };
    let address = match wanted_address(options, &network.ipv4()).map_err(from_network)? {
        AddressRequest::Exactly(address) => address,
        AddressRequest::LowestFree => std::net::Ipv4Addr::from(u32::from(network.ipv4().gateway()) + 1),
    };
    let own = interface(options, network.container_interface(address).map_err(from_network)?);
    Ok(Wiring {
        responder: names::responder(&network),
        ..wiring(&[(&network, own)], 0, &options.network.publish)
    })
}

/// Refuses ports that pasta could not bind, with their holder's name or the privilege that is missing.
pub(crate) fn try_ports(paths: &EnginePaths, options: &RunOptions) -> Result<()> {
    if options.network.publish.is_empty() {
        return Ok(());
    }
    let base = std::fs::File::open(paths.base())
        .map_err(|error| Error::at_path("open", paths.base(), error).from_field("--publish"))?;
    // Where networks of a bridge would be kept: an ordinary user has none.
    let name = InterfaceName::parse("none").map_err(from_network)?;
    let state = NetworkStateDirectory::new(base.as_fd(), &name).map_err(from_network)?;
    for request in &options.network.publish {
        let Err((port, mut error)) = ::network::try_ports(request, &state) else { continue };
        let forbidden = matches!(error.cause, Some(Errno::ACCESS | Errno::PERM));
        let taken = matches!(error.kind, ::network::Kind::PortTaken(_));
        let nobody_seen = matches!(error.kind, ::network::Kind::PortTaken(PortHolder::Unknown));
        if nobody_seen && let Some(id) = ports::holder(request, port, paths) {
            error.kind = ::network::Kind::PortTaken(PortHolder::Container(id));
        }
        let mut error = from_network(error);
        if forbidden {
            let file = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
            let start = std::fs::read_to_string(file).unwrap_or_default();
            error = error.with_hint(format!(
                "ports below {} are root's here: publish a higher one, or have root lower that with \
                 `sysctl net.ipv4.ip_unprivileged_port_start=N`",
                start.trim()
            ));
        } else if taken {
            error = error.with_hint("choose another port of the host, or stop its holder");
        }
        return Err(error.from_field("--publish"));
    }
    Ok(())
}

/// Published ports in the words of pasta, which binds them itself.
pub(crate) fn pasta_request(publish: &[PortRequest]) -> Result<pasta::Request> {
    let mut request = pasta::Request::default();
    for port in publish {
        let HostPorts::From(first) = port.host else {
            let error =
                Error::invalid("--publish", format!("`{port}` leaves the choice of a port to rabbitc"));
            return Err(error.with_hint("name the host's port: without root, `pasta` does not choose one"));
        };
        let last = usize::from(first) + port.container.count() - 1;
        let host = u16::try_from(last).ok().and_then(|last| PortRange::new(first, last));
        let host = host.ok_or_else(|| {
            Error::invalid("--publish", format!("`{port}` goes beyond port 65535"))
                .with_hint("choose lower ports")
        })?;
        let address = port.address.map_or_else(String::new, |address| format!("{address}/"));
        let text = format!("{address}{host}:{}", port.container);
        match port.protocol {
            Protocol::Tcp => request.tcp.push(text),
            Protocol::Udp => request.udp.push(text),
            Protocol::Sctp => {
                let error = Error::invalid("--publish", format!("`{port}` is a port of SCTP"));
                return Err(error.with_hint("without root, ports of TCP and UDP can be published"));
            }
        }
    }
    Ok(request)
}

impl Connection {
    /// Leases addresses.
    pub(crate) fn lease(
        paths: &EnginePaths,
        wanted: Wanted,
        options: &RunOptions,
        id: &str,
    ) -> Result<Connection> {
        let parent = open_parent(&paths.networks(), Missing::Make)?.expect("it was made");
        let state_of =
            |name: &InterfaceName| NetworkStateDirectory::new(parent.as_fd(), name).map_err(from_network);
        let requests = options.network.publish.clone();
        // Before anything is made: a port that is taken ends it.
        let hold = |families: Families, state: &NetworkStateDirectory| match &requests[..] {
            [] => Ok(None),
            requests => HeldPorts::take(requests, families, state).map(Some).map_err(from_network),
        };
        let request = |subnet: &Ipv4Network| wanted_address(options, subnet);
        let (ports, main, endpoints) = match wanted {
            Wanted::Named(network) => {
                let state = state_of(network.name())?;
                let ports = hold(network.families(), &state)?;
                let lease = request(&network.ipv4()).and_then(|request| state.lease(&network, request, id));
                (ports, 0, vec![alone(options, network, state, lease.map_err(from_network)?)])
            }
            Wanted::Own { name, new } => {
                let state = state_of(&name)?;
                let ports = hold(IPV6.families(), &state)?;
                let (network, lease) = network::join(&state, IPV6, new, request, id).map_err(from_network)?;
                (ports, 0, vec![alone(options, network, state, lease)])
            }
            Wanted::Kept(Places { store, places, main }) => {
                // Until the leases are there, by which whoever removes a network sees that it is used.
                let _share = store.share()?;
                let first = &places[main];
                let ports = hold(first.drawn.families(), &state_of(first.state_name())?)?;
                let mut endpoints = Vec::with_capacity(places.len());
                for place in places {
                    // It may have been removed since it was looked at.
                    store.find(&place.network().id).map_err(|error| error.from_field("--network"))?;
                    let state = state_of(place.state_name())?;
                    endpoints.push(place.lease(state, id)?);
                }
                (ports, main, endpoints)
            }
        };
        let integrates = options.network.firewall_integrate;
        Ok(Connection { integrates, requests, published: None, ports, endpoints, main })
    }

    /// The one that published ports lead to.
    fn main(&self) -> &Endpoint {
        &self.endpoints[self.main]
    }

    /// The container's IPv4 address.
    pub(crate) fn address(&self) -> std::net::Ipv4Addr {
        self.main().lease().address()
    }

    /// What inspecting a container shows of its networks: of the one that published ports lead to, and of the others.
    pub(crate) fn shown(&self) -> (Option<ShownNetwork>, Vec<ShownNetwork>) {
        let mut all: Vec<ShownNetwork> = self.endpoints.iter().map(Endpoint::shown).collect();
        let main = all.remove(self.main);
        (Some(main), all)
    }

    /// What init configures inside.
    pub(crate) fn wiring(&self) -> Wiring {
        let ports = self.ports.as_ref().map(HeldPorts::publications).unwrap_or_default();
        let ends: Vec<_> = self.endpoints.iter().map(|end| (&end.network, end.interface)).collect();
        let responder = self.main().responder();
        Wiring { responder, ..wiring(&ends, self.main, ports) }
    }

    /// Makes bridges and their rules complete.
    pub(crate) fn ensure(&mut self, paths: &EnginePaths) -> Result<()> {
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            endpoint.ensure()?;
            let Some(bridge) = endpoint.bridge() else { continue };
            for lease in bridge.stranded() {
                bring_back(bridge, lease, paths)?;
            }
            if self.integrates {
                let is_led_to = self.ports.is_some() && index == self.main;
                let ways = if is_led_to { Ways::OutAndIn } else { Ways::Out };
                // What is still in the way is told with the rest.
                network::integrate(bridge, &endpoint.state, ways)
                    .map_err(|error| from_network(error).from_field("--firewall-integrate"))?;
            }
        }
        Ok(())
    }

    /// Attaches the namespace of process `pid`.
    pub(crate) fn attach(&self, pid: i32) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(pid).expect("a child has a pid");
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let is_led_to = self.ports.is_some() && index == self.main;
            let hairpin = if is_led_to { Hairpin::On } else { Hairpin::Off };
            endpoint.attach(NetnsTarget::Pid(pid), hairpin)?;
        }
        Ok(())
    }

    /// Writes down how the container is called on its networks, where anybody asks.
    pub(crate) fn note_names(&self, name: &str, options: &RunOptions) -> Result<()> {
        self.endpoints.iter().try_for_each(|endpoint| endpoint.note_names(name, options))
    }

    /// Has somebody answer names on its networks.
    pub(crate) fn answer_names(&self, paths: &EnginePaths) -> Result<()> {
        self.endpoints.iter().try_for_each(|endpoint| endpoint.answer_names(paths))
    }

    /// Redirects the published ports.
    pub(crate) fn publish(&mut self) -> Result<()> {
        let main = self.main();
        if let (Some(bridge), Some(ports)) = (main.bridge(), &self.ports) {
            let published = network::publish(bridge, &main.state, main.lease(), ports);
            self.published = Some(published.map_err(from_network)?);
        }
        Ok(())
    }

    /// What need not be done before the program runs.
    pub(crate) fn settle(&self) {
        if let Some(published) = &self.published {
            published.forget_earlier_flows();
        }
    }

    /// The ports that were asked for.
    pub(crate) fn requests(&self) -> &[PortRequest] {
        &self.requests
    }

    /// The published ports, those that were chosen included.
    pub(crate) fn publications(&self) -> &[Publication] {
        self.ports.as_ref().map(HeldPorts::publications).unwrap_or_default()
    }

    /// The published ports that were not named, in words.
    pub(crate) fn chosen_ports(&self) -> Vec<String> {
        let all = self.ports.as_ref().map(HeldPorts::publications).unwrap_or_default();
        let named = |one: &&Publication| {
            let mut asked = self.requests.iter();
            asked.any(|request| {
                matches!(request.host, HostPorts::From(first) if first == one.host.first())
                    && request.protocol == one.protocol
                    && request.container.contains(one.container)
            })
        };
        all.iter().filter(|one| !named(one)).map(ToString::to_string).collect()
    }

    /// Gives everything back. If the redirections can't be taken out, the lease's file stays, by which the next
    /// command finds them.
    ///
    /// What comes back is best closed by somebody who has time.
    pub(crate) fn end(mut self) -> Result<Option<Lingering>> {
        let withdrawn = self.published.as_mut().map_or(Ok(None), Published::withdraw);
        withdrawn.map_err(|error| {
            let main = self.endpoints.swap_remove(self.main);
            main.leases.into_iter().for_each(|lease| drop(lease.hand_over()));
            from_network(error)
        })
    }

    /// Leaves all of it to the container, which is there as long as there is something at `record`. What comes back keeps its
    /// ports from anybody else while it is open.
    pub(crate) fn entrust(self, record: &Path) -> Result<Vec<OwnedFd>> {
        let Connection { published, ports, endpoints, .. } = self;
        let mut held = ports.map(HeldPorts::into_sockets).unwrap_or_default();
        for endpoint in endpoints {
            held.extend(endpoint.entrust(record)?);
        }
        // Only now: until then, dropping it takes them out.
        if let Some(published) = published {
            published.entrust();
        }
        Ok(held)
    }

    /// Takes the redirections back, and leaves the addresses to processes that could not be ended: nobody gets them as long as
    /// there is something at `record`.
    pub(crate) fn leave(mut self, record: &Path) -> Vec<Error> {
        let withdrawn = self.published.as_mut().map_or(Ok(None), Published::withdraw);
        let leases = self.endpoints.into_iter().flat_map(|endpoint| endpoint.leases);
        let left = leases.filter_map(|lease| lease.leave(record).err());
        withdrawn.map(drop).err().into_iter().chain(left).map(from_network).collect()
    }

    /// What keeps the container from reaching what the host reaches.
    pub(crate) fn obstacles(&self) -> Vec<Obstacle> {
        let mut found = Vec::new();
        for publication in self.ports.iter().flat_map(HeldPorts::without_ipv6_loopback) {
            found.push(Obstacle {
                what: format!(
                    "`{publication}` is not reached at `::1`: this host filters bridged IPv6 (br_netfilter), which loses \
                     the answers"
                ),
                remedy: "use another address of the host, or turn it off with \
                         `sysctl net.bridge.bridge-nf-call-ip6tables=0`"
                    .to_owned(),
            });
        }
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let is_led_to = self.ports.is_some() && index == self.main;
            let ways = if is_led_to { Ways::OutAndIn } else { Ways::Out };
            found.extend(obstacles_of(endpoint, ways));
        }
        found
    }
}

/// Those of one network.
fn obstacles_of(endpoint: &Endpoint, ways: Ways) -> Vec<Obstacle> {
    let Some(bridge) = endpoint.bridge() else { return Vec::new() };
    let mut found = Vec::new();
    if let Outbound::HostOnly(lacking) = bridge.outbound() {
        let what = format!("the container reaches only the host: {}", lacking.what);
        found.push(Obstacle { what, remedy: lacking.remedy.to_string() });
    }
    let addresses = [Some(IpAddr::V4(endpoint.interface.ipv4())), endpoint.interface.ipv6().map(IpAddr::V6)];
    for address in addresses.into_iter().flatten() {
        let how = match network::stray(bridge, address) {
            None => continue,
            Some(Stray::OfTheHost) => "the host has the same address itself".to_owned(),
            Some(Stray::Elsewhere(Some(interface))) => {
                format!("the host's way there leads by `{interface}`")
            }
            Some(Stray::Elsewhere(None)) => "the host knows no way there".to_owned(),
        };
        let name = endpoint.network.name();
        found.push(Obstacle {
            what: format!("the host does not reach the container's `{address}` by `{name}`: {how}"),
            remedy: format!(
                "`ip route get {address}` shows it: take that address or route away, or give the network another \
                 subnet once it has no containers"
            ),
        });
    }
    if endpoint.network.settings().reach == Reach::Internal {
        return found;
    }
    // A look that fails is no reason to stop a container that runs.
    for finding in network::foreign_firewall(bridge, ways).unwrap_or_default() {
        let Finding { table, chain, reason, command, .. } = finding;
        let name = endpoint.network.name().as_str();
        let what = format!(
            "the host's firewall drops what `{name}` forwards: chain `{chain}` of table `{table}` ({reason})"
        );
        found.push(Obstacle { what, remedy: format!("allow it as root: {command}") });
    }
    found
}

/// The only end of a container that has a bridge by name.
fn alone(
    options: &RunOptions,
    network: BridgeNetwork,
    state: NetworkStateDirectory,
    lease: Lease,
) -> Endpoint {
    let name = network.name().to_string();
    Endpoint {
        // As it is listed.
        shown_name: if name == "rabbitc0" { "bridge".to_owned() } else { name },
        network_id: String::new(),
        interface: interface(options, *lease.interface()),
        network,
        state,
        plug: Plug::BridgeToBe,
        leases: vec![lease],
        aliases: Vec::new(),
    }
}

/// Attaches a container again whose bridge somebody has deleted; one that has ended meanwhile needs it no more.
fn bring_back(bridge: &Bridge, lease: &HeldLease, paths: &EnginePaths) -> Result<()> {
    let Some(holder) = &lease.holder else { return Ok(()) };
    let Ok(id) = ContainerId::parse(holder) else { return Ok(()) };
    let Ok(view) = lifecycle::view(&StateRoot::new(paths.containers()), &id) else { return Ok(()) };
    let Some(first) = lifecycle::init(&view.record) else { return Ok(()) };
    let Ok(namespace) = std::fs::File::open(format!("/proc/{}/ns/net", view.record.pid)) else {
        return Ok(());
    };
    // By then the number may have been another's.
    if lifecycle::has_ended(first.as_fd()) {
        return Ok(());
    }
    let shown: Shown = serde_json::from_value(view.record.caller.clone()).unwrap_or_default();
    let here = shown.networks().find(|one| one.address == lease.address);
    let interface = here.map_or("eth0", ShownNetwork::interface);
    let tenant = Tenant { holder, address: lease.address, interface, namespace: namespace.as_fd() };
    network::reattach(bridge, tenant).map_err(from_network)
}

#[derive(PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    Ignore,
}

fn open_parent(path: &Path, missing: Missing) -> Result<Option<OwnedFd>> {
    use rustix::fs::{Mode, OFlags};
    if missing == Missing::Make {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| Error::at_path("make", path, error))?;
    }
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(descriptor) => Ok(Some(descriptor)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::at_path("open", path, error)),
    }
}

/// How patient a tidying is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Look once.
    None,
    /// The kernel takes dead namespaces apart on its own time; wait for it.
    Until(Instant),
}

/// How long a network without users stays, as the next container often comes at once.
const GRACE: Duration = Duration::from_millis(300);

/// How long the kernel may take a dead container's namespace apart before its port is taken away.
const DYING: Duration = Duration::from_millis(300);

/// Removes bridges and rules of networks of this network namespace that nobody uses any more, and what is recorded of
/// namespaces that are gone.
///
/// Waits a moment first, and then, up to `limit`, while the kernel still takes the last container's namespace
/// apart. Of many callers at once in a namespace, one works, one waits for its turn, and the others have nothing to add.
pub fn tidy_networks(paths: &EnginePaths, limit: Duration) -> Result<()> {
    let Some(namespace) = namespace_of(paths)? else { return Ok(()) };
    let turn = |turn| namespace.turn(turn).map_err(from_network);
    let (Some(next), Some(turn)) = (turn(TidyTurn::Next)?, turn(TidyTurn::Now)?) else {
        return namespace.sweep_gone().map_err(from_network);
    };
    if flock(&next, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    flock(&turn, FlockOperation::LockExclusive)
        .map_err(|error| Error::at_path("lock", &paths.networks(), error))?;
    // From here on, what becomes idle is the next one's to see.
    drop(next);
    std::thread::sleep(GRACE);
    let mut first = None;
    remove_idle(&namespace, Patience::Until(Instant::now() + limit), &mut |error| {
        first.get_or_insert(error);
    });
    namespace.sweep_gone().map_err(from_network)?;
    first.map_or(Ok(()), Err)
}

/// `failed` hears what went wrong with one network; the others are looked at all the same.
pub(crate) fn tidy(paths: &EnginePaths, patience: Patience, failed: &mut dyn FnMut(Error)) {
    match namespace_of(paths) {
        Ok(Some(namespace)) => remove_idle(&namespace, patience, failed),
        Ok(None) => {}
        Err(error) => failed(error),
    }
}

/// The state of this network namespace; none where the engine never ran.
pub(crate) fn namespace_of(paths: &EnginePaths) -> Result<Option<NamespaceState>> {
    let Some(parent) = open_parent(&paths.networks(), Missing::Ignore)? else { return Ok(None) };
    NamespaceState::of_this_thread(parent.as_fd()).map(Some).map_err(from_network)
}

fn remove_idle(namespace: &NamespaceState, patience: Patience, failed: &mut dyn FnMut(Error)) {
    let networks = namespace.networks().unwrap_or_else(|error| {
        failed(from_network(error));
        Vec::new()
    });
    for state in networks {
        let begun = Instant::now();
        loop {
            match network::remove_if_unused(&state) {
                Ok(Removal::PortsLeft(_)) if matches!(patience, Patience::Until(end) if Instant::now() < end) =>
                {
                    if begun.elapsed() > DYING
                        && let Err(error) = network::cut_off_the_dead(&state)
                    {
                        failed(from_network(error));
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(_) => break,
                Err(error) => {
                    failed(from_network(error));
                    break;
                }
            }
        }
    }
    namespace.remove_if_empty().map_err(from_network).unwrap_or_else(failed);
}
