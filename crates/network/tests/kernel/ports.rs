//! Published ports on the real kernel: who reaches them, who holds them, and what is left of them.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::*;
use rabbitc_network::*;

/// A container with published ports; the order is that in which they end.
struct Publisher {
    published: Published,
    ports: HeldPorts,
    lease: Lease,
    namespace: Namespace,
}

fn request(address: Option<&str>, host: HostPorts, container: PortRange, protocol: Protocol) -> PortRequest {
    let address = address.map(|text| text.parse().expect("an address"));
    PortRequest { address, host, container, protocol }
}

fn tcp(host: u16, container: u16) -> PortRequest {
    request(None, HostPorts::From(host), PortRange::one(container).expect("a port"), Protocol::Tcp)
}

fn range(first: u16, last: u16) -> PortRange {
    PortRange::new(first, last).expect("a range")
}

fn start_publisher(
    network: &BridgeNetwork,
    state: &NetworkStateDirectory,
    id: &str,
    requests: &[PortRequest],
) -> Result<Publisher> {
    let ports = HeldPorts::take(requests, network.ipv6().is_some(), state)?;
    let namespace = Namespace::new();
    let lease = state.lease(network, AddressRequest::LowestFree, id)?;
    let bridge = ensure(network, state, &lease)?;
    attach(&bridge, NetnsTarget::Fd(namespace.fd()), lease.interface(), Hairpin::On)?;
    let plan = NamespaceConfiguration::plan(lease.interface());
    namespace.run(move || {
        let count = u32::try_from(plan.steps.len()).expect("few");
        sys::netlink::send_route_batch(&plan.messages, count).expect("configured");
    });
    let published = publish(&bridge, state, &lease, &ports)?;
    published.forget_earlier_flows();
    Ok(Publisher { published, ports, lease, namespace })
}

