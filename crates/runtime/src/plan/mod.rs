//! From config.json and the host to a [`ContainerPlan`]: an ordered list of steps that owns every byte the child
//! needs. Planning opens and looks, and changes nothing.

pub(crate) mod anchor;
mod binds;
mod check;
pub(crate) mod devices;
mod id_maps;
pub(crate) mod limits;
pub(crate) mod mount_points;
pub(crate) mod mounts;
pub(crate) mod namespaces;
mod options;
pub(crate) mod owners;
pub(crate) mod process;
pub mod seccomp;
mod sysctl;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use sys::clone::flags;
use sys::mount::{Reach, attribute};

pub(crate) use self::id_maps::IdMaps;
pub use self::mount_points::{MountPoint, mount_points};
pub use self::mounts::has_selinux;
use self::mounts::{MountContext, makes_namespace};
use self::namespaces::{Clocks, NamespacePlan};
pub use self::options::{
    Lifetime, NetworkProgram, OwnFile, PlanOptions, Preparation, RootOwners, RootPiece, RootPieceKind,
    RootSource, Start,
};
use self::owners::{Detached, Users};
pub use self::process::own_hard_limit;
pub use self::sysctl::sysctl_namespace;
use crate::caller::{self, Caller};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::id_map_files;
pub use crate::init::step::TargetKind;
use crate::init::step::{
    Action, Barrier, BoundRoot, HookKind, HostAction, InitAction, Lower, OverlayRoot, Owners, Piece,
    PieceKind, PiecedRoot, Step, StepDescription, Target,
};
use crate::spec::{Hook, Linux, NamespaceKind, Process, Spec};

/// A container that is legal on this host and kernel, ready to be launched.
#[derive(Debug)]
pub struct ContainerPlan {
    pub(crate) id: ContainerId,
    pub(crate) steps: Vec<Step>,
    pub(crate) namespaces: NamespacePlan,
    pub(crate) id_maps: Option<IdMaps>,
    pub(crate) cgroup: Option<CgroupPlan>,
    pub(crate) hooks: crate::spec::Hooks,
    /// The configuration, where a hook is to run as the container's program does.
    pub(crate) hooked: Option<Box<Spec>>,
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) oci_version: String,
    pub(crate) lifetime: Lifetime,
    pub(crate) start: Start,
    /// The SELinux label of files that are made for it.
    pub(crate) mount_label: Option<String>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) has_network: bool,
    pub(crate) files: Vec<OwnFile>,
    /// Whether the parent makes the mounts of these files, as init could not reach them.
    pub(crate) files_detached: bool,
    /// Sources of bind mounts, by their places in the config's mounts.
    pub(crate) sources: BTreeMap<usize, OwnedFd>,
    /// What was left out and why: for the caller to show.
    pub warnings: Vec<String>,
    /// Whether the container has a terminal, whose other end must be received.
    pub terminal: bool,
    /// Whether an init of our own stands between.
    pub(crate) init: bool,
}

/// The cgroup to be made.
#[derive(Debug)]
pub(crate) struct CgroupPlan {
    pub(crate) layout: cgroup::Layout,
    pub(crate) path: cgroup::CgroupPath,
    pub(crate) resources: cgroup::Resources,
    /// The host's id of the user that gets the group.
    pub(crate) delegate_to: Option<u32>,
}

/// A step that a field of config.json asked for.
pub(crate) fn init_step(action: InitAction, asked_by: impl Into<String>) -> Step {
    Step { action: Action::Init(action), asked_by: Some(asked_by.into()) }
}

/// A step that every container has.
pub(crate) fn always(action: InitAction) -> Step {
    Step { action: Action::Init(action), asked_by: None }
}

fn host(action: HostAction, asked_by: Option<&str>) -> Step {
    Step { action: Action::Host(action), asked_by: asked_by.map(str::to_owned) }
}

/// A C string; a NUL byte is refused with the field's name.
pub(crate) fn c_string(text: &str, field: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid(field, "has a NUL byte".to_owned()))
}

