//! From what a person asked for to a container that is legal on this host: looked up, leased, configured, planned.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use monitor::Policy;
use runtime::caller::Caller;
use runtime::layers::Layers;
use runtime::plan::{
    ContainerPlan, FirstProcess, Lifetime, MissingHome, MountPoint, PlanOptions, RootOwners, RootSource,
    mount_point, mount_points,
};
use runtime::spec::Spec;
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, RootDirectory};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::keep::{Found, keep};
use super::sweep::sweep_noting;
use super::{Birth, Effects, Notice, Prepared, preparations};
use crate::accounts;
use crate::cni;
use crate::config;
use crate::error::{Error, Result};
use crate::host_root;
use crate::kept::{Lease, Shown, Stay};
use crate::mount_points::{self, Directory, Ground};
use crate::network::{self, Connection, Wiring};
use crate::options::{NetworkMode, ProcessOptions, RootOptions, RunOptions};
use crate::own_files;
use crate::paths::EnginePaths;
use crate::peers;
use crate::rootless::{self, Adapted, Unprivileged, pasta};
use crate::running::Basis;
use crate::secret_store::{Copies, GivenSecrets};
use crate::security_modules::{self, Modules};
use crate::user_namespace::Users;
use crate::user_namespace::leases::RangeLease;
use crate::volume_store::{self, Filling};
use crate::volumes::{self, Volumes};