/// Serves TCP inside until the other end is dropped, and says who each client was.
fn serve(server: &Namespace, port: u16) -> Receiver<SocketAddr> {
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

fn plain(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

fn ask(address: &str) -> std::io::Result<String> {
    let address = address.parse().expect("an address with a port");
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// What `br_netfilter` does with bridged packets, where the kernel has it: it changes the way that they take.
fn filter_bridged(value: u8) -> bool {
    let path = "/proc/sys/net/bridge/bridge-nf-call-ip";
    std::fs::write(format!("{path}tables"), value.to_string()).is_ok()
        && std::fs::write(format!("{path}6tables"), value.to_string()).is_ok()
}

fn reached_from_everywhere(filtered: bool) {
    Namespace::new().run(move || {
        if !filter_bridged(filtered.into()) && filtered {
            return eprintln!("skipped: no br_netfilter here");
        }
        let parent = StateParent::new(if filtered { "everywhere-filtered" } else { "everywhere" });
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24", "2001:db8::1/64"], &["192.0.2.9/24", "2001:db8::9/64"]);
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let server = start_publisher(&network, &state, "server", &[tcp(8080, 80)]).expect("published");
        let neighbour = Namespace::new();
        let _neighbour = start(&network, &state, &neighbour);
        let peers = serve(&server.namespace, 80);
        let peer = || plain(peers.recv_timeout(Duration::from_secs(5)).expect("served")).to_string();
        let bridge6 = network.ipv6().map(|network| network.gateway().to_string());
        // From another host: as itself.
        outside.run(|| assert_eq!(ask("192.0.2.1:8080").expect("from outside"), "port 80"));
        assert_eq!(peer(), "192.0.2.9");
        // From this host: by each of its addresses.
        for (address, seen) in
            [("192.0.2.1", "192.0.2.1"), ("172.19.0.1", "172.19.0.1"), ("127.0.0.1", "172.19.0.1")]
        {
            assert_eq!(ask(&format!("{address}:8080")).expect(address), "port 80");
            assert_eq!(peer(), seen, "by {address}");
        }
        ask("127.9.9.9:8080").expect("all of 127.0.0.0/8 is the host's");
        assert_eq!(peer(), "172.19.0.1");
        // From a neighbour and from itself, by the host's address: answers must go back through the host.
        for (who, namespace) in [("neighbour", &neighbour), ("itself", &server.namespace)] {
            for address in ["192.0.2.1:8080", "172.19.0.1:8080"] {
                let answer = namespace.run(move || ask(address));
                assert_eq!(answer.unwrap_or_else(|error| panic!("{who} by {address}: {error}")), "port 80");
                assert_eq!(peer(), "172.19.0.1");
            }
        }
        let Some(bridge6) = bridge6 else { return };
        outside.run(|| assert_eq!(ask("[2001:db8::1]:8080").expect("from outside"), "port 80"));
        assert_eq!(peer(), "2001:db8::9");
        ask("[2001:db8::1]:8080").expect("by the host's address");
        assert_eq!(peer(), "2001:db8::1");
        for (who, namespace) in [("neighbour", &neighbour), ("itself", &server.namespace)] {
            let answer = namespace.run(|| ask("[2001:db8::1]:8080"));
            assert_eq!(answer.unwrap_or_else(|error| panic!("{who} by IPv6: {error}")), "port 80");
            assert_eq!(peer(), bridge6);
        }
        if filtered {
            // Refused at once, so that whoever tries `localhost` goes on to 127.0.0.1.
            let error = ask("[::1]:8080").expect_err("answers would be lost");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            let wish = request(Some("::1"), HostPorts::From(9000), range(80, 80), Protocol::Tcp);
            let error = HeldPorts::take(&[wish], true, &state).expect_err("asked for by name");
            assert_eq!(error.kind, Kind::NoIpv6Loopback);
        } else {
            ask("[::1]:8080").expect("by the host's loopback");
            assert_eq!(peer(), bridge6);
        }
    });
}

#[test]
fn a_published_port_is_reached_from_outside_the_host_its_loopback_a_neighbour_and_itself() {
    if may_run("a_published_port_is_reached") && has_program("a_published_port_is_reached", "ip") {
        reached_from_everywhere(false);
    }
}

#[test]
fn a_published_port_is_reached_from_everywhere_on_a_host_that_filters_bridged_packets() {
    if may_run("filters_bridged_packets") && has_program("filters_bridged_packets", "ip") {
        reached_from_everywhere(true);
    }
}

#[test]
fn what_is_only_routed_through_the_host_is_not_redirected() {
    if !may_run("what_is_only_routed") || !has_program("what_is_only_routed", "ip") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("routed");
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24"], &["192.0.2.9/24"]);
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let server = start_publisher(&network, &state, "server", &[tcp(80, 80)]).expect("published");
        let _peers = serve(&server.namespace, 80);
        let world = serve_once(&outside, "192.0.2.9:80");
        let answer = server.namespace.run(|| ask("192.0.2.9:80"));
        assert_eq!(answer.expect("the world's own server"), "hello");
        assert_eq!(world.recv().expect("served").to_string(), "192.0.2.1");
    });
}

#[test]
fn a_port_published_at_one_address_answers_there_alone() {
    if !may_run("a_port_published_at_one") || !has_program("a_port_published_at_one", "ip") {
        return;
    }
    Namespace::new().run(|| {
        filter_bridged(0);
        let parent = StateParent::new("address");
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24", "2001:db8::1/64"], &["192.0.2.9/24", "2001:db8::9/64"]);
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let at = |address, port| {
            let container = PortRange::one(80).expect("a port");
            request(Some(address), HostPorts::From(port), container, Protocol::Tcp)
        };
        let mut wishes = vec![at("192.0.2.1", 8080), at("127.0.0.1", 8081), at("0.0.0.0", 8082)];
        let mut reached = vec![
            ("192.0.2.1:8080", true),
            ("127.0.0.1:8080", false),
            ("192.0.2.1:8081", false),
            ("127.0.0.1:8081", true),
            ("192.0.2.1:8082", true),
            ("127.0.0.1:8082", true),
        ];
        if network.ipv6().is_some() {
            wishes.extend([at("2001:db8::1", 8083), at("::1", 8084), at("::", 8085)]);
            reached.extend([
                ("[2001:db8::1]:8083", true),
                ("[::1]:8083", false),
                ("192.0.2.1:8083", false),
                ("[::1]:8084", true),
                ("[2001:db8::1]:8084", false),
                ("[2001:db8::1]:8085", true),
                ("127.0.0.1:8085", false),
                ("[2001:db8::1]:8082", false),
            ]);
        } else {
            let error = HeldPorts::take(&[at("::", 8085)], false, &state).expect_err("no IPv6");
            assert_eq!(error.kind, Kind::NoIpv6);
        }
        let server = start_publisher(&network, &state, "server", &wishes).expect("published");
        let _peers = serve(&server.namespace, 80);
        for (address, is_reached) in reached {
            assert_eq!(ask(address).is_ok(), is_reached, "{address}");
        }
    });
}

#[test]
fn a_port_that_no_socket_can_hold_still_has_one_container() {
    if !may_run("a_port_that_no_socket") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("sctp");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let wish = request(None, HostPorts::From(9), PortRange::one(9).expect("a port"), Protocol::Sctp);
        let one = start_publisher(&network, &state, "one", std::slice::from_ref(&wish)).expect("published");
        let Err(error) = start_publisher(&network, &state, "two", std::slice::from_ref(&wish)) else {
            panic!("published twice");
        };
        assert_eq!(error.kind, Kind::PortTaken(PortHolder::Container("one".into())));
        drop(one);
        start_publisher(&network, &state, "two", &[wish]).expect("free again");
        let any = request(None, HostPorts::Any, PortRange::new(9, 11).expect("ports"), Protocol::Sctp);
        let three = start_publisher(&network, &state, "three", &[any.clone(), any]).expect("chosen");
        assert_eq!(three.ports.publications().len(), 6, "each its own");
    });
}

