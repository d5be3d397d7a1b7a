//! Containers on networks that are kept: several at once, put on and taken off while they run, without a way out, on a wire.

use super::Place;
use crate::support::{Ran, finish};

const WAITS: &str = "trap 'exit 3' TERM; while :; do sleep 0.1; done";

impl Place {
    /// `run` or `create` of a shell's script in the host's root directory.
    fn script(&self, verb: &str, flags: &[&str], script: &str) -> Ran {
        let rootfs = self.host.rootfs_flag();
        // Who pings needs a raw socket.
        let fixed = ["--cap-add=NET_RAW", &*rootfs, "/bin/sh", "-c", script];
        let command = &mut self.command(&[&[verb][..], flags].concat());
        finish(command.args(fixed).spawn().expect("nsenter runs"), None)
    }

    fn inside(&self, container: &str, script: &str) -> Ran {
        finish(
            self.command(&["exec"]).args([container, "/bin/sh", "-c", script]).spawn().expect("runs"),
            None,
        )
    }

    fn verb(&self, words: &[&str]) -> Ran {
        finish(self.command(words).spawn().expect("nsenter runs"), None)
    }

    /// One of the fields that inspecting a container shows.
    fn field(&self, container: &str, field: &str) -> String {
        self.verb(&["inspect", &format!("--format={{{{{field}}}}}"), container]).text().to_owned()
    }

    fn end(&self) {
        assert_eq!(self.verb(&["rm", "-af"]).code(), 0);
        assert_eq!(self.network(&["prune", "-f"]).code(), 0);
        self.host.shell(&format!("rm -rf {}/store", self.host.directory().display()));
        self.host.assert_nothing_left();
    }
}

const ADDRESSES: &str = "ip -o addr show scope global | busybox sed 's/ \\+/ /g' | busybox cut -d' ' -f2,4; ip route | grep default";

#[test]
fn container_has_an_interface_in_each_of_its_networks_and_has_them_again_when_it_starts_again() {
    let Some(place) = Place::new() else { return };
    assert_eq!(place.network(&["create", "--subnet=10.5.0.0/24", "front"]).code(), 0);
    let both = ["create", "--subnet=10.6.0.0/24", "--subnet=fd00:6::/64", "--ip-range=10.6.0.64/26", "back"];
    assert_eq!(place.network(&both).code(), 0);
    let flags = [
        "-d",
        "--name=web",
        "--network=front:ip=10.5.0.7,alias=www",
        "--network=name=back,mac-address=02:42:ac:11:00:02",
    ];
    assert_eq!(place.script("run", &flags, WAITS).code(), 0);
    let check = || {
        let seen = place.inside("web", ADDRESSES);
        let lines: Vec<&str> = seen.text().lines().map(str::trim).collect();
        assert_eq!(
            lines,
            ["eth0 10.5.0.7/24", "eth1 10.6.0.64/24", "eth1 fd00:6::40/64", "default via 10.5.0.1 dev eth0"],
            "{seen:?}"
        );
        let networks = ".NetworkSettings.Networks";
        assert_eq!(place.field("web", &format!("{networks}.front.IPAddress")), "10.5.0.7");
        assert_eq!(place.field("web", &format!("{networks}.front.Aliases")), "[www]");
        assert_eq!(place.field("web", &format!("{networks}.back.MacAddress")), "02:42:ac:11:00:02");
        assert_eq!(place.field("web", &format!("{networks}.back.GlobalIPv6Address")), "fd00:6::40");
        assert_eq!(place.field("web", &format!("{networks}.back.IPv6Gateway")), "fd00:6::1");
        assert_eq!(place.field("web", ".HostConfig.NetworkMode"), "front");
        let shown =
            place.shown("back", "{{range .Containers}}{{.Name}} {{.IPv4Address}} {{.IPv6Address}}{{end}}");
        assert_eq!(shown, "web 10.6.0.64/24 fd00:6::40/64");
        place.network(&["rm", "back"]).refuses(1, &["network back has active endpoints (name:\"web\""]);
    };
    check();
    // Neighbours reach it, and others of the range follow.
    let neighbour = place.script(
        "run",
        &["--rm", "--network=back"],
        "ip -o -4 addr show dev eth0; ping -c1 -W5 10.6.0.64",
    );
    assert!(neighbour.text().contains("10.6.0.65/24"), "{neighbour:?}");
    let chosen = place.script("run", &["--rm", "--network=back", "--ip6=fd00:6::99"], ADDRESSES);
    assert!(chosen.text().contains("10.6.0.153/24") && chosen.text().contains("fd00:6::99/64"), "{chosen:?}");
    assert_eq!(place.verb(&["restart", "web"]).code(), 0);
    check();
    assert_eq!(place.verb(&["stop", "web"]).code(), 0);
    place.network(&["rm", "front"]).refuses(1, &["network is being used", "associated containers", "web"]);
    assert_eq!(place.network(&["prune", "-f"]).text(), "", "a stopped container has them");
    assert_eq!(place.field("web", ".NetworkSettings.Networks.front.IPAMConfig.IPv4Address"), "10.5.0.7");
    assert_eq!(place.verb(&["start", "web"]).code(), 0);
    check();
    assert_eq!(
        place.verb(&["ps", "--filter=network=back", "--format={{.Names}} {{.Networks}}"]).text(),
        "web front,back"
    );
    assert_eq!(place.network(&["rm", "--force", "--time=1", "front"]).text(), "front", "with its container");
    assert_eq!(place.verb(&["ps", "-aq"]).text(), "");
    place.end();
}

