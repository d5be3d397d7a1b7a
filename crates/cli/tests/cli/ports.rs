//! Published ports, from a person's command line to another host's connection; and the names in a container.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::network::outside;
use crate::support::{Background, Host, eventually, has_program};

const SOON: Duration = Duration::from_secs(5);

/// A web server on port 80 that says who it is and who asks, until its standard input ends.
fn server(host: &Host, name: &str, flags: &[&str]) -> Background {
    let script = format!(
        "mkdir -p /www-{name}/cgi-bin; printf '#!/bin/sh\\necho; echo {name} $REMOTE_ADDR\\n' > /www-{name}/cgi-bin/who; \
         chmod 755 /www-{name}/cgi-bin/who; httpd -p 80 -h /www-{name}; read end"
    );
    let mut all = vec!["-h", name];
    all.extend(flags);
    host.background(&all, name, &script)
}

fn end(host: &Host, name: &str, server: Background) {
    assert_eq!(server.release().code(), 0);
    std::fs::remove_dir_all(host.rootfs().join(format!("www-{name}"))).expect("the server's pages");
}

/// Runs `job` on a thread in the network namespace of this process.
pub(crate) fn in_network_of<T: Send + 'static>(pid: u32, job: impl FnOnce() -> T + Send + 'static) -> T {
    let network = File::open(format!("/proc/{pid}/ns/net")).expect("the process lives");
    let thread = std::thread::spawn(move || {
        sys::namespace::join(network.as_fd(), sys::clone::flags::NEWNET).expect("a network namespace");
        job()
    });
    thread.join().expect("no panic")
}