#[test]
fn a_firewall_that_drops_what_comes_for_published_ports_is_named_with_what_allows_it() {
    if !may_run("a_firewall_that_drops") || !has_program("a_firewall_that_drops", "nft") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("firewall");
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24"], &["192.0.2.9/24"]);
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let server = start_publisher(&network, &state, "server", &[tcp(8080, 80)]).expect("published");
        let bridge = ensure(&network, &state, &server.lease).expect("a bridge");
        let _peers = serve(&server.namespace, 80);
        // Allows what containers begin, and no more.
        sh("nft 'table inet fw { chain guard { type filter hook forward priority 0; policy drop; \
            iifname rabbitc0 accept; ct state established accept; }; }'");
        assert_eq!(foreign_firewall(&bridge, Ways::Out), Ok(vec![]));
        let findings = foreign_firewall(&bridge, Ways::OutAndIn).expect("readable");
        assert_eq!(findings.len(), 1, "{findings:?}");
        let knock = || {
            outside.run(|| {
                let address = "192.0.2.1:8080".parse().expect("an address");
                std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).map(drop)
            })
        };
        knock().expect_err("dropped");
        sh(&findings[0].command);
        knock().expect("allowed");
        assert_eq!(foreign_firewall(&bridge, Ways::OutAndIn), Ok(vec![]));
        // As firewalld allows them.
        sh("nft flush chain inet fw guard; nft add rule inet fw guard ct status dnat accept; \
            nft add rule inet fw guard iifname rabbitc0 accept; nft add rule inet fw guard ct state established accept");
        knock().expect("allowed");
        assert_eq!(foreign_firewall(&bridge, Ways::OutAndIn), Ok(vec![]));
    });
}

