//! Root and mounts, as typed.

use std::path::PathBuf;

use clap::Args;
use engine::{FileOptions, Result, RootOptions};

/// Root and mounts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct FileArguments {
    /// Directory to use as root; without it, a throw-away copy of the host's own root
    #[arg(short = 'r', long, value_name = "DIR")]
    pub(crate) rootfs: Option<PathBuf>,
    /// Keep writes in a throw-away layer over the root directory
    #[arg(long)]
    pub(crate) overlay: bool,
    /// Refuse writes to the root
    #[arg(long)]
    pub(crate) read_only: bool,
}

impl FileArguments {
    /// What they mean.
    pub(crate) fn options(&self) -> Result<FileOptions> {
        let root = match (&self.rootfs, self.overlay) {
            (None, _) => RootOptions::Host,
            (Some(path), false) => RootOptions::Directory(path.clone()),
            (Some(path), true) => RootOptions::Overlay(path.clone()),
        };
        Ok(FileOptions { root, read_only: self.read_only })
    }
}
