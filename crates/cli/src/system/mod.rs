//! `rabbitc system df`, `check` and `prune`: how much room all takes, whether they are what they were, and no more of all than
//! is needed.

mod boot;
mod info;
mod version;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::{
    CheckDepth, Error, ImageFilter, ImageFilters, Outcome, PrunedVolumes, Repair, Result, StoreUsage,
    UnneededVolumes, VolumeFilter, VolumeUsage,
};
use serde_json::json;

pub(crate) use self::info::InfoArguments;
pub(crate) use self::version::VersionArguments;
use crate::events::{EventsArguments, events};
use crate::images::table::size;
use crate::images::{access, failed, open_to_change, print, prune};
use crate::life::paths;
use crate::render;
use crate::template::columns;
use crate::volumes::deleted;

/// What concerns all that rabbitc keeps.
#[derive(Debug, Parser)]
#[command(name = "rabbitc system", max_term_width = 100)]
pub(crate) struct SystemArguments {
    #[command(subcommand)]
    pub(crate) command: SystemCommand,
}

/// One of its verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// How much room images, containers and volumes take
    Df(UsageArguments),
    /// Looks whether all that images consist of is there and what it was; exits with 1 if not
    Check(CheckArguments),
    /// Shows what becomes of containers, images, pods and volumes, as it happens
    Events(EventsArguments),
    /// Shows what this host is, and what rabbitc keeps on it
    Info(InfoArguments),
    /// Shows which version this is
    #[command(hide = true)]
    Version(VersionArguments),
    /// Removes containers that have ended, and images that nobody needs
    Prune(PruneArguments),
    /// Has systemd bring back at boot the containers that are to run
    Install(boot::InstallArguments),
    /// Starts the containers that are to run; for the unit that `install` writes
    #[command(hide = true)]
    Boot(boot::BootArguments),
    /// Stops all containers, which the next boot starts again; for the same unit
    #[command(hide = true)]
    Shutdown(boot::ShutdownArguments),
}

/// How much room images, containers and volumes take.
#[derive(Debug, Args)]
pub(crate) struct UsageArguments {
    /// Each image and each volume, too
    #[arg(short, long)]
    verbose: bool,
    /// As a table, or as JSON
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: UsageFormat,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Directory of containers that run, as `run --runroot` had it [default: /run/rabbitc]
    #[arg(long, alias = "state-dir", value_name = "DIR")]
    runroot: Option<PathBuf>,
}

/// Forms of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UsageFormat {
    Table,
    Json,
}

/// Looks whether all that images consist of is there and what it was.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Only whether each blob is there, by its size, and each layer; no file in a layer is looked at
    #[arg(short, long)]
    quick: bool,
    /// Bring what is damaged again, and nothing else: from what is here, else from the image's registry
    #[arg(short, long)]
    repair: bool,
    /// A file with credentials for registries, as docker and podman write it
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Removes containers that have ended, then images without a name, or with `--all` those that no container is of, and what commands
/// that were killed have left.
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    #[command(flatten)]
    choice: prune::ChoiceArguments,
    /// Volumes that no container has and nobody has named, too
    #[arg(long)]
    volumes: bool,
    /// Directory that images and containers are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Directory of containers that run, as `run --runroot` had it [default: /run/rabbitc]
    #[arg(long, alias = "state-dir", value_name = "DIR")]
    runroot: Option<PathBuf>,
}

