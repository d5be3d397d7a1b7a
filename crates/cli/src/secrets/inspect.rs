//! `rabbitc secret inspect`: all that is known of secrets, as podman writes it.

use std::process::ExitCode;

use clap::Args;
use engine::{Result, Secret, rfc3339};

use crate::inspect::Form;
use crate::life::PlaceArguments;
use crate::template::{Field, Map, Value};

/// Shows all that is known of secrets.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// Their names or ids
    #[arg(required = true, value_name = "SECRET")]
    names: Vec<String>,
    /// `json`, or a line for each secret such as `{{.Spec.Name}}` [default: one JSON document]
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "pretty")]
    format: Option<String>,
    /// For people to read
    #[arg(long)]
    pretty: bool,
    /// With the value
    #[arg(long)]
    showsecret: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Each secret is shown, whatever became of the others.
pub(super) fn inspect(arguments: &InspectArguments) -> Result<ExitCode> {
    let format = if arguments.pretty { Some("{{.Pretty}}") } else { arguments.format.as_deref() };
    let form = Form::parse(format)?;
    let store = arguments.place.secrets()?;
    form.show(&arguments.names, |name| {
        let (secret, data) = store.find(name)?;
        let data = arguments.showsecret.then(|| String::from_utf8_lossy(&data).into_owned());
        Ok(match arguments.pretty {
            true => vec![Field::new("Pretty", pretty(&secret, data))].into(),
            false => value(secret, data),
        })
    })
}

/// As docker and podman have it.
fn pretty(secret: &Secret, data: Option<String>) -> String {
    let mut text = format!("ID:              {}\nName:            {}\n", secret.id, secret.name);
    if !secret.labels.is_empty() {
        text.push_str("Labels:\n");
    }
    for (name, value) in &secret.labels {
        let equals = if value.is_empty() { "" } else { "=" };
        text.push_str(&format!(" - {}\n", sys::plain(&format!("{name}{equals}{value}"))));
    }
    let (created, updated) = (moment(secret.created), moment(secret.updated));
    text.push_str(&format!("Driver:          file\nCreated at:      {created}\nUpdated at:      {updated}"));
    if let Some(data) = data {
        text.push_str(&format!("\nSecret:          {data}"));
    }
    text
}

fn moment(nanoseconds: u64) -> String {
    rfc3339(nanoseconds / 1_000_000_000)
}

fn value(secret: Secret, data: Option<String>) -> Value {
    let kind = Value::Map(Map::with_zero(""));
    let texts = |map: &serde_json::Value| Value::of_kind(&kind, Some(map));
    let driver: Value =
        vec![Field::new("Name", "file"), Field::new("Options", texts(&serde_json::json!({})))].into();
    let specification: Value = vec![
        Field::new("Name", secret.name),
        Field::new("Driver", driver),
        Field::new("Labels", texts(&serde_json::json!(secret.labels))),
    ]
    .into();
    let mut fields = vec![
        Field::new("ID", secret.id),
        Field::new("CreatedAt", moment(secret.created)),
        Field::new("UpdatedAt", moment(secret.updated)),
        Field::new("Spec", specification),
    ];
    fields.extend(data.map(|data| Field::new("SecretData", data)));
    fields.into()
}
