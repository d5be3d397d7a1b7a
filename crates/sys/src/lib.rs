//! Typed system calls, one operation a function, with no policy of any kind; and what several crates need: the allocator, the
//! calendar, the parser of mount tables (proc_pid_mountinfo(5)), the namespaces that somebody is in, what may be shown of a text.
//!
//! The only crate of the workspace with `unsafe`. What [`rustix`] already offers safely is used from there and
//! not wrapped again; here is what it lacks.

pub mod allocator;
pub mod bpf;
pub mod calendar;
pub mod clone;
pub mod exec;
pub mod fd;
pub mod inotify;
pub mod iptables;
pub mod keyring;
#[cfg(all(target_arch = "x86_64", any(test, target_env = "musl")))]
mod memory;
pub mod mount;
pub mod mount_table;
pub mod namespace;
pub mod netlink;
pub mod path;
pub mod pidfd;
mod plain;
pub mod process;
pub mod random;
pub mod scheduling;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod socket;
pub mod text;

pub use self::plain::plain;

use std::io;

/// The text of an errno in the house's form: lower case, without the number, and the same with every C library.
pub fn errno_text(errno: i32) -> String {
    // The common texts that differ; callers look for glibc's.
    for (known, text) in [(libc::EBUSY, "device or resource busy"), (libc::EMFILE, "too many open files")] {
        if errno == known {
            return text.to_owned();
        }
    }
    let text = io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain([second]).chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// Turns the return value of a raw system call into a result.
fn check(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_of_an_errno_is_the_same_with_every_c_library() {
        assert_eq!(super::errno_text(libc::EBUSY), "device or resource busy");
        assert_eq!(super::errno_text(libc::EMFILE), "too many open files");
        assert_eq!(super::errno_text(libc::ENOENT), "no such file or directory");
    }
}
