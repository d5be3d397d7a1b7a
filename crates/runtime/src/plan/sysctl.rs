//! Kernel parameters: only those of a namespace that is the container's own may be set.

use std::path::Path;

use super::c_string;
use crate::error::{Error, Result};
use crate::init::step::Sysctl;
use crate::spec::{NamespaceKind, Spec};

/// Only parameters that belong to a namespace of the container's own may be set.
pub(super) fn sysctl(name: &str, value: &str, spec: &Spec) -> Result<Sysctl> {
    let field = format!("linux.sysctl[{name}]");
    // Both forms of sysctl(8): the first separator decides, and the other then stands for a dot in a name.
    let slashes = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let path: String = if slashes {
        name.to_owned()
    } else {
        name.chars()
            .map(|character| match character {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    };
    let legal =
        !path.starts_with('/') && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !legal || value.contains('\0') {
        return Err(Error::invalid(field, "is not the name of a kernel parameter".to_owned()));
    }
    let kind = if path.starts_with("net/") {
        NamespaceKind::Network
    } else if path.starts_with("fs/mqueue/")
        || [
            "kernel/msgmax",
            "kernel/msgmnb",
            "kernel/msgmni",
            "kernel/sem",
            "kernel/shmall",
            "kernel/shmmax",
            "kernel/shmmni",
            "kernel/shm_rmid_forced",
            "kernel/msg_next_id",
            "kernel/sem_next_id",
            "kernel/shm_next_id",
        ]
        .contains(&path.as_str())
    {
        NamespaceKind::Ipc
    } else if path == "kernel/domainname" || path == "kernel/hostname" {
        NamespaceKind::Uts
    } else if path.starts_with("user/") {
        NamespaceKind::User
    } else {
        return Err(Error::invalid(field, "is not namespaced: it would change the host".to_owned()));
    };
    if path == "kernel/hostname" {
        return Err(Error::invalid(field, "is set by `hostname`".to_owned()));
    }
    let own = spec.linux.iter().flat_map(|linux| &linux.namespaces).any(|namespace| {
        let host = namespace.path.as_deref().is_some_and(is_own_namespace);
        namespace.kind == kind && !host
    });
    if !own {
        return Err(Error::invalid(
            field,
            format!("needs a {kind:?} namespace of the container's own").to_lowercase(),
        ));
    }
    Ok(Sysctl { name: name.to_owned(), path: c_string(&path, &field)?, value: value.as_bytes().to_vec() })
}

/// Whether a namespace file is one that this process is in.
fn is_own_namespace(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(found) = std::fs::metadata(path) else { return false };
    let own =
        |name: &str| std::fs::metadata(format!("/proc/self/ns/{name}")).map(|own| (own.dev(), own.ino()));
    ["net", "ipc", "uts", "user", "mnt", "pid"]
        .iter()
        .any(|name| own(name).is_ok_and(|own| own == (found.dev(), found.ino())))
}
