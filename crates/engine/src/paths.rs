//! Where the engine keeps what concerns this boot.

use std::path::{Path, PathBuf};

use crate::user_namespace::leases::Leases;

/// Directories of the engine, all below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnginePaths {
    base: PathBuf,
}

impl Default for EnginePaths {
    fn default() -> EnginePaths {
        EnginePaths { base: "/run/rabbitc".into() }
    }
}

impl EnginePaths {
    /// Root's place; a user's own is where its session has such things, and below /tmp without a session.
    pub fn of_caller() -> EnginePaths {
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            return EnginePaths::default();
        }
        EnginePaths::below(match runtime::caller::session_directory() {
            Some(session) => session.join("rabbitc"),
            None => PathBuf::from(format!("/tmp/rabbitc-{}", uid.as_raw())),
        })
    }

    /// All below `base`, an absolute path.
    pub fn below(base: impl Into<PathBuf>) -> EnginePaths {
        EnginePaths { base: base.into() }
    }

    /// The directory that holds all.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// One directory for each container.
    pub fn containers(&self) -> PathBuf {
        self.base.join("containers")
    }

    /// One directory for each network namespace, and in it one for each network: leases and its lock.
    pub fn networks(&self) -> PathBuf {
        self.base.join("network")
    }

    /// One directory for each container that CNI plugins connect: what they need to take it back.
    pub(crate) fn cni(&self) -> PathBuf {
        self.base.join("cni")
    }

    /// One directory for each root file system in use: mount points that were made in it.
    pub fn roots(&self) -> PathBuf {
        self.base.join("roots")
    }

    /// Ranges of ids that running containers have for themselves.
    pub(crate) fn user_ids(&self) -> Leases {
        Leases { directory: self.base.join("user-ids"), records: self.containers() }
    }

    /// Pairs of SELinux categories that running containers have for themselves.
    pub(crate) fn labels(&self) -> Leases {
        Leases { directory: self.base.join("labels"), records: self.containers() }
    }

    /// One directory for each image that is mounted on the host.
    pub(crate) fn image_mounts(&self) -> PathBuf {
        self.base.join("images")
    }

    /// An empty directory on which overlays are put together, each in its container's own mount namespace.
    pub fn scratch(&self) -> PathBuf {
        self.base.join("scratch")
    }
}
