//! What keeps the containers of one network from those of another, and what it lets through.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::port_reach::filter_bridged;
use crate::publisher::*;
use crate::support::*;
use rabbitc_network::*;

/// Whether a connection begins, from the calling thread's namespace.
fn reaches(address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("an address with a port");
    TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
}

#[test]
fn containers_of_two_networks_meet_at_published_ports_alone() {
    if may_run("containers_of_two_networks") && has_program("containers_of_two_networks", "ip") {
        apart(false);
    }
}

#[test]
fn networks_stay_apart_and_neighbours_together_where_bridged_packets_are_filtered() {
    if may_run("networks_stay_apart") && has_program("networks_stay_apart", "ip") {
        apart(true);
    }
}

fn apart(filtered: bool) {
    Namespace::new().run(move || {
        if !filter_bridged(filtered.into()) && filtered {
            return eprintln!("skipped: no br_netfilter here");
        }
        let parent = StateParent::new(if filtered { "apart-filtered" } else { "apart" });
        let outside = Namespace::new();
        connect(&outside, &["192.0.2.1/24", "2001:db8::1/64"], &["192.0.2.9/24", "2001:db8::9/64"]);
        let (one, two) = (network("rabbitc0", "172.19.0.1/16"), network("br-two", "172.20.0.1/16"));
        let (state_one, state_two) = (parent.network(&one), parent.network(&two));
        let server = start_publisher(&two, &state_two, "server", &[tcp(8080, 80)]).expect("published");
        let (client, neighbour, friend) = (Namespace::new(), Namespace::new(), Namespace::new());
        let (lease, _bridge) = start(&one, &state_one, &client);
        let (lease_neighbour, _bridge) = start(&one, &state_one, &neighbour);
        let (_lease_friend, _bridge) = start(&two, &state_two, &friend);
        let _peers = serve(&server.namespace, 80);
        let _peers_neighbour = serve(&neighbour, 80);
        let _peers_client = serve(&client, 80);
        let mut pairs = vec![(
            lease.interface().ipv4().to_string(),
            lease_neighbour.interface().ipv4().to_string(),
            server.lease.interface().ipv4().to_string(),
        )];
        let mut ways = vec!["192.0.2.1", "172.19.0.1", "172.20.0.1"];
        if let (Some(client), Some(neighbour), Some(server)) =
            (lease.interface().ipv6(), lease_neighbour.interface().ipv6(), server.lease.interface().ipv6())
        {
            pairs.push((format!("[{client}]"), format!("[{neighbour}]"), format!("[{server}]")));
            ways.push("[2001:db8::1]");
        }
        for (own, near, far) in pairs {
            assert!(reaches(&format!("{far}:80")) && reaches(&format!("{own}:80")), "the host reaches all");
            let (to_near, to_far) = (format!("{near}:80"), format!("{far}:80"));
            assert!(client.run(move || reaches(&to_near)), "neighbours reach each other");
            assert!(!client.run(move || reaches(&to_far)), "another network's container is not reached");
            for namespace in [&server.namespace, &friend] {
                let to_own = format!("{own}:80");
                assert!(!namespace.run(move || reaches(&to_own)), "nor the other way");
            }
            let to_far = format!("{far}:80");
            assert!(friend.run(move || reaches(&to_far)), "of the same network, it is");
        }
        for way in ways {
            for namespace in [&client, &friend, &outside] {
                if way.starts_with("172") && std::ptr::eq(namespace, &raw const outside) {
                    continue;
                }
                let address = format!("{way}:8080");
                let answer = namespace.run(move || fetch(&address));
                assert_eq!(answer.unwrap_or_else(|error| panic!("by {way}: {error}")), "port 80");
            }
        }
    });
}

#[test]
fn isolation_is_one_rule_for_all_networks_and_goes_with_the_last() {
    if !may_run("isolation_is_one_rule") || !has_program("isolation_is_one_rule", "nft") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("one-rule");
        let networks: Vec<_> = (0..5)
            .map(|number| network(&format!("net{number}"), &format!("172.{}.0.1/16", 20 + number)))
            .collect();
        let mut leases: Vec<_> = networks
            .iter()
            .map(|network| {
                let state = parent.network(network);
                let lease = state.lease(network, AddressRequest::LowestFree, "one").expect("a lease");
                ensure(network, &state, &lease).expect("a bridge");
                (state, lease)
            })
            .collect();
        let list = || sh("nft list table inet rabbitc");
        let table = list();
        assert_eq!(table.matches("drop").count(), 1, "{table}");
        assert_eq!(table.matches("\"net3\" . \"net3\"").count(), 1, "{table}");
        while let Some((state, lease)) = leases.pop() {
            drop(lease);
            assert_eq!(remove_if_unused(&state), Ok(Removal::Removed));
            let gone = format!("\"net{}\"", leases.len());
            let left = sh("nft list ruleset");
            assert!(!left.contains(&gone), "{left}");
            assert_eq!(left.contains("networks stay apart"), !leases.is_empty(), "{left}");
        }
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn isolation_that_is_not_there_comes_with_the_next_start() {
    if !may_run("isolation_that_is_not_there") || !has_program("isolation_that_is_not_there", "nft") {
        return;
    }
    Namespace::new().run(|| {
        let parent = StateParent::new("upgrade");
        let network = network("rabbitc0", "172.19.0.1/16");
        let state = parent.network(&network);
        let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
        ensure(&network, &state, &lease).expect("a bridge");
        let complete = sh("nft list ruleset");
        // As an earlier version left it.
        sh("nft flush chain inet rabbitc isolation; nft delete chain inet rabbitc isolation; \
            nft delete set inet rabbitc networks; nft delete set inet rabbitc same_network");
        ensure(&network, &state, &lease).expect("a bridge");
        for part in ["networks", "same_network"] {
            sh(&format!("nft flush set inet rabbitc {part}"));
            ensure(&network, &state, &lease).expect("a bridge");
            let lines = |text: &str| {
                let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(lines(&sh("nft list ruleset")), lines(&complete));
        }
        drop(lease);
        assert_eq!(remove_if_unused(&state), Ok(Removal::Removed));
        assert_eq!(sh("nft list ruleset"), "");
    });
}