/// What the server says to somebody in the network of that process: its name, and the client's address.
fn ask(pid: u32, address: &str) -> std::io::Result<(String, String)> {
    let address: SocketAddr = address.parse().expect("an address with a port");
    in_network_of(pid, move || {
        let mut stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(b"GET /cgi-bin/who HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let line = answer.trim().lines().last().unwrap_or_default().to_owned();
        let (name, client) = line.split_once(' ').unwrap_or((&line, ""));
        let client = client.trim_start_matches('[').trim_start_matches("::ffff:").trim_end_matches(']');
        Ok((name.to_owned(), client.to_owned()))
    })
}

fn answers(pid: u32, address: &str, name: &str) -> String {
    let mut seen = String::new();
    eventually(&format!("`{name}` answers at {address}"), || match ask(pid, address) {
        Ok((who, client)) if who == name => {
            seen = client;
            true
        }
        _ => false,
    });
    seen
}

pub(crate) fn has_ipv6(host: &Host) -> bool {
    host.shell("ip -6 addr show dev rabbitc0").contains("inet6 fd")
}

pub(crate) fn filter_bridged_packets(host: &Host, value: u8) -> bool {
    let set = format!(
        "sysctl -q -w net.bridge.bridge-nf-call-iptables={value} net.bridge.bridge-nf-call-ip6tables={value}"
    );
    let script = format!("if [ -e /proc/sys/net/bridge ]; then {set}; echo set; else echo none; fi");
    host.shell(&script) == "set"
}

/// The init of the container with this address.
pub(crate) fn pid_of(host: &Host, address: &str) -> u32 {
    let found = host.containers().into_iter().find_map(|id| {
        let record = std::fs::read(host.state().join("containers").join(id).join("state.json")).ok()?;
        let record: serde_json::Value = serde_json::from_slice(&record).ok()?;
        let pid = u32::try_from(record["pid"].as_u64()?).ok()?;
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/fib_trie")).ok()?;
        table.contains(&format!("|-- {address}\n")).then_some(pid)
    });
    found.unwrap_or_else(|| panic!("no container has {address}"))
}

fn reached_from_everywhere(bridged: u8) {
    let Some(host) = Host::new() else { return };
    if !has_program("sysctl") {
        return;
    }
    if !filter_bridged_packets(&host, bridged) && bridged == 1 {
        return crate::support::skip("this kernel has no br_netfilter");
    }
    let mut world = outside(&host);
    let web = server(&host, "web", &["-p", "8080:80"]);
    let neighbour = host.background(&[], "neighbour", "read end");
    let (itself, other) = (pid_of(&host, "172.19.0.2"), pid_of(&host, "172.19.0.3"));
    let (here, there) = (host.pid(), world.pid());
    assert_eq!(answers(here, "127.0.0.1:8080", "web"), "172.19.0.1", "loopback is masqueraded");
    assert_eq!(answers(here, "198.51.100.2:8080", "web"), "198.51.100.2");
    assert_eq!(answers(there, "198.51.100.2:8080", "web"), "198.51.100.1", "a client keeps its address");
    assert_eq!(answers(other, "198.51.100.2:8080", "web"), "172.19.0.1", "a neighbour is masqueraded");
    assert_eq!(answers(itself, "198.51.100.2:8080", "web"), "172.19.0.1", "it reaches itself");
    assert_eq!(answers(itself, "172.19.0.1:8080", "web"), "172.19.0.1");
    if has_ipv6(&host) {
        assert_eq!(answers(there, "[2001:db8::2]:8080", "web"), "2001:db8::1", "a client keeps its address");
        assert_eq!(answers(here, "[2001:db8::2]:8080", "web"), "2001:db8::2");
        for pid in [itself, other] {
            assert!(answers(pid, "[2001:db8::2]:8080", "web").starts_with("fd"));
        }
        if bridged == 0 {
            assert!(answers(here, "[::1]:8080", "web").starts_with("fd"), "the host's loopback");
        } else {
            let refused = ask(here, "[::1]:8080").expect_err("answers would be lost");
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            let rootfs = host.rootfs_flag();
            host.run(&[&rootfs, "-p", "[::1]:9090:80", "--cmd=/bin/true"])
                .refuses(125, &["::1", "br_netfilter"]);
        }
    }
    end(&host, "web", web);
    assert_eq!(neighbour.release().code(), 0);
    ask(there, "198.51.100.2:8080").expect_err("withdrawn with its container");
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn published_port_is_reached_from_another_host_this_one_its_loopback_a_neighbour_and_itself() {
    reached_from_everywhere(0);
}

#[test]
fn published_port_is_reached_from_everywhere_where_bridged_packets_are_filtered() {
    reached_from_everywhere(1);
}

#[test]
fn ports_of_udp_and_ranges_lead_where_they_should() {
    let Some(host) = Host::new() else { return };
    let script = "httpd -p 7001 -h /; read end";
    let container = host.background(&["-p", "53:5353/udp", "-p", "7000-7009:7000-7009"], "up", script);
    let pid = pid_of(&host, "172.19.0.2");
    let echo = in_network_of(pid, || UdpSocket::bind("0.0.0.0:5353").expect("a server"));
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((length, peer)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..length], peer);
            if &buffer[..length] == b"end" {
                return;
            }
        }
    });
    let echoed = || {
        in_network_of(host.pid(), || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(Duration::from_millis(300)))?;
            socket.send_to(b"hello", "127.0.0.1:53")?;
            let mut buffer = [0; 16];
            socket.recv(&mut buffer).map(|length| buffer[..length].to_vec())
        })
    };
    eventually("it echoes", || echoed().is_ok_and(|answer| answer == b"hello"));
    let connects =
        |port: u16| in_network_of(host.pid(), move || TcpStream::connect(("127.0.0.1", port)).is_ok());
    eventually("one of the range answers", || connects(7001));
    assert!(!connects(7002) && !connects(7010));
    if has_program("nft") {
        let table = host.shell("nft list table inet rabbitc");
        assert!(table.contains("tcp . 7000-7009"), "one element for the range: {table}");
        assert_eq!(table.matches(" dnat ip").count() + table.matches("\tdnat ip").count(), 4, "{table}");
    }
    // Its socket would keep the container's network.
    in_network_of(pid, || {
        UdpSocket::bind("0.0.0.0:0")
            .and_then(|socket| socket.send_to(b"end", "127.0.0.1:5353"))
            .expect("sent")
    });
    assert_eq!(container.release().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn sockets_that_hold_ports_do_not_get_into_the_container() {
    let Some(host) = Host::new() else { return };
    let script = "ls /proc/self/fd; ulimit -n; ulimit -Hn";
    let without = host.inside(&[], script);
    let with = host.inside(&["-p", "7000-7299:7000-7299", "-p", "7000-7299:7000-7299/udp"], script);
    assert_eq!(with.text(), without.text());
    host.assert_nothing_left();
}

#[test]
fn taken_port_names_its_holder_and_nothing_is_made() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let mut nc = host.command("busybox");
    let nc = nc.args(["nc", "-l", "-p", "8080"]).stdin(Stdio::piped()).spawn().expect("nsenter runs");
    let pid = nc.id().to_string();
    let nc = Background::of(nc);
    eventually("it listens", || host.shell("busybox netstat -ltn").contains(":8080 "));
    host.run(&[&rootfs, "-p", "8080:80", "--cmd=/bin/true"])
        .refuses(125, &["8080/tcp", "taken", &pid, "busybox"]);
    assert!(!host.shell("ip -oneline link show").contains("rabbitc0"), "nothing was made");
    drop(nc);
    eventually("it is gone", || !host.shell("busybox netstat -ltn").contains(":8080 "));

    let first = host.background(&["-p", "8080:80"], "up", "read end");
    let [id] = host.containers().try_into().expect("one container");
    host.run(&[&rootfs, "-p", "8080:81", "--cmd=/bin/true"])
        .refuses(125, &["8080/tcp", "container", &id[..12]]);
    host.run(&[&rootfs, "-p", "127.0.0.1:8079-8081:79-81", "--cmd=/bin/true"])
        .refuses(125, &["8080", &id[..12]]);
    // A program of the host does not get it either.
    in_network_of(host.pid(), || TcpListener::bind("127.0.0.1:8080")).expect_err("held");
    // UDP is another port, and so is the next one of a choice.
    let ran = host.run(&[&rootfs, "-p", "8080:80/udp", "-p", "8080-8089:80", "--cmd=/bin/true"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.stderr.contains("published 8081 -> 80/tcp"), "{ran:?}");
    assert_eq!(first.release().code(), 0);
    assert_eq!(host.run(&[&rootfs, "-p", "8080:80", "--cmd=/bin/true"]).code(), 0, "it is free again");
    host.assert_nothing_left();
}

#[test]
fn port_without_a_number_is_told_and_works() {
    let Some(host) = Host::new() else { return };
    let script = "httpd -p 80 -h /; read end";
    let container =
        host.background(&["-P", "--expose=80", "--expose=53/udp", "-p", "127.0.0.1::80"], "up", script);
    let ports = |table: &str| -> Vec<u16> {
        let words = table.split("tcp . ").skip(1);
        words.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect()
    };
    let found = if has_program("nft") {
        ports(&host.shell("nft list map inet rabbitc other_port_ip"))
    } else {
        Vec::new()
    };
    for port in &found {
        let port = *port;
        let connects = || in_network_of(host.pid(), move || TcpStream::connect(("127.0.0.1", port)).is_ok());
        eventually("it answers there", connects);
    }
    let ran = container.release();
    assert_eq!(ran.code(), 0);
    let told: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("published ")).collect();
    assert_eq!(told.len(), 2, "80 was published already: {told:?}");
    assert!(told[0].starts_with("published 127.0.0.1:") && told[0].ends_with(" -> 80/tcp"), "{told:?}");
    assert!(told[1].ends_with(" -> 53/udp"), "{told:?}");
    for port in found {
        assert!(told.iter().any(|line| line.contains(&format!("{port} -> "))), "{port} in {told:?}");
    }
    host.assert_nothing_left();
}

