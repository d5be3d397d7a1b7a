//! Networks of CNI plugins, with Debian's own: connected, published, told of, and taken back whatever ends rabbitc.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::life::Place;
use crate::network::outside;
use crate::support::{Background, Host, binary, eventually, names, skip};

/// Where Debian's package has them.
const PLUGINS: &str = "/usr/lib/cni";

/// A bridge with addresses of both families, masquerading, a name server, and ports.
const BRIDGE: &str = r#"{"cniVersion": "1.0.0", "name": "lab", "plugins": [
    {"type": "bridge", "bridge": "lab0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
     "dns": {"nameservers": ["192.0.2.53"], "search": ["lab.example"], "options": ["ndots:3"]},
     "ipam": {"type": "host-local", "dataDir": "DATA", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
              "ranges": [[{"subnet": "10.88.0.0/16"}], [{"subnet": "fd12::/64"}]]},
     "capabilities": {"ips": true, "mac": true}},
    MORE
    {"type": "portmap", "capabilities": {"portMappings": true}}]}"#;

/// A host with a network `lab`.
struct Lab {
    host: Host,
    lists: PathBuf,
    plugins: PathBuf,
    data: PathBuf,
}

impl Lab {
    fn new() -> Option<Lab> {
        let host = Host::new()?;
        if !std::path::Path::new(PLUGINS).join("bridge").exists() {
            skip("no CNI plugins: package containernetworking-plugins");
            return None;
        }
        let [lists, plugins, data] = ["net.d", "plugins", "leases"].map(|name| host.directory().join(name));
        for directory in [&lists, &plugins] {
            std::fs::create_dir(directory).expect("a directory");
        }
        let lab = Lab { host, lists, plugins, data };
        lab.describe("10-lab.conflist", &BRIDGE.replace("MORE", ""));
        Some(lab)
    }

    /// Puts a list there, whose addresses are noted in the test's own directory.
    fn describe(&self, file: &str, list: &str) {
        let list = list.replace("DATA", &self.data.display().to_string());
        std::fs::write(self.lists.join(file), list).expect("a list");
    }

