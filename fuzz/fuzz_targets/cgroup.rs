//! What procfs says of cgroups, and where a config wants its own: two files and a path, separated by NUL.

#![no_main]

use cgroup::{CgroupPath, Layout};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, '\0');
    let (memberships, mounts) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // Hierarchies are opened where the text says that they are; nothing is written.
    let _ = Layout::from_tables(memberships, mounts);
    if let Ok(path) = CgroupPath::parse(parts.next().unwrap_or_default()) {
        let path = path.as_str();
        assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".." && !part.is_empty()), "{path}");
    }
});
