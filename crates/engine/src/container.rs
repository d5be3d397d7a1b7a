//! One container in the foreground: everything from what a person asked for to nothing left.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use monitor::{Console, Exit, Policy, Supervision};
use runtime::caller::Caller;
use runtime::launch::{Container, Host, LaunchOptions, StepTiming};
use runtime::plan::{
    ContainerPlan, Lifetime, MountPoint, PlanOptions, Preparation, RootOwners, RootSource, mount_points,
};
use runtime::spec::Spec;
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, ErrorKind, StepDescription, lifecycle};
use rustix::fs::{Mode, OFlags};
use sys::signal::SignalDescriptor;

use crate::accounts;
use crate::config;
use crate::error::{Error, Result};
use crate::host_root;
use crate::mount_points::{self, Directory, Ground, MountPoints};
use crate::network::{self, Connection, Patience};
use crate::options::{NetworkMode, ProcessOptions, RootOptions, RunOptions};
use crate::own_files;
use crate::paths::EnginePaths;
use crate::peers;
use crate::rootless::pasta::{self, Pasta, Stopped};
use crate::rootless::{self, Adapted, PastaPlan, Unprivileged};
use crate::security_modules::{self, Modules};
use crate::user_namespace::Users;
use crate::user_namespace::leases::{self, RangeLease};
use crate::volumes::{self, Volumes};

/// Something a person should know that is no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is.
    pub what: String,
    /// What one can do.
    pub remedy: Option<String>,
}

/// A container that was checked and planned: legal, and nothing of it exists yet but its leased address.
#[derive(Debug)]
pub struct Prepared {
    paths: EnginePaths,
    plan: ContainerPlan,
    root: PathBuf,
    points: Vec<MountPoint>,
    volumes: Volumes,
    connection: Option<Connection>,
    pasta: Option<PastaPlan>,
    users: Option<RangeLease>,
    categories: Option<RangeLease>,
    notices: Vec<Notice>,
    policy: Policy,
}

/// The steps that a start of `options` would consist of; nothing is touched.
pub fn plan(options: &RunOptions, paths: &EnginePaths) -> Result<Vec<StepDescription>> {
    Ok(draft(options, paths, Effects::None)?.plan.describe())
}

/// Checks what `options` ask for against this host and plans it.
///
/// Remains of commands that were killed are removed on the way.
pub fn prepare(options: &RunOptions, paths: &EnginePaths) -> Result<Prepared> {
    draft(options, paths, Effects::Allowed)
}

/// Whether planning may sweep remains and lease an address and ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effects {
    Allowed,
    None,
}

