//! A container's state as callers read it: the fields of the specification and those that runc adds.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runtime::lifecycle::{Status, View};

use crate::log::rfc3339;

/// One container (runtime.md, "State"; `rootfs`, `created` and `owner` are runc's).
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) oci_version: String,
    pub(super) id: String,
    pub(super) pid: i32,
    pub(super) status: &'static str,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner: String,
}

impl Document {
    /// From what was found, and the container's state directory.
    pub(super) fn new(view: View, directory: &Path) -> Document {
        let View { record, status } = view;
        Document {
            oci_version: record.oci_version,
            id: record.id,
            // The number may be another process's by now.
            pid: if status == Status::Stopped { 0 } else { record.pid },
            status: status.name(),
            bundle: record.bundle,
            rootfs: record.rootfs,
            created: rfc3339(record.created),
            annotations: record.annotations,
            owner: owner(directory),
        }
    }
}

/// The name of the directory's owner, or its number after `#` as runc writes it.
fn owner(directory: &Path) -> String {
    let Ok(metadata) = std::fs::metadata(directory) else { return String::new() };
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(metadata.uid(), &users).unwrap_or_else(|| format!("#{}", metadata.uid()))
}

/// The name of a user in the text of passwd(5).
fn name_of(uid: u32, users: &str) -> Option<String> {
    let number = uid.to_string();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_found_by_the_whole_number() {
        let users = "root:x:0:0::/root:/bin/sh\ncut\nweb:x:10:10::/:/bin/false\n";
        assert_eq!(name_of(0, users).as_deref(), Some("root"));
        assert_eq!(name_of(10, users).as_deref(), Some("web"));
        assert_eq!(name_of(1, users), None);
    }
}
