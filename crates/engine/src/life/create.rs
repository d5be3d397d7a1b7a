//! Making a container that lives on: looked at, named, written down. Nothing runs.

use super::{LifeOptions, journal};
use crate::container::{self, Effects, new_id};
use crate::error::Result;
use crate::kept::{Asked, KeptContainers, KeptRoot, PodMember, Record, Shown, Stay, parse_name};
use crate::options::RunOptions;
use crate::paths::EnginePaths;
use crate::secret_store::Copies;
use crate::volume_store;

/// A container to be made.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// What is to run in it; its paths are absolute ([`RunOptions::made_absolute`]).
    pub options: RunOptions,
    /// What is to become of it.
    pub life: LifeOptions,
    /// How it is to be called; without a name it gets one.
    pub name: Option<String>,
    /// Whether it stays after its end.
    pub stay: Stay,
    /// The pod that it is of, if it is of one.
    pub pod: Option<PodMember>,
}

/// When it is found out whether this host can do what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Now: what is refused is refused before the container is made.
    Now,
    /// By the start, which comes at once.
    AtStart,
}

impl KeptContainers {
    /// Makes a container, and answers its id. Whoever is told of it should find it after a loss of power, too: that takes
    /// [`KeptContainers::outlive_power`], or [`KeptContainers::start_new`].
    pub fn create(&self, request: CreateRequest, paths: &EnginePaths, look: Look) -> Result<String> {
        let CreateRequest { options, life, name, stay, pod } = request;
        let name = name.as_deref().map(parse_name).transpose()?;
        journal::check(&life.log)?;
        if look == Look::Now && !options.waits_for_peers(self, paths) {
            container::plan(&options, paths)?;
        }
        let mut options = options;
        // By it goes what becomes of the container's own volumes.
        options.stay = Some((self.clone(), stay));
        // As with docker they are there from now on, and the record tells of them by their names.
        let (mut options, volumes) = match volume_store::settle(&options, paths, Effects::Allowed)? {
            Some(settled) => (settled.options, settled.leases),
            None => (options, None),
        };
        options.stay = None;
        let secrets = Copies::take(&mut options.secrets)?;
        options.files.check()?;
        let id = new_id()?;
        let root = KeptRoot::of(&options.files.root)?;
        let mut record = Record::new(id.as_str(), root, &options.process.command);
        record.name = name.unwrap_or_default();
        record.stay = stay;
        record.pod = pod;
        record.shown = Shown::of(&options);
        record.asked = Some(Box::new(Asked { options, life }));
        let mut lease = self.begin_with(record, &secrets)?;
        lease.settle();
        lease.told().0.tell("create");
        volumes.into_iter().for_each(|mut volumes| volumes.started(id.as_str()));
        Ok(id.to_string())
    }
}
