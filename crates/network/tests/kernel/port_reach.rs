//! Who reaches a published port, from where, and whom its server sees; and who does not.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use crate::publisher::*;
use crate::support::*;
use rabbitc_network::*;

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
        outside.run(|| assert_eq!(fetch("192.0.2.1:8080").expect("from outside"), "port 80"));
        assert_eq!(peer(), "192.0.2.9");
        // From this host: by each of its addresses.
        for (address, seen) in
            [("192.0.2.1", "192.0.2.1"), ("172.19.0.1", "172.19.0.1"), ("127.0.0.1", "172.19.0.1")]
        {
            assert_eq!(fetch(&format!("{address}:8080")).expect(address), "port 80");
            assert_eq!(peer(), seen, "by {address}");
        }
        fetch("127.9.9.9:8080").expect("all of 127.0.0.0/8 is the host's");
        assert_eq!(peer(), "172.19.0.1");
        // From a neighbour and from itself, by the host's address: answers must go back through the host.
        for (who, namespace) in [("neighbour", &neighbour), ("itself", &server.namespace)] {
            for address in ["192.0.2.1:8080", "172.19.0.1:8080"] {
                let answer = namespace.run(move || fetch(address));
                assert_eq!(answer.unwrap_or_else(|error| panic!("{who} by {address}: {error}")), "port 80");
                assert_eq!(peer(), "172.19.0.1");
            }
        }
        let Some(bridge6) = bridge6 else { return };
        outside.run(|| assert_eq!(fetch("[2001:db8::1]:8080").expect("from outside"), "port 80"));
        assert_eq!(peer(), "2001:db8::9");
        fetch("[2001:db8::1]:8080").expect("by the host's address");
        assert_eq!(peer(), "2001:db8::1");
        for (who, namespace) in [("neighbour", &neighbour), ("itself", &server.namespace)] {
            let answer = namespace.run(|| fetch("[2001:db8::1]:8080"));
            assert_eq!(answer.unwrap_or_else(|error| panic!("{who} by IPv6: {error}")), "port 80");
            assert_eq!(peer(), bridge6);
        }
        if filtered {
            // Refused at once, so that whoever tries `localhost` goes on to 127.0.0.1.
            let error = fetch("[::1]:8080").expect_err("answers would be lost");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            let wish = request(Some("::1"), HostPorts::From(9000), range(80, 80), Protocol::Tcp);
            let error = HeldPorts::take(&[wish], Families::Both, &state).expect_err("asked for by name");
            assert_eq!(error.kind, Kind::NoIpv6Loopback);
        } else {
            fetch("[::1]:8080").expect("by the host's loopback");
            assert_eq!(peer(), bridge6);
        }
    });
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
        let answer = server.namespace.run(|| fetch("192.0.2.9:80"));
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
            let error = HeldPorts::take(&[at("::", 8085)], Families::Ipv4, &state).expect_err("no IPv6");
            assert_eq!(error.kind, Kind::NoIpv6);
        }
        let server = start_publisher(&network, &state, "server", &wishes).expect("published");
        let _peers = serve(&server.namespace, 80);
        for (address, is_reached) in reached {
            assert_eq!(fetch(address).is_ok(), is_reached, "{address}");
        }
    });
}

/// What `br_netfilter` does with bridged packets, where the kernel has it: it changes the way that they take.
pub fn filter_bridged(value: u8) -> bool {
    let path = "/proc/sys/net/bridge/bridge-nf-call-ip";
    std::fs::write(format!("{path}tables"), value.to_string()).is_ok()
        && std::fs::write(format!("{path}6tables"), value.to_string()).is_ok()
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
        outside.run(|| fetch("192.0.2.1:53").expect_err("nobody is there"));
        client.send_to(b"early", "192.0.2.1:53").expect("sent");
        outside.run(|| fetch("192.0.2.1:53").expect_err("nobody is there"));
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
fn publishing_a_port_of_udp_leaves_flows_to_other_hosts_alone() {
    if !may_run("publishing_a_port_of_udp") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("passing");
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24"], &["192.0.2.9/24"]);
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        // A neighbour asks a server outside on the same port; its flow is masqueraded.
        let (namespace, far) =
            (Namespace::new(), outside.run(|| UdpSocket::bind("192.0.2.9:53")).expect("a server"));
        let _neighbour = start(&network, &state, &namespace);
        let client = namespace.run(|| UdpSocket::bind("0.0.0.0:4000")).expect("a client");
        for socket in [&far, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        }
        client.send_to(b"question", "192.0.2.9:53").expect("sent");
        let (_, asker) = far.recv_from(&mut [0; 64]).expect("it came");
        assert_eq!(plain(asker).to_string(), "192.0.2.1");
        let wish = request(None, HostPorts::From(53), range(53, 53), Protocol::Udp);
        let _server = start_publisher(&network, &state, "server", &[wish]).expect("published");
        far.send_to(b"answer", asker).expect("sent");
        client.recv(&mut [0; 64]).expect("the flow is still known");
    });
}

fn plain(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
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
