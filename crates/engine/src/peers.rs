//! Running containers whose namespaces another one joins: found by id, and held to be the ones that were found.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::lifecycle::{self, Status};
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, ErrorKind};

use crate::error::{Error, Result};
use crate::kept::{Kept, KeptContainers};
use crate::options::{CgroupMode, IpcMode, NamespaceMode, NetworkMode, RunOptions, UserNamespace};
use crate::paths::EnginePaths;
use crate::running::Basis;

/// A container that runs.
#[derive(Debug)]
pub(crate) struct Peer {
    flag: &'static str,
    id: ContainerId,
    pid: i32,
    pidfd: OwnedFd,
}

/// Options in which every shared namespace is the host's or a file's, and whom they belong to.
pub(crate) struct Settled {
    pub(crate) options: RunOptions,
    peers: Vec<Peer>,
}

impl RunOptions {
    /// The same with containers whose namespaces are joined called by their ids, where they were called by names that some have now.
    pub fn naming_peers_by_id(mut self, containers: &KeptContainers) -> Result<RunOptions> {
        let RunOptions { namespaces, network, .. } = &mut self;
        let mut names = Vec::new();
        let ipc = match &mut namespaces.ipc {
            IpcMode::Shared(mode) => Some(mode),
            IpcMode::Private | IpcMode::None => None,
        };
        for mode in [Some(&mut namespaces.pid), Some(&mut namespaces.uts), ipc].into_iter().flatten() {
            if let NamespaceMode::Container(name) = mode {
                names.push(name);
            }
        }
        if let UserNamespace::Container(name) = &mut namespaces.users {
            names.push(name);
        }
        if let NetworkMode::Container(name) = &mut network.mode {
            names.push(name);
        }
        for name in names {
            if let Some(id) = containers.holder_of(name.strip_prefix('/').unwrap_or(name))? {
                *name = id;
            }
        }
        if let IpcMode::Shared(NamespaceMode::Container(name)) = &self.namespaces.ipc {
            check_ipc_is_shared(name, containers)?;
        }
        Ok(self)
    }

    /// The containers whose namespaces it joins, as they are called.
    pub(crate) fn peers(&self) -> Vec<String> {
        let RunOptions { namespaces, network, .. } = self;
        let of_mode = |mode: &NamespaceMode| match mode {
            NamespaceMode::Container(name) => Some(name.clone()),
            _ => None,
        };
        let ipc = match &namespaces.ipc {
            IpcMode::Shared(mode) => of_mode(mode),
            IpcMode::Private | IpcMode::None => None,
        };
        let users = match &namespaces.users {
            UserNamespace::Container(name) => Some(name.clone()),
            _ => None,
        };
        let network = match &network.mode {
            NetworkMode::Container(name) => Some(name.clone()),
            _ => None,
        };
        let all = [of_mode(&namespaces.pid), of_mode(&namespaces.uts), ipc, users, network];
        all.into_iter().flatten().collect()
    }

    /// Whether a container whose namespaces it joins is there and does not run: only a start needs more of it.
    pub(crate) fn waits_for_peers(&self, containers: &KeptContainers, paths: &EnginePaths) -> bool {
        self.peers().iter().any(|name| {
            Peer::find("--network", name, paths).is_err()
                && containers.find(name).is_ok_and(|kept| !kept.state.is_up())
        })
    }
}

impl KeptContainers {
    /// The containers that join a namespace of this one, and so can't start without it.
    pub fn dependents(&self, kept: &Kept) -> Result<Vec<Kept>> {
        let joins = |other: &Kept| {
            let asked = other.record.asked.as_ref();
            asked.is_some_and(|asked| asked.options.peers().contains(&kept.id))
        };
        Ok(self.survey()?.kept.into_iter().filter(joins).collect())
    }
}

