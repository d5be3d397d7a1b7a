//! What others do to a network while containers are in it: the next command puts it right, or names who it was.

use crate::isolation::heard;
use crate::life::Place;
use crate::network::outside;
use crate::published::serve;
use crate::support::{Host, eventually};

fn reached(pid: u32, address: &str, name: &str) {
    eventually(&format!("`{name}` answers at {address}"), || heard(pid, address).as_deref() == Some(name));
}

#[test]
fn containers_whose_bridge_was_deleted_are_back_with_the_next_start() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let mut world = outside(&host);
    serve(&host, &place, "web", &["-p", "8080:80"]);
    serve(&host, &place, "plain", &[]);
    let web = place.field("web", ".State.Pid").parse().expect("a pid");
    reached(host.pid(), "172.19.0.3:80", "plain");
    host.shell("ip link del rabbitc0");
    assert_eq!(heard(host.pid(), "172.19.0.3:80"), None, "it is cut off");
    serve(&host, &place, "next", &[]);
    for (address, name) in [("172.19.0.2:80", "web"), ("172.19.0.3:80", "plain"), ("172.19.0.4:80", "next")] {
        reached(host.pid(), address, name);
    }
    reached(web, "172.19.0.3:80", "plain");
    for pid in [host.pid(), world.pid(), web] {
        reached(pid, "198.51.100.2:8080", "web");
    }
    reached(host.pid(), "127.0.0.1:8080", "web");
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    place.assert_nothing_left();
}

#[test]
fn ports_of_a_flushed_ruleset_are_back_with_the_next_update() {
    let Some(host) = Host::new() else { return };
    if !crate::support::has_program("nft") {
        return;
    }
    let place = Place::of(&host);
    serve(&host, &place, "web", &["-p", "8080:80"]);
    reached(host.pid(), "127.0.0.1:8080", "web");
    host.shell("nft flush ruleset");
    assert_eq!(heard(host.pid(), "127.0.0.1:8080"), None);
    assert_eq!(place.verb("update", &["--publish-add=8081:80", "web"]).code(), 0);
    for port in [8080, 8081] {
        reached(host.pid(), &format!("127.0.0.1:{port}"), "web");
    }
    place.assert_nothing_left();
}

#[test]
fn address_or_route_that_the_host_got_meanwhile_is_named() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    serve(&host, &place, "web", &[]);
    host.set_up(
        "ip link add uplink type bridge; ip addr add 172.19.0.3/32 dev uplink; ip link set uplink up",
    );
    let own = host.inside(&[], "true");
    assert_eq!(own.code(), 0);
    assert!(own.stderr.contains("172.19.0.3") && own.stderr.contains("the same address itself"), "{own:?}");
    host.set_up("ip addr del 172.19.0.3/32 dev uplink; ip route add 172.19.0.0/24 dev uplink");
    let lost = host.inside(&[], "true");
    assert_eq!(lost.code(), 0);
    assert!(lost.stderr.contains("172.19.0.3") && lost.stderr.contains("leads by `uplink`"), "{lost:?}");
    host.set_up("ip link del uplink");
    assert_eq!(host.inside(&[], "true").stderr, "");
    place.assert_nothing_left();
}

#[test]
fn namespace_that_was_removed_is_named_by_the_next_start() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    let rootfs = host.rootfs_flag();
    let path = host.directory().join("their-net");
    let shown = path.display().to_string();
    // As `ip netns add` makes one.
    host.set_up(&format!("touch {shown}; unshare --net={shown} ip link set lo up"));
    let network = format!("--network=ns:{shown}");
    let flags =
        ["-d", "--name=guest", network.as_str(), rootfs.as_str(), "--overlay", "/bin/sh", "-c", "sleep 100"];
    let ran = place.verb("run", &flags);
    assert_eq!(ran.code(), 0, "{ran:?}");
    // It goes on in it, as long as it runs.
    host.set_up(&format!("umount {shown}; rm {shown}"));
    assert_eq!(place.status("guest"), "running");
    let refused = place.verb("restart", &["-t0", "guest"]);
    assert_ne!(refused.code(), 0);
    assert!(refused.stderr.contains(&shown), "{refused:?}");
    place.assert_nothing_left();
}
