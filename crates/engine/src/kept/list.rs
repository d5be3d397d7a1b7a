//! Containers as a listing shows them: those that are kept, and others that run. Must not change anything of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use ::network::PortRequest;
use image::pack::walk;
use runtime::lifecycle::{self, Status};
use runtime::state_dir::StateRoot;
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::{
    ContainerFilter, DamagedContainer, Kept, KeptContainers, KeptRoot, KeptState, PodMember, Survey, seconds,
};
use crate::error::{Error, Result, from_image};
use crate::health::HealthStatus;
use crate::life::RestartPolicy;
use crate::options::{MountRequest, NetworkMode, RootOptions, RunOptions};
use crate::paths::EnginePaths;
use crate::running::PublishedPort;

/// How the annotations begin that are labels.
const LABEL: &str = "rabbitc.label.";

/// What a listing shows of a container and nobody else needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// Its name, where it has one: only in the record of what runs, as that of a container has it itself.
    #[serde(default)]
    pub(crate) name: String,
    /// What it is of, as it was named.
    #[serde(default)]
    pub(crate) root: String,
    /// Its program and what that was given.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// Its ports, as docker writes them.
    #[serde(default)]
    pub(crate) published: Vec<String>,
    /// The same in numbers, those that were chosen included.
    #[serde(default)]
    pub(crate) ports: Vec<PublishedPort>,
    /// What the ports that it has were asked for as; none where it has no bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<Vec<String>>,
    /// Its labels.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Where it is in its network, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<ShownNetwork>,
    /// The network of CNI plugins that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cni: Option<String>,
    /// The same in the others that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) more_networks: Vec<ShownNetwork>,
    /// What a person and its image have mounted: by this it is known which volumes it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounts: Vec<MountRequest>,
}

/// A container's place in its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownNetwork {
    /// The network's name.
    pub(crate) name: String,
    /// The container's address.
    pub(crate) address: std::net::Ipv4Addr,
    /// How many bits of it are the network's.
    pub(crate) prefix: u8,
    /// Where the host is.
    pub(crate) gateway: std::net::Ipv4Addr,
    /// The container's address of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address_ipv6: Option<std::net::Ipv6Addr>,
    /// Its hardware address.
    pub(crate) mac: String,
    /// The network's id, where it is kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) id: String,
    /// Under what name its leases are: its bridge's, if it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) state: String,
    /// The interface inside.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) interface: String,
    /// Its number there, from 0.
    #[serde(default)]
    pub(crate) slot: u32,
    /// How many bits of the address of IPv6 are the network's.
    #[serde(default)]
    pub(crate) prefix_ipv6: u8,
    /// Where the host is by IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gateway_ipv6: Option<std::net::Ipv6Addr>,
    /// The container's other names there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) aliases: Vec<String>,
}

impl ShownNetwork {
    /// The interface inside.
    pub(crate) fn interface(&self) -> &str {
        if self.interface.is_empty() { "eth0" } else { &self.interface }
    }

    /// Under what name its leases are.
    pub(crate) fn state_name(&self) -> &str {
        if self.state.is_empty() { &self.name } else { &self.state }
    }
}

impl Shown {
    pub(crate) fn of(options: &RunOptions) -> Shown {
        Shown {
            name: String::new(),
            root: match &options.files.root {
                RootOptions::Host => "/".to_owned(),
                RootOptions::Directory(path) | RootOptions::Overlay(path) => path.display().to_string(),
                RootOptions::Image(image) => image.name.clone(),
            },
            command: options.process.command.clone(),
            published: options.network.publish.iter().map(published).collect(),
            ports: options.network.publish.iter().filter_map(PublishedPort::named).collect(),
            asked: None,
            labels: labels(&options.process.annotations),
            network: None,
            cni: match &options.network.mode {
                NetworkMode::Cni(network) => Some(network.name.clone()),
                _ => None,
            },
            more_networks: Vec::new(),
            mounts: options.files.mounts.clone(),
        }
    }

    /// Tells of these ports, as far as they are known before a start.
    pub(crate) fn publish(&mut self, requests: &[PortRequest]) {
        self.published = requests.iter().map(published).collect();
        self.ports = requests.iter().filter_map(PublishedPort::named).collect();
    }
}

impl Shown {
    /// Where it is in each of its networks.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &ShownNetwork> {
        self.network.iter().chain(&self.more_networks)
    }
}

/// Those of the annotations that are labels, by their own names.
fn labels(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = |(key, value): (&String, &String)| Some((key.strip_prefix(LABEL)?.to_owned(), value.clone()));
    annotations.iter().filter_map(own).collect()
}