#[test]
fn container_is_put_on_a_network_and_taken_off_while_it_runs() {
    let Some(place) = Place::new() else { return };
    for (name, subnet) in [("one", "10.5.0.0/24"), ("two", "10.6.0.0/24")] {
        assert_eq!(place.network(&["create", &format!("--subnet={subnet}"), name]).code(), 0);
    }
    assert_eq!(place.script("run", &["-d", "--name=web"], WAITS).code(), 0);
    let seen = || -> Vec<String> {
        place
            .inside("web", ADDRESSES)
            .text()
            .lines()
            .filter(|line| !line.contains("fd"))
            .map(|line| line.trim().to_owned())
            .collect()
    };
    assert_eq!(place.network(&["connect", "--ip=10.5.0.9", "--alias=www", "one", "web"]).code(), 0);
    assert_eq!(seen(), ["eth0 172.19.0.2/16", "eth1 10.5.0.9/24", "default via 172.19.0.1 dev eth0"]);
    place.network(&["connect", "one", "web"]).refuses(125, &["endpoint with its name exists in network one"]);
    place.network(&["connect", "--ip=10.6.1.9", "two", "web"]).refuses(125, &["10.6.1.9", "outside"]);
    assert_eq!(place.network(&["connect", "two", "web"]).code(), 0);
    assert_eq!(
        place
            .script(
                "run",
                &["--rm", "--network=two"],
                "ping -c1 -W5 10.6.0.2 >/dev/null && ip -o -4 addr show dev eth0 | grep -o 10.6.0.3"
            )
            .text(),
        "10.6.0.3"
    );
    // Its address is taken as long as it runs, whoever has made the lease.
    place.script("run", &["--rm", "--network=one:ip=10.5.0.9"], "true").refuses(125, &["10.5.0.9", "taken"]);
    assert_eq!(place.field("web", ".NetworkSettings.Networks.one.Aliases"), "[www]");
    // The default route moves to the next network.
    assert_eq!(place.network(&["disconnect", "bridge", "web"]).code(), 0);
    assert_eq!(seen(), ["eth1 10.5.0.9/24", "eth2 10.6.0.2/24", "default via 10.5.0.1 dev eth1"]);
    assert_eq!(place.network(&["disconnect", "two", "web"]).code(), 0);
    assert_eq!(place.network(&["rm", "two"]).text(), "two");
    place.network(&["disconnect", "bridge", "web"]).refuses(125, &["is not connected to network bridge"]);
    let free = place.script("run", &["--rm"], "ip -o -4 addr show dev eth0 | grep -o '172.19.0.2/16'");
    assert_eq!(free.text(), "172.19.0.2/16", "what it had is free");
    // Kept, it has them so when it starts again.
    assert_eq!(place.verb(&["restart", "web"]).code(), 0);
    assert_eq!(seen(), ["eth0 10.5.0.9/24", "default via 10.5.0.1 dev eth0"]);
    assert_eq!(place.network(&["reload", "web"]).text().len(), 64);
    // And of one that does not run it is written down.
    assert_eq!(place.verb(&["stop", "web"]).code(), 0);
    assert_eq!(place.network(&["connect", "bridge", "web"]).code(), 0);
    assert_eq!(place.network(&["disconnect", "one", "web"]).code(), 0);
    assert_eq!(place.verb(&["start", "web"]).code(), 0);
    assert_eq!(seen(), ["eth0 172.19.0.2/16", "default via 172.19.0.1 dev eth0"]);
    place.end();
}

