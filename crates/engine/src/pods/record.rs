//! What is noted of a pod.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::directories::{Durability, read_record};
use crate::error::{Error, Result};
use crate::life::RestartPolicy;
use crate::options::{LimitOptions, RunOptions};

/// The file with a pod's record.
const RECORD: &str = "pod.json";

/// A kind of namespace that a pod's containers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shared {
    /// What `/proc/self/cgroup` shows.
    Cgroup,
    /// Queues and shared memory.
    Ipc,
    /// The network.
    Net,
    /// Processes.
    Pid,
    /// Host names.
    Uts,
}

/// What becomes of a pod when the last of its containers has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitPolicy {
    /// What keeps its namespaces goes on.
    #[default]
    Continue,
    /// That is stopped.
    Stop,
}

/// Whether a pod is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Stage {
    /// It is.
    #[default]
    Settled,
    /// It is being made.
    Making,
    /// It is being removed, and no container that a person put there is left.
    Going,
}

/// The record of one pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
    /// Nanoseconds since 1970 at which it was made.
    pub(super) created: u64,
    #[serde(default)]
    pub(super) stage: Stage,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// What its containers share, in their order.
    #[serde(default)]
    pub(super) shares: Vec<Shared>,
    /// Whether a container keeps that.
    #[serde(default)]
    pub(super) has_infra: bool,
    /// Whether its containers have their groups in one of its own.
    #[serde(default)]
    pub(super) has_group: bool,
    #[serde(default)]
    pub(super) exit_policy: ExitPolicy,
    /// What its containers have where they say nothing else.
    #[serde(default)]
    pub(super) restart: RestartPolicy,
    /// Limits of its own group.
    #[serde(default)]
    pub(super) limits: LimitOptions,
    /// What its containers have in common: the network, host names, users, mounts.
    #[serde(default)]
    pub(super) options: RunOptions,
    /// The words that asked for it.
    #[serde(default)]
    pub(super) words: Vec<String>,
}

impl Shared {
    /// Its name, as podman and `/proc/PID/ns` have it.
    pub fn name(self) -> &'static str {
        match self {
            Shared::Cgroup => "cgroup",
            Shared::Ipc => "ipc",
            Shared::Net => "net",
            Shared::Pid => "pid",
            Shared::Uts => "uts",
        }
    }

    /// Reads `--share`: kinds with commas between, beside the usual ones where a `+` stands before them; `none` and nothing are none.
    pub fn parse(text: &str) -> Result<Vec<Shared>> {
        let usual = [Shared::Ipc, Shared::Net, Shared::Uts];
        let (mut shares, text) = match text.strip_prefix('+') {
            Some(more) => (usual.to_vec(), more),
            None => (Vec::new(), text),
        };
        for word in text.split(',').map(str::trim).filter(|word| !matches!(*word, "" | "none")) {
            let all = [Shared::Cgroup, Shared::Ipc, Shared::Net, Shared::Pid, Shared::Uts];
            let kind = all.into_iter().find(|kind| kind.name() == word).ok_or_else(|| {
                let reason = format!(
                    "invalid kernel namespace to share: {}. Options are: cgroup, ipc, net, pid, uts or none",
                    word.escape_debug()
                );
                Error::invalid("--share", reason)
                    .with_hint("write kinds with commas between, such as `net,ipc`")
            })?;
            shares.push(kind);
        }
        shares.sort_unstable();
        shares.dedup();
        Ok(shares)
    }
}

impl ExitPolicy {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            ExitPolicy::Continue => "continue",
            ExitPolicy::Stop => "stop",
        }
    }
}

impl std::str::FromStr for ExitPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<ExitPolicy> {
        match text {
            "" | "continue" => Ok(ExitPolicy::Continue),
            "stop" => Ok(ExitPolicy::Stop),
            _ => {
                let reason = format!(
                    "running pod create option: invalid pod exit policy: \"{}\"",
                    text.escape_debug()
                );
                Err(Error::invalid("--exit-policy", reason).with_hint("there are `continue` and `stop`"))
            }
        }
    }
}

impl Record {
    /// Whether it is whole.
    pub(super) fn is_settled(&self) -> bool {
        self.stage == Stage::Settled
    }

    /// Whether its containers are at one another's loopback.
    pub(super) fn shares_network(&self) -> bool {
        self.has_infra && self.shares.contains(&Shared::Net)
    }

    /// Reads that of a pod's directory; none where there is none.
    pub(super) fn read(directory: &Path) -> Result<Option<Record>> {
        read_record(&directory.join(RECORD), "remove the directory that it is in, and the pod's containers")
    }

    /// Writes it whole or not at all, so that it outlives what `durability` says.
    pub(super) fn write(&self, directory: &Path, durability: Durability) -> Result<()> {
        let path = directory.join(RECORD);
        let draft = path.with_extension("draft");
        let text = serde_json::to_vec(self).expect("only string keys");
        let write = || -> std::io::Result<()> {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&text)?;
            if durability == Durability::Power {
                file.sync_all()?;
            }
            std::fs::rename(&draft, &path)
        };
        write().map_err(|error| Error::at_path("write", &path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_namespaces_are_read_as_podman_reads_them() {
        use Shared::{Cgroup, Ipc, Net, Pid, Uts};
        for (text, shares) in [
            ("net,ipc,uts", &[Ipc, Net, Uts][..]),
            ("+pid", &[Ipc, Net, Pid, Uts]),
            ("ipc", &[Ipc]),
            ("cgroup,pid", &[Cgroup, Pid]),
            ("none", &[]),
            ("", &[]),
        ] {
            assert_eq!(Shared::parse(text).expect(text), shares, "{text}");
        }
        let error = Shared::parse("net,bogus").expect_err("no kind");
        assert!(error.to_string().contains("--share") && error.reason.contains("share: bogus."), "{error}");
    }

    #[test]
    fn exit_policies_are_podmans() {
        assert_eq!("stop".parse::<ExitPolicy>().expect("legal"), ExitPolicy::Stop);
        assert_eq!("".parse::<ExitPolicy>().expect("legal"), ExitPolicy::Continue);
        assert!("restart".parse::<ExitPolicy>().expect_err("unknown").hint.is_some());
    }
}
