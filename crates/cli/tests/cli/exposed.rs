//! `rabbitc ports`: what this host exposes, to whom, and what is in the way.

use crate::life::Place;
use crate::published::serve;
use crate::support::{Host, has_program};

#[test]
fn what_the_host_exposes_is_listed_with_what_its_firewall_does_to_it() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    assert_eq!(place.verb("ports", &["-n"]).text(), "", "nothing yet");
    serve(&host, &place, "web", &["-p", "8080:80", "-p", "127.0.0.1:8443:443"]);
    serve(&host, &place, "dns", &["-p", "53:53/udp", "-n", "lab0", "-i", "10.88.0.1/24"]);
    serve(&host, &place, "silent", &[]);
    let table = place.verb("ports", &[]);
    let lines: Vec<Vec<&str>> = table.text().lines().map(|line| line.split_whitespace().collect()).collect();
    let id = |name: &str| place.field(name, ".Id")[..12].to_owned();
    let (web, dns) = (id("web"), id("dns"));
    assert_eq!(table.stderr, "");
    assert_eq!(lines[0].join(" "), "CONTAINER ID NAME HOST PROTOCOL CONTAINER NETWORK ACCESS");
    assert_eq!(
        lines[1..],
        [
            [dns.as_str(), "dns", "*:53", "udp", "10.88.0.2:53", "lab0", "open"],
            [web.as_str(), "web", "*:8080", "tcp", "172.19.0.2:80", "bridge", "open"],
            [web.as_str(), "web", "127.0.0.1:8443", "tcp", "172.19.0.2:443", "bridge", "local"],
        ]
    );
    let names = |filters: &[&str]| {
        let flags: Vec<&str> = filters
            .iter()
            .flat_map(|filter| ["-f", filter])
            .chain(["--format={{.Name}}:{{.HostPort}}"])
            .collect();
        place.verb("ports", &flags).text().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&["name=web"]), "web:8080 web:8443");
    assert_eq!(names(&["protocol=udp"]), "dns:53");
    assert_eq!(names(&["access=open", "network=bridge"]), "web:8080");
    assert_eq!(names(&["port=8443"]), "web:8443");
    place.verb("ports", &["-f", "colour=red"]).refuses(125, &["--filter", "colour", "`name=`"]);
    let line = place.verb("ports", &["-f", "port=53", "--format=json"]);
    let object: serde_json::Value = serde_json::from_str(line.text()).expect("JSON");
    assert_eq!(
        (&object["HostPort"], &object["ContainerAddress"], &object["Access"]),
        (&"53".into(), &"10.88.0.2".into(), &"open".into())
    );
    if has_program("nft") {
        let rules = "chain guard { type filter hook forward priority 0; policy drop; iifname lab0 accept; oifname lab0 accept; }";
        host.shell(&format!("nft 'table inet corporate {{ {rules}; }}'"));
        assert_eq!(names(&["access=dropped"]), "web:8080", "what is local needs no way through");
        let table = place.verb("ports", &[]);
        assert_eq!(table.stderr.matches("drops what is forwarded to `bridge`").count(), 1, "{table:?}");
        assert!(table.stderr.contains("nft insert rule inet corporate guard iifname rabbitc0"), "{table:?}");
        let remedy = place.verb("ports", &["-f", "port=8080", "--format={{.Firewall}}|{{.Remedy}}"]);
        assert!(remedy.text().starts_with("guard of inet corporate (policy drop)|nft insert"), "{remedy:?}");
    }
    assert_eq!(place.verb("stop", &["-t0", "-a"]).code(), 0);
    assert_eq!(place.verb("ports", &["-n"]).text(), "");
    place.assert_nothing_left();
}

#[test]
fn firewall_is_told_of_a_network_that_asks_for_it_at_every_start() {
    let Some(host) = Host::new() else { return };
    if !["nft", "iptables-nft"].into_iter().all(has_program) {
        return;
    }
    let place = Place::of(&host);
    host.shell(
        "iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER; \
         iptables-nft -A DOCKER-USER -i evil0 -j DROP",
    );
    let rules = || host.shell("iptables-nft -S DOCKER-USER");
    let before = rules();
    let plain = host.inside(&[], "true");
    assert!(plain.stderr.contains("firewall drops"), "unasked, it is left alone: {plain:?}");
    assert_eq!(rules(), before);
    serve(&host, &place, "web", &["--firewall-integrate", "-p", "8080:80"]);
    assert_eq!(rules().matches("rabbitc0").count(), 4, "two rules with comments: {}", rules());
    assert_eq!(host.inside(&[], "true").stderr, "", "nothing is in the way of the whole network");
    assert_eq!(place.verb("stop", &["-t0", "web"]).code(), 0);
    crate::support::eventually("it goes with the network", || rules() == before);
    // It was asked for each start.
    assert_eq!(place.verb("start", &["web"]).code(), 0);
    assert_eq!(rules().matches("rabbitc0").count(), 4);
    let rootfs = host.rootfs_flag();
    host.run(&[&rootfs, "--network=none", "--firewall-integrate", "--cmd=/bin/true"])
        .refuses(125, &["--firewall-integrate", "there is no bridge"]);
    assert_eq!(place.verb("rm", &["-f", "web"]).code(), 0);
    crate::support::eventually("it goes with the network", || rules() == before);
    place.assert_nothing_left();
}
