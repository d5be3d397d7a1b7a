//! The network inside: requests that were laid out beforehand, sent from within the new namespace.

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::failure::{Call, During, Failure, Outcome};
use crate::plan::NetworkProgram;
use crate::sync::retry;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;

/// Sends all requests in one message and reads one answer for each.
pub(super) fn configure(program: &NetworkProgram) -> Outcome {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is protocol 0.
        None,
    )
    .during(Call::Socket)?;
    retry(|| rustix::net::send(&socket, &program.messages, SendFlags::empty())).during(Call::Netlink)?;
    let mut answered = 0;
    let mut buffer = [0u8; 4096];
    while answered < program.count {
        let (count, _) = retry(|| rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()))
            .during(Call::Netlink)?;
        answered += check_answers(&buffer[..count.min(buffer.len())])?;
    }
    Ok(())
}

/// Counts the acknowledgements in one datagram; the first refusal is the failure, by its request's number.
fn check_answers(mut bytes: &[u8]) -> Result<usize, Failure> {
    let mut answers = 0;
    while bytes.len() >= HEADER + 4 {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        let sequence = u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if kind == NLMSG_ERROR {
            let code = i32::from_ne_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
            if code != 0 {
                return Err(Failure { call: Call::Netlink, errno: -code, item: sequence.saturating_sub(1) });
            }
            answers += 1;
        }
        let next = (length + 3) & !3;
        if next < HEADER || next > bytes.len() {
            break;
        }
        bytes = &bytes[next..];
    }
    if answers == 0 {
        return Err(Failure { call: Call::Netlink, errno: Errno::BADMSG.raw_os_error(), item: 0 });
    }
    Ok(answers)
}
