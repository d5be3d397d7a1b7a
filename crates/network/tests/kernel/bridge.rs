//! The bridge, the veth pair and masquerading on the real kernel, in network namespaces made here.

use crate::support::*;
use rabbitc_network::*;

fn link_names() -> Vec<String> {
    let text = sh("ip -o link");
    let mut names: Vec<_> =
        text.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn ensure_makes_a_complete_bridge_and_changes_nothing_the_second_time() {
    if !may_run("ensure_makes_a_complete_bridge") || !has_program("ensure_makes_a_complete_bridge", "ip") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("complete");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        assert_eq!(*bridge.outbound(), Outbound::Masqueraded);
        let shown = sh("ip -d link show rabbitc0; ip addr show rabbitc0; sysctl -n net.ipv4.ip_forward");
        for expected in
            ["inet 172.19.0.1/16 brd 172.19.255.255", ",UP", "alias rabbitc 172.19.0.1/16", "\n1\n"]
        {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
        if let Some(ipv6) = network.ipv6() {
            assert!(shown.contains(&format!("inet6 {ipv6}")), "{shown}");
            assert!(!shown.contains(&format!("inet6 {ipv6} scope global tentative")), "{shown}");
        }
        let before = sh("ip -o link; ip -o addr; nft list ruleset");
        assert_eq!(ensure(&network, &state, &lease), Ok(bridge));
        assert_eq!(before, sh("ip -o link; ip -o addr; nft list ruleset"));
    });
}

#[test]
fn rules_flushed_or_a_bridge_deleted_by_others_are_put_back() {
    if !may_run("rules_flushed") || !has_program("rules_flushed", "nft") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("flushed");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        ensure(&network, &state, &lease).expect("a bridge");
        let rules = sh("nft list ruleset");
        assert!(rules.contains("ip saddr 172.19.0.0/16 oifname != \"rabbitc0\" masquerade"), "{rules}");
        for damage in [
            "nft flush ruleset",
            "ip link set rabbitc0 down",
            "ip addr flush dev rabbitc0",
            "ip link set rabbitc0 alias ''",
            "sysctl -q -w net.ipv4.ip_forward=0",
            "sysctl -q -w net.ipv6.conf.all.forwarding=0",
            "ip link del rabbitc0",
        ] {
            if damage.contains("ipv6") && network.ipv6().is_none() {
                continue;
            }
            sh(damage);
            ensure(&network, &state, &lease).expect(damage);
            assert_eq!(rules, sh("nft list ruleset"), "after {damage}");
            let shown = sh("ip addr show rabbitc0; sysctl -n net.ipv4.ip_forward");
            assert!(shown.contains("inet 172.19.0.1/16") && shown.contains(",UP"), "after {damage}: {shown}");
            assert!(shown.ends_with("\n1\n"), "after {damage}: {shown}");
        }
    });
}

#[test]
fn a_name_that_belongs_to_something_else_is_refused_and_left_alone() {
    if !may_run("a_name_that_belongs") || !has_program("a_name_that_belongs", "ip") {
        return;
    }
    for (kind, description) in [("bridge", "a bridge that rabbitc did not make"), ("veth", "kind `veth`")] {
        Namespace::new().run(move || {
            let parent = StateParent::new(kind);
            let network = network("theirs", "172.19.0.1/16");
            let state = parent.network(&network);
            sh(&format!("ip link add theirs type {kind}"));
            let before = sh("ip -d link");
            let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
            let error = ensure(&network, &state, &lease).expect_err("the name is taken");
            assert!(matches!(error.kind, Kind::NameBelongsToSomethingElse(_)), "{error}");
            assert!(error.to_string().contains(description), "{error}");
            drop(lease);
            assert_eq!(remove_if_unused(&state), Ok(Removal::Removed));
            assert_eq!(before, sh("ip -d link"));
            assert!(parent.is_empty());
        });
    }
}

