//! `rabbitc volume`: directories that are kept for containers.

mod inspect;
mod list;

use std::fs::File;
use std::io::{BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use engine::{
    ContainerRemoval, CreatedVolume, EnginePaths, Error, ErrorKind, KeptContainers, NewVolume, Notice,
    Patience, Result, UnneededVolumes, Volume, VolumeFilter, VolumeStore, parse_seconds,
};

use self::inspect::InspectArguments;
use self::list::ListArguments;
use crate::archive::{Output, check_output};
use crate::images::prune::is_wanted;
use crate::images::table::size;
use crate::images::{failed, print};
use crate::life::PlaceArguments;
use crate::manner::{exit_code, is_podmans};
use crate::render;

/// What concerns volumes: directories that are kept for containers.
#[derive(Debug, Parser)]
#[command(name = "rabbitc volume", max_term_width = 100)]
pub(crate) struct VolumeArguments {
    #[command(subcommand)]
    pub(crate) command: VolumeCommand,
}

/// One of its verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Makes a volume, unless there is one of that name
    Create(CreateArguments),
    /// Says by its exit code whether a volume is there
    Exists(ExistsArguments),
    /// Writes what is in a volume as an archive (tar)
    Export(ExportArguments),
    /// Puts what is in an archive (tar) into a volume
    Import(ImportArguments),
    /// Shows all that is known of volumes
    Inspect(InspectArguments),
    /// Lists volumes
    #[command(visible_alias = "list")]
    Ls(ListArguments),
    /// Says where what is in volumes is on the host
    Mount(MountArguments),
    /// Removes volumes that no container has and nobody has named, and with `--all` named ones, too
    Prune(PruneArguments),
    /// Removes volumes that no container has
    #[command(visible_alias = "remove")]
    Rm(RemoveArguments),
    /// Ends what `mount` began, which is nothing that needs an end
    #[command(alias = "umount")]
    Unmount(MountArguments),
}

/// Makes a volume.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// What it is to be called [default: 64 random digits]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Its driver: `local` is there
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// Where there is one of that name, that is no warning
    #[arg(long)]
    ignore: bool,
    /// A label
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// What is mounted there: `type=`, `device=` and `o=`, as mount(8) has them
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Says by its exit code whether a volume is there.
#[derive(Debug, Args)]
pub(crate) struct ExistsArguments {
    /// Its name
    #[arg(value_name = "VOLUME")]
    name: String,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Writes what is in a volume.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Its name
    #[arg(value_name = "VOLUME")]
    name: String,
    /// Into this file, in the place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Puts what is in an archive into a volume.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// Its name
    #[arg(value_name = "VOLUME")]
    name: String,
    /// The archive, compressed or not; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    file: PathBuf,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Says where what is in volumes is.
#[derive(Debug, Args)]
pub(crate) struct MountArguments {
    /// Their names
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Removes volumes.
#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Their names
    #[arg(required_unless_present = "all", value_name = "VOLUME")]
    names: Vec<String>,
    /// All that no container has
    #[arg(short, long, conflicts_with = "names")]
    all: bool,
    /// Nothing is wrong with one that is not there
    #[arg(short, long)]
    force: bool,
    /// With `--force`, remove the containers that have it, too: seconds until one that runs is killed
    #[arg(short = 't', long, value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Removes volumes that no container has.
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Those that have names, too
    #[arg(short, long)]
    all: bool,
    /// Only those of which this holds: `label=NAME[=VALUE]`, `label!=NAME`, `until=24h`, `all=true`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

impl PlaceArguments {
    /// For somebody who only looks at them, or makes one.
    fn volumes(&self) -> Result<VolumeStore> {
        VolumeStore::of(self.root())
    }

