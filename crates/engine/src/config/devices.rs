//! The host's device nodes, for a container that gets all of them.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use runtime::spec::Device;

/// Directories of `/dev` that are file systems of their own, or no devices.
const SKIPPED: [&str; 6] = ["pts", "shm", "fd", "mqueue", "hugepages", ".udev"];

/// Nodes that every container makes itself: its own terminals.
const OWN: [&str; 3] = ["/dev/console", "/dev/ptmx", "/dev/tty"];

/// No device lies deeper; a loop can't be, as links are not followed.
const DEPTH: usize = 5;

/// Every device node below `/dev`, in the order of their paths.
pub(super) fn of_the_host() -> Vec<Device> {
    let mut found = Vec::new();
    walk(Path::new("/dev"), DEPTH, &mut found);
    found.sort_by(|one: &Device, other| one.path.cmp(&other.path));
    found
}

fn walk(directory: &Path, depth: usize, found: &mut Vec<Device>) {
    // A directory or node that goes away meanwhile was unplugged.
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if kind.is_dir() && depth > 0 {
            if !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                walk(&path, depth - 1, found);
            }
        } else if (kind.is_char_device() || kind.is_block_device())
            && let (Some(text), Ok(metadata)) = (path.to_str(), entry.metadata())
            && !OWN.contains(&text)
        {
            found.push(Device {
                path: text.to_owned(),
                kind: if kind.is_block_device() { "b" } else { "c" }.to_owned(),
                major: rustix::fs::major(metadata.rdev()).into(),
                minor: rustix::fs::minor(metadata.rdev()).into(),
                file_mode: Some(metadata.mode() & 0o7777),
                uid: Some(metadata.uid()),
                gid: Some(metadata.gid()),
            });
        }
    }
}
