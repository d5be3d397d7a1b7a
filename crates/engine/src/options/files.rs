//! What a container finds in its file system, as meant. Looks nothing up.

use std::path::PathBuf;

/// What stands at the container's root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RootOptions {
    /// The host's own root below a throw-away overlay.
    #[default]
    Host,
    /// A directory, written to directly.
    Directory(PathBuf),
    /// A directory below a throw-away overlay.
    Overlay(PathBuf),
}

/// Root and mounts of one container.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FileOptions {
    /// What stands at its root.
    pub root: RootOptions,
    /// Whether the root refuses writes.
    pub read_only: bool,
}
