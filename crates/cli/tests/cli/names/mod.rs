//! Names on networks: containers find each other, other questions go on to the host's resolvers, and nothing of it is left.

mod forwarding;
mod resolver;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, TYPE};

use crate::life::{Place, WAITS};
use crate::support::{Host, Ran, eventually};

const A: QTYPE = QTYPE::TYPE(TYPE::A);
const AAAA: QTYPE = QTYPE::TYPE(TYPE::AAAA);
const PTR: QTYPE = QTYPE::TYPE(TYPE::PTR);

/// Over what a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Udp,
    Tcp,
}

/// Starts a container that waits, in the background.
fn start(place: &Place<'_>, host: &Host, name: &str, flags: &[&str]) {
    let rootfs = host.rootfs_flag();
    let name = format!("--name={name}");
    let fixed = [name.as_str(), rootfs.as_str(), "/bin/sh", "-c", WAITS];
    let ran = place.verb("run", &[&["-d"], flags, &fixed].concat());
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:?}");
}

fn question(name: &str, kind: QTYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(rand());
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name).expect("a name"), kind, CLASS::IN.into(), false));
    packet.build_bytes_vec().expect("it is written")
}

fn rand() -> u16 {
    let mut bytes = [0; 2];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
    u16::from_ne_bytes(bytes)
}

/// Sends bytes as a program in the network namespace of process `pid` would; what comes back, if anything does.
fn exchange(pid: &str, server: &str, message: &[u8], over: Over, patience: Duration) -> Option<Vec<u8>> {
    let network = File::open(format!("/proc/{pid}/ns/net")).expect("it lives");
    let server: SocketAddr = server.parse().expect("an address");
    let message = message.to_vec();
    let thread = std::thread::spawn(move || -> std::io::Result<Vec<u8>> {
        sys::namespace::join(network.as_fd(), sys::clone::flags::NEWNET)?;
        let mut room = vec![0; 65_535];
        match over {
            Over::Udp => {
                let any: IpAddr = if server.is_ipv4() {
                    Ipv4Addr::UNSPECIFIED.into()
                } else {
                    Ipv6Addr::UNSPECIFIED.into()
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(server)?;
                socket.set_read_timeout(Some(patience))?;
                socket.send(&message)?;
                let length = socket.recv(&mut room)?;
                room.truncate(length);
            }
            Over::Tcp => {
                let mut stream = TcpStream::connect_timeout(&server, patience)?;
                stream.set_read_timeout(Some(patience))?;
                let length = u16::try_from(message.len()).expect("it is short");
                stream.write_all(&[&length.to_be_bytes(), &message[..]].concat())?;
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                room.truncate(u16::from_be_bytes(length).into());
                stream.read_exact(&mut room)?;
            }
        }
        Ok(room)
    });
    thread.join().expect("no panic").ok()
}

/// What a container gets as the answer to a question: the records and the code, in words, or nothing.
fn asked(
    place: &Place<'_>,
    container: &str,
    server: &str,
    name: &str,
    kind: QTYPE,
    over: Over,
) -> Vec<String> {
    let pid = place.field(container, ".State.Pid");
    let message = question(name, kind);
    let Some(reply) = exchange(&pid, server, &message, over, Duration::from_secs(10)) else {
        return vec!["nothing".to_owned()];
    };
    assert_eq!(reply[..2], message[..2], "it is the answer to this");
    let packet = Packet::parse(&reply).expect("it is an answer");
    let mut said: Vec<String> = packet.answers.iter().map(|record| in_words(&record.rdata)).collect();
    said.sort();
    if packet.has_flags(PacketFlag::TRUNCATION) {
        said.push("truncated".to_owned());
    }
    if packet.rcode() != simple_dns::RCODE::NoError {
        said.push(format!("{:?}", packet.rcode()));
    }
    said
}

fn in_words(data: &RData<'_>) -> String {
    match data {
        RData::A(address) => Ipv4Addr::from(address.address).to_string(),
        RData::AAAA(address) => Ipv6Addr::from(address.address).to_string(),
        RData::PTR(name) => name.0.to_string(),
        other => format!("{other:?}"),
    }
}

/// A line of what a program in a container says.
fn inside(place: &Place<'_>, container: &str, script: &str) -> Ran {
    place.verb("exec", &[container, "/bin/sh", "-c", script])
}

/// The pids of the responders of this host.
fn responders(host: &Host) -> Vec<String> {
    let lines = host.processes();
    let found = lines.iter().filter(|line| line.contains("internal-answer-names"));
    found.filter_map(|line| line.split_ascii_whitespace().nth(1)).map(str::to_owned).collect()
}

const GATEWAY: &str = "172.20.0.1:53";
const NETWORK: [&str; 2] = ["-n", "web0"];

#[test]
fn containers_of_a_network_find_each_other_by_name_and_short_id_in_both_families_and_back() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    std::os::unix::fs::symlink("busybox", host.rootfs().join("bin/nslookup")).expect("a link");
    start(&place, &host, "one", &NETWORK);
    start(&place, &host, "two", &[&NETWORK[..], &["-h", "inner"]].concat());
    let id = place.field("one", ".Id");
    let ipv6 = inside(&place, "one", "ip -6 -o addr show dev eth0 scope global | grep -o 'fd[0-9a-f:]*'");
    let ipv6 = ipv6.text();
    for over in [Over::Udp, Over::Tcp] {
        let ask = |name: &str, kind| asked(&place, "two", GATEWAY, name, kind, over);
        assert_eq!(ask("one", A), ["172.20.0.2"]);
        assert_eq!(ask("ONE.web0", A), ["172.20.0.2"]);
        assert_eq!(ask(&id[..12], A), ["172.20.0.2"]);
        assert_eq!(ask("inner", A), ["172.20.0.3"]);
        assert_eq!(ask("one", AAAA), [ipv6]);
        assert_eq!(ask("one", QTYPE::TYPE(TYPE::MX)), [""; 0]);
        assert_eq!(ask("2.0.20.172.in-addr.arpa", PTR), ["one.web0"]);
        assert_eq!(ask("77.0.20.172.in-addr.arpa", PTR), ["NameError"]);
    }
    // By IPv6, too.
    let gateway = inside(&place, "two", "ip -6 route show default | grep -o 'fd[0-9a-f:]*'");
    let gateway = format!("[{}]:53", gateway.text());
    assert_eq!(asked(&place, "two", &gateway, "one", A, Over::Udp), ["172.20.0.2"]);
    assert_eq!(asked(&place, "two", &gateway, "one", A, Over::Tcp), ["172.20.0.2"]);
    // As programs look names up.
    let conf = inside(&place, "two", "cat /etc/resolv.conf");
    assert!(conf.text().contains("nameserver 172.20.0.1\n") && conf.text().contains("ndots:0"), "{conf:?}");
    let found = inside(&place, "two", "nslookup one; nslookup 172.20.0.2");
    assert!(found.text().contains("Address: 172.20.0.2") && found.text().contains("one.web0"), "{found:?}");
    assert_eq!(responders(&host).len(), 1, "one process for the network");
    assert_eq!(place.verb("rm", &["-f", "-t0", "one", "two"]).code(), 0);
    eventually("the responder ends", || responders(&host).is_empty());
    place.assert_nothing_left();
}

