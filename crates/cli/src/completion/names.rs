//! Names of what there is, for completion. Whatever can't be read is not offered; must not say so, and must change nothing.

use std::path::{Path, PathBuf};

use clap::Command;
use engine::{
    ImageFilters, ImageStore, KeptContainers, KeptState, NetworkStore, Pods, SecretStore, VolumeStore,
};

use super::flag;

/// Where names are looked for, by what is typed.
#[derive(Debug, Default)]
pub(super) struct Names {
    root: Option<PathBuf>,
    /// Whether the root is a directory, so that no image is to be named.
    has_root_directory: bool,
}

type Words = Vec<(String, String)>;

impl Names {
    /// Takes flags off that stand before a verb.
    pub(super) fn before_verb(words: &[String]) -> (Names, Vec<&str>) {
        let mut names = Names::default();
        let mut rest: Vec<&str> = words.iter().map(String::as_str).collect();
        while let Some(first) = rest.first().copied() {
            let (name, value) =
                first.split_once('=').map_or((first, None), |(name, value)| (name, Some(value)));
            let count = match name {
                "--noout" => 1,
                "--root" | "--runroot" | "--out" | "--log-format" if value.is_some() => 1,
                "--root" | "--runroot" | "--out" | "--log-format" => 2,
                _ => break,
            };
            if rest.len() < count {
                break;
            }
            if name == "--root" {
                names.root = value.or(rest.get(1).copied()).map(PathBuf::from);
            }
            rest.drain(..count);
        }
        (names, rest)
    }

    /// Notes a flag that was typed.
    pub(super) fn note(&mut self, command: &Command, name: &str, value: &str) {
        match flag(command, name).and_then(|flag| flag.get_long()) {
            Some("root") => self.root = Some(PathBuf::from(value)),
            Some("rootfs") => self.has_root_directory = true,
            _ => {}
        }
    }

    pub(super) fn has_root_directory(&self) -> bool {
        self.has_root_directory
    }

    fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Those that a verb can do something with.
    pub(super) fn containers(&self, verb: &str) -> Words {
        let suits = |state: KeptState| match verb {
            "attach" | "exec" | "healthcheck run" | "kill" | "pause" | "port" | "stats" | "stop" | "top"
            | "unpause" => state.is_up(),
            "start" => !state.is_up(),
            _ => true,
        };
        let listed = KeptContainers::of(self.root()).and_then(|containers| containers.list());
        let listed = listed.unwrap_or_default().into_iter().filter(|kept| suits(kept.state));
        listed.map(|kept| (kept.shown_name().to_owned(), state(kept.state).to_owned())).collect()
    }

    pub(super) fn images(&self) -> Words {
        let listed =
            ImageStore::open_to_read(self.root()).and_then(|store| store.list(&ImageFilters(Vec::new())));
        let named = listed.unwrap_or_default().into_iter().filter_map(|image| {
            let tag = image.tag?;
            Some((format!("{}:{tag}", image.repository?), String::new()))
        });
        let mut names: Words = named.collect();
        names.sort();
        names.dedup();
        names
    }

    pub(super) fn pods(&self) -> Words {
        let names = KeptContainers::of(self.root()).and_then(|containers| Pods::of(&containers).names());
        names.unwrap_or_default().into_iter().map(|name| (name, String::new())).collect()
    }

    pub(super) fn networks(&self) -> Words {
        let survey = NetworkStore::of(self.root()).and_then(|store| store.survey());
        let networks = survey.map(|survey| survey.networks).unwrap_or_default();
        networks.into_iter().map(|network| (network.name, network.driver.as_str().to_owned())).collect()
    }

    pub(super) fn secrets(&self) -> Words {
        let survey = SecretStore::of(self.root()).and_then(|store| store.survey());
        let secrets = survey.map(|survey| survey.secrets).unwrap_or_default();
        secrets.into_iter().map(|secret| (secret.name, String::new())).collect()
    }

    pub(super) fn volumes(&self) -> Words {
        let survey = VolumeStore::of(self.root()).and_then(|store| store.survey());
        let volumes = survey.map(|survey| survey.volumes).unwrap_or_default();
        volumes.into_iter().map(|volume| (volume.name, String::new())).collect()
    }
}

fn state(state: KeptState) -> &'static str {
    match state {
        KeptState::Created => "created",
        KeptState::Running => "running",
        KeptState::Restarting { .. } => "restarting",
        KeptState::Exited { .. } | KeptState::Unknown => "exited",
    }
}
