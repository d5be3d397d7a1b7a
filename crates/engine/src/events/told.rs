//! What is told of containers, of the volumes they have, and of pods.

use std::collections::BTreeMap;
use std::path::Path;

use runtime::Signal;

use super::{Event, EventLog};
use crate::kept::{End, Kept, KeptContainers, Record};
use crate::options::{Access, MountKind, MountRequest};
use crate::pods::{PodRecord, Pods};

/// A container of which events tell.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    log: EventLog,
    id: String,
    attributes: BTreeMap<String, String>,
}

impl Subject {
    pub(crate) fn of(containers: &Path, record: &Record) -> Subject {
        let mut attributes = record.shown.labels.clone();
        attributes.insert("image".to_owned(), record.shown.root.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        // As podman's API has it.
        attributes.extend(record.pod.iter().map(|pod| ("podId".to_owned(), pod.id.clone())));
        Subject { log: EventLog::beside(containers), id: record.id.clone(), attributes }
    }

    /// Tells that something has become of it.
    pub(crate) fn tell(&self, action: &str) {
        self.tell_with(action, []);
    }

    /// The same with more to say.
    pub(crate) fn tell_with<'a>(&self, action: &str, more: impl IntoIterator<Item = (&'a str, String)>) {
        let mut event = Event::now("container", action, self.id.as_str());
        event.attributes.clone_from(&self.attributes);
        event.attributes.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        self.log.tell(&event);
    }

    /// Tells that it was sent a signal.
    pub(crate) fn tell_signal(&self, signal: Signal) {
        self.tell_with("kill", [("signal", signal.number().to_string())]);
    }

    /// Tells how it has ended. A code that nobody learned is not told.
    pub(crate) fn tell_end(&self, end: &End, started: Option<u64>) {
        if end.memory.is_some() {
            self.tell("oom");
        }
        let mut more = Vec::new();
        more.extend(end.code.map(|code| ("exitCode", code.to_string())));
        if let Some(started) = started {
            let lasted = end.at.saturating_sub(started) / 1_000_000_000;
            more.push(("execDuration", lasted.to_string()));
        }
        self.tell_with("die", more);
    }
}

/// The volumes that a container has.
#[derive(Debug, Clone)]
pub(crate) struct VolumesOf {
    log: EventLog,
    id: String,
    /// The name of each, where it is, and whether it may be written to.
    volumes: Vec<(String, String, bool)>,
}

impl VolumesOf {
    pub(crate) fn new(containers: &Path, id: &str, mounts: &[MountRequest]) -> VolumesOf {
        let volumes = mounts.iter().filter_map(|mount| {
            let MountKind::Bind(bind) = &mount.kind else { return None };
            let name = bind.volume.as_ref()?.name.clone()?;
            Some((name, mount.target.clone(), bind.access == Access::Writable))
        });
        VolumesOf { log: EventLog::beside(containers), id: id.to_owned(), volumes: volumes.collect() }
    }

    /// Tells that the container has them.
    pub(crate) fn tell_mounted(&self) {
        for (name, target, is_writable) in &self.volumes {
            let event = self.event("mount", name).with("destination", target.as_str());
            self.log.tell(&event.with("propagation", "").with("read/write", is_writable.to_string()));
        }
    }

    /// Tells that it has them no more.
    pub(crate) fn tell_unmounted(&self) {
        self.volumes.iter().for_each(|(name, ..)| self.log.tell(&self.event("unmount", name)));
    }

    fn event(&self, action: &str, name: &str) -> Event {
        Event::now("volume", action, name).with("container", self.id.as_str()).with("driver", "local")
    }
}

impl Pods {
    /// Tells that something has become of a pod.
    pub(crate) fn tell(&self, pod: &PodRecord, action: &str) {
        let mut event = Event::now("pod", action, pod.id.as_str());
        event.attributes.clone_from(&pod.labels);
        self.events().tell(&event.with("name", pod.name.as_str()));
    }
}

impl Record {
    /// What events tell of it; `containers` is where it is kept.
    pub(crate) fn subject(&self, containers: &Path) -> Subject {
        Subject::of(containers, self)
    }
}

impl Kept {
    /// What events tell of it.
    pub(crate) fn subject(&self) -> Subject {
        self.record.subject(self.directory.parent().unwrap_or(&self.directory))
    }
}

impl KeptContainers {
    /// The volumes that a container has which is kept here.
    pub(crate) fn volumes_of(&self, record: &Record) -> VolumesOf {
        VolumesOf::new(self.path(), &record.id, &record.shown.mounts)
    }

    /// Tells that somebody attaches to a container.
    pub fn tell_attached(&self, id: &str) {
        self.tell(id, "attach");
    }

    /// Tells that somebody who was attached to a container has left it alone.
    pub fn tell_detached(&self, id: &str) {
        self.tell(id, "detach");
    }

    /// Tells that a container was stopped and started again by a person.
    pub fn tell_restarted(&self, kept: &Kept) {
        self.tell(&kept.id, "restart");
    }

    fn tell(&self, id: &str, action: &str) {
        // One that is gone by now has told so.
        if let Ok(Some(record)) = self.read(id) {
            record.subject(self.path()).tell(action);
        }
    }
}
