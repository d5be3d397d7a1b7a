//! Owns the tests' containers with published ports: what they ask for, and who serves in them.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

use crate::support::*;
use rabbitc_network::*;

/// A container with published ports; the order is that in which they end.
pub struct Publisher {
    pub published: Published,
    pub ports: HeldPorts,
    pub lease: Lease,
    pub namespace: Namespace,
}

/// Starts one as the engine would: ports held, lease, bridge, pair, configuration from inside, redirection.
pub fn start_publisher(
    network: &BridgeNetwork,
    state: &NetworkStateDirectory,
    id: &str,
    requests: &[PortRequest],
) -> Result<Publisher> {
    let ports = HeldPorts::take(requests, network.families(), state)?;
    let namespace = Namespace::new();
    let lease = state.lease(network, AddressRequest::LowestFree, id)?;
    let bridge = ensure(network, state, &lease)?;
    attach(&bridge, NetnsTarget::Fd(namespace.fd()), lease.interface(), Hairpin::On)?;
    let plan = NamespaceConfiguration::plan(&[*lease.interface()]);
    namespace.run(move || {
        let count = u32::try_from(plan.steps.len()).expect("few");
        sys::netlink::send_route_batch(&plan.messages, count).expect("configured");
    });
    let published = publish(&bridge, state, &lease, &ports)?;
    published.forget_earlier_flows();
    Ok(Publisher { published, ports, lease, namespace })
}

pub fn request(
    address: Option<&str>,
    host: HostPorts,
    container: PortRange,
    protocol: Protocol,
) -> PortRequest {
    let address = address.map(|text| text.parse().expect("an address"));
    PortRequest { address, host, container, protocol }
}

pub fn tcp(host: u16, container: u16) -> PortRequest {
    request(None, HostPorts::From(host), PortRange::one(container).expect("a port"), Protocol::Tcp)
}

pub fn range(first: u16, last: u16) -> PortRange {
    PortRange::new(first, last).expect("a range")
}

/// Serves TCP inside until the other end is dropped, and says who each client was.
pub fn serve(server: &Namespace, port: u16) -> Receiver<SocketAddr> {
    let (seen, peers) = channel();
    server.run(move || {
        let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)));
        let listener = listener.expect("the port is the server's");
        std::thread::spawn(move || {
            while let Ok((mut stream, peer)) = listener.accept() {
                if stream.write_all(format!("port {port}").as_bytes()).is_err() || seen.send(peer).is_err() {
                    return;
                }
            }
        });
    });
    peers
}
