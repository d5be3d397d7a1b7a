//! Questions and answers, read and written by other code than ours; and bytes that are neither.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use simple_dns::rdata::{OPT, OPTCode, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

use super::table::{Holder, Table, Verdict};
use super::wire::{self, Carrier, Code, Read};
use crate::options::{BridgeNetwork, Ipv6Choice, NetworkOptions, NetworkSettings};

fn network() -> BridgeNetwork {
    let options = NetworkOptions {
        name: "web0".into(),
        ipv4: "172.20.0.1/16".into(),
        ipv6: Ipv6Choice::Off,
        settings: NetworkSettings::default(),
    };
    options.check().expect("legal")
}

fn table() -> Table {
    let holder = |last, names: &[&str]| Holder {
        ipv4: Some(Ipv4Addr::new(172, 20, 0, last)),
        ipv6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into())),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        servers: Vec::new(),
    };
    let alone = Holder { ipv6: None, ..holder(4, &["Alone", "my.own.name"]) };
    Table::new(vec![holder(2, &["one", "both"]), holder(3, &["two", "both"]), alone])
}

fn question(name: &str, kind: QTYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(4711);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name).expect("a name"), kind, CLASS::IN.into(), false));
    packet.build_bytes_vec().expect("it is written")
}

fn verdict(table: &mut Table, bytes: &[u8]) -> Option<Vec<u8>> {
    let Read::Query(query) = wire::read(bytes) else { panic!("it is a question") };
    match table.answer(&query, &network(), "web0") {
        Verdict::Reply(code, answers) => Some(query.reply(code, &answers, Carrier::Udp)),
        Verdict::Forward => None,
    }
}

/// What is answered, in words.
fn said(table: &mut Table, name: &str, kind: QTYPE) -> Option<Vec<String>> {
    let bytes = question(name, kind);
    let reply = verdict(table, &bytes)?;
    let packet = Packet::parse(&reply).expect("it is an answer");
    assert_eq!(packet.id(), 4711);
    assert!(
        packet.has_flags(
            PacketFlag::RESPONSE | PacketFlag::RECURSION_AVAILABLE | PacketFlag::RECURSION_DESIRED
        )
    );
    assert_eq!(packet.questions[0].qname.to_string(), name.trim_end_matches('.'));
    assert!(packet.rcode() == RCODE::NoError || packet.answers.is_empty());
    let said = packet.answers.iter().map(|record| {
        assert_eq!(record.name, packet.questions[0].qname);
        match &record.rdata {
            RData::A(address) => Ipv4Addr::from(address.address).to_string(),
            RData::AAAA(address) => Ipv6Addr::from(address.address).to_string(),
            RData::PTR(name) => name.0.to_string(),
            other => panic!("{other:?}"),
        }
    });
    let mut said: Vec<String> = said.collect();
    if packet.rcode() != RCODE::NoError {
        said.push(format!("{:?}", packet.rcode()));
    }
    Some(said)
}

#[test]
fn names_are_found_in_any_case_with_the_networks_name_or_without() {
    let (ipv4, ipv6) = (QTYPE::TYPE(TYPE::A), QTYPE::TYPE(TYPE::AAAA));
    let table = &mut table();
    assert_eq!(said(table, "one", ipv4), Some(vec!["172.20.0.2".into()]));
    assert_eq!(said(table, "ONE", ipv6), Some(vec!["fd00::2".into()]));
    assert_eq!(said(table, "two.Web0", ipv4), Some(vec!["172.20.0.3".into()]));
    assert_eq!(said(table, "my.own.name", ipv4), Some(vec!["172.20.0.4".into()]));
    assert_eq!(said(table, "one", QTYPE::ANY), Some(vec!["172.20.0.2".into(), "fd00::2".into()]));
    // It has none, and nobody else knows better.
    assert_eq!(said(table, "alone", ipv6), Some(vec![]));
    assert_eq!(said(table, "one", QTYPE::TYPE(TYPE::MX)), Some(vec![]));
    for other in ["three", "one.web1", "own.name", "one.example.org", "web0", "."] {
        assert_eq!(said(table, other, ipv4), None, "{other}");
    }
    assert_eq!(said(table, "example.org", QTYPE::AXFR), Some(vec!["Refused".into()]));
}

