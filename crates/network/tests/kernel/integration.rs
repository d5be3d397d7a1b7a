//! Allowances in firewalls of others, made by their own tools: put in where they are asked for, and gone with the network.

use crate::publisher::*;
use crate::support::*;
use rabbitc_network::*;

/// Docker's chains as it makes them, with a rule of a person's own, and a policy that drops.
const DOCKER: &str = "for ip in iptables-nft ip6tables-nft; do
     $ip -P FORWARD DROP; $ip -N DOCKER-USER; $ip -N DOCKER-FORWARD;
     $ip -A FORWARD -j DOCKER-USER; $ip -A FORWARD -j DOCKER-FORWARD;
     $ip -A DOCKER-FORWARD -i docker0 -j ACCEPT; $ip -A DOCKER-USER -i evil0 -j DROP; done";

fn has_tools(test: &str) -> bool {
    may_run(test) && ["nft", "iptables-nft", "ip6tables-nft"].into_iter().all(|tool| has_program(test, tool))
}

fn rules() -> String {
    sh("iptables-nft -S DOCKER-USER; ip6tables-nft -S DOCKER-USER")
}

#[test]
fn docker_lets_a_network_through_that_asks_for_it_until_it_is_gone() {
    if !has_tools("docker_lets") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("integrate");
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24"], &["192.0.2.9/24"]);
        sh(DOCKER);
        let before = rules();
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let server = start_publisher(&network, &state, "server", &[tcp(8080, 80)]).expect("published");
        let bridge = ensure(&network, &state, &server.lease).expect("a bridge");
        assert!(!foreign_firewall(&bridge, Ways::OutAndIn).expect("readable").is_empty());
        for _ in 0..2 {
            assert_eq!(integrate(&bridge, &state, Ways::OutAndIn), Ok(vec![]));
            let now = rules();
            for direction in ["-i rabbitc0", "-o rabbitc0"] {
                let ours = |line: &&str| line.contains(direction) && line.ends_with("-j ACCEPT");
                assert_eq!(now.lines().filter(ours).count(), 2, "one of each family: {now}");
            }
            assert!(now.contains("rabbitc: from rabbitc0"), "it says whose it is: {now}");
        }
        // Both ways, really.
        let _peers = serve(&server.namespace, 80);
        outside.run(|| assert_eq!(fetch("192.0.2.1:8080").expect("from outside"), "port 80"));
        let _world = serve_once(&outside, "192.0.2.9:81");
        assert_eq!(server.namespace.run(|| fetch("192.0.2.9:81")).expect("outwards"), "hello");
        // Another network has its own.
        let other = crate::support::network("lab0", "172.20.0.1/16");
        let other_state = parent.network(&other);
        let lease = other_state.lease(&other, AddressRequest::LowestFree, "two").expect("a lease");
        let other_bridge = ensure(&other, &other_state, &lease).expect("a bridge");
        assert_eq!(integrate(&other_bridge, &other_state, Ways::Out), Ok(vec![]));
        drop(lease);
        wait_for("its namespace is gone", || {
            (remove_if_unused(&other_state) == Ok(Removal::Removed)).then_some(())
        });
        let now = rules();
        assert!(!now.contains("lab0") && now.contains("rabbitc0"), "{now}");
        drop(server);
        // Whoever serves in it keeps its namespace.
        sh("ip -o link show master rabbitc0 | while read number name rest; do ip link del ${name%%@*}; done");
        wait_for("its namespace is gone", || {
            (remove_if_unused(&state) == Ok(Removal::Removed)).then_some(())
        });
        assert_eq!(rules(), before);
        assert!(parent.is_empty());
    });
}

#[test]
fn allowances_of_a_start_that_was_killed_go_with_the_network() {
    if !has_tools("allowances_of_a_start") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("integrate-killed");
        sh(DOCKER);
        let before = rules();
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        assert_eq!(integrate(&bridge, &state, Ways::Out), Ok(vec![]));
        // Half of it, and the bridge is gone besides.
        sh("iptables-nft -F DOCKER-USER; iptables-nft -A DOCKER-USER -i evil0 -j DROP; ip link del rabbitc0");
        drop(lease);
        assert_eq!(remove_if_unused(&state), Ok(Removal::Removed));
        assert_eq!(rules(), before);
        assert!(parent.is_empty());
        // Where Docker itself has gone meanwhile.
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        assert_eq!(integrate(&bridge, &state, Ways::Out), Ok(vec![]));
        sh("nft delete table ip filter; nft delete table ip6 filter");
        drop(lease);
        assert_eq!(remove_if_unused(&state), Ok(Removal::Removed));
        assert!(parent.is_empty());
    });
}

#[test]
fn firewall_without_a_place_for_allowances_is_left_alone_and_named() {
    if !has_tools("firewall_without_a_place") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("integrate-none");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        assert_eq!(integrate(&bridge, &state, Ways::Out), Ok(vec![]), "nobody is in the way");
        sh("nft 'table inet fw { chain guard { type filter hook forward priority 0; policy drop; }; }'");
        let before = sh("nft list table inet fw");
        let left = integrate(&bridge, &state, Ways::Out).expect("readable");
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(sh("nft list table inet fw"), before);
        drop(lease);
        assert_eq!(remove_if_unused(&state), Ok(Removal::Removed));
        assert!(parent.is_empty());
    });
}

#[test]
fn firewall_whose_program_is_missing_is_an_error_that_names_it_and_nothing_stays() {
    if !has_tools("firewall_whose_program") || std::path::Path::new("/usr/sbin/ufw").exists() {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("integrate-ufw");
        sh("iptables-nft -P FORWARD DROP; iptables-nft -N ufw-before-forward;
            iptables-nft -A FORWARD -j ufw-before-forward");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        let error = integrate(&bridge, &state, Ways::Out).expect_err("there is no ufw");
        assert!(matches!(error.kind, Kind::FirewallRefused(_)), "{error}");
        assert!(error.to_string().contains("ufw route allow in on rabbitc0"), "{error}");
        drop(lease);
        let error = remove_if_unused(&state).expect_err("it may have been told");
        assert!(error.to_string().contains("ufw route delete allow in on rabbitc0"), "{error}");
        assert!(parent.is_empty(), "said once, and no more");
        assert!(!sh("ip -o link").contains("rabbitc0"));
    });
}
