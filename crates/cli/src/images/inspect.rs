//! `rabbitc inspect`, by itself and behind `image`: all that is known of containers and images, as docker and podman write it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use engine::{Error, ErrorKind, ImageName, Inspected, Kept, KeptContainers, Result, rfc3339};

use super::failed;
use super::registries::open_to_read;
use crate::inspect::Form;
use crate::life;
use crate::manner::{is_podmans, shown_id};
use crate::template::{Field, Map, Value};

/// What of a container is of known fields, so that one that there is not is no empty one.
const RECORDS: &[&str] = &[
    "State",
    "Config",
    "HostConfig",
    "HostConfig.LogConfig",
    "HostConfig.RestartPolicy",
    "NetworkSettings",
    "GraphDriver",
];

/// Shows all that is known of containers and images.
#[derive(Debug, Parser)]
#[command(name = "rabbitc inspect", max_term_width = 100)]
pub(crate) struct InspectArguments {
    /// Their names or ids; of a container and an image of one name, the container
    #[arg(required_unless_present = "latest", value_name = "CONTAINER|IMAGE")]
    names: Vec<String>,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// `json`, or a line for each image such as `{{.Id}} {{json .Config.Env}}` [default: one JSON document]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Of which kind they are: container or image [default: either]
    #[arg(long, value_name = "KIND", default_value = "all", hide_default_value = true)]
    r#type: String,
    /// How much room a container takes, too, as SizeRw and SizeRootFs; of images that is always there
    #[arg(short, long)]
    size: bool,
    /// Directory that containers and images are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Directory of containers that run, as `run --runroot` had it [default: /run/rabbitc]
    #[arg(long, alias = "state-dir", value_name = "DIR")]
    runroot: Option<PathBuf>,
}

/// Of which kind something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Either,
    Container,
    Image,
}

/// Each image is shown, whatever became of the others.
pub(super) fn inspect(arguments: &InspectArguments) -> ExitCode {
    match show(arguments) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn show(arguments: &InspectArguments) -> Result<ExitCode> {
    let kind = match arguments.r#type.as_str() {
        "container" => Kind::Container,
        "image" => Kind::Image,
        "all" | "" => Kind::Either,
        other => {
            let reason = format!("`{}` is not known", other.escape_debug());
            let hint = "write `container`, `image` or `all`";
            return Err(Error::invalid("--type", reason).with_hint(hint));
        }
    };
    let form = Form::parse(arguments.format.as_deref())?;
    let root = arguments.root.as_deref();
    let paths = life::paths(arguments.runroot.as_deref())?;
    let containers = match arguments.size && kind != Kind::Image {
        true => KeptContainers::open(root)?,
        false => KeptContainers::of(root)?,
    };
    let mut names = arguments.names.clone();
    if arguments.latest {
        names.push(life::latest(&containers, &paths)?.0);
    }
    form.show(&names, |name| {
        let container = match kind {
            Kind::Image => None,
            Kind::Either | Kind::Container => Some(containers.find_living(name, &paths)),
        };
        match container {
            Some(Ok(kept)) => {
                let all = match arguments.size {
                    true => containers.inspect_sized(&kept, &paths),
                    false => containers.inspect(&kept, &paths),
                };
                all.map(|all| of_container(all, &kept))
            }
            Some(Err(error)) if kind == Kind::Container || error.kind != ErrorKind::NotFound => {
                match is_podmans() {
                    true if error.kind == ErrorKind::NotFound => {
                        Err(podmans_missing(error, "container ", name))
                    }
                    _ => Err(error),
                }
            }
            _ => image(name, root, kind),
        }
    })
}

/// Its fields, and podman's other name of one.
fn of_container(all: serde_json::Value, kept: &Kept) -> Value {
    let health = all["State"]["Health"].clone();
    let mut value = Value::record(all, RECORDS);
    if let Some(Value::Text(ipc)) =
        value.field_mut("HostConfig").and_then(|config| config.field_mut("IpcMode"))
        && is_podmans()
        && ipc == "private"
        && !kept.flags().iter().flatten().any(|flag| flag.starts_with("--ipc="))
    {
        // One that was not told otherwise may be joined.
        *ipc = "shareable".to_owned();
    }
    if let Some(state) = value.field_mut("State")
        && is_podmans()
        && state.field_mut("StoppedByUser") == Some(&mut Value::Bool(true))
        && let Some(Value::Text(status)) = state.field_mut("Status")
        && status == "running"
    {
        // It was asked to end, and has not yet.
        *status = "stopping".to_owned();
    }
    if let Some(Value::Text(image)) = value.field_mut("Image") {
        *image = shown_id(std::mem::take(image));
    }
    if let Some(Value::List(limits)) =
        value.field_mut("HostConfig").and_then(|config| config.field_mut("Ulimits"))
        && is_podmans()
    {
        *limits = limits.iter().map(podmans_limit).collect();
    }
    if let Some(Value::Record(state)) = value.field_mut("State")
        && !health.is_null()
    {
        state.push(Field::alias("Healthcheck", Value::record(health, &[])));
    }
    value
}

/// A limit of a process as podman shows it, by the kernel's name.
fn podmans_limit(limit: &Value) -> Value {
    let Value::Map(map) = limit else { return limit.clone() };
    let part = |name: &'static str| map.get(name).cloned().unwrap_or(Value::Null);
    let name = match part("Name") {
        Value::Text(name) => Value::Text(format!("RLIMIT_{}", name.to_uppercase())),
        other => other,
    };
    Value::Record(vec![
        Field::new("Name", name),
        Field::new("Soft", part("Soft")),
        Field::new("Hard", part("Hard")),
    ])
}

/// The same failure in podman's sentence.
fn podmans_missing(error: Error, what: &str, name: &str) -> Error {
    Error { operation: String::new(), reason: format!("no such {what}\"{name}\""), ..error }
}

fn image(name: &str, root: Option<&Path>, kind: Kind) -> Result<Value> {
    let found = name.parse::<ImageName>().and_then(|name| open_to_read(root)?.inspect(&name));
    found.map(value).map_err(|error| match kind {
        Kind::Either if error.kind == ErrorKind::NotFound && is_podmans() => {
            podmans_missing(error, "object: ", name)
        }
        Kind::Either if error.kind == ErrorKind::NotFound => {
            let operation = format!("inspect `{}`", name.escape_debug());
            Error::new(
                ErrorKind::NotFound,
                operation,
                "there is no container and no image of this name or id",
            )
            .with_hint("`rabbitc ps -a` lists containers, `rabbitc images` lists images")
        }
        _ => error,
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
        Field::new("Id", shown_id(image.id)),
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
