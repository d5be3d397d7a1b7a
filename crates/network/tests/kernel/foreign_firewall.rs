//! Foreign firewalls as their own tools make them, in a network namespace made here.

use std::time::Duration;

use crate::publisher::*;
use crate::support::*;
use rabbitc_network::*;

/// Sets up a firewall, expects one finding, runs the finding's own command, and expects none.
fn found_and_allowed(test: &'static str, set_up: &'static str, firewall: Firewall, command: &'static str) {
    if !may_run(test) || !has_program(test, "nft") || !has_program(test, "iptables") {
        return;
    }
    Namespace::new().run(move || {
        let parent = StateParent::new(test);
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24"], &["192.0.2.9/24"]);
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let container = Namespace::new();
        let (_lease, bridge) = start(&network, &state, &container);
        assert_eq!(foreign_firewall(&bridge, Ways::Out), Ok(vec![]));
        sh(set_up);
        let findings = foreign_firewall(&bridge, Ways::Out).expect("readable");
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].firewall, firewall);
        assert_eq!(findings[0].command, command);
        if firewall == Firewall::Ufw || firewall == Firewall::Firewalld {
            return;
        }
        // The finding is right, and so is its command.
        let _server = serve_once(&outside, "192.0.2.9:80");
        container.run(|| {
            let address = "192.0.2.9:80".parse().expect("an address");
            let patience = Duration::from_millis(300);
            std::net::TcpStream::connect_timeout(&address, patience).expect_err("dropped");
        });
        sh(&findings[0].command);
        assert_eq!(container.run(|| fetch("192.0.2.9:80")).expect("allowed"), "hello");
        assert_eq!(foreign_firewall(&bridge, Ways::Out), Ok(vec![]));
    });
}

#[test]
fn a_policy_of_drop_in_nftables_is_named() {
    found_and_allowed(
        "nftables",
        "nft 'table inet fw { chain guard { type filter hook forward priority 0; policy drop; }; }'",
        Firewall::Nftables,
        "nft insert rule inet fw guard iifname rabbitc0 accept && nft insert rule inet fw guard oifname rabbitc0 accept",
    );
}

#[test]
fn a_policy_of_drop_by_iptables_is_named() {
    found_and_allowed(
        "iptables",
        "iptables-nft -P FORWARD DROP",
        Firewall::Iptables,
        "iptables -I FORWARD -i rabbitc0 -j ACCEPT && iptables -I FORWARD -o rabbitc0 -j ACCEPT",
    );
}

#[test]
fn a_last_rule_that_rejects_is_named() {
    found_and_allowed(
        "reject",
        "iptables-nft -A FORWARD -j REJECT",
        Firewall::Iptables,
        "iptables -I FORWARD -i rabbitc0 -j ACCEPT && iptables -I FORWARD -o rabbitc0 -j ACCEPT",
    );
}

#[test]
fn docker_is_allowed_in_its_users_chain() {
    found_and_allowed(
        "docker",
        "iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -N DOCKER-FORWARD;
         iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-FORWARD;
         iptables-nft -A DOCKER-FORWARD -i docker0 -j ACCEPT",
        Firewall::Docker,
        "iptables -I DOCKER-USER -i rabbitc0 -j ACCEPT && iptables -I DOCKER-USER -o rabbitc0 -j ACCEPT",
    );
}

#[test]
fn ufw_is_allowed_by_its_own_command() {
    found_and_allowed(
        "ufw",
        "iptables-nft -P FORWARD DROP; iptables-nft -N ufw-before-forward;
         iptables-nft -A FORWARD -j ufw-before-forward",
        Firewall::Ufw,
        "ufw route allow in on rabbitc0 && ufw route allow out on rabbitc0",
    );
}

#[test]
fn firewalld_is_allowed_by_its_own_command() {
    found_and_allowed(
        "firewalld",
        "nft 'table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10;
              ct state { established, related } accept; iifname \"lo\" accept;
              jump filter_FORWARD_POLICIES; ct state invalid drop; reject with icmpx admin-prohibited; };
              chain filter_FORWARD_POLICIES { iifname \"eth9\" accept; }; }'",
        Firewall::Firewalld,
        "firewall-cmd --zone=trusted --add-interface=rabbitc0",
    );
}

fn has_legacy(test: &str) -> bool {
    has_program(test, "iptables-legacy")
}

#[test]
fn a_policy_of_drop_by_legacy_iptables_is_named() {
    if has_legacy("legacy_policy") {
        found_and_allowed(
            "legacy_policy",
            "iptables-legacy -P FORWARD DROP; iptables-legacy -A FORWARD -i docker0 -j ACCEPT;
             iptables-legacy -A FORWARD -i rabbitc0 -p udp -j ACCEPT",
            Firewall::IptablesLegacy,
            "iptables-legacy -I FORWARD -i rabbitc0 -j ACCEPT && iptables-legacy -I FORWARD -o rabbitc0 -j ACCEPT",
        );
    }
}

#[test]
fn docker_by_legacy_iptables_is_allowed_in_its_users_chain() {
    if has_legacy("legacy_docker") {
        found_and_allowed(
            "legacy_docker",
            "iptables-legacy -N DOCKER-USER; iptables-legacy -A DOCKER-USER -j RETURN;
             iptables-legacy -A FORWARD -j DOCKER-USER; iptables-legacy -A FORWARD -j REJECT",
            Firewall::Docker,
            "iptables-legacy -I DOCKER-USER -i rabbitc0 -j ACCEPT && \
             iptables-legacy -I DOCKER-USER -o rabbitc0 -j ACCEPT",
        );
    }
}

#[test]
fn legacy_iptables_that_lets_everything_through_is_not_named() {
    if !has_legacy("legacy_open") || !may_run("legacy_open") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("legacy_open");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        let bridge = ensure(&network, &state, &lease).expect("a bridge");
        sh("iptables-legacy -A INPUT -j DROP; iptables-legacy -A FORWARD -i eth9 -j DROP");
        assert_eq!(foreign_firewall(&bridge, Ways::Out), Ok(vec![]));
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
