//! `rabbitc events`: what becomes of containers, images, pods and volumes.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser};
use engine::{Error, Event, EventFilter, EventLog, EventQuery, Follow, Moment, Result, parse_moment};

use crate::images::failed;
use crate::manner::is_podmans;
use crate::template::{Field, Map, Template, Value};

/// Shows what becomes of containers, images, pods and volumes, as it happens; with `--since` what has become of them, too.
#[derive(Debug, Parser)]
#[command(name = "rabbitc events", max_term_width = 100)]
pub(crate) struct EventsArguments {
    /// From then on: a moment such as `2026-11-27T10:00:00Z`, or so long ago: `10m`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Up to then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Only those of which this holds: `type=container`, `event=start`, `container=NAME`, `image=NAME`, `pod=NAME`,
    /// `volume=NAME`, `label=NAME[=VALUE]`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `json`: a line for each, or a line such as `{{.Type}} {{.Action}} {{.Actor.ID}}`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Wait for what is to come; with `false`, show what there is
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_possible_values = true)]
    stream: bool,
    /// Whole ids; with `false`, their beginnings
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", hide_possible_values = true)]
    no_trunc: bool,
    /// Directory that containers, images and volumes are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Taken for podman's sake
    #[arg(long, hide = true, value_name = "DIR")]
    runroot: Option<PathBuf>,
}

/// How an event is written.
enum Form {
    Line,
    Json,
    Template(Template),
}

pub(crate) fn events(arguments: &EventsArguments) -> ExitCode {
    show(arguments).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn show(arguments: &EventsArguments) -> Result<()> {
    let moment = |flag: &str, text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(|text| parse_moment(flag, text)).transpose().map_err(|error| match is_podmans() {
            true => Error { operation: "failed to parse event filters".to_owned(), ..error },
            false => error,
        })
    };
    let query = EventQuery {
        since: moment("--since", &arguments.since)?,
        until: moment("--until", &arguments.until)?,
        follow: if arguments.stream { Follow::Wait } else { Follow::Leave },
        filters: arguments.filter.iter().map(|text| text.parse()).collect::<Result<Vec<EventFilter>>>()?,
    };
    let form = match arguments.format.as_deref().map(str::trim) {
        None | Some("") => Form::Line,
        Some("json" | "{{json .}}" | "{{ json . }}") => Form::Json,
        Some(text) => Form::Template(Template::parse(text)?),
    };
    let mut output = std::io::stdout().lock();
    let mut failure = None;
    let mut take = |event: &Event| {
        let written = written(&form, event, arguments.no_trunc).and_then(|text| {
            // Whoever reads them waits for each.
            let written = output.write_all(format!("{text}\n").as_bytes()).and_then(|()| output.flush());
            match written {
                // A reader that has seen enough is no failure.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
                written => written
                    .map(|()| ControlFlow::Continue(()))
                    .map_err(|error| Error::system("write to standard output", error)),
            }
        });
        written.unwrap_or_else(|error| {
            failure = Some(error);
            ControlFlow::Break(())
        })
    };
    EventLog::of(arguments.root.as_deref())?.read(&query, &mut take)?;
    failure.map_or(Ok(()), Err)
}

fn written(form: &Form, event: &Event, whole: bool) -> Result<String> {
    Ok(match form {
        Form::Json => event.to_json(),
        Form::Line => line(event, if whole { &event.id } else { short(event) }),
        Form::Template(template) => template.render(&value(event))?,
    })
}

/// As docker writes it, in UTC.
fn line(event: &Event, id: &str) -> String {
    let mut text = format!("{} {} {} {id}", Moment(event.time), event.kind, action(event));
    // Podman's begin with what says of whom they are.
    let is_first = |name: &str| is_podmans() && matches!(name, "image" | "name");
    let named = event.attributes.iter().filter(|(name, _)| is_first(name));
    let others = event.attributes.iter().filter(|(name, _)| !is_first(name));
    let attributes: Vec<String> =
        named.chain(others).map(|(name, value)| format!("{name}={value}")).collect();
    if !attributes.is_empty() {
        text.push_str(&format!(" ({})", attributes.join(", ")));
    }
    sys::plain(&text)
}

