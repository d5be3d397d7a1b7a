//! `rabbitc pod ps`: what pods there are.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use engine::{Error, ListedContainer, ListedPod, Notice, PodFilter, Result, rfc3339};
use serde_json::json;

use crate::images::print;
use crate::images::table::since;
use crate::life::PlaceArguments;
use crate::render;
use crate::template::{Field, Heading, Listing, Value};

const TITLES: [(&str, &str); 16] = [
    ("Id", "POD ID"),
    ("ID", "POD ID"),
    ("Name", "NAME"),
    ("Status", "STATUS"),
    ("Labels", "LABELS"),
    ("NumberOfContainers", "# OF CONTAINERS"),
    ("Created", "CREATED"),
    ("InfraID", "INFRA ID"),
    ("InfraId", "INFRA ID"),
    ("ContainerIds", "IDS"),
    ("ContainerNames", "NAMES"),
    ("ContainerStatuses", "STATUS"),
    ("Cgroup", "CGROUP"),
    ("Namespace", "NAMESPACES"),
    ("Networks", "NETWORKS"),
    ("Restarts", "RESTARTS"),
];

/// Lists pods.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Show the ids of their containers
    #[arg(long)]
    ctr_ids: bool,
    /// Show the names of their containers
    #[arg(long)]
    ctr_names: bool,
    /// Show how their containers are
    #[arg(long)]
    ctr_status: bool,
    /// Only those of which this holds: `id=ID`, `name=NAME`, `label=NAME[=VALUE]`, `status=running`, `ctr-ids=ID`, `ctr-names=NAME`,
    /// `ctr-number=NUMBER`, `ctr-status=STATUS`, `network=NAME`, `until=TIME`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `json`, or a line such as `{{.Id}} {{.Status}}`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The one that was made last
    #[arg(short, long)]
    latest: bool,
    /// Without titles of columns
    #[arg(short, long)]
    noheading: bool,
    /// Show their cgroups, and what they share
    #[arg(long)]
    ns: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
    /// By what they are sorted
    #[arg(long, value_name = "COLUMN", default_value = "created", hide_default_value = true)]
    sort: Order,
    #[command(flatten)]
    place: PlaceArguments,
}

/// By what a listing is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Created,
    Id,
    Name,
    Number,
    Status,
}

pub(super) fn list(arguments: &ListArguments) -> Result<ExitCode> {
    if arguments.quiet && arguments.format.is_some() {
        let error = Error::invalid("--quiet", "quiet and format cannot be used together".to_owned());
        return Err(error.with_hint("leave one of the two out"));
    }
    let filters: Vec<PodFilter> =
        arguments.filter.iter().map(|filter| filter.parse()).collect::<Result<_>>()?;
    let (mut listed, damaged) = arguments.place.pods()?.list(&arguments.place.paths()?, &filters)?;
    for error in damaged {
        render::notice(&Notice { what: error.to_string(), remedy: error.hint });
    }
    if arguments.latest {
        listed.truncate(1);
    }
    match arguments.sort {
        Order::Created => {}
        Order::Id => listed.sort_by(|one, other| one.pod.id.cmp(&other.pod.id)),
        Order::Name => listed.sort_by(|one, other| one.pod.name.cmp(&other.pod.name)),
        Order::Number => listed.sort_by_key(|one| one.members.len()),
        Order::Status => listed.sort_by_key(|one| one.state.name()),
    }
    if arguments.format.as_deref().map(str::trim) == Some("json") {
        let all: Vec<serde_json::Value> = listed.iter().map(document).collect();
        let text = serde_json::to_string_pretty(&all).expect("only string keys");
        return print(&format!("{text}\n")).map(|()| ExitCode::SUCCESS);
    }
    let id = |id: &str| shortened(id, arguments.no_trunc);
    if arguments.quiet {
        let lines: String = listed.iter().map(|one| format!("{}\n", id(&one.pod.id))).collect();
        return print(&lines).map(|()| ExitCode::SUCCESS);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let rows: Vec<Value> = listed.iter().map(|one| row(one, arguments, now)).collect();
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: &arguments.columns(),
        titles: &TITLES,
        heading: if arguments.noheading { Heading::LeftOut } else { Heading::Shown },
    };
    print(&listing.render(&rows)?).map(|()| ExitCode::SUCCESS)
}

impl ListArguments {
    fn columns(&self) -> String {
        let mut columns = vec!["{{.Id}}", "{{.Name}}", "{{.Status}}", "{{.Created}}", "{{.InfraID}}"];
        let more = [
            (self.ctr_ids, "{{.ContainerIds}}"),
            (self.ctr_names, "{{.ContainerNames}}"),
            (self.ctr_status, "{{.ContainerStatuses}}"),
            (self.ns, "{{.Cgroup}}"),
            (self.ns, "{{.Namespace}}"),
            (!self.ctr_ids && !self.ctr_names && !self.ctr_status, "{{.NumberOfContainers}}"),
        ];
        columns.extend(more.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, column)| column));
        columns.join("\t")
    }
}

fn shortened(id: &str, whole: bool) -> String {
    if whole { id } else { id.get(..12).unwrap_or(id) }.to_owned()
}

/// What its containers share, in one word.
fn namespaces(one: &ListedPod) -> String {
    one.shares().iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")
}

/// Podman's fields.
fn row(one: &ListedPod, arguments: &ListArguments, now: u64) -> Value {
    let id = |id: &str| shortened(id, arguments.no_trunc);
    let each =
        |of: &dyn Fn(&ListedContainer) -> String| one.members.iter().map(of).collect::<Vec<_>>().join(",");
    let restarts: u64 = one.members.iter().map(|member| u64::from(member.restarts)).sum();
    vec![
        Field::new("Cgroup", one.group()),
        Field::new("ContainerIds", each(&|member| id(&member.id))),
        Field::new("ContainerNames", each(&|member| member.name.clone())),
        Field::new("ContainerStatuses", each(&|member| member.status().to_owned())),
        Field::new("Created", since(now.saturating_sub(one.created()))),
        Field::new("Id", id(&one.pod.id)),
        Field::alias("ID", id(&one.pod.id)),
        Field::new("InfraID", id(one.infra_id())),
        Field::alias("InfraId", id(one.infra_id())),
        Field::if_set("Label", Value::method(one.labels().clone())),
        Field::new("Labels", one.labels().clone()),
        Field::new("Name", one.pod.name.clone()),
        Field::new("Namespace", namespaces(one)),
        Field::new("Networks", one.networks().join(",")),
        Field::new("NumberOfContainers", one.members.len() as u64),
        Field::new("Restarts", restarts.to_string()),
        Field::new("Status", one.state.name()),
    ]
    .into()
}

/// What podman writes for programs.
fn document(one: &ListedPod) -> serde_json::Value {
    let containers: Vec<serde_json::Value> = one
        .members
        .iter()
        .map(|member| {
            json!({
                "Id": member.id,
                "Names": member.name,
                "Status": member.status(),
                "RestartCount": member.restarts,
            })
        })
        .collect();
    json!({
        "Cgroup": one.group(),
        "Containers": containers,
        "Created": rfc3339(one.created()),
        "Id": one.pod.id,
        "InfraId": one.infra_id(),
        "Name": one.pod.name,
        "Namespace": namespaces(one),
        "Networks": one.networks(),
        "Status": one.state.name(),
        "Labels": one.labels(),
    })
}
