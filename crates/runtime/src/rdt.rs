//! The schemata of a container's resctrl group (Intel RDT), changed while it lives. Must not make groups.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::lifecycle::{self, Verb, demand};
use crate::spec::Spec;
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
    let mut prepared = Prepared { file: PathBuf::new(), lines: Vec::new() };
    if *schemata == Schemata::default() {
        return Ok(prepared);
    }
    let mounted = mount_point(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    for (option, resource, beginning, text) in schemata.lines() {
        // Two cache resources, for code and data apart, take the place of one (`cdp`).
        let there = |name: &str| mounted.as_ref().is_some_and(|place| place.join("info").join(name).is_dir());
        let enabled = there(resource) || (resource == "L3" && there("L3CODE"));
        if !enabled {
            let what = if resource == "L3" {
                "Intel RDT/CAT: l3 cache schema"
            } else {
                "Intel RDT/MBA: memory bandwidth schema"
            };
            let hint = "the processor and the kernel need this resource, and the resctrl file system a mount: \
                        `mount -t resctrl resctrl /sys/fs/resctrl`";
            return Err(Error::unsupported(option, format!("{what} is not enabled on this host"), hint));
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
    let spec: Spec = crate::bundle::read_json(&lifecycle::config_path(&view.record))?;
    let Some(asked) = spec.linux.and_then(|linux| linux.intel_rdt) else {
        let reason = "updating a non-existent Intel RDT configuration is not supported";
        return Err(Error::new(ErrorKind::Unsupported, format!("change the schemata of `{id}`"), reason)
            .with_hint("start the container with `linux.intelRdt`"));
    };
    let group = asked.clos_id.as_deref().unwrap_or(id.as_str());
    if group.is_empty() || group.contains('/') || matches!(group, "." | "..") {
        return Err(Error::invalid(
            "linux.intelRdt.closID",
            format!("`{}` is no name", group.escape_debug()),
        ));
    }
    prepared.file = mounted.unwrap_or_default().join(group).join("schemata");
    Ok(prepared)
}

/// Lines for one file.
#[derive(Debug)]
pub struct Prepared {
    file: PathBuf,
    lines: Vec<String>,
}

impl Prepared {
    /// Writes them, all in one call, as the kernel takes all or none of a call's.
    pub fn write(&self) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        let written = std::fs::OpenOptions::new()
            .write(true)
            .open(&self.file)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| {
            // The kernel says in words what it does not like, until the next call.
            let said =
                self.file.parent().and_then(Path::parent).map(|root| root.join("info/last_cmd_status"));
            let said = said.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
            let error = Error::at_path("write the schemata to", &self.file, error);
            match said.trim() {
                "" | "ok" => error,
                said => error.with_hint(format!("the kernel says: {said}")),
            }
        })
    }
}

/// Where the resctrl file system is mounted, by the text of proc_pid_mountinfo(5).
fn mount_point(table: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        (file_system.split(' ').next()? == "resctrl").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_of_resctrl_is_found_by_its_type() {
        let table = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 resctrl rw\n\
                     31 25 0:27 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw\n";
        assert_eq!(mount_point(table), Some(PathBuf::from("/sys/fs/resctrl")));
        assert_eq!(mount_point(""), None);
    }

    #[test]
    fn nothing_asked_for_needs_nothing() {
        let root = StateRoot::new(Path::new("/nowhere"));
        let id = ContainerId::parse("x").expect("legal");
        assert!(prepare(&root, &id, &Schemata::default()).is_ok_and(|prepared| prepared.write().is_ok()));
    }
}
