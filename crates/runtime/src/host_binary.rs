//! The host's own binary, which init and exec are until their program begins, must not be writable from a container
//! (CVE-2019-5736): a program `#!/proc/self/exe` of a hostile image is this very file.
//!
//! So whoever starts something in a container does it from the file as a file system of its own shows it, an overlay
//! without a layer to write to; where that can't be made, from a read-only copy of the file's mount; and where that can't,
//! from a sealed copy in memory. Both mounts belong to nobody.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, open_tree,
};
use sys::exec::CStringArray;
use sys::mount::{Attributes, Reach, attribute, set_attributes};

use crate::error::{Error, ErrorKind, Result};

const SELF: &CStr = c"/proc/self/exe";
/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY: i64 = 0x794c_7630;

/// From what file this process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// One of an overlay that nobody can write to.
    Overlay,
    /// The host's own, on a read-only mount.
    ReadOnlyMount,
    /// A copy in memory.
    SealedCopy,
}

/// Returns at once where this process already runs from a file that nobody can write to; else executes the same
/// program with the same arguments and environment from such a file, and returns only if that fails.
///
/// To be called before anything else, while the process has one thread and nothing to lose. `name` is what the
/// process is called afterwards, as it has no path to take its name from.
pub fn protect(
    name: &CStr,
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Protection> {
    let system = |error: std::io::Error| {
        let error = Error::system("protect the host's binary from the container", error);
        error.with_hint("this needs /proc, and the right to mount or some memory")
    };
    let file = rustix::fs::openat(CWD, SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| system(error.into()))?;
    if let Some(protection) = protection(&file) {
        // A name is for people alone.
        let _ = rustix::thread::set_name(name);
        return Ok(protection);
    }
    let protected =
        overlay(&file).or_else(|_| read_only_mount(SELF)).or_else(|_| sealed_copy(file)).map_err(system)?;
    let strings = |texts: Vec<Vec<u8>>| -> Result<CStringArray> {
        let texts: std::result::Result<Vec<CString>, _> = texts.into_iter().map(CString::new).collect();
        texts.map(CStringArray::new).map_err(|error| system(error.into()))
    };
    let arguments = strings(arguments.into_iter().map(OsString::into_vec).collect())?;
    let environment = environment.into_iter().map(|(name, value)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        entry
    });
    let environment = strings(environment.collect())?;
    Err(system(sys::exec::execve_descriptor(protected.as_fd(), &arguments, &environment, None)))
}

/// This process's own program, to be executed inside a container: refused where it could be written to from there, or
/// needs a loader that the container may not have.
pub(crate) fn open_for_init() -> Result<OwnedFd> {
    let operation = "open the init of `--init`";
    let file = rustix::fs::openat(CWD, SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Error::system(operation, error))?;
    if protection(&file).is_none() {
        let reason = "this program runs from a file that the container could write to";
        return Err(Error::new(ErrorKind::Unsupported, operation, reason)
            .with_hint("whoever launches containers with an init must call `host_binary::protect` first"));
    }
    let mut beginning = [0u8; 4096];
    let length =
        rustix::io::pread(&file, &mut beginning, 0).map_err(|error| Error::system(operation, error))?;
    if crate::remedy::elf_interpreter(&beginning[..length]).is_some() {
        let reason = "this rabbitc is linked dynamically, and its loader may be missing in the container";
        return Err(Error::new(ErrorKind::Unsupported, operation, reason)
            .with_hint("build it with `cargo xtask build`, which links statically"));
    }
    Ok(file)
}

/// What keeps the file from being written to, if anything does. A `/usr` that is mounted read-only does not count: it
/// becomes writable for an upgrade, and a container may have kept the file open until then.
fn protection(file: &OwnedFd) -> Option<Protection> {
    if rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::WRITE)) {
        return Some(Protection::SealedCopy);
    }
    let found = rustix::fs::fstatfs(file).ok()?;
    if !StatVfsMountFlags::from_bits_retain(found.f_flags as u64).contains(StatVfsMountFlags::RDONLY) {
        return None;
    }
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    match path.as_os_str().as_bytes() {
        // The root of a mount that is attached nowhere has no other path; the second, when an upgrade removed the file.
        b"/" | b"/ (deleted)" => Some(Protection::ReadOnlyMount),
        _ if found.f_type == OVERLAY => is_on_our_overlay(file, &path).then_some(Protection::Overlay),
        _ => None,
    }
}

/// Whether a file of a read-only overlay, whose path the kernel says is `path`, is on one that is attached nowhere: such
/// a path begins at the overlay's root, where the file is, and leads from our root to something else.
fn is_on_our_overlay(file: &OwnedFd, path: &Path) -> bool {
    if path.parent() != Some(Path::new("/")) {
        return false;
    }
    let mount = |found: rustix::fs::Statx| {
        (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
    };
    let own = || rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok().and_then(mount);
    match rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID) {
        Err(Errno::NOENT) => true,
        Err(_) => false,
        Ok(found) => mount(found).zip(own()).is_some_and(|(there, own)| there != own),
    }
}

