//! What may stand before `=` in `--filter`, by the verb. Must not read a condition: the engine does, and a test asks it.

const CONTAINERS: &[&str] = &[
    "id=",
    "name=",
    "status=",
    "exited=",
    "ancestor=",
    "before=",
    "since=",
    "label=",
    "volume=",
    "network=",
    "pod=",
    "health=",
    "restart-policy=",
];
const IMAGES: &[&str] =
    &["dangling=", "reference=", "label=", "label!=", "before=", "since=", "until=", "id=", "digest="];
const UNNEEDED: &[&str] = &["until=", "label=", "label!="];
const SEARCH: &[&str] = &["is-official=", "stars="];
const VOLUMES: &[&str] = &[
    "name=",
    "label=",
    "label!=",
    "dangling=",
    "driver=",
    "scope=",
    "until=",
    "since=",
    "opt=",
    "anonymous=",
];
const UNNEEDED_VOLUMES: &[&str] = &["label=", "label!=", "until=", "all="];
const PODS: &[&str] = &[
    "id=",
    "name=",
    "label=",
    "label!=",
    "status=",
    "ctr-ids=",
    "ctr-names=",
    "ctr-number=",
    "ctr-status=",
    "network=",
    "until=",
];
const SECRETS: &[&str] = &["name=", "id=", "label="];
const EVENTS: &[&str] = &["type=", "event=", "container=", "image=", "pod=", "volume=", "label=", "scope="];

/// The keys of a verb's filter.
pub(super) fn keys(verb: &str) -> &'static [&'static str] {
    match verb {
        "events" => EVENTS,
        "images" => IMAGES,
        "image prune" | "system prune" | "container prune" => UNNEEDED,
        "search" => SEARCH,
        "volume ls" => VOLUMES,
        "volume prune" => UNNEEDED_VOLUMES,
        "pod ps" => PODS,
        "secret ls" => SECRETS,
        _ => CONTAINERS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that a condition of this key takes.
    fn condition(key: &str) -> String {
        let value = match key {
            "status=" | "ctr-status=" => "running",
            "exited=" | "ctr-number=" | "stars=" => "1",
            "dangling=" | "anonymous=" | "all=" | "is-official=" => "true",
            "driver=" | "scope=" => "local",
            "until=" => "24h",
            "health=" => "healthy",
            "restart-policy=" => "always",
            _ => "x",
        };
        format!("{key}{value}")
    }

    #[test]
    fn keys_that_are_offered_are_read() {
        let read = |keys: &[&str], read: &dyn Fn(&str) -> engine::Result<()>| {
            for key in keys {
                read(&condition(key)).unwrap_or_else(|error| panic!("{key}: {error}"));
            }
        };
        read(CONTAINERS, &|text| text.parse::<engine::ContainerFilter>().map(drop));
        read(IMAGES, &|text| text.parse::<engine::ImageFilter>().map(drop));
        read(UNNEEDED, &|text| text.parse::<engine::ImageFilter>().map(drop));
        read(VOLUMES, &|text| text.parse::<engine::VolumeFilter>().map(drop));
        read(UNNEEDED_VOLUMES, &|text| text.parse::<engine::VolumeFilter>().map(drop));
        read(PODS, &|text| text.parse::<engine::PodFilter>().map(drop));
        read(SECRETS, &|text| text.parse::<engine::SecretFilter>().map(drop));
        read(EVENTS, &|text| text.parse::<engine::EventFilter>().map(drop));
    }
}