fn draft(options: &RunOptions, paths: &EnginePaths, effects: Effects) -> Result<Prepared> {
    let mut notices = Vec::new();
    options.check()?;
    let user = match Caller::find() {
        Caller::User => Some(Unprivileged::find(options, &mut notices)?),
        Caller::Root | Caller::NamespaceRoot => None,
    };
    if user.is_some() && effects == Effects::Allowed {
        rootless::own_directory(paths.base())?;
    }
    let options = &rootless::connected(options, user.as_ref())?;
    let settled = peers::settle(options, paths)?;
    let options = settled.as_ref().map_or(options, |settled| &settled.options);
    // Once more: what was left open is known now.
    options.network.check()?;
    let bridge = match options.network.mode {
        NetworkMode::Bridge => Some(network::check(options)?),
        _ => None,
    };
    let root = root(options, &mut notices)?;
    let account = accounts::look_up(&root, &options.process)?;
    let id = new_id();
    // What this host can't do is refused before anything is swept, leased or made.
    let mut spec = config::spec(options, &root, &id, &hidden(options, paths), &account)?;
    notices.extend(config::limit_notices(&options.limits));
    let modules = Modules::find(&options.security, effects, &mut notices);
    let categories =
        match modules.selinux && effects == Effects::Allowed && config::wants_label(&options.security) {
            true => security_modules::lease_categories(paths, id.as_str())?,
            false => None,
        };
    config::label(&options.security, modules, categories.as_ref().map(|(pair, _)| *pair), &mut spec)?;
    let (connection, wiring) = match (bridge, effects) {
        (Some(bridge), Effects::Allowed) => {
            sweep(paths, &mut notices)?;
            let connection = Connection::lease(paths, bridge, options, id.as_str())?;
            let wiring = connection.wiring();
            (Some(connection), Some(wiring))
        }
        (Some(bridge), Effects::None) => (None, Some(network::planned_wiring(&bridge, options)?)),
        (None, Effects::Allowed) => {
            sweep(paths, &mut notices)?;
            (None, None)
        }
        (None, Effects::None) => (None, None),
    };
    let state_directory = StateRoot::new(paths.containers()).directory(&id);
    let mut pasta_request = match options.network.mode {
        NetworkMode::Pasta => network::pasta_request(&options.network.publish)?,
        _ => pasta::Request::default(),
    };
    let mut files = own_files::own_files(options, wiring.as_ref(), &mut pasta_request, &mut notices);
    let users = match &user {
        Some(user) if user.adapt(&mut spec, options)? == Adapted::Own => None,
        _ => Users::find(&options.namespaces.users, paths, id.as_str(), effects)?,
    };
    // Only root of the host can show other owners than those on the disk.
    let owners = if users.is_some() && user.is_none() { RootOwners::Shifted } else { RootOwners::AsOnDisk };
    if let Some(users) = &users {
        users.adapt(&mut spec, owners);
    }
    config::give_devices(options, &mut spec)?;
    // A person's own stand in their place.
    files.retain(|file| options.files.mounts.iter().all(|mount| mount.target != file.destination));
    let mut points = mount_points(&spec, files.iter().map(|file| file.destination));
    if !matches!(options.files.root, RootOptions::Directory(_)) {
        // An overlay takes them in its upper layer.
        points.retain(|point| point.mount.is_some());
    }
    let volumes = volumes::needs(&options.files, &spec);
    let mut plan_options = PlanOptions::new(id, PathBuf::from("/"), state_directory);
    plan_options.lifetime = Lifetime::Launcher;
    plan_options.kept_descriptors = options.process.kept_descriptors;
    plan_options.init = options.process.init;
    plan_options.files = files;
    plan_options.root_owners = owners;
    plan_options.root = match &options.files.root {
        RootOptions::Directory(_) => RootSource::Directory,
        RootOptions::Overlay(_) => RootSource::Overlay { scratch: paths.scratch(), submounts: Vec::new() },
        RootOptions::Host if user.is_some() => RootSource::Pieces(host_root::pieces()?),
        RootOptions::Host => {
            RootSource::Overlay { scratch: paths.scratch(), submounts: host_root::submounts()? }
        }
    };
    plan_options.preparations = preparations(&options.files.root, &root, wiring.is_some(), options);
    if points.iter().any(|point| point.mount.is_some()) {
        plan_options.preparations.push(points_in_volumes(&points, &spec));
    }
    plan_options.preparations.extend(volumes.preparations(&spec));
    plan_options.origins = config::origins(options, &spec);
    match wiring {
        Some(wiring) => {
            plan_options.attachment = Some(format!("`eth0` to `{}`", options.network.name));
            plan_options.publication = wiring.publication;
            plan_options.network = Some(wiring.program);
        }
        // pasta would bring it up as well, but a container may have to do without it.
        None if matches!(options.network.mode, NetworkMode::None | NetworkMode::Pasta) => {
            plan_options.network = Some(network::loopback());
        }
        None => {}
    }
    if options.network.mode == NetworkMode::Pasta {
        plan_options.attachment = Some("`eth0` to `pasta`".to_owned());
    }
    let plan =
        ContainerPlan::new(&spec, &plan_options).map_err(|error| config::name_flags(error, options))?;
    volumes::check(&options.files, &spec, &plan)?;
    settled.iter().try_for_each(peers::Settled::verify)?;
    notices.extend(plan.warnings.iter().map(|what| Notice { what: what.clone(), remedy: None }));
    let pasta = user.and_then(|user| user.pasta(pasta_request));
    let policy = policy(&options.process);
    let users = users.and_then(Users::into_lease);
    Ok(Prepared {
        paths: paths.clone(),
        plan,
        root,
        points,
        volumes,
        connection,
        pasta,
        users,
        categories: categories.map(|(_, lease)| lease),
        notices,
        policy,
    })
}

fn policy(options: &ProcessOptions) -> Policy {
    Policy {
        signals: options.signals,
        input: options.input,
        stop_signal: options.stop_signal.number(),
        // Too long for any clock is for ever.
        stop_patience: options.stop_patience.unwrap_or(std::time::Duration::MAX),
        time_limit: options.time_limit,
    }
}

