//! Which events are shown: `--filter`.

use std::str::FromStr;

use super::Event;
use crate::error::{Error, Result};
use crate::filter::{has, pair};

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventFilter {
    /// To what it happened.
    Kind(String),
    /// What happened.
    Action(String),
    /// The beginning of a container's id or name.
    Container(String),
    /// An image's name, with its tag or without, or its id; also that of a container.
    Image(String),
    /// The beginning of a volume's name.
    Volume(String),
    /// The beginning of a pod's id or name.
    Pod(String),
    /// A label, or anything else that is said of it, and its value where that counts.
    Label(String, Option<String>),
    /// `local`: there is no other.
    Scope(String),
}

const HINT: &str = "there are type=container|image|pod|secret|volume, event=start and its like, container=NAME, image=NAME, pod=NAME, \
                    volume=NAME, label=NAME[=VALUE] and scope=local";

/// Actions that have a colon and something behind it: they are meant whatever that is.
const WITH_DETAILS: [&str; 3] = ["exec_create", "exec_start", "health_status"];

impl FromStr for EventFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<EventFilter> {
        let refuse = |reason: String| Err(Error::invalid("--filter", reason).with_hint(HINT));
        let Some((key, value)) = text.split_once('=') else {
            return refuse(format!("`{}` has no `=`", text.escape_debug()));
        };
        let value = value.to_owned();
        Ok(match key {
            "type" => EventFilter::Kind(value),
            "event" | "status" => EventFilter::Action(value),
            "container" => EventFilter::Container(value),
            "image" => EventFilter::Image(value),
            "volume" => EventFilter::Volume(value),
            "pod" => EventFilter::Pod(value),
            "label" => {
                let (name, value) = pair(&value);
                EventFilter::Label(name, value)
            }
            "scope" => EventFilter::Scope(value),
            _ => return refuse(format!("`{}` is not known", key.escape_debug())),
        })
    }
}

impl EventFilter {
    /// Whether all are met: of several of one kind one must be, but for labels, of which each must.
    pub(super) fn all_hold(filters: &[EventFilter], event: &Event) -> bool {
        filters.iter().all(|filter| match filter {
            EventFilter::Label(..) => filter.holds(event),
            _ => {
                let kind = std::mem::discriminant(filter);
                let mut alike = filters.iter().filter(|other| std::mem::discriminant(*other) == kind);
                alike.any(|other| other.holds(event))
            }
        })
    }

    fn holds(&self, event: &Event) -> bool {
        let name = || event.attributes.get("name").map_or("", String::as_str);
        let is_of = |kind: &str, wanted: &String| {
            event.kind == kind && (event.id.starts_with(wanted) || name().starts_with(wanted))
        };
        match self {
            EventFilter::Kind(kind) => event.kind == *kind,
            EventFilter::Action(action) => is_meant(event, action),
            EventFilter::Container(wanted) => {
                is_of("container", wanted.strip_prefix('/').map(str::to_owned).as_ref().unwrap_or(wanted))
            }
            EventFilter::Image(wanted) => {
                let image = match event.kind.as_str() {
                    "image" => name(),
                    _ => event.from(),
                };
                [event.id.as_str(), image]
                    .into_iter()
                    .any(|one| !one.is_empty() && (one == wanted || without_tag(one) == wanted))
            }
            EventFilter::Volume(wanted) => is_of("volume", wanted),
            EventFilter::Pod(wanted) => is_of("pod", wanted),
            EventFilter::Label(name, value) => has(&event.attributes, name, value.as_ref()),
            EventFilter::Scope(scope) => scope == "local",
        }
    }
}

/// Whether an action is meant by a word: docker's own, or podman's other one for the same.
fn is_meant(event: &Event, word: &str) -> bool {
    let word = match word {
        "died" | "exited" => "die",
        "exec" => "exec_start",
        "exec_died" => "exec_die",
        "remove" => match event.kind.as_str() {
            "image" => "delete",
            // Docker has none.
            "pod" => "remove",
            _ => "destroy",
        },
        // Docker's page calls them so.
        "copy" => return matches!(event.action.as_str(), "archive-path" | "extract-to-dir"),
        word => word,
    };
    let action = event.action.split(':').next().unwrap_or_default();
    event.action == word || (WITH_DETAILS.contains(&word) && action == word)
}

/// A name without its tag.
fn without_tag(name: &str) -> &str {
    let end = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[end..].find([':', '@']) {
        Some(at) => &name[..end + at],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_dockers() {
        let event = Event::now("container", "exec_create: ls -l", "0123abc");
        let event = event.with("name", "web").with("image", "reg:5000/app:1").with("tier", "front");
        let holds = |texts: &[&str]| {
            let filters: Vec<EventFilter> = texts.iter().map(|text| text.parse().expect(text)).collect();
            EventFilter::all_hold(&filters, &event)
        };
        for met in [
            &[][..],
            &["type=container"],
            &["type=image", "type=container"],
            &["event=exec_create"],
            &["event=exec_create: ls -l"],
            &["container=012"],
            &["container=web", "container=other"],
            &["container=/web"],
            &["image=reg:5000/app"],
            &["image=reg:5000/app:1", "event=exec_create"],
            &["label=tier", "label=tier=front"],
            &["scope=local"],
        ] {
            assert!(holds(met), "{met:?}");
        }
        for unmet in [
            &["type=image"][..],
            &["event=exec"],
            &["event=start", "container=web"],
            &["container=x"],
            &["image=app"],
            &["label=tier", "label=tier=back"],
            &["volume=web"],
            &["scope=swarm"],
        ] {
            assert!(!holds(unmet), "{unmet:?}");
        }
        assert!("colour=red".parse::<EventFilter>().is_err() && "type".parse::<EventFilter>().is_err());
    }

    #[test]
    fn words_of_podman_mean_the_same() {
        let meant = |kind: &str, action: &str, word: &str| is_meant(&Event::now(kind, action, "x"), word);
        assert!(meant("container", "die", "died") && meant("container", "destroy", "remove"));
        assert!(meant("image", "delete", "remove") && meant("volume", "destroy", "remove"));
        assert!(meant("pod", "remove", "remove") && !meant("pod", "remove", "destroy"));
        assert!(meant("container", "health_status: healthy", "health_status"));
        assert!(!meant("container", "health_status: healthy", "health_status: unhealthy"));
    }
}
