//! Owns the one way to see iptables-legacy's tables, `getsockopt` on a raw socket; does not interpret them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES` of `linux/netfilter_ipv4/ip_tables.h`.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// Sizes of `struct ipt_getinfo` and of `struct ipt_get_entries` up to its entries.
const INFO: usize = 84;
const HEADER: usize = 40;

/// An IPv4 table as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyTable {
    /// Where the chain of each hook (`NF_INET_*`) starts in `entries`.
    pub hook_entry: [u32; 5],
    /// Where the policy of each hook's chain stands in `entries`.
    pub underflow: [u32; 5],
    /// `struct ipt_entry`, one after the other.
    pub entries: Vec<u8>,
}

/// Reads a table of the socket's network namespace. The socket is `AF_INET`, `SOCK_RAW`; needs CAP_NET_ADMIN.
/// A table that is not there yet is made by asking: look into `/proc/net/ip_tables_names` before.
pub fn read_legacy_table(socket: BorrowedFd<'_>, table: &str) -> io::Result<LegacyTable> {
    let mut name = [0; 32];
    // The last byte stays zero.
    name[..31].get_mut(..table.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(table.as_bytes());
    loop {
        let mut info = [0; INFO];
        info[..32].copy_from_slice(&name);
        get(socket, GET_INFO, &mut info)?;
        let word = |index: usize| {
            let at = 36 + index * 4;
            u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]])
        };
        let size = word(11);
        let mut answer = vec![0; HEADER + size as usize];
        answer[..32].copy_from_slice(&name);
        answer[32..36].copy_from_slice(&size.to_ne_bytes());
        match get(socket, GET_ENTRIES, &mut answer) {
            // The table changed its size between the two.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => continue,
            result => result?,
        }
        return Ok(LegacyTable {
            hook_entry: std::array::from_fn(word),
            underflow: std::array::from_fn(|index| word(5 + index)),
            entries: answer.split_off(HEADER),
        });
    }
}

fn get(socket: BorrowedFd<'_>, option: libc::c_int, buffer: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let buffer = buffer.as_mut_ptr().cast();
    // SAFETY: the buffer is ours and `length` bytes long; the kernel writes at most that.
    let returned =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, option, buffer, &raw mut length) };
    crate::check(returned.into()).map(drop)
}
