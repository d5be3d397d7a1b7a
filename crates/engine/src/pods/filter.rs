//! Which pods a listing is about: `--filter`.

use std::str::FromStr;

use super::ListedPod;
use crate::error::{Error, Result};
use crate::filter::{has, moment, pair, passing};
use crate::pattern::Pattern;

/// One condition.
#[derive(Debug, Clone)]
pub enum PodFilter {
    /// The beginning of its id, or a pattern of it.
    Id(Pattern),
    /// A pattern of its name.
    Name(Pattern),
    /// A label, and its value where that counts.
    Label(String, Option<String>),
    /// No such label.
    NoLabel(String, Option<String>),
    /// How it is, in podman's words.
    Status(String),
    /// The beginning of the id of one of its containers, or a pattern of it.
    ContainerId(Pattern),
    /// A pattern of the name of one of them.
    ContainerName(Pattern),
    /// How many there are.
    ContainerNumber(usize),
    /// How one of them is.
    ContainerStatus(String),
    /// The name of its network.
    Network(String),
    /// Made before so many seconds since 1970.
    Until(u64),
}

const HINT: &str = "there are id=ID, name=NAME, label=NAME[=VALUE], label!=NAME, status=STATUS, ctr-ids=ID, ctr-names=NAME, \
                    ctr-number=NUMBER, ctr-status=STATUS, network=NAME and until=TIME";

impl FromStr for PodFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<PodFilter> {
        let refuse = |reason: String| Err(Error::invalid("--filter", reason).with_hint(HINT));
        let shown = text.escape_debug();
        let Some((key, value)) = text.split_once('=') else {
            return refuse(format!("filter input must be in the form of filter=value: {shown} is invalid"));
        };
        let pattern = || Pattern::parse(value);
        // As podman has it: hexadecimal digits alone are the beginning of an id.
        let id = || match value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Pattern::parse(&format!("^{value}")),
            false => pattern(),
        };
        let status = || value.to_ascii_lowercase();
        Ok(match key {
            "id" => PodFilter::Id(id()?),
            "name" => PodFilter::Name(pattern()?),
            "label" => {
                let (name, value) = pair(value);
                PodFilter::Label(name, value)
            }
            "label!" => {
                let (name, value) = pair(value);
                PodFilter::NoLabel(name, value)
            }
            "status" => match status().as_str() {
                known @ ("created" | "stopped" | "exited" | "dead" | "running" | "paused" | "degraded") => {
                    PodFilter::Status(known.to_owned())
                }
                _ => return refuse(format!("{} is not a valid pod status", value.escape_debug())),
            },
            "ctr-ids" => PodFilter::ContainerId(id()?),
            "ctr-names" => PodFilter::ContainerName(pattern()?),
            "ctr-number" => match value.parse() {
                Ok(number) => PodFilter::ContainerNumber(number),
                Err(_) => return refuse(format!("`{}` is no number", value.escape_debug())),
            },
            "ctr-status" => match status().as_str() {
                known @ ("created" | "running" | "paused" | "stopped" | "exited" | "unknown"
                | "restarting") => PodFilter::ContainerStatus(known.replace("stopped", "exited")),
                _ => return refuse(format!("{} is not a valid status", value.escape_debug())),
            },
            "network" => PodFilter::Network(value.to_owned()),
            "until" => PodFilter::Until(moment(value)?),
            _ => return refuse(format!("{} is an invalid filter", key.escape_debug())),
        })
    }
}

impl PodFilter {
    /// Of several of one kind one must hold, but for labels, of which each must.
    pub(super) fn apply(filters: &[PodFilter], all: Vec<ListedPod>) -> Result<Vec<ListedPod>> {
        let is_label = |filter: &PodFilter| matches!(filter, PodFilter::Label(..) | PodFilter::NoLabel(..));
        passing(filters, all, is_label, |filter, one, _| Ok(filter.holds(one)))
    }

    fn holds(&self, listed: &ListedPod) -> bool {
        let mut members = listed.members.iter();
        match self {
            PodFilter::Id(pattern) => pattern.is_in(&listed.pod.id),
            PodFilter::Name(pattern) => pattern.is_in(&listed.pod.name),
            PodFilter::Label(name, value) => has(listed.labels(), name, value.as_ref()),
            PodFilter::NoLabel(name, value) => !has(listed.labels(), name, value.as_ref()),
            PodFilter::Status(status) => listed.state.name().eq_ignore_ascii_case(status),
            PodFilter::ContainerId(pattern) => members.any(|one| pattern.is_in(&one.id)),
            PodFilter::ContainerName(pattern) => members.any(|one| pattern.is_in(&one.name)),
            PodFilter::ContainerNumber(number) => members.count() == *number,
            PodFilter::ContainerStatus(status) => members.any(|one| one.status() == status),
            PodFilter::Network(name) => listed.networks().contains(name),
            PodFilter::Until(moment) => listed.created() < *moment,
        }
    }
}
