//! One file of registries.conf as it is written. What rabbitc does not know in it is left out, as containers' own readers do.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Kind, Result};
use crate::registry::read_settings;

/// The fields of one file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    #[serde(rename = "unqualified-search-registries")]
    pub(super) search: Option<Vec<String>>,
    #[serde(rename = "short-name-mode")]
    pub(super) mode: Option<Mode>,
    #[serde(rename = "registry")]
    pub(super) registries: Vec<WrittenRegistry>,
    pub(super) aliases: BTreeMap<String, String>,
    /// The only table of version 1.
    #[serde(rename = "registries")]
    first_version: Option<IgnoredAny>,
}

/// What is done with a name that several registries may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// It is refused.
    Enforcing,
    /// They are tried in order.
    #[default]
    #[serde(alias = "", alias = "disabled")]
    Permissive,
}

/// One `[[registry]]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct WrittenRegistry {
    pub(super) prefix: String,
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) blocked: bool,
    pub(super) mirror_by_digest_only: bool,
    #[serde(rename = "mirror")]
    pub(super) mirrors: Vec<WrittenMirror>,
}

/// One `[[registry.mirror]]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct WrittenMirror {
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) pull_from_mirror: PullFromMirror,
}

/// For which names a mirror is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PullFromMirror {
    /// Any.
    #[default]
    #[serde(alias = "")]
    All,
    /// Those with a digest.
    DigestOnly,
    /// Those without.
    TagOnly,
}

impl Written {
    /// Reads it; nothing where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Written>> {
        let Some(bytes) = read_settings(path)? else { return Ok(None) };
        let refuse = |reason: String| Error::new(Kind::Invalid, format!("read `{}`", path.display()), reason);
        let written: Written = basic_toml::from_slice(&bytes).map_err(|error| {
            refuse(error.to_string()).with_hint("containers-registries.conf(5) says how it is written")
        })?;
        if written.first_version.is_some() {
            let error = refuse("it is in version 1 of its format (`[registries.search]`)".to_owned());
            return Err(error.with_hint(
                "write it in version 2: `unqualified-search-registries = [\"docker.io\"]`, and one `[[registry]]` \
                 with `location` and `insecure = true` or `blocked = true` for each other entry",
            ));
        }
        Ok(Some(written))
    }
}
