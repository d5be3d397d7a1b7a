//! What may be mounted in procfs, and how procfs is told from a fake.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::failure::{Call, During, Failure, Outcome};
use super::step::Target;

/// What programs read there about resources, and lxcfs and its kin show better; nothing that is ever written to.
pub(crate) const PROC_FILES: [&[u8]; 9] = [
    b"proc/cpuinfo",
    b"proc/diskstats",
    b"proc/loadavg",
    b"proc/meminfo",
    b"proc/net/dev",
    b"proc/slabinfo",
    b"proc/stat",
    b"proc/swaps",
    b"proc/uptime",
];

/// The inode of procfs's own root.
const ROOT_INODE: u64 = 1;

/// Whether the file lies on a procfs.
pub(super) fn is_procfs(file: BorrowedFd<'_>) -> Result<bool, Failure> {
    let found = rustix::fs::fstatfs(file).during(Call::Stat)?;
    Ok(found.f_type as u64 == rustix::fs::PROC_SUPER_MAGIC as u64)
}

/// Refuses to attach `mount` to a place in procfs that is none of [`PROC_FILES`], however its path led there. Procfs
/// itself may lie on procfs.
pub(super) fn check_place(mount: BorrowedFd<'_>, place: BorrowedFd<'_>, target: &Target) -> Outcome {
    if !is_procfs(place)? {
        return Ok(());
    }
    // Without an anchor, links of the image may have led to another file than the one that is named.
    let listed = target.anchor.is_some() && PROC_FILES.contains(&target.path.to_bytes());
    let on_root = rustix::fs::fstat(place).during(Call::Stat)?.st_ino == ROOT_INODE;
    if listed || (on_root && is_procfs(mount)?) { Ok(()) } else { Err(Errno::PERM).during(Call::Stat) }
}
