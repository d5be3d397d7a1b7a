//! What is none of the network's names goes on to other resolvers.

use std::time::{Duration, Instant};

use simple_dns::Packet;
use simple_dns::rdata::{OPT, OPTCode};

use super::resolver::{Manner, Resolver};
use super::{A, GATEWAY, NETWORK, Over, asked, exchange, question, start};
use crate::life::Place;
use crate::support::Host;

/// A host with a resolv.conf of its own.
fn host_with(conf: &str) -> Option<Host> {
    let mut host = Host::new()?;
    configure(&host, conf);
    let file = host.directory().join("resolv.conf");
    host.set_up(&format!("mount --bind {} /etc/resolv.conf", file.display()));
    host.accept_mounts();
    Some(host)
}

fn configure(host: &Host, conf: &str) {
    std::fs::write(host.directory().join("resolv.conf"), conf).expect("it is written");
}

fn assert_nothing_left(place: &Place<'_>) {
    assert_eq!(place.verb("rm", &["-f", "-t0", "-a"]).code(), 0);
    place.assert_nothing_left();
}

#[test]
fn other_names_are_asked_of_the_hosts_resolver_on_its_loopback_byte_by_byte() {
    let Some(host) = host_with("nameserver 127.0.0.1\nsearch lan\n") else { return };
    let resolver = Resolver::start(&host, "127.0.0.1", Manner::Knows, 7);
    let place = Place::of(&host);
    start(&place, &host, "one", &NETWORK);
    let ask = |name: &str, over| asked(&place, "one", GATEWAY, name, A, over);
    assert_eq!(ask("plain.example", Over::Udp), ["192.0.0.7"]);
    assert_eq!(ask("plain.example", Over::Tcp), ["192.0.0.7"]);
    assert_eq!(ask("nowhere.test", Over::Udp), ["NameError"]);
    // As docker does: the host may know more names without points.
    assert_eq!(ask("short", Over::Udp), ["NameError"]);
    assert_eq!(resolver.heard().len(), 4);
    // What the container's own names are, nobody else hears.
    assert_eq!(ask("one", Over::Udp), ["172.20.0.2"]);
    assert_eq!(ask("9.0.20.172.in-addr.arpa", Over::Udp), ["NameError"]);
    assert!(resolver.heard().is_empty());
    // A cut answer is handed on, and asked for again by TCP it is whole.
    assert_eq!(ask("big.example", Over::Udp), ["truncated"]);
    assert_eq!(ask("big.example", Over::Tcp).len(), 40);
    assert_eq!(resolver.heard().iter().map(|(over, _)| *over).collect::<Vec<_>>(), [Over::Udp, Over::Tcp]);
    // Options of EDNS and types that nobody knows go on as they came, but for the number of the question.
    let plain = question("pLaIn.example", A);
    let mut extended = Packet::parse(&plain).expect("a question").clone();
    let opt_codes = vec![OPTCode { code: 65_001, data: b"own"[..].into() }];
    *extended.opt_mut() = Some(OPT { opt_codes, udp_packet_size: 1400, version: 0 });
    let extended = extended.build_bytes_vec().expect("it is written");
    let pid = place.field("one", ".State.Pid");
    let reply = exchange(&pid, GATEWAY, &extended, Over::Udp, Duration::from_secs(5)).expect("an answer");
    let heard = resolver.heard();
    assert_eq!(heard[0].1[2..], extended[2..]);
    let reply = Packet::parse(&reply).expect("an answer");
    assert_eq!(reply.opt().map(|opt| (opt.udp_packet_size, opt.opt_codes.len())), Some((1400, 1)));
    let mut unknown = question("plain.example", A);
    let kind = unknown.len() - 3;
    unknown[kind] = 0xf0;
    let _ = exchange(&pid, GATEWAY, &unknown, Over::Udp, Duration::from_millis(200));
    assert_eq!(resolver.heard()[0].1[2..], unknown[2..]);
    let conf = super::inside(&place, "one", "cat /etc/resolv.conf");
    assert_eq!(conf.text(), "search lan\nnameserver 172.20.0.1\noptions ndots:0");
    assert_nothing_left(&place);
}

