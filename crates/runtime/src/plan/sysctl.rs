//! Kernel parameters: only those of a namespace that is the container's own may be set.

use std::path::Path;

use super::c_string;
use crate::error::{Error, Result};
use crate::init::step::Sysctl;
use crate::spec::{NamespaceKind, Spec};

/// Parameters of the ipc namespace beside `fs.mqueue` (sysctl(5), ipc_namespaces(7)).
const IPC: [&str; 11] = [
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
];

/// Why a container can't set a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedSysctl {
    /// There is none of that name.
    NoName,
    /// The config's `hostname` sets it.
    Hostname,
    /// It is the host's.
    Global,
}

impl std::fmt::Display for FixedSysctl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            FixedSysctl::NoName => "is not the name of a kernel parameter",
            FixedSysctl::Hostname => "is set by `hostname`",
            FixedSysctl::Global => "is not namespaced: it would change the host",
        })
    }
}

/// The namespace that parameter `name` belongs to, or why a container can't set it.
pub fn sysctl_namespace(name: &str) -> std::result::Result<NamespaceKind, FixedSysctl> {
    namespace_of(&path_of(name).ok_or(FixedSysctl::NoName)?)
}

/// Both forms of sysctl(8): the first separator decides, and the other then stands for a dot in a name.
fn path_of(name: &str) -> Option<String> {
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
    let legal = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    (!path.starts_with('/') && path.split('/').all(legal)).then_some(path)
}

fn namespace_of(path: &str) -> std::result::Result<NamespaceKind, FixedSysctl> {
    if path.starts_with("net/") {
        Ok(NamespaceKind::Network)
    } else if path.starts_with("fs/mqueue/") || IPC.contains(&path) {
        Ok(NamespaceKind::Ipc)
    } else if path == "kernel/hostname" {
        Err(FixedSysctl::Hostname)
    } else if path == "kernel/domainname" {
        Ok(NamespaceKind::Uts)
    } else if path.starts_with("user/") {
        Ok(NamespaceKind::User)
    } else {
        Err(FixedSysctl::Global)
    }
}

/// Only parameters that belong to a namespace of the container's own may be set.
pub(super) fn sysctl(name: &str, value: &str, spec: &Spec) -> Result<Sysctl> {
    let field = format!("linux.sysctl[{name}]");
    let wrong = |reason: String| Error::invalid(&field, reason);
    let fixed = |reason: FixedSysctl| wrong(reason.to_string());
    let path = path_of(name).filter(|_| !value.contains('\0')).ok_or_else(|| fixed(FixedSysctl::NoName))?;
    let kind = namespace_of(&path).map_err(fixed)?;
    let domain = spec.domainname.as_deref().filter(|domain| !domain.is_empty());
    if let Some(domain) = domain.filter(|domain| path == "kernel/domainname" && *domain != value) {
        return Err(wrong(format!("is `{value}`, and `domainname` is `{domain}`: only one can be")));
    }
    let own = spec.linux.iter().flat_map(|linux| &linux.namespaces).any(|namespace| {
        let host = namespace.path.as_deref().is_some_and(is_own_namespace);
        namespace.kind == kind && !host
    });
    if !own {
        let reason = format!("needs the container's own {kind:?} namespace").to_lowercase();
        return Err(Error::invalid(field, reason));
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
