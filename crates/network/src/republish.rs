//! Owns the change of published ports of a container that runs: what leads to its address becomes what is wanted, in one
//! transaction. The caller has nothing of that container but its word; its lease stays whose it is.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::attachment;
use crate::conntrack;
use crate::error::{Error, Kind, Result};
use crate::kernel::NFPROTO_INET;
use crate::link;
use crate::nft_maps::Element;
use crate::nftables::Transaction;
use crate::options::BridgeNetwork;
use crate::port_holder::PortHolder;
use crate::port_maps::{Elements, all_elements, change, elements_of, owner, protocol, read_owner};
use crate::ports::{Protocol, Publication};
use crate::publish::{self, MOST_ELEMENTS, MOST_TRIES, Outcome};
use crate::state::NetworkStateDirectory;
use netlink::Socket;

/// A container that has a lease and runs.
#[derive(Debug, Clone, Copy)]
pub struct Tenant<'a> {
    /// The id by which it has its lease.
    pub holder: &'a str,
    /// Its address.
    pub address: Ipv4Addr,
    /// The interface there that has it.
    pub interface: &'a str,
    /// Its network namespace: an open `/proc/PID/ns/net`.
    pub namespace: BorrowedFd<'a>,
}

/// Makes `wanted` all that leads to the container. Whoever asks for it makes sure that the ports are held.
///
/// Repeating it changes nothing, so one that was killed on the way is done again. An error leaves what was there.
pub fn republish(
    network: &BridgeNetwork,
    state: &NetworkStateDirectory,
    tenant: Tenant<'_>,
    wanted: &[Publication],
) -> Result<()> {
    let object = || tenant.address.to_string();
    let error = |errno| Error::from_errno("change published ports of container at", object(), errno);
    let interface = network.container_interface(tenant.address)?;
    if !state.holds(network.name().as_str(), tenant.address, tenant.holder).map_err(error)? {
        return Err(error(Errno::SRCH));
    }
    let comment = owner(network.name(), tenant.address, tenant.holder);
    let elements: Elements =
        wanted.iter().flat_map(|publication| elements_of(publication, &interface, &comment)).collect();
    if elements.len() > MOST_ELEMENTS {
        return Err(Error::new("publish", object(), Kind::TooManyPorts));
    }
    let mut route = Socket::route().map_err(error)?;
    let bridge = link::by_name(&mut route, network.name().as_str()).map_err(error)?;
    let bridge = bridge.filter(|bridge| bridge.is_our_bridge(network.name())).ok_or(Errno::NODEV);
    let bridge = bridge.map_err(error)?.index;
    if !wanted.is_empty() {
        // As a start with ports has it: it reaches itself where packets are redirected on the bridge.
        attachment::turn_hairpin_on(&mut route, tenant, bridge).map_err(error)?;
    }
    let mut socket = Socket::netfilter().map_err(error)?;
    let mut tries = 0;
    let gone = loop {
        let lock = state.lock_publications().map_err(error)?;
        let outcome = exchange(&mut socket, network, state, tenant, &elements);
        drop(lock);
        match outcome {
            Ok((Outcome::Done, gone)) => break gone,
            Ok((Outcome::Taken(_), _)) if tries < MOST_TRIES => std::thread::sleep(Duration::from_millis(1)),
            Ok((Outcome::Taken(id), _)) => {
                let kind = Kind::PortTaken(PortHolder::Container(id));
                return Err(Error::new("publish at", object(), kind));
            }
            Err(Errno::NOENT | Errno::EXIST | Errno::BUSY | Errno::NOTEMPTY) if tries < MOST_TRIES => {}
            Err(errno) => return Err(error(errno)),
        }
        tries += 1;
    };
    if !wanted.is_empty() {
        publish::let_loopback_through(network, bridge)?;
    }
    let own = [Some(IpAddr::V4(interface.ipv4())), interface.ipv6().map(IpAddr::V6)];
    forget_flows_to_gone(&gone, &own);
    publish::forget_flows_past(wanted, &own);
    Ok(())
}

/// Puts what is missing in, and takes out what is the container's and not wanted; answers with that.
fn exchange(
    socket: &mut Socket,
    network: &BridgeNetwork,
    state: &NetworkStateDirectory,
    tenant: Tenant<'_>,
    wanted: &Elements,
) -> std::result::Result<(Outcome, Elements), Errno> {
    let is_own = |element: &Element| {
        read_owner(&element.comment)
            .is_some_and(|(name, address, _)| name == network.name().as_str() && address == tenant.address)
    };
    let present = all_elements(socket)?.unwrap_or_default();
    let own: Elements = present.into_iter().filter(|(_, element)| is_own(element)).collect();
    let is_in = |list: &Elements, one: &(usize, Element)| {
        list.iter().any(|(index, other)| {
            *index == one.0
                && (&other.first, &other.last, &other.data) == (&one.1.first, &one.1.last, &one.1.data)
        })
    };
    let gone: Elements = own.iter().filter(|one| !is_in(wanted, one)).cloned().collect();
    let missing: Elements = wanted.iter().filter(|one| !is_in(&own, one)).cloned().collect();
    if missing.is_empty() {
        if !gone.is_empty() {
            let mut transaction = Transaction::new(NFPROTO_INET, None);
            change(&mut transaction, &gone, Transaction::delete_elements);
            transaction.commit(socket)?;
        }
        return Ok((Outcome::Done, gone));
    }
    Ok((publish::try_publish(socket, network, state, &missing, &gone)?, gone))
}

/// Forgets flows of UDP that a port led to the container which leads there no more: a client that keeps sending would keep
/// its flow.
fn forget_flows_to_gone(gone: &Elements, own: &[Option<IpAddr>]) {
    let udp = gone.iter().filter(|(index, element)| protocol(*index, element) == Some(Protocol::Udp));
    let ports: Vec<(u16, u16)> = udp
        .filter_map(|(_, element)| Some((last_port(&element.first)?, last_port(&element.last)?)))
        .collect();
    if !ports.is_empty() {
        conntrack::forget_udp(|flow| {
            own.contains(&Some(flow.server))
                && ports.iter().any(|(first, last)| (*first..=*last).contains(&flow.port))
        });
    }
}

/// The port of a key, which is its last field.
fn last_port(key: &[u8]) -> Option<u16> {
    let [.., high, low, _, _] = key else { return None };
    Some(u16::from_be_bytes([*high, *low]))
}