#[test]
fn names_follow_renaming_restart_and_removal() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    start(&place, &host, "asks", &NETWORK);
    start(&place, &host, "old", &NETWORK);
    let ask = |name: &str| asked(&place, "asks", GATEWAY, name, A, Over::Udp);
    let unknown = ["ServerFailure"];
    host.set_up("mount --bind /dev/null /etc/resolv.conf");
    assert_eq!(ask("old"), ["172.20.0.3"]);
    assert_eq!(place.verb("rename", &["old", "new"]).code(), 0);
    // At once: whoever has renamed it may use the name.
    assert_eq!(
        (ask("new"), ask("old")),
        (vec!["172.20.0.3".to_owned()], unknown.map(str::to_owned).to_vec())
    );
    assert_eq!(ask("3.0.20.172.in-addr.arpa").len(), 0);
    assert_eq!(asked(&place, "asks", GATEWAY, "3.0.20.172.in-addr.arpa", PTR, Over::Udp), ["new.web0"]);
    assert_eq!(place.verb("restart", &["-t0", "new"]).code(), 0);
    assert_eq!(ask("new"), ["172.20.0.3"]);
    assert_eq!(place.verb("stop", &["-t0", "new"]).code(), 0);
    eventually("one that has stopped is not found", || ask("new") == unknown);
    assert_eq!(place.verb("start", &["new"]).code(), 0);
    assert_eq!(ask("new"), ["172.20.0.3"]);
    assert_eq!(place.verb("rm", &["-f", "-t0", "new"]).code(), 0);
    eventually("one that is removed is not found", || ask("new") == unknown);
    host.set_up("umount /etc/resolv.conf");
    assert_eq!(place.verb("rm", &["-f", "-t0", "asks"]).code(), 0);
    place.assert_nothing_left();
}

