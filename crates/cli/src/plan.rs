//! `rabbitc plan`: the steps of a start, and nothing done.

use std::io::Write;
use std::process::ExitCode;

use engine::{StepDescription, TerminalMode};

use crate::args::{PlanArguments, PlanFormat};
use crate::render;

pub(crate) fn plan(arguments: PlanArguments) -> ExitCode {
    let steps = arguments
        .run
        .options(TerminalMode::Inherit)
        .and_then(|options| engine::plan(&options, &arguments.run.paths()));
    let steps = match steps {
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

fn text(steps: &[StepDescription]) -> String {
    let mut text = String::new();
    for step in steps {
        let asked = step.asked_by.as_deref().map_or("default", render::flag_of);
        let object = if step.object.is_empty() { String::new() } else { format!(" {}", step.object) };
        text.push_str(&format!("{:>3}  {:<9}  {}{object}  ({asked})\n", step.number, step.side, step.name));
    }
    text
}

/// The page docs/start-sequence.md.
fn markdown(steps: &[StepDescription]) -> String {
    let mut text = String::from(
        "# What a start consists of\n\n\
         Every kernel step of `rabbitc --rootfs=DIRECTORY`, in order. This page is generated from the table that the\n\
         program itself runs (`cargo xtask docs`). *host* is the parent, outside; *container* is the child after the\n\
         clone. Host and container work at the same time: the container mounts while the host attaches the network.\n\n",
    );
    for step in steps {
        let object = if step.object.is_empty() { String::new() } else { format!(": {}", step.object) };
        text.push_str(&format!(
            "{}. *{}* **{}**{object}.\n   Why: {}.\n",
            step.number, step.side, step.name, step.why
        ));
    }
    text
}
