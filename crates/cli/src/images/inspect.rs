//! `rabbitc inspect` and `image inspect`: all that is known of images, as docker and podman write it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use engine::{Error, ErrorKind, ImageName, ImageStore, Inspected, Result, rfc3339};

use super::registries::open_to_read;
use super::{failed, parse_names, print};
use crate::render;
use crate::template::{Field, Map, Template, Value};

/// Shows all that is known of images.
#[derive(Debug, Parser)]
#[command(name = "rabbitc inspect", max_term_width = 100)]
pub(crate) struct InspectArguments {
    /// Their names or ids
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
    /// `json`, or a line for each image such as `{{.Id}} {{json .Config.Env}}` [default: one JSON document]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Of which kind they are; there are only images yet
    #[arg(long, value_name = "KIND", default_value = "image")]
    r#type: String,
    /// Sizes, too, which are always there
    #[arg(short, long)]
    size: bool,
    /// Directory that the images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// The remedy of whoever means one.
const CONTAINERS: &str = "a container of this id is here, and only images are shown yet; `rabbitc ps -a --no-trunc --format json` \
                          tells what is known of containers, and `rabbitc diff` what one has changed";

/// Each image is shown, whatever became of the others.
pub(super) fn inspect(arguments: &InspectArguments) -> ExitCode {
    match show(arguments) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn show(arguments: &InspectArguments) -> Result<ExitCode> {
    if !matches!(arguments.r#type.as_str(), "image" | "all" | "") {
        let reason = format!("`{}` is not known", arguments.r#type.escape_debug());
        let hint = "write `image`: nothing else is shown yet; `rabbitc ps -a` lists containers";
        return Err(Error::invalid("--type", reason).with_hint(hint));
    }
    let template = match arguments.format.as_deref() {
        None | Some("" | "json") => None,
        Some(format) => Some(Template::parse(format)?),
    };
    let names = parse_names(&arguments.names)?;
    let images = open_to_read(arguments.root.as_deref())?;
    let (mut found, mut lines, mut errors) = (Vec::new(), String::new(), Vec::new());
    for name in &names {
        let shown = look(&images, name).and_then(|value| {
            if let Some(template) = &template {
                lines.push_str(&template.render(&value)?);
                lines.push('\n');
            }
            Ok(value)
        });
        match shown {
            Ok(value) => found.push(value),
            Err(error) => errors.push(error),
        }
    }
    match template {
        Some(_) => print(&lines)?,
        None => print(&format!("{}\n", Value::List(found).pretty_json()))?,
    }
    errors.iter().for_each(render::error);
    Ok(match errors.iter().find(|error| error.kind != ErrorKind::NotFound) {
        Some(error) => ExitCode::from(error.kind.exit_code() as u8),
        // As docker's.
        None => ExitCode::from(u8::from(!errors.is_empty())),
    })
}

fn look(images: &ImageStore, name: &ImageName) -> Result<Value> {
    images.inspect(name).map(value).map_err(|error| {
        let is_container =
            error.kind == ErrorKind::NotFound && images.containers().find(name.as_str()).is_ok();
        match is_container {
            true => error.with_hint(CONTAINERS),
            false => error,
        }
    })
}

/// Docker's fields in its order, then those that only podman has.
fn value(image: Inspected) -> Value {
    let labels = Value::of_kind(&Value::Map(Map::with_zero("")), image.config.get("Labels"));
    let user = image.config.get("User").and_then(|user| user.as_str()).unwrap_or_default().to_owned();
    let directories: Vec<String> =
        image.directories.iter().rev().map(|path| path.display().to_string()).collect();
    let layers = match directories.split_first() {
        None => Vec::new(),
        Some((upper, lower)) => {
            vec![Field::if_set("LowerDir", lower.join(":")), Field::new("UpperDir", upper.as_str())]
        }
    };
    let record = |fields: Vec<Field>| Value::Record(fields);
    record(vec![
        Field::new("Id", image.id),
        Field::new("RepoTags", image.tags),
        Field::new("RepoDigests", image.digests),
        Field::new("Parent", ""),
        Field::new("Comment", image.comment),
        Field::if_set("Created", image.created.unwrap_or_default()),
        Field::new("DockerVersion", image.docker_version),
        Field::new("Author", image.author),
        Field::new("Config", config(&image.config)),
        Field::new("Architecture", image.architecture),
        Field::if_set("Variant", image.variant),
        Field::new("Os", image.os),
        Field::new("Size", image.size),
        Field::new("VirtualSize", image.size),
        Field::new(
            "GraphDriver",
            record(vec![Field::new("Data", record(layers)), Field::new("Name", "overlay")]),
        ),
        Field::new("RootFS", record(vec![Field::new("Type", "layers"), Field::new("Layers", image.layers)])),
        Field::new("Metadata", record(vec![Field::new("LastTagTime", rfc3339(image.stored))])),
        Field::new(
            "Descriptor",
            record(vec![
                Field::new("mediaType", image.manifest_type.as_str()),
                Field::new("digest", image.digest.as_str()),
                Field::new("size", image.manifest_size),
            ]),
        ),
        Field::new("Digest", image.digest),
        Field::new("ManifestType", image.manifest_type),
        Field::new("User", user),
        Field::new("Labels", labels),
        Field::new("Annotations", image.annotations),
        Field::new("History", image.history),
    ])
}

/// Fields of an image's configuration, and what they are of.
fn config(written: &serde_json::Map<String, serde_json::Value>) -> Value {
    let (text, list, no) = (Value::Text(String::new()), Value::List(Vec::new()), Value::Bool(false));
    let texts = Value::Map(Map::with_zero(""));
    // Go has them as maps of structures without fields.
    let names = Value::Map(Map::with_zero(Vec::<Field>::new()));
    let known: [(&'static str, &Value); 25] = [
        ("Hostname", &text),
        ("Domainname", &text),
        ("User", &text),
        ("AttachStdin", &no),
        ("AttachStdout", &no),
        ("AttachStderr", &no),
        ("ExposedPorts", &names),
        ("Tty", &no),
        ("OpenStdin", &no),
        ("StdinOnce", &no),
        ("Env", &list),
        ("Cmd", &list),
        ("Healthcheck", &Value::Null),
        ("ArgsEscaped", &no),
        ("Image", &text),
        ("Volumes", &names),
        ("WorkingDir", &text),
        ("Entrypoint", &list),
        ("NetworkDisabled", &no),
        ("MacAddress", &text),
        ("OnBuild", &list),
        ("Labels", &texts),
        ("StopSignal", &text),
        ("StopTimeout", &Value::Null),
        ("Shell", &list),
    ];
    let field =
        |(name, kind): (&'static str, &Value)| Field::if_set(name, Value::of_kind(kind, written.get(name)));
    known.into_iter().map(field).collect::<Vec<_>>().into()
}
