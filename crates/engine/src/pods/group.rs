//! The cgroup of a pod, below which its containers have theirs: made with its limits by who starts the first, removed by who cleans up
//! after the last. And what else starts and ends of its containers have to do with a pod.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use cgroup::{CgroupPath, Layout};
use runtime::ContainerId;
use runtime::state_dir::StateRoot;
use rustix::fs::{FlockOperation, flock};

use super::Pods;
use super::record::{ExitPolicy, Record};
use crate::config;
use crate::error::{Error, Result};
use crate::kept::{KeptContainers, Record as ContainerRecord};
use crate::life::{Started, StopRequest, Stopped};
use crate::options::{LimitOptions, RunOptions};
use crate::own_files::neighbour;
use crate::paths::EnginePaths;

/// The file whose lock those have who start a container in the group, or remove it.
const TURN: &str = "group";

/// The group of a pod, which nobody removes as long as this is there.
#[derive(Debug)]
pub(crate) struct GroupTurn {
    /// Below which a container's group is to be; none where the pod has none.
    parent: Option<String>,
    /// What the container is called beside its host name.
    aliases: Vec<String>,
    /// The names of those that share its network, with its own.
    neighbours: Vec<String>,
    _lock: Option<File>,
}

/// Refuses limits that can't be kept here.
pub(super) fn check(record: &Record) -> Result<()> {
    if place(record)?.is_none() {
        return Ok(());
    }
    config::changed_limits(&record.limits).map(drop)
}

/// Where a pod's group is; none where it has none, or the caller can have none and asks for no limit.
pub(super) fn place(record: &Record) -> Result<Option<(Layout, CgroupPath)>> {
    if !record.has_group {
        return Ok(None);
    }
    let wants = LimitOptions { cgroup_parent: None, ..record.limits.clone() } != LimitOptions::default();
    let Ok(layout) = Layout::detect() else { return Ok(None) };
    let name = format!("rabbitc-pod-{}", record.id);
    let path = config::group_path(&layout, record.limits.cgroup_parent.as_deref(), &name);
    let path = path.map_err(|error| Error::from(error).from_field("--cgroup-parent"))?;
    match runtime::plan::no_limits(&layout, &path) {
        Some(error) if wants || record.limits.cgroup_parent.is_some() => Err(error),
        Some(_) => Ok(None),
        // Without a limit to keep, no reason to have systemd move the caller.
        None if !wants && record.limits.cgroup_parent.is_none() && !layout.reaches(&path) => Ok(None),
        None => Ok(Some((layout, path))),
    }
}

fn lock(pods: &Pods, id: &str, operation: FlockOperation) -> Result<Option<File>> {
    let path = pods.directory(id).join(TURN);
    let mut options = File::options();
    let file = match options.write(true).create(true).truncate(false).mode(0o600).open(&path) {
        // The pod is gone.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| Error::at_path("open", &path, error))?,
    };
    rustix::io::retry_on_intr(|| flock(&file, operation))
        .map_err(|error| Error::at_path("lock", &path, error))?;
    Ok(Some(file))
}

/// What has to be there before a container of a pod starts: what keeps the namespaces, and the group.
pub(crate) fn before_start(
    containers: &KeptContainers,
    record: &ContainerRecord,
    paths: &EnginePaths,
) -> Result<Option<GroupTurn>> {
    let Some(member) = &record.pod else { return Ok(None) };
    let pods = Pods::of(containers);
    let Some(pod) = Record::read(&pods.directory(&member.id))? else {
        let operation = format!("start `{}`", record.name);
        return Err(Error::new(runtime::ErrorKind::NotFound, operation, "its pod is gone"));
    };
    if !record.is_infra() && pod.has_infra {
        let infra = pods.infra_of(&member.id)?.ok_or_else(|| {
            let operation = format!("start `{}`", record.name);
            let reason = "what keeps the namespaces of its pod is gone";
            Error::new(runtime::ErrorKind::NotFound, operation, reason)
        })?;
        if let Started::Failed(code) = containers.start(&infra.id, None, paths)? {
            let operation = format!("start the pod `{}`", pod.name);
            let reason = format!("its infra container does not start (exit code {code})");
            return Err(Error::new(runtime::ErrorKind::WrongStatus, operation, reason));
        }
    }
    let mut turn = GroupTurn { parent: None, aliases: Vec::new(), neighbours: Vec::new(), _lock: None };
    if record.is_infra() {
        turn.aliases.push(record.name.clone());
    } else if pod.shares_network() {
        let others = pods.containers_of(&member.id)?.into_iter().filter(|kept| !kept.record.is_infra());
        turn.neighbours.extend(others.map(|kept| kept.name));
    }
    let Some((layout, path)) = place(&pod)? else { return Ok(Some(turn)) };
    let lock = lock(&pods, &member.id, FlockOperation::LockShared)?;
    let resources = config::changed_limits(&pod.limits)?;
    runtime::limits::keep_parent(&layout, &path, &resources)?;
    Ok(Some(GroupTurn { parent: Some(path.to_string()), _lock: lock, ..turn }))
}

