//! Owns the way back of containers whose bridge somebody has deleted: their interfaces are there and lead nowhere. Makes no
//! bridge and no pair.

use rustix::io::Errno;

use crate::attachment::{add_address, add_hairpin, other_end};
use crate::bridge::Bridge;
use crate::error::{Error, Result};
use crate::kernel::*;
use crate::port_maps::{all_elements, read_owner};
use crate::publish;
use crate::republish::Tenant;
use netlink::{Batch, Socket};

/// Makes the host's end of a container's pair a port of the bridge again, with all that it had there. One that is gone, as
/// its container is, is no error.
pub fn reattach(bridge: &Bridge, tenant: Tenant<'_>) -> Result<()> {
    let error = |errno| Error::from_errno("attach container again at", tenant.address.to_string(), errno);
    let Some((mac, index)) = other_end(tenant).map_err(error)? else { return Ok(()) };
    let is_led_to = is_led_to(bridge, tenant).map_err(error)?;
    let mut batch = Batch::new();
    batch.message(RTM_SETLINK, NLM_F_ACK, &ifinfomsg(index, IFF_UP, IFF_UP), |m| {
        m.put_u32(IFLA_MASTER, bridge.index);
    });
    add_address(&mut batch, index, &mac);
    if is_led_to {
        add_hairpin(&mut batch, index);
    }
    match Socket::route().map_err(error)?.execute(&batch) {
        Err(failure) if failure.errno == Errno::NODEV => return Ok(()),
        other => other.map_err(|failure| error(failure.errno))?,
    }
    if is_led_to { publish::let_loopback_through(&bridge.network, bridge.index) } else { Ok(()) }
}

/// Whether published ports lead to the container.
fn is_led_to(bridge: &Bridge, tenant: Tenant<'_>) -> std::result::Result<bool, Errno> {
    let mut socket = match Socket::netfilter() {
        Err(Errno::PROTONOSUPPORT) => return Ok(false),
        other => other?,
    };
    let elements = all_elements(&mut socket)?.unwrap_or_default();
    let name = bridge.network.name().as_str();
    Ok(elements.iter().any(|(_, element)| {
        read_owner(&element.comment).is_some_and(|(network, at, _)| network == name && at == tenant.address)
    }))
}
