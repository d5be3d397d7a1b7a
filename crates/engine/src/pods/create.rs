//! Making a pod: its record first, then its name, then the container that keeps its namespaces. Nothing runs.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::record::{ExitPolicy, Record, Shared, Stage};
use super::{Pod, Pods};
use crate::container::new_id;
use crate::directories::{Durability, Lock, lock, sync};
use crate::error::{Error, Result};
use crate::kept::{PodMember, PodRole, Stay, now, parse_name, parse_pod_name};
use crate::life::{CreateRequest, LifeOptions, Look, RestartPolicy};
use crate::options::{LimitOptions, ReadOnlyTmpfs, RootOptions, RunOptions};
use crate::paths::EnginePaths;

/// A pod to be made.
#[derive(Debug, Clone, Default)]
pub struct NewPod {
    /// How it is to be called; without a name it gets one.
    pub name: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What its containers share.
    pub shares: Vec<Shared>,
    /// How the container is to be called that keeps that; `None` is for a pod without one.
    pub infra: Option<InfraName>,
    /// Whether its containers have their groups in one of its own.
    pub has_group: bool,
    /// What becomes of it with its last container.
    pub exit_policy: ExitPolicy,
    /// What its containers have where they say nothing else.
    pub restart: RestartPolicy,
    /// Limits of its group, and where that is to be.
    pub limits: LimitOptions,
    /// The container that keeps what is shared: its network, host name, users, mounts; its paths are absolute
    /// ([`RunOptions::made_absolute`]). Of the host's root it gets an empty one, and no program.
    pub options: RunOptions,
    /// The words that asked for it.
    pub words: Vec<String>,
}

/// How the container is called that keeps a pod's namespaces; without a word, after the pod.
pub type InfraName = Option<String>;

impl Pods {
    /// Makes a pod, and answers its id.
    pub fn create(&self, new: NewPod, paths: &EnginePaths) -> Result<String> {
        let name = new.name.as_deref().map(parse_pod_name).transpose()?;
        let infra_name =
            new.infra.as_ref().map(|name| name.as_deref().map(parse_name).transpose()).transpose()?;
        new.limits.check()?;
        let id = new_id()?.to_string();
        let directory = self.directory(&id);
        make(&directory)?;
        let Lock::Held(_lock) = lock(&directory, FlockOperation::NonBlockingLockExclusive)? else {
            return Err(Error::invalid("make a pod", "its directory is gone, or somebody's".to_owned()));
        };
        let mut record = Record {
            id: id.clone(),
            name: String::new(),
            created: now(),
            stage: Stage::Making,
            labels: new.labels,
            shares: new.shares,
            has_infra: new.infra.is_some(),
            has_group: new.has_group,
            exit_policy: new.exit_policy,
            restart: new.restart,
            limits: new.limits,
            options: new.options,
            words: new.words,
        };
        // Before anything else of it is there: by this the next command finds what a killed one has left.
        record.write(&directory, Durability::Process)?;
        let make = || -> Result<()> {
            record.name = self.containers.claim_name_for_pod(&id, name.as_deref())?;
            record.write(&directory, Durability::Process)?;
            if let Some(wanted) = infra_name {
                self.make_infra(&mut record, wanted, paths)?;
            }
            super::group::check(&record)?;
            record.stage = Stage::Settled;
            record.write(&directory, Durability::Power)?;
            sync(&self.path)?;
            self.tell(&record, "create");
            Ok(())
        };
        make().map_err(|mut error| {
            let undone = Record::read(&directory).and_then(|record| match record {
                Some(record) => {
                    let containers = self.containers_of(&id)?;
                    let pod = Pod { id: id.clone(), name: record.name.clone(), containers, record };
                    self.remove_rest(&pod, paths)
                }
                None => Ok(()),
            });
            error.rollback.extend(undone.err());
            error
        })?;
        Ok(id)
    }

    /// Makes the container that keeps what is shared.
    fn make_infra(&self, record: &mut Record, name: Option<String>, paths: &EnginePaths) -> Result<()> {
        let mut options = record.options.clone();
        if options.namespaces.hostname.is_none() && options.namespaces.uts == Default::default() {
            options.namespaces.hostname = Some(host_name(&record.name));
        }
        if options.files.root == RootOptions::Host {
            let root = self.path.join(".root");
            // Whoever is root inside must be able to enter it.
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&root);
            made.map_err(|error| Error::at_path("make", &root, error))?;
            options.files.root = RootOptions::Directory(root);
            options.files.read_only = true;
            options.files.read_only_tmpfs = ReadOnlyTmpfs::None;
            options.process.holds = true;
            options.process.command = vec!["/pause".to_owned()];
            // It opens nothing, and is nobody's.
            options.security.drop_capabilities.all = true;
        }
        record.options = options.clone();
        let request = CreateRequest {
            options,
            life: LifeOptions {
                restart: record.restart,
                flags: record.words.clone(),
                ..LifeOptions::default()
            },
            name: Some(
                name.unwrap_or_else(|| format!("{}-infra", record.id.get(..12).unwrap_or(&record.id))),
            ),
            stay: Stay::Kept,
            pod: Some(PodMember { id: record.id.clone(), role: PodRole::Infra }),
        };
        let id = self.containers.create(request, paths, Look::Now)?;
        self.containers.outlive_power(&id)
    }
}

/// A pod's name as that of a host: what no host is called by is left out.
fn host_name(name: &str) -> String {
    let legal: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' })
        .take(64)
        .collect();
    legal
}

fn make(directory: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(|error| Error::at_path("make", directory, error))
}