/// Refuses the ipc namespace of a container that was told to have its own for itself. Of one that is not kept nobody knows what it was
/// told.
fn check_ipc_is_shared(name: &str, containers: &KeptContainers) -> Result<()> {
    let Ok(kept) = containers.find(name) else { return Ok(()) };
    let asked = kept.record.asked.as_ref();
    if !asked.is_some_and(|asked| asked.life.flags.iter().any(|flag| flag == "--ipc=private")) {
        return Ok(());
    }
    // In docker's words, which podman has, too.
    let reason =
        "joining it is not allowed: non-shareable IPC (hint: use IpcMode:shareable for the donor container)";
    let operation = format!("--ipc: join the container `{}`", name.escape_debug());
    Err(Error::new(ErrorKind::Invalid, operation, reason)
        .with_hint("start the other one with `--ipc=shareable`, or without `--ipc`"))
}

/// Looks up what `options` share; `None` where they share nothing, which is most often the case.
pub(crate) fn settle(options: &RunOptions, paths: &EnginePaths) -> Result<Option<Settled>> {
    let asked = &options.namespaces;
    let ipc = match &asked.ipc {
        IpcMode::Shared(mode) => mode,
        IpcMode::Private | IpcMode::None => &NamespaceMode::Private,
    };
    let own_network = !matches!(options.network.mode, NetworkMode::Container(_));
    let mut others = [&asked.pid, ipc, &asked.uts].into_iter();
    let own_users = !matches!(asked.users, UserNamespace::Container(_));
    // On the host's network a name of one's own would be one that nobody there knows.
    let has_name = asked.hostname.is_some() || options.network.mode != NetworkMode::Host;
    let own_groups = !matches!(asked.cgroup, CgroupMode::Container(_));
    if own_network
        && own_users
        && own_groups
        && has_name
        && others.all(|mode| *mode == NamespaceMode::Private)
    {
        return Ok(None);
    }
    let mut settled = Settled { options: options.clone(), peers: Vec::new() };
    let found = &mut settled.options.namespaces;
    found.pid = join(&asked.pid, "--pid", "pid", paths, &mut settled.peers)?;
    if let IpcMode::Shared(mode) = &asked.ipc {
        found.ipc = IpcMode::Shared(join(mode, "--ipc", "ipc", paths, &mut settled.peers)?);
    }
    found.uts = join(&asked.uts, "--uts", "uts", paths, &mut settled.peers)?;
    found.hostname = match &found.uts {
        NamespaceMode::Host => Some(hosts_name()),
        NamespaceMode::Path(path) => {
            let peer = settled.peers.iter().find(|peer| peer.flag == "--uts");
            Some(host_name_of(path, peer, paths)?)
        }
        NamespaceMode::Private if !has_name => Some(hosts_name()),
        NamespaceMode::Private | NamespaceMode::Container(_) => found.hostname.take(),
    };
    if let UserNamespace::Container(name) = &asked.users {
        let peer = Peer::find("--userns", name, paths)?;
        found.users = UserNamespace::Path(peer.namespace("user"));
        settled.peers.push(peer);
    }
    if let CgroupMode::Container(name) = &asked.cgroup {
        let peer = Peer::find("--cgroupns", name, paths)?;
        found.cgroup = CgroupMode::Path(peer.namespace("cgroup"));
        settled.peers.push(peer);
    }
    if let NetworkMode::Container(name) = &options.network.mode {
        let peer = Peer::find("--network", name, paths)?;
        let files = StateRoot::new(paths.containers()).directory(&peer.id);
        settled.options.network.mode =
            NetworkMode::Joined { namespace: peer.namespace("net"), files: Some(files) };
        settled.peers.push(peer);
    }
    Ok(Some(settled))
}

/// The host name in a uts namespace. Without root a thread can't enter one of other users, though a container of theirs can: of a
/// container of ours it is known how it began.
fn host_name_of(path: &Path, peer: Option<&Peer>, paths: &EnginePaths) -> Result<String> {
    runtime::host_name("--uts", path).or_else(|error| {
        let directory = peer.map(|peer| StateRoot::new(paths.containers()).directory(&peer.id));
        directory.and_then(|directory| Basis::host_name(&directory)).ok_or(error)
    })
}

fn hosts_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn join(
    mode: &NamespaceMode,
    flag: &'static str,
    file: &str,
    paths: &EnginePaths,
    peers: &mut Vec<Peer>,
) -> Result<NamespaceMode> {
    let NamespaceMode::Container(name) = mode else { return Ok(mode.clone()) };
    let peer = Peer::find(flag, name, paths)?;
    let path = peer.namespace(file);
    peers.push(peer);
    Ok(NamespaceMode::Path(path))
}

