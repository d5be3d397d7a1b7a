//! Which containers a listing is about: `--filter`.

use std::path::Path;
use std::str::FromStr;

use super::KeptState;
use super::list::{ListedContainer, is_of};
use crate::error::{Error, Result};
use crate::filter::{Pattern, has, pair, passing};
use crate::health::HealthStatus;
use crate::life::{RestartPolicy, parse_restart};
use crate::options::{MountKind, MountRequest};

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerFilter {
    /// The beginning of its id.
    Id(String),
    /// What is found in its id, as podman takes whatever is no beginning of one.
    IdPattern(Pattern),
    /// What is found in its name.
    Name(Pattern),
    /// How it is, in docker's words.
    Status(String),
    /// With which code it has ended.
    Exited(i32),
    /// The name of what it is of, with or without a tag.
    Ancestor(String),
    /// Made before the container whose id begins so.
    Before(String),
    /// Made after it.
    Since(String),
    /// A label, and its value where that counts.
    Label(String, Option<String>),
    /// When it is started again by itself, as `--restart` names it, whatever the count.
    RestartPolicy(RestartPolicy),
    /// A volume, a path of the host or a path of its own that it has mounted.
    Volume(String),
    /// The name of its network.
    Network(String),
    /// The name of its pod, or the beginning of its id.
    Pod(String),
    /// How its health is; none where nobody checks it.
    Health(Option<HealthStatus>),
}

const HINT: &str = "there are id=ID, name=NAME, status=running|paused|exited, exited=CODE, ancestor=IMAGE, before=NAME, since=NAME, \
                    label=NAME[=VALUE], volume=VOLUME|PATH, network=NAME, \
                    pod=POD, health=starting|healthy|unhealthy|none and restart-policy=no|on-failure|always|unless-stopped";

impl FromStr for ContainerFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<ContainerFilter> {
        let refuse = |reason: String| Err(Error::invalid("--filter", reason).with_hint(HINT));
        let shown = text.escape_debug();
        let Some((key, value)) = text.split_once('=') else { return refuse(format!("`{shown}` has no `=`")) };
        let own = value.to_owned();
        Ok(match key {
            "id" if value.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                ContainerFilter::Id(own.to_ascii_lowercase())
            }
            "id" => ContainerFilter::IdPattern(Pattern::parse(value)?),
            "name" => ContainerFilter::Name(Pattern::parse(value)?),
            "status" => match value {
                "running" | "paused" | "exited" | "created" | "restarting" | "removing" | "dead"
                | "stopped" => ContainerFilter::Status(own.replace("stopped", "exited")),
                _ => return refuse(format!("`{}` is no status", value.escape_debug())),
            },
            "exited" => match value.parse() {
                Ok(code) => ContainerFilter::Exited(code),
                Err(_) => return refuse(format!("`{}` is no exit code", value.escape_debug())),
            },
            "ancestor" => ContainerFilter::Ancestor(own),
            "volume" => ContainerFilter::Volume(own),
            "network" => ContainerFilter::Network(own),
            "before" => ContainerFilter::Before(own),
            "since" => ContainerFilter::Since(own),
            "pod" => ContainerFilter::Pod(own),
            "label" => {
                let (name, value) = pair(value);
                ContainerFilter::Label(name, value)
            }
            "health" => ContainerFilter::Health(match value {
                "none" => None,
                "starting" => Some(HealthStatus::Starting),
                "healthy" => Some(HealthStatus::Healthy),
                "unhealthy" => Some(HealthStatus::Unhealthy),
                _ => return refuse(format!("`{}` is no health", value.escape_debug())),
            }),
            "restart-policy" => match parse_restart(if value == "none" { "no" } else { value }) {
                Ok(policy) => ContainerFilter::RestartPolicy(policy),
                Err(_) => return refuse(format!("`{}` is an invalid restart policy", value.escape_debug())),
            },
            _ => return refuse(format!("`{}` is not known", key.escape_debug())),
        })
    }
}

impl ContainerFilter {
    /// Whether it is about containers that have ended, so that these are listed without being asked for.
    pub fn is_about_all(&self) -> bool {
        matches!(self, ContainerFilter::Status(_) | ContainerFilter::Exited(_))
    }

    /// Of several of one kind one must hold, but for labels, of which each must.
    pub(super) fn apply(
        filters: &[ContainerFilter],
        all: Vec<ListedContainer>,
    ) -> Result<Vec<ListedContainer>> {
        let is_label = |filter: &ContainerFilter| matches!(filter, ContainerFilter::Label(..));
        passing(filters, all, is_label, |filter, one, all| filter.holds(one, all))
    }

    fn holds(&self, container: &ListedContainer, all: &[ListedContainer]) -> Result<bool> {
        let moment = |id: &String| {
            let found = all.iter().find(|one| one.name == *id || one.id.starts_with(id.as_str()));
            found.map(|one| one.made).ok_or_else(|| {
                let error =
                    Error::invalid("--filter", format!("there is no container `{}`", id.escape_debug()));
                error.with_hint("`rabbitc ps -a` lists those that there are")
            })
        };
        Ok(match self {
            ContainerFilter::Id(id) => container.id.starts_with(id.as_str()),
            ContainerFilter::IdPattern(pattern) => pattern.is_in(&container.id),
            // Docker's names begin with a slash.
            ContainerFilter::Name(pattern) => {
                pattern.is_in(&container.name) || pattern.is_in(&format!("/{}", container.name))
            }
            ContainerFilter::Volume(what) => container.mounts.iter().any(|mount| has_mounted(mount, what)),
            ContainerFilter::Network(name) => container.networks.iter().any(|one| one == name),
            ContainerFilter::Status(status) => container.status() == status,
            ContainerFilter::Exited(wanted) => {
                matches!(container.state, KeptState::Exited { code, .. } if code == *wanted)
            }
            ContainerFilter::Ancestor(name) => is_of(&container.root, name),
            ContainerFilter::Before(id) => container.made < moment(id)?,
            ContainerFilter::Since(id) => container.made > moment(id)?,
            ContainerFilter::RestartPolicy(policy) => {
                std::mem::discriminant(policy) == std::mem::discriminant(&container.restart)
            }
            ContainerFilter::Pod(called) => container.pod.as_ref().is_some_and(|pod| {
                container.pod_name == *called || (!called.is_empty() && pod.id.starts_with(called.as_str()))
            }),
            ContainerFilter::Health(health) => container.health == *health,
            ContainerFilter::Label(name, value) => has(&container.labels, name, value.as_ref()),
        })
    }
}

/// Whether a mount is of that volume or path of the host, or in that place of the container.
fn has_mounted(mount: &MountRequest, what: &str) -> bool {
    let is_source = match &mount.kind {
        MountKind::Bind(bind) => match &bind.volume {
            Some(volume) => volume.name.as_deref() == Some(what),
            None => bind.source == Path::new(what),
        },
        MountKind::Tmpfs(_) => false,
    };
    is_source || Path::new(&mount.target) == Path::new(what)
}

impl ListedContainer {
    /// How it is, in docker's words: `created`, `running`, `paused`, `restarting` or `exited`.
    pub fn status(&self) -> &'static str {
        match (self.state, self.is_paused) {
            (KeptState::Running, true) => "paused",
            (KeptState::Running, false) => "running",
            (KeptState::Created, _) => "created",
            (KeptState::Restarting { .. }, _) => "restarting",
            (KeptState::Exited { .. } | KeptState::Unknown, _) => "exited",
        }
    }
}
