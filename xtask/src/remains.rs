//! What is on the host that a container could have left: taken before and after, compared. Changes nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::process;

/// Everything counted, each as one readable line.
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at links, mounts, cgroups, nftables tables, processes and state files.
    pub fn take() -> Self {
        let mut seen = BTreeSet::new();
        links(&mut seen);
        mounts(&mut seen);
        cgroups(Path::new("/sys/fs/cgroup"), &mut seen);
        tables(&mut seen);
        processes(&mut seen);
        for top in entries(Path::new("/run")) {
            if top.starts_with("rabbitc") {
                state(&Path::new("/run").join(top), &mut seen);
            }
        }
        Self(seen)
    }

    /// What is there now and was not there then. Dying namespaces are taken down by the kernel in its own time, so
    /// this looks again until nothing remains or `patience` is over.
    pub fn remains(&self, patience: Duration) -> Vec<String> {
        let end = Instant::now() + patience;
        loop {
            let now = Self::take();
            let new: Vec<String> = now.0.difference(&self.0).cloned().collect();
            if new.is_empty() || Instant::now() > end {
                return new;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn links(seen: &mut BTreeSet<String>) {
    seen.extend(entries(Path::new("/sys/class/net")).into_iter().map(|name| format!("link `{name}`")));
}

fn mounts(seen: &mut BTreeSet<String>) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Field 1 is the mount's id, field 5 the mount point: proc_pid_mountinfo(5).
    seen.extend(table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        Some(format!("mount {} on `{}`", fields.first()?, fields.get(4)?))
    }));
}

/// Groups whose content is the host's own.
const FOREIGN: [&str; 4] = ["system.slice", "user.slice", "init.scope", "process_api"];

fn cgroups(directory: &Path, seen: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            let name = entry.file_name();
            // Sessions and services come and go by themselves. Of what is ours, scopes lie among them.
            if FOREIGN.iter().any(|other| name == *other) {
                scopes(&path, seen);
                continue;
            }
            seen.insert(format!("cgroup `{}`", path.display()));
            cgroups(&path, seen);
        }
    }
}

/// Those that `--systemd-cgroup` makes: in system.slice for root, below user.slice for a user.
fn scopes(directory: &Path, seen: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("rabbitc-") && name.ends_with(".scope") {
            seen.insert(format!("cgroup `{}`", entry.path().display()));
        }
        scopes(&entry.path(), seen);
    }
}

fn tables(seen: &mut BTreeSet<String>) {
    let Some(nft) = process::find_program("nft") else { return };
    let listed = process::read(process::as_root(nft).args(["list", "tables"])).unwrap_or_default();
    seen.extend(listed.lines().map(|line| format!("nftables {line}")));
}

fn processes(seen: &mut BTreeSet<String>) {
    for pid in entries(Path::new("/proc")) {
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.starts_with("rabbitc") {
            seen.insert(format!("process {pid} `{}`", name.trim_end()));
        }
    }
}

/// State files; the directories that hold them, and lock files, are there for the next command.
fn state(path: &Path, seen: &mut BTreeSet<String>) {
    for name in entries(path) {
        let inner = path.join(&name);
        if inner.is_dir() && !inner.is_symlink() {
            state(&inner, seen);
        } else if !is_lock(&name) {
            seen.insert(format!("state file `{}`", inner.display()));
        }
    }
}

/// Files that only carry a lock: the next command finds and takes them again.
fn is_lock(name: &str) -> bool {
    name == "lock" || name.ends_with(".lock") || ["tidy", "tidy-next"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_among_the_hosts_own_groups_is_seen_and_those_are_not() {
        let top = std::env::temp_dir().join(format!("rabbitc-remains-{}", std::process::id()));
        let mine = "user.slice/user-7.slice/user@7.service/user.slice/rabbitc-mine.scope";
        for group in ["system.slice/cron.service", "system.slice/rabbitc-web.scope/in", mine, "web"] {
            std::fs::create_dir_all(top.join(group)).expect("a group");
        }
        let mut seen = BTreeSet::new();
        cgroups(&top, &mut seen);
        std::fs::remove_dir_all(&top).expect("removed");
        let at = |group: &str| format!("cgroup `{}`", top.join(group).display());
        let expected = ["system.slice/rabbitc-web.scope", mine, "web"].map(at);
        assert_eq!(seen, expected.into());
    }
}
