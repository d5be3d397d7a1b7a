//! `rabbitc images`: what images are here.

use std::time::SystemTime;

use engine::{Error, ImageFilter, ImageFilters, ImageStore, Listed, Result, rfc3339};

use super::arguments::Order;
use super::table::{short, since, size};
use super::{ListArguments, print};
use crate::manner::is_podmans;
use crate::template::{Field, Heading, Listing, Map, Value};

const COLUMNS: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const COLUMNS_WITH_DIGESTS: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TITLES: [(&str, &str); 12] = [
    ("Containers", "CONTAINERS"),
    ("Created", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "VIRTUAL SIZE"),
];
/// What docker shows where a name has no such part.
const NONE: &str = "<none>";

pub(super) fn list(arguments: &ListArguments) -> Result<()> {
    let mut filters: Vec<ImageFilter> =
        arguments.filter.iter().map(|filter| parse_filter(filter)).collect::<Result<_>>()?;
    filters.extend(arguments.name.clone().map(ImageFilter::Reference));
    let store = ImageStore::open_to_read(arguments.root.as_deref())?;
    let mut listed = store.list(&ImageFilters(filters))?;
    // They are in a file for each image, which nothing else of a listing is.
    let is_podmans_json = is_podmans() && arguments.format.as_deref().map(str::trim) == Some("json");
    if is_podmans_json || arguments.format.as_deref().is_some_and(|format| format.contains(".Labels")) {
        store.look_up_labels(&mut listed)?;
    }
    match arguments.sort {
        None | Some(Order::Created) => {}
        Some(Order::Id) => listed.sort_by(|one, other| one.id.cmp(&other.id)),
        Some(Order::Repository) => listed.sort_by(|one, other| one.repository.cmp(&other.repository)),
        Some(Order::Size) => listed.sort_by_key(|one| one.size),
        Some(Order::Tag) => listed.sort_by(|one, other| one.tag.cmp(&other.tag)),
    }
    if is_podmans_json {
        return print(&format!("{}\n", Value::List(podmans(&listed)).pretty_json()));
    }
    print(&render(&listed, arguments)?)
}

fn parse_filter(text: &str) -> Result<ImageFilter> {
    text.parse().map_err(|error: Error| match is_podmans() && !text.contains('=') {
        true => {
            let reason = format!(
                "invalid image filter \"{}\": must be in the format \"filter=value or filter!=value\"",
                text.escape_debug()
            );
            Error { operation: String::new(), reason, ..error }
        }
        false => error,
    })
}

/// Podman's document: one for each image, with all of its names.
fn podmans(listed: &[Listed]) -> Vec<Value> {
    let mut images: Vec<(&Listed, Vec<String>)> = Vec::new();
    for one in listed {
        let name = match (&one.repository, &one.tag) {
            (Some(repository), Some(tag)) => Some(format!("{repository}:{tag}")),
            _ => None,
        };
        match images.iter_mut().find(|(image, _)| image.id == one.id) {
            Some((_, names)) => names.extend(name),
            None => images.push((one, name.into_iter().collect())),
        }
    }
    let entry = |(image, names): (&Listed, Vec<String>)| {
        let created = image.created.unwrap_or_default();
        let size = i64::try_from(image.size).unwrap_or(i64::MAX);
        Value::Record(vec![
            Field::new("Id", image.id.trim_start_matches("sha256:")),
            Field::new("Size", size),
            Field::new("VirtualSize", size),
            Field::new("Labels", labels(image)),
            Field::new("Names", names),
            Field::new("Digest", image.digest.clone().unwrap_or_default()),
            Field::new("Created", i64::try_from(created).unwrap_or(i64::MAX)),
            Field::new("CreatedAt", rfc3339(created)),
        ])
    };
    images.into_iter().map(entry).collect()
}