impl ContainerPlan {
    /// Checks `spec` against this host and lays out every step. Nothing is changed.
    pub fn new(spec: &Spec, options: &PlanOptions) -> Result<ContainerPlan> {
        let mut plan = ContainerPlan::lay_out(spec, options).map_err(|error| options.name_origin(error))?;
        for step in &mut plan.steps {
            if let Some(origin) = step.asked_by.as_ref().and_then(|field| options.origins.get(field)) {
                step.asked_by = Some(origin.clone());
            }
        }
        Ok(plan)
    }

    fn lay_out(spec: &Spec, options: &PlanOptions) -> Result<ContainerPlan> {
        check::version(&spec.oci_version)?;
        let mut warnings = Vec::new();
        let linux = spec.linux.clone().unwrap_or_default();
        let Some(process) = &spec.process else {
            return Err(Error::invalid("process", "is missing, so there is nothing to start".to_owned()));
        };
        let program = process::plan_program(process)?;
        let rootfs = check::root_directory(spec, &options.bundle)?;
        check::refuse_unsupported(&linux)?;
        let clocks = if linux.time_offsets.is_empty() { Clocks::Same } else { Clocks::Shifted };
        let namespaces = namespaces::plan_namespaces(&linux.namespaces, clocks)?;
        if !makes_namespace(spec, NamespaceKind::Mount) {
            let hint = "list `{\"type\": \"mount\"}` in linux.namespaces";
            return Err(Error::invalid("linux.namespaces", "a new mount namespace is needed".to_owned())
                .with_hint(hint));
        }
        let makes_users = namespaces.at_clone & flags::NEWUSER != 0;
        let id_maps = id_maps::of_container(&linux, makes_users)?;
        let users = Users::of(&namespaces, id_maps.as_ref());
        if id_maps.is_some() {
            id_maps::check_user(&process.user, &linux, groups_of(spec, id_maps.as_ref()))?;
        }
        let caller = Caller::find();
        if makes_users && caller != Caller::Root {
            caller::check_user_namespaces()?;
        }
        let user = process::program_user(process, groups_of(spec, id_maps.as_ref()));
        let mut cgroup = plan_cgroup(&linux, &options.id, caller)?;
        if let (Some(plan), Caller::Root) = (&mut cgroup, caller) {
            plan.delegate_to = delegate_to(spec, &linux, &plan.layout);
        }
        let hooks = spec.hooks.clone().unwrap_or_default();

        let mut plan = Steps {
            list: Vec::new(),
            caller,
            detached: Detached::new(hosts_propagation(spec.linux.as_ref()).0),
        };
        plan.host_part(options, &namespaces, id_maps.as_ref(), cgroup.as_ref(), process);
        plan.child_beginning(options, &namespaces, &linux, cgroup.as_ref(), users, process);
        plan.hooks(HookKind::CreateRuntime, hooks.prestart.iter().chain(&hooks.create_runtime));
        plan.file_systems(spec, options, &namespaces, cgroup.as_ref(), &rootfs, users)?;
        plan.hooks(HookKind::CreateContainer, hooks.create_container.iter());
        plan.identity(spec, options, &linux)?;
        let label = label_step(process)?.map(|(open, label)| {
            plan.list.push(open);
            label
        });
        plan.list.push(always(InitAction::PivotRoot));
        if let Some(name) = &linux.rootfs_propagation {
            plan.root_propagation(name)?;
        }
        if spec.root.as_ref().is_some_and(|root| root.readonly) {
            plan.list.push(init_step(InitAction::RootAttributes { set: attribute::RDONLY }, "root.readonly"));
        }
        plan.list.push(init_step(
            InitAction::WorkingDirectory {
                path: c_string(&process.cwd, "process.cwd")?,
                missing: process::missing_directory(process),
            },
            "process.cwd",
        ));
        plan.list.push(init_step(
            InitAction::FindProgram { candidates: program.candidates.clone(), user: user.clone() },
            "process.args[0]",
        ));
        // Before the limit of open files may fall: without close_range it bounds the search for them.
        plan.list.push(always(InitAction::CloseDescriptors { keep: options.kept_descriptors }));
        process::plan_limits(process, &mut plan.list)?;
        plan.special(&linux)?;
        if let Some(object) = &options.attachment {
            plan.list.push(host(HostAction::AttachNetwork { object: object.clone() }, Some("network")));
            if let Some(object) = &options.publication {
                let publish = HostAction::PublishPorts { object: object.clone() };
                plan.list.push(host(publish, Some("network.ports")));
            }
            plan.list.push(init_step(InitAction::Wait(Barrier::Network), "network"));
        }
        if let Some(network) = &options.network {
            plan.list.push(init_step(InitAction::ConfigureNetwork(network.clone()), "network"));
        }
        let filter = seccomp_step(&linux, &mut warnings)?;
        plan.list.push(host(HostAction::Commit, None));
        plan.list.push(always(InitAction::Wait(Barrier::Ready)));
        if options.start == Start::AtGate {
            plan.list.push(always(InitAction::Wait(Barrier::Gate)));
        }
        plan.hooks(HookKind::StartContainer, hooks.start_container.iter());
        if id_maps.as_ref().is_some_and(|maps| !id_map_files::allow_groups(maps))
            && !process.user.additional_gids.is_empty()
        {
            warnings
                .push("process.user.additionalGids: left out, as one's own group alone is mapped".to_owned());
        }
        let rights = process::plan_rights(process, &user, &mut warnings);
        plan.list.extend(process::plan_end(
            process,
            filter,
            label,
            options.lifetime == Lifetime::Launcher,
            rights,
            program,
        ));
        // Before everything else: what can't be mapped is refused before anything is made.
        let mut steps = plan.detached.steps;
        steps.append(&mut plan.list);
        if options.init {
            process::through_init(&mut steps, options.kept_descriptors);
        }
        let files_detached = detaches_files(users);
        Ok(ContainerPlan {
            id: options.id.clone(),
            steps,
            files_detached,
            sources: plan.detached.sources,
            namespaces,
            id_maps,
            cgroup,
            hooked: (!hooks.start_container.is_empty()).then(|| Box::new(spec.clone())),
            hooks,
            annotations: spec.annotations.clone(),
            bundle: options.bundle.clone(),
            rootfs,
            oci_version: spec.oci_version.clone(),
            lifetime: options.lifetime,
            start: options.start,
            mount_label: mounts::label_in_force(&linux, mounts::has_selinux()).map(str::to_owned),
            oom_score_adj: process.oom_score_adj,
            has_network: options.attachment.is_some(),
            files: options.files.clone(),
            warnings,
            terminal: process.terminal,
            init: options.init,
        })
    }

