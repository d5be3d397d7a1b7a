//! Owns the maps of published ports: their shapes, and their elements from publications and back. Sends nothing but
//! the questions for what is in them.
//!
//! A range that leads to the same ports is one element; of one that leads to others, nf_tables can't compute the
//! distance, so it is an element for each port. An element's comment says whose it is: network, lease, holder.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use crate::kernel::*;
use crate::masquerade::TABLE;
use crate::nft_maps::{self, Element, Map};
use crate::nftables::Transaction;
use crate::options::{ContainerInterface, InterfaceName};
use crate::ports::{Protocol, Publication};
use netlink::Socket;

/// `ipv4_addr`, `ipv6_addr`, `inet_proto` and `inet_service`, as `nft` numbers its types.
const IPV4: u32 = 7;
const IPV6: u32 = 8;
const PROTOCOL: u32 = 12;
const SERVICE: u32 = 13;

/// In this order everywhere: for each family the map to other ports and the map to the same ports.
pub(crate) const MAPS: [Map<'static>; 4] = [
    map("other_port_ip", &[4, 1, 2], IPV4, IPV4 << 6 | SERVICE, 8),
    map("same_port_ip", &[4, 1, 2], IPV4, IPV4, 4),
    map("other_port_ip6", &[16, 1, 2], IPV6, IPV6 << 6 | SERVICE, 20),
    map("same_port_ip6", &[16, 1, 2], IPV6, IPV6, 16),
];

const fn map(
    name: &'static str,
    key: &'static [u32],
    address: u32,
    data_type: u32,
    data: u32,
) -> Map<'static> {
    Map { table: TABLE, name, key, key_type: (address << 6 | PROTOCOL) << 6 | SERVICE, data_type, data }
}

/// Elements, each with the index of its map.
pub(crate) type Elements = Vec<(usize, Element)>;

/// What the publication needs in the maps to lead to the interface.
pub(crate) fn elements_of(
    publication: &Publication,
    interface: &ContainerInterface,
    comment: &str,
) -> Elements {
    let mut elements = Elements::new();
    let mut add = |index, first: &[u8], last: &[u8], to: &[u8]| {
        let key = |address: &[u8], port: u16| {
            let [high, low] = port.to_be_bytes();
            [address, &[publication.protocol.number(), 0, 0, 0, high, low, 0, 0]].concat()
        };
        let comment = comment.to_owned();
        if publication.keeps_ports() {
            let (first, last) = (key(first, publication.host.first()), key(last, publication.host.last()));
            elements.push((index + 1, Element { first, last, data: to.to_vec(), comment }));
            return;
        }
        let pairs = publication.host.ports().zip(publication.container_ports().ports());
        elements.extend(pairs.map(|(host, container)| {
            let [high, low] = container.to_be_bytes();
            let data = [to, &[high, low, 0, 0]].concat();
            let (first, last) = (key(first, host), key(last, host));
            (index, Element { first, last, data, comment: comment.clone() })
        }));
    };
    let all_ipv4 = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let ipv4 = match publication.address {
        None => Some(all_ipv4),
        Some(IpAddr::V4(address)) if address.is_unspecified() => Some(all_ipv4),
        Some(IpAddr::V4(address)) => Some((address, address)),
        Some(IpAddr::V6(_)) => None,
    };
    if let Some((first, last)) = ipv4 {
        add(0, &first.octets(), &last.octets(), &interface.ipv4().octets());
    }
    let all_ipv6 = (Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX));
    let ipv6 = match publication.address {
        None => Some(all_ipv6),
        Some(IpAddr::V6(address)) if address.is_unspecified() => Some(all_ipv6),
        Some(IpAddr::V6(address)) => Some((address, address)),
        Some(IpAddr::V4(_)) => None,
    };
    if let (Some((first, last)), Some(to)) = (ipv6, interface.ipv6()) {
        add(2, &first.octets(), &last.octets(), &to.octets());
    }
    elements
}

/// Whether a packet could fit both: every field of the keys overlaps.
pub(crate) fn overlap(one: &Element, other: &Element) -> bool {
    let Some(address) = one.first.len().checked_sub(8).filter(|_| one.first.len() == other.first.len())
    else {
        return false;
    };
    [0..address, address..address + 4, address + 4..address + 8].into_iter().all(|field| {
        // Numbers in network byte order compare as their bytes do.
        let part = |key: &[u8]| key.get(field.clone()).map(<[u8]>::to_vec);
        part(&one.first) <= part(&other.last) && part(&other.first) <= part(&one.last)
    })
}

/// How an element says whose it is.
pub(crate) fn owner(network: &InterfaceName, address: Ipv4Addr, id: &str) -> String {
    let id: String = id.chars().take(64).collect();
    format!("{network} {address} {id}")
}

pub(crate) fn read_owner(comment: &str) -> Option<(&str, Ipv4Addr, &str)> {
    let mut words = comment.splitn(3, ' ');
    Some((words.next()?, words.next()?.parse().ok()?, words.next()?))
}

/// Adds or deletes elements, map by map.
pub(crate) fn change(
    transaction: &mut Transaction,
    elements: &Elements,
    how: impl Fn(&mut Transaction, &str, &str, &[Element]),
) {
    for (index, map) in MAPS.iter().enumerate() {
        let own = elements.iter().filter(|(at, _)| *at == index);
        let own: Vec<Element> = own.map(|(_, element)| element.clone()).collect();
        if !own.is_empty() {
            how(transaction, map.table, map.name, &own);
        }
    }
}

/// What is in all maps; nothing if one of them does not exist.
pub(crate) fn all_elements(socket: &mut Socket) -> std::result::Result<Option<Elements>, Errno> {
    let mut all = Elements::new();
    for (index, map) in MAPS.iter().enumerate() {
        match nft_maps::elements(socket, NFPROTO_INET, map.table, map.name)? {
            Some(elements) => all.extend(elements.into_iter().map(|element| (index, element))),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

pub(crate) fn protocol(index: usize, element: &Element) -> Option<Protocol> {
    let address = if index < 2 { 4 } else { 16 };
    element.first.get(address).copied().and_then(Protocol::of_number)
}

pub(crate) fn server(index: usize, element: &Element) -> Option<IpAddr> {
    Some(if index < 2 {
        Ipv4Addr::from(*element.data.first_chunk::<4>()?).into()
    } else {
        Ipv6Addr::from(*element.data.first_chunk::<16>()?).into()
    })
}