/// Names a container that runs now in the /etc/hosts of those of its pod that ran before. Best effort: nobody was promised it.
pub(crate) fn after_start(containers: &KeptContainers, record: &ContainerRecord, paths: &EnginePaths) {
    let Some(member) = record.pod.as_ref().filter(|_| !record.is_infra()) else { return };
    let pods = Pods::of(containers);
    let Ok(Some(pod)) = Record::read(&pods.directory(&member.id)) else { return };
    if !pod.shares_network() {
        return;
    }
    let line = neighbour(&record.name);
    let root = StateRoot::new(paths.containers());
    let others = pods.containers_of(&member.id).unwrap_or_default();
    // Not in that of what keeps the network: the next ones have what stands there.
    for other in others.iter().filter(|kept| !kept.record.is_infra()) {
        let Ok(id) = ContainerId::parse(&other.id) else { continue };
        let path = root.directory(&id).join("hosts");
        let names_it = |text: String| text.lines().any(|one| one == line.trim_end());
        // Not made anew: to the file that is mounted there. One that has none is left alone.
        if std::fs::read_to_string(&path).is_ok_and(|text| !names_it(text)) {
            let opened = File::options().append(true).open(&path);
            let _ = opened.and_then(|mut hosts| hosts.write_all(line.as_bytes()));
        }
    }
}

impl GroupTurn {
    /// Gives a container what it has of its pod as that is now.
    pub(crate) fn apply(&self, options: &mut RunOptions) {
        if let Some(parent) = &self.parent {
            options.limits.cgroup_parent = Some(parent.clone());
        }
        let names = &mut options.network.names;
        names.aliases.extend(self.aliases.iter().cloned());
        names.neighbours.extend(self.neighbours.iter().cloned());
    }
}

impl Pods {
    /// Removes the group of a pod, if nobody is in it.
    pub(super) fn remove_group(&self, record: &Record) -> Result<()> {
        // Of a host that offers none any more, there is nothing to remove.
        let Ok(Some((layout, path))) = place(record) else { return Ok(()) };
        let _turn = lock(self, &record.id, FlockOperation::LockExclusive)?;
        layout.remove_empty(&path);
        Ok(())
    }

    /// The container that keeps the namespaces of a pod.
    pub(super) fn infra_of(&self, id: &str) -> Result<Option<crate::kept::Kept>> {
        Ok(self.containers_of(id)?.into_iter().find(|kept| kept.record.is_infra()))
    }
}

/// Removes the group of the pod of a container that has not started, if nobody else is in it.
pub(crate) fn leave_group(containers: &KeptContainers, record: &ContainerRecord) -> Result<()> {
    let Some(member) = &record.pod else { return Ok(()) };
    let pods = Pods::of(containers);
    match Record::read(&pods.directory(&member.id))? {
        Some(pod) => pods.remove_group(&pod),
        None => Ok(()),
    }
}

/// What becomes of a pod when one of its containers has ended and is cleaned up; what failed.
pub(crate) fn after_end(
    containers: &KeptContainers,
    record: &ContainerRecord,
    paths: &EnginePaths,
) -> Option<Error> {
    let member = record.pod.as_ref()?;
    let pods = Pods::of(containers);
    let end = || -> Result<()> {
        let Some(pod) = Record::read(&pods.directory(&member.id))? else { return Ok(()) };
        pods.remove_group(&pod)?;
        if record.is_infra() || pod.exit_policy != ExitPolicy::Stop {
            return Ok(());
        }
        let own = pods.containers_of(&member.id)?;
        let goes_on =
            |kept: &&crate::kept::Kept| kept.id != record.id && !kept.record.is_infra() && kept.state.is_up();
        if own.iter().any(|kept| goes_on(&kept)) {
            return Ok(());
        }
        let request =
            StopRequest { signal: None, patience: Some(crate::life::Patience::For(Duration::from_secs(10))) };
        for infra in own.iter().filter(|kept| kept.record.is_infra()) {
            if containers.stop(infra, request, paths)? != Stopped::Before {
                pods.tell(&pod, "stop");
            }
        }
        Ok(())
    };
    end().err()
}
