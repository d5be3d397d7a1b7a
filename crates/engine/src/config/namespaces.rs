//! Which namespaces a container gets of its own.

use runtime::spec::{Namespace, NamespaceKind};

use crate::options::{NetworkMode, RunOptions};

pub(super) fn namespaces(options: &RunOptions) -> Vec<Namespace> {
    use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    [Pid, Mount, Ipc, Uts, Cgroup, Network]
        .into_iter()
        .filter(|kind| *kind != Network || options.network.mode != NetworkMode::Host)
        .map(|kind| Namespace { kind, path: None })
        .collect()
}