impl Settled {
    /// To be called when everything of them is open: a pid belongs to the process that was found as long as that has
    /// not ended, and only then was it that container's namespace that was opened.
    pub(crate) fn verify(&self) -> Result<()> {
        self.peers.iter().try_for_each(|peer| match lifecycle::has_ended(peer.pidfd.as_fd()) {
            true => Err(peer.gone()),
            false => Ok(()),
        })
    }
}

impl Peer {
    /// Finds the running container whose id is or begins with `name`.
    pub(crate) fn find(flag: &'static str, name: &str, paths: &EnginePaths) -> Result<Peer> {
        let root = StateRoot::new(paths.containers());
        let ids = root.list().map_err(|error| error.from_field(flag))?;
        let exact: Vec<&ContainerId> = ids.iter().filter(|id| id.as_str() == name).collect();
        let begin = || ids.iter().filter(|id| id.as_str().starts_with(name)).collect();
        let matching: Vec<&ContainerId> = if exact.is_empty() { begin() } else { exact };
        let operation = format!("{flag}: find the container `{}`", name.escape_debug());
        let id = match matching[..] {
            [one] => one.clone(),
            [] => {
                let error =
                    Error::new(ErrorKind::NotFound, operation, "no container has an id that begins so");
                return Err(error.with_hint(match ids.len() {
                    0 => "no container runs".to_owned(),
                    _ => format!("there are {}", listed(&ids.iter().collect::<Vec<_>>())),
                }));
            }
            _ => {
                let reason = format!("{} containers have ids that begin so", matching.len());
                let error = Error::new(ErrorKind::Invalid, operation, reason);
                return Err(error.with_hint(format!("write more of one: {}", listed(&matching))));
            }
        };
        let view = lifecycle::view(&root, &id).map_err(|error| error.from_field(flag))?;
        let peer = matches!(view.status, Status::Running | Status::Paused)
            .then(|| lifecycle::init(&view.record))
            .flatten();
        match peer {
            Some(pidfd) => Ok(Peer { flag, id, pid: view.record.pid, pidfd }),
            None => {
                let reason = format!("container `{id}` is {}", view.status.name());
                let error = Error::new(ErrorKind::WrongStatus, operation, reason);
                Err(error.with_hint("only a running container can be joined"))
            }
        }
    }

    /// The file of one of its namespaces, as in `/proc/PID/ns`.
    pub(crate) fn namespace(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{file}", self.pid))
    }

    fn gone(&self) -> Error {
        let operation = format!("{}: join the container `{}`", self.flag, self.id);
        Error::new(ErrorKind::WrongStatus, operation, "it has just ended")
            .with_hint("only a running container can be joined")
    }
}

fn listed(ids: &[&ContainerId]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

/// The `/dev/shm` that goes with an ipc namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SharedMemory {
    /// A path to it.
    At(String),
    /// Its container has none.
    Absent,
    /// The file of the namespace is not that of a process.
    Unknown,
}

/// `/proc/PID` of `/proc/PID/ns/ipc`.
pub(crate) fn process_of(namespace: &Path) -> Option<&str> {
    let process = namespace.to_str()?.strip_suffix("/ns/ipc")?;
    process.starts_with("/proc/").then_some(process)
}

/// Looks for the `/dev/shm` of the process behind `/proc/PID/ns/ipc`.
pub(crate) fn shared_memory_of(namespace: &Path) -> Result<SharedMemory> {
    let Some(process) = process_of(namespace) else { return Ok(SharedMemory::Unknown) };
    let path = format!("{process}/mountinfo");
    // A memory of its own in the place of what was asked for would be found out late.
    let table = std::fs::read(&path).map_err(|error| {
        Error::at_path("look for /dev/shm in", Path::new(&path), error)
            .with_hint("the process may have ended: name a container that runs")
    })?;
    Ok(match sys::mount_table::entries(&table).any(|mount| *mount.mount_point == *"/dev/shm") {
        true => SharedMemory::At(format!("{process}/root/dev/shm")),
        false => SharedMemory::Absent,
    })
}