/// From what is meant to a plan that is legal here: who calls, the root, the config, the network, users, mounts.
pub(super) fn draft(
    options: &RunOptions,
    paths: &EnginePaths,
    effects: Effects,
    birth: Birth<'_>,
) -> Result<Prepared> {
    let mut notices = Vec::new();
    options.check()?;
    let user = match Caller::find() {
        Caller::User => Some(Unprivileged::find(options, &mut notices)?),
        Caller::Root | Caller::NamespaceRoot => None,
    };
    let unnamed = user.as_ref().and_then(|user| user.unnamed(&options.network.mode));
    let options = &rootless::connected(options, user.as_ref())?;
    // Once more: what was left open is known now.
    options.network.check(unnamed.as_ref())?;
    if user.is_some() && effects == Effects::Allowed {
        rootless::own_directory(paths.base())?;
    }
    let settled = peers::settle(options, paths)?;
    let options = settled.as_ref().map_or(options, |settled| &settled.options);
    let filling = match &birth {
        Birth::Again(lease) if lease.record().filled => Filling::Unfinished,
        Birth::Again(_) | Birth::New { .. } => Filling::First,
    };
    let kept_volumes = volume_store::settle(options, paths, effects)?;
    let options = kept_volumes.as_ref().map_or(options, |settled| &settled.options);
    options.files.check()?;
    let (secrets, with_variables) = with_secrets(options, &birth)?;
    let options = with_variables.as_ref().unwrap_or(options);
    let bridge = match options.network.mode {
        NetworkMode::Bridge => Some(network::check(options)?),
        _ => None,
    };
    let cni = match &options.network.mode {
        NetworkMode::Cni(network) => Some(cni::Plan::find(network, options)?),
        _ => None,
    };
    let root = root(options, &mut notices)?;
    let account = accounts::look_up(&|| layers(options, &root), &options.process)?;
    let id = match &birth {
        Birth::New { .. } => new_id()?,
        Birth::Again(lease) => ContainerId::parse(lease.id())?,
    };
    let lifetime = match &birth {
        Birth::New { .. } => Lifetime::Launcher,
        Birth::Again(_) => Lifetime::Own,
    };
    // What can be refused by what was asked for alone is, before anything is swept, leased or made. What the host lacks shows
    // with the plan; what was leased or made by then goes with its guards.
    let hidden = hidden(options, paths);
    let mut spec = config::spec(options, root.path(), &id, &hidden, &account)?;
    notices.extend(config::limit_notices(&options.limits));
    let categories = label(options, paths, &id, effects, &mut spec, &mut notices)?;
    let (connection, wiring) = connect(bridge, options, paths, &id, effects, &mut notices)?;
    let cni = match effects {
        Effects::Allowed => cni.map(|plan| plan.of(id.as_str())).transpose()?,
        Effects::None => cni,
    };
    let state_directory = StateRoot::new(paths.containers()).directory(&id);
    let mut pasta_request = match options.network.mode {
        NetworkMode::Pasta => {
            let request = network::pasta_request(&options.network.publish)?;
            if effects == Effects::Allowed {
                network::try_ports(paths, options)?;
                user.iter().try_for_each(|user| user.check_ports(&options.network.publish))?;
            }
            request
        }
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
    config::let_ping(&mut spec);
    let fitted = image_for(options, user.as_ref(), effects, &mut spec, &mut notices)?;
    let options = fitted.as_ref().unwrap_or(options);
    let root = match &fitted {
        Some(options) => open_root(options.files.root.directories()[0])?,
        None => root,
    };
    let (leases, made_later) = kept_volumes
        .as_ref()
        .map_or((None, &[][..]), |settled| (settled.leases.as_ref(), &settled.made_later));
    secrets.check_owners(&spec)?;
    leases.map_or(Ok(()), |leases| leases.fill(&options.files, filling))?;
    config::give_devices(options, &mut spec)?;
    // A person's own stand in their place.
    files.retain(|file| {
        options.files.mounts.iter().all(|mount| mount.target != file.destination)
            && secrets.files.iter().all(|secret| secret.destination != file.destination)
    });
    give_modes(options, &root, paths, &mut spec)?;
    let in_memory = secrets.files.iter().map(|file| file.destination.as_str());
    let mut points = mount_points(&spec, files.iter().map(|file| file.destination).chain(in_memory));
    if !matches!(options.files.root, RootOptions::Directory(_)) {
        // An overlay takes them in its upper layer.
        points.retain(|point| point.mount.is_some());
    }
    let volumes = volumes::needs(&options.files, &spec);
    let mut shown = Shown::of(options);
    let with_volumes = kept_volumes.as_ref().map(|settled| &settled.options.files);
    let found = Found {
        spec: &spec,
        files: &files,
        memory_files: &secrets.files,
        hidden: &hidden,
        shown: &shown,
        with_volumes,
    };
    let kept = keep(options, user.is_some(), &id, birth, &found, effects)?;
    shown.name = kept.as_ref().map_or_else(String::new, |lease| lease.record().name.clone());
    connection.iter().try_for_each(|connection| connection.note_names(&shown.name, options))?;
    // Files of an ordinary user's other ids take a process in a user namespace to remove; what is in memory goes by itself.
    let is_image = matches!(options.files.root, RootOptions::Image(_));
    let is_on_disk = |lease: &&Lease| lease.record().stay == Stay::Kept || (is_image && user.is_none());
    let drawn = Drawn {
        spec: &spec,
        root: &root,
        points: &points,
        volumes: &volumes,
        owners,
        kept: kept.as_ref().filter(is_on_disk).map(Lease::directory),
        lifetime,
    };
    let cgroup_name = format!("rabbitc-{id}");
    let mut plan_options = PlanOptions::new(id, PathBuf::from("/"), state_directory);
    plan_options.cgroup_name = Some(cgroup_name);
    plan_options.root_directory = Some(root.clone());
    plan_options.files = files;
    plan_options.memory_files = secrets.files;
    plan_options.made_later = made_later.to_vec();
    lay_out(options, paths, user.is_some(), &drawn, wiring, &mut plan_options)?;
    let plan = ContainerPlan::new(&spec, &plan_options)
        .map_err(|error| config::name_flags(error, options, &spec, user.as_ref()))?;
    user.iter().try_for_each(|user| user.check_reach(options, &spec))?;
    volumes::check(&options.files, &spec, &plan)?;
    volumes::destinations::check(&options.files, &spec, &plan)?;
    leases.map_or(Ok(()), |leases| leases.verify(&options.files, &spec, &plan))?;
    check_directory(options, &plan)?;
    settled.iter().try_for_each(peers::Settled::verify)?;
    notices.extend(plan.warnings.iter().map(|warning| config::notice(warning, options)));
    let pasta = user.and_then(|user| user.pasta(pasta_request, &options.network.publish));
    let policy = policy(&options.process);
    let basis = Box::new(Basis::of(options, &spec));
    let users = users.and_then(Users::into_lease);
    Ok(Prepared {
        paths: paths.clone(),
        plan,
        points,
        volumes,
        connection,
        cni,
        pasta,
        users,
        categories,
        notices,
        policy,
        kept,
        kept_volumes: kept_volumes.and_then(|settled| settled.leases),
        shown,
        basis,
        lifetime,
    })
}

/// A container's secrets, and what is asked for with those that are variables, where there are any. They are added to what is
/// started alone: nothing that is kept of the options has them.
fn with_secrets(options: &RunOptions, birth: &Birth<'_>) -> Result<(GivenSecrets, Option<RunOptions>)> {
    if options.secrets.requests.is_empty() {
        return Ok((GivenSecrets::default(), None));
    }
    let mut options = options.clone();
    let copies = match birth {
        Birth::New { .. } => Copies::take(&mut options.secrets)?,
        Birth::Again(lease) => Copies::read(lease.directory())?,
    };
    let mut given = GivenSecrets::of(&options.secrets, copies)?;
    options.process.environment.append(&mut given.variables);
    Ok((given, Some(options)))
}

/// Refuses a working directory that would be made in a root directory that is to be read-only. Above an overlay it is made
/// in the layer that is thrown away.
fn check_directory(options: &RunOptions, plan: &ContainerPlan) -> Result<()> {
    if !options.files.read_only || !matches!(options.files.root, RootOptions::Directory(_)) {
        return Ok(());
    }
    match plan.directory_made_in_root() {
        Some(missing) => {
            let reason = format!("`{missing}` is not there, and nothing is made in a root that is read-only");
            let hint = "make it in the root directory first, or let `--overlay` take it in memory";
            Err(Error::invalid("--workdir", reason).with_hint(hint))
        }
        None => Ok(()),
    }
}

/// The options with the image's files as they are for the container's ids, where those are not the usual ones.
fn image_for(
    options: &RunOptions,
    user: Option<&Unprivileged>,
    effects: Effects,
    spec: &mut Spec,
    notices: &mut Vec<Notice>,
) -> Result<Option<RunOptions>> {
    let (Some(user), RootOptions::Image(image), Effects::Allowed) = (user, &options.files.root, effects)
    else {
        return Ok(None);
    };
    let Some(image) = user.image(image, spec.linux.get_or_insert_default(), notices)? else {
        return Ok(None);
    };
    if let Some(root) = &mut spec.root {
        root.path.clone_from(&image.layers[0]);
    }
    let mut options = options.clone();
    options.files.root = RootOptions::Image(image);
    Ok(Some(options))
}

/// Gives each tmpfs that has none the mode that it would have without a mount point of ours below it: runtimes give one the
/// mode of the directory that it covers, and ours is there before the runtime looks.
fn give_modes(
    options: &RunOptions,
    root: &RootDirectory,
    paths: &EnginePaths,
    spec: &mut Spec,
) -> Result<()> {
    for number in 0..spec.mounts.len() {
        let mount = &spec.mounts[number];
        let has_mode = mount.options.iter().flatten().any(|option| option.starts_with("mode="));
        if mount.kind.as_deref() != Some("tmpfs") || has_mode {
            continue;
        }
        let Some(point) = mount_point(spec, number) else { continue };
        let is_missing = match (&options.files.root, point.mount) {
            // Nobody ever makes one there.
            (RootOptions::Image(_), None) => {
                matches!(layers(options, root)?.find(&point.path), Err(Errno::NOENT | Errno::NOTDIR))
            }
            _ => is_missing(root, spec, paths, &point)?,
        };
        if !is_missing {
            continue;
        }
        let asked = options.files.mounts.iter().any(|one| one.target == mount.destination);
        // Our own is /run: no place where everybody may write.
        let mode = if asked { "mode=1777" } else { "mode=755" };
        spec.mounts[number].options.get_or_insert_default().push(mode.to_owned());
    }
    Ok(())
}

/// Whether a mount point is missing in the root directory or in the volume that it lies in.
fn is_missing(root: &RootDirectory, spec: &Spec, paths: &EnginePaths, point: &MountPoint) -> Result<bool> {
    let Some(volume) = point.mount else {
        let directory = Directory { path: root.path(), descriptor: root.as_fd(), ground: Ground::Root };
        return mount_points::is_missing(&paths.roots(), &directory, &point.path);
    };
    let source = Path::new(spec.mounts[volume].source.as_deref().unwrap_or_default());
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    // A volume that is not there is refused by the plan.
    let Ok(descriptor) = rustix::fs::open(source, flags, Mode::empty()) else { return Ok(false) };
    let directory = Directory { path: source, descriptor: descriptor.as_fd(), ground: Ground::Source };
    mount_points::is_missing(&paths.roots(), &directory, &point.path)
}

/// The directories that are shown as the root.
fn layers(options: &RunOptions, root: &RootDirectory) -> Result<Layers> {
    match &options.files.root {
        RootOptions::Image(_) => Layers::open(options.files.root.directories()),
        RootOptions::Host | RootOptions::Directory(_) | RootOptions::Overlay(_) => Layers::of_root(root),
    }
}

/// Labels for the security modules that are on; with SELinux, categories that no other container has.
fn label(
    options: &RunOptions,
    paths: &EnginePaths,
    id: &ContainerId,
    effects: Effects,
    spec: &mut Spec,
    notices: &mut Vec<Notice>,
) -> Result<Option<RangeLease>> {
    let modules = Modules::find(&options.security, effects, notices);
    let categories =
        match modules.selinux && effects == Effects::Allowed && config::wants_label(&options.security) {
            true => security_modules::lease_categories(paths, id.as_str())?,
            false => None,
        };
    config::label(&options.security, modules, categories.as_ref().map(|(pair, _)| *pair), spec)?;
    Ok(categories.map(|(_, lease)| lease))
}

/// Leases the container's place in its network, or shows what it would be; dead containers are swept first.
fn connect(
    bridge: Option<network::Wanted>,
    options: &RunOptions,
    paths: &EnginePaths,
    id: &ContainerId,
    effects: Effects,
    notices: &mut Vec<Notice>,
) -> Result<(Option<Connection>, Option<Wiring>)> {
    if effects == Effects::Allowed {
        sweep_noting(paths, notices);
    }
    Ok(match (bridge, effects) {
        (Some(bridge), Effects::Allowed) => {
            let connection = Connection::lease(paths, bridge, options, id.as_str())?;
            let wiring = connection.wiring();
            (Some(connection), Some(wiring))
        }
        (Some(bridge), Effects::None) => (None, Some(network::planned_wiring(paths, bridge, options)?)),
        (None, _) => (None, None),
    })
}

/// What a draft knows of the container's files when the plan is laid out.
struct Drawn<'a> {
    spec: &'a Spec,
    root: &'a RootDirectory,
    points: &'a [MountPoint],
    volumes: &'a Volumes,
    owners: RootOwners,
    /// Where its upper directories are.
    kept: Option<&'a Path>,
    lifetime: Lifetime,
}

