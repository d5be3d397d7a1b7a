//! `--pod` of `run` and `create`: the pod that a container is made in, found or made.

use engine::{
    CreateRequest, EnginePaths, KeptContainers, Look, NewPod, PodEntry, Pods, Result, RunOptions, Shared,
};

use super::read_id;
use crate::args::{RunArguments, said};

/// Where a container is made.
pub(crate) struct PodPlace {
    /// Nobody removes the pod meanwhile.
    entry: Option<PodEntry>,
    /// The name of a pod that was made for it.
    new: Option<String>,
}

impl PodPlace {
    /// Finds the pod, or makes it, and gives the container what is the pod's.
    pub(crate) fn find(
        arguments: &RunArguments,
        request: &mut CreateRequest,
        paths: &EnginePaths,
    ) -> Result<PodPlace> {
        let life = &arguments.life;
        let called = match (said(&life.pod), &life.pod_id_file) {
            (Some(called), _) => called.to_owned(),
            (None, Some(file)) => read_id(file)?,
            (None, None) => return Ok(PodPlace { entry: None, new: None }),
        };
        let pods = Pods::of(&arguments.containers()?);
        let new = match called.strip_prefix("new:") {
            Some(name) => Some(pods.create(new_pod(name, &mut request.options), paths)?),
            None => None,
        };
        let place = PodPlace { entry: None, new };
        let mut join = || -> Result<PodEntry> {
            let entry = pods.enter(place.new.as_deref().unwrap_or(&called), paths)?;
            entry.join(&mut request.options)?;
            if said(&life.restart).is_none() {
                request.life.restart = entry.restart();
            }
            request.pod = Some(entry.member());
            Ok(entry)
        };
        match join() {
            Ok(entry) => Ok(PodPlace { entry: Some(entry), ..place }),
            Err(mut error) => {
                error.rollback.extend(place.undo(&pods, paths).err());
                Err(error)
            }
        }
    }

    /// Makes the container; where that fails, a pod that was made for it goes, too.
    pub(crate) fn make(
        self,
        containers: &KeptContainers,
        request: CreateRequest,
        paths: &EnginePaths,
        look: Look,
    ) -> Result<String> {
        // Of a pod that does not run, what a start would find is not there to be looked at.
        let look = if self.entry.is_some() { Look::AtStart } else { look };
        let PodPlace { entry, new } = self;
        let made = containers.create(request, paths, look);
        // By now the container is in it, or none is to be.
        drop(entry);
        made.map_err(|mut error| {
            let place = PodPlace { entry: None, new };
            error.rollback.extend(place.undo(&Pods::of(containers), paths).err());
            error
        })
    }

    fn undo(&self, pods: &Pods, paths: &EnginePaths) -> Result<()> {
        let Some(id) = &self.new else { return Ok(()) };
        pods.remove(&pods.find(id, paths)?, paths)
    }
}

/// A pod that has what was asked for its first container, as far as that is a pod's.
fn new_pod(name: &str, options: &mut RunOptions) -> NewPod {
    let mut common = RunOptions { network: std::mem::take(&mut options.network), ..RunOptions::default() };
    common.namespaces.hostname = options.namespaces.hostname.take();
    common.namespaces.users = std::mem::take(&mut options.namespaces.users);
    NewPod {
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        shares: vec![Shared::Ipc, Shared::Net, Shared::Uts],
        infra: Some(None),
        has_group: true,
        options: common,
        words: std::env::args().collect(),
        ..NewPod::default()
    }
}