/// What has happened, in the words of the manner that holds.
fn action(event: &Event) -> &str {
    match (event.kind.as_str(), event.action.as_str()) {
        (_, action) if !is_podmans() => action,
        ("container", "die") => "died",
        ("container" | "volume", "destroy") | ("image", "delete") => "remove",
        ("image", "load") => "loadfromarchive",
        (_, action) => action.split(':').next().unwrap_or(action),
    }
}

/// The beginning of an id, as podman has it; names stay whole.
fn short(event: &Event) -> &str {
    let digits = event.id.strip_prefix("sha256:").unwrap_or(&event.id);
    let is_id = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { &digits[..12] } else { &event.id }
}

/// Docker's fields; and podman's, by which its templates call the same.
fn value(event: &Event) -> Value {
    let attribute = |name: &str| event.attributes.get(name).cloned().unwrap_or_default();
    let attributes = || -> Value {
        let object = serde_json::Map::from_iter(
            event.attributes.iter().map(|(name, value)| (name.clone(), value.clone().into())),
        );
        Value::of_kind(&Value::Map(Map::with_zero("")), Some(&serde_json::Value::Object(object)))
    };
    let health = event.action.strip_prefix("health_status: ").unwrap_or_default();
    let actor: Value =
        vec![Field::new("ID", event.id.clone()), Field::new("Attributes", attributes())].into();
    let seconds = event.time.div_euclid(1_000_000_000);
    vec![
        Field::if_set("status", if is_podmans() { action(event) } else { event.status() }),
        Field::if_set("id", event.older_id()),
        Field::if_set("from", event.from()),
        Field::new("Type", event.kind.clone()),
        Field::new("Action", event.action.clone()),
        Field::new("Actor", actor),
        Field::new("scope", "local"),
        Field::new("time", seconds),
        Field::new("timeNano", event.time),
        Field::alias(
            "Status",
            if event.status().is_empty() || is_podmans() { action(event) } else { event.status() },
        ),
        Field::alias("ID", event.id.clone()),
        Field::alias("From", event.from()),
        Field::alias("Scope", "local"),
        Field::alias("Time", seconds),
        Field::alias("TimeNano", event.time),
        Field::alias("Name", attribute("name")),
        Field::alias("Image", event.from()),
        Field::alias("Attributes", attributes()),
        Field::alias("ContainerExitCode", attribute("exitCode")),
        Field::alias("HealthStatus", health),
        Field::alias("PodID", attribute("podId")),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn event() -> Event {
        let attributes = [("name", "web"), ("image", "app:1"), ("note", "a\u{1b}[2Jb")];
        Event {
            kind: "container".to_owned(),
            action: "start".to_owned(),
            id: "0123456789abcdef".repeat(4),
            attributes: BTreeMap::from_iter(
                attributes.map(|(name, value)| (name.to_owned(), value.to_owned())),
            ),
            time: 1_700_000_000_000_000_007,
        }
    }

    #[test]
    fn line_is_dockers_and_steers_no_terminal() {
        let shown = line(&event(), short(&event()));
        let expected = r"2023-11-14T22:13:20.000000007Z container start 0123456789ab (image=app:1, name=web, note=a\u{1b}[2Jb)";
        assert_eq!(shown, expected);
    }

    #[test]
    fn templates_know_the_fields_of_docker_and_of_podman() {
        let render = |text: &str| {
            written(&Form::Template(Template::parse(text).expect(text)), &event(), true).expect(text)
        };
        assert_eq!(
            render("{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Time}}"),
            "container start web 1700000000"
        );
        assert_eq!(render("{{.Status}} {{.Name}} {{.Image}} {{.From}}"), "start web app:1 app:1");
        assert_eq!(render("{{index .Actor.Attributes \"none\"}}|"), "|");
        assert_eq!(render("{{json .}} "), format!("{} ", event().to_json()));
    }
}