#[test]
fn an_overlapping_subnet_is_refused_by_the_name_of_the_other_interface() {
    if !may_run("an_overlapping_subnet") || !has_program("an_overlapping_subnet", "ip") {
        return;
    }
    for set_up in [
        "ip addr add 172.19.5.1/24 dev lan0",
        "ip addr add 172.16.0.1/12 dev lan0",
        "ip addr add 10.0.0.1/24 dev lan0; ip route add 172.19.128.0/17 via 10.0.0.2",
    ] {
        Namespace::new().run(move || {
            let parent = StateParent::new("overlap");
            let network = network("rabbitc0", "172.19.0.1/16");
            let state = parent.network(&network);
            sh(&format!("ip link add lan0 type veth; ip link set lan0 up; {set_up}"));
            let before = link_names();
            let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
            let error = ensure(&network, &state, &lease).expect_err("the subnet is taken");
            assert!(
                matches!(&error.kind, Kind::SubnetOverlaps { interface, .. } if interface == "lan0"),
                "{error}"
            );
            assert_eq!(before, link_names());
        });
    }
}

#[test]
fn default_routes_do_not_count_as_overlap() {
    if !may_run("default_routes") || !has_program("default_routes", "ip") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("default");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        sh("ip link add lan0 type veth; ip link set lan0 up; ip addr add 10.0.0.1/24 dev lan0");
        sh("for to in default 0.0.0.0/1 128.0.0.0/1; do ip route add $to via 10.0.0.2; done");
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        ensure(&network, &state, &lease).expect("no overlap");
    });
}

#[test]
fn an_unused_bridge_takes_another_subnet_and_a_used_one_refuses_it() {
    if !may_run("an_unused_bridge") || !has_program("an_unused_bridge", "ip") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("resubnet");
        let first = network("rabbitc0", "172.19.0.1/16");
        let second = network("rabbitc0", "10.7.0.1/24");
        let state = parent.network(&first);
        let lease = state.lease(&first, AddressRequest::LowestFree, "one").expect("a lease");
        ensure(&first, &state, &lease).expect("a bridge");
        let other = state.lease(&second, AddressRequest::LowestFree, "two").expect("a lease");
        let error = ensure(&second, &state, &other).expect_err("in use");
        assert_eq!(error.kind, Kind::SubnetDiffers("172.19.0.1/16".into()));
        drop(lease);
        ensure(&second, &state, &other).expect("unused now");
        assert!(sh("ip addr show rabbitc0").contains("10.7.0.1/24"));
        let rules = sh("nft list ruleset");
        assert!(!rules.contains("172.19.") && rules.contains("10.7.0.0/24"), "{rules}");
    });
}

#[test]
fn a_container_is_reached_at_its_address_and_reaches_the_host() {
    if !may_run("a_container_is_reached") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("reach");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let containers = [Namespace::new(), Namespace::new()];
        let started: Vec<_> = containers.iter().map(|container| start(&network, &state, container)).collect();
        assert_eq!(started[0].0.address().to_string(), "172.19.0.2");
        assert_eq!(started[1].0.address().to_string(), "172.19.0.3");
        for (container, (lease, _)) in containers.iter().zip(&started) {
            let mut addresses = vec![format!("{}:80", lease.address())];
            addresses.extend(lease.interface().ipv6().map(|address| format!("[{address}]:80")));
            for address in addresses {
                let _server = serve_once(container, &address);
                assert_eq!(fetch(&address).expect("the host reaches the container"), "hello");
            }
        }
        // Neighbour to neighbour, and container to the host's own address.
        let _server = serve_once(&containers[0], "172.19.0.2:81");
        assert_eq!(containers[1].run(|| fetch("172.19.0.2:81")).expect("a neighbour"), "hello");
        let listener = std::net::TcpListener::bind("172.19.0.1:82").expect("the gateway is ours");
        let client = containers[1].run(|| std::net::TcpStream::connect("172.19.0.1:82"));
        client.expect("the container reaches the host");
        assert_eq!(listener.accept().expect("a client").1.ip().to_string(), "172.19.0.3");
        // Loopback is up.
        containers[0].run(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
            std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback is up");
        });
    });
}