#[test]
fn name_of_several_begins_with_each_of_them_in_turn() {
    let table = &mut table();
    let mut first = || said(table, "both", QTYPE::TYPE(TYPE::A)).expect("it is known");
    let (one, two) = (first(), first());
    assert_eq!(one.len(), 2);
    assert_eq!((&one[0], &one[1]), (&two[1], &two[0]));
}

#[test]
fn addresses_have_the_name_of_their_container_and_those_of_the_subnet_no_other() {
    let pointer = QTYPE::TYPE(TYPE::PTR);
    let table = &mut table();
    assert_eq!(said(table, "2.0.20.172.in-addr.arpa", pointer), Some(vec!["one.web0".into()]));
    let ipv6 = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.F.ip6.arpa";
    assert_eq!(said(table, ipv6, pointer), Some(vec!["two.web0".into()]));
    assert_eq!(said(table, "9.9.20.172.in-addr.arpa", pointer), Some(vec!["NameError".into()]));
    for other in ["1.2.0.192.in-addr.arpa", "2.0.20.172.x.in-addr.arpa", "20.172.in-addr.arpa", "0.ip6.arpa"]
    {
        assert_eq!(said(table, other, pointer), None, "{other}");
    }
}

#[test]
fn answers_over_udp_have_the_room_that_was_asked_for_and_say_what_they_lack() {
    let many = (0..200).map(|number| Holder {
        ipv4: Some(Ipv4Addr::new(172, 20, 1, number)),
        names: vec!["all".into()],
        ..Holder::default()
    });
    let mut table = Table::new(many.collect());
    let plain = question("all", QTYPE::TYPE(TYPE::A));
    let mut asked = Packet::parse(&plain).expect("it is a question").clone();
    let opt_codes = vec![OPTCode { code: 10, data: b"cookie"[..].into() }];
    *asked.opt_mut() = Some(OPT { opt_codes, udp_packet_size: 4000, version: 0 });
    let extended = asked.build_bytes_vec().expect("it is written");
    for (bytes, room) in [(&plain, 512), (&extended, 1232)] {
        let reply = verdict(&mut table, bytes).expect("it is known");
        let packet = Packet::parse(&reply).expect("it is an answer");
        assert!(reply.len() <= room && reply.len() > room - 16, "{}", reply.len());
        assert!(packet.has_flags(PacketFlag::TRUNCATION));
        assert_eq!(packet.opt().map(|opt| opt.udp_packet_size), (room == 1232).then_some(1232));
    }
    let Read::Query(query) = wire::read(&plain) else { panic!("it is a question") };
    let Verdict::Reply(code, answers) = table.answer(&query, &network(), "web0") else {
        panic!("it is known")
    };
    let reply = query.reply(code, &answers, Carrier::Tcp);
    let packet = Packet::parse(&reply).expect("it is an answer");
    assert_eq!((packet.answers.len(), packet.has_flags(PacketFlag::TRUNCATION)), (200, false));
}

