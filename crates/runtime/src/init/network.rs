//! The network inside: requests that were laid out beforehand, sent from within the new namespace.

use super::failure::{Call, Failure, Outcome};
use crate::plan::NetworkProgram;

/// Sends all requests; the first refusal is the failure, by its request's number.
pub(super) fn configure(program: &NetworkProgram) -> Outcome {
    sys::netlink::send_route_batch(&program.messages, program.count as u32).map_err(|failure| Failure {
        call: Call::Netlink,
        errno: failure.errno.raw_os_error(),
        item: failure.sequence.saturating_sub(1),
    })
}