#[test]
fn the_hosts_end_is_a_port_of_the_bridge_and_up_from_the_start() {
    if !may_run("the_hosts_end") || !has_program("the_hosts_end", "ip") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("port");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let container = Namespace::new();
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        let target = NetnsTarget::Fd(container.fd());
        let attachment = attach(&bridge, target, lease.interface(), Hairpin::Off).expect("a veth");
        let shown = sh(&format!("ip link show {}", attachment.host_interface));
        assert!(shown.contains("master rabbitc0") && shown.contains(",UP"), "{shown}");
        let inside = container.run(|| sh("ip link show eth0"));
        assert!(inside.starts_with("100: eth0@"), "{inside}");
        assert!(inside.contains("02:72:ac:13:00:02"), "{inside}");
        // A second one with the same index inside cannot be made, and leaves nothing.
        let before = link_names();
        attach(&bridge, target, lease.interface(), Hairpin::Off).expect_err("eth0 is there");
        assert_eq!(before, link_names());
    });
}

#[test]
fn the_next_holder_of_an_address_is_reached_at_once() {
    if !may_run("the_next_holder") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("next");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        // One neighbour that remembers the last holder, too.
        let neighbour = Namespace::new();
        let _neighbour = start(&network, &state, &neighbour);
        for round in 0..20 {
            // The kernel is still busy with the last one's namespace.
            let container = Namespace::new();
            let (lease, _) = start(&network, &state, &container);
            assert_eq!(lease.address().to_string(), "172.19.0.3");
            let mut addresses = vec!["172.19.0.3:80".to_owned()];
            addresses.extend(lease.interface().ipv6().map(|address| format!("[{address}]:80")));
            for address in addresses {
                let _server = serve_once(&container, &address);
                fetch(&address).unwrap_or_else(|error| panic!("round {round}, {address}: {error}"));
                // Another port: the first listener may not be closed yet.
                let address = format!("{address}80");
                let _server = serve_once(&container, &address);
                let result = neighbour.run(move || fetch(&address));
                result.unwrap_or_else(|error| panic!("round {round}, from the neighbour: {error}"));
            }
        }
    });
}

#[test]
fn a_namespace_can_be_named_by_a_process_in_it() {
    if !may_run("a_namespace_can_be_named") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("pid");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let container = Namespace::new();
        let mut process =
            container.run(|| std::process::Command::new("sleep").arg("60").spawn().expect("sleep"));
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        let pid = rustix::process::Pid::from_child(&process);
        let attached = attach(&bridge, NetnsTarget::Pid(pid), lease.interface(), Hairpin::Off);
        process.kill().expect("our child");
        process.wait().expect("our child");
        attached.expect("a veth");
        assert!(container.run(|| sh("ip -o link")).contains("eth0@"));
    });
}

#[test]
fn what_leaves_the_host_has_the_hosts_address() {
    if !may_run("what_leaves_the_host") || !has_program("what_leaves_the_host", "ip") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("masquerade");
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24", "2001:db8::1/64"], &["192.0.2.9/24", "2001:db8::9/64"]);
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let container = Namespace::new();
        let _started = start(&network, &state, &container);
        let mut pairs = vec![("192.0.2.9:80", "192.0.2.1")];
        if network.ipv6().is_some() {
            pairs.push(("[2001:db8::9]:80", "2001:db8::1"));
        }
        for (server, host) in pairs {
            let peer = serve_once(&outside, server);
            assert_eq!(container.run(move || fetch(server)).expect("outside is reached"), "hello");
            assert_eq!(peer.recv().expect("served").to_string(), host);
        }
    });
}

#[test]
fn turning_ipv6_forwarding_on_keeps_routes_from_router_advertisements() {
    if !may_run("turning_ipv6_forwarding_on") || !has_program("turning_ipv6_forwarding_on", "ip") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("accept-ra");
        let network = network("rabbitc0", "172.19.0.1/16");
        if network.ipv6().is_none() {
            return eprintln!("skipped: turning_ipv6_forwarding_on: no IPv6 here");
        }
        sh("ip link add lan0 type veth peer name lan1; ip link set lan0 up; ip link set lan1 up");
        sh("ip -6 route add default via fe80::1 dev lan0 proto ra");
        let state = parent.network(&network);
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        ensure(&network, &state, &lease).expect("a bridge");
        assert_eq!(sh("sysctl -n net.ipv6.conf.all.forwarding"), "1\n");
        assert!(sh("ip -6 route").contains("default via fe80::1 dev lan0 proto ra"));
        // The uplink goes on listening; others, with containers of somebody behind them, do not begin to.
        let accept_ra = |interface| sh(&format!("sysctl -n net.ipv6.conf.{interface}.accept_ra"));
        assert_eq!(["lan0", "lan1", "rabbitc0"].map(accept_ra), ["2\n", "1\n", "0\n"]);
    });
}

