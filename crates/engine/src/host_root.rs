//! The host's own root as a container's: which of its mounts get an overlay of their own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use runtime::plan::{RootPiece, RootPieceKind};

use crate::error::{Error, Result};

/// File systems that show the kernel or live in memory; containers get their own or none.
const PSEUDO: [&str; 24] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// File systems that overlayfs refuses below it, as their names are not case-sensitive.
const NOT_BELOW_OVERLAY: [&str; 4] = ["exfat", "msdos", "ntfs3", "vfat"];

/// Where containers get mounts of their own.
const OWN: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// The mounts below `/` that hold files: each hides what lies under it, so each gets an overlay.
pub(crate) fn submounts() -> Result<Vec<PathBuf>> {
    let path = Path::new("/proc/self/mountinfo");
    let text = std::fs::read(path).map_err(|error| Error::at_path("read", path, error))?;
    let mut found = with_files(&text);
    found.retain(|path| path.is_dir());
    Ok(found)
}

/// The mounts of a table that hold files, outer ones first.
fn with_files(table: &[u8]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for mount in sys::mount_table::entries(table) {
        let (point, kind) = (mount.mount_point.into_owned(), &*mount.file_system);
        let own = OWN.iter().any(|own| point.starts_with(own));
        if point == Path::new("/") || own || PSEUDO.contains(&kind) || NOT_BELOW_OVERLAY.contains(&kind) {
            // What is mounted over hides what was there before.
            found.retain(|earlier| *earlier != point);
            continue;
        }
        if !found.contains(&point) {
            found.push(point);
        }
    }
    // Outer mounts first, so that inner ones find their mount points.
    found.sort_by_key(|path| path.components().count());
    found
}

/// The host's root for somebody without root, in pieces: an overlay over each directory that has no other mount in it,
/// and what lies beside those, level by level. Files in memory, and what the caller may not list, are left out.
pub(crate) fn pieces() -> Result<Vec<RootPiece>> {
    let path = Path::new("/proc/self/mountinfo");
    let text = std::fs::read(path).map_err(|error| Error::at_path("read", path, error))?;
    let files = with_files(&text);
    let points = sys::mount_table::entries(&text).map(|mount| mount.mount_point.into_owned()).collect();
    let mut found = Vec::new();
    collect(Path::new("/"), &Mounts { points, files }, &mut found);
    Ok(found)
}

struct Mounts {
    /// All mount points.
    points: Vec<PathBuf>,
    /// Those with files on a disk.
    files: Vec<PathBuf>,
}

fn collect(directory: &Path, mounts: &Mounts, found: &mut Vec<RootPiece>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Best effort: what can't be looked at is left out, as it could not be used.
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        let mode = metadata.permissions().mode() & 0o7777;
        let kind = if OWN.iter().any(|own| path == Path::new(own)) {
            continue;
        } else if metadata.is_symlink() {
            let Ok(text) = std::fs::read_link(&path) else { continue };
            RootPieceKind::Link(text.to_string_lossy().into_owned())
        } else if metadata.is_file() {
            RootPieceKind::File
        } else if !metadata.is_dir() {
            continue;
        } else if mounts.points.contains(&path) && !mounts.files.contains(&path) {
            RootPieceKind::Empty(mode)
        } else if mounts.points.iter().any(|point| *point != path && point.starts_with(&path)) {
            found.push(RootPiece { path: path.clone(), kind: RootPieceKind::Empty(mode) });
            collect(&path, mounts, found);
            continue;
        } else {
            RootPieceKind::Overlay
        };
        found.push(RootPiece { path, kind });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_with_files_get_an_overlay() {
        let text = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    22 21 0:5 / /proc rw - proc proc rw\n\
                    23 21 8:3 / /home\\040of\\040all rw - ext4 /dev/sda3 rw\n\
                    24 21 8:2 / /usr rw shared:1 - xfs /dev/sda2 rw\n\
                    25 21 8:4 / /boot/efi rw - vfat /dev/sda4 rw\n\
                    26 24 8:5 / /usr/local rw - ext4 /dev/sda5 rw\n\
                    27 21 0:7 / /run/user/0 rw - tmpfs tmpfs rw\n";
        assert_eq!(with_files(text), ["/home of all", "/usr", "/usr/local"].map(PathBuf::from));
    }

    #[test]
    fn tmpfs_over_a_mount_hides_it() {
        let text = b"24 21 8:2 / /data rw - xfs /dev/sda2 rw\n25 24 0:9 / /data rw - tmpfs tmpfs rw\n";
        assert!(with_files(text).is_empty());
    }
}