#[test]
fn container_without_a_network_of_its_own_is_put_on_none() {
    let Some(place) = Place::new() else { return };
    place.network(&["create", "one"]);
    assert_eq!(place.script("run", &["-d", "--name=hosts", "--network=host"], WAITS).code(), 0);
    place.network(&["connect", "one", "hosts"]).refuses(125, &["sharing network namespace"]);
    place.network(&["connect", "none", "hosts"]).refuses(125, &["sharing network namespace"]);
    place.network(&["connect", "nothing", "hosts"]).refuses(125, &["network nothing not found"]);
    place.network(&["connect", "one", "nobody"]).refuses(125, &["no such container"]);
    for (flags, parts) in [
        (&["--network=nothing"][..], &["network nothing not found"][..]),
        (&["--network=one:colour=red"], &["--network", "colour"]),
        (&["--network=one:ip=10.0.0.300"], &["--network", "10.0.0.300"]),
        (&["--network=one", "--network=one:ip=172.20.0.9"], &["--network", "named twice"]),
        (
            &["--network=one", "--network=bridge", "--ip=172.20.0.9"],
            &["--container-ip", "which of the networks"],
        ),
        (&["--network=one", "--network-ip=10.0.0.1/24"], &["--network-ip", "has its own"]),
        (&["--network=one:interface_name=a/b"], &["a/b"]),
        (&["--network-alias=www"], &["--network-alias", "user defined networks"]),
        (&["--ip6=fd00::9"], &["--ip6", "user defined networks"]),
        (&["--network=one", "--ip6=fd00::9"], &["fd00::9", "no IPv6"]),
    ] {
        place.script("run", &[&["--rm"], flags].concat(), "true").refuses(125, parts);
    }
    place.end();
}

#[test]
fn nothing_comes_into_an_internal_network_and_nothing_leaves_it() {
    let Some(place) = Place::new() else { return };
    let mut world = crate::network::outside(&place.host);
    place.network(&["create", "--internal", "--subnet=10.5.0.0/24", "inner"]);
    place.network(&["create", "--subnet=10.6.0.0/24", "outer"]);
    assert_eq!(place.shown("inner", "{{.Internal}}"), "true");
    let fetch = "busybox timeout 5 wget -q -O - http://198.51.100.1:8080/";
    assert_eq!(place.script("run", &["--rm", "--network=outer"], fetch).text(), "world");
    // Who routes by the host all the same is stopped there, in both directions, though the others know the way back.
    let waits = ["-d", "--name=in", "--network=inner", "--cap-add=NET_ADMIN"];
    assert_eq!(place.script("run", &waits, WAITS).code(), 0);
    assert_eq!(place.script("run", &["-d", "--name=out", "--network=outer"], WAITS).code(), 0);
    assert_eq!(place.inside("in", "ip route | grep default; true").text(), "");
    let ping = |from: &str, address: &str| {
        place
            .inside(from, &format!("ping -c1 -W2 {address} >/dev/null && echo there || echo closed"))
            .text()
            .to_owned()
    };
    assert_eq!(ping("in", "10.5.0.1"), "there", "the host");
    assert_eq!(place.inside("in", "ip route add default via 10.5.0.1").code(), 0);
    assert_eq!(ping("in", "10.6.0.2"), "closed");
    assert_eq!(ping("out", "10.5.0.2"), "closed");
    let beside =
        place.script("run", &["--rm", "--network=inner"], "ping -c1 -W5 10.5.0.2 >/dev/null && echo there");
    assert_eq!(beside.text(), "there", "neighbours reach each other");
    // Beside another network it takes no default route from that.
    let both = ["--rm", "--network=inner", "--network=outer"];
    let both = place.script("run", &both, &format!("{fetch}; ip route | grep default"));
    let lines: Vec<&str> = both.text().lines().map(str::trim).collect();
    assert_eq!(lines, ["world", "default via 10.6.0.1 dev eth1"], "{both:?}");
    let publishes = ["--rm", "--network=inner", "-p", "8080:80"];
    place.script("run", &publishes, "true").refuses(125, &["--publish", "internal"]);
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    place.end();
}

