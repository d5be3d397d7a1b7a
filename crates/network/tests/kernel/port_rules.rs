//! The rules of published ports in the kernel's table: how few they are, and what puts them back.

use std::net::TcpListener;

use crate::publisher::*;
use crate::support::*;
use rabbitc_network::*;

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
            assert_eq!(fetch(&format!("127.0.0.1:{port}")).expect("in the range"), format!("port {inside}"));
            TcpListener::bind(("127.0.0.1", port)).expect_err("held");
        }
        for port in [6999, 8000, 9003] {
            fetch(&format!("127.0.0.1:{port}")).expect_err("beside the range");
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
            assert_eq!(fetch("127.0.0.1:8081").expect(damage), "port 80");
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

/// Runs the closure while this thread may change no network, as one with too many open files can't.
fn without_rights<T>(run: impl FnOnce() -> T) -> T {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let own = capabilities(None).expect("they can be read");
    let mut fewer = own;
    fewer.effective.remove(CapabilitySet::NET_ADMIN);
    set_capabilities(None, fewer).expect("they can be given up");
    let done = run();
    set_capabilities(None, own).expect("they are still permitted");
    done
}

#[test]
fn lease_whose_ports_cannot_be_withdrawn_is_found_by_its_file() {
    if !may_run("lease_whose_ports") || !has_program("lease_whose_ports", "nft") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("unwithdrawn");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let one = start_publisher(&network, &state, "one", &[tcp(8080, 80)]).expect("published");
        let address = one.lease.address();
        let file = state_path(&parent.path, "rabbitc0").join(address.to_string());
        without_rights(move || drop(one));
        assert!(sh("nft list table inet rabbitc").contains("8080"), "it could not be withdrawn");
        assert!(file.exists(), "nobody else would look for it");
        let lease = || state.lease(&network, AddressRequest::Exactly(address), "two").ok();
        let next = wait_for("the address is free", lease);
        assert!(!sh("nft list table inet rabbitc").contains("8080"), "it would lead to `two`");
        drop(next);
        assert!(!file.exists());
    });
}

#[test]
fn ports_that_could_not_be_published_leave_no_file_behind() {
    if !may_run("ports_that_could_not_be_published") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("unpublished");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        let ports = HeldPorts::take(&[tcp(8080, 80)], Families::Ipv4, &state).expect("free");
        let file = state_path(&parent.path, "rabbitc0").join(lease.address().to_string());
        let refused = without_rights(|| publish(&bridge, &state, &lease, &ports).map(drop));
        refused.expect_err("it has no right to");
        drop((ports, lease));
        // Whether anything leads there could not be found out either.
        assert!(file.exists());
        assert_eq!(state.held_leases().expect("listed"), []);
        assert!(!file.exists());
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
            assert_eq!(fetch(&format!("127.0.0.1:{port}")).expect("published"), "port 80");
        }
        let table = sh("nft list table inet rabbitc");
        assert_eq!((table.matches("dnat ip").count(), table.matches("jump").count()), (4, 2), "{table}");
    });
    assert!(all.iter().all(|one| one.ports.publications().len() == 1));
    host.run(move || drop(all));
}

#[test]
fn ports_are_exchanged_in_one_step_and_doing_it_again_changes_nothing() {
    if !may_run("ports_are_exchanged") || !has_program("ports_are_exchanged", "nft") {
        return;
    }
    Namespace::new().run(|| {
        sh("ip link set lo up");
        let parent = StateParent::new("exchange");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let one = start_publisher(&network, &state, "one", &[tcp(8080, 80)]).expect("published");
        let two = start_publisher(&network, &state, "two", &[tcp(9090, 90)]).expect("published");
        let _peers = (serve(&one.namespace, 80), serve(&one.namespace, 81), serve(&two.namespace, 90));
        let (address, interface) = (one.lease.address(), "eth0");
        let tenant = Tenant { holder: "one", address, interface, namespace: one.namespace.fd() };
        let ports =
            |requests: &[PortRequest]| HeldPorts::take(requests, network.families(), &state).expect("free");
        let new = ports(&[tcp(8081, 81)]);
        let mut wanted = one.ports.publications().to_vec();
        wanted.extend(new.publications().to_vec());
        for _ in 0..2 {
            republish(&network, &state, tenant, &wanted).expect("exchanged");
            let reached = [("8080", "port 80"), ("8081", "port 81"), ("9090", "port 90")];
            for (port, answer) in reached {
                assert_eq!(fetch(&format!("127.0.0.1:{port}")).expect(port), answer);
            }
        }
        let table = sh("nft list table inet rabbitc");
        republish(&network, &state, tenant, &wanted).expect("exchanged");
        assert_eq!(sh("nft list table inet rabbitc"), table, "nothing changes");
        // The same port to another one inside, and one that goes.
        let mut other = new.publications()[0].clone();
        other.container = 80;
        republish(&network, &state, tenant, std::slice::from_ref(&other)).expect("exchanged");
        assert_eq!(fetch("127.0.0.1:8081").expect("another"), "port 80");
        fetch("127.0.0.1:8080").expect_err("gone");
        // What another container has, even where nothing holds the socket.
        let mut taken = two.ports.publications().to_vec();
        taken.push(other);
        let error = republish(&network, &state, tenant, &taken).expect_err("taken");
        assert_eq!(error.kind, Kind::PortTaken(PortHolder::Container("two".into())));
        assert_eq!(fetch("127.0.0.1:8081").expect("as before"), "port 80");
        assert_eq!(fetch("127.0.0.1:9090").expect("the other's"), "port 90");
        republish(&network, &state, tenant, &[]).expect("none");
        fetch("127.0.0.1:8081").expect_err("gone");
        let stranger = Tenant { holder: "nobody", ..tenant };
        republish(&network, &state, stranger, &wanted).expect_err("not the holder");
    });
}
