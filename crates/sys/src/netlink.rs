//! Owns the sending of prepared netlink requests by a process that cannot allocate; builds none.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// `NLMSG_ERROR` of `linux/netlink.h`: an acknowledgement, too.
const NLMSG_ERROR: u16 = 2;

/// Which request of a batch failed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFailure {
    /// The request's number from 1; 0 if no request can be blamed (no socket, no send).
    pub sequence: u32,
    /// The kernel's answer.
    pub errno: Errno,
}

/// Sends `count` rtnetlink requests, each with NLM_F_ACK and numbered from 1, in the network namespace of the
/// calling thread, and waits for all answers. The first failure is returned; the requests after it have been
/// tried nevertheless. Does not allocate.
pub fn send_route_batch(messages: &[u8], count: u32) -> Result<(), BatchFailure> {
    let whole = |errno| BatchFailure { sequence: 0, errno };
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).map_err(whole)?;
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::io::retry_on_intr(|| sendto(&socket, messages, SendFlags::empty(), &kernel)).map_err(whole)?;
    let mut first = None;
    let mut answered = 0;
    while answered < count {
        // Longer answers carry a copy of the request, which is cut off here.
        let mut answer = [0_u8; 256];
        let (_, length) = rustix::io::retry_on_intr(|| recv(&socket, &mut answer[..], RecvFlags::empty()))
            .map_err(whole)?;
        if length < 20 {
            return Err(whole(Errno::BADMSG));
        }
        let [_, _, _, _, kind_low, kind_high, _, _, a, b, c, d, _, _, _, _, e, f, g, h, ..] = answer;
        if u16::from_ne_bytes([kind_low, kind_high]) != NLMSG_ERROR {
            continue;
        }
        answered += 1;
        let number = i32::from_ne_bytes([e, f, g, h]);
        if number < 0 && first.is_none() {
            let sequence = u32::from_ne_bytes([a, b, c, d]);
            first = Some(BatchFailure { sequence, errno: Errno::from_raw_os_error(number.wrapping_neg()) });
        }
    }
    first.map_or(Ok(()), Err)
}
