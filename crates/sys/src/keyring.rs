//! Kernel keyrings (`keyctl(2)`).

use std::ffi::CStr;
use std::io;

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Gives the calling thread a new session keyring of this name, so that it sees none of its parent's keys.
pub fn join_new_session(name: &CStr) -> io::Result<()> {
    // SAFETY: `name` is a C string that lives across the call.
    let returned =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr(), 0, 0, 0) };
    crate::check(returned).map(drop)
}
