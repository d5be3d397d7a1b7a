//! Which namespaces a container gets of its own, which it joins, and the mounts that belong to them.

use runtime::spec::{Mount, Namespace, NamespaceKind, Spec, TimeOffset};

use super::{WhoseUsers, files};
use crate::error::{Error, Result};
use crate::options::{CgroupMode, IpcMode, NamespaceMode, NetworkMode, RunOptions};
use crate::peers::{self, SharedMemory};

pub(super) fn namespaces(options: &RunOptions) -> Vec<Namespace> {
    use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Time, Uts};
    let asked = &options.namespaces;
    let mut namespaces = Vec::new();
    let mut add = |kind, mode: &NamespaceMode| match mode {
        NamespaceMode::Private => namespaces.push(Namespace { kind, path: None }),
        NamespaceMode::Path(path) => namespaces.push(Namespace { kind, path: Some(path.clone()) }),
        // A container's was looked up before, and is a path by now.
        NamespaceMode::Host | NamespaceMode::Container(_) => {}
    };
    add(Pid, &asked.pid);
    add(Mount, &NamespaceMode::Private);
    match &asked.ipc {
        IpcMode::Private | IpcMode::None => add(Ipc, &NamespaceMode::Private),
        IpcMode::Shared(mode) => add(Ipc, mode),
    }
    add(Uts, &asked.uts);
    match &asked.cgroup {
        CgroupMode::Private => add(Cgroup, &NamespaceMode::Private),
        CgroupMode::Path(path) => add(Cgroup, &NamespaceMode::Path(path.clone())),
        CgroupMode::Host | CgroupMode::Container(_) => {}
    }
    match &options.network.mode {
        NetworkMode::Host => {}
        NetworkMode::Joined { namespace, .. } => add(Network, &NamespaceMode::Path(namespace.clone())),
        _ => add(Network, &NamespaceMode::Private),
    }
    if asked.has_own_time() {
        add(Time, &NamespaceMode::Private);
    }
    namespaces
}

/// The error of a namespace that can't be joined, with the flag that named it.
pub(super) fn name_flags(mut error: Error, spec: &Spec) -> Error {
    let named = error.operation.strip_prefix("linux.namespaces[").and_then(|rest| rest.split_once("].path"));
    let Some((number, rest)) = named else { return error };
    let listed = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    let kind = number.parse().ok().and_then(|number| listed.map(|namespace| namespace.kind).nth(number));
    let flag = match kind {
        Some(NamespaceKind::User) => "--userns",
        Some(NamespaceKind::Pid) => "--pid",
        Some(NamespaceKind::Network) => "--network",
        Some(NamespaceKind::Ipc) => "--ipc",
        Some(NamespaceKind::Uts) => "--uts",
        Some(NamespaceKind::Cgroup) => "--cgroupns",
        _ => return error,
    };
    error.operation = format!("{flag}{rest}");
    error
}

/// Makes the rest of the config agree with the namespaces.
pub(super) fn settle(options: &RunOptions, users: WhoseUsers, spec: &mut Spec) -> Result<()> {
    let asked = &options.namespaces;
    if asked.uts == NamespaceMode::Private {
        spec.hostname = Some(asked.hostname().to_owned());
        spec.domainname = asked.domainname.clone();
    }
    let Spec { linux: Some(linux), mounts, .. } = spec else { return Ok(()) };
    for (clock, seconds) in &asked.time_offsets {
        let offset = TimeOffset { secs: *seconds, nanosecs: 0 };
        linux.time_offsets.insert(clock.name().to_owned(), offset);
    }
    // What a person mounts there stays, whatever goes with the ipc namespace.
    let is_taken = options.files.mounts.iter().any(|mount| files::replaces(mount, "/dev/shm"));
    match &asked.ipc {
        IpcMode::Private => {}
        _ if is_taken => {}
        IpcMode::None => drop_mount(mounts, "/dev/shm"),
        IpcMode::Shared(NamespaceMode::Host) => bind(mounts, "/dev/shm", "/dev/shm"),
        IpcMode::Shared(NamespaceMode::Path(path)) => match peers::shared_memory_of(path)? {
            SharedMemory::At(place) => bind(mounts, "/dev/shm", &place),
            SharedMemory::Absent => drop_mount(mounts, "/dev/shm"),
            SharedMemory::Unknown => {}
        },
        IpcMode::Shared(_) => {}
    }
    let shares = matches!(asked.ipc, IpcMode::Shared(_));
    if shares && users == WhoseUsers::Own && !std::path::Path::new("/dev/mqueue").exists() {
        // Other users can't mount it, and the host has none that could be bound.
        drop_mount(mounts, "/dev/mqueue");
    }
    Ok(())
}

