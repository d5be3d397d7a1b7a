//! `rabbitc ps`: containers that run, and those that are kept.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Parser, ValueEnum};
use engine::{
    ContainerFilter, HealthStatus, KeptContainers, KeptState, ListedContainer, MountKind, MountRequest,
    Notice, Result, rfc3339,
};

use super::short;
use crate::images::print;
use crate::images::table::{since, size};
use crate::manner::is_podmans;
use crate::template::{Field, Heading, Listing, Value};
use crate::{life, render};

const COLUMNS: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const NAMESPACE_COLUMNS: &str = "{{.ID}}\t{{.Names}}\t{{.Pid}}\t{{.CGROUPNS}}\t{{.IPC}}\t{{.MNT}}\t{{.NET}}\t{{.PIDNS}}\t{{.USERNS}}\t{{.UTS}}";

/// Podman's names of namespaces, and those of `/proc/PID/ns`.
const NAMESPACES: [(&str, &str); 7] = [
    ("CGROUPNS", "cgroup"),
    ("IPC", "ipc"),
    ("MNT", "mnt"),
    ("NET", "net"),
    ("PIDNS", "pid"),
    ("USERNS", "user"),
    ("UTS", "uts"),
];
const TITLES: [(&str, &str); 25] = [
    ("CGROUPNS", "CGROUPNS"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ExitCode", "EXIT CODE"),
    ("ID", "CONTAINER ID"),
    ("IPC", "IPC"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("MNT", "MNT"),
    ("Mounts", "MOUNTS"),
    ("NET", "NET"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("PIDNS", "PIDNS"),
    ("Pid", "PID"),
    ("Pod", "POD ID"),
    ("PodName", "PODNAME"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("USERNS", "USERNS"),
    ("UTS", "UTS"),
];

/// Lists containers that run, and those that are kept: of images, and with `--rm=false`.
#[derive(Debug, Parser)]
#[command(name = "rabbitc ps", max_term_width = 100)]
pub(crate) struct ListArguments {
    /// Those that have ended, too
    #[arg(short, long)]
    all: bool,
    /// Only those of which this holds: `id=ID`, `status=running`, `exited=CODE`, `ancestor=IMAGE`, `before=ID`, `since=ID`,
    /// `label=NAME[=VALUE]`, `health=healthy`, `pod=NAME`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `json`: a line for each, or a line such as `{{.ID}} {{.Status}}`; of Labels, State, Size, Pid and ExitCode too
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// So many of those that were made last, in whatever state
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true)]
    last: Option<i64>,
    /// The one that was made last, in whatever state
    #[arg(short, long)]
    latest: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Without titles of columns
    #[arg(long)]
    noheading: bool,
    /// The numbers of their namespaces
    #[arg(long, conflicts_with_all = ["size", "pod"])]
    ns: bool,
    /// The pod of each, by its id and name
    #[arg(short, long)]
    pod: bool,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
    /// How much room each takes, and with its image
    #[arg(short, long)]
    size: bool,
    /// By what they are sorted [default: created, the newest first]
    #[arg(long, value_name = "COLUMN")]
    sort: Option<Order>,
    /// Taken for podman's sake: there are no others
    #[arg(long, hide = true)]
    external: bool,
    /// Directory that containers are kept below [default: /var/lib/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Directory of those that run, as `run --runroot` had it [default: /run/rabbitc]
    #[arg(long, alias = "state-dir", value_name = "DIR")]
    runroot: Option<PathBuf>,
}

/// By what a listing is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Command,
    Created,
    Id,
    Image,
    Names,
    Runningfor,
    Status,
}

pub(super) fn list(arguments: &ListArguments) -> Result<()> {
    let filters: Vec<ContainerFilter> =
        arguments.filter.iter().map(|filter| filter.parse()).collect::<Result<_>>()?;
    let paths = life::paths(arguments.runroot.as_deref())?;
    // Before this process is another user's.
    let root = arguments.root.as_deref();
    let is_sized = arguments.size
        || arguments
            .format
            .as_deref()
            .is_some_and(|format| format.contains(".Size") || format.trim() == "json");
    let containers = match is_sized && !arguments.quiet {
        true => KeptContainers::open(root)?,
        false => KeptContainers::of(root)?,
    };
    let (mut listed, damaged) = containers.list_all(&paths, &filters)?;
    for container in damaged {
        render::notice(&Notice { what: container.error.to_string(), remedy: container.error.hint });
    }
    let last =
        if arguments.latest { Some(1) } else { arguments.last.and_then(|last| usize::try_from(last).ok()) };
    // As with docker: whoever asks for the last ones, or by how they are, means all.
    let all = arguments.all || last.is_some() || filters.iter().any(ContainerFilter::is_about_all);
    listed.retain(|one| all || one.state.is_up());
    listed.truncate(last.unwrap_or(listed.len()));
    match arguments.sort {
        None => {}
        // As podman has it, who alone has the flag: the oldest first.
        Some(Order::Created) => listed.reverse(),
        Some(Order::Command) => listed.sort_by(|one, other| one.command.cmp(&other.command)),
        Some(Order::Id) => listed.sort_by(|one, other| one.id.cmp(&other.id)),
        Some(Order::Names) => listed.sort_by(|one, other| one.name.cmp(&other.name)),
        Some(Order::Image) => listed.sort_by(|one, other| one.root.cmp(&other.root)),
        Some(Order::Runningfor) => listed.sort_by_key(|one| one.created),
        Some(Order::Status) => listed.sort_by_key(ListedContainer::status),
    }
    let id =
        |one: &ListedContainer| if arguments.no_trunc { one.id.clone() } else { short(&one.id).to_owned() };
    if arguments.quiet {
        return print(&listed.iter().map(|one| format!("{}\n", id(one))).collect::<String>());
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut rows = Vec::new();
    for one in &listed {
        let room = match is_sized {
            true => one.size()?.map_or_else(
                || "N/A".to_owned(),
                |room| format!("{} (virtual {})", size(room.own), size(room.all)),
            ),
            false => "0B".to_owned(),
        };
        rows.push(row(one, id(one), arguments.no_trunc, room, now));
    }
    let mut columns = if arguments.ns { NAMESPACE_COLUMNS } else { COLUMNS }.to_owned();
    if arguments.pod {
        columns.push_str("\t{{.Pod}}\t{{.PodName}}");
    }
    if arguments.size {
        columns.push_str("\t{{.Size}}");
    }
    let listing = Listing {
        format: arguments.format.as_deref(),
        columns: &columns,
        titles: &TITLES,
        heading: if arguments.noheading { Heading::LeftOut } else { Heading::Shown },
    };
    print(&listing.render(&rows)?)
}

/// Names of volumes and paths of the host, as docker shows them.
fn mounts(one: &ListedContainer, whole: bool) -> String {
    let shown = |mount: &MountRequest| {
        let name = match &mount.kind {
            MountKind::Bind(bind) => match &bind.volume {
                Some(volume) => volume.name.clone()?,
                None => bind.source.display().to_string(),
            },
            MountKind::Tmpfs(_) => return None,
        };
        Some(match !whole && name.chars().count() > 15 {
            true => name.chars().take(14).chain(['…']).collect(),
            false => name,
        })
    };
    one.mounts.iter().filter_map(shown).collect::<Vec<_>>().join(",")
}

/// The id of its pod, if it is of one.
fn pod(one: &ListedContainer, whole: bool) -> String {
    let id = one.pod.as_ref().map(|pod| pod.id.as_str()).unwrap_or_default();
    if whole { id } else { short(id) }.to_owned()
}

/// Docker's fields, in its order, and some of podman's.
fn row(one: &ListedContainer, id: String, whole: bool, room: String, now: u64) -> Value {
    let mut command = one.command.join(" ").escape_debug().to_string();
    if !whole && command.chars().count() > 20 {
        command = command.chars().take(19).chain(['…']).collect();
    }
    let ago = |then: u64| since(now.saturating_sub(then));
    let state = match one.state {
        KeptState::Running if one.is_paused && is_podmans() => "Paused".to_owned(),
        KeptState::Running => {
            let more = match (one.is_paused, one.health) {
                (true, _) => " (Paused)".to_owned(),
                (false, Some(HealthStatus::Starting)) => " (health: starting)".to_owned(),
                (false, Some(health)) => format!(" ({health})"),
                (false, None) => String::new(),
            };
            format!("Up {}{more}", ago(one.started.unwrap_or(one.created)).trim_end_matches(" ago"))
        }
        KeptState::Created => "Created".to_owned(),
        KeptState::Restarting { code, ended } => {
            let code = code.map_or("unknown".to_owned(), |code| code.to_string());
            format!("Restarting ({code}) {}", ago(ended))
        }
        KeptState::Exited { code, ended } => format!("Exited ({code}) {}", ago(ended)),
        KeptState::Unknown => "Exited (unknown)".to_owned(),
    };
    let code = match one.state {
        KeptState::Exited { code, .. } => code.to_string(),
        KeptState::Restarting { code: Some(code), .. } => code.to_string(),
        KeptState::Running | KeptState::Created | KeptState::Restarting { .. } | KeptState::Unknown => {
            String::new()
        }
    };
    let is_volume =
        |mount: &&MountRequest| matches!(&mount.kind, MountKind::Bind(bind) if bind.volume.is_some());
    let volumes = one.mounts.iter().filter(is_volume).count();
    let labels: Vec<String> = one.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let namespaces =
        NAMESPACES.map(|(name, kind)| Field::alias(name, one.namespace(kind).unwrap_or_default()));
    let mut fields = vec![
        Field::new("Command", if is_podmans() { command } else { format!("\"{command}\"") }),
        Field::new(
            "CreatedAt",
            format!("{} +0000 UTC", rfc3339(one.created).replace('T', " ").trim_end_matches('Z')),
        ),
        Field::new("ExitCode", code),
        Field::new("Names", if one.name.is_empty() { id.clone() } else { one.name.clone() }),
        Field::new("ID", id),
        Field::new("Image", one.root.clone()),
        Field::if_set("Label", Value::method(one.labels.clone())),
        Field::new("Labels", labels.join(",")),
        Field::new("LocalVolumes", volumes.to_string()),
        Field::new("Mounts", mounts(one, whole)),
        Field::new("Networks", one.networks.join(",")),
        Field::new("Pid", one.pid.map(|pid| pid.to_string()).unwrap_or_default()),
        Field::if_set("Pod", pod(one, whole)),
        Field::if_set("PodName", one.pod_name.clone()),
        Field::new("Ports", one.ports.join(", ")),
        Field::new("RunningFor", ago(one.created)),
        Field::new("Size", room),
        Field::new("State", one.status()),
        Field::new("Status", state),
    ];
    fields.extend(namespaces);
    fields.into()
}
