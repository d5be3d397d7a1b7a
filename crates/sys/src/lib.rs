//! Typed system calls, one operation a function, with no policy of any kind.
//!
//! The only crate of the workspace with `unsafe`. What [`rustix`] already offers safely is used from there and
//! not wrapped again; here is what it lacks.

pub mod allocator;
pub mod bpf;
pub mod clone;
pub mod exec;
pub mod fd;
pub mod iptables;
pub mod keyring;
pub mod mount;
pub mod mount_table;
pub mod namespace;
pub mod netlink;
pub mod pidfd;
pub mod process;
pub mod scheduling;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod socket;

use std::io;

/// Turns the return value of a raw system call into a result.
fn check(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}