#[test]
fn networks_share_the_table_and_the_last_one_takes_it_along() {
    if !may_run("networks_share") || !has_program("networks_share", "nft") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("two");
        let before = (link_names(), sh("nft list ruleset"));
        let networks = [network("rabbitc0", "172.19.0.1/16"), network("other", "10.9.0.1/24")];
        let states = networks.each_ref().map(|network| parent.network(network));
        let leases: Vec<_> = networks
            .iter()
            .zip(&states)
            .map(|(network, state)| {
                let lease = state.lease(network, AddressRequest::LowestFree, "one").expect("a lease");
                ensure(network, state, &lease).expect("a bridge");
                lease
            })
            .collect();
        let rules = sh("nft list ruleset");
        assert!(rules.contains("172.19.0.0/16") && rules.contains("10.9.0.0/24"), "{rules}");
        assert_eq!(remove_if_unused(&states[0]), Ok(Removal::LeasesHeld(1)));
        drop(leases);
        assert_eq!(remove_if_unused(&states[0]), Ok(Removal::Removed));
        let rules = sh("nft list ruleset");
        assert!(!rules.contains("172.19.0.0/16") && rules.contains("10.9.0.0/24"), "{rules}");
        assert_eq!(remove_if_unused(&states[1]), Ok(Removal::Removed));
        assert_eq!(before, (link_names(), sh("nft list ruleset")));
        assert!(parent.is_empty());
        assert_eq!(remove_if_unused(&states[1]), Ok(Removal::Removed), "nothing to do is fine");
        assert!(parent.is_empty());
    });
}

#[test]
fn a_port_keeps_the_bridge_until_its_namespace_is_dead() {
    if !may_run("a_port_keeps_the_bridge") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("ports");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let container = Namespace::new();
        let (lease, _) = start(&network, &state, &container);
        drop(lease);
        assert!(matches!(remove_if_unused(&state), Ok(Removal::PortsLeft(ports)) if ports.len() == 1));
        drop(container);
        loop {
            match remove_if_unused(&state).expect("removal") {
                Removal::Removed => break,
                Removal::PortsLeft(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
                Removal::LeasesHeld(count) => panic!("{count} leases held"),
            }
        }
        assert!(parent.is_empty());
        assert!(!link_names().iter().any(|name| name.starts_with("rabbitc0") || name.starts_with("vrc")));
    });
}

#[test]
fn starts_and_removals_at_once_always_leave_a_start_with_its_bridge() {
    if !may_run("starts_and_removals_at_once") {
        return;
    }
    let host = Namespace::new();
    let parent = std::sync::Arc::new(StateParent::new("race"));
    let namespace = host.descriptor.try_clone().expect("a descriptor");
    let namespace = std::sync::Arc::new(namespace);
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (parent, namespace) = (parent.clone(), namespace.clone());
            std::thread::spawn(move || {
                use std::os::fd::AsFd;
                sys::namespace::join(namespace.as_fd(), sys::clone::flags::NEWNET)
                    .expect("the host's namespace");
                let network = network("rabbitc0", "172.19.0.1/16");
                let state = parent.network(&network);
                for _ in 0..25 {
                    let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
                    let bridge = ensure(&network, &state, &lease).expect("a bridge");
                    let container = Namespace::new();
                    attach(&bridge, NetnsTarget::Fd(container.fd()), lease.interface(), Hairpin::Off)
                        .unwrap_or_else(|error| panic!("start {number}: {error}"));
                    drop(container);
                    drop(lease);
                    remove_if_unused(&state).expect("a removal");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no start failed");
    }
    host.run(move || {
        let state = parent.network(&network("rabbitc0", "172.19.0.1/16"));
        while remove_if_unused(&state).expect("a removal") != Removal::Removed {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(parent.is_empty());
    });
}
