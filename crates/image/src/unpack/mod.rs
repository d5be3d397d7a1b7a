//! From the archive of a layer to a directory. Nothing of an archive is trusted: names are ways downwards that are walked by
//! descriptors, what is there is replaced and never followed, and everything is bounded. [`serve()`] does it in a process that can
//! do nothing else. Must not know stores and registries.

pub(crate) mod archive;
pub(crate) mod compression;
mod copied;
pub(crate) mod fault;
mod layer;
mod name;
mod serve;
pub(crate) mod stream;
mod tree;

use serde::{Deserialize, Serialize};

pub use self::copied::{Copied, Replaces, RootEntry, copied};
pub use self::layer::layer;
pub use self::serve::{answer, serve};
use crate::digest::Digest;

/// How a layer is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// How directories hide what lower layers have.
    pub whiteouts: Whiteouts,
    /// What becomes of devices.
    pub devices: Devices,
    /// Whose the files are.
    pub owners: Owners,
    /// What it may ask for.
    pub limits: Limits,
}

/// In which attributes an overlay finds that a directory hides what is below it (overlayfs.rst, "whiteouts and opaque
/// directories"). What hides a file is a device of number 0:0 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whiteouts {
    /// `trusted.overlay.opaque`, for root of the host; and the other one, for its containers with users of their own.
    Trusted,
    /// `user.overlay.opaque`, in a user namespace (`userxattr`, 5.11).
    User,
}

/// What becomes of character and block devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Devices {
    /// They are made. In a user namespace the kernel refuses that, and they are left out and counted.
    Made,
    /// They are left out and counted.
    LeftOut,
}

/// Whose the files of an archive are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owners {
    /// Of those whom it names.
    Named,
    /// Of whoever unpacks it, where nobody else is to be had. What it names others for is counted.
    Unpackers,
}

/// What an archive may ask for, so that a small one fills no disk and no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Entries, those counted that only extend the next one.
    pub entries: u64,
    /// Bytes of the archive before compression, and bytes of all files with their holes.
    pub bytes: u64,
    /// How many bytes one of the compressed archive may stand for, once they are more than `ratio_from`.
    pub ratio: u64,
    /// From how many bytes on the ratio counts.
    pub ratio_from: u64,
    /// Parts of a path.
    pub depth: usize,
    /// Bytes of a path, and of what a link says.
    pub path_bytes: usize,
    /// Bytes of one entry's extended attributes.
    pub attribute_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 4_000_000,
            bytes: 256 << 30,
            ratio: 200,
            ratio_from: 1 << 30,
            depth: 256,
            // One less than Linux's PATH_MAX, which has the NUL byte in it.
            path_bytes: 4095,
            // What ext4 and xfs take at most.
            attribute_bytes: 64 << 10,
        }
    }
}

/// What became of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unpacked {
    /// The digest of the archive before compression.
    pub diff_id: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Files, directories and whatever else it had.
    #[serde(default)]
    pub entries: u64,
    /// Bytes of all files with their holes.
    #[serde(default)]
    pub content: u64,
    /// What it had and the tree has not.
    #[serde(default)]
    pub left_out: LeftOut,
}

/// What an archive had and the tree has not, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Character and block devices.
    pub devices: u64,
    /// Extended attributes that no layer may bring, or that this file system has not.
    pub attributes: u64,
    /// Owners other than whoever unpacks it.
    #[serde(default)]
    pub owners: u64,
}

#[cfg(test)]
mod tests;
