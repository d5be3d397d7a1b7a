//! The schemata of a container's group, changed while it lives. Must not make groups.

use super::{Group, Membership, Resctrl};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::lifecycle::{self, Verb, demand};
use crate::state_dir::StateRoot;

/// What to write; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schemata {
    /// Ways of the third cache, such as `L3:0=f;1=f0`.
    pub l3_cache: Option<String>,
    /// Shares of memory bandwidth, such as `MB:0=20;1=70`.
    pub memory_bandwidth: Option<String>,
}

impl Schemata {
    /// Each line with the option that it came from, the directory in `info/` that tells of its resource, and how it
    /// must begin.
    fn lines(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, &str)> {
        let l3 = self.l3_cache.as_deref().map(|line| ("--l3-cache-schema", "L3", "L3", line));
        let bandwidth = self.memory_bandwidth.as_deref().map(|line| ("--mem-bw-schema", "MB", "MB:", line));
        l3.into_iter().chain(bandwidth)
    }
}

/// Refuses what this host or container has not, before anything is written; the result writes it.
pub fn prepare(root: &StateRoot, id: &ContainerId, schemata: &Schemata) -> Result<Prepared> {
    let mut prepared = Prepared { membership: None, lines: Vec::new() };
    if *schemata == Schemata::default() {
        return Ok(prepared);
    }
    let mounted = Resctrl::find()?;
    for (option, resource, beginning, text) in schemata.lines() {
        if !mounted.as_ref().is_some_and(|mounted| mounted.has(resource)) {
            let what = if resource == "L3" {
                "Intel RDT/CAT: l3 cache schema"
            } else {
                "Intel RDT/MBA: memory bandwidth schema"
            };
            let reason = format!("{what} is not enabled on this host");
            return Err(Error::new(ErrorKind::Unsupported, option, reason).with_hint(super::HINT));
        }
        for line in text.lines() {
            if !line.starts_with(beginning) {
                return Err(Error::invalid(
                    option,
                    format!("`{}` does not begin with `{beginning}`", line.escape_debug()),
                ));
            }
            prepared.lines.push(line.to_owned());
        }
    }
    let view = lifecycle::view(root, id)?;
    demand(id.as_str(), view.status, Verb::Update)?;
    let Some(membership) = view.record.rdt else {
        let reason = "updating a non-existent Intel RDT configuration is not supported";
        return Err(Error::new(ErrorKind::Unsupported, format!("change the schemata of `{id}`"), reason)
            .with_hint("start the container with `linux.intelRdt`"));
    };
    prepared.membership = Some(membership);
    Ok(prepared)
}

/// Lines for one group.
#[derive(Debug)]
pub struct Prepared {
    membership: Option<Membership>,
    lines: Vec<String>,
}

impl Prepared {
    /// Writes them.
    pub fn write(&self) -> Result<()> {
        let Some(membership) = self.membership.as_ref().filter(|_| !self.lines.is_empty()) else {
            return Ok(());
        };
        match Group::of(membership)? {
            Some(group) => group.write_lines(&self.lines),
            None => {
                let operation = format!("change the schemata of the group `{}`", membership.group);
                Err(Error::new(ErrorKind::System, operation, "it is gone"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn nothing_asked_for_needs_nothing() {
        let root = StateRoot::new(Path::new("/nowhere"));
        let id = ContainerId::parse("x").expect("legal");
        assert!(prepare(&root, &id, &Schemata::default()).is_ok_and(|prepared| prepared.write().is_ok()));
    }
}
