//! Addresses, servers, the way out, and firewalls of others.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Host, eventually, finish, has_program};

/// A server of busybox that shows its host name, until its standard input ends.
fn server(host: &Host, name: &str, flags: &[&str]) -> crate::support::Background {
    let script = format!(
        "mkdir -p /www-{name}; hostname > /www-{name}/index.html; httpd -p 80 -h /www-{name}; read end"
    );
    let mut all = vec!["-h", name];
    all.extend(flags);
    host.background(&all, name, &script)
}

/// Fetches a page as a program on `host` would.
fn fetch(host: &Host, address: &str, path: &str) -> Option<String> {
    let network = File::open(format!("/proc/{}/ns/net", host.pid())).expect("the holder lives");
    let address: SocketAddr = format!("{address}:80").parse().expect("an address");
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    let thread = std::thread::spawn(move || -> std::io::Result<String> {
        sys::namespace::join(network.as_fd(), sys::clone::flags::NEWNET)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let answer = thread.join().expect("no panic").ok()?;
    let (head, page) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| page.trim().to_owned())
}

#[test]
fn two_servers_at_once_are_reachable_at_172_19_0_2_and_3() {
    let Some(host) = Host::new() else { return };
    let one = server(&host, "one", &[]);
    let two = server(&host, "two", &[]);
    eventually("the first one answers", || fetch(&host, "172.19.0.2", "/").as_deref() == Some("one"));
    eventually("the second one answers", || fetch(&host, "172.19.0.3", "/").as_deref() == Some("two"));
    // They reach each other, and each knows its own name.
    let seen = host
        .inside(&["-h", "three"], "wget -q -O - http://172.19.0.2/; grep three /etc/hosts; ip -o -4 addr");
    assert!(seen.text().starts_with("one\n"), "{seen:?}");
    assert!(seen.stdout.contains("172.19.0.4\tthree"), "{seen:?}");
    assert!(seen.stdout.contains("inet 127.0.0.1/8"), "loopback is up: {seen:?}");
    // An address is free again when its container has ended.
    assert_eq!(one.release().code(), 0);
    let seen = host.inside(&[], "ip -o -4 addr show dev eth0");
    assert!(seen.text().contains("inet 172.19.0.2/16"), "{seen:?}");
    assert_eq!(two.release().code(), 0);
    for directory in ["www-one", "www-two"] {
        std::fs::remove_dir_all(host.rootfs().join(directory)).expect("the servers' pages");
    }
    host.assert_nothing_left();
}

#[test]
fn static_server_that_looks_up_its_own_address_answers_there() {
    let Some(host) = Host::new() else { return };
    let Some(program) = std::env::var_os("RABBITC_SERVER_BIN") else {
        crate::support::skip("RABBITC_SERVER_BIN names no server");
        return;
    };
    crate::support::copy_program(program, &host.rootfs().join("bin/server"));
    let start = || {
        let mut command = host.rabbitc(&[&host.rootfs_flag(), "--cmd=/bin/server"]);
        command.stdin(Stdio::null()).spawn().expect("nsenter runs")
    };
    let one = start();
    eventually("the first one answers", || fetch(&host, "172.19.0.2", "/").is_some());
    let two = start();
    eventually("the second one answers", || {
        fetch(&host, "172.19.0.3", "/").as_deref() == Some("hello from rabbitc at 172.19.0.3")
    });
    for (address, child) in [("172.19.0.2", one), ("172.19.0.3", two)] {
        assert!(fetch(&host, address, "/quit").is_some());
        assert_eq!(finish(child, None).code(), 0);
    }
    host.assert_nothing_left();
}

#[test]
fn requested_address_is_given_and_a_taken_one_is_named() {
    let Some(host) = Host::new() else { return };
    let one = host.background(&["-t", "172.19.3.7"], "up", "ip -o -4 addr show dev eth0; read end");
    let rootfs = host.rootfs_flag();
    host.run(&[&rootfs, "-t", "172.19.3.7/16", "--cmd=/bin/true"]).refuses(125, &["172.19.3.7", "taken"]);
    for (address, why) in [
        ("10.1.2.3", "outside"),
        ("172.19.0.1", "gateway"),
        ("172.19.255.255", "broadcast"),
        ("172.19.0.300", "172.19.0.300"),
        ("::1", "::1"),
    ] {
        host.run(&[&rootfs, "-t", address, "--cmd=/bin/true"]).refuses(125, &[address, why]);
    }
    let ran = one.release();
    assert!(ran.text().contains("inet 172.19.3.7/16"), "{ran:?}");
    host.assert_nothing_left();
}

/// Gives the host a neighbour behind a link of its own: the outside world, which knows no way back to containers.
pub(crate) fn outside(host: &Host) -> crate::support::Background {
    host.set_up("ip link add uplink type veth peer name outer");
    let mut command = host.command("unshare");
    let script = "echo up; read go; ip link set lo up; ip link set outer up; ip addr add 198.51.100.1/24 dev outer; \
                  ip -6 addr add 2001:db8::1/64 dev outer nodad; mkdir -p $0; cd $0; echo world > index.html; \
                  busybox httpd -f -p 8080 -h $0 & \
                  until busybox wget -q -O /dev/null http://127.0.0.1:8080/; do sleep 0.05; done; echo served; read end; kill $!; exit 0";
    let page = host.directory().join("world");
    command.args(["--net", "sh", "-c", script]).arg(&page);
    command.stdin(Stdio::piped());
    let mut child = command.spawn().expect("unshare runs");
    let mut up = [0u8; 3];
    child.stdout.as_mut().expect("piped").read_exact(&mut up).expect("it comes up");
    host.set_up(&format!(
        "ip link set outer netns {}; ip addr add 198.51.100.2/24 dev uplink; ip -6 addr add 2001:db8::2/64 dev uplink nodad; \
         ip link set uplink up; ip route add default via 198.51.100.1; ip -6 route add default via 2001:db8::1",
        child.id()
    ));
    let mut background = crate::support::Background::of(child);
    background.write(b"go\n");
    let mut served = [0u8; 7];
    background.read_exact(&mut served);
    background
}

#[test]
fn container_reaches_what_the_host_reaches() {
    let Some(host) = Host::new() else { return };
    let mut world = outside(&host);
    let ran = host.inside(&[], "wget -q -O - http://198.51.100.1:8080/");
    assert_eq!(ran.text(), "world");
    assert_eq!(ran.stderr, "", "no firewall to warn of");
    let ran = host.inside(
        &[],
        "for i in $(seq 50); do busybox timeout 2 wget -q -O - 'http://[2001:db8::1]:8080/' 2>/dev/null && exit 0; sleep 0.2; done; ip -6 addr; ip -6 route; exit 1",
    );
    assert_eq!(ran.text(), "world", "by IPv6 as well");
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn container_without_network_has_loopback_alone() {
    let Some(host) = Host::new() else { return };
    let ran = host.inside(&["--network=none"], "ip -o link; ip -o -4 addr");
    assert_eq!(ran.text().matches(" lo ").count() + ran.stdout.matches(": lo:").count(), 2, "{ran:?}");
    assert!(!ran.stdout.contains("eth0"), "{ran:?}");
    let ran = host.inside(&["--network=host"], "readlink /proc/self/ns/net");
    assert_eq!(ran.text(), host.shell("readlink /proc/self/ns/net"));
    host.assert_nothing_left();
}

fn foreign_firewall_is_named(set_up: &str, chain: &str) {
    let Some(host) = Host::new() else { return };
    let mut world = outside(&host);
    host.set_up(set_up);
    // Not as pid 1: that would not hear the end of its time.
    let fetch = "busybox timeout 2 wget -q -O - http://198.51.100.1:8080/; exit $?";
    let ran = host.inside(&[], fetch);
    assert_ne!(ran.code(), 0);
    for part in ["warning: ", "firewall", chain, "rabbitc0", "  hint: "] {
        assert!(ran.stderr.contains(part), "the warning lacks {part:?}: {}", ran.stderr);
    }
    let (_, command) = ran.stderr.split_once("allow it as root: ").expect("a command is given");
    host.set_up(command.lines().next().expect("it is one line"));
    let ran = host.inside(&[], fetch);
    assert_eq!(ran.text(), "world", "the command that was named helps: {ran:?}");
    assert!(!ran.stderr.contains("firewall"), "nothing is left to warn of: {ran:?}");
    world.write(b"end\n");
    assert_eq!(world.finish().code(), 0);
    host.assert_nothing_left();
}

#[test]
fn foreign_firewall_of_nft_is_named_with_the_command_that_allows_us() {
    if has_program("nft") {
        let rules = "chain theirs { type filter hook forward priority filter; policy drop; };";
        foreign_firewall_is_named(&format!("nft 'table inet corporate {{ {rules} }}'"), "`theirs`");
    }
}

#[test]
fn foreign_firewall_of_iptables_is_named_with_the_command_that_allows_us() {
    if has_program("iptables") {
        foreign_firewall_is_named("iptables -P FORWARD DROP", "`FORWARD`");
    }
}

#[test]
fn network_names_and_subnets_that_can_not_be_are_refused() {
    let Some(host) = Host::new() else { return };
    let rootfs = host.rootfs_flag();
    let refused = |flags: &[&str], parts: &[&str]| {
        let mut arguments = vec![rootfs.as_str(), "--cmd=/bin/true"];
        arguments.extend(flags);
        host.run(&arguments).refuses(125, parts);
    };
    refused(&["-n", "a-name-of-16-byte"], &["a-name-of-16-byte", "15"]);
    refused(&["-n", "a/b"], &["a/b"]);
    refused(&["-n", ""], &["network name"]);
    refused(&["-i", "172.19.0.1"], &["172.19.0.1", "prefix"]);
    refused(&["-i", "172.19.0.1/33"], &["172.19.0.1/33"]);
    refused(&["-i=rabbit/16"], &["rabbit/16", "IPv4"]);
    refused(&["-i", "172.19.0.1/31"], &["172.19.0.1/31"]);
    // Belongs to something else.
    host.set_up("ip link add theirs0 type bridge");
    refused(&["-n", "theirs0"], &["theirs0"]);
    refused(&["-n", "lo"], &["lo"]);
    assert!(host.shell("ip -o link show theirs0").contains("theirs0"), "it is still there");
    host.set_up("ip link del theirs0");
    // Would cut the host off from somebody else's network.
    host.set_up(
        "ip link add theirs1 type bridge; ip addr add 172.19.200.1/24 dev theirs1; ip link set theirs1 up",
    );
    refused(&[], &["172.19.0.0/16", "172.19.200.0/24", "theirs1", "--network-ip"]);
    host.set_up("ip link del theirs1");
    host.assert_nothing_left();
}

#[test]
fn two_networks_live_side_by_side() {
    let Some(host) = Host::new() else { return };
    let one = server(&host, "one", &[]);
    let two = server(&host, "two", &["-n", "other0", "-i", "10.88.0.1/24"]);
    eventually("the first one answers", || fetch(&host, "172.19.0.2", "/").as_deref() == Some("one"));
    eventually("the second one answers", || fetch(&host, "10.88.0.2", "/").as_deref() == Some("two"));
    assert_eq!(one.release().code(), 0);
    assert_eq!(two.release().code(), 0);
    for directory in ["www-one", "www-two"] {
        std::fs::remove_dir_all(host.rootfs().join(directory)).expect("the servers' pages");
    }
    host.assert_nothing_left();
}

/// What `ip` says of the container's address, and that of its network.
const ADDRESS: &str = "ip -o -4 addr show dev eth0 | while read a b c address rest; do echo $address; done";

#[test]
fn network_without_a_subnet_gets_a_free_one_and_keeps_it() {
    let Some(host) = Host::new() else { return };
    // Somebody else has the first of them.
    host.set_up(
        "ip link add theirs type bridge; ip addr add 172.20.7.1/24 dev theirs; ip link set theirs up",
    );
    let rootfs = host.rootfs_flag();
    let plan = host.run(&["plan", &rootfs, "-n", "lab0", "--cmd=/bin/true"]);
    assert!(plan.text().contains("`lab0`, 172.21.0.1/16"), "{plan:?}");
    assert!(!host.state().exists(), "a plan chooses nothing");
    let default = host.background(&[], "default", "read end");
    let lab = host.background(&["-n", "lab0"], "lab", &format!("{ADDRESS}; read end; exit 0"));
    assert_eq!(host.inside(&["-n", "lab1"], ADDRESS).text(), "172.22.0.2/16");
    assert_eq!(host.inside(&["-n", "lab0"], ADDRESS).text(), "172.21.0.3/16", "it has one");
    assert_eq!(host.inside(&["-n", "lab0", "-t", "172.21.9.9/16"], ADDRESS).text(), "172.21.9.9/16");
    host.run(&[&rootfs, "-n", "lab0", "-t", "172.19.0.9", "--cmd=/bin/true"]).refuses(125, &["outside"]);
    host.run(&[&rootfs, "-n", "lab0", "-i", "10.5.0.1/24", "--cmd=/bin/true"])
        .refuses(125, &["in use with another subnet", "172.21.0.1/16"]);
    let plan = host.run(&["plan", &rootfs, "-n", "lab0", "--cmd=/bin/true"]);
    assert!(plan.text().contains("`lab0`, 172.21.0.1/16"), "{plan:?}");
    assert_eq!(lab.release().text(), "172.21.0.2/16");
    // One that was named is kept as well.
    let lab = host.background(&["-n", "lab2", "-i", "10.5.0.1/24"], "lab", "read end");
    assert_eq!(host.inside(&["-n", "lab2"], ADDRESS).text(), "10.5.0.3/24");
    assert_eq!(lab.release().code(), 0);
    assert_eq!(default.release().code(), 0);
    host.set_up("ip link del theirs");
    host.assert_nothing_left();
}

#[test]
fn address_without_a_subnet_is_one_of_the_default_where_the_network_is_new() {
    let Some(host) = Host::new() else { return };
    assert_eq!(host.inside(&["-n", "lab0", "-t", "172.19.0.77/16"], ADDRESS).text(), "172.19.0.77/16");
    host.assert_nothing_left();
}

#[test]
fn networks_that_start_at_once_never_have_the_same_subnet() {
    let Some(host) = Host::new() else { return };
    // Each runs with a sign of its own, until its input ends, or is refused.
    let start = |sign: &str, flags: &[&str]| {
        let mut command = host.script(flags, &format!("echo up > /{sign}; {ADDRESS}; read end; exit 0"));
        crate::support::Background::of(command.stdin(Stdio::piped()).spawn().expect("nsenter runs"))
    };
    let settle = |sign: &str, one: &mut crate::support::Background| {
        let sign = host.rootfs().join(sign);
        eventually("it runs or is refused", || sign.exists() || one.has_ended());
        let _ = std::fs::remove_file(sign);
    };
    for round in 0..8 {
        // Of two that want the same, one gets it.
        let (mut one, mut two) = (start("one", &["-n", "lab0", "-i", "172.19.0.1/16"]), start("two", &[]));
        settle("one", &mut one);
        settle("two", &mut two);
        let ran = [one, two].map(crate::support::Background::release);
        let codes = ran.each_ref().map(crate::support::Ran::code);
        assert!(matches!(codes, [0, 125] | [125, 0]), "round {round}: {ran:?}");
        assert!(ran.iter().any(|ran| ran.stderr.contains("overlaps with `172.19.0.0/16`")), "{ran:?}");
    }
    // Of those who want any, each gets one.
    let names = ["lab1", "lab2", "lab3", "lab4"];
    let mut all = names.map(|name| start(name, &["-n", name]));
    names.iter().zip(&mut all).for_each(|(name, one)| settle(name, one));
    let mut subnets = all.map(|one| one.release().text().to_owned());
    subnets.sort();
    assert_eq!(subnets, ["172.20.0.2/16", "172.21.0.2/16", "172.22.0.2/16", "172.23.0.2/16"]);
    host.assert_nothing_left();
}

#[test]
fn network_that_nobody_uses_any_more_is_in_nobodys_way() {
    let Some(host) = Host::new() else { return };
    for round in 0..6 {
        let ran = host.inside(&["-n", "lab0", "-i", "172.19.0.1/16"], ADDRESS);
        assert_eq!(ran.text(), "172.19.0.2/16", "round {round}");
        let ran = host.inside(&[], ADDRESS);
        assert_eq!((ran.text(), ran.stderr.as_str()), ("172.19.0.2/16", ""), "round {round}");
    }
    // One that is in use is.
    let lab = host.background(&["-n", "lab0", "-i", "172.19.0.1/16"], "lab", "read end");
    let rootfs = host.rootfs_flag();
    host.run(&[&rootfs, "--cmd=/bin/true"]).refuses(125, &["`lab0`", "--network-ip", "--network-name"]);
    assert_eq!(lab.release().code(), 0);
    host.assert_nothing_left();
}

/// `rabbitc` of `host` in a network namespace of its own, with the same state.
fn elsewhere(host: &Host, script: &str) -> std::process::Command {
    let mut command = host.command("unshare");
    command.arg("--net").arg(crate::support::binary());
    command.arg(format!("--state-dir={}", host.state().display())).arg(host.rootfs_flag());
    command.args(["--", "/bin/sh", "-c", script]);
    command
}

#[test]
fn networks_of_another_namespace_are_left_to_those_who_are_in_it() {
    let Some(host) = Host::new() else { return };
    let run_elsewhere = || {
        let ran = finish(elsewhere(&host, ADDRESS).spawn().expect("nsenter runs"), None);
        assert_eq!(ran.text(), "172.19.0.2/16", "addresses are of each namespace for itself");
    };
    let staying = host.background(&[], "staying", "read end");
    run_elsewhere();
    // What a killed one left is not found from there, and not lost.
    let mut killed = host.background(&["-n", "lab1", "-i", "10.5.0.1/24"], "killed", "sleep 1000");
    killed.signal("KILL");
    assert_eq!(killed.finish().code(), 137);
    run_elsewhere();
    std::thread::sleep(Duration::from_millis(700));
    assert!(host.shell("ip -o link show lab1").contains("lab1"), "there it can't be removed");
    assert_eq!(staying.release().code(), 0);
    host.assert_nothing_left();
    // Nor does somebody else's turn to tidy up take the place of one's own.
    for delay in [0, 100, 200, 300, 400] {
        assert_eq!(host.inside(&["-n", "lab1", "-i", "10.5.0.1/24"], "true").code(), 0);
        let mut other = elsewhere(&host, ADDRESS).spawn().expect("nsenter runs");
        std::thread::sleep(Duration::from_millis(delay));
        assert_eq!(host.inside(&["-n", "lab2"], "true").code(), 0);
        assert!(other.wait().expect("a child").success());
        host.assert_nothing_left();
    }
}

#[test]
fn records_of_a_namespace_that_is_gone_go_with_the_next_command() {
    let Some(host) = Host::new() else { return };
    let mut command = elsewhere(&host, "echo up > /up; sleep 1000");
    let mut killed = crate::support::Background::of(command.spawn().expect("nsenter runs"));
    let sign = host.rootfs().join("up");
    eventually("the container runs", || sign.exists());
    killed.signal("KILL");
    assert_eq!(killed.finish().code(), 137);
    std::fs::remove_file(sign).expect("the sign is there");
    assert_eq!(crate::support::names(&host.state().join("network")).len(), 1, "it could not tidy up");
    assert_eq!(host.inside(&[], "true").code(), 0);
    host.assert_nothing_left();
}

#[test]
fn files_of_names_are_left_to_the_root_where_that_is_asked_for() {
    let Some(host) = Host::new() else { return };
    let mounts = "grep -o '/etc/host[a-z]*' /proc/self/mountinfo | sort -u | tr '\\n' ' '";
    for (flags, expected) in [
        (&[][..], "/etc/hostname /etc/hosts"),
        (&["--no-hosts"], "/etc/hostname"),
        (&["--no-hostname"], "/etc/hosts"),
        (&["--no-hosts", "--no-hostname"], ""),
    ] {
        let ran = host.inside(&[&["--network=none"], flags].concat(), mounts);
        assert_eq!(ran.text(), expected, "{flags:?}: {ran:?}");
    }
    let refused = host.inside(&["--no-hosts", "--add-host=a:192.0.2.1"], "true");
    refused.refuses(125, &["--no-hosts", "--add-host"]);
}