#[test]
fn ranges_lead_port_by_port_and_are_one_element_where_the_ports_stay_the_same() {
    if !may_run("ranges_lead") || !has_program("ranges_lead", "nft") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("ranges");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let wishes = [
            request(None, HostPorts::From(7000), range(7000, 7999), Protocol::Tcp),
            request(None, HostPorts::From(9000), range(80, 82), Protocol::Tcp),
        ];
        let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let server = start_publisher(&network, &state, "server", &wishes).expect("published");
        assert_eq!(rustix::process::getrlimit(rustix::process::Resource::Nofile), before);
        for (port, inside) in [(7000, 7000), (7654, 7654), (7999, 7999), (9000, 80), (9002, 82)] {
            let _peers = serve(&server.namespace, inside);
            assert_eq!(ask(&format!("127.0.0.1:{port}")).expect("in the range"), format!("port {inside}"));
            TcpListener::bind(("127.0.0.1", port)).expect_err("held");
        }
        for port in [6999, 8000, 9003] {
            ask(&format!("127.0.0.1:{port}")).expect_err("beside the range");
            TcpListener::bind(("127.0.0.1", port)).expect("free");
        }
        let table = sh("nft list table inet rabbitc");
        assert_eq!(table.matches("dnat ip").count(), 4, "no rule for a port: {table}");
        assert!(table.contains("0.0.0.0/0 . tcp . 7000-7999"), "{table}");
        assert_eq!(table.matches("0.0.0.0/0 . tcp . ").count(), 4, "{table}");
        assert!(table.contains("server"), "an element says whose it is: {table}");
    });
}

#[test]
fn udp_is_redirected_and_a_flow_from_before_is_not_lost_on_the_host() {
    if !may_run("udp_is_redirected") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("udp");
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24", "2001:db8::1/64"], &["192.0.2.9/24", "2001:db8::9/64"]);
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        // A client that keeps sending from the same port, from before there was a server.
        let client = outside.run(|| UdpSocket::bind("192.0.2.9:4000").expect("a client"));
        client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let first = start(&network, &state, &Namespace::new());
        // The way is known, and nobody is there yet.
        outside.run(|| ask("192.0.2.1:53").expect_err("nobody is there"));
        client.send_to(b"early", "192.0.2.1:53").expect("sent");
        outside.run(|| ask("192.0.2.1:53").expect_err("nobody is there"));
        drop(first);
        let wish = request(None, HostPorts::From(53), range(5353, 5353), Protocol::Udp);
        let server = start_publisher(&network, &state, "server", &[wish]).expect("published");
        let socket = server
            .namespace
            .run(|| UdpSocket::bind("[::]:5353").or_else(|_| UdpSocket::bind("0.0.0.0:5353")));
        let socket = socket.expect("a server");
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let answer = format!("{} for {}", String::from_utf8_lossy(&buffer[..length]), plain(peer));
                if &buffer[..length] == b"end" || socket.send_to(answer.as_bytes(), peer).is_err() {
                    return;
                }
            }
        });
        let talk = |client: &UdpSocket, address: &str| -> Option<String> {
            // The first datagrams may be answered by the ICMP error of an earlier one.
            (0..25).find_map(|_| {
                let _ = client.send_to(b"hello", address);
                let mut buffer = [0; 64];
                let length = client.recv(&mut buffer).ok()?;
                Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
            })
        };
        assert_eq!(talk(&client, "192.0.2.1:53").as_deref(), Some("hello for 192.0.2.9"));
        let here = UdpSocket::bind("127.0.0.1:0").expect("a client");
        here.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        assert_eq!(talk(&here, "127.0.0.1:53").as_deref(), Some("hello for 172.19.0.1"));
        if network.ipv6().is_some() {
            let client = outside.run(|| UdpSocket::bind("[2001:db8::9]:4001").expect("a client"));
            client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            assert_eq!(talk(&client, "[2001:db8::1]:53").as_deref(), Some("hello for 2001:db8::9"));
        }
        // TCP of the same number is another port.
        TcpListener::bind("127.0.0.1:53").expect("free");
        UdpSocket::bind("127.0.0.1:53").expect_err("held");
        client.send_to(b"end", "192.0.2.1:53").expect("sent");
        // The flow of the last holder must not go on to whoever gets its address.
        drop(server);
        let wish = request(None, HostPorts::From(54), range(5353, 5353), Protocol::Udp);
        let other = start_publisher(&network, &state, "other", &[wish]).expect("published");
        assert_eq!(other.lease.address().to_string(), "172.19.0.2");
        let socket = other.namespace.run(|| UdpSocket::bind("0.0.0.0:5353")).expect("a server");
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        for _ in 0..3 {
            let _ = client.send_to(b"stray", "192.0.2.1:53");
        }
        socket.recv(&mut [0; 64]).expect_err("nothing comes by the old port");
    });
}

