//! Owns what rtnetlink says of the way to one address; changes none.

use std::net::IpAddr;

use rustix::io::Errno;

use crate::kernel::*;
use netlink::{Batch, Socket};

/// How the kernel would send to an address, as a type of route (rtnetlink(7)): none where it knows no way.
pub(crate) fn route_type(address: IpAddr) -> std::result::Result<Option<u8>, Errno> {
    let mut rtmsg = [0; 12];
    let octets = match address {
        IpAddr::V4(address) => {
            (rtmsg[0], rtmsg[1]) = (AF_INET, 32);
            address.octets().to_vec()
        }
        IpAddr::V6(address) => {
            (rtmsg[0], rtmsg[1]) = (AF_INET6, 128);
            address.octets().to_vec()
        }
    };
    let mut batch = Batch::new();
    batch.message(RTM_GETROUTE, 0, &rtmsg, |m| m.put(RTA_DST, &octets));
    let mut found = None;
    Socket::route()?.query(&batch, |message| {
        if message.kind == RTM_NEWROUTE {
            found = message.split(12).map(|(fixed, _)| fixed[7]);
        }
    })?;
    Ok(found)
}
