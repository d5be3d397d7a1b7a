//! Sockets: what is not a call of rustix.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::seccomp::Instruction;

/// Lets nothing that arrives for the socket into its queue (`socket(7)`, SO_ATTACH_FILTER).
pub fn receive_nothing(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const Instruction,
    }
    // BPF_RET | BPF_K with 0: keep no byte of it.
    let drop_it = [Instruction { code: 0x06, jt: 0, jf: 0, k: 0 }];
    let program = Program { length: 1, filter: drop_it.as_ptr() };
    // SAFETY: the program's length is its array's; both live across the call, and the kernel copies them.
    let returned = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<Program>() as libc::socklen_t,
        )
    };
    crate::check(returned.into()).map(drop)
}

/// Lets the socket send and receive by one interface alone (`socket(7)`, SO_BINDTODEVICE). Wants CAP_NET_RAW before Linux 5.7.
pub fn bind_to_device(socket: BorrowedFd<'_>, interface: &str) -> io::Result<()> {
    // SAFETY: pointer and length are those of the name, which lives across the call.
    let returned = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            interface.as_ptr().cast(),
            interface.len() as libc::socklen_t,
        )
    };
    crate::check(returned.into()).map(drop)
}
