//! `rabbitc search`.

use clap::Parser;
use engine::{Error, FoundRepository, Result, SearchRequest};

use super::print;
use super::registries::AccessArguments;
use crate::render;
use crate::template::{Field, Heading, Listing, Value};

const COLUMNS: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const TITLES: [(&str, &str); 8] = [
    ("Index", "INDEX"),
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("Stars", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("Official", "OFFICIAL"),
    ("Tag", "TAG"),
];

/// How much of a description is shown.
const LONGEST_DESCRIPTION: usize = 45;

/// Looks for repositories in registries.
#[derive(Debug, Parser)]
#[command(name = "rabbitc search", max_term_width = 100)]
pub(crate) struct SearchArguments {
    /// A part of a name, in all registries that names without one are looked for in; in one alone with that before it:
    /// `registry.example/part`, or `registry.example/` for all that it has
    #[arg(value_name = "TERM")]
    term: Option<String>,
    /// The most of each registry
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    limit: usize,
    /// Only those for which all of these hold: `is-official=BOOL`, `stars=NUMBER` and more
    #[arg(short, long, value_name = "CONDITION")]
    filter: Vec<String>,
    /// `json`, or a line for each such as `{{.Name}} {{.StarCount}}`; of Description, IsOfficial and Index too, with
    /// `--list-tags` of Name and Tag
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The tags of the repository TERM
    #[arg(long, conflicts_with = "filter")]
    list_tags: bool,
    /// Whole descriptions
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    access: AccessArguments,
}

/// What holds of a repository.
enum Condition {
    Official(bool),
    Stars(u64),
}

pub(super) fn search(arguments: &SearchArguments) -> Result<()> {
    let Some(term) = arguments.term.clone().filter(|term| !term.is_empty()) else {
        let error = Error::invalid("rabbitc search", "what to look for is to be named".to_owned());
        return Err(error.with_hint("`rabbitc search --help` shows how"));
    };
    let conditions: Vec<Condition> =
        arguments.filter.iter().map(|text| Condition::parse(text)).collect::<Result<_>>()?;
    let access = arguments.access.access()?;
    let request = SearchRequest { term, limit: arguments.limit, access };
    if arguments.list_tags {
        let (name, tags) = engine::list_tags(&request)?;
        let row = |tag: String| vec![Field::new("Name", name.as_str()), Field::new("Tag", tag)].into();
        let rows: Vec<Value> = tags.into_iter().map(row).collect();
        return print(&listing(arguments, "{{.Name}}\t{{.Tag}}").render(&rows)?);
    }
    let outcome = engine::search(&request)?;
    for error in &outcome.failed {
        render::warning(&error.to_string());
    }
    let found = outcome.found.iter().filter(|one| conditions.iter().all(|condition| condition.holds(one)));
    let rows: Vec<Value> = found.map(|one| row(one, arguments.no_trunc)).collect();
    print(&listing(arguments, COLUMNS).render(&rows)?)
}

fn listing<'a>(arguments: &'a SearchArguments, columns: &'a str) -> Listing<'a> {
    Listing { format: arguments.format.as_deref(), columns, titles: &TITLES, heading: Heading::Shown }
}

/// Docker's fields, and those that podman has under other names.
fn row(found: &FoundRepository, whole: bool) -> Value {
    let mut description = found.description.clone();
    if !whole && description.chars().count() > LONGEST_DESCRIPTION {
        description = description.chars().take(LONGEST_DESCRIPTION - 1).chain(['…']).collect();
    }
    let official = if found.is_official { "[OK]" } else { "" };
    let stars = found.stars.to_string();
    vec![
        Field::new("Index", found.registry.as_str()),
        Field::new("Name", found.name.as_str()),
        Field::new("Description", description),
        Field::new("StarCount", stars.as_str()),
        Field::new("Stars", stars.as_str()),
        Field::new("IsOfficial", official),
        Field::new("Official", official),
    ]
    .into()
}

impl Condition {
    fn parse(text: &str) -> Result<Condition> {
        let read = match text.split_once('=') {
            Some(("is-official", value)) => value.parse().ok().map(Condition::Official),
            Some(("stars", value)) => value.parse().ok().map(Condition::Stars),
            _ => None,
        };
        read.ok_or_else(|| {
            let error = Error::invalid("--filter", format!("`{}` is no condition", text.escape_debug()));
            error.with_hint("write `is-official=true` or `stars=10`")
        })
    }

    fn holds(&self, found: &FoundRepository) -> bool {
        match self {
            Condition::Official(wanted) => found.is_official == *wanted,
            Condition::Stars(least) => found.stars >= *least,
        }
    }
}
