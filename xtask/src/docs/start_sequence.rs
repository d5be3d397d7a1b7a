//! The page docs/start-sequence.md, from the plan that `rabbitc` prints: what is the same on every host. Steps that differ
//! between hosts in number or object (cgroup hierarchies, addresses) are told once and in general.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::{self, Failure, Result};

/// Where it is.
pub const PAGE: &str = "docs/start-sequence.md";

const BEGINNING: &str = "# What a start consists of

Every kernel step of `rabbitc --rootfs=DIRECTORY`, in order. This page is generated from the table that the
program itself runs (`cargo xtask docs`); `rabbitc plan` prints it for one container on one host, with every
object, and `rabbitc --explain` with the time that each step took. *host* is the parent, outside; *container*
is the child after the clone. Both work at the same time: the container mounts while the host attaches the
network. The order is that of hosts with cgroup v2; where v1 is in use, the host makes the cgroup just after the
clone, while the container's process begins.

";

/// Its text.
pub fn page(program: &Path) -> Result<String> {
    let plan = process::read(Command::new(program).args(["plan", "--rootfs=.", "--format=json"]))?;
    let steps: Vec<Step> = serde_json::from_str::<Vec<Value>>(&plan)
        .map_err(|error| Failure::new(format!("read the plan of `{}`: {error}", program.display())))?
        .iter()
        .map(Step::of)
        .collect();
    let mut text = BEGINNING.to_owned();
    let mut number = 0;
    let mut cgroups_told = false;
    for step in in_order_of_v2(&steps) {
        let (what, why) = if step.object.contains("/sys/fs/cgroup") {
            if std::mem::replace(&mut cgroups_told, true) {
                continue;
            }
            (CGROUPS.to_owned(), "the container sees its own cgroup as the root of all")
        } else {
            (step.in_general(), step.why.as_str())
        };
        number += 1;
        text.push_str(&format!("{number}. *{}* **{what}**\n   ({why}).\n", step.side));
    }
    Ok(text)
}

const CGROUPS: &str = "mount the cgroup file systems on `/sys/fs/cgroup`";

/// A step of the plan, as far as the page tells it.
struct Step {
    side: String,
    kind: String,
    name: String,
    object: String,
    why: String,
}

impl Step {
    fn of(step: &Value) -> Step {
        let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        Step {
            side: text("side"),
            kind: text("kind"),
            name: text("name"),
            object: text("object"),
            why: text("why"),
        }
    }

    fn is_hosts_cgroup(&self) -> bool {
        self.side == "host" && self.kind == "cgroup"
    }

    /// The step without what is this container's or this host's alone.
    fn in_general(&self) -> String {
        const TOLD_WHOLE: [&str; 4] = [
            "make device nodes",
            "make standard links",
            "make paths read-only",
            "write the container's own files",
        ];
        if self.name.starts_with("mount `") {
            format!("{} on {}", self.name, self.object)
        } else if self.name.starts_with("bind `") {
            format!("bind a file of its own on {}", self.object)
        } else if TOLD_WHOLE.contains(&self.name.as_str()) {
            format!("{}: {}", self.name, self.object)
        } else {
            self.name.clone()
        }
    }
}

/// The steps as they are where the cgroup is made before the clone, into it. Where v1 is in use, the host makes it after
/// the clone, but for a part of it, and the container waits.
fn in_order_of_v2(steps: &[Step]) -> Vec<&Step> {
    let clone = steps.iter().position(|step| step.side == "host" && step.kind == "namespaces");
    let (before, after) = steps.split_at(clone.unwrap_or(steps.len()));
    let late: Vec<&Step> = after.iter().filter(|step| step.is_hosts_cgroup()).collect();
    if late.is_empty() {
        return steps.iter().collect();
    }
    let before = before.iter().filter(|step| !step.is_hosts_cgroup());
    let after = after.iter().filter(|step| !step.is_hosts_cgroup() && step.name != "wait for the cgroup");
    before.chain(late).chain(after).collect()
}