    /// What was opened as the source of `mounts[number]`, where that is a bind mount: an `O_PATH` descriptor.
    pub fn bind_source(&self, number: usize) -> Option<BorrowedFd<'_>> {
        self.sources.get(&number).map(OwnedFd::as_fd)
    }

    /// Every step in words, in order.
    pub fn describe(&self) -> Vec<StepDescription> {
        self.steps.iter().enumerate().map(|(index, step)| step.describe(index + 1)).collect()
    }

    /// The name of preparation `index`, as the options gave it.
    pub fn preparation(&self, index: usize) -> Option<&'static str> {
        let mut names = self.steps.iter().filter_map(|step| match &step.action {
            Action::Host(HostAction::Prepare { name, .. }) => Some(*name),
            _ => None,
        });
        names.nth(index)
    }

    /// The index of the step that waits for `start`.
    pub(crate) fn gate(&self) -> Option<usize> {
        self.steps
            .iter()
            .position(|step| matches!(step.action, Action::Init(InitAction::Wait(Barrier::Gate))))
    }

    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The path of its cgroup below each hierarchy's root, if it has one.
    pub fn cgroup_path(&self) -> Option<&str> {
        self.cgroup.as_ref().map(|plan| plan.path.as_str())
    }
}

struct Steps {
    list: Vec<Step>,
    /// Mounts that the parent makes.
    detached: Detached,
    caller: Caller,
}

/// The annotation by which crun keeps the caller's groups: they may be the only way to a device or a directory.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

fn groups_of(spec: &Spec, id_maps: Option<&IdMaps>) -> process::Groups {
    let kept = spec.annotations.get(KEEP_GROUPS).is_some_and(|value| value != "0");
    match kept || id_maps.is_some_and(|maps| !id_map_files::allow_groups(maps)) {
        true => process::Groups::Kept,
        false => process::Groups::Set,
    }
}