#[test]
fn next_server_is_asked_where_one_is_not_there_fails_or_is_silent() {
    let Some(host) = host_with("nameserver 127.0.0.9\nnameserver 127.0.0.1\n") else { return };
    let good = Resolver::start(&host, "127.0.0.1", Manner::Knows, 1);
    let fails = Resolver::start(&host, "127.0.0.2", Manner::Fails, 2);
    let silent = Resolver::start(&host, "127.0.0.3", Manner::Silent, 3);
    let place = Place::of(&host);
    start(&place, &host, "one", &NETWORK);
    let ask = |over| asked(&place, "one", GATEWAY, "plain.example", A, over);
    let began = Instant::now();
    assert_eq!(
        (ask(Over::Udp), ask(Over::Tcp)),
        (vec!["192.0.0.1".to_owned()], vec!["192.0.0.1".to_owned()])
    );
    assert!(began.elapsed() < Duration::from_secs(1), "nobody waits for one that is not there");
    for (first, over) in [("2", Over::Udp), ("2", Over::Tcp), ("3", Over::Udp), ("3", Over::Tcp)] {
        // Another file from the same path, as the host's own programs write it.
        configure(&host, &format!("nameserver 127.0.0.{first}\nnameserver 127.0.0.1\n# {over:?}\n"));
        let began = Instant::now();
        assert_eq!(ask(over), ["192.0.0.1"], "{first} {over:?}");
        assert!(began.elapsed() < Duration::from_secs(4));
    }
    assert_eq!((fails.heard().len(), silent.heard().len(), good.heard().len()), (2, 2, 6));
    configure(&host, "nameserver 127.0.0.2\n");
    assert_eq!(ask(Over::Udp), ["ServerFailure"]);
    configure(&host, "nameserver 127.0.0.3\n");
    assert_eq!(ask(Over::Udp), ["ServerFailure"]);
    assert_eq!(silent.heard().len(), 2, "a datagram may have been lost");
    assert_nothing_left(&place);
}

#[test]
fn many_questions_are_under_way_at_once_and_one_that_waits_holds_up_no_other() {
    let Some(host) = host_with("nameserver 127.0.0.3\n") else { return };
    let _silent = Resolver::start(&host, "127.0.0.3", Manner::Silent, 3);
    let _good = Resolver::start(&host, "127.0.0.1", Manner::Knows, 1);
    let place = Place::of(&host);
    start(&place, &host, "one", &NETWORK);
    let pid = place.field("one", ".State.Pid");
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..200)
            .map(|number| {
                let pid = &pid;
                scope.spawn(move || {
                    let message = question(&format!("silent{number}.example"), A);
                    exchange(pid, GATEWAY, &message, Over::Udp, Duration::from_secs(10))
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        for over in [Over::Udp, Over::Tcp] {
            let reply = exchange(&pid, GATEWAY, &question("one", A), over, Duration::from_secs(5));
            assert_eq!(Packet::parse(&reply.expect("an answer")).expect("an answer").answers.len(), 1);
        }
        assert!(waiting.iter().any(|thread| !thread.is_finished()), "others still wait");
        let answers = waiting.into_iter().map(|thread| thread.join().expect("no panic").expect("an answer"));
        assert!(
            answers
                .map(|answer| Packet::parse(&answer).expect("an answer").rcode())
                .all(|code| { code == simple_dns::RCODE::ServerFailure })
        );
    });
    configure(&host, "nameserver 127.0.0.1\n");
    assert_eq!(asked(&place, "one", GATEWAY, "plain.example", A, Over::Udp), ["192.0.0.1"]);
    assert_nothing_left(&place);
}

#[test]
fn container_with_servers_of_its_own_asks_those_by_the_responder_and_the_others_the_hosts() {
    let Some(host) = host_with("nameserver 127.0.0.1\n") else { return };
    host.set_up("ip addr add 192.0.2.53/32 dev lo");
    let _good = Resolver::start(&host, "127.0.0.1", Manner::Knows, 1);
    let _own = Resolver::start(&host, "192.0.2.53", Manner::Knows, 53);
    let place = Place::of(&host);
    start(&place, &host, "one", &NETWORK);
    start(
        &place,
        &host,
        "two",
        &["-n", "web0", "--dns=192.0.2.53", "--dns-search=own", "--dns-option=ndots:3"],
    );
    let ask = |from: &str, name: &str| asked(&place, from, GATEWAY, name, A, Over::Udp);
    assert_eq!(ask("one", "plain.example"), ["192.0.0.1"]);
    assert_eq!(ask("two", "plain.example"), ["192.0.0.53"]);
    assert_eq!(ask("two", "one"), ["172.20.0.2"]);
    let conf = super::inside(&place, "two", "cat /etc/resolv.conf");
    assert_eq!(conf.text(), "nameserver 172.20.0.1\nsearch own\noptions ndots:3");
    // A resolver in the container itself is asked by it alone.
    start(&place, &host, "three", &["-n", "web0", "--dns=127.0.0.1"]);
    let conf = super::inside(&place, "three", "cat /etc/resolv.conf");
    assert_eq!(conf.text(), "nameserver 127.0.0.1");
    host.set_up("ip addr del 192.0.2.53/32 dev lo");
    assert_nothing_left(&place);
}
