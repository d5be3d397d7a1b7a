//! `rabbitc volume inspect`: all that is known of volumes, as docker writes it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use engine::{Result, Volume, rfc3339};

use crate::inspect::Form;
use crate::life::PlaceArguments;
use crate::template::{Field, Map, Value};

/// Shows all that is known of volumes.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// Their names
    #[arg(required_unless_present = "all", value_name = "VOLUME")]
    names: Vec<String>,
    /// All of them
    #[arg(short, long, conflicts_with = "names")]
    all: bool,
    /// `json`, or a line for each volume such as `{{.Mountpoint}}` [default: one JSON document]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Each volume is shown, whatever became of the others.
pub(super) fn inspect(arguments: &InspectArguments) -> Result<ExitCode> {
    let form = Form::parse(arguments.format.as_deref())?;
    let store = arguments.place.volumes()?;
    let names = match arguments.all {
        true => store.survey()?.volumes.into_iter().map(|volume| volume.name).collect(),
        false => arguments.names.clone(),
    };
    form.show(&names, |name| store.find(name).map(value))
}

/// Docker's fields in its order, then one that only podman has.
fn value(volume: Volume) -> Value {
    let texts = |map: BTreeMap<String, String>| -> Value {
        let kind = Value::Map(Map::with_zero(""));
        let written = (!map.is_empty()).then(|| serde_json::json!(map));
        Value::of_kind(&kind, written.as_ref())
    };
    let is_empty = super::list::is_empty(&volume);
    vec![
        Field::new("CreatedAt", rfc3339(volume.created)),
        Field::new("Driver", "local"),
        Field::new("Labels", texts(volume.labels)),
        Field::new("Mountpoint", volume.mountpoint.display().to_string()),
        Field::new("Name", volume.name),
        Field::new("Options", texts(volume.options)),
        Field::new("Scope", "local"),
        Field::if_set("Anonymous", Value::Bool(volume.is_anonymous)),
        Field::alias("NeedsCopyUp", Value::Bool(is_empty)),
        Field::alias("NeedsChown", Value::Bool(is_empty)),
    ]
    .into()
}
