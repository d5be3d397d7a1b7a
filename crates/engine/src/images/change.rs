//! What the containers of a new image are to be like: `--change`, in the words of a Dockerfile.

use std::str::FromStr;

use runtime::ErrorKind;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::health::{HealthCheck, parse_health_time};

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageChange {
    /// `CMD`
    Command(Vec<String>),
    /// `ENTRYPOINT`
    Entrypoint(Vec<String>),
    /// `ENV`
    Environment(Vec<(String, String)>),
    /// `EXPOSE`
    Expose(Vec<String>),
    /// `HEALTHCHECK`
    Health(Box<HealthCheck>),
    /// `LABEL`
    Labels(Vec<(String, String)>),
    /// `ONBUILD`
    OnBuild(String),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `USER`
    User(String),
    /// `VOLUME`
    Volumes(Vec<String>),
    /// `WORKDIR`
    Directory(String),
}

impl FromStr for ImageChange {
    type Err = Error;

    fn from_str(text: &str) -> Result<ImageChange> {
        let refuse = |reason: String| {
            let error = Error::invalid("--change", format!("`{}` {reason}", text.escape_debug()));
            error.with_hint(
                "write it as in a Dockerfile: `CMD [\"/bin/app\", \"-v\"]`, `ENV NAME=VALUE`, `EXPOSE 80/tcp`; there are CMD, \
                 ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR",
            )
        };
        let trimmed = text.trim();
        // Podman takes `CMD=/bin/sh`, too.
        let (word, rest) = trimmed
            .split_once(char::is_whitespace)
            .filter(|(word, _)| !word.contains('='))
            .or_else(|| trimmed.split_once('='))
            .ok_or_else(|| refuse("has nothing behind its first word".to_owned()))?;
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(refuse("has nothing behind its first word".to_owned()));
        }
        let words = || {
            let words = list(rest).or_else(|| shlex::split(rest));
            words.ok_or_else(|| refuse("has a quote that does not end".to_owned()))
        };
        let program =
            || list(rest).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.to_owned()]);
        let pairs = || -> Result<Vec<(String, String)>> {
            let words =
                shlex::split(rest).ok_or_else(|| refuse("has a quote that does not end".to_owned()))?;
            // `ENV NAME VALUE`, of which all is the value.
            if let Some((name, value)) = rest.split_once(char::is_whitespace)
                && !name.contains('=')
            {
                return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
            }
            let pair = |word: &String| {
                let (name, value) = word.split_once('=').filter(|(name, _)| !name.is_empty())?;
                Some((name.to_owned(), value.to_owned()))
            };
            words
                .iter()
                .map(pair)
                .collect::<Option<_>>()
                .ok_or_else(|| refuse("has a word without a `=`".to_owned()))
        };
        Ok(match word.to_ascii_uppercase().as_str() {
            "CMD" => ImageChange::Command(program()),
            "ENTRYPOINT" => ImageChange::Entrypoint(program()),
            "ENV" => ImageChange::Environment(pairs()?),
            "LABEL" => ImageChange::Labels(pairs()?),
            "EXPOSE" => {
                let ports = words()?.iter().map(|word| port(word)).collect::<Option<_>>();
                ImageChange::Expose(
                    ports.ok_or_else(|| refuse("names something else than ports".to_owned()))?,
                )
            }
            "HEALTHCHECK" => ImageChange::Health(Box::new(health(rest)?)),
            "ONBUILD" => ImageChange::OnBuild(rest.to_owned()),
            "STOPSIGNAL" => ImageChange::StopSignal(rest.to_owned()),
            "USER" => ImageChange::User(rest.to_owned()),
            "VOLUME" => ImageChange::Volumes(words()?),
            "WORKDIR" if rest.starts_with('/') => ImageChange::Directory(rest.to_owned()),
            "WORKDIR" => return Err(refuse("does not begin at the root, with `/`".to_owned())),
            _ => return Err(refuse("is no instruction that is known here".to_owned())),
        })
    }
}

/// A list as JSON writes it.
fn list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `[--interval=TIME …] CMD PROGRAM`, or `NONE`.
fn health(text: &str) -> Result<HealthCheck> {
    let mut check = HealthCheck::default();
    let mut rest = text;
    loop {
        let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let refuse = |reason: String| {
            let error = Error::invalid("--change", format!("`HEALTHCHECK {}` {reason}", text.escape_debug()));
            error.with_hint("write `HEALTHCHECK --interval=10s CMD /bin/check`, or `HEALTHCHECK NONE`")
        };
        if let Some((flag, value)) = word.strip_prefix("--").and_then(|flag| flag.split_once('=')) {
            let time = || parse_health_time("--change", value);
            match flag {
                "interval" => check.interval = time()?,
                "timeout" => check.timeout = time()?,
                "start-period" => check.start_period = time()?,
                "start-interval" => check.start_interval = time()?,
                "retries" => {
                    let count = value.parse();
                    check.retries = count.map_err(|_| refuse("has no number of retries".to_owned()))?;
                }
                _ => return Err(refuse(format!("has no flag `--{}`", flag.escape_debug()))),
            }
            rest = behind.trim_start();
            continue;
        }
        let behind = behind.trim();
        check.test = match (word.to_ascii_uppercase().as_str(), behind) {
            ("NONE", "") => vec!["NONE".to_owned()],
            ("CMD", command) if !command.is_empty() => match list(command) {
                Some(words) => [vec!["CMD".to_owned()], words].concat(),
                None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
            },
            _ => return Err(refuse("names no program".to_owned())),
        };
        return Ok(check);
    }
}

/// A port or a range of them, with its protocol.
fn port(text: &str) -> Option<String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let is_known = matches!(protocol, "tcp" | "udp" | "sctp");
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    (is_known && number(from)? <= number(to)?).then(|| format!("{ports}/{protocol}"))
}