/// `file`, which is this process's own, as an overlay of its directory shows it. The overlay has no layer to write to, and
/// no change of a mount gives it one. A lock on the file that it shows is none on the host's, and no handle leads from
/// it to the host's file system (open_by_handle_at(2)), as from a mount of that.
fn overlay(file: &OwnedFd) -> std::io::Result<OwnedFd> {
    // First of all, as whoever has no right to mount gets no further.
    let made = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let path = std::fs::read_link(OsStr::from_bytes(SELF.to_bytes()))?;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::NOENT.into());
    };
    let mut layers = Vec::with_capacity(64);
    for byte in directory.as_os_str().as_bytes() {
        if matches!(byte, b':' | b'\\') {
            layers.push(b'\\');
        }
        layers.push(*byte);
    }
    // There must be two, neither of which lies in the other. Whatever the second has, the first one's is seen.
    layers.extend_from_slice(b":/dev");
    fsconfig_set_string(&made, c"lowerdir", layers.as_slice())?;
    // Numbers of inodes that are unique over two file systems are of no use here; where the kernel can't have them, it
    // would say so in its log at each start.
    let _ = fsconfig_set_string(&made, c"xino", c"off");
    fsconfig_create(&made)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mount = fsmount(&made, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let shown =
        rustix::fs::openat(&mount, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // An upgrade may have put another file there, and a mount may lie over what the overlay shows.
    let (own, other) = (rustix::fs::fstat(file)?, rustix::fs::fstat(&shown)?);
    let identity =
        |found: &rustix::fs::Stat| (found.st_ino, found.st_size, found.st_mtime, found.st_mtime_nsec);
    // What would not be known again would be executed again and again.
    match identity(&own) == identity(&other) && protection(&shown) == Some(Protection::Overlay) {
        true => Ok(shown),
        false => Err(Errno::STALE.into()),
    }
}

/// A mount of the file alone, read-only, attached nowhere: it lives as long as somebody runs from it.
fn read_only_mount(path: &CStr) -> std::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags)?;
    let change = Attributes { set: attribute::RDONLY, ..Attributes::default() };
    set_attributes(tree.as_fd(), change, Reach::Mount)?;
    Ok(tree)
}

/// The file's content in memory, sealed: what somebody without the right to mount can have.
fn sealed_copy(file: OwnedFd) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create(c"host-binary", flags)?;
    let mut copy = std::fs::File::from(copy);
    // Inside the kernel, where it can (sendfile(2)): every start without root pays for it.
    std::io::copy(&mut std::fs::File::from(file), &mut copy)?;
    let copy = OwnedFd::from(copy);
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    // EBUSY: somebody in the kernel still holds one of the pages just written; it lets go by itself.
    let mut tries = 100;
    loop {
        match rustix::fs::fcntl_add_seals(&copy, seals) {
            Err(rustix::io::Errno::BUSY) if tries > 0 => tries -= 1,
            other => return Ok(other.map(|()| copy)?),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_copy_counts_as_protected_and_refuses_writes() {
        let file =
            rustix::fs::openat(CWD, SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        let copy = sealed_copy(file).expect("copied");
        assert_eq!(protection(&copy), Some(Protection::SealedCopy));
        assert_eq!(rustix::io::write(&copy, b"x"), Err(rustix::io::Errno::PERM));
    }

    #[test]
    fn overlay_counts_as_protected_and_shows_this_program() {
        let file =
            rustix::fs::openat(CWD, SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        assert_eq!(protection(&file), None);
        let Ok(shown) = overlay(&file) else {
            println!("skipped: this takes the right to mount, and a directory that can be a layer");
            return;
        };
        let link = format!("/proc/self/fd/{}", shown.as_raw_fd());
        let error = std::fs::OpenOptions::new().write(true).open(&link).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(30), "EROFS, and not ETXTBSY: it is no file of the host");
        let shown = OwnedFd::from(std::fs::File::open(link).expect("opened"));
        assert_eq!(protection(&shown), Some(Protection::Overlay));
        let read = |file: OwnedFd| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes).expect("read");
            bytes
        };
        assert!(read(shown) == read(file));
    }

    #[test]
    fn read_only_mount_counts_as_protected_and_refuses_writes_through_its_descriptor() {
        // Not the program itself, which answers ETXTBSY as long as it runs, whatever the mount says.
        let path = std::env::temp_dir().join(format!("rabbitc-host-binary-{}", std::process::id()));
        std::fs::write(&path, "x").expect("written");
        let name = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        let made = read_only_mount(&name);
        std::fs::remove_file(&path).expect("removed");
        let Ok(tree) = made else {
            println!("skipped: making a mount needs root");
            return;
        };
        assert_eq!(protection(&tree), Some(Protection::ReadOnlyMount));
        let link = format!("/proc/self/fd/{}", tree.as_raw_fd());
        let error = std::fs::OpenOptions::new().write(true).open(link).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(30), "EROFS");
    }

    #[test]
    fn file_on_a_read_only_mount_of_others_does_not_count_as_protected() {
        let directory = std::env::temp_dir().join(format!("rabbitc-read-only-{}", std::process::id()));
        std::fs::create_dir(&directory).expect("made");
        std::fs::write(directory.join("binary"), "x").expect("written");
        let name = CString::new(directory.as_os_str().as_bytes()).expect("no NUL");
        let made = read_only_mount(&name);
        let file = made.map(|tree| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&tree, "binary", flags, Mode::empty()).expect("opened")
        });
        std::fs::remove_dir_all(&directory).expect("removed");
        let Ok(file) = file else {
            println!("skipped: making a mount needs root");
            return;
        };
        assert_eq!(rustix::fs::fstatvfs(&file).map(|found| found.f_flag.bits() & 1), Ok(1), "read-only");
        assert_eq!(protection(&file), None);
    }
}
