//! Who holds a port of the host: a container, a process, or nobody any more.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use crate::publisher::*;
use crate::support::*;
use rabbitc_network::*;

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
        let take = |wish: PortRequest| HeldPorts::take(&[wish], network.families(), &state).map(drop);
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
        let ports = HeldPorts::take(&[wish], network.families(), &state).expect("some are free");
        assert_eq!(ports.publications()[0].host, range(8081, 8081));
        // Without a choice, one of the kernel's.
        let wish = request(None, HostPorts::Any, range(80, 81), Protocol::Tcp);
        let ports = HeldPorts::take(&[wish], network.families(), &state).expect("some are free");
        let [a, b] = ports.publications() else { panic!("{ports:?}") };
        assert!(a.host != b.host && (a.container, b.container) == (80, 81), "{ports:?}");
        // Twice in one command.
        let error =
            HeldPorts::take(&[tcp(9000, 80), tcp(9000, 81)], Families::Both, &state).expect_err("twice");
        assert_eq!(error.kind, Kind::PortTaken(PortHolder::Itself));
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
        // On another network as well; and what is refused has not let the host's loopback out there.
        let second = crate::support::network("rabbitc1", "172.20.0.1/16");
        let Err(error) =
            start_publisher(&second, &parent.network(&second), "two", std::slice::from_ref(&wish))
        else {
            panic!("published twice");
        };
        assert_eq!(error.kind, Kind::PortTaken(PortHolder::Container("one".into())));
        assert_eq!(sh("cat /proc/sys/net/ipv4/conf/rabbitc1/route_localnet").trim(), "0");
        drop(one);
        start_publisher(&network, &state, "two", &[wish]).expect("free again");
        let any = request(None, HostPorts::Any, PortRange::new(9, 11).expect("ports"), Protocol::Sctp);
        let three = start_publisher(&network, &state, "three", &[any.clone(), any]).expect("chosen");
        assert_eq!(three.ports.publications().len(), 6, "each its own");
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
        let held = HeldPorts::take(&[tcp(8080, 80)], network.families(), &state).expect("free");
        // Nobody can do the same beside us, and a server of the host that may share does not get it either.
        let error = HeldPorts::take(&[tcp(8080, 80)], network.families(), &state).expect_err("held");
        assert!(matches!(error.kind, Kind::PortTaken(_)), "{error}");
        TcpListener::bind("127.0.0.1:8080").expect_err("held");
        let refused = std::net::TcpStream::connect("127.0.0.1:8080").expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        drop(held);
        wait_for("the port is free", || TcpListener::bind("127.0.0.1:8080").ok());
    });
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
        wait_for("the dead one holds nothing", || {
            (state.held_leases().expect("readable").len() == 1).then_some(())
        });
        assert!(elements() < left, "whoever removes the lease removes the elements");
        die(start_publisher(&network, &state, "dead", &[tcp(8080, 80)]).expect("published"));
        let lease = wait_for("its address is free", || {
            let lease = state.lease(&network, AddressRequest::LowestFree, "next").expect("a lease");
            (lease.address().to_string() == "172.19.0.3").then_some(lease)
        });
        assert!(!sh("nft list table inet rabbitc").contains("dead"), "whoever takes it over, too");
        drop(lease);
        // Its port goes to one with another address, which nobody swept before.
        die(start_publisher(&network, &state, "dead", &[tcp(8080, 80)]).expect("published"));
        let address = "172.19.0.9".parse().expect("an address");
        let ports = wait_for("its port is free", || {
            HeldPorts::take(&[tcp(8080, 81)], network.families(), &state).ok()
        });
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

fn elements() -> usize {
    sh("nft list table inet rabbitc").matches(" : ").count()
}