    /// A plugin of the test's own, which has the list of its arguments in its environment as every other.
    fn plugin(&self, name: &str, script: &str) {
        let path = self.plugins.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a plugin");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// The flags that name lists and plugins.
    fn flags(&self) -> [String; 3] {
        [
            format!("--cni-config-dir={}", self.lists.display()),
            format!("--cni-bin-dir={}", self.plugins.display()),
            format!("--cni-bin-dir={PLUGINS}"),
        ]
    }

    fn with<'a>(&self, own: &'a [String; 3], flags: &[&'a str]) -> Vec<&'a str> {
        own.iter().map(String::as_str).chain(["--network=cni:lab"]).chain(flags.iter().copied()).collect()
    }

    fn background(&self, flags: &[&str], name: &str, script: &str) -> Background {
        self.host.background(&self.with(&self.flags(), flags), name, script)
    }

    fn inside(&self, flags: &[&str], script: &str) -> crate::support::Ran {
        self.host.inside(&self.with(&self.flags(), flags), script)
    }

    /// What plugins have made for containers: chains of their own, and addresses.
    fn traces(&self) -> Vec<String> {
        let rules = self.host.shell("iptables-save 2>/dev/null; ip6tables-save 2>/dev/null");
        let of_container = |line: &&str| {
            line.starts_with(":CNI-DN-") || line.contains("id: \\\"") || line.contains("dnat name")
        };
        let mut found: Vec<String> = rules.lines().filter(of_container).map(str::to_owned).collect();
        let leases = names(&self.data.join("lab"));
        let is_lease = |name: &String| name.starts_with("10.") || name.starts_with("fd");
        found.extend(leases.into_iter().filter(is_lease).map(|name| format!("lease {name}")));
        found.extend(names(&self.host.state().join("cni")).into_iter().map(|name| format!("state {name}")));
        let links = self.host.shell("ip -oneline link show type veth");
        found.extend(links.lines().map(str::to_owned));
        found
    }

    fn assert_nothing_left(&self) {
        eventually("plugins have taken all of it back", || self.traces().is_empty());
        // The plugin's bridge is the network's, and not a container's.
        self.host.set_up("ip link del lab0 2>/dev/null || true");
        self.host.assert_nothing_left();
    }
}

#[test]
fn container_of_a_bridge_plugin_has_addresses_names_and_ports() {
    let Some(lab) = Lab::new() else { return };
    let host = &lab.host;
    let mut world = outside(host);
    let script = "ip -oneline addr show dev eth0; ip route; cat /etc/hosts /etc/resolv.conf; mkdir -p /www; \
                  echo served > /www/index.html; httpd -p 80 -h /www; read end";
    let flags = ["-p=8080:80", "-h=inner", "--ip=10.88.7.7", "--mac-address=02:42:ac:11:00:02"];
    let web = lab.background(&flags, "up", script);
    let fetch =
        |command: &str| host.shell(&format!("{command} busybox wget -q -O - http://198.51.100.2:8080/"));
    let served = || host.shell("busybox wget -q -O - http://10.88.7.7/ 2>/dev/null || true");
    eventually("its server answers", || served() == "served");
    assert_eq!(fetch(&format!("nsenter -t {} -n", world.pid())), "served", "another host");
    assert_eq!(fetch(""), "served", "the host itself");
    let neighbour = lab.inside(&[], "wget -q -O - http://10.88.7.7/; wget -q -O - http://198.51.100.1:8080/");
    assert_eq!(neighbour.text(), "served\nworld", "the network leads out");
    let ran = web.release();
    let text = ran.text();
    for part in [
        "inet 10.88.7.7/16",
        "inet6 fd12::",
        "default via 10.88.0.1 dev eth0",
        "10.88.7.7\tinner",
        "nameserver 192.0.2.53",
        "search lab.example",
        "options ndots:3",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(
        text.lines().filter(|line| line.starts_with("fd12::") && line.ends_with("\tinner")).count(),
        1
    );
    std::fs::remove_dir_all(host.rootfs().join("www")).expect("the server's pages");
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    lab.assert_nothing_left();
}

#[test]
fn what_a_person_asks_for_goes_before_what_plugins_say() {
    let Some(lab) = Lab::new() else { return };
    let flags =
        ["--dns=192.0.2.1", "--dns-search=own", "--add-host=db:192.0.2.9", "--add-host=host:host-gateway"];
    let ran = lab.inside(&flags, "cat /etc/resolv.conf /etc/hosts");
    let text = ran.text();
    for part in
        ["nameserver 192.0.2.1\n", "search own\n", "options ndots:3", "192.0.2.9\tdb", "10.88.0.1\thost"]
    {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert!(!text.contains("192.0.2.53") && !text.contains("lab.example"), "{text}");
    let ran = lab.inside(&["--userns=auto"], "cat /proc/self/uid_map; ip -oneline -4 addr show dev eth0");
    assert!(ran.text().contains("inet 10.88.0."), "with users of its own: {ran:?}");
    lab.assert_nothing_left();
}

#[test]
fn routed_plugin_and_loopback_connect_too() {
    let Some(lab) = Lab::new() else { return };
    lab.describe(
        "10-lab.conflist",
        r#"{"cniVersion": "0.4.0", "name": "lab", "plugins": [{"type": "loopback"},
            {"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "dataDir": "DATA", "subnet": "10.89.0.0/24",
             "routes": [{"dst": "0.0.0.0/0"}]}}]}"#,
    );
    let mut world = outside(&lab.host);
    let script = "ip -oneline -4 addr show; wget -q -O - http://198.51.100.1:8080/";
    let ran = lab.inside(&[], script);
    assert!(ran.text().contains("inet 10.89.0.2/24") && ran.text().ends_with("\nworld"), "{ran:?}");
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    lab.assert_nothing_left();
}

#[test]
fn container_that_lives_on_is_inspected_and_removed() {
    let Some(lab) = Lab::new() else { return };
    let place = Place::of(&lab.host);
    let (own, rootfs) = (lab.flags(), lab.host.rootfs_flag());
    let fixed = [rootfs.as_str(), "/bin/sh", "-c", crate::life::WAITS];
    let made =
        place.verb("run", &[&lab.with(&own, &["-d", "--name=web", "-p=8080:80"])[..], &fixed].concat());
    assert_eq!(made.code(), 0, "{made:?}");
    let shown = |field: &str| place.field("web", &format!(".NetworkSettings.Networks.lab.{field}"));
    assert_eq!((shown("IPAddress"), shown("Gateway")), ("10.88.0.2".into(), "10.88.0.1".into()));
    assert_eq!(shown("GlobalIPv6Address"), "fd12::2");
    assert_eq!(shown("CNIResult.cniVersion"), "1.0.0");
    assert_eq!(place.verb("ps", &["-q", "--filter=network=lab"]).text().len(), 12);
    assert_eq!(place.verb("restart", &["-t=1", "web"]).code(), 0);
    let leases = lab.traces().iter().filter(|line| line.starts_with("lease 10.")).count();
    assert_eq!(leases, 1, "that of before was taken back: {:?}", lab.traces());
    // Whoever stands behind it is killed: the next command with containers takes back what it has left.
    let (monitor, pid) = (place.monitor("web"), place.field("web", ".State.Pid"));
    lab.host.shell(&format!("kill -KILL {monitor} {pid}"));
    eventually("it has ended", || place.status("web") != "running");
    assert_eq!(place.verb("start", &["web"]).code(), 0);
    assert_eq!(place.verb("rm", &["-f", "web"]).code(), 0);
    eventually("plugins have taken all of it back", || lab.traces().is_empty());
    lab.host.set_up("ip link del lab0");
    place.assert_nothing_left();
}

#[test]
fn killed_at_any_plugin_all_of_it_is_taken_back_by_the_next_command() {
    let Some(lab) = Lab::new() else { return };
    // It kills rabbitc, its parent, while it adds.
    lab.plugin(
        "killer",
        "[ $CNI_COMMAND != ADD ] && exit 0; kill -KILL $PPID; sleep 0.2; cat | sed 's/.*\"prevResult\":\\({.*}\\),\"type\".*/\\1/'",
    );
    let rootfs = lab.host.rootfs_flag();
    let list = BRIDGE.replace("MORE", "");
    let first = list.replacen("[\n", "[{\"type\": \"killer\"},\n", 1);
    let last = list.replace("true}}]}", "true}}, {\"type\": \"killer\"}]}");
    for list in [first, BRIDGE.replace("MORE", "{\"type\": \"killer\"},"), last] {
        lab.describe("10-lab.conflist", &list);
        let ran = lab.inside(&["-p=8080:80"], "true");
        assert_eq!(ran.code(), 137, "{ran:?}");
        assert_eq!(lab.traces().iter().filter(|line| line.starts_with("state ")).count(), 1);
        // Not while the plugin still works at it: it has its lock.
        let next = || lab.host.run(&[&rootfs, "--network=none", "--cmd=/bin/true"]);
        eventually("the next command has it taken back", || {
            let ran = next();
            assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
            lab.traces().is_empty()
        });
    }
    lab.describe("10-lab.conflist", &BRIDGE.replace("MORE", ""));
    let mut running = lab.background(&["-p=8080:80"], "up", "sleep 1000");
    assert!(lab.traces().len() > 4, "{:?}", lab.traces());
    running.signal("KILL");
    assert_eq!(running.finish().code(), 137);
    eventually("the next command has it taken back", || {
        assert_eq!(lab.host.run(&[&rootfs, "--network=none", "--cmd=/bin/true"]).code(), 0);
        lab.traces().is_empty()
    });
    lab.assert_nothing_left();
}

#[test]
fn failure_of_a_plugin_is_told_in_its_words_and_nothing_stays() {
    let Some(lab) = Lab::new() else { return };
    let rootfs = lab.host.rootfs_flag();
    let own = lab.flags();
    let refused = |flags: &[&str], parts: &[&str]| {
        let mut arguments = lab.with(&own, flags);
        arguments.extend([rootfs.as_str(), "--cmd=/bin/true"]);
        lab.host.run(&arguments).refuses(125, parts);
    };
    // One that the plugin for addresses refuses, after the bridge was made.
    refused(&["--ip=10.99.0.7"], &["`lab`", "ADD of plugin `bridge`", "code ", "10.99.0.7"]);
    // Without an address of its own, that bridge is one that the plugin does not take again.
    lab.host.set_up("ip link del lab0");
    lab.plugin("broken", "echo '{\"code\": 104, \"msg\": \"no luck\", \"details\": \"today\"}'; exit 1");
    lab.describe("10-lab.conflist", &BRIDGE.replace("MORE", "{\"type\": \"broken\"},"));
    let mut arguments = lab.with(&own, &["-p=8080:80"]);
    arguments.extend([rootfs.as_str(), "--cmd=/bin/true"]);
    let ran = lab.host.run(&arguments);
    assert_eq!(ran.code(), 125, "{ran:?}");
    for part in ["ADD of plugin `broken`: code 104: no luck (today)", "  hint: ", "DEL of plugin `broken`"] {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
    // What it could not take back is tried again, until it can.
    lab.plugin("broken", "cat >/dev/null");
    assert_eq!(lab.host.run(&[&rootfs, "--network=none", "--cmd=/bin/true"]).code(), 0);
    eventually("it is taken back", || lab.traces().is_empty());
    lab.plugin("broken", "cat >/dev/null; echo nonsense");
    refused(&[], &["plugin `broken`", "answered"]);
    lab.assert_nothing_left();
}

#[test]
fn networks_plugins_and_flags_that_can_not_be_are_refused_before_anything_is_made() {
    let Some(lab) = Lab::new() else { return };
    let rootfs = lab.host.rootfs_flag();
    let own = lab.flags();
    let refused = |flags: &[&str], parts: &[&str]| {
        let mut arguments: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        arguments.extend([rootfs.as_str(), "--cmd=/bin/true"]);
        lab.host.run(&arguments).refuses(125, parts);
    };
    refused(&["--network=cni:lap"], &["`lap`", "`lab` is there"]);
    refused(&["--network=bridge"], &["--cni-config-dir"]);
    refused(&["--network=cni:lab", "-n=lab0"], &["--network-name"]);
    refused(&["--network=cni:lab", "-i=10.0.0.1/24"], &["--network-ip"]);
    refused(&["--network=cni:lab", "-p=80"], &["--publish", "-> 80/tcp"]);
    refused(&["--network=cni:lab", "--ip=10.88.0.700"], &["--container-ip", "10.88.0.700"]);
    lab.describe("20-plain.conf", r#"{"cniVersion": "0.3.1", "name": "plain", "type": "loopback"}"#);
    refused(&["--network=cni:plain", "-p=8080:80"], &["--publish", "portMappings"]);
    refused(&["--network=cni:plain", "--ip=10.0.0.2"], &["--container-ip", "`ips`"]);
    refused(&["--network=cni:plain", "--mac-address=02:42:ac:11:00:02"], &["--mac-address", "`mac`"]);
    lab.describe("30-gone.conf", r#"{"cniVersion": "0.3.1", "name": "gone", "type": "no-such-plugin"}"#);
    refused(&["--network=cni:gone"], &["no-such-plugin", "containernetworking-plugins"]);
    lab.describe("40-old.conf", r#"{"cniVersion": "0.2.0", "name": "old", "type": "loopback"}"#);
    refused(&["--network=cni:old"], &["40-old.conf", "0.2.0"]);
    lab.describe("05-damaged.conflist", "{");
    refused(&["--network=cni:nowhere"], &["05-damaged.conflist"]);
    // Of another network it is nobody's affair.
    assert_eq!(lab.inside(&[], "true").code(), 0);
    lab.assert_nothing_left();
}

#[test]
fn variables_of_cni_name_lists_and_plugins_and_status_is_asked_first() {
    let Some(lab) = Lab::new() else { return };
    lab.plugin(
        "newest",
        &format!(
            "echo $CNI_COMMAND >> {0}; case $CNI_COMMAND in STATUS) [ -e {0}.down ] && {{ echo '{{\"code\": 50, \"msg\": \"not yet\"}}'; exit 1; }}; cat >/dev/null;; \
             ADD) cat >/dev/null; echo '{{\"cniVersion\": \"1.1.0\", \"interfaces\": [], \"ips\": []}}';; *) cat >/dev/null;; esac",
            lab.host.directory().join("calls").display()
        ),
    );
    lab.describe(
        "10-lab.conflist",
        r#"{"cniVersion": "1.1.0", "name": "lab", "plugins": [{"type": "newest"}]}"#,
    );
    let run = || {
        let mut command = lab.host.command("env");
        command.arg(format!("NETCONFPATH={}", lab.lists.display()));
        command.arg(format!("CNI_PATH={}:/nowhere", lab.plugins.display())).arg(binary());
        command.args(
            [format!("run --state-dir={}", lab.host.state().display())]
                .iter()
                .flat_map(|text| text.split(' ')),
        );
        command.args(["--network=cni:lab", &lab.host.rootfs_flag(), "--cmd=/bin/true"]);
        crate::support::finish(command.spawn().expect("nsenter runs"), None)
    };
    assert_eq!(run().code(), 0);
    let calls = || std::fs::read_to_string(lab.host.directory().join("calls")).expect("it was called");
    assert_eq!(calls(), "STATUS\nADD\nDEL\n");
    std::fs::write(lab.host.directory().join("calls.down"), "").expect("a sign");
    run().refuses(125, &["STATUS of plugin `newest`", "code 50", "not yet"]);
    assert_eq!(calls(), "STATUS\nADD\nDEL\nSTATUS\n", "nothing was added");
    lab.assert_nothing_left();
}