/// What becomes of the propagation of the host's mounts in the container's namespace.
fn hosts_propagation(linux: Option<&Linux>) -> (u64, &'static str) {
    let flags = |name| mounts::propagation_flags(name).expect("a known name");
    match linux.and_then(|linux| linux.rootfs_propagation.as_deref()) {
        Some("shared" | "rshared" | "slave" | "rslave") => (flags("rslave"), "slaves of the host's"),
        _ => (flags("rprivate"), "private"),
    }
}

/// The state directory is root's alone, so nobody in a user namespace gets there.
fn detaches_files(users: Users<'_>) -> bool {
    users.are_own() && rustix::process::geteuid().is_root()
}

impl Steps {
    fn host_part(
        &mut self,
        options: &PlanOptions,
        namespaces: &NamespacePlan,
        id_maps: Option<&IdMaps>,
        cgroup: Option<&CgroupPlan>,
        process: &Process,
    ) {
        self.list.push(host(HostAction::ReserveState { directory: options.state_directory.clone() }, None));
        if !options.files.is_empty() {
            let names: Vec<&str> = options.files.iter().map(|file| file.destination).collect();
            self.list.push(host(HostAction::WriteFiles { names: names.join(", ") }, None));
        }
        for one in &options.preparations {
            let action = HostAction::Prepare { name: one.name, object: one.object.clone(), why: one.why };
            self.list.push(host(action, one.asked_by.as_deref()));
        }
        if let Some(cgroup) = cgroup {
            let path = cgroup.path.as_str().to_owned();
            self.list.push(host(HostAction::CreateCgroup { path }, Some("linux.cgroupsPath")));
            let description = limits::describe(&cgroup.resources);
            self.list.push(host(HostAction::ApplyLimits { description }, Some("linux.resources")));
            if let Some(user) = cgroup.delegate_to {
                self.list.push(host(HostAction::DelegateCgroup { user }, Some("linux.uidMappings")));
            }
        }
        if options.start == Start::AtGate {
            self.list.push(host(HostAction::OpenGate, None));
        }
        let names = namespaces::names(namespaces.at_clone);
        let into_cgroup = cgroup.is_some_and(|plan| plan.layout.unified().is_some());
        self.list.push(host(HostAction::Clone { namespaces: names, into_cgroup }, Some("linux.namespaces")));
        if let Some(maps) = id_maps {
            let first = maps.uid.lines().next().unwrap_or_default().to_owned();
            self.list.push(host(HostAction::WriteIdMaps { description: first }, Some("linux.uidMappings")));
        }
        if let Some(value) = process.oom_score_adj {
            self.list.push(host(HostAction::SetOomScore { value }, Some("process.oomScoreAdj")));
        }
    }

    fn child_beginning(
        &mut self,
        options: &PlanOptions,
        namespaces: &NamespacePlan,
        linux: &Linux,
        cgroup: Option<&CgroupPlan>,
        users: Users<'_>,
        process: &Process,
    ) {
        if options.lifetime == Lifetime::Launcher {
            self.list.push(always(InitAction::DieWithParent));
        }
        if let Some(cgroup) = cgroup {
            let path = cgroup.path.as_str().to_owned();
            self.list.push(init_step(InitAction::JoinCgroup { path }, "linux.cgroupsPath"));
        }
        let makes_users = matches!(users, Users::New(_));
        // What the parent writes about this process must be written before another one takes its place.
        if makes_users || (namespaces.needs_intermediate && process.oom_score_adj.is_some()) {
            self.list.push(always(InitAction::Wait(Barrier::HostReady)));
        }
        if makes_users {
            self.list.push(init_step(InitAction::BecomeNamespaceRoot, "linux.uidMappings"));
        }
        self.list.push(always(InitAction::NewSession));
        if options.new_keyring {
            let name = CString::new(format!("_ses.{}", options.id)).expect("an id has no NUL");
            self.list.push(always(InitAction::JoinKeyring { name }));
        }
        if !namespaces.joined.is_empty() {
            let again = namespaces.joined.iter().map(|one| crate::init::step::JoinedNamespace {
                descriptor: one.descriptor.try_clone().expect("descriptors of a plan can be duplicated"),
                flag: one.flag,
                name: one.name,
                path: one.path.clone(),
            });
            if !makes_users {
                // In a user namespace the parent may have to write our maps, and could not any more.
                self.list.push(always(InitAction::HideFromOthers));
            }
            let action = InitAction::JoinNamespaces { namespaces: again.collect() };
            self.list.push(init_step(action, "linux.namespaces"));
        }
        if namespaces.unshared != 0 {
            let names = namespaces::names(namespaces.unshared);
            self.list.push(init_step(
                InitAction::Unshare { flags: namespaces.unshared, names },
                "linux.namespaces",
            ));
        }
        if !linux.time_offsets.is_empty() {
            let mut text = Vec::new();
            for (clock, offset) in &linux.time_offsets {
                text.extend_from_slice(format!("{clock} {} {}\n", offset.secs, offset.nanosecs).as_bytes());
            }
            let action =
                InitAction::TimeOffsets { text, new_users: makes_users && namespaces.joined.is_empty() };
            self.list.push(init_step(action, "linux.timeOffsets"));
        }
        if namespaces.needs_intermediate {
            self.list.push(init_step(InitAction::Fork, "linux.namespaces"));
            // Of its own: the one above is its maker's.
            self.list.push(always(InitAction::NewSession));
        }
        if matches!(users, Users::Joined(_)) {
            self.list.push(init_step(InitAction::BecomeNamespaceRoot, "linux.namespaces"));
        }
    }

