//! Networks that are kept: made, listed, looked at and removed, and containers on them.

mod containers;

use std::process::Stdio;

use crate::support::{Host, Ran, binary, eventually, finish, names};

/// A host with networks of its own.
struct Place {
    host: Host,
}

impl Place {
    fn new() -> Option<Place> {
        let host = Host::new()?;
        host.set_up("ip link set lo up");
        Some(Place { host })
    }

    fn root(&self) -> String {
        format!("--root={}", self.host.directory().join("store").display())
    }

    /// A verb of networks.
    fn network(&self, words: &[&str]) -> Ran {
        finish(self.command(&[&["network"], words].concat()).spawn().expect("nsenter runs"), None)
    }

    /// A verb with the directories of this place.
    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.host.command(binary());
        command.args(words).arg(self.root()).arg(format!("--runroot={}", self.host.state().display()));
        command
    }

    /// What inspecting a network shows.
    fn shown(&self, name: &str, format: &str) -> String {
        let ran = self.network(&["inspect", "--format", format, name]);
        assert_eq!(ran.code(), 0, "{ran:?}");
        ran.text().to_owned()
    }
}

#[test]
fn network_is_made_listed_looked_at_and_removed() {
    let Some(place) = Place::new() else { return };
    let made = place.network(&["create", "--label=tier=back", "back"]);
    assert_eq!(made.code(), 0, "{made:?}");
    let id = made.text().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    place.network(&["create", "back"]).refuses(125, &["network with name back already exists"]);
    assert_eq!(place.network(&["create", "--ignore", "back"]).text(), id);

    let listed = place.network(&["ls"]);
    let lines: Vec<&str> = listed.text().lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]);
    assert!(lines[1].starts_with(&id[..12]) && lines[1].contains("back"), "{lines:?}");
    let named =
        |filter: &str| place.network(&["ls", "-f", filter, "--format={{.Name}}"]).text().replace('\n', " ");
    assert_eq!(named("type=builtin"), "bridge host none");
    assert_eq!(named("type=custom"), "back");
    assert_eq!(named("label=tier=back"), "back");
    assert_eq!(named("driver=null"), "none");
    assert_eq!(named(&format!("id={}", &id[..7])), "back");
    assert_eq!(named("dangling=true"), "back");
    assert_eq!(named("name=^b.*k$"), "back");
    place.network(&["ls", "-f", "colour=red"]).refuses(125, &["--filter", "colour", "not known"]);
    let json = place.network(&["ls", "-f", "name=back", "--format=json"]);
    let json: serde_json::Value = serde_json::from_str(json.text()).expect("an object a line");
    assert_eq!(json["Labels"], "tier=back");
    assert_eq!(json["Internal"], "false");

    assert_eq!(
        place.shown("back", "{{.Id}} {{.Driver}} {{.Internal}} {{.EnableIPv6}}"),
        format!("{id} bridge false false")
    );
    assert_eq!(place.shown(&id[..5], "{{.Name}} {{.NetworkInterface}}"), format!("back br-{}", &id[..12]));
    assert_eq!(
        place.shown("back", "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}"),
        "172.20.0.0/16 172.20.0.1"
    );
    assert_eq!(
        place.shown("bridge", "{{.NetworkInterface}} {{(index .IPAM.Config 0).Subnet}}"),
        "rabbitc0 172.19.0.0/16"
    );
    let both = place.network(&["inspect", "nothing", "back"]);
    both.refuses(1, &["network nothing not found"]);
    assert!(both.stdout.contains(&id), "the other is shown all the same");

    assert_eq!(place.network(&["exists", "back"]).code(), 0);
    assert_eq!(place.network(&["exists", "front"]).code(), 1);
    assert_eq!(place.network(&["rm", "back"]).text(), "back");
    place.network(&["rm", "back"]).refuses(1, &["network back not found"]);
    assert_eq!(place.network(&["rm", "--force", "back"]).code(), 0);
    place.network(&["rm", "host"]).refuses(1, &["host is a pre-defined network and cannot be removed"]);
    assert_eq!(names(&place.host.directory().join("store/networks")), ["lock"], "nothing else is kept");
}

