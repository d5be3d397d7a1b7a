//! Owns the removal of flows from the kernel's connection tracking. The kernel redirects a flow by what the rules
//! said about its first packet; of UDP, a client that goes on sending keeps its flow for ever. So whoever changes
//! where a port of UDP leads must also forget its flows.
//!
//! Nothing here is an error: a kernel without ctnetlink forgets them after its own timeout (30 seconds of silence).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kernel::*;
use crate::nftables::{NFGENMSG, nfgenmsg};
use crate::ports::Protocol;
use netlink::{AttributeIter, Batch, Socket};

/// A tracked flow, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    /// To which of whose ports the client sends.
    pub destination: IpAddr,
    pub port: u16,
    /// Who answers.
    pub server: IpAddr,
}

/// Forgets the flows of UDP that `is_wanted` picks. The kernel goes through its whole table for it, which takes some
/// milliseconds, unless it tracks nothing at all.
pub(crate) fn forget_udp(mut is_wanted: impl FnMut(Flow) -> bool) {
    let count = std::fs::read("/proc/sys/net/netfilter/nf_conntrack_count");
    if count.is_ok_and(|count| count.trim_ascii() == b"0") {
        return;
    }
    // With a filter the kernel wants a family.
    for family in [AF_INET, AF_INET6] {
        forget_udp_of(family, &mut is_wanted);
    }
}

fn forget_udp_of(family: u8, mut is_wanted: impl FnMut(Flow) -> bool) {
    let Ok(mut socket) = Socket::netfilter() else { return };
    let mut found = Vec::new();
    let dumped = socket.dump(&request(family), |message| {
        if let Some((_, attributes)) = message.split(NFGENMSG)
            && message.kind == kind(IPCTNL_MSG_CT_NEW)
            && let Some(flow) = read(attributes)
            && is_wanted(flow)
            && let (Some(tuple), Some(id)) = (attributes.find(CTA_TUPLE_ORIG), attributes.find(CTA_ID))
        {
            found.push((tuple.to_vec(), id.to_vec()));
        }
    });
    if dumped.is_err() {
        return;
    }
    for some in found.chunks(64) {
        let mut batch = Batch::new();
        for (tuple, id) in some {
            batch.message(kind(IPCTNL_MSG_CT_DELETE), NLM_F_ACK, &nfgenmsg(family, 0), |m| {
                m.put(CTA_TUPLE_ORIG | NLA_F_NESTED, tuple);
                m.put(CTA_ID, id);
            });
        }
        // Gone meanwhile is as good.
        let _ = socket.exchange(&batch, |_| ());
    }
}

fn kind(message: u16) -> u16 {
    NFNL_SUBSYS_CTNETLINK << 8 | message
}

/// Asks for the flows of UDP alone (CTA_FILTER since 5.8).
fn request(family: u8) -> Batch {
    let mut batch = Batch::new();
    batch.message(kind(IPCTNL_MSG_CT_GET), NLM_F_DUMP, &nfgenmsg(family, 0), |m| {
        m.nest(CTA_TUPLE_ORIG, |m| {
            m.nest(CTA_TUPLE_PROTO, |m| m.put(CTA_PROTO_NUM, &[Protocol::Udp.number()]));
        });
        m.nest(CTA_FILTER, |m| {
            m.put_u32(CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_CTA_PROTO_NUM);
            m.put_u32(CTA_FILTER_REPLY_FLAGS, 0);
        });
    });
    batch
}

fn read(attributes: AttributeIter<'_>) -> Option<Flow> {
    let original = attributes.find_nest(CTA_TUPLE_ORIG).find_nest(CTA_TUPLE_PROTO);
    if original.find(CTA_PROTO_NUM)? != [Protocol::Udp.number()] {
        return None;
    }
    let port = u16::from_be_bytes(*original.find(CTA_PROTO_DST_PORT)?.first_chunk()?);
    let addresses = |tuple, ipv4, ipv6| {
        let addresses = attributes.find_nest(tuple).find_nest(CTA_TUPLE_IP);
        match (addresses.find(ipv4), addresses.find(ipv6)) {
            (Some(address), _) => Some(IpAddr::V4(Ipv4Addr::from(*address.first_chunk::<4>()?))),
            (_, Some(address)) => Some(IpAddr::V6(Ipv6Addr::from(*address.first_chunk::<16>()?))),
            _ => None,
        }
    };
    let destination = addresses(CTA_TUPLE_ORIG, CTA_IP_V4_DST, CTA_IP_V6_DST)?;
    let server = addresses(CTA_TUPLE_REPLY, CTA_IP_V4_SRC, CTA_IP_V6_SRC)?;
    Some(Flow { destination, port, server })
}