#[test]
fn what_is_no_question_gets_an_error_and_an_answer_gets_none() {
    let good = question("one", QTYPE::TYPE(TYPE::A));
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(wire::read(&changed(2, 0x80)), Read::NoQuery);
    assert_eq!(wire::read(&good[..11]), Read::NoQuery);
    let (format, kind) = (Read::Unfit(Code::FormatError), Read::Unfit(Code::NotImplemented));
    assert_eq!(wire::read(&changed(2, 0x28)), kind, "an update");
    assert_eq!(wire::read(&changed(5, 2)), format, "two questions");
    assert_eq!(wire::read(&changed(5, 0)), format, "none");
    assert_eq!(wire::read(&changed(11, 1)), format, "a record that is not there");
    assert_eq!(wire::read(&changed(12, 0xc0)), format, "a name that points elsewhere");
    assert_eq!(wire::read(&changed(12, 0x40)), format, "a label of a kind that is gone");
    assert_eq!(wire::read(&good[..good.len() - 1]), format, "cut off");
    let refusal = wire::unfit(&good, Code::FormatError);
    let packet = Packet::parse(&refusal).expect("it is an answer");
    assert_eq!((packet.id(), packet.rcode()), (4711, RCODE::FormatError));
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let names = prop_oneof![
        Just("one".to_owned()),
        Just("2.0.20.172.in-addr.arpa".to_owned()),
        "[a-z0-9.]{1,200}".prop_filter("a name", |name| Name::new(name).is_ok())
    ];
    let near = (names, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(name, changes, end, cut)| {
            let mut bytes = question(&name, QTYPE::TYPE(TYPE::A));
            // An OPT record with an option.
            bytes.extend([0, 0, 41, 16, 0, 0, 0, 128, 0, 0, 6, 0, 10, 0, 2, 1, 2]);
            bytes[11] = 1;
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if cut {
                bytes.truncate(end.index(bytes.len() + 1));
            }
            bytes
        },
    );
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..600), near]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_do_harm_and_each_answer_can_be_read(bytes in hostile(), tcp in any::<bool>()) {
        let carrier = if tcp { Carrier::Tcp } else { Carrier::Udp };
        let mut table = table();
        let reply = match wire::read(&bytes) {
            Read::NoQuery => None,
            Read::Unfit(code) => Some(wire::unfit(&bytes, code)),
            Read::Query(query) => match table.answer(&query, &network(), "web0") {
                Verdict::Reply(code, answers) => Some(query.reply(code, &answers, carrier)),
                Verdict::Forward => Some(query.reply(Code::ServerFailure, &[], carrier)),
            },
        };
        if let Some(reply) = reply {
            prop_assert_eq!(&reply[..2], &bytes[..2]);
            prop_assert!(reply[2] & 0x80 != 0, "it is an answer");
            prop_assert!(tcp || reply.len() <= 1232);
            // No answer is answered.
            prop_assert_eq!(wire::read(&reply), Read::NoQuery);
            let kind = bytes.get(12..).and_then(|_| match wire::read(&bytes) {
                Read::Query(query) => Some((query.kind, query.class)),
                _ => None,
            });
            // The other code knows fewer types than there are.
            if kind.is_none_or(|(kind, class)| [1, 2, 5, 12, 15, 16, 28].contains(&kind) && class == wire::IN) && bytes[2] & 0x78 == 0 {
                prop_assert!(Packet::parse(&reply).is_ok(), "{reply:?}");
            }
        }
    }

    #[test]
    fn names_that_fit_are_answered_as_they_are(name in "[!-~]{1,80}") {
        let fit = super::fit(std::slice::from_ref(&name));
        let mut table = Table::new(vec![Holder { ipv4: Some(Ipv4Addr::new(172, 20, 0, 9)), names: fit, ..Holder::default() }]);
        let bytes = question("9.0.20.172.in-addr.arpa", QTYPE::TYPE(TYPE::PTR));
        let reply = verdict(&mut table, &bytes).expect("it is known");
        let packet = Packet::parse(&reply).expect("it is an answer");
        prop_assert_eq!(packet.answers.len(), usize::from(wire::is_name(&name)));
    }
}

#[test]
fn containers_with_servers_of_their_own_are_known_by_their_addresses() {
    let server: IpAddr = "192.0.2.53".parse().expect("an address");
    let address = Ipv4Addr::new(172, 20, 0, 2);
    let table = Table::new(vec![Holder { ipv4: Some(address), servers: vec![server], ..Holder::default() }]);
    assert_eq!(table.servers_of(address.into()), [server]);
    assert!(table.servers_of(Ipv4Addr::new(172, 20, 0, 3).into()).is_empty());
}