/// The listing as it was asked for.
fn render(listed: &[Listed], arguments: &ListArguments) -> Result<String> {
    if arguments.quiet {
        let mut seen = std::collections::BTreeSet::new();
        let ids = listed.iter().map(|image| &image.id).filter(|id| seen.insert(*id));
        return Ok(ids
            .map(|id| format!("{}\n", if arguments.no_trunc { id.clone() } else { short(id) }))
            .collect());
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let rows: Vec<Value> = listed.iter().map(|image| row(image, arguments.no_trunc, now)).collect();
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: if arguments.digests { COLUMNS_WITH_DIGESTS } else { COLUMNS },
        titles: &TITLES,
        heading: if arguments.noheading { Heading::LeftOut } else { Heading::Shown },
    };
    listing.render(&rows)
}

/// Docker's fields, in its order.
fn row(image: &Listed, whole: bool, now: u64) -> Value {
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| NONE.to_owned());
    let known = |shown: fn(u64, u64) -> String| {
        image.created.map_or_else(|| "N/A".to_owned(), |moment| shown(moment, now))
    };
    vec![
        Field::new("Containers", "N/A"),
        Field::alias("Created", known(|moment, now| since(now.saturating_sub(moment)))),
        Field::new("CreatedAt", known(|moment, _| at(moment))),
        Field::new("CreatedSince", known(|moment, now| since(now.saturating_sub(moment)))),
        Field::new("Digest", or_none(&image.digest)),
        Field::new("ID", if whole { image.id.clone() } else { short(&image.id) }),
        Field::alias("Labels", labels(image)),
        Field::new("Repository", or_none(&image.repository)),
        Field::new("SharedSize", "N/A"),
        Field::new("Size", size(image.size)),
        Field::new("Tag", or_none(&image.tag)),
        Field::new("UniqueSize", "N/A"),
        Field::new("VirtualSize", size(image.size)),
    ]
    .into()
}

/// Podman's field: a label by its name, and nothing where there is none.
fn labels(image: &Listed) -> Value {
    Value::of_kind(&Value::Map(Map::with_zero("")), Some(&serde_json::json!(image.labels)))
}

/// A moment as docker shows it, in UTC.
fn at(moment: u64) -> String {
    format!("{} +0000 UTC", rfc3339(moment).replace('T', " ").trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn listing_is_a_table_or_what_the_template_says() {
        let image = Listed {
            repository: Some("alpine".to_owned()),
            tag: Some("3".to_owned()),
            digest: None,
            id: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            created: None,
            size: 7_840_000,
            labels: [("tier".to_owned(), "front".to_owned())].into(),
        };
        let render = |image: &Listed, flags: &[&str]| {
            let arguments = ListArguments::parse_from([&["rabbitc images"], flags].concat());
            render(std::slice::from_ref(image), &arguments)
        };
        assert_eq!(
            render(&image, &[]).expect("legal"),
            "REPOSITORY   TAG   IMAGE ID       CREATED   SIZE\nalpine       3     0123456789ab   N/A       7.84MB\n"
        );
        let lines = render(&image, &["--format={{.Repository}}:{{ .Tag }}\\t{{.Size}}"]);
        assert_eq!(lines.expect("legal"), "alpine:3\t7.84MB\n");
        let lines = render(&image, &["--format={{.Labels.tier}}<{{.Labels.none}}>"]);
        // Go's words for a key that is not there.
        assert_eq!(lines.expect("legal"), "front<<no value>>\n");
        assert!(render(&image, &["--format={{.Nope}}"]).is_err());
        let dated = Listed { created: Some(951_782_400), ..image };
        let lines = render(&dated, &["--format=table {{.CreatedAt}}\\t{{.ID}}", "--no-trunc"]);
        let id = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let titles = "CREATED AT                      IMAGE ID";
        assert_eq!(lines.expect("legal"), format!("{titles}\n2000-02-29 00:00:00 +0000 UTC   {id}\n"));
    }
}