    /// For somebody who removes some, with where containers run.
    fn open_volumes(&self) -> Result<(VolumeStore, EnginePaths)> {
        // Before this process is another user's.
        let paths = self.paths()?;
        Ok((VolumeStore::open(self.root())?, paths))
    }
}

/// Does it, and says what became of it.
pub(crate) fn run(command: &VolumeCommand) -> ExitCode {
    let outcome = match command {
        VolumeCommand::Create(arguments) => create(arguments).map(|()| ExitCode::SUCCESS),
        VolumeCommand::Exists(arguments) => exists(arguments),
        VolumeCommand::Export(arguments) => export(arguments).map(|()| ExitCode::SUCCESS),
        VolumeCommand::Import(arguments) => import(arguments).map(|()| ExitCode::SUCCESS),
        VolumeCommand::Mount(arguments) => mount(arguments, |volume| volume.mountpoint.display().to_string()),
        VolumeCommand::Unmount(arguments) => mount(arguments, |volume| volume.name.clone()),
        VolumeCommand::Inspect(arguments) => inspect::inspect(arguments),
        VolumeCommand::Ls(arguments) => list::list(arguments).map(|()| ExitCode::SUCCESS),
        VolumeCommand::Prune(arguments) => prune(arguments).map(|()| ExitCode::SUCCESS),
        VolumeCommand::Rm(arguments) => remove(arguments),
    };
    outcome.unwrap_or_else(|error| failed(&error))
}

fn create(arguments: &CreateArguments) -> Result<()> {
    if !matches!(arguments.driver.as_str(), "" | "local") {
        let reason = format!("`{}` is no driver of volumes here", arguments.driver.escape_debug());
        let error = Error::new(ErrorKind::Unsupported, "--driver", reason);
        return Err(error.with_hint("there is `local`, which need not be named"));
    }
    let mut options = std::collections::BTreeMap::new();
    for option in &arguments.opt {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        options.insert(name.to_owned(), value.to_owned());
    }
    let device = options.get("device").filter(|_| options.get("type").is_some_and(|kind| kind == "bind"));
    if let Some(device) = device.filter(|device| is_podmans() && !std::path::Path::new(device).exists()) {
        // docker says it where a container is to have it.
        let reason = format!(
            "invalid volume option device for driver 'local': faccessat {device}: no such file or directory"
        );
        return Err(Error::new(ErrorKind::NotFound, "", reason));
    }
    if is_podmans() && options.get("type").is_some_and(|kind| kind == "bind") {
        // Podman's word for what mount(8) and docker have as an option of no file system.
        options.insert("type".to_owned(), "none".to_owned());
        let flags = options.get("o").filter(|flags| !flags.is_empty());
        let flags = flags.map_or_else(|| "bind".to_owned(), |flags| format!("{flags},bind"));
        options.insert("o".to_owned(), flags);
    }
    let new = NewVolume {
        name: arguments.name.clone().filter(|name| !name.is_empty()),
        options,
        labels: labels(&arguments.label)?,
    };
    let volume = match arguments.place.volumes()?.create(&new)? {
        CreatedVolume::Made(volume) => volume,
        CreatedVolume::Found(volume) => {
            let differs = !new.options.is_empty() && new.options != volume.options;
            if differs && !arguments.ignore {
                render::notice(&Notice {
                    what: format!("the volume `{}` was there already, with other options", volume.name),
                    remedy: Some("`rabbitc volume rm` removes it, with what is in it".to_owned()),
                });
            }
            volume
        }
    };
    print(&format!("{}\n", volume.name))
}

fn labels(texts: &[String]) -> Result<std::collections::BTreeMap<String, String>> {
    let mut labels = std::collections::BTreeMap::new();
    for text in texts {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            let error = Error::invalid("--label", format!("`{}` has no name", text.escape_debug()));
            return Err(error.with_hint("write NAME=VALUE, or NAME alone"));
        }
        labels.insert(name.to_owned(), value.to_owned());
    }
    Ok(labels)
}

fn exists(arguments: &ExistsArguments) -> Result<ExitCode> {
    let found = arguments.place.volumes()?.get(&arguments.name)?;
    Ok(ExitCode::from(u8::from(found.is_none())))
}

fn export(arguments: &ExportArguments) -> Result<()> {
    let output = arguments.output.as_deref();
    check_output(output)?;
    // Nothing is begun for a volume that is not there.
    arguments.place.volumes()?.directory("export", &arguments.name)?;
    let output = Output::begin(output)?;
    let (volumes, _) = arguments.place.open_volumes()?;
    output.take(|out| volumes.export(&arguments.name, out))
}

fn import(arguments: &ImportArguments) -> Result<()> {
    arguments.place.volumes()?.directory("import", &arguments.name)?;
    let path = &arguments.file;
    let archive: Box<dyn Read> = match path.as_os_str() == "-" {
        true if std::io::stdin().is_terminal() => {
            let error =
                Error::invalid("rabbitc volume import", "an archive comes from no terminal".to_owned());
            return Err(error.with_hint("name a file, or pass one on standard input"));
        }
        true => Box::new(std::io::stdin().lock()),
        // By the caller's rights, as with `export`.
        false => Box::new(File::open(path).map_err(|error| {
            Error::at_path("open", path, error).with_hint("name an archive, or `-` for standard input")
        })?),
    };
    let (volumes, _) = arguments.place.open_volumes()?;
    let left_out = volumes.import(&arguments.name, BufReader::with_capacity(256 << 10, archive))?;
    if left_out > 0 {
        render::notice(&Notice {
            what: format!("{left_out} devices, attributes and owners of the archive could not be had"),
            remedy: Some("root can have them".to_owned()),
        });
    }
    Ok(())
}

/// A volume is a directory, and so it is there already.
fn mount(arguments: &MountArguments, shown: impl Fn(&Volume) -> String) -> Result<ExitCode> {
    let volumes = arguments.place.volumes()?;
    let mut code = ExitCode::SUCCESS;
    for name in &arguments.names {
        match volumes.directory("mount", name) {
            Ok(volume) => print(&format!("{}\n", shown(&volume)))?,
            Err(error) => code = failed(&error),
        }
    }
    Ok(code)
}

/// Each is tried, whatever became of the others.
fn remove(arguments: &RemoveArguments) -> Result<ExitCode> {
    if let (true, Some(text)) = (arguments.force, &arguments.time) {
        remove_users(arguments, parse_seconds("--time", text)?.map_or(Patience::Endless, Patience::For))?;
    }
    let (volumes, paths) = arguments.place.open_volumes()?;
    if arguments.all {
        let gone = volumes.prune(UnneededVolumes::All, &[], &paths)?;
        gone.notices.iter().for_each(render::notice);
        print(&gone.names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for name in &arguments.names {
        match volumes.remove(name, &paths) {
            Err(error) if !(arguments.force && error.kind == ErrorKind::NotFound) => {
                render::error(&error);
                code = exit_code(1, if error.kind == ErrorKind::NotFound { 1 } else { 2 });
            }
            // Of one that is not there podman says nothing.
            Err(_) if is_podmans() => {}
            _ => print(&format!("{name}\n"))?,
        }
    }
    Ok(code)
}

/// Removes the containers that have volumes which are to go: those that run are ended first.
fn remove_users(arguments: &RemoveArguments, patience: Patience) -> Result<()> {
    let paths = arguments.place.paths()?;
    let store = arguments.place.volumes()?;
    let names = match arguments.all {
        true => store.survey()?.volumes.into_iter().map(|volume| volume.name).collect(),
        false => arguments.names.clone(),
    };
    let users = store.users(&paths)?;
    let ids: std::collections::BTreeSet<String> = names.iter().flat_map(|name| users.of(name)).collect();
    let containers = KeptContainers::of(arguments.place.root())?;
    let mut ended = Vec::new();
    for id in &ids {
        let kept = match containers.find(id) {
            // It goes with its end, which is its command's.
            Err(error) if error.kind == ErrorKind::NotFound => continue,
            found => found?,
        };
        containers.make_removable(&kept, ContainerRemoval::Stopping(patience), &paths)?;
        ended.push(kept);
    }
    if ended.is_empty() {
        return Ok(());
    }
    let containers = KeptContainers::open(arguments.place.root())?;
    containers.sweep_all()?;
    ended.iter().try_for_each(|kept| containers.remove_removable(kept))
}

/// Which volumes are meant by `--all`, or without it, and in docker's words.
pub(crate) fn unneeded(all: bool) -> (UnneededVolumes, &'static str) {
    match all {
        true => (UnneededVolumes::All, "all local volumes not used by at least one container"),
        false => (UnneededVolumes::Anonymous, "anonymous local volumes not used by at least one container"),
    }
}

/// Docker's words of what has gone.
pub(crate) fn deleted(names: &[String]) -> String {
    match names.is_empty() {
        true => String::new(),
        false => format!("Deleted Volumes:\n{}\n\n", names.join("\n")),
    }
}

fn prune(arguments: &PruneArguments) -> Result<()> {
    let filters: Vec<VolumeFilter> =
        arguments.filter.iter().map(|filter| filter.parse()).collect::<Result<_>>()?;
    let (volumes, paths) = arguments.place.open_volumes()?;
    // Podman's is about those with names, too, and says which they are.
    let (which, what) = unneeded(arguments.all || is_podmans() || filters.contains(&VolumeFilter::All(true)));
    let mut warning = format!("WARNING! This will remove {what}.\n");
    if is_podmans() && !arguments.force {
        let mut unused = filters.clone();
        unused.push(VolumeFilter::Dangling(true));
        let found = VolumeFilter::apply(&unused, volumes.survey()?.volumes, &volumes.users(&paths)?)?;
        let names: String = found.iter().map(|volume| format!("{}\n", volume.name)).collect();
        let what = "all volumes not used by at least one container. The following volumes will be removed:";
        warning = format!("WARNING! This will remove {what}\n{names}");
    }
    if !arguments.force && !is_wanted("rabbitc volume prune", what, &warning)? {
        return Ok(());
    }
    let pruned = volumes.prune(which, &filters, &paths)?;
    pruned.notices.iter().for_each(render::notice);
    if is_podmans() {
        return print(&pruned.names.iter().map(|name| format!("{name}\n")).collect::<String>());
    }
    print(&format!("{}Total reclaimed space: {}\n", deleted(&pruned.names), size(pruned.bytes)))
}
