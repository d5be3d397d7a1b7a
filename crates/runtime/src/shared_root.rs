//! A container's root in a mount namespace that is the caller's: which mount it is, and its end.

use std::path::Path;

use crate::error::{Error, Result};
use crate::state_dir::Record;

/// The number of the mount that `path` is on; 0 where it can't be known.
pub(crate) fn mount_id(path: &Path) -> u64 {
    use rustix::fs::{AtFlags, CWD, StatxFlags};
    rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).map_or(0, |found| found.stx_mnt_id)
}

/// What is mounted in a namespace of its own goes with its processes; in one of others the root is left, and all in it.
pub(crate) fn unmount(record: &Record) -> Result<()> {
    let Some(before) = record.shared_root else { return Ok(()) };
    let now = mount_id(&record.rootfs);
    if before == 0 || now == 0 || now == before {
        return Ok(());
    }
    match rustix::mount::unmount(&record.rootfs, rustix::mount::UnmountFlags::DETACH) {
        // In another namespace than the start's, it is on some mount and none itself.
        Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
        Err(error) => Err(Error::at_path("unmount", &record.rootfs, error)),
    }
}