#[test]
fn killed_command_frees_its_ports_and_the_next_one_removes_what_led_there() {
    let Some(host) = Host::new() else { return };
    let staying = host.background(&["-p", "7070:70", "-t", "172.19.0.9"], "staying", "read end");
    let mut dying = host.background(&["-p", "8080:80", "-p", "8081:81/udp"], "dying", "sleep 1000");
    dying.signal("KILL");
    assert_eq!(dying.finish().code(), 137);
    in_network_of(host.pid(), || TcpListener::bind("0.0.0.0:8080").map(drop))
        .expect("its port is free at once");
    // The next one gets its address, and must not be reached by its port.
    let heir = server(&host, "heir", &[]);
    ask(host.pid(), "127.0.0.1:8080").expect_err("the dead one's port leads nowhere");
    if has_program("nft") {
        let table = host.shell("nft list table inet rabbitc");
        assert!(!table.contains("172.19.0.2 "), "nothing leads to the dead one's address: {table}");
        assert!(table.contains(". 7070 ") && table.contains("172.19.0.9 . 70"), "others stay: {table}");
    }
    end(&host, "heir", heir);
    assert_eq!(staying.release().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn twenty_at_once_publish_their_ports() {
    let Some(host) = Host::new() else { return };
    let mut containers: Vec<_> = (0..20)
        .map(|number| {
            let flag = format!("--publish={}:80", 8000 + number);
            let mut command = host.script(&[&flag], "httpd -p 80 -h /; read end\nexit 0");
            Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"))
        })
        .collect();
    for port in 8000..8020_u16 {
        let connects = || in_network_of(host.pid(), move || TcpStream::connect(("127.0.0.1", port)).is_ok());
        eventually(&format!("port {port} is published"), connects);
    }
    for container in containers.drain(..) {
        let ran = container.release();
        assert_eq!((ran.code(), ran.stderr.contains("error")), (0, false), "{ran:?}");
    }
    host.assert_nothing_left();
}

#[test]
fn container_with_network_rights_does_not_reach_the_hosts_loopback() {
    let Some(host) = Host::new() else { return };
    if !has_program("nft") {
        return;
    }
    // A name server for the host alone.
    let secret = in_network_of(host.pid(), || UdpSocket::bind("127.0.0.1:53").expect("a server"));
    secret.set_read_timeout(Some(Duration::from_millis(700))).expect("a timeout");
    let attack = "ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via 172.19.0.1 dev eth0; \
                  while :; do busybox timeout 1 busybox nslookup secret 127.0.0.1 >/dev/null 2>&1; done";
    let flags = ["-p", "8080:80", "--cap-add=NET_ADMIN", "--cap-add=NET_RAW"];
    let mut container = host.background(&flags, "up", attack);
    assert!(secret.recv(&mut [0; 512]).is_err(), "nothing of the container comes to the host's loopback");
    // The attack is real: without our rules it gets there.
    host.shell("nft flush chain inet rabbitc forged");
    eventually("it comes without the rules", || secret.recv(&mut [0; 512]).is_ok());
    // And whoever publishes next puts them back.
    let rootfs = host.rootfs_flag();
    assert_eq!(host.run(&[&rootfs, "-p", "8081:80", "--cmd=/bin/true"]).code(), 0);
    while secret.recv(&mut [0; 512]).is_ok() {}
    assert!(secret.recv(&mut [0; 512]).is_err());
    container.signal("KILL");
    container.finish();
    assert_eq!(host.inside(&[], "true").code(), 0);
    host.assert_nothing_left();
}

#[test]
fn contradictions_of_network_flags_are_refused() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let refused = |flags: &[&str], parts: &[&str]| {
        let mut arguments = vec![rootfs.as_str(), "--cmd=/bin/true"];
        arguments.extend(flags);
        host.run(&arguments).refuses(125, parts);
    };
    // As with docker, what is written for a bridge runs with these, too.
    for mode in ["none", "host"] {
        let ran = host.run(&[&rootfs, "--cmd=/bin/true", &format!("--net={mode}"), "-p", "80:80"]);
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert!(ran.stderr.contains("published ports are discarded") && ran.stderr.contains(mode), "{ran:?}");
    }
    refused(&["--network=container:0123", "-p", "80:80"], &["--publish", "--network=container:ID"]);
    refused(&["--network=none", "-t", "172.19.0.3"], &["--container-ip", "--network=none"]);
    refused(&["--network=host", "--ip=172.19.0.3"], &["--container-ip", "--network=host"]);
    refused(&["--network=none", "--mac-address=02:00:00:00:00:01"], &["--mac-address"]);
    for mode in ["none", "host", "pasta", "container:0123", "ns:/proc/1/ns/net"] {
        let network = format!("--network={mode}");
        let shown = format!("`--network={}", mode.split(['0', '/']).next().expect("its beginning"));
        refused(&[&network, "-n", "lab0"], &["--network-name: means nothing with ", &shown]);
        // Nor what is the default of the bridge.
        refused(&["-n", "rabbitc0", &network], &["--network-name: ", &shown]);
        refused(&[&network, "-i", "172.19.0.1/16"], &["--network-ip: means nothing with ", &shown]);
        refused(&[&network, "-t", "172.19.0.3"], &["--container-ip: means nothing with ", &shown]);
    }
    for flag in ["--dns=192.0.2.53", "--dns-search=example", "--dns-option=ndots:2", "--add-host=a:192.0.2.1"]
    {
        let name = flag.split('=').next().expect("its name");
        refused(&["--network=container:0123", flag], &[&format!("{name}: "), "`--network=container:ID`"]);
    }
    refused(&["--network=none", "--dns=192.0.2.53"], &["--dns: "]);
    refused(&["--network=none", "--dns-search=example"], &["--dns-search: "]);
    refused(&["--network=none", "--dns-option=ndots:2"], &["--dns-option: "]);
    let gateway = "--add-host: `host-gateway` means nothing with `--network=none`";
    refused(&["--network=none", "--add-host=host:host-gateway"], &[gateway]);
    refused(&["-P"], &["--publish-all"]);
    refused(&["-p", "80:80", "-p", "80:81"], &["80/tcp", "another publication"]);
    refused(&["-p", "192.0.2.7:80:80"], &["192.0.2.7:80", "no interface"]);
    // The kernel binds a socket to each of these, and nothing would ever come there.
    host.set_up("ip link add lan0 type bridge; ip addr add 192.0.2.1/24 brd + dev lan0; ip link set lan0 up");
    for address in ["255.255.255.255", "224.0.0.1", "192.0.2.255", "0.1.2.3", "[ff02::1]"] {
        for protocol in ["tcp", "udp"] {
            let flag = format!("--publish={address}:80:80/{protocol}");
            refused(&[&flag], &[address.trim_matches(['[', ']']), "multicast or broadcast address"]);
        }
    }
    host.set_up("ip link del lan0");
    refused(&["-p", "70000:80"], &["--publish", "70000"]);
    refused(&["-p", "localhost:80:80"], &["--publish", "localhost"]);
    refused(&["--dns=localhost"], &["--dns", "localhost"]);
    refused(&["--mac-address=01:00:00:00:00:01"], &["--mac-address"]);
    assert!(!host.shell("ip -oneline link show").contains("rabbitc0"), "nothing was made");
    host.assert_nothing_left();
}

#[test]
fn names_and_addresses_are_those_that_were_asked_for() {
    let Some(host) = Host::new() else { return };
    let flags = [
        "--dns=192.0.2.53",
        "--dns=2001:db8::53",
        "--dns-search=example.org",
        "--dns-option=ndots:2",
        "--add-host=db:192.0.2.7",
        "--add-host=the-host:host-gateway",
        "--mac-address=02:00:5e:00:53:01",
        "--ip=172.19.0.77",
    ];
    let ran = host.inside(&flags, "cat /etc/resolv.conf /etc/hosts; ip addr show dev eth0");
    for line in [
        "nameserver 192.0.2.53\n",
        "nameserver 2001:db8::53\n",
        "search example.org\n",
        "options ndots:2\n",
        "192.0.2.7\tdb\n",
        "172.19.0.1\tthe-host\n",
        "172.19.0.77\trabbitc\n",
        "02:00:5e:00:53:01",
        "inet 172.19.0.77/16",
    ] {
        assert!(ran.text().contains(line) || ran.stdout.contains(line), "{line:?} in {ran:?}");
    }
    assert_eq!(ran.stdout.matches("nameserver").count(), 2, "the host's are replaced: {ran:?}");
    let ran = host.inside(&["--network=host", "--add-host=the-host:host-gateway"], "cat /etc/hosts");
    assert!(ran.text().contains("127.0.0.1\tthe-host"), "{ran:?}");
    host.assert_nothing_left();
}

#[test]
fn publishing_is_a_step_of_plan_and_timeline() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let flags = [rootfs.as_str(), "-p", "127.0.0.1:8080:80", "-p", "9000-9009:90", "--cmd=/bin/true"];
    let plan = host.run(&[&["plan"][..], &flags].concat());
    let line =
        plan.text().lines().find(|line| line.contains("publish ports")).expect("it is planned").to_owned();
    for part in ["`127.0.0.1:8080 -> 80/tcp`", "`one of 9000-9009 -> 90/tcp`", "--publish"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let ran = host.run(&[&flags[..], &["--explain"]].concat());
    let line = ran.stderr.lines().find(|line| line.contains("publish ports")).expect("it ran").to_owned();
    assert!(line.contains("`9000 -> 90/tcp`"), "{line}");
    assert!(!Path::new("/proc/sys/net/ipv4/conf/rabbitc0/route_localnet").exists());
    host.assert_nothing_left();
}

#[test]
fn every_address_of_ipv6_without_its_loopback_is_said() {
    let Some(host) = Host::new() else { return };
    if !has_program("sysctl") {
        return;
    }
    let rootfs = host.rootfs_flag();
    let published = |flag: &str| host.run(&[&rootfs, "-p", flag, "--cmd=/bin/true"]);
    if !filter_bridged_packets(&host, 1) {
        return crate::support::skip("this kernel has no br_netfilter");
    }
    let ran = published("[::]:8080:80");
    assert_eq!(ran.code(), 0, "{ran:?}");
    for part in
        ["`[::]:8080 -> 80/tcp` is not reached at `::1`", "br_netfilter", "bridge-nf-call-ip6tables=0"]
    {
        assert!(ran.stderr.contains(part), "{part} in {ran:?}");
    }
    published("[::1]:8080:80").refuses(125, &["br_netfilter"]);
    // `localhost` is 127.0.0.1 as well.
    assert_eq!(published("8080:80").stderr, "");
    filter_bridged_packets(&host, 0);
    assert_eq!(published("[::]:8080:80").stderr, "");
    host.assert_nothing_left();
}