    fn hooks<'a>(&mut self, kind: HookKind, hooks: impl Iterator<Item = &'a Hook>) {
        let hooks: Vec<Hook> = hooks.cloned().collect();
        if hooks.is_empty() {
            return;
        }
        let name = match kind {
            HookKind::CreateRuntime => "hooks.createRuntime",
            HookKind::CreateContainer => "hooks.createContainer",
            HookKind::StartContainer => "hooks.startContainer",
        };
        self.list.push(host(HostAction::RunHooks { kind, hooks }, Some(name)));
        self.list.push(init_step(InitAction::Wait(Barrier::Hooks(kind)), name));
    }

    fn file_systems(
        &mut self,
        spec: &Spec,
        options: &PlanOptions,
        namespaces: &NamespacePlan,
        cgroup: Option<&CgroupPlan>,
        rootfs: &Path,
        users: Users<'_>,
    ) -> Result<()> {
        let (flags, name) = hosts_propagation(spec.linux.as_ref());
        self.list.push(always(InitAction::Propagation { flags, name }));
        let label =
            spec.linux.as_ref().and_then(|linux| mounts::label_in_force(linux, mounts::has_selinux()));
        self.root(options, rootfs, users, label)?;
        let context = MountContext {
            bundle: &options.bundle,
            cgroup_layout: cgroup.map(|plan| &plan.layout),
            cgroup_path: cgroup.map(|plan| plan.path.as_str()),
            new_cgroup_namespace: namespaces.unshared & flags::NEWCGROUP != 0,
            label,
            users,
            caller: self.caller,
            propagation: flags,
        };
        let mounts = mounts::plan_mounts(spec, &context, &mut self.detached)?;
        self.list.extend(mounts);
        let read_only = spec.root.as_ref().is_some_and(|root| root.readonly);
        for (index, file) in options.files.iter().enumerate() {
            // Made when the file is written, so after those of the list.
            let number = detaches_files(users).then(|| self.detached.steps.len() + index);
            self.list.push(always(mounts::own_file(file, &options.state_directory, read_only, number)?));
        }
        if !binds_dev(spec) {
            let devices = spec.linux.as_ref().map(|linux| linux.devices.as_slice()).unwrap_or_default();
            let devices = devices::plan_devices(devices, self.is_restricted(users))?;
            self.list.push(init_step(InitAction::Devices { devices }, "linux.devices"));
            self.list.push(always(InitAction::Links { links: devices::plan_links()? }));
        }
        let process = spec.process.as_ref();
        if process.is_some_and(|process| process.terminal) {
            let size = process.and_then(|process| process.console_size).map(|size| (size.height, size.width));
            let target = if binds_dev(spec) {
                None
            } else {
                Some(Target::parse("/dev/console", TargetKind::File, "process.terminal")?)
            };
            let owner = process.map_or(0, |process| process.user.uid);
            let terminals = Target::parse("/dev/pts", TargetKind::Directory, "process.terminal")?;
            self.list
                .push(init_step(InitAction::Console { size, terminals, target, owner }, "process.terminal"));
        }
        let mut hidden = Vec::new();
        mounts::plan_hidden(spec, &mut hidden)?;
        // Kernel parameters are written while /proc/sys still can be.
        self.sysctls(spec)?;
        self.list.extend(hidden);
        anchor::anchor(&mut self.list)
    }

    /// Whether the kernel holds back what it gives root of the host alone, such as making device nodes.
    fn is_restricted(&self, users: Users<'_>) -> bool {
        users.are_own() || self.caller == Caller::NamespaceRoot
    }

    /// The root itself: bound, or an overlay over it and over each mount in it.
    fn root(
        &mut self,
        options: &PlanOptions,
        rootfs: &Path,
        users: Users<'_>,
        label: Option<&str>,
    ) -> Result<()> {
        let root_path = c_string(&rootfs.to_string_lossy(), "root.path")?;
        let shifted = options.root_owners == RootOwners::Shifted;
        let mut detach = |source: &CString, recursive: bool| -> Result<Option<usize>> {
            let owners = match users.map()? {
                Some(map) if shifted => Some(Owners { map, reach: Reach::Tree }),
                _ => None,
            };
            if owners.is_none() && !owners::needs_parent(source, users) {
                return Ok(None);
            }
            let asked_by = match (&owners, users) {
                (None, _) | (_, Users::Callers) => "root.path",
                (Some(_), Users::New(_)) => "linux.uidMappings",
                (Some(_), Users::Joined(_)) => "linux.namespaces",
            };
            Ok(Some(self.detached.add(source, recursive, owners, asked_by)))
        };
        let action = match &options.root {
            RootSource::Directory => {
                let detached = detach(&root_path, true)?;
                InitAction::BindRoot(BoundRoot { path: root_path, detached })
            }
            RootSource::Pieces(pieces) => pieced_root(pieces)?,
            RootSource::Overlay { scratch, submounts } => {
                let detached = detach(&root_path, false)?;
                let mut plans = Vec::new();
                for path in submounts {
                    let text = path.to_string_lossy();
                    let inside =
                        text.strip_prefix(rootfs.to_string_lossy().trim_end_matches('/')).unwrap_or(&text);
                    let path = c_string(&text, "root.path")?;
                    let detached = detach(&path, false)?;
                    let target = Target::parse(inside, TargetKind::Directory, "root.path")?;
                    plans.push((Lower { path, detached }, target));
                }
                // Nobody in a user namespace reaches the caller's directory; the old root serves as well.
                let scratch = if users.are_own() { Path::new("/") } else { scratch };
                InitAction::OverlayRoot(OverlayRoot {
                    scratch: c_string(&scratch.to_string_lossy(), "root.path")?,
                    lower: Lower { path: root_path, detached },
                    submounts: plans,
                    label: label.map(|label| c_string(label, "linux.mountLabel")).transpose()?,
                    user_namespace: self.is_restricted(users),
                })
            }
        };
        self.list.push(init_step(action, "root.path"));
        Ok(())
    }

    fn sysctls(&mut self, spec: &Spec) -> Result<()> {
        let Some(linux) = spec.linux.as_ref().filter(|linux| !linux.sysctl.is_empty()) else { return Ok(()) };
        let mut values = Vec::new();
        for (name, value) in &linux.sysctl {
            values.push(sysctl::sysctl(name, value, spec)?);
        }
        let directory = Target::parse("/proc/sys", TargetKind::Directory, "linux.sysctl")?;
        self.list.push(init_step(InitAction::Sysctls { directory, values }, "linux.sysctl"));
        Ok(())
    }

    fn identity(&mut self, spec: &Spec, options: &PlanOptions, linux: &Linux) -> Result<()> {
        let own = linux.namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Uts);
        let named = |field: &str, value: &Option<String>| -> Result<Option<CString>> {
            let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { return Ok(None) };
            if !own {
                let reason = "needs a uts namespace, or it would change the host's".to_owned();
                return Err(Error::invalid(field, reason));
            }
            if value.len() > 64 {
                return Err(Error::invalid(field, format!("`{value}` has more than 64 bytes")));
            }
            c_string(value, field).map(Some)
        };
        let hostname = spec.hostname.clone().or_else(|| options.hostname_default.clone());
        if let Some(name) = named("hostname", &hostname)? {
            self.list.push(init_step(InitAction::Hostname { name }, "hostname"));
        }
        if let Some(name) = named("domainname", &spec.domainname)? {
            self.list.push(init_step(InitAction::Domainname { name }, "domainname"));
        }
        Ok(())
    }

    fn root_propagation(&mut self, name: &str) -> Result<()> {
        let Some(flags) = mounts::propagation_flags(name) else {
            return Err(Error::invalid("linux.rootfsPropagation", format!("`{name}` is not a propagation")));
        };
        let action = InitAction::RootPropagation { flags, name: name.to_owned() };
        self.list.push(init_step(action, "linux.rootfsPropagation"));
        Ok(())
    }

    fn special(&mut self, linux: &Linux) -> Result<()> {
        if let Some(personality) = &linux.personality {
            let persona = match personality.domain.as_str() {
                "LINUX" => 0,
                "LINUX32" => 8,
                other => {
                    return Err(Error::invalid(
                        "linux.personality.domain",
                        format!("`{other}` is not a domain"),
                    ));
                }
            };
            if !personality.flags.is_empty() {
                return Err(Error::invalid("linux.personality.flags", "none is defined".to_owned()));
            }
            self.list.push(init_step(InitAction::Personality { persona }, "linux.personality"));
        }
        Ok(())
    }
}