/// `0.0.0.0:8080->80/tcp`; without a port of the host where that is chosen later.
fn published(request: &PortRequest) -> String {
    if let Some(published) = PublishedPort::named(request) {
        return published.to_string();
    }
    let (first, last) = (request.container.first(), request.container.last());
    let last = if last > first { format!("-{last}") } else { String::new() };
    format!("{first}{last}/{}", request.protocol)
}

/// A container in a listing.
#[derive(Debug, Clone)]
pub struct ListedContainer {
    /// Its id.
    pub id: String,
    /// Its name; one that was started by a path alone has none.
    pub name: String,
    /// What it is of, as it was named: an image, a directory, `/` for the host's root.
    pub root: String,
    /// Its program and what that was given.
    pub command: Vec<String>,
    /// Seconds since 1970 at which it was made.
    pub created: u64,
    /// The same in nanoseconds.
    pub(super) made: u64,
    /// Seconds since 1970 at which it was started last, where that is known.
    pub started: Option<u64>,
    /// How it is.
    pub state: KeptState,
    /// Whether its processes stand still.
    pub is_paused: bool,
    /// The pid of its first process on the host, while it runs.
    pub pid: Option<i32>,
    /// Its published ports, as docker writes them; those that were chosen have no port of the host.
    pub ports: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it is started again by itself.
    pub restart: RestartPolicy,
    /// What a person and its image have mounted.
    pub mounts: Vec<MountRequest>,
    /// The names of its networks, while it runs.
    pub networks: Vec<String>,
    /// The pod that it is of.
    pub pod: Option<PodMember>,
    /// That pod's name.
    pub pod_name: String,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// How its health is, where that is checked.
    pub health: Option<HealthStatus>,
    /// Where it is kept, if it is.
    kept: Option<Kept>,
}

/// How much room a container takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerSize {
    /// Bytes of files that it has made or changed.
    pub own: u64,
    /// The same with those of its image, as far as it is of one.
    pub all: u64,
}

impl KeptContainers {
    /// These, and all that run, by which all `filters` hold; the newest first.
    /// Those of which nobody can tell what they are come beside them.
    pub fn list_all(
        &self,
        paths: &EnginePaths,
        filters: &[ContainerFilter],
    ) -> Result<(Vec<ListedContainer>, Vec<DamagedContainer>)> {
        let Survey { mut kept, damaged } = self.survey()?;
        if self.heal(&kept, paths)? {
            kept = self.survey()?.kept;
        }
        let mut all: Vec<ListedContainer> = kept.into_iter().map(ListedContainer::from).collect();
        let root = StateRoot::new(paths.containers());
        for id in root.list()? {
            // Removed in between, or of another version: it hides no others.
            let Ok(view) = lifecycle::view(&root, &id) else { continue };
            if matches!(view.status, Status::Stopped | Status::Creating) {
                continue;
            }
            let is_paused = view.status == Status::Paused;
            let pid = Some(view.record.pid);
            let shown: Shown = serde_json::from_value(view.record.caller).unwrap_or_default();
            // Of a record that tells of those that were chosen, all are there.
            let mut networks: Vec<String> = shown.networks().map(|network| network.name.clone()).collect();
            networks.extend(shown.cni.clone());
            let ports = match shown.ports.is_empty() {
                true => shown.published,
                false => shown.ports.iter().map(ToString::to_string).collect(),
            };
            if let Some(known) = all.iter_mut().find(|one| one.id == id.as_str()) {
                (known.is_paused, known.pid, known.ports) = (is_paused, pid, ports);
                known.networks = networks;
                continue;
            }
            all.push(ListedContainer {
                id: id.to_string(),
                name: shown.name,
                root: match shown.root.is_empty() {
                    true => view.record.rootfs.display().to_string(),
                    false => shown.root,
                },
                command: shown.command,
                created: view.record.created,
                made: view.record.created.saturating_mul(1_000_000_000),
                started: Some(view.record.created),
                state: KeptState::Running,
                is_paused,
                pid,
                ports,
                labels: shown.labels,
                restart: RestartPolicy::No,
                mounts: shown.mounts,
                networks,
                pod: None,
                pod_name: String::new(),
                restarts: 0,
                health: None,
                kept: None,
            });
        }
        self.name_pods(&mut all);
        all.sort_by(|one, other| other.made.cmp(&one.made).then_with(|| one.id.cmp(&other.id)));
        Ok((ContainerFilter::apply(filters, all)?, damaged))
    }
}

