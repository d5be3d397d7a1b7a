//! `execve(2)` with argument arrays that were laid out beforehand, so that a child need not allocate.

use std::ffi::{CStr, CString, c_char};
use std::io;

/// An owned, null-terminated array of C strings, as `argv` and `envp` want it.
#[derive(Debug)]
pub struct CStringArray {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers point into `strings`, which never changes and moves along; no thread owns them.
unsafe impl Send for CStringArray {}
// SAFETY: shared references only read.
unsafe impl Sync for CStringArray {}

impl CStringArray {
    /// Lays out `strings`.
    pub fn new(strings: Vec<CString>) -> CStringArray {
        let mut pointers: Vec<*const c_char> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        CStringArray { strings, pointers }
    }

    /// The strings themselves.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces the program; returns only with the reason why it could not.
pub fn execve(path: &CStr, arguments: &CStringArray, environment: &CStringArray) -> io::Error {
    // SAFETY: all three are null-terminated and live across the call.
    unsafe { libc::execve(path.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// As [`execve`], with the program that `file` refers to (`execveat(2)`).
pub fn execve_descriptor(
    file: std::os::fd::BorrowedFd<'_>,
    arguments: &CStringArray,
    environment: &CStringArray,
) -> io::Error {
    use std::os::fd::AsRawFd;
    // SAFETY: both arrays are null-terminated and live across the call, as does the empty path.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}
