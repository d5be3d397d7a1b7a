//! What the verbs `inspect` print: one JSON document of all that was found, or a line for each as a template says. Must not know
//! what is inspected.

use std::process::ExitCode;

use engine::{ErrorKind, Result};

use crate::images::print;
use crate::manner::exit_code;
use crate::render;
use crate::template::{Template, Value};

/// The form of `--format`.
pub(crate) enum Form {
    /// One document.
    Json,
    /// A line for each.
    Lines(Template),
}

impl Form {
    pub(crate) fn parse(format: Option<&str>) -> Result<Form> {
        match format {
            None | Some("" | "json") => Ok(Form::Json),
            Some(format) => Template::parse(format).map(Form::Lines),
        }
    }

    /// Shows each of those that are named, whatever became of the others.
    pub(crate) fn show(&self, names: &[String], look: impl Fn(&str) -> Result<Value>) -> Result<ExitCode> {
        let (mut found, mut lines, mut errors) = (Vec::new(), String::new(), Vec::new());
        for name in names {
            let shown = look(name).and_then(|value| match self {
                Form::Json => {
                    found.push(value);
                    Ok(())
                }
                Form::Lines(template) => {
                    lines.push_str(&template.render(&value)?);
                    lines.push('\n');
                    Ok(())
                }
            });
            errors.extend(shown.err());
        }
        match self {
            Form::Json => print(&format!("{}\n", Value::List(found).pretty_json()))?,
            Form::Lines(_) => print(&lines)?,
        }
        errors.iter().for_each(render::error);
        Ok(match errors.iter().find(|error| error.kind != ErrorKind::NotFound) {
            Some(error) => ExitCode::from(error.kind.exit_code() as u8),
            None if errors.is_empty() => ExitCode::SUCCESS,
            None => exit_code(1, crate::FAILED),
        })
    }
}