impl ImageChange {
    /// Writes it into the configuration of an image, which may be anybody's: fields of another shape than the specification's are
    /// an error of `operation`.
    pub(crate) fn apply(&self, config: &mut Map<String, Value>, operation: &str) -> Result<()> {
        let mut set = |name: &str, value: Value| drop(config.insert(name.to_owned(), value));
        match self {
            ImageChange::Command(words) => set("Cmd", json!(words)),
            ImageChange::Entrypoint(words) => set("Entrypoint", json!(words)),
            ImageChange::Health(check) => set("Healthcheck", check.to_json()),
            ImageChange::StopSignal(signal) => set("StopSignal", json!(signal)),
            ImageChange::User(user) => set("User", json!(user)),
            ImageChange::Directory(path) => set("WorkingDir", json!(path)),
            ImageChange::Environment(pairs) => {
                let list = list_in(config, "Env", operation)?;
                for (name, value) in pairs {
                    let begin = format!("{name}=");
                    list.retain(|known| !known.as_str().unwrap_or_default().starts_with(&begin));
                    list.push(json!(format!("{begin}{value}")));
                }
            }
            ImageChange::OnBuild(text) => list_in(config, "OnBuild", operation)?.push(json!(text)),
            ImageChange::Labels(pairs) => {
                let map = map_in(config, "Labels", operation)?;
                map.extend(pairs.iter().map(|(name, value)| (name.clone(), json!(value))));
            }
            // Sets, as Go writes them.
            ImageChange::Expose(names) => {
                let set = map_in(config, "ExposedPorts", operation)?;
                set.extend(names.iter().map(|name| (name.clone(), json!({}))));
            }
            ImageChange::Volumes(names) => {
                let set = map_in(config, "Volumes", operation)?;
                set.extend(names.iter().map(|name| (name.clone(), json!({}))));
            }
        }
        Ok(())
    }
}

fn list_in<'a>(
    config: &'a mut Map<String, Value>,
    field: &str,
    operation: &str,
) -> Result<&'a mut Vec<Value>> {
    let found = config.entry(field).or_insert_with(|| json!([]));
    found.as_array_mut().ok_or_else(|| corrupt(field, "list", operation))
}

fn map_in<'a>(
    config: &'a mut Map<String, Value>,
    field: &str,
    operation: &str,
) -> Result<&'a mut Map<String, Value>> {
    let found = config.entry(field).or_insert_with(|| json!({}));
    found.as_object_mut().ok_or_else(|| corrupt(field, "map", operation))
}

fn corrupt(field: &str, shape: &str, operation: &str) -> Error {
    let reason = format!("the configuration of its image is damaged: `{field}` is no {shape}");
    Error::new(ErrorKind::System, operation, reason)
        .with_hint("leave out the `--change` that is about it, or have the image made anew")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_those_of_a_dockerfile() {
        let mut config = Map::new();
        for text in [
            "CMD [\"/bin/app\", \"-v\"]",
            "entrypoint exec /bin/x \"$@\"",
            "ENV A=b C=\"d e\"",
            "ENV A new value",
            "LABEL a.b/c=1",
            "EXPOSE 80 53/udp 100-102",
            "VOLUME [\"/data\"]",
            "USER 12:34",
            "WORKDIR /etc",
            "STOPSIGNAL SIGKILL",
            "ONBUILD RUN true",
            "HEALTHCHECK --interval=1m --retries=2 CMD test -e /x",
        ] {
            text.parse::<ImageChange>().expect(text).apply(&mut config, "change").expect(text);
        }
        assert_eq!(
            Value::Object(config),
            json!({"Cmd": ["/bin/app", "-v"], "Entrypoint": ["/bin/sh", "-c", "exec /bin/x \"$@\""],
                "Env": ["C=d e", "A=new value"], "Labels": {"a.b/c": "1"},
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "100-102/tcp": {}}, "Volumes": {"/data": {}},
                "User": "12:34", "WorkingDir": "/etc", "StopSignal": "SIGKILL", "OnBuild": ["RUN true"],
                "Healthcheck": {"Test": ["CMD-SHELL", "test -e /x"], "Interval": 60_000_000_000_u64, "Retries": 2}})
        );
        assert_eq!("CMD=/bin/sh".parse::<ImageChange>().ok(), "CMD /bin/sh".parse().ok());
        for wrong in [
            "",
            "CMD",
            "RUN true",
            "EXPOSE x",
            "EXPOSE 0",
            "EXPOSE 2-1",
            "WORKDIR etc",
            "HEALTHCHECK CMD",
            "HEALTHCHECK --often=1s CMD true",
            "ENV A=\"b",
            "ENV =b",
            "LABEL a=1 b",
        ] {
            let error = wrong.parse::<ImageChange>().expect_err(wrong);
            assert!(error.to_string().starts_with("--change: "), "{error}");
        }
    }

    #[test]
    fn fields_of_an_image_that_have_another_shape_are_an_error() {
        for (field, change) in [
            ("OnBuild", "ONBUILD RUN true"),
            ("Env", "ENV A=b"),
            ("Labels", "LABEL a=b"),
            ("ExposedPorts", "EXPOSE 80"),
            ("Volumes", "VOLUME /data"),
        ] {
            let Value::Object(mut config) = json!({field: "x"}) else { unreachable!("it is one") };
            let change: ImageChange = change.parse().expect("legal");
            let error = change.apply(&mut config, "commit the container `1`").expect_err(field);
            let text = error.to_string();
            assert!(text.starts_with("commit the container `1`: ") && text.contains(field), "{text}");
        }
    }
}