#[test]
fn macvlan_container_has_an_address_on_the_wire_of_the_host() {
    let Some(place) = Place::new() else { return };
    place.host.set_up("ip link add wire type veth peer name far; ip addr add 10.9.0.1/24 dev far; ip link set far up; ip link set wire up");
    if !place
        .host
        .shell("ip link add try0 link wire type macvlan 2>&1; ip link del try0 2>/dev/null; true")
        .is_empty()
    {
        crate::support::skip("this kernel has no macvlan");
        return;
    }
    place.network(&["create", "-d", "macvlan", "-o", "parent=missing", "--subnet=10.8.0.0/24", "lost"]);
    place.script("run", &["--rm", "--network=lost"], "true").refuses(125, &["parent interface", "missing"]);
    let wire = ["create", "-d", "macvlan", "-o", "parent=wire", "--subnet=10.9.0.0/24", "lan"];
    assert_eq!(place.network(&wire).code(), 0);
    let seen = place.script(
        "run",
        &["--rm", "--network=lan:ip=10.9.0.5"],
        &format!("ping -c1 -W5 10.9.0.1 >/dev/null && {ADDRESSES}"),
    );
    let lines: Vec<&str> = seen.text().lines().map(str::trim).collect();
    assert_eq!(lines, ["eth0 10.9.0.5/24", "default via 10.9.0.1 dev eth0"], "{seen:?}");
    place
        .script("run", &["--rm", "--network=lan", "-p", "8080:80"], "true")
        .refuses(125, &["--publish", "addresses of their own"]);
    // Put on it while it runs, beside a bridge.
    assert_eq!(place.script("run", &["-d", "--name=web"], WAITS).code(), 0);
    assert_eq!(place.network(&["connect", "--ip=10.9.0.6", "lan", "web"]).code(), 0);
    assert_eq!(place.inside("web", "ping -c1 -W5 10.9.0.1 >/dev/null && echo there").text(), "there");
    place.network(&["rm", "lan"]).refuses(1, &["active endpoints", "web"]);
    assert_eq!(place.network(&["disconnect", "lan", "web"]).code(), 0);
    assert_eq!(place.network(&["rm", "lan", "lost"]).text(), "lan\nlost");
    place.host.shell("ip link del wire");
    place.end();
}

#[test]
fn pods_and_mtu_and_names_of_bridges() {
    let Some(place) = Place::new() else { return };
    let flags = [
        "create",
        "--subnet=10.5.0.0/24",
        "-o",
        "mtu=1400",
        "-o",
        "com.docker.network.bridge.name=mybr",
        "one",
    ];
    assert_eq!(place.network(&flags).code(), 0);
    let made = place.verb(&["pod", "create", "--name=group", "--network=one", "--ip=10.5.0.8"]);
    assert_eq!(made.code(), 0, "{made:?}");
    let seen = place.script(
        "run",
        &["--rm", "--pod=group"],
        "ip -o -4 addr show dev eth0 | grep -o 10.5.0.8; cat /sys/class/net/eth0/mtu",
    );
    assert_eq!(seen.text(), "10.5.0.8\n1400", "{seen:?}");
    assert!(place.host.shell("ip link show mybr").contains("mtu 1400"));
    assert_eq!(place.verb(&["pod", "rm", "-f", "group"]).code(), 0);
    place.end();
}