#[test]
fn a_taken_port_names_its_holder_before_anything_is_made() {
    if !may_run("a_taken_port") || !has_program("a_taken_port", "ip") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("taken");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let take = |wish: PortRequest| HeldPorts::take(&[wish], network.ipv6().is_some(), &state).map(drop);
        let mine = std::process::id();
        let is_mine = |error: Error| match error.kind {
            Kind::PortTaken(PortHolder::Process { pid, ref name }) => pid == mine && !name.is_empty(),
            _ => false,
        };
        let listener = TcpListener::bind("127.0.0.1:8080").expect("a server of the host");
        assert!(is_mine(take(tcp(8080, 80)).expect_err("taken")));
        drop(listener);
        take(tcp(8080, 80)).expect("free again");
        if network.ipv6().is_some() {
            let _listener = TcpListener::bind("[::]:8081").expect("a server of the host");
            assert!(is_mine(take(tcp(8081, 80)).expect_err("taken")));
            let wish = request(Some("127.0.0.1"), HostPorts::From(8081), range(80, 80), Protocol::Tcp);
            assert!(is_mine(take(wish).expect_err("it serves IPv4 as well")));
        }
        let socket = UdpSocket::bind("127.0.0.1:8080").expect("a server of the host");
        let wish = request(None, HostPorts::From(8080), range(80, 80), Protocol::Udp);
        assert!(is_mine(take(wish.clone()).expect_err("taken")));
        drop(socket);
        let away = request(Some("192.0.2.77"), HostPorts::From(8080), range(80, 80), Protocol::Tcp);
        assert_eq!(take(away).expect_err("nobody's address").kind, Kind::AddressNotHere);
        assert!(parent.is_empty(), "nothing was made");

        let _one = start_publisher(&network, &state, "one", &[tcp(8080, 80), wish]).expect("published");
        for wish in [
            tcp(8080, 81),
            request(Some("127.0.0.1"), HostPorts::From(8080), range(80, 80), Protocol::Tcp),
            request(None, HostPorts::From(8075), range(8075, 8085), Protocol::Tcp),
            request(None, HostPorts::From(8080), range(80, 80), Protocol::Udp),
        ] {
            let error = take(wish).expect_err("taken");
            assert_eq!(error.kind, Kind::PortTaken(PortHolder::Container("one".into())), "{error}");
            assert!(error.to_string().contains("8080") && error.hint().is_some(), "{error}");
        }
        // A process is told from a container that holds another port.
        let _listener = TcpListener::bind("127.0.0.1:9999").expect("a server of the host");
        assert!(is_mine(take(tcp(9999, 80)).expect_err("taken")));
        // Of a choice, the next one.
        let wish = request(None, HostPorts::OneOf(range(8080, 8090)), range(80, 80), Protocol::Tcp);
        let ports = HeldPorts::take(&[wish], network.ipv6().is_some(), &state).expect("some are free");
        assert_eq!(ports.publications()[0].host, range(8081, 8081));
        // Without a choice, one of the kernel's.
        let wish = request(None, HostPorts::Any, range(80, 81), Protocol::Tcp);
        let ports = HeldPorts::take(&[wish], network.ipv6().is_some(), &state).expect("some are free");
        let [a, b] = ports.publications() else { panic!("{ports:?}") };
        assert!(a.host != b.host && (a.container, b.container) == (80, 81), "{ports:?}");
        // Twice in one command.
        let error = HeldPorts::take(&[tcp(9000, 80), tcp(9000, 81)], true, &state).expect_err("twice");
        assert_eq!(error.kind, Kind::PortTaken(PortHolder::Itself));
    });
}