/// What config.json can't say: the root's layers, what the host prepares, what asked for it.
fn lay_out(
    options: &RunOptions,
    paths: &EnginePaths,
    ordinary_user: bool,
    drawn: &Drawn<'_>,
    wiring: Option<Wiring>,
    plan_options: &mut PlanOptions,
) -> Result<()> {
    plan_options.lifetime = drawn.lifetime;
    plan_options.kept_descriptors = options.process.kept_descriptors;
    plan_options.first = match (options.process.holds, options.process.init) {
        (true, _) => FirstProcess::Holder,
        (false, true) => FirstProcess::Init,
        (false, false) => FirstProcess::Program,
    };
    plan_options.missing_home = match options.process.leaves_out("HOME") {
        true => MissingHome::LeftOut,
        false => MissingHome::Sought,
    };
    plan_options.root_owners = drawn.owners;
    let overlay = |below, submounts| RootSource::Overlay {
        below,
        scratch: paths.scratch(),
        kept: drawn.kept.map(Path::to_owned),
        submounts,
    };
    plan_options.root = match &options.files.root {
        RootOptions::Directory(_) => RootSource::Directory,
        RootOptions::Overlay(_) => overlay(Vec::new(), Vec::new()),
        RootOptions::Image(image) => overlay(image.layers[1..].to_vec(), Vec::new()),
        RootOptions::Host if ordinary_user => RootSource::Pieces(host_root::pieces()?),
        RootOptions::Host => overlay(Vec::new(), host_root::submounts()?),
    };
    plan_options.preparations = vec![preparations::of_root(&options.files.root, drawn.root.path())];
    plan_options.preparations.extend(wiring.iter().map(|wiring| preparations::of_network(&wiring.network)));
    if drawn.points.iter().any(|point| point.mount.is_some()) {
        plan_options.preparations.push(preparations::of_volumes(drawn.points, drawn.spec));
    }
    plan_options.preparations.extend(drawn.volumes.preparations(drawn.spec));
    plan_options.origins = config::origins(options, drawn.spec);
    plug_in(options, wiring, plan_options);
    Ok(())
}

