//! `plan`: prints the steps of a start and touches nothing.

use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};
use runtime::plan::{BindRules, ContainerPlan, PlanOptions, Start};
use runtime::{Bundle, ContainerId, Error, StepDescription};

use super::{Failure, Outcome};
use crate::args::{self, Globals};
use crate::render;

pub(super) const USAGE: &str = "\
Print the steps that would start a bundle's container, in order, and touch nothing.

Usage: rabbitc-runtime plan [OPTIONS] [BUNDLE]

Options:
      --format FORMAT  text, json or markdown (the page of the start sequence)
      --id ID          the container's id [the bundle's directory name]
      --create         the steps of `create`, which waits for `start`
";

enum Form {
    Text,
    Json,
    Markdown,
}

pub(super) fn run(mut parser: Parser, globals: &Globals) -> Outcome {
    let mut directory: Option<PathBuf> = None;
    let mut id = None;
    let mut form = Form::Text;
    let mut start = Start::Immediately;
    while let Some(argument) = parser.next().map_err(args::wrong)? {
        match argument {
            Arg::Long("format") | Arg::Short('f') => {
                form = match args::text(&mut parser)?.as_str() {
                    "text" => Form::Text,
                    "json" => Form::Json,
                    "markdown" => Form::Markdown,
                    other => {
                        let reason = format!("`{other}` is none of text, json, markdown");
                        return Err(Error::invalid("--format", reason).into());
                    }
                }
            }
            Arg::Long("bundle") | Arg::Short('b') => directory = Some(args::path(&mut parser)?),
            Arg::Long("id") => id = Some(ContainerId::parse(&args::text(&mut parser)?)?),
            Arg::Long("create") => start = Start::AtGate,
            Arg::Long("help") | Arg::Short('h') => return Err(Failure::Help),
            Arg::Value(value) if directory.is_none() => directory = Some(PathBuf::from(value)),
            other => return Err(args::unexpected(other).into()),
        }
    }
    let bundle = Bundle::open(&directory.unwrap_or_else(|| PathBuf::from(".")))?;
    let id = match id {
        Some(id) => id,
        None => default_id(&bundle.path)?,
    };
    let state_directory = globals.state().directory(&id);
    let options = PlanOptions {
        start,
        bind_rules: BindRules::Customary,
        ..PlanOptions::new(id, bundle.path, state_directory)
    };
    let plan = ContainerPlan::new(&bundle.spec, &options)?;
    for warning in &plan.warnings {
        render::warn(globals, &warning.to_string());
    }
    let steps = plan.describe();
    render::print(&match form {
        Form::Text => text(&steps),
        Form::Json => format!("{}\n", serde_json::to_string_pretty(&steps).expect("strings and numbers")),
        Form::Markdown => markdown(&steps),
    });
    Ok(0)
}

/// The bundle's directory name, where it can be an id.
fn default_id(bundle: &Path) -> Result<ContainerId, Error> {
    let name = bundle.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ContainerId::parse(&name).or_else(|_| ContainerId::parse("container"))
}

/// One line a step; what asked for it stands at the end, as objects have any length.
fn text(steps: &[StepDescription]) -> String {
    let mut text = String::new();
    for step in steps {
        let object = if step.object.is_empty() { String::new() } else { format!(" {}", step.object) };
        let asked = step.asked_by.as_ref().map(|field| format!("  ({field})")).unwrap_or_default();
        text.push_str(&format!("{:>3}  {:<9}  {}{object}{asked}\n", step.number, step.side, step.name));
    }
    text
}

/// A page for people: what happens, where, and why a container needs it.
fn markdown(steps: &[StepDescription]) -> String {
    let mut text = String::from(
        "# The start of a container, step by step\n\n\
         Generated from the same table that runs it: `rabbitc-runtime plan --format markdown BUNDLE`. Steps of the\n\
         *host* side run in the runtime, steps of the *container* side in the process that becomes the container's\n\
         program. Both sides wait for each other at the steps that say so.\n\n\
         | | side | step | object | asked for by | why |\n|--:|---|---|---|---|---|\n",
    );
    for step in steps {
        let asked = step.asked_by.as_ref().map(|field| format!("`{field}`")).unwrap_or_default();
        let (name, object) = (cell(&step.name), cell(&step.object));
        let why = cell(&step.why);
        text.push_str(&format!(
            "| {} | {} | {name} | {object} | {asked} | {why} |\n",
            step.number, step.side
        ));
    }
    text
}

/// A text that can stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
