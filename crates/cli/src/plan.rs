//! `rabbitc plan`: the steps of a start, and nothing done.

use std::io::Write;
use std::process::ExitCode;

use engine::{Result, StepDescription, TerminalMode};

use crate::args::{PlanArguments, PlanFormat};
use crate::given::asked_by;
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
        PlanFormat::Text => text(&steps),
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
    let image = run.image().map(|name| images::here(name, &run.of_image)).transpose()?;
    let mut steps = engine::plan(&run.options(TerminalMode::Inherit, image.as_ref())?, &run.paths())?;
    steps.iter_mut().for_each(|step| run.given.name(step));
    Ok(steps)
}

fn text(steps: &[StepDescription]) -> String {
    let mut text = String::new();
    for step in steps {
        let asked = asked_by(step);
        let object = if step.object.is_empty() { String::new() } else { format!(" {}", step.object) };
        text.push_str(&format!("{:>3}  {:<9}  {}{object}  ({asked})\n", step.number, step.side, step.name));
    }
    text
}

/// A page for people: what happens, to what, what asked for it, and why a container needs it.
fn markdown(steps: &[StepDescription]) -> String {
    let mut text = String::from(
        "# The start of this container, step by step\n\n\
         *host* is the parent, outside; *container* is the child after the clone. Both work at the same time, and wait for\n\
         each other at the steps that say so.\n\n\
         | | side | step | object | asked for by | why |\n|--:|---|---|---|---|---|\n",
    );
    for step in steps {
        let [name, object, asked, why] =
            [step.name.as_str(), &step.object, asked_by(step), &step.why].map(cell);
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
