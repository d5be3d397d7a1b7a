//! `rabbitc pod inspect`: all that is known of pods.

use std::process::ExitCode;

use clap::Args;
use engine::{Error, Result};

use super::latest;
use crate::inspect::Form;
use crate::life::PlaceArguments;
use crate::template::{Field, Value};

/// Shows all that is known of pods.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// Their names, ids, or the beginnings of these
    #[arg(required_unless_present = "latest", value_name = "POD")]
    names: Vec<String>,
    /// `json`, or a line for each such as `{{.Name}} {{.State}}` [default: one JSON document]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Each is shown, whatever became of the others.
pub(super) fn inspect(arguments: &InspectArguments) -> Result<ExitCode> {
    let form = Form::parse(arguments.format.as_deref())?;
    let (pods, paths) = (arguments.place.pods()?, arguments.place.paths()?);
    let mut names = arguments.names.clone();
    if arguments.latest {
        names.push(latest(&pods, &paths)?.id);
    }
    let code = form.show(&names, |name| {
        let pod = pods.find(name, &paths)?;
        let listed = pods.listed(vec![pod], &paths)?.pop();
        listed.map(|listed| value(listed.inspect())).ok_or_else(|| {
            Error::new(engine::ErrorKind::NotFound, format!("find the pod `{name}`"), "it has just gone")
        })
    })?;
    // As podman's: unlike other verbs, it does not tell one that is not there by another code.
    Ok(if code == ExitCode::SUCCESS { code } else { ExitCode::from(crate::FAILED) })
}

/// With podman's other names for what is called `Id`.
fn value(all: serde_json::Value) -> Value {
    let containers = all.get("Containers").and_then(|list| list.as_array()).cloned().unwrap_or_default();
    let container = |one: serde_json::Value| {
        let id = one.get("Id").and_then(|id| id.as_str()).unwrap_or_default().to_owned();
        Value::record(one, &[]).with(Field::alias("ID", id))
    };
    let containers: Vec<Value> = containers.into_iter().map(container).collect();
    let id = all.get("Id").and_then(|id| id.as_str()).unwrap_or_default().to_owned();
    let value = Value::record(all, &["InfraConfig"]);
    value.with(Field::alias("ID", id)).with(Field::new("Containers", containers))
}