/// The root directory, absolute, and what is to be said of it.
fn root(options: &RunOptions, notices: &mut Vec<Notice>) -> Result<PathBuf> {
    let path = match &options.files.root {
        RootOptions::Host => {
            notices.push(Notice {
                what: "this container runs on a throw-away copy of the host's root: all of the host's files that its \
                       user may read, secrets among them, can be read inside"
                    .to_owned(),
                remedy: Some("give it a root of its own with `--rootfs=DIRECTORY`".to_owned()),
            });
            return Ok(PathBuf::from("/"));
        }
        RootOptions::Directory(path) | RootOptions::Overlay(path) => path,
    };
    let found = std::fs::canonicalize(path).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "check the path; a root file system is a directory with `bin`, `lib` and so on"
            }
            _ => "every directory on the path must be searchable",
        };
        Error::at_path("open the root file system", path, error).from_field("--rootfs").with_hint(hint)
    })?;
    if !found.is_dir() {
        let error = Error::invalid("--rootfs", format!("`{}` is not a directory", path.display()));
        return Err(error.with_hint("unpack an archive, or mount an image, and name the directory"));
    }
    if found == Path::new("/") && matches!(options.files.root, RootOptions::Directory(_)) {
        let error =
            Error::invalid("--rootfs", "`/` is the host's own root, and would be written to".to_owned());
        return Err(error.with_hint("leave `--rootfs` out to run on a throw-away copy of it"));
    }
    Ok(found)
}

/// Twelve random hexadecimal digits, as docker shortens its ids to.
fn new_id() -> ContainerId {
    let mut bytes = [0u8; 6];
    // A kernel that can't is before its first entropy; nothing runs containers then.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    ContainerId::parse(&text).expect("hexadecimal digits are legal")
}

/// Our own directories, where the container could see them.
fn hidden(options: &RunOptions, paths: &EnginePaths) -> Vec<String> {
    match options.files.root {
        RootOptions::Host => {
            let mut hidden = vec!["/var/lib/rabbitc".to_owned()];
            let base = paths.base();
            if !base.starts_with("/run") {
                hidden.push(base.to_string_lossy().into_owned());
            }
            hidden
        }
        _ => Vec::new(),
    }
}

const NETWORK_PREPARATION: &str = "make the bridge and its rules";
const POINTS_PREPARATION: &str = "make missing mount points";
const SOURCE_POINTS_PREPARATION: &str = "make missing mount points in volumes";
const SCRATCH_PREPARATION: &str = "make a place for the overlay";

fn preparations(root: &RootOptions, path: &Path, connected: bool, options: &RunOptions) -> Vec<Preparation> {
    let mut list = Vec::new();
    list.push(match root {
        RootOptions::Directory(_) => Preparation {
            name: POINTS_PREPARATION,
            object: format!("in `{}`", path.display()),
            why: "a mount needs something to be mounted on; the last container removes what the first one made",
            asked_by: Some("root.path".to_owned()),
        },
        RootOptions::Host | RootOptions::Overlay(_) => Preparation {
            name: SCRATCH_PREPARATION,
            object: String::new(),
            why: "the layer that takes the container's writes is mounted there, seen by the container alone",
            asked_by: Some("root.path".to_owned()),
        },
    });
    if connected {
        list.push(Preparation {
            name: NETWORK_PREPARATION,
            object: format!("`{}`, {}", options.network.name, options.network.ip),
            why: "a switch in the kernel to which all containers of the network are plugged",
            asked_by: Some("network".to_owned()),
        });
    }
    list
}

fn points_in_volumes(points: &[MountPoint], spec: &Spec) -> Preparation {
    let source = |number: usize| spec.mounts[number].source.as_deref().unwrap_or_default().to_owned();
    let mut places: Vec<String> = Vec::new();
    for point in points {
        if let Some(number) = point.mount {
            places.push(format!("`{}` in `{}`", point.path, source(number)));
        }
    }
    Preparation {
        name: SOURCE_POINTS_PREPARATION,
        object: places.join(", "),
        why: "what is mounted inside a volume needs something to be mounted on there; it goes with the container",
        asked_by: points.iter().find_map(|point| point.mount).map(|number| format!("mounts[{number}]")),
    }
}

/// Removes what killed commands left: containers whose supervisor is gone, mount points and networks nobody uses.
fn sweep(paths: &EnginePaths, notices: &mut Vec<Notice>) -> Result<()> {
    let mut failed = |error: Error| {
        // Somebody else's container is no reason to refuse this one.
        notices.push(Notice {
            what: format!("remains of a dead container: {error}"),
            remedy: error.hint.clone(),
        });
    };
    let swept = lifecycle::sweep(&StateRoot::new(paths.containers()), &mut |_| {}, &mut failed)?;
    mount_points::sweep(&paths.roots())?;
    if !swept.is_empty() {
        leases::sweep(&paths.user_ids())?;
        network::tidy(paths, Patience::None)?;
    }
    Ok(())
}

