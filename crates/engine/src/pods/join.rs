//! What a container of a pod has in common with the others, put into its options; what is the pod's to say is refused.

use std::fs::File;

use runtime::ErrorKind;
use runtime::caller::Caller;
use rustix::fs::FlockOperation;

use super::Pods;
use super::record::{Record, Shared};
use crate::directories::Lock;
use crate::error::{Error, Result};
use crate::kept::{PodMember, PodRole};
use crate::life::RestartPolicy;
use crate::options::{CgroupMode, IpcMode, NamespaceMode, NetworkMode, OwnedFile, RunOptions, UserNamespace};
use crate::paths::EnginePaths;

/// A pod in which a container is about to be made: nobody removes it as long as this is there.
#[derive(Debug)]
pub struct PodEntry {
    record: Record,
    /// The id of the container that keeps what is shared.
    infra: Option<String>,
    _lock: File,
}

impl Pods {
    /// Holds the pod that is called so, for a container that is to be made in it.
    pub fn enter(&self, called: &str, paths: &EnginePaths) -> Result<PodEntry> {
        let pod = self.find(called, paths)?;
        let Lock::Held(lock) = self.lock(&pod.id, FlockOperation::NonBlockingLockShared)? else {
            return Err(pod.gone());
        };
        let record = Record::read(&self.directory(&pod.id))?.filter(Record::is_settled);
        let record = record.ok_or_else(|| pod.gone())?;
        let infra = pod.infra().map(|kept| kept.id.clone());
        if record.has_infra && infra.is_none() {
            let operation = format!("join the pod `{}`", pod.name);
            let reason = "what keeps its namespaces is gone";
            let error = Error::new(ErrorKind::WrongStatus, operation, reason);
            return Err(error.with_hint("remove it with `rabbitc pod rm`, and make it again"));
        }
        Ok(PodEntry { record, infra, _lock: lock })
    }
}

impl PodEntry {
    /// What a container's record says of it.
    pub fn member(&self) -> PodMember {
        PodMember { id: self.record.id.clone(), role: PodRole::Ordinary }
    }

    /// When its containers are started again where they say nothing.
    pub fn restart(&self) -> RestartPolicy {
        self.record.restart
    }

    /// Gives a container what is the pod's.
    pub fn join(&self, options: &mut RunOptions) -> Result<()> {
        self.refuse_what_is_the_pods(options)?;
        let common = &self.record.options;
        if let Some(infra) = &self.infra {
            self.share(infra, options);
        }
        let own = &mut options.files;
        let is_free = |target: &str| own.mounts.iter().all(|mount| mount.target != target);
        let more: Vec<_> =
            common.files.mounts.iter().filter(|mount| is_free(&mount.target)).cloned().collect();
        own.mounts.extend(more);
        own.devices.extend(common.files.devices.iter().cloned());
        if own.volume_store.is_none() && own.may_need_volumes() {
            own.volume_store.clone_from(&common.files.volume_store);
        }
        Ok(())
    }

    fn shares(&self, kind: Shared) -> bool {
        self.infra.is_some() && self.record.shares.contains(&kind)
    }

    fn refuse(&self, flag: &str, reason: &str, hint: String) -> Result<()> {
        Err(Error::invalid(flag, reason.to_owned()).with_hint(hint))
    }

    fn refuse_what_is_the_pods(&self, options: &RunOptions) -> Result<()> {
        let name = &self.record.name;
        let hint = |flag: &str| {
            format!("give `{flag}` to `rabbitc pod create`, or leave it out; the pod is `{name}`")
        };
        let RunOptions { namespaces, network, limits, .. } = options;
        if self.shares(Shared::Uts)
            && namespaces.uts == NamespaceMode::Private
            && (namespaces.hostname.is_some() || namespaces.domainname.is_some())
        {
            let reason = "invalid config provided: cannot set hostname when joining the pod UTS namespace: invalid \
                          configuration";
            return self.refuse("--hostname", reason, hint("--hostname"));
        }
        if self.shares(Shared::Net) {
            let names = &network.names;
            let given = [
                ("--network", network.mode != NetworkMode::Default),
                ("--publish", !network.publish.is_empty()),
                ("--network-name", network.name.is_some() || network.ip.is_some()),
                ("--ip", network.container_ip.is_some()),
                ("--mac-address", network.mac.is_some()),
                ("--dns", !names.servers.is_empty()),
                ("--dns-search", !names.search.is_empty()),
                ("--dns-option", !names.options.is_empty()),
                ("--add-host", !names.hosts.is_empty()),
            ];
            if let Some((flag, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
                let reason = "network cannot be configured when it is shared with a pod";
                return self.refuse(flag, reason, hint(flag));
            }
        }
        if self.joins_users() && namespaces.users != UserNamespace::Default {
            let reason = "the users of a pod's containers are the pod's";
            return self.refuse("--userns", reason, hint("--userns"));
        }
        if self.record.has_group && limits.cgroup_parent.is_some() {
            let reason = "the groups of a pod's containers are in the pod's own";
            return self.refuse("--cgroup-parent", reason, hint("--cgroup-parent"));
        }
        Ok(())
    }

    /// Whether its containers are in the user namespace of the one that keeps the others: those belong to it.
    fn joins_users(&self) -> bool {
        let has_own =
            !matches!(self.record.options.namespaces.users, UserNamespace::Default | UserNamespace::Host);
        self.infra.is_some()
            && (has_own || (Caller::find() == Caller::User && !self.record.shares.is_empty()))
    }

    fn share(&self, infra: &str, options: &mut RunOptions) {
        let common = &self.record.options;
        let container = || NamespaceMode::Container(infra.to_owned());
        let namespaces = &mut options.namespaces;
        // What is the host's can be had without asking, also by who may not join it.
        let shared = |mode: &NamespaceMode| match mode {
            NamespaceMode::Host => NamespaceMode::Host,
            _ => container(),
        };
        // A kind that the container itself says something of is its own.
        if self.shares(Shared::Uts) && namespaces.uts == NamespaceMode::Private {
            namespaces.uts = shared(&common.namespaces.uts);
        }
        if self.shares(Shared::Pid) && namespaces.pid == NamespaceMode::Private {
            namespaces.pid = shared(&common.namespaces.pid);
        }
        if self.shares(Shared::Ipc) && namespaces.ipc == IpcMode::Private {
            namespaces.ipc = IpcMode::Shared(match &common.namespaces.ipc {
                IpcMode::Shared(NamespaceMode::Host) => NamespaceMode::Host,
                _ => container(),
            });
        }
        if self.shares(Shared::Cgroup) && namespaces.cgroup == CgroupMode::Private {
            namespaces.cgroup = CgroupMode::Container(infra.to_owned());
        }
        if self.shares(Shared::Net) {
            options.network.mode = match common.network.mode {
                NetworkMode::Host => NetworkMode::Host,
                _ => NetworkMode::Container(infra.to_owned()),
            };
            if common.network.names.hosts_file == OwnedFile::OfTheRoot {
                options.network.names.hosts_file = OwnedFile::OfTheRoot;
            }
            if common.network.names.hostname_file == OwnedFile::OfTheRoot {
                options.network.names.hostname_file = OwnedFile::OfTheRoot;
            }
        }
        if self.joins_users() {
            options.namespaces.users = UserNamespace::Container(infra.to_owned());
        }
    }
}
