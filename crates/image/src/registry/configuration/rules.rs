//! What one `[[registry]]` says, checked, and the names that it is for.

use std::path::Path;

use super::file::{PullFromMirror, WrittenRegistry};
use crate::error::{Error, Kind, Result};
use crate::reference::{DOCKER_IO, Reference, Typed};

#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// What names begin with: `HOST[/PATH]`, or `*.DOMAIN`.
    pub(super) prefix: String,
    /// What is put in its place; empty leaves names as they are.
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) blocked: bool,
    pub(super) mirrors: Vec<Mirror>,
}

#[derive(Debug, Clone)]
pub(super) struct Mirror {
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) pull: PullFromMirror,
}

impl PullFromMirror {
    pub(super) fn takes(self, reference: &Reference) -> bool {
        match self {
            PullFromMirror::All => true,
            PullFromMirror::DigestOnly => reference.digest.is_some(),
            PullFromMirror::TagOnly => reference.digest.is_none(),
        }
    }
}

impl Rule {
    pub(super) fn new(written: WrittenRegistry, path: &Path) -> Result<Rule> {
        let refuse = |reason: &str| Err(unusable(path, reason));
        let trimmed = |text: &str| text.trim_end_matches('/').to_owned();
        let location = trimmed(&written.location);
        let prefix = match trimmed(&written.prefix) {
            prefix if prefix.is_empty() => location.clone(),
            prefix => prefix,
        };
        if prefix.is_empty() {
            return refuse("a `[[registry]]` has neither `prefix` nor `location`");
        }
        match prefix.strip_prefix("*.") {
            Some(domain) if domain.contains(['/', '*']) => {
                return refuse("a `prefix` that begins with `*.` goes on with a domain and no more");
            }
            Some(_) => {}
            None => check_place(&prefix, path)?,
        }
        if !location.is_empty() {
            check_place(&location, path)?;
        } else if !prefix.starts_with("*.") {
            return refuse("a `[[registry]]` has no `location`");
        }
        let mut mirrors = Vec::new();
        for mirror in written.mirrors {
            let location = trimmed(&mirror.location);
            check_place(&location, path)?;
            let pull = match (written.mirror_by_digest_only, mirror.pull_from_mirror) {
                (true, PullFromMirror::All) => PullFromMirror::DigestOnly,
                (true, _) => {
                    return refuse("`mirror-by-digest-only` and `pull-from-mirror` can't be had together");
                }
                (false, pull) => pull,
            };
            mirrors.push(Mirror { location, insecure: mirror.insecure, pull });
        }
        Ok(Rule { prefix, location, insecure: written.insecure, blocked: written.blocked, mirrors })
    }

    /// The length of what it matches of the name.
    pub(super) fn matched(&self, reference: &Reference) -> Option<usize> {
        if let Some(domain) = self.prefix.strip_prefix('*') {
            // Of the port is said nothing: it is no part of a domain.
            let host = reference.registry.split(':').next().unwrap_or_default();
            return host.ends_with(domain).then_some(reference.registry.len());
        }
        let whole = reference.to_string();
        let rest = whole.strip_prefix(&self.prefix)?;
        // Behind a host alone, a colon begins its port, and with that it is another registry.
        let goes_on = match self.prefix.contains('/') {
            true => rest.starts_with(['/', ':', '@']),
            false => rest.starts_with('/'),
        };
        (rest.is_empty() || goes_on).then_some(self.prefix.len())
    }

    /// The name, without tag and digest, with `location` in the place of the prefix.
    pub(super) fn rewritten(&self, reference: &Reference, location: &str) -> String {
        let name = reference.name();
        let Some(matched) = self.matched(reference).filter(|_| !location.is_empty()) else { return name };
        // A prefix may reach over the tag: then the whole of the name is in it.
        let rest = name.get(matched..).unwrap_or_default();
        let location = match self.prefix.len() > name.len() {
            true => strip_tag(location),
            false => location,
        };
        format!("{location}{rest}")
    }
}

fn strip_tag(place: &str) -> &str {
    let place = place.split('@').next().unwrap_or_default();
    match place.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && name.contains('/') => name,
        _ => place,
    }
}

/// Refuses what can't be the beginning of a name with a registry.
pub(super) fn check_place(place: &str, path: &Path) -> Result<()> {
    let name = match place.contains('/') {
        true => place.to_owned(),
        false => format!("{place}/any"),
    };
    let why = match name.parse::<Typed>() {
        Ok(Typed { registry: Some(_), .. }) => return Ok(()),
        Ok(_) => "it begins with no registry".to_owned(),
        Err(error) => error.reason,
    };
    Err(unusable(path, &format!("`{}` is no place of images: {why}", place.escape_debug())))
}

/// What an alias stands for.
pub(super) fn alias(name: &str, whole: &str, path: &Path) -> Result<Reference> {
    let refuse = |reason: &str| {
        let shown = format!("the alias `{}` = `{}`", name.escape_debug(), whole.escape_debug());
        Err(unusable(path, &format!("{shown}: {reason}")))
    };
    match (name.parse::<Typed>(), whole.parse::<Typed>()) {
        (Ok(short), _) if short.registry.is_some() || short.tag.is_some() || short.digest.is_some() => {
            refuse("a short name has neither registry nor tag nor digest")
        }
        (Ok(_), Ok(typed)) if typed.registry.is_some() && typed.tag.is_none() && typed.digest.is_none() => {
            Ok(typed.in_registry(DOCKER_IO))
        }
        (Ok(_), Ok(_)) => refuse("what it stands for has a registry, and neither tag nor digest"),
        (Err(error), _) | (_, Err(error)) => refuse(&error.reason),
    }
}

fn unusable(path: &Path, reason: &str) -> Error {
    Error::new(Kind::Invalid, format!("read `{}`", path.display()), reason)
}