#[test]
fn a_port_with_nothing_but_closed_connections_is_free() {
    if !may_run("a_port_with_nothing") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("closed");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let listener = TcpListener::bind("127.0.0.1:8080").expect("a server");
        let client = std::net::TcpStream::connect("127.0.0.1:8080").expect("a client");
        // The server closes first: the connection waits out its end on the server's port.
        drop(listener.accept().expect("accepted"));
        drop(client);
        drop(listener);
        let held = HeldPorts::take(&[tcp(8080, 80)], network.ipv6().is_some(), &state).expect("free");
        // Nobody can do the same beside us, and a server of the host that may share does not get it either.
        let error = HeldPorts::take(&[tcp(8080, 80)], network.ipv6().is_some(), &state).expect_err("held");
        assert!(matches!(error.kind, Kind::PortTaken(_)), "{error}");
        TcpListener::bind("127.0.0.1:8080").expect_err("held");
        let refused = std::net::TcpStream::connect("127.0.0.1:8080").expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        drop(held);
        TcpListener::bind("127.0.0.1:8080").expect("free");
    });
}

fn elements() -> usize {
    sh("nft list table inet rabbitc").matches(" : ").count()
}

#[test]
fn ports_of_a_dead_container_go_before_its_address_gets_another_holder() {
    if !may_run("ports_of_a_dead_container") || !has_program("ports_of_a_dead_container", "nft") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("dead");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let families = 1 + usize::from(network.ipv6().is_some());
        // As SIGKILL leaves it: descriptors closed, files and elements there.
        let die = |publisher: Publisher| {
            let Publisher { published, ports, lease, namespace } = publisher;
            std::mem::forget(published);
            drop((ports, lease.hand_over(), namespace));
        };
        // Its address goes to one that publishes nothing.
        let living = start_publisher(&network, &state, "living", &[tcp(7070, 70)]).expect("published");
        die(start_publisher(&network, &state, "dead", &[tcp(8080, 80)]).expect("published"));
        let left = elements();
        assert_eq!(state.held_leases().expect("readable").len(), 1);
        assert!(elements() < left, "whoever removes the lease removes the elements");
        die(start_publisher(&network, &state, "dead", &[tcp(8080, 80)]).expect("published"));
        let lease = state.lease(&network, AddressRequest::LowestFree, "next").expect("a lease");
        assert_eq!(lease.address().to_string(), "172.19.0.3");
        assert!(!sh("nft list table inet rabbitc").contains("dead"), "whoever takes it over, too");
        drop(lease);
        // Its port goes to one with another address, which nobody swept before.
        die(start_publisher(&network, &state, "dead", &[tcp(8080, 80)]).expect("published"));
        let address = "172.19.0.9".parse().expect("an address");
        let ports = HeldPorts::take(&[tcp(8080, 81)], network.ipv6().is_some(), &state).expect("free");
        let lease = state.lease(&network, AddressRequest::Exactly(address), "heir").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        let published = publish(&bridge, &state, &lease, &ports).expect("published");
        let table = sh("nft list table inet rabbitc");
        assert!(!table.contains("dead"), "{table}");
        assert_eq!(table.matches("heir").count(), families, "{table}");
        assert_eq!(table.matches("living").count(), families, "{table}");
        drop((published, ports, lease));
        drop(living);
        assert_eq!(sh("nft list table inet rabbitc").matches("tcp .").count(), 0);
        while remove_if_unused(&state).expect("removed") != Removal::Removed {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(sh("nft list tables"), "");
        assert!(parent.is_empty());
    });
}

#[test]
fn a_flushed_ruleset_is_no_obstacle_to_publishing_and_withdrawing() {
    if !may_run("a_flushed_ruleset") || !has_program("a_flushed_ruleset", "nft") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("flush");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let mut one = start_publisher(&network, &state, "one", &[tcp(8080, 80)]).expect("published");
        for damage in [
            "nft flush ruleset",
            "nft flush chain inet rabbitc ports",
            "nft flush chain inet rabbitc forged",
            "nft flush chain inet rabbitc postrouting",
            "nft flush chain inet rabbitc output",
        ] {
            sh(damage);
            let two = start_publisher(&network, &state, "two", &[tcp(8081, 80)]).expect(damage);
            let _peers = serve(&two.namespace, 80);
            assert_eq!(ask("127.0.0.1:8081").expect(damage), "port 80");
            assert!(sh("nft list table inet rabbitc").contains("127.0.0.0/8 drop"), "{damage}");
        }
        // A start without ports, too, puts back what keeps containers from the host's loopback.
        sh("nft flush ruleset");
        let _other = start(&network, &state, &Namespace::new());
        assert_eq!(sh("nft list table inet rabbitc").matches("127.0.0.0/8 drop").count(), 2);
        sh("nft flush ruleset");
        one.published.withdraw().expect("gone is as good");
    });
}

