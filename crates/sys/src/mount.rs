//! Calls of the mount interface that rustix lacks: `mount_setattr(2)` and `fsconfig(2)` without a length limit of ours.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general::mount_attr;

/// Attribute bits of `mount_setattr(2)`.
pub mod attribute {
    use linux_raw_sys::general as raw;
    /// Read-only.
    pub const RDONLY: u64 = raw::MOUNT_ATTR_RDONLY as u64;
    /// Set-user-ID bits are ignored.
    pub const NOSUID: u64 = raw::MOUNT_ATTR_NOSUID as u64;
    /// Device nodes do not work.
    pub const NODEV: u64 = raw::MOUNT_ATTR_NODEV as u64;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = raw::MOUNT_ATTR_NOEXEC as u64;
    /// Mask of the access-time modes.
    pub const ATIME_MASK: u64 = raw::MOUNT_ATTR__ATIME as u64;
    /// Access times are not written.
    pub const NOATIME: u64 = raw::MOUNT_ATTR_NOATIME as u64;
    /// Access times are always written.
    pub const STRICTATIME: u64 = raw::MOUNT_ATTR_STRICTATIME as u64;
    /// Directories' access times are not written.
    pub const NODIRATIME: u64 = raw::MOUNT_ATTR_NODIRATIME as u64;
    /// Symbolic links are not followed (5.10).
    pub const NOSYMFOLLOW: u64 = raw::MOUNT_ATTR_NOSYMFOLLOW as u64;
    /// Owners are shown through a user namespace's map (5.12).
    pub const IDMAP: u64 = raw::MOUNT_ATTR_IDMAP as u64;
}

/// How mounts travel (mount(2), "Changing the propagation type").
pub mod propagation {
    use linux_raw_sys::general as raw;
    /// Beside one of the others: all mounts below too.
    pub const REC: u64 = raw::MS_REC as u64;
    /// Neither way, and it can't be bound.
    pub const UNBINDABLE: u64 = raw::MS_UNBINDABLE as u64;
    /// Neither way.
    pub const PRIVATE: u64 = raw::MS_PRIVATE as u64;
    /// From the peers it had, and not to them.
    pub const SLAVE: u64 = raw::MS_SLAVE as u64;
    /// Both ways.
    pub const SHARED: u64 = raw::MS_SHARED as u64;
}

/// A change of mount attributes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
    /// Propagation (`MS_SHARED`, `MS_PRIVATE`, …), or 0 to leave it.
    pub propagation: u64,
}

/// Whether a change reaches one mount or the whole tree below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This mount alone.
    Mount,
    /// This mount and all below (`AT_RECURSIVE`).
    Tree,
}

/// Changes the attributes of the mount that `mount` refers to (an `O_PATH` or `open_tree` descriptor at its root).
pub fn set_attributes(mount: BorrowedFd<'_>, change: Attributes, reach: Reach) -> io::Result<()> {
    set_attributes_idmapped(mount, change, reach, None)
}

/// As [`set_attributes`], and shows owners through the map of user namespace `map` if there is one.
pub fn set_attributes_idmapped(
    mount: BorrowedFd<'_>,
    change: Attributes,
    reach: Reach,
    map: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let idmap = if map.is_some() { attribute::IDMAP } else { 0 };
    let attributes = mount_attr {
        attr_set: change.set | idmap,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: map.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let recursive = if reach == Reach::Tree { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the empty path and the attributes live across the call; the size is the structure's.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<mount_attr>(),
        )
    };
    crate::check(returned).map(drop)
}

/// `mount(2)` with a change of flags or propagation on `target`, and nothing else.
pub fn change(target: &CStr, flags: u64) -> io::Result<()> {
    let null = std::ptr::null::<libc::c_char>();
    // SAFETY: `target` is a C string; for a change the kernel ignores source, type and data.
    let returned =
        unsafe { libc::mount(null, target.as_ptr(), null, flags as libc::c_ulong, std::ptr::null()) };
    crate::check(returned.into()).map(drop)
}

/// `pivot_root(".", ".")`: the working directory becomes the root, and the old root lies mounted on top of it.
pub fn pivot_root_here() -> io::Result<()> {
    // SAFETY: two constant C strings.
    let returned = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
    crate::check(returned).map(drop)
}
