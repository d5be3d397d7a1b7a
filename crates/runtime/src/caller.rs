//! Who calls: root of the host, root of a user namespace, or an ordinary user; and what keeps the latter two from
//! making user namespaces here.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;

use crate::error::libc_errno::{EACCES, ENOSPC, EPERM, EUSERS};
use crate::error::{Error, ErrorKind, Result};

/// What the caller's rights reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Root of the host.
    Root,
    /// Root of a user namespace: inside a container, or under `unshare -r`.
    NamespaceRoot,
    /// Anybody else.
    User,
}

impl Caller {
    /// Finds out; it costs two system calls.
    pub fn find() -> Caller {
        match (rustix::process::geteuid().is_root(), in_first_user_namespace()) {
            (true, true) => Caller::Root,
            (true, false) => Caller::NamespaceRoot,
            (false, _) => Caller::User,
        }
    }
}

/// Where what ends with the caller's session is kept: where `XDG_RUNTIME_DIR` says, or where logind makes that directory, if
/// it is there and the caller's alone to write to, as `su` and services do not set the variable.
pub fn session_directory() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| {
        let uid = rustix::process::geteuid().as_raw();
        let path = PathBuf::from(format!("/run/user/{uid}"));
        let found = std::fs::symlink_metadata(&path).ok()?;
        (found.is_dir() && found.uid() == uid && found.mode() & 0o022 == 0).then_some(path)
    })
}

/// Where what a user keeps for good is kept (XDG Base Directory Specification).
pub fn data_directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))
}

/// The user who is root of this user namespace, by the number it has outside (user_namespaces(7)).
pub(crate) fn user_outside() -> u32 {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let of_root = map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace();
        (numbers.next()? == "0").then(|| numbers.next()?.parse().ok())?
    });
    of_root.unwrap_or_else(|| rustix::process::geteuid().as_raw())
}

/// The kernel gives the first user namespace a fixed inode number (`PROC_USER_INIT_INO`, since 3.8).
fn in_first_user_namespace() -> bool {
    const FIRST: u64 = 0xEFFF_FFFD;
    let found = rustix::fs::statat(rustix::fs::CWD, c"/proc/self/ns/user", AtFlags::empty());
    // Without the file the kernel has no user namespaces at all.
    found.is_err() || found.is_ok_and(|found| found.st_ino == FIRST)
}

/// A profile that gives a program the right to user namespaces on hosts where AppArmor restricts them.
pub const APPARMOR_PROFILE: &str = "abi <abi/4.0>,\n\
    include <tunables/global>\n\
    profile rabbitc /usr/{,local/}bin/rabbitc{,-runtime} flags=(unconfined) {\n  userns,\n}\n";

/// Refuses, before anything is made, what AppArmor would refuse half way: on Ubuntu 24.04 an unconfined program gets
/// its user namespace, and in it no rights.
pub fn check_user_namespaces() -> Result<()> {
    if number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") != Some(1) {
        return Ok(());
    }
    let confinement = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"]
        .into_iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    // A profile of its own, whatever it is, was written for this program.
    if confinement.is_some_and(|label| label.trim() != "unconfined") {
        return Ok(());
    }
    let reason = "AppArmor keeps programs without a profile from using them \
                  (kernel.apparmor_restrict_unprivileged_userns is 1)";
    Err(Error::new(ErrorKind::Permission, "make a user namespace", reason).with_hint(apparmor_hint()))
}

fn apparmor_hint() -> String {
    let profile: String = APPARMOR_PROFILE.lines().map(|line| format!("\n    {line}")).collect();
    format!(
        "as root, write this to /etc/apparmor.d/rabbitc, with the program's own path, and load it with \
         `apparmor_parser -r /etc/apparmor.d/rabbitc`:{profile}\n  or let all programs do it: \
         `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    )
}

/// What refused an unprivileged caller a user namespace, as far as the host tells.
pub(crate) fn why_no_user_namespace(errno: i32) -> Option<String> {
    let text = match errno {
        ENOSPC | EUSERS if number("/proc/sys/user/max_user_namespaces") == Some(0) => {
            "this host allows none: as root, `sysctl user.max_user_namespaces=10000`"
        }
        ENOSPC | EUSERS => "a limit on user namespaces is reached, in number or depth: see `sysctl user`",
        EPERM | EACCES if number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) => {
            "this host allows them to root alone: as root, `sysctl kernel.unprivileged_userns_clone=1`"
        }
        EPERM | EACCES if number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) => {
            return Some(apparmor_hint());
        }
        EPERM | EACCES if is_filtered() => {
            "a seccomp filter around this process refuses them, as containers have one; start it outside, or give \
             that container another profile"
        }
        EPERM | EACCES if is_in_a_changed_root() => "they can't be made inside a chroot",
        EPERM | EACCES => {
            "the caller's own ids must have names in its user namespace; a security module may refuse too"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(Path::new(path)).ok()?.trim().parse().ok()
}

fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Whether the root is not the root of a mount, which chroot(2) makes possible.
fn is_in_a_changed_root() -> bool {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    !table.is_empty() && !sys::mount_table::entries(&table).any(|mount| *mount.mount_point == *"/")
}
