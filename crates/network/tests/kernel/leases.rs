//! Address leases between processes, on the real kernel's locks.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use crate::support::*;
use rabbitc_network::*;

const PARENT: &str = "RABBITC_TEST_LEASE_PARENT";

fn default_network() -> BridgeNetwork {
    network("rabbitc0", "172.19.0.1/16")
}

/// Not a test of its own: the process that other tests start to hold a lease until its input ends.
#[test]
fn holder_process() {
    let Ok(path) = std::env::var(PARENT) else { return };
    let network = default_network();
    let parent = std::fs::File::open(path).expect("the parent directory");
    let state = NetworkStateDirectory::new(std::os::fd::AsFd::as_fd(&parent), network.name()).expect("open");
    let holder = std::process::id().to_string();
    let lease = state.lease(&network, AddressRequest::LowestFree, &holder).expect("a lease");
    // Standard output belongs to the test harness.
    let mut error = std::io::stderr();
    writeln!(error, "lease {}", lease.address()).expect("the test reads");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the test closes it");
}

fn spawn_holder(parent: &StateParent) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "leases::holder_process", "--nocapture", "--test-threads=1"])
        .env(PARENT, &parent.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process")
}

fn leased_by(child: &mut Child) -> String {
    let output = child.stderr.take().expect("piped");
    let line = BufReader::new(output)
        .lines()
        .map_while(|line| line.ok())
        .find_map(|line| line.strip_prefix("lease ").map(str::to_owned));
    line.expect("the holder got a lease")
}

#[test]
fn the_lowest_free_address_is_leased_first_and_again_after_release() {
    let parent = StateParent::new("lowest");
    let network = default_network();
    let state = parent.network(&network);
    let lease = |holder| state.lease(&network, AddressRequest::LowestFree, holder).expect("a lease");
    let (one, two, three) = (lease("one"), lease("two"), lease("three"));
    let addresses = [&one, &two, &three].map(|lease| lease.address().to_string());
    assert_eq!(addresses, ["172.19.0.2", "172.19.0.3", "172.19.0.4"]);
    drop(two);
    assert_eq!(lease("four").address().to_string(), "172.19.0.3");
    let holders: Vec<_> =
        state.held_leases().expect("readable").into_iter().map(|held| held.holder).collect();
    assert_eq!(holders, [Some("one".into()), Some("three".into())]);
    drop((one, three));
    assert_eq!(std::fs::read_dir(state_path(&parent.path, "rabbitc0")).expect("there").count(), 0);
}

#[test]
fn a_requested_address_that_is_taken_names_its_holder() {
    let parent = StateParent::new("taken");
    let network = default_network();
    let state = parent.network(&network);
    let request = AddressRequest::Exactly("172.19.9.9".parse().expect("an address"));
    let _held = state.lease(&network, request, "web").expect("free");
    let error = state.lease(&network, request, "other").expect_err("taken");
    assert_eq!(error.to_string(), "lease address `172.19.9.9`: address taken by container `web`");
}

#[test]
fn special_and_outside_addresses_are_not_leased() {
    let parent = StateParent::new("special");
    let network = default_network();
    let state = parent.network(&network);
    for address in ["172.19.0.0", "172.19.0.1", "172.19.255.255", "172.20.0.2"] {
        let request = AddressRequest::Exactly(address.parse().expect("an address"));
        let error = state.lease(&network, request, "one").expect_err(address);
        assert!(matches!(error.kind, Kind::InvalidAddress(_)), "{error}");
    }
    assert!(parent.is_empty(), "a refused request leaves nothing");
}

#[test]
fn a_full_subnet_says_so_and_counts_from_below_the_gateway_too() {
    let parent = StateParent::new("full");
    let network = network("small", "10.0.0.5/29");
    let state = parent.network(&network);
    let leases: Vec<_> =
        (0..5).map(|_| state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease")).collect();
    let addresses: Vec<_> = leases.iter().map(|lease| lease.address().octets()[3]).collect();
    assert_eq!(addresses, [6, 1, 2, 3, 4]);
    let error = state.lease(&network, AddressRequest::LowestFree, "one").expect_err("full");
    assert_eq!(error.kind, Kind::NoFreeAddress);
}

#[test]
fn a_lease_that_was_handed_over_lives_as_long_as_its_descriptor() {
    let parent = StateParent::new("handed");
    let network = default_network();
    let state = parent.network(&network);
    let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("a lease");
    let descriptor = lease.hand_over();
    assert_eq!(state.held_leases().expect("readable").len(), 1);
    drop(descriptor);
    assert_eq!(state.held_leases().expect("readable"), []);
}

#[test]
fn a_killed_holder_frees_its_address() {
    let parent = StateParent::new("killed");
    let network = default_network();
    let state = parent.network(&network);
    let mut child = spawn_holder(&parent);
    assert_eq!(leased_by(&mut child), "172.19.0.2");
    let request = AddressRequest::Exactly("172.19.0.2".parse().expect("an address"));
    let error = state.lease(&network, request, "one").expect_err("held");
    assert_eq!(error.kind, Kind::AddressTaken { holder: Some(child.id().to_string()) });
    child.kill().expect("our child");
    child.wait().expect("our child");
    assert!(state_path(&parent.path, "rabbitc0").join("172.19.0.2").exists(), "nobody tidied up");
    let lease = state.lease(&network, AddressRequest::LowestFree, "one").expect("free");
    assert_eq!(lease.address().to_string(), "172.19.0.2");
}

#[test]
fn fifty_processes_at_once_get_fifty_addresses() {
    let parent = StateParent::new("fifty");
    let network = default_network();
    let mut children: Vec<_> = (0..50).map(|_| spawn_holder(&parent)).collect();
    let addresses: HashSet<_> = children.iter_mut().map(leased_by).collect();
    assert_eq!(addresses.len(), 50);
    assert_eq!(parent.network(&network).held_leases().expect("readable").len(), 50);
    for mut child in children {
        drop(child.stdin.take());
        assert!(child.wait().expect("our child").success());
    }
    assert_eq!(std::fs::read_dir(state_path(&parent.path, "rabbitc0")).expect("there").count(), 0);
}
