//! Checks over the workspace's shape: which crate may use which, what the runtime must not pull in, and that all but one
//! have the lints that forbid unsafe code. Reads only; builds nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::process::{self, Failure, Naming, Result};

/// Which of our packages each of our packages may use; all of `docs/architecture.md`'s arrows, and no other.
const ARROWS: &[(&str, &[&str])] = &[
    ("rabbitc-sys", &[]),
    ("rabbitc-cgroup", &["rabbitc-sys"]),
    ("rabbitc-netlink", &[]),
    ("rabbitc-network", &["rabbitc-netlink", "rabbitc-sys"]),
    ("rabbitc-image", &["rabbitc-sys"]),
    ("rabbitc-runtime-core", &["rabbitc-cgroup", "rabbitc-netlink", "rabbitc-sys"]),
    ("rabbitc-monitor", &["rabbitc-runtime-core", "rabbitc-sys"]),
    ("rabbitc-runtime", &["rabbitc-monitor", "rabbitc-runtime-core", "rabbitc-cgroup", "rabbitc-sys"]),
    (
        "rabbitc-engine",
        &[
            "rabbitc-monitor",
            "rabbitc-runtime-core",
            "rabbitc-image",
            "rabbitc-network",
            "rabbitc-cgroup",
            "rabbitc-sys",
        ],
    ),
    // Signals belong to the process, so the binary sets them up itself.
    ("rabbitc", &["rabbitc-engine", "rabbitc-sys"]),
];

/// Packages outside the product: they may use any of it, nothing of it may use them.
const OUTSIDE: &[&str] = &["xtask", "rabbitc-clients", "rabbitc-fixtures", "rabbitc-floor"];

/// What must not be reachable from a package, and why.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    ("rabbitc-runtime", &["tokio", "regex", "zbus", "clap"], "it starts in under a millisecond"),
    ("rabbitc-monitor", &["rabbitc-network", "rabbitc-image", "tokio"], "one lives beside every container"),
];

/// Fails with every violation at once.
pub fn check() -> Result<()> {
    let text = process::read(process::cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text).naming("parse cargo metadata")?;
    let graph = Graph::parse(&metadata);
    let mut violations = graph.violations();
    violations.extend(without_lints(&metadata)?);
    if violations.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("the crate graph is not what it should be:\n  {}", violations.join("\n  "))))
}

struct Graph {
    members: BTreeSet<String>,
    /// Package name to the names that it uses when built for users (no dev-dependencies).
    uses: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn parse(metadata: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let members = list(&metadata["workspace_members"])
            .iter()
            .filter_map(|id| names.get(&text(id)).cloned())
            .collect();
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let Some(user) = names.get(&text(&node["id"])) else { continue };
            let used = uses.entry(user.clone()).or_default();
            for dependency in list(&node["deps"]) {
                // Kind is null for a normal dependency, "dev" or "build" otherwise.
                let shipped = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
                if let Some(name) = names.get(&text(&dependency["pkg"])).filter(|_| shipped) {
                    used.insert(name.clone());
                }
            }
        }
        Self { members, uses }
    }

    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for member in &self.members {
            if OUTSIDE.contains(&member.as_str()) || member.starts_with("rabbitc-tests") {
                continue;
            }
            let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == member) else {
                found.push(format!("`{member}` has no row in the table of arrows"));
                continue;
            };
            for used in self.uses.get(member).into_iter().flatten() {
                if self.members.contains(used) && !allowed.contains(&used.as_str()) {
                    found.push(format!("`{member}` must not use `{used}`"));
                }
            }
        }
        for (package, forbidden, why) in FORBIDDEN {
            let reached = self.reach(package);
            for name in forbidden.iter().filter(|name| reached.contains(**name)) {
                found.push(format!("`{package}` must not pull in `{name}`: {why}"));
            }
        }
        found
    }

    fn reach(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![from.to_owned()];
        while let Some(package) = waiting.pop() {
            for used in self.uses.get(&package).into_iter().flatten() {
                if reached.insert(used.clone()) {
                    waiting.push(used.clone());
                }
            }
        }
        reached
    }
}

/// Manifests that do not have the workspace's lints, which forbid unsafe code: only the one crate for that may have its own.
fn without_lints(metadata: &Value) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        // Of a registry, or the one.
        if !package["source"].is_null() || package["name"] == "rabbitc-sys" {
            continue;
        }
        let path = package["manifest_path"].as_str().unwrap_or_default();
        let text = std::fs::read_to_string(path).naming(format_args!("read `{path}`"))?;
        if !has_lints(&text) {
            found.push(format!("`{path}` has no `[lints]` with `workspace = true`"));
        }
    }
    Ok(found)
}

fn has_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.find(|line| !line.is_empty()) == Some("workspace = true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_without_the_lints_is_found() {
        assert!(has_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(!has_lints("[package]\nversion.workspace = true\n"));
        assert!(!has_lints("[lints.rust]\nmissing_docs = \"warn\"\n"));
        assert!(!has_lints("[lints]\n[features]\nworkspace = true\n"));
    }

    #[test]
    fn forbidden_arrow_is_named() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let graph = Graph {
            members: set(&["rabbitc-cgroup", "rabbitc-network", "rabbitc-sys"]),
            uses: BTreeMap::from([("rabbitc-cgroup".to_owned(), set(&["rabbitc-network", "rabbitc-sys"]))]),
        };
        assert_eq!(graph.violations(), ["`rabbitc-cgroup` must not use `rabbitc-network`"]);
    }
}