#[test]
fn name_of_a_killed_command_is_not_answered_any_more() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    start(&place, &host, "asks", &NETWORK);
    host.set_up("mount --bind /dev/null /etc/resolv.conf");
    let mut killed = host.background(&["-n", "web0", "-h", "killed"], "killed", "read end");
    let ask = || asked(&place, "asks", GATEWAY, "killed", A, Over::Udp);
    assert_eq!(ask(), ["172.20.0.3"]);
    killed.signal("KILL");
    // The lease's file stays until the next command: it is the death of its holder that is told of.
    eventually("it is not found", || ask() == ["ServerFailure"]);
    drop(killed);
    host.set_up("umount /etc/resolv.conf");
    assert_eq!(place.verb("rm", &["-f", "-t0", "asks"]).code(), 0);
    // Sweeps what the killed one left.
    assert_eq!(host.inside(&["--network=none"], "true").code(), 0);
    place.assert_nothing_left();
}

#[test]
fn responder_that_was_killed_comes_back_with_the_next_container() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    start(&place, &host, "one", &NETWORK);
    let [responder] = &responders(&host)[..] else { panic!("one responder") };
    host.shell(&format!("kill -KILL {responder}"));
    eventually("it is dead", || responders(&host).is_empty());
    assert_eq!(asked(&place, "one", GATEWAY, "one", A, Over::Udp), ["nothing"]);
    start(&place, &host, "two", &NETWORK);
    assert_eq!(asked(&place, "one", GATEWAY, "two", A, Over::Udp), ["172.20.0.3"]);
    assert_eq!(asked(&place, "two", GATEWAY, "one", A, Over::Tcp), ["172.20.0.2"]);
    assert_eq!(responders(&host).len(), 1);
    assert_eq!(place.verb("rm", &["-f", "-t0", "one", "two"]).code(), 0);
    place.assert_nothing_left();
}

#[test]
fn nobody_but_the_networks_containers_is_answered() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    start(&place, &host, "one", &NETWORK);
    start(&place, &host, "stranger", &["-n", "other0"]);
    let message = question("one", A);
    let ask =
        |pid: &str, message: &[u8]| exchange(pid, GATEWAY, message, Over::Udp, Duration::from_millis(500));
    let own = place.field("one", ".State.Pid");
    assert!(ask(&own, &message).is_some());
    // The host itself, another network's container, and one with an address that is none of the network's.
    assert_eq!(ask(&host.pid().to_string(), &message), None);
    assert_eq!(ask(&place.field("stranger", ".State.Pid"), &message), None);
    assert_eq!(
        exchange(&host.pid().to_string(), GATEWAY, &message, Over::Tcp, Duration::from_millis(500)),
        None
    );
    // What is no question does no harm.
    for bytes in [&b"x"[..], &[0xff; 600], &message[..20], &[0; 12]] {
        let _ = exchange(&own, GATEWAY, bytes, Over::Udp, Duration::from_millis(50));
        let _ = exchange(&own, GATEWAY, bytes, Over::Tcp, Duration::from_millis(50));
    }
    assert!(ask(&own, &message).is_some());
    assert_eq!(place.verb("rm", &["-f", "-t0", "one", "stranger"]).code(), 0);
    place.assert_nothing_left();
}

#[test]
fn default_network_has_no_responder_and_the_hosts_name_servers() {
    let Some(host) = Host::new() else { return };
    let place = Place::of(&host);
    start(&place, &host, "one", &[]);
    assert_eq!(responders(&host), [""; 0]);
    let conf = inside(&place, "one", "cat /etc/resolv.conf");
    assert!(!conf.stdout.contains("172.19.0.1") && !conf.stdout.contains("ndots:0"), "{conf:?}");
    assert_eq!(place.verb("rm", &["-f", "-t0", "one"]).code(), 0);
    place.assert_nothing_left();
}
