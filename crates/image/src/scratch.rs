//! Directories for tests.

use std::path::PathBuf;

/// A new directory, for one test. Its name is random: other pid namespaces have the same `/tmp`, and the same pids.
pub(crate) fn directory(name: &str) -> PathBuf {
    let random = u64::from_ne_bytes(sys::random::bytes().expect("random bytes"));
    let path = std::env::temp_dir().join(format!("rabbitc-{name}-{random:016x}"));
    std::fs::create_dir(&path).expect("a temporary directory");
    path
}