fn pieced_root(pieces: &[RootPiece]) -> Result<InitAction> {
    let mut list = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let text = piece.path.to_string_lossy();
        let path = c_string(&text, "root.path")?;
        let (kind, target) = match &piece.kind {
            RootPieceKind::Empty(mode) => (PieceKind::Empty { mode: *mode }, TargetKind::Directory),
            RootPieceKind::Link(text) => {
                (PieceKind::Link { text: c_string(text, "root.path")? }, TargetKind::File)
            }
            RootPieceKind::Overlay => (PieceKind::Overlay { lower: path }, TargetKind::Directory),
            RootPieceKind::File => (PieceKind::File { source: path }, TargetKind::File),
        };
        list.push(Piece { kind, target: Target::parse(&text, target, "root.path")? });
    }
    Ok(InitAction::PiecedRoot(PiecedRoot { pieces: list }))
}

/// Whether /dev is the host's, or something else that is not ours to fill.
fn binds_dev(spec: &Spec) -> bool {
    spec.mounts.iter().any(|mount| {
        mount.destination.trim_end_matches('/') == "/dev"
            && (mount.kind.as_deref() == Some("bind")
                || mount.options.iter().flatten().any(|option| option == "bind" || option == "rbind"))
    })
}

fn plan_cgroup(linux: &Linux, id: &ContainerId, caller: Caller) -> Result<Option<CgroupPlan>> {
    let layout = match cgroup::Layout::detect() {
        Ok(layout) => layout,
        // A host without any cgroup can still isolate; a limit then can't be kept, and says so.
        Err(error) if error.kind == cgroup::Kind::NoHierarchy && linux.resources.is_none() => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let path = match linux.cgroups_path.as_deref().filter(|path| !path.is_empty()) {
        Some(path) => cgroup::CgroupPath::parse(path)
            .map_err(|error| Error::from(error).from_field("linux.cgroupsPath"))?,
        None => usual_cgroup(&layout, id)?,
    };
    let mut wanted = linux.resources.clone().unwrap_or_default();
    if caller != Caller::Root {
        // Filtering devices takes root of the host, and a user namespace opens no device that its maker could not.
        wanted.devices = Vec::new();
        let unlimited = wanted == crate::spec::Resources::default();
        // Without a limit to keep, no reason to have systemd move the caller.
        if unlimited && !layout.reaches(&path) {
            return Ok(None);
        }
        if let Some(refusal) = layout.refuses(&path) {
            return if unlimited { Ok(None) } else { Err(unkept_limits(&layout, refusal.into())) };
        }
    }
    let mut resources = limits::plan_limits(&wanted)?;
    if caller != Caller::Root {
        // Those that every container gets are among them again.
        resources.devices.clear();
    }
    Ok(Some(CgroupPlan { layout, path, resources, delegate_to: None }))
}

/// Who gets the group (config-linux.md, "Cgroup ownership"): the user that runs the program in a user namespace of its own,
/// where the group is the root of a cgroup namespace and writable inside, and only on v2.
fn delegate_to(spec: &Spec, linux: &Linux, layout: &cgroup::Layout) -> Option<u32> {
    let is_cgroup = |mount: &&crate::spec::Mount| matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2"));
    let is_closed = |mount: &crate::spec::Mount| mount.options.iter().flatten().any(|option| option == "ro");
    let writable = spec.mounts.iter().find(is_cgroup).is_some_and(|mount| !is_closed(mount));
    let own = makes_namespace(spec, NamespaceKind::Cgroup) && makes_namespace(spec, NamespaceKind::User);
    if !(writable && own && layout.version() == cgroup::Version::V2) {
        return None;
    }
    id_maps::host_id(&linux.uid_mappings, spec.process.as_ref().map_or(0, |process| process.user.uid))
}

/// A limit that nobody would keep is no limit: the start fails, where podman warns and goes on.
fn unkept_limits(layout: &cgroup::Layout, refusal: Error) -> Error {
    let hint = if layout.version() == cgroup::Version::V2 {
        "log in with systemd, or `loginctl enable-linger`, to have a manager of your own; or start it in a group that is \
         yours: `systemd-run --user --scope -p Delegate=yes COMMAND`; or leave the limits out"
    } else {
        "on cgroup v1 the kernel keeps limits for root alone: start it as root, leave the limits out, or boot with \
         cgroup v2 (`systemd.unified_cgroup_hierarchy=1`)"
    };
    let reason = format!("no group of this user's could keep these limits: {refusal}");
    Error { errno: refusal.errno, ..Error::new(ErrorKind::Unsupported, "linux.resources", reason) }
        .with_hint(hint)
}

/// Where a container's cgroup is unless its config names another place.
pub(crate) fn usual_cgroup(layout: &cgroup::Layout, id: &ContainerId) -> Result<cgroup::CgroupPath> {
    let manager = cgroup::Manager::of_user(rustix::process::geteuid().as_raw());
    let name = format!("rabbitc-{id}");
    Ok(cgroup::CgroupPath::below(layout, manager, cgroup::Parent::Usual, &name)?)
}

/// Opens the label's file on the host's procfs, whose descriptor the child takes along: what a container shows as
/// /proc could be another file (CVE-2019-16884). The label itself is written just before exec.
pub(crate) fn label_step(process: &Process) -> Result<Option<(Step, CString)>> {
    let apparmor = process.apparmor_profile.as_deref().filter(|profile| !profile.is_empty());
    let selinux = process.selinux_label.as_deref().filter(|label| !label.is_empty());
    let (path, text, field, enabled) = match (apparmor, selinux) {
        (Some(profile), _) => (
            c"self/attr/apparmor/exec",
            format!("exec {profile}"),
            "process.apparmorProfile",
            Path::new("/sys/kernel/security/apparmor").exists(),
        ),
        (None, Some(label)) => {
            (c"self/attr/exec", label.to_owned(), "process.selinuxLabel", mounts::has_selinux())
        }
        (None, None) => return Ok(None),
    };
    if !enabled {
        // As runc does: a label on a host without the module is not in force anywhere.
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())
        .map_err(|error| Error::at_path("open", Path::new("/proc"), error))?;
    let open = init_step(InitAction::OpenLabel { proc, path: path.to_owned() }, field);
    Ok(Some((open, c_string(&text, field)?)))
}

pub(crate) fn seccomp_step(linux: &Linux, warnings: &mut Vec<String>) -> Result<Option<Step>> {
    let Some(profile) = &linux.seccomp else { return Ok(None) };
    let program = seccomp::compile(profile, seccomp::Options::default())
        .map_err(|error| Error::invalid("linux.seccomp", error.to_string()))?;
    warnings.extend(program.warnings.iter().map(ToString::to_string));
    let action = InitAction::Seccomp { instructions: program.instructions, flags: program.flags };
    Ok(Some(init_step(action, "linux.seccomp")))
}