#[test]
fn a_container_with_every_network_right_does_not_reach_the_hosts_loopback() {
    if !may_run("every_network_right") || !has_program("every_network_right", "nft") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("loopback");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let server = start_publisher(&network, &state, "server", &[tcp(8080, 80)]).expect("published");
        let secret = TcpListener::bind("127.0.0.1:6379").expect("a server for the host alone");
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = secret.accept() {
                let _ = stream.write_all(b"secret");
            }
        });
        let datagrams = UdpSocket::bind("0.0.0.0:6380").expect("a server");
        datagrams.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        // As root of its namespace: its own loopback gives way to a route to the host's.
        server.namespace.run(|| {
            sh("ip addr flush dev lo; ip route flush table local; ip addr add 172.19.0.2/16 dev eth0 2>/dev/null; \
                ip route add local 172.19.0.2 dev eth0 table local 2>/dev/null; \
                sysctl -q -w net.ipv4.conf.all.route_localnet=1; sysctl -q -w net.ipv4.conf.all.rp_filter=0; \
                ip route add 127.0.0.1 via 172.19.0.1 dev eth0 src 172.19.0.2; ip addr add 127.0.0.9/32 dev eth0; true");
        });
        let attack = || {
            let reached = server.namespace.run(|| {
                let address = "127.0.0.1:6379".parse().expect("an address");
                let stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1));
                stream.map(|mut stream| {
                    let mut text = String::new();
                    let _ = stream.read_to_string(&mut text);
                    text
                })
            });
            server.namespace.run(|| {
                let socket = UdpSocket::bind("127.0.0.9:0").expect("its own address");
                let _ = socket.send_to(b"from 127.0.0.9", "172.19.0.1:6380");
            });
            let forged = datagrams.recv_from(&mut [0; 64]).map(|(_, peer)| peer.ip().to_string());
            (reached, forged)
        };
        let (reached, forged) = attack();
        reached.expect_err("the host's loopback is the host's alone");
        forged.expect_err("a loopback address comes from loopback only");
        // The attack is real: without our rules it gets through.
        sh("nft flush chain inet rabbitc forged");
        let (reached, forged) = attack();
        assert_eq!(reached.expect("without the rules"), "secret");
        assert_eq!(forged.expect("without the rules"), "127.0.0.9");
    });
}

#[test]
fn twenty_at_once_publish_each_its_port_and_none_loses_the_others() {
    if !may_run("twenty_at_once") || !has_program("twenty_at_once", "nft") {
        return;
    }
    let host = Namespace::new();
    let parent = std::sync::Arc::new(StateParent::new("twenty"));
    host.run(|| sh("ip link set lo up"));
    let file = std::sync::Arc::new(host.descriptor.try_clone().expect("a descriptor"));
    let threads: Vec<_> = (0..20_u16)
        .map(|number| {
            let (parent, file) = (parent.clone(), file.clone());
            std::thread::spawn(move || {
                use std::os::fd::AsFd;
                sys::namespace::join(file.as_fd(), sys::clone::flags::NEWNET).expect("the host's namespace");
                let network = network("rabbitc0", "172.19.0.1/16");
                let state = parent.network(&network);
                let wish = tcp(8000 + number, 80);
                start_publisher(&network, &state, &format!("id{number}"), &[wish]).expect("published")
            })
        })
        .collect();
    let all: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("published")).collect();
    for publisher in &all {
        let _peers = serve(&publisher.namespace, 80);
    }
    host.run(|| {
        for port in 8000..8020 {
            assert_eq!(ask(&format!("127.0.0.1:{port}")).expect("published"), "port 80");
        }
        let table = sh("nft list table inet rabbitc");
        assert_eq!((table.matches("dnat ip").count(), table.matches("jump").count()), (4, 2), "{table}");
    });
    assert!(all.iter().all(|one| one.ports.publications().len() == 1));
    host.run(move || drop(all));
}
