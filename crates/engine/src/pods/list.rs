//! Pods as a listing shows them, each with how it is: that follows from its containers. Must not change anything of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pod, PodFilter, Pods};
use crate::error::{Error, Result};
use crate::kept::{KeptContainers, ListedContainer, PodRole, seconds};
use crate::paths::EnginePaths;

/// How a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodState {
    /// Nothing of it has run.
    Created,
    /// What keeps its namespaces is gone.
    Dead,
    /// Some of its containers run.
    Degraded,
    /// All have ended.
    Exited,
    /// All are paused.
    Paused,
    /// All run.
    Running,
    /// Some have ended, and none runs.
    Stopped,
}

impl PodState {
    /// In podman's words.
    pub fn name(self) -> &'static str {
        match self {
            PodState::Created => "Created",
            PodState::Dead => "Dead",
            PodState::Degraded => "Degraded",
            PodState::Exited => "Exited",
            PodState::Paused => "Paused",
            PodState::Running => "Running",
            PodState::Stopped => "Stopped",
        }
    }

    /// That of a pod whose containers are so, in docker's words.
    fn of(statuses: &[&str]) -> PodState {
        let count = |wanted: &[&str]| statuses.iter().filter(|status| wanted.contains(status)).count();
        // One that is about to run again counts as one that runs.
        let (running, all) = (count(&["running", "restarting"]), statuses.len());
        match (running, count(&["paused"]), count(&["exited"])) {
            _ if all == 0 => PodState::Created,
            (running, ..) if running == all => PodState::Running,
            (1.., ..) => PodState::Degraded,
            (_, paused, _) if paused == all => PodState::Paused,
            (.., exited) if exited == all => PodState::Exited,
            (.., 1..) => PodState::Stopped,
            _ => PodState::Created,
        }
    }
}

/// A pod in a listing.
#[derive(Debug, Clone)]
pub struct ListedPod {
    /// The pod.
    pub pod: Pod,
    /// How it is.
    pub state: PodState,
    /// Its containers, as a listing shows them; the first is what keeps the namespaces.
    pub members: Vec<ListedContainer>,
}

impl ListedPod {
    /// Seconds since 1970 at which it was made.
    pub fn created(&self) -> u64 {
        seconds(self.pod.record.created)
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.pod.record.labels
    }

    /// What its containers share, in their order.
    pub fn shares(&self) -> &[super::Shared] {
        &self.pod.record.shares
    }

    /// The id of what keeps its namespaces.
    pub fn infra_id(&self) -> &str {
        self.pod.infra().map_or("", |infra| &infra.id)
    }

    /// The names of its networks.
    pub fn networks(&self) -> &[String] {
        self.members
            .iter()
            .map(|member| &member.networks[..])
            .find(|networks| !networks.is_empty())
            .unwrap_or_default()
    }

    /// Where its own cgroup is, if it has one.
    pub fn group(&self) -> String {
        let place = super::group::place(&self.pod.record).ok().flatten();
        place.map(|(_, path)| path.to_string()).unwrap_or_default()
    }
}

impl Pods {
    /// All pods by which all `filters` hold, the newest first; and why others can't be looked at.
    pub fn list(&self, paths: &EnginePaths, filters: &[PodFilter]) -> Result<(Vec<ListedPod>, Vec<Error>)> {
        let survey = self.survey(paths)?;
        let listed = self.listed(survey.pods, paths)?;
        Ok((PodFilter::apply(filters, listed)?, survey.damaged))
    }

    /// Pods as a listing shows them.
    pub fn listed(&self, pods: Vec<Pod>, paths: &EnginePaths) -> Result<Vec<ListedPod>> {
        if pods.is_empty() {
            return Ok(Vec::new());
        }
        let (all, _) = self.containers.list_all(paths, &[])?;
        let listed = |pod: Pod| {
            let own = |one: &&ListedContainer| one.pod.as_ref().is_some_and(|member| member.id == pod.id);
            let mut members: Vec<ListedContainer> = all.iter().filter(own).cloned().collect();
            // Those that were made first in front, and before them what they share.
            members.reverse();
            let is_infra =
                |one: &ListedContainer| one.pod.as_ref().is_some_and(|member| member.role == PodRole::Infra);
            members.sort_by_key(|one| !is_infra(one));
            let statuses: Vec<&str> = members.iter().map(ListedContainer::status).collect();
            let state = match pod.record.has_infra && !members.iter().any(is_infra) {
                true => PodState::Dead,
                false => PodState::of(&statuses),
            };
            ListedPod { pod, state, members }
        };
        Ok(pods.into_iter().map(listed).collect())
    }
}

impl KeptContainers {
    /// Gives containers in a listing the names of their pods, and what is published for all of a pod.
    pub(crate) fn name_pods(&self, all: &mut [ListedContainer]) {
        let wanted: BTreeSet<String> =
            all.iter().filter_map(|one| one.pod.as_ref()).map(|pod| pod.id.clone()).collect();
        if wanted.is_empty() {
            return;
        }
        let pods = Pods::of(self);
        let infra: BTreeMap<String, Vec<String>> = all
            .iter()
            .filter_map(|one| Some((one.pod.as_ref()?, one)))
            .filter(|(pod, _)| pod.role == PodRole::Infra)
            .map(|(pod, one)| (pod.id.clone(), one.ports.clone()))
            .collect();
        let names: BTreeMap<String, super::record::Record> = wanted
            .into_iter()
            // This only informs.
            .filter_map(|id| {
                Some((id.clone(), super::record::Record::read(&pods.directory(&id)).ok().flatten()?))
            })
            .collect();
        for one in all.iter_mut() {
            let Some(pod) = &one.pod else { continue };
            let Some(record) = names.get(&pod.id) else { continue };
            one.pod_name.clone_from(&record.name);
            let shares_network = record.shares.contains(&super::Shared::Net);
            if pod.role == PodRole::Ordinary && shares_network && one.state.is_up() {
                one.ports = infra.get(&pod.id).cloned().unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_a_pod_follows_from_its_containers() {
        for (statuses, state) in [
            (&[][..], PodState::Created),
            (&["created", "created"], PodState::Created),
            (&["running", "running"], PodState::Running),
            (&["running", "exited"], PodState::Degraded),
            (&["running", "created"], PodState::Degraded),
            (&["running", "paused"], PodState::Degraded),
            (&["paused", "paused"], PodState::Paused),
            (&["exited", "exited"], PodState::Exited),
            (&["exited", "created"], PodState::Stopped),
            (&["restarting"], PodState::Running),
        ] {
            assert_eq!(PodState::of(statuses), state, "{statuses:?}");
        }
    }
}