impl Prepared {
    /// The container's id.
    pub fn id(&self) -> &str {
        self.plan.id().as_str()
    }

    /// Starts the container. It dies with the calling thread.
    pub fn start(self, options: LaunchOptions) -> Result<Running> {
        let Prepared {
            paths,
            plan,
            root,
            points,
            volumes,
            connection,
            pasta,
            users,
            categories,
            mut notices,
            policy,
        } = self;
        let state = StateRoot::new(paths.containers());
        let mut host = EngineHost {
            paths: &paths,
            plan: &plan,
            root: &root,
            points: &points,
            volumes: &volumes,
            connection,
            pasta: pasta.as_ref(),
            attached: None,
            notices: Vec::new(),
            stakes: Vec::new(),
        };
        let container = runtime::launch::launch(&plan, &state, &mut host, options)?;
        let EngineHost { connection, stakes, attached: pasta, notices: more, .. } = host;
        notices.extend(more);
        connection.iter().for_each(Connection::settle);
        Ok(Running {
            container,
            connection,
            pasta,
            users,
            categories,
            stakes,
            notices,
            terminal: plan.terminal,
            policy,
        })
    }
}

/// The engine's part of a start.
struct EngineHost<'a> {
    paths: &'a EnginePaths,
    plan: &'a ContainerPlan,
    root: &'a Path,
    points: &'a [MountPoint],
    volumes: &'a Volumes,
    connection: Option<Connection>,
    pasta: Option<&'a PastaPlan>,
    attached: Option<Pasta>,
    notices: Vec<Notice>,
    stakes: Vec<MountPoints>,
}

impl EngineHost<'_> {
    fn make_points_in_root(&mut self) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(self.root, flags, Mode::empty())
            .map_err(|error| Error::at_path("open", self.root, error))?;
        let root = Directory { path: self.root, descriptor: descriptor.as_fd(), ground: Ground::Root };
        let points = self.points.iter().filter(|point| point.mount.is_none());
        self.stakes.push(MountPoints::make(&self.paths.roots(), &root, points)?);
        Ok(())
    }

    fn make_points_in_volumes(&mut self) -> Result<()> {
        let mut numbers: Vec<usize> = self.points.iter().filter_map(|point| point.mount).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let Some(descriptor) = self.plan.bind_source(number) else { continue };
            let path = volumes::place(descriptor);
            let directory = Directory { path: &path, descriptor, ground: Ground::Source };
            let points = self.points.iter().filter(|point| point.mount == Some(number));
            self.stakes.push(MountPoints::make(&self.paths.roots(), &directory, points)?);
        }
        Ok(())
    }
}

impl Host for EngineHost<'_> {
    fn prepare(&mut self, index: usize) -> Result<()> {
        match self.plan.preparation(index) {
            Some(POINTS_PREPARATION) => self.make_points_in_root(),
            Some(SOURCE_POINTS_PREPARATION) => self.make_points_in_volumes(),
            Some(volumes::CHOWN) => self.volumes.change_owners(self.plan),
            Some(volumes::RELABEL) => self.volumes.relabel(self.plan),
            Some(SCRATCH_PREPARATION) => {
                let path = self.paths.scratch();
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
                made.map_err(|error| Error::at_path("make", &path, error))
            }
            Some(NETWORK_PREPARATION) => self.connection.as_mut().map_or(Ok(()), Connection::ensure),
            _ => Ok(()),
        }
    }

    fn attach_network(&mut self, pid: i32) -> Result<()> {
        if let Some(pasta) = self.pasta {
            let directory = StateRoot::new(self.paths.containers()).directory(self.plan.id());
            self.attached = pasta.attach(pid, &directory, &mut self.notices)?;
            return Ok(());
        }
        self.connection.as_ref().map_or(Ok(()), |connection| connection.attach(pid))
    }

    fn publish_ports(&mut self) -> Result<()> {
        self.connection.as_mut().map_or(Ok(()), Connection::publish)
    }
}

/// A container that runs.
#[derive(Debug)]
pub struct Running {
    container: Container,
    connection: Option<Connection>,
    pasta: Option<Pasta>,
    /// Its ids, which no other container gets before it has ended.
    users: Option<RangeLease>,
    /// Its SELinux categories, likewise.
    categories: Option<RangeLease>,
    stakes: Vec<MountPoints>,
    notices: Vec<Notice>,
    terminal: bool,
    policy: Policy,
}

/// Memory ran out in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryKill {
    /// How many processes the kernel killed.
    pub kills: u64,
    /// The limit in bytes.
    pub limit: Option<u64>,
    /// The most that was in use.
    pub peak: Option<u64>,
}