fn drop_mount(mounts: &mut Vec<Mount>, destination: &str) {
    mounts.retain(|mount| mount.destination != destination);
}

/// Puts something that exists in the place of a mount that would be new.
fn bind(mounts: &mut [Mount], destination: &str, source: &str) {
    const FILE_SYSTEM: [&str; 3] = ["nosuid", "noexec", "nodev"];
    for mount in mounts.iter_mut().filter(|mount| mount.destination == destination) {
        mount.kind = Some("bind".to_owned());
        mount.source = Some(source.to_owned());
        let options = std::iter::once("rbind").chain(FILE_SYSTEM);
        mount.options = Some(options.map(str::to_owned).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Account;
    use crate::options::{MountKind, MountRequest, NamespaceOptions, TmpfsRequest, Toggle};

    fn config(namespaces: NamespaceOptions) -> Spec {
        let options = RunOptions { namespaces, ..RunOptions::default() };
        let id = runtime::ContainerId::parse("x").expect("legal");
        super::super::spec(&options, std::path::Path::new("/"), &id, &[], &Account::root()).expect("legal")
    }

    fn kinds(spec: &Spec) -> Vec<NamespaceKind> {
        spec.linux.iter().flat_map(|linux| &linux.namespaces).map(|namespace| namespace.kind).collect()
    }

    #[test]
    fn shared_namespaces_are_left_out_and_joined_ones_have_a_path() {
        let options = NamespaceOptions {
            pid: NamespaceMode::Host,
            uts: NamespaceMode::Path("/proc/1/ns/uts".into()),
            cgroup: CgroupMode::Host,
            ..NamespaceOptions::default()
        };
        let spec = config(options);
        use NamespaceKind::{Ipc, Mount, Network, Uts};
        assert_eq!(kinds(&spec), [Mount, Ipc, Uts, Network]);
        assert_eq!(spec.hostname, None, "it would rename others");
        // What is hidden does not depend on whose processes are seen.
        assert!(spec.linux.expect("there").masked_paths.contains(&"/proc/kcore".to_owned()));
    }

    #[test]
    fn shared_memory_follows_the_ipc_namespace() {
        let shm = |ipc| {
            let spec = config(NamespaceOptions { ipc, ..NamespaceOptions::default() });
            spec.mounts.into_iter().find(|mount| mount.destination == "/dev/shm")
        };
        assert_eq!(shm(IpcMode::Private).expect("there").kind.as_deref(), Some("tmpfs"));
        assert_eq!(shm(IpcMode::None), None);
        let host = shm(IpcMode::Shared(NamespaceMode::Host)).expect("there");
        assert_eq!((host.kind.as_deref(), host.source.as_deref()), (Some("bind"), Some("/dev/shm")));
        let unknown = shm(IpcMode::Shared(NamespaceMode::Path("/run/netns/x".into())));
        assert_eq!(unknown.expect("there").kind.as_deref(), Some("tmpfs"));
    }

    #[test]
    fn what_a_person_mounts_in_the_place_of_shared_memory_stays() {
        let id = runtime::ContainerId::parse("x").expect("legal");
        for ipc in [IpcMode::None, IpcMode::Shared(NamespaceMode::Host)] {
            let mut options = RunOptions::default();
            options.namespaces.ipc = ipc;
            options.files.mounts.push(MountRequest {
                flag: "--tmpfs /dev/shm".to_owned(),
                target: "/dev/shm".to_owned(),
                kind: MountKind::Tmpfs(TmpfsRequest::default()),
                exec: Toggle::default(),
                suid: Toggle::default(),
                dev: Toggle::default(),
            });
            let spec = super::super::spec(&options, std::path::Path::new("/"), &id, &[], &Account::root());
            let mounts = spec.expect("legal").mounts;
            let found: Vec<_> = mounts.iter().filter(|mount| mount.destination == "/dev/shm").collect();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].kind.as_deref(), Some("tmpfs"));
        }
    }
}
