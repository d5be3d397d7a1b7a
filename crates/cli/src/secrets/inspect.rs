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

/// As docker and podman have it.
const PRETTY: &str = "ID:              {{.ID}}\nName:            {{.Spec.Name}}\nLabels:\
                      {{range $name, $value := .Spec.Labels}}\n - {{$name}}{{if $value}}={{$value}}{{end}}{{end}}\n\
                      Driver:          {{.Spec.Driver.Name}}\nCreated at:      {{.CreatedAt}}\n\
                      Updated at:      {{.UpdatedAt}}";

/// Each secret is shown, whatever became of the others.
pub(super) fn inspect(arguments: &InspectArguments) -> Result<ExitCode> {
    let shows_value = arguments.showsecret;
    let format = match (arguments.pretty, shows_value) {
        (true, false) => Some(PRETTY.to_owned()),
        (true, true) => Some(format!("{PRETTY}\nSecret:          {{{{.SecretData}}}}")),
        (false, _) => arguments.format.clone(),
    };
    let form = Form::parse(format.as_deref())?;
    let store = arguments.place.secrets()?;
    form.show(&arguments.names, |name| {
        let (secret, data) = store.find(name)?;
        Ok(value(secret, shows_value.then(|| String::from_utf8_lossy(&data).into_owned())))
    })
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
    let moment = |nanoseconds: u64| rfc3339(nanoseconds / 1_000_000_000);
    let mut fields = vec![
        Field::new("ID", secret.id),
        Field::new("CreatedAt", moment(secret.created)),
        Field::new("UpdatedAt", moment(secret.updated)),
        Field::new("Spec", specification),
    ];
    fields.extend(data.map(|data| Field::new("SecretData", data)));
    fields.into()
}