/// A container that has ended, and of which nothing is left.
#[derive(Debug)]
pub struct Finished {
    /// How its program ended.
    pub exit: Exit,
    /// Processes that were killed for want of memory.
    pub memory: Option<MemoryKill>,
    /// What went wrong on the way without being a reason to stop.
    pub notices: Vec<Notice>,
    /// What could not be removed.
    pub remains: Vec<Error>,
    /// Whether its network may be without users now: then [`crate::tidy_networks`] has something to do.
    pub network_idle: bool,
    /// A descriptor that takes the kernel some milliseconds to close: to be given to a process that has the time,
    /// such as the one that tidies networks.
    pub lingering: Option<std::os::fd::OwnedFd>,
}

impl Running {
    /// What a person should know, the host's firewall included.
    pub fn notices(&self) -> Vec<Notice> {
        let mut notices = self.notices.clone();
        let obstacles = self.connection.iter().flat_map(Connection::obstacles);
        notices.extend(obstacles.map(|one| Notice { what: one.what, remedy: Some(one.remedy) }));
        notices
    }

    /// When each step of the start ran.
    pub fn timeline(&self) -> &[StepTiming] {
        &self.container.timeline
    }

    /// The container's address, if it has one.
    pub fn address(&self) -> Option<std::net::Ipv4Addr> {
        self.connection.as_ref().map(Connection::address)
    }

    /// Published ports that nobody named, in words: `32768 -> 80/tcp`.
    pub fn chosen_ports(&self) -> Vec<String> {
        self.connection.as_ref().map(Connection::chosen_ports).unwrap_or_default()
    }

    /// The pid of its init process.
    pub fn pid(&self) -> i32 {
        self.container.pid
    }

    /// Stands behind the container until it ends, and then removes all of it.
    pub fn supervise(
        mut self,
        signals: &SignalDescriptor,
        input: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> Result<Finished> {
        let console = match self.container.console.take() {
            Some(outer) if self.terminal => Console::Terminal { outer },
            _ => Console::Inherited,
        };
        let supervision = Supervision {
            pidfd: self.container.pidfd.as_fd(),
            pid: self.container.pid,
            signals,
            console,
            input,
            output,
            policy: self.policy,
        };
        let ended = monitor::supervise(supervision);
        let mut finished = self.finish();
        match ended {
            Ok(outcome) => {
                finished.exit = outcome.exit;
                let incident = |error: &monitor::Error| Notice {
                    what: error.to_string(),
                    remedy: error.hint().map(str::to_owned),
                };
                finished.notices.extend(outcome.incidents.iter().map(incident));
                Ok(finished)
            }
            Err(error) => {
                let text = error.to_string();
                let mut failure = Error::new(ErrorKind::System, "supervise the container", text);
                failure.rollback = finished.remains;
                Err(failure)
            }
        }
    }

    /// Removes everything; each part is tried, whatever became of the others.
    fn finish(self) -> Finished {
        let Running { container, connection, pasta, users, categories, stakes, .. } = self;
        let mut remains = Vec::new();
        let mut notices = Vec::new();
        if pasta.map(Pasta::stop) == Some(Stopped::EndedBefore) {
            let what = "`pasta` ended before its container, which had no network from then on".to_owned();
            notices.push(Notice { what, remedy: Some("see why in the system's log".to_owned()) });
        }
        let memory = container.cgroup.as_ref().and_then(|group| {
            let table = group.memory_table();
            let kills = table.oom_kills.filter(|kills| *kills > 0)?;
            Some(MemoryKill { kills, limit: table.limit, peak: table.peak })
        });
        let mut gone = true;
        if let Some(group) = &container.cgroup {
            if let Err(error) = group.kill() {
                remains.push(Error::from(error));
            }
            if let Err(error) = group.remove() {
                gone = false;
                remains.push(Error::from(error));
            }
        }
        // As long as the group is there, its record is what the next command finds it by.
        if gone && let Err(error) = container.state.remove() {
            remains.push(error);
        }
        for mut stake in stakes {
            if let Err(error) = stake.release() {
                remains.push(error);
            }
        }
        let network_idle = connection.is_some();
        let mut lingering = None;
        match connection.map(Connection::end) {
            Some(Ok(descriptor)) => lingering = descriptor.map(::network::Lingering::into_descriptor),
            Some(Err(error)) => remains.push(error),
            None => {}
        }
        drop((users, categories));
        Finished { exit: Exit::Code(0), memory, notices, remains, network_idle, lingering }
    }
}