/// Does it, and says what became of it.
pub(crate) fn run(command: &SystemCommand) -> ExitCode {
    let outcome = match command {
        SystemCommand::Df(arguments) => usage(arguments).map(|()| ExitCode::SUCCESS),
        SystemCommand::Check(arguments) => check(arguments),
        SystemCommand::Events(arguments) => return events(arguments),
        SystemCommand::Version(arguments) => version::version(arguments).map(|()| ExitCode::SUCCESS),
        SystemCommand::Info(arguments) => info::info(arguments).map(|()| ExitCode::SUCCESS),
        SystemCommand::Install(arguments) => boot::install(arguments),
        SystemCommand::Boot(arguments) => boot::boot(arguments),
        SystemCommand::Shutdown(arguments) => boot::shutdown(arguments),
        SystemCommand::Prune(arguments) => prune(arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| failed(&error))
}

fn usage(arguments: &UsageArguments) -> Result<()> {
    // Without root it takes this user's ids to look into what containers have written.
    let paths = paths(arguments.runroot.as_deref())?;
    let images = open_to_change(arguments.root.as_deref())?;
    let (usage, volumes) = (images.usage()?, images.volumes().usage(&paths)?);
    match arguments.format {
        UsageFormat::Json => print(&as_json(&usage, &volumes)),
        UsageFormat::Table => print(&as_table(&usage, &volumes, arguments.verbose)),
    }
}

fn prune(arguments: &PruneArguments) -> Result<()> {
    let filters = prune::parse_filters(&arguments.choice.filter)?;
    check_filters(&filters)?;
    let paths = paths(arguments.runroot.as_deref())?;
    let images = open_to_change(arguments.root.as_deref())?;
    let containers = images.containers();
    containers.check_is_own()?;
    let (which, what) = prune::unneeded(arguments.choice.all);
    if !arguments.choice.force {
        let mut kinds = vec!["all stopped containers"];
        if arguments.volumes {
            kinds.push("all anonymous volumes not used by at least one container");
        }
        kinds.push(what);
        let warning = warning(&kinds, &arguments.choice.filter);
        let what = format!("all stopped containers, and {what}");
        if !prune::is_wanted("rabbitc system prune", &what, &warning)? {
            return Ok(());
        }
    }
    let gone = containers.prune(&filters)?;
    let mut text = String::new();
    if !gone.ids.is_empty() {
        text.push_str(&format!("Deleted Containers:\n{}\n\n", gone.ids.join("\n")));
    }
    let mut volumes = PrunedVolumes::default();
    if arguments.volumes {
        // A volume has no moment after which nobody needed it: docker's filter `until` is not about them.
        let filters: Vec<VolumeFilter> = filters.0.iter().filter_map(of_volumes).collect();
        volumes = images.volumes().prune(UnneededVolumes::Anonymous, &filters, &paths)?;
        volumes.notices.iter().for_each(render::notice);
        text.push_str(&deleted(&volumes.names));
    }
    let pruned = images.prune(which, &filters)?;
    pruned.notices.iter().for_each(render::notice);
    // Without an image that goes there is nothing that sweeps, and killed commands leave something too.
    let swept = images.sweep()?.unwrap_or(0);
    text.push_str(&prune::deleted(&pruned));
    let bytes = gone.bytes + volumes.bytes + pruned.bytes + swept;
    print(&format!("{text}Total reclaimed space: {}\n", size(bytes)))
}

/// Conditions that are about volumes, too.
fn of_volumes(filter: &ImageFilter) -> Option<VolumeFilter> {
    match filter {
        ImageFilter::Label(name, value) => Some(VolumeFilter::Label(name.clone(), value.clone())),
        ImageFilter::NoLabel(name, value) => Some(VolumeFilter::NoLabel(name.clone(), value.clone())),
        _ => None,
    }
}

/// In docker's words.
fn warning(kinds: &[&str], filters: &[String]) -> String {
    let mut text = "WARNING! This will remove:\n".to_owned();
    text.extend(kinds.iter().map(|kind| format!("  - {kind}\n")));
    if !filters.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        text.extend(filters.iter().map(|filter| format!("  - {}\n", filter.escape_debug())));
    }
    text.push('\n');
    text
}

/// Others are about images alone.
fn check_filters(filters: &ImageFilters) -> Result<()> {
    let is_known = |filter: &ImageFilter| {
        matches!(filter, ImageFilter::Until(_) | ImageFilter::Label(..) | ImageFilter::NoLabel(..))
    };
    match filters.0.iter().all(is_known) {
        true => Ok(()),
        false => {
            let error = Error::invalid("--filter", "it is about images alone".to_owned());
            Err(error.with_hint("here there are until=TIME, label=NAME[=VALUE] and label!=NAME[=VALUE]"))
        }
    }
}

fn as_json(usage: &StoreUsage, volumes: &[VolumeUsage]) -> String {
    let images = usage.images.iter().map(|image| {
        json!({"ID": image.id, "Names": image.names, "SharedSize": image.shared, "UniqueSize": image.unique,
            "Size": image.shared + image.unique, "InUse": image.is_in_use})
    });
    let images: Vec<_> = images.collect();
    let containers = &usage.containers;
    let containers = json!({"Total": containers.total, "Active": containers.running, "Size": containers.bytes,
        "Reclaimable": containers.reclaimable});
    let volumes: Vec<_> = volumes
        .iter()
        .map(|volume| json!({"Name": volume.name, "Links": volume.links, "Size": volume.bytes}))
        .collect();
    let all = json!({"Images": images, "Size": usage.bytes, "Reclaimable": usage.reclaimable, "Containers": containers,
        "Volumes": volumes});
    format!("{all}\n")
}