#[test]
fn network_that_can_not_be_is_refused_with_its_flag() {
    let Some(place) = Place::new() else { return };
    place.host.set_up(
        "ip link add wire type dummy 2>/dev/null || ip link add wire type veth peer name other; \
                       ip addr add 10.9.0.5/16 dev wire; ip link set wire up",
    );
    place.network(&["create", "--subnet=10.5.0.0/16", "taken"]);
    for (flags, parts) in [
        (&["host"][..], &["predefined network"][..]),
        (&["a/b"], &["no name of a network"]),
        (&["--driver=overlay", "a"], &["--driver", "overlay"]),
        (&["--subnet=10.5.3.0/24", "a"], &["--subnet", "pool overlaps", "`taken`"]),
        (&["--subnet=172.19.0.0/24", "a"], &["--subnet", "pool overlaps", "`bridge`"]),
        (&["--subnet=10.9.1.0/24", "a"], &["10.9.1.0/24", "overlaps", "`wire`"]),
        (&["--subnet=10.6.0.0/16", "--gateway=10.7.0.1", "a"], &["no matching subnet for gateway 10.7.0.1"]),
        (
            &["--subnet=10.6.0.0/16", "--ip-range=10.7.0.0/24", "a"],
            &["no matching subnet for range 10.7.0.0/24"],
        ),
        (&["--subnet=10.6.0.0/16", "--subnet=10.7.0.0/16", "a"], &["--subnet", "the second of its family"]),
        (&["--subnet=10.6.0.0/16", "--subnet=fd00:6::/120", "a"], &["fewer addresses"]),
        (&["--subnet=10.6.0.0/31", "a"], &["--subnet", "1 to 30"]),
        (&["--opt=colour=red", "a"], &["--opt", "colour=red", "no such option"]),
        (&["--opt=mtu=12", "a"], &["--opt", "68 bytes"]),
        (&["--ipam-driver=dhcp", "a"], &["--ipam-driver"]),
        (&["--opt=com.docker.network.bridge.name=rabbitc0", "a"], &["already in use by network `bridge`"]),
    ] {
        place.network(&[&["create"], flags].concat()).refuses(125, parts);
    }
    assert_eq!(place.network(&["ls", "-q", "-f", "type=custom"]).text().lines().count(), 1);
}

/// Of many that make networks at once, each gets another subnet, and of those of one name one alone makes it; whoever is killed
/// meanwhile reserves nothing.
#[test]
fn networks_made_at_once_have_names_and_subnets_of_their_own() {
    let Some(place) = Place::new() else { return };
    let begin = |name: &str| {
        let mut command = place.command(&["network", "create", name]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nsenter runs")
    };
    let mut killed: Vec<_> = (0..4).map(|number| begin(&format!("killed{number}"))).collect();
    for child in &mut killed {
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
    }
    let begun: Vec<_> = (0..6).map(|number| begin(&format!("net{}", number / 2))).collect();
    let codes: Vec<i32> = begun.into_iter().map(|child| finish(child, None).code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 3, "one of each name: {codes:?}");
    let mut subnets: Vec<String> = (0..3)
        .map(|number| place.shown(&format!("net{number}"), "{{(index .IPAM.Config 0).Subnet}}"))
        .collect();
    subnets.sort();
    subnets.dedup();
    assert_eq!(subnets.len(), 3, "{subnets:?}");
    // Whole or not at all, and free afterwards.
    for number in 0..4 {
        let name = format!("killed{number}");
        place.network(&["rm", "--force", &name]);
        assert_eq!(place.network(&["create", &name]).code(), 0);
    }
    assert_eq!(place.network(&["prune", "--force"]).code(), 0);
    eventually("no draft is left", || names(&place.host.directory().join("store/networks")) == ["lock"]);
}