impl From<Kept> for ListedContainer {
    fn from(kept: Kept) -> ListedContainer {
        let is_running = kept.state == KeptState::Running;
        ListedContainer {
            id: kept.id.clone(),
            name: kept.name.clone(),
            root: match &kept.root {
                KeptRoot::Image { name, .. } => name.clone(),
                KeptRoot::Directory { path } | KeptRoot::Bare { path } => path.display().to_string(),
                KeptRoot::Host => "/".to_owned(),
            },
            command: kept.record.command.clone(),
            created: seconds(kept.record.created),
            made: kept.record.created,
            started: kept.record.started.map(seconds),
            state: kept.state,
            is_paused: false,
            pid: None,
            // One that has ended has none any more.
            ports: if is_running { kept.record.shown.published.clone() } else { Vec::new() },
            labels: kept.record.shown.labels.clone(),
            restart: kept.record.asked.as_ref().map(|asked| asked.life.restart).unwrap_or_default(),
            mounts: kept.record.shown.mounts.clone(),
            networks: Vec::new(),
            pod: kept.record.pod.clone(),
            pod_name: String::new(),
            restarts: kept.record.restarts,
            health: kept.health().map(|(status, _)| status),
            kept: Some(kept),
        }
    }
}

impl ListedContainer {
    /// Whether there is something of it on the disk.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// The number of one of its namespaces, such as `net`, while it runs and the caller may see that.
    pub fn namespace(&self, kind: &str) -> Option<String> {
        let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", self.pid?)).ok()?;
        // As in `net:[4026531840]`.
        let (_, number) = link.to_str()?.trim_end_matches(']').split_once('[')?;
        Some(number.to_owned())
    }

    /// How much room it takes; of one that is not kept nobody knows.
    pub fn size(&self) -> Result<Option<ContainerSize>> {
        self.kept.as_ref().map(Kept::size).transpose()
    }
}

impl Kept {
    /// How much room it takes.
    pub fn size(&self) -> Result<ContainerSize> {
        let own = self.own_bytes()?;
        let below = match self.root {
            KeptRoot::Image { .. } => self.image()?.1.size(),
            KeptRoot::Directory { .. } | KeptRoot::Bare { .. } | KeptRoot::Host => 0,
        };
        Ok(ContainerSize { own, all: own + below })
    }

    /// Bytes of files that it has made or changed, by their lengths, as docker counts them; one of several names counts once.
    pub(crate) fn own_bytes(&self) -> Result<u64> {
        let uppers: Vec<PathBuf> = self.uppers().into_iter().map(|(upper, _)| upper).collect();
        bytes_below(&uppers)
    }

    /// What a person and its image have mounted in it.
    pub(crate) fn mounts(&self) -> &[MountRequest] {
        &self.record.shown.mounts
    }
}

/// Bytes of all files below directories, by their lengths; one of several names counts once.
pub(crate) fn bytes_below(directories: &[PathBuf]) -> Result<u64> {
    let (mut bytes, mut seen) = (0, BTreeSet::new());
    for directory in directories {
        let root = File::open(directory).map_err(|error| Error::at_path("open", directory, error))?;
        let mut add = |found: &image::pack::Found<'_>| {
            let (stat, is_file) = (&found.stat, found.kind() == FileType::RegularFile);
            if is_file && (stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino))) {
                bytes += stat.st_size as u64;
            }
            Ok(())
        };
        walk(root.as_fd(), &mut add).map_err(from_image)?;
    }
    Ok(bytes)
}

/// Whether a path is there as it was named, for filters by what a container is of.
pub(super) fn is_of(root: &str, wanted: &str) -> bool {
    let without_tag = |name: &str| {
        let end = name.rfind('/').map_or(0, |slash| slash + 1);
        let tag = name[end..].find([':', '@']).map_or(name.len(), |at| end + at);
        name[..tag].to_owned()
    };
    root == wanted || without_tag(root) == wanted || Path::new(root) == Path::new(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::parse_publish;

    #[test]
    fn ports_are_written_as_docker_does() {
        for (asked, shown) in [
            ("8080:80", "0.0.0.0:8080->80/tcp"),
            ("127.0.0.1:53:53/udp", "127.0.0.1:53->53/udp"),
            ("[::1]:8000-8002:80-82", "[::1]:8000-8002->80-82/tcp"),
            ("80", "80/tcp"),
        ] {
            assert_eq!(published(&parse_publish("--publish", asked).expect("legal")), shown);
        }
    }

    #[test]
    fn container_is_of_an_image_with_or_without_its_tag() {
        for (name, wanted, is_it) in [
            ("alpine:3", "alpine", true),
            ("alpine:3", "alpine:3", true),
            ("alpine:3", "alpine:2", false),
            ("host:5000/team/app", "host", false),
            ("host:5000/team/app@sha256:0", "host:5000/team/app", true),
            ("/srv/root", "/srv/root/", true),
        ] {
            assert_eq!(is_of(name, wanted), is_it, "{name} {wanted}");
        }
    }
}