fn as_table(usage: &StoreUsage, volumes: &[VolumeUsage], verbose: bool) -> String {
    let active = usage.images.iter().filter(|image| image.is_in_use).count();
    let cells = |kind: &str, total: usize, active: usize, bytes: u64, reclaimable: u64| {
        let percent = (reclaimable * 100).checked_div(bytes).unwrap_or(0);
        let reclaimable = format!("{} ({percent}%)", size(reclaimable));
        [kind.to_owned(), total.to_string(), active.to_string(), size(bytes), reclaimable]
    };
    let containers = &usage.containers;
    let sum = |volumes: &mut dyn Iterator<Item = &VolumeUsage>| volumes.map(|volume| volume.bytes).sum();
    let used = volumes.iter().filter(|volume| volume.links > 0).count();
    let idle = sum(&mut volumes.iter().filter(|volume| volume.links == 0));
    let kinds = [
        cells("Images", usage.images.len(), active, usage.bytes, usage.reclaimable),
        cells("Containers", containers.total, containers.running, containers.bytes, containers.reclaimable),
        cells("Local Volumes", volumes.len(), used, sum(&mut volumes.iter()), idle),
    ];
    let mut lines = vec![vec!["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]];
    lines.extend(kinds.iter().map(|cells| cells.iter().map(String::as_str).collect()));
    let mut text = columns(&lines);
    if !verbose {
        return text;
    }
    let rows: Vec<[String; 5]> = usage
        .images
        .iter()
        .map(|image| {
            let digits = image.id.split_once(':').map_or(image.id.as_str(), |(_, digits)| digits);
            [
                image.names.first().cloned().unwrap_or_else(|| "<none>".to_owned()),
                digits.chars().take(12).collect(),
                size(image.shared + image.unique),
                size(image.shared),
                size(image.unique),
            ]
        })
        .collect();
    let mut lines = vec![vec!["NAME", "IMAGE ID", "SIZE", "SHARED SIZE", "UNIQUE SIZE"]];
    lines.extend(rows.iter().map(|row| row.iter().map(String::as_str).collect()));
    text.push('\n');
    text.push_str(&columns(&lines));
    let rows: Vec<[String; 3]> = volumes
        .iter()
        .map(|volume| [volume.name.clone(), volume.links.to_string(), size(volume.bytes)])
        .collect();
    let mut lines = vec![vec!["VOLUME NAME", "LINKS", "SIZE"]];
    lines.extend(rows.iter().map(|row| row.iter().map(String::as_str).collect()));
    text.push('\n');
    text.push_str(&columns(&lines));
    text
}

fn check(arguments: &CheckArguments) -> Result<ExitCode> {
    let images = open_to_change(arguments.root.as_deref())?;
    let depth = if arguments.quick { CheckDepth::Sizes } else { CheckDepth::Bytes };
    let repair = if arguments.repair { Repair::Yes } else { Repair::No };
    let access = access(arguments.authfile.as_deref());
    let is_shown = std::io::stderr().is_terminal();
    let told = |done: usize, all: usize| {
        if is_shown {
            let text = if done == all { String::new() } else { format!("checking {} of {all}", done + 1) };
            // Whoever can't be told how far it is, is told the end.
            let _ = std::io::stderr().write_all(format!("\r\x1b[K{text}").as_bytes());
        }
    };
    let damaged = images.check(depth, repair, &access, &told)?;
    let mut code = ExitCode::SUCCESS;
    for damage in &damaged {
        let outcome = match damage.outcome {
            Outcome::Repaired => "repaired",
            Outcome::Left | Outcome::Failed(_) => "damaged",
        };
        let images = match &damage.images[..] {
            // A name that can't be read is of none.
            [] => String::new(),
            images => format!(" ({})", images.join(", ")),
        };
        print(&format!("{outcome}: {}: {}{images}\n", damage.part, damage.what))?;
        match &damage.outcome {
            Outcome::Repaired => continue,
            Outcome::Failed(error) => render::error(error),
            Outcome::Left => {}
        }
        code = ExitCode::from(1);
    }
    if damaged.iter().any(|damage| matches!(damage.outcome, Outcome::Left)) {
        render::information("`rabbitc system check --repair` brings what is damaged again");
    }
    Ok(code)
}