/// How the network is plugged in.
fn plug_in(options: &RunOptions, wiring: Option<Wiring>, plan_options: &mut PlanOptions) {
    match wiring {
        Some(wiring) => {
            plan_options.attachment = Some(wiring.attachment);
            plan_options.publication = wiring.publication;
            plan_options.network = Some(wiring.program);
        }
        // pasta would bring it up as well, but a container may have to do without it.
        None if matches!(
            options.network.mode,
            NetworkMode::None | NetworkMode::Pasta | NetworkMode::Cni(_)
        ) =>
        {
            plan_options.network = Some(network::loopback());
        }
        None => {}
    }
    if let NetworkMode::Cni(network) = &options.network.mode {
        plan_options.attachment = Some(format!("`eth0` to the CNI network `{}`", network.name));
    }
    if options.network.mode == NetworkMode::Pasta {
        plan_options.attachment = Some("`eth0` to `pasta`".to_owned());
    }
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

/// Opens the root directory, once for all of the start, and notes what is to be said of it.
fn root(options: &RunOptions, notices: &mut Vec<Notice>) -> Result<RootDirectory> {
    let path = match &options.files.root {
        RootOptions::Host => {
            notices.push(Notice {
                what: "this container runs on a throw-away copy of the host's root: all of the host's files that its \
                       user may read, secrets among them, can be read inside"
                    .to_owned(),
                remedy: Some("give it a root of its own with `--rootfs=DIRECTORY`".to_owned()),
            });
            return open_root(Path::new("/"));
        }
        RootOptions::Directory(path) | RootOptions::Overlay(path) => path,
        RootOptions::Image(image) => return open_root(&image.layers[0]),
    };
    let found = RootDirectory::open(path).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "check the path; a root file system is a directory with `bin`, `lib` and so on"
            }
            std::io::ErrorKind::NotADirectory if path.exists() => {
                let error = Error::invalid("--rootfs", format!("`{}` is not a directory", path.display()));
                return error.with_hint("unpack an archive, or mount an image, and name the directory");
            }
            _ => "every directory on the path must be searchable",
        };
        Error::at_path("open the root file system", path, error).from_field("--rootfs").with_hint(hint)
    })?;
    if found.path() == Path::new("/") && matches!(options.files.root, RootOptions::Directory(_)) {
        let error =
            Error::invalid("--rootfs", "`/` is the host's own root, and would be written to".to_owned());
        return Err(error.with_hint("leave `--rootfs` out to run on a throw-away copy of it"));
    }
    Ok(found)
}

fn open_root(path: &Path) -> Result<RootDirectory> {
    RootDirectory::open(path).map_err(|error| Error::at_path("open the root file system", path, error))
}

/// 64 random hexadecimal digits, as docker's ids are.
pub(crate) fn new_id() -> Result<ContainerId> {
    let bytes = sys::random::bytes::<32>().map_err(|error| Error::system("choose an id", error))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ContainerId::parse(&text).expect("hexadecimal digits are legal"))
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
