//! `rabbitc plan`: the steps of a start, and nothing done.

use std::io::Write;
use std::process::ExitCode;

use engine::{Result, StepDescription, TerminalMode};

use crate::args::{PlanArguments, PlanFormat};
use crate::given::Given;
use crate::images;
use crate::render;

pub(crate) fn plan(arguments: PlanArguments) -> ExitCode {
    let steps = match steps(&arguments) {
        Ok(steps) => steps,
        Err(error) => {
            render::error(&error);
            return ExitCode::from(error.kind.exit_code() as u8);
        }
    };
    let text = match arguments.format {
        PlanFormat::Text => text(&steps, &arguments.run.given),
        PlanFormat::Json => serde_json::to_string_pretty(&steps).expect("plain data") + "\n",
        PlanFormat::Markdown => markdown(&steps),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(crate::FAILED),
    }
}

/// Of an image that is here: nothing is fetched for it.
fn steps(arguments: &PlanArguments) -> Result<Vec<StepDescription>> {
    let run = &arguments.run;
    let image = run.image().map(|name| images::here(name, run.files.root.as_deref())).transpose()?;
    engine::plan(&run.options(TerminalMode::Inherit, image.as_ref())?, &run.paths())
}

fn text(steps: &[StepDescription], given: &Given) -> String {
    let mut text = String::new();
    for step in steps {
        let asked = given.origin(step.asked_by.as_deref());
        let object = if step.object.is_empty() { String::new() } else { format!(" {}", step.object) };
        text.push_str(&format!("{:>3}  {:<9}  {}{object}  ({asked})\n", step.number, step.side, step.name));
    }
    text
}

/// The page docs/start-sequence.md: what is the same on every host. Steps that differ between hosts in number or
/// object (cgroup hierarchies, addresses) are told once and in general.
fn markdown(steps: &[StepDescription]) -> String {
    let mut text = String::from(
        "# What a start consists of\n\n\
         Every kernel step of `rabbitc --rootfs=DIRECTORY`, in order. This page is generated from the table that the\n\
         program itself runs (`cargo xtask docs`); `rabbitc plan` prints it for one container on one host, with every\n\
         object, and `rabbitc --explain` with the time that each step took. *host* is the parent, outside; *container*\n\
         is the child after the clone. Both work at the same time: the container mounts while the host attaches the\n\
         network. The order is that of hosts with cgroup v2; where v1 is in use, the host makes the cgroup just after the\n\
         clone, while the container's process begins.\n\n",
    );
    let mut number = 0;
    let mut cgroups_told = false;
    for step in in_order_of_v2(steps) {
        let (what, why) = if step.object.contains("/sys/fs/cgroup") {
            if std::mem::replace(&mut cgroups_told, true) {
                continue;
            }
            (CGROUPS.to_owned(), "the container sees its own cgroup as the root of all")
        } else {
            (general(step), step.why)
        };
        number += 1;
        text.push_str(&format!("{number}. *{}* **{what}**\n   ({why}).\n", step.side));
    }
    text
}

/// The steps as they are where the cgroup is made before the clone, into it.
fn in_order_of_v2(steps: &[StepDescription]) -> Vec<&StepDescription> {
    let clone = steps.iter().position(|step| step.name == "clone the init process");
    let (before, after) = steps.split_at(clone.unwrap_or(steps.len()));
    let is_of_v1 = |step: &&StepDescription| {
        ["create the cgroup in the unified hierarchy", "wait for the cgroup"].contains(&&*step.name)
    };
    let makes = |step: &&StepDescription| {
        ["create the cgroup", "write limits into the cgroup"].contains(&&*step.name)
    };
    let early = after.iter().filter(makes);
    let late = after.iter().filter(|step| !makes(step));
    before.iter().chain(early).chain(late).filter(|step| !is_of_v1(step)).collect()
}

const CGROUPS: &str = "mount the cgroup file systems on `/sys/fs/cgroup`";

/// A step without what is this container's or this host's alone.
fn general(step: &StepDescription) -> String {
    const TOLD_WHOLE: [&str; 4] = [
        "make device nodes",
        "make standard links",
        "make paths read-only",
        "write the container's own files",
    ];
    if step.name.starts_with("mount `") {
        format!("{} on {}", step.name, step.object)
    } else if step.name.starts_with("bind `") {
        format!("bind a file of its own on {}", step.object)
    } else if TOLD_WHOLE.contains(&step.name.as_str()) {
        format!("{}: {}", step.name, step.object)
    } else {
        step.name.clone()
    }
}
