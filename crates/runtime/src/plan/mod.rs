//! From config.json and the host to a [`ContainerPlan`]: an ordered list of steps that owns every byte the child
//! needs. Planning opens and looks, and changes nothing.

pub(crate) mod anchor;
mod binds;
mod check;
mod closed;
pub(crate) mod container_cgroup;
pub(crate) mod devices;
mod ending;
mod id_maps;
mod joined_mounts;
pub(crate) mod limits;
pub(crate) mod machine;
mod mount_options;
pub(crate) mod mount_points;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod net_devices;
mod number_list;
mod options;
pub(crate) mod owners;
pub(crate) mod process;
mod rdt;
mod scheduling;
pub mod seccomp;
mod steps;
mod sysctl;
mod warning;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use sys::clone::flags;

pub use self::container_cgroup::no_limits;
pub(crate) use self::container_cgroup::usual_cgroup;
use self::container_cgroup::{CgroupPlan, delegate_to, plan_cgroup, without_group};
use self::ending::{Ending, Recorder};
pub(crate) use self::id_maps::IdMaps;
pub use self::machine::{memory_policy_flags, memory_policy_modes};
pub use self::mount_points::{MountPoint, mount_point, mount_points};
pub use self::mounts::has_selinux;
use self::namespaces::{Clocks, NamespacePlan};
pub use self::options::{
    BindRules, CgroupManager, FirstProcess, Lifetime, MemoryFile, MissingHome, NetworkProgram, OwnFile,
    PlanOptions, Preparation, RootChange, RootOwners, RootPiece, RootPieceKind, RootSource, Start,
};
use self::owners::{Detached, Users};
pub use self::process::own_hard_limit;
use self::steps::{Steps, detaches_files, hosts_propagation};
pub use self::sysctl::{FixedSysctl, sysctl_namespace};
pub use self::warning::Warning;
use crate::caller::{self, Caller};
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::id_map_files;
pub use crate::init::step::TargetKind;
use crate::init::step::{
    Action, Barrier, Handover, HookKind, HostAction, InitAction, Opened, Step, StepDescription,
};
use crate::launch::{StepTimes, StepTiming};
use crate::rdt::Wanted;
use crate::root_directory::RootDirectory;
use crate::seccomp_agent::Agent;
use crate::shared_root::JoinedMounts;
use crate::spec::{Linux, Process, Spec};

/// A container that is legal on this host and kernel, ready to be launched.
#[derive(Debug)]
pub struct ContainerPlan {
    pub(crate) id: ContainerId,
    pub(crate) steps: Vec<Step>,
    pub(crate) namespaces: NamespacePlan,
    pub(crate) id_maps: Option<IdMaps>,
    pub(crate) cgroup: Option<CgroupPlan>,
    /// Its group of resctrl.
    pub(crate) rdt: Option<Wanted>,
    pub(crate) hooks: crate::spec::Hooks,
    /// The configuration, where a hook is to run as the container's program does.
    pub(crate) hooked: Option<Box<Spec>>,
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
    pub(crate) bundle: PathBuf,
    pub(crate) config: Option<PathBuf>,
    /// Its root directory on the host.
    pub(crate) root: RootDirectory,
    pub(crate) oci_version: String,
    pub(crate) lifetime: Lifetime,
    pub(crate) start: Start,
    /// The SELinux label of files that are made for it.
    pub(crate) mount_label: Option<String>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) has_network: bool,
    /// Who answers for a seccomp filter that asks.
    pub(crate) agent: Option<Agent>,
    pub(crate) net_devices: Vec<net_devices::NetDevice>,
    /// The mount namespace of others that its root is mounted in.
    pub(crate) joined_mounts: Option<JoinedMounts>,
    pub(crate) files: Vec<OwnFile>,
    /// Whether the parent makes the mounts of these files, as init could not reach them.
    pub(crate) files_detached: bool,
    /// Sources of bind mounts, by their places in the config's mounts.
    pub(crate) sources: BTreeMap<usize, OwnedFd>,
    /// What was left out and why: for the caller to show.
    pub warnings: Vec<Warning>,
    /// Whether the container has a terminal, whose other end must be received.
    pub terminal: bool,
    /// Whether an init of our own stands between.
    pub(crate) init: bool,
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
pub(crate) fn c_string(text: &str, field: impl Display) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid(field.to_string(), "has a NUL byte".to_owned()))
}

pub(crate) fn c_path(path: &Path, field: impl Display) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::invalid(field.to_string(), format!("`{}` has a NUL byte", path.display())))
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
        let mut program = process::plan_program(process, options.missing_home)?;
        let root = match &options.root_directory {
            Some(opened) => opened.clone(),
            None => check::root_directory(spec, &options.bundle)?,
        };
        let rootfs = root.path().to_owned();
        check::path_is_text(&options.bundle, "bundle")?;
        check::path_is_text(options.config.as_deref().unwrap_or(&options.bundle), "config")?;
        check::path_is_text(&rootfs, "root.path")?;
        check::time_offsets(&linux)?;
        // What only `exec` will use, and could only then refuse.
        process::plan_affinity(process)?;
        let rdt = rdt::plan_rdt(&linux, &options.id)?;
        let clocks = if linux.time_offsets.is_empty() { Clocks::Same } else { Clocks::Shifted };
        let mut namespaces = namespaces::plan_namespaces(&linux.namespaces, clocks)?;
        let mounts_to_join = namespaces.mounts.take();
        let caller = Caller::find();
        let cgroup = group(spec, &linux, options, caller, &mut namespaces, &mut warnings)?;
        let own_mounts = namespaces.makes(flags::NEWNS);
        if !own_mounts {
            check::shared_mounts(&linux)?;
        }
        let makes_users = namespaces.at_clone & flags::NEWUSER != 0;
        let id_maps = id_maps::of_container(&linux, makes_users)?;
        let users = Users::of(&namespaces, id_maps.as_ref());
        if id_maps.is_some() {
            id_maps::check_user(&process.user, &linux, groups_of(spec, id_maps.as_ref()))?;
        }
        let place = match mounts_to_join {
            Some(namespace) => {
                joined_mounts::check_propagation(spec, &linux)?;
                Some(joined_mounts::look(namespace, &root, users)?)
            }
            None => None,
        };
        if makes_users && caller != Caller::Root {
            caller::check_user_namespaces()?;
        }
        let user = process::program_user(process, groups_of(spec, id_maps.as_ref()));
        warnings.extend(cgroup.as_ref().and_then(|plan| Warning::of_limits(&plan.resources)));
        let hooks = spec.hooks.clone().unwrap_or_default();
        let net_devices = net_devices::plan_net_devices(&linux)?;

        let mut plan = Steps {
            list: Vec::new(),
            caller,
            detached: Detached::new(hosts_propagation(spec.linux.as_ref()).0),
        };
        plan.host_part(options, &namespaces, id_maps.as_ref(), (cgroup.as_ref(), rdt.as_ref()), process);
        plan.child_beginning(options, &namespaces, &linux, cgroup.as_ref(), users, process);
        plan.loopback(options, &namespaces);
        plan.net_devices(&net_devices);
        plan.hooks(HookKind::CreateRuntime, hooks.prestart.iter().chain(&hooks.create_runtime));
        plan.file_systems(spec, options, &namespaces, cgroup.as_ref(), &root, users)?;
        plan.hooks(HookKind::CreateContainer, hooks.create_container.iter());
        plan.identity(spec, options, &linux)?;
        let label = label_step(process)?.map(|(open, label)| {
            plan.list.push(open);
            label
        });
        let joined_mounts = match place {
            Some(place) => Some(plan.join_mounts(place, process)?),
            None => {
                plan.change_root(options.root_change, own_mounts)?;
                None
            }
        };
        plan.enter(spec, process, &user, &linux)?;
        plan.look_for_program(process, &mut program, &user, &linux, options.kept_descriptors)?;
        plan.network(options);
        let filter = seccomp_filter(&linux, &mut warnings)?;
        // Of the process that the clone returns, with the network and the mounts that it has then.
        let drafts_record = !namespaces.needs_intermediate
            && namespaces.unshared & flags::NEWNET == 0
            && joined_mounts.is_none();
        if drafts_record {
            plan.list.push(host(HostAction::DraftRecord, None));
        }
        plan.join_rdt(rdt.as_ref());
        // In a user namespace init has no right to the host's directories; and what waits for the end of the mounts is the
        // parent's to do.
        let init_records = drafts_record
            && options.start == Start::Immediately
            && hooks.start_container.is_empty()
            && rdt.is_none()
            && !process.terminal
            && !namespaces.changes_users();
        if id_maps.as_ref().is_some_and(|maps| !id_map_files::allow_groups(maps))
            && process.user.additional_gids.iter().any(|gid| *gid != process.user.gid)
        {
            let what = "left out, as one's own group alone is mapped";
            warnings.push(Warning::new("process.user.additionalGids", what));
        }
        let recorder = match (options.start, hooks.start_container.is_empty()) {
            _ if init_records => Recorder::Init,
            (Start::AtGate, _) => Recorder::ParentBeforeGate,
            (Start::Immediately, true) => Recorder::ParentMeanwhile,
            (Start::Immediately, false) => Recorder::ParentBeforeHooks,
        };
        let ending = Ending {
            dies_with_parent: options.lifetime == Lifetime::Launcher,
            rights: process::plan_rights(process, &user, &mut warnings)?,
            process,
            filter,
            label,
            program,
            hooks: &hooks.start_container,
        };
        plan.end(recorder, ending);
        // Before everything else: what can't be mapped is refused before anything is made.
        let mut steps = plan.detached.steps;
        steps.append(&mut plan.list);
        match options.first {
            FirstProcess::Program => {}
            FirstProcess::Init => process::through_init(&mut steps, options.kept_descriptors),
            FirstProcess::Holder => process::hold(&mut steps, options.kept_descriptors),
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
            rdt,
            hooked: (!hooks.start_container.is_empty()).then(|| Box::new(spec.clone())),
            hooks,
            annotations: spec.annotations.clone(),
            bundle: options.bundle.clone(),
            config: options.config.clone(),
            root,
            oci_version: spec.oci_version.clone(),
            lifetime: options.lifetime,
            start: options.start,
            mount_label: mounts::label_in_force(&linux, mounts::has_selinux).map(str::to_owned),
            oom_score_adj: process.oom_score_adj,
            has_network: options.attachment.is_some(),
            agent: Agent::of_spec(spec),
            net_devices,
            joined_mounts,
            files: options.files.clone(),
            warnings,
            terminal: process.terminal,
            init: options.first != FirstProcess::Program,
        })
    }

    /// The root directory on the host.
    pub fn root_directory(&self) -> &RootDirectory {
        &self.root
    }

    /// What was opened as the source of `mounts[number]`, where that is a bind mount: an `O_PATH` descriptor.
    pub fn bind_source(&self, number: usize) -> Option<BorrowedFd<'_>> {
        self.sources.get(&number).map(OwnedFd::as_fd)
    }

    /// What a detached mount is made of.
    pub(crate) fn opened(&self, opened: Opened) -> Option<BorrowedFd<'_>> {
        match opened {
            Opened::Root => Some(self.root.as_fd()),
            Opened::Source(number) => self.bind_source(number),
        }
    }

    /// Every step in words, in order.
    pub fn describe(&self) -> Vec<StepDescription> {
        self.steps.iter().enumerate().map(|(index, step)| step.describe(index + 1)).collect()
    }

    /// The steps that ran, in order.
    pub fn timeline(&self, times: &StepTimes) -> Vec<StepTiming> {
        times.describe(&self.steps)
    }

    /// The name of preparation `index`, as the options gave it.
    pub fn preparation(&self, index: usize) -> Option<&'static str> {
        let mut names = self.steps.iter().filter_map(|step| match &step.action {
            Action::Host(HostAction::Prepare { name, .. }) => Some(*name),
            _ => None,
        });
        names.nth(index)
    }

    /// The flags of seccomp(2) that its filter is installed with, if it has one.
    pub fn filter_flags(&self) -> Option<u32> {
        self.steps.iter().find_map(|step| match &step.action {
            Action::Init(InitAction::Seccomp { flags, .. }) => Some(*flags),
            _ => None,
        })
    }

    /// The index of the step that waits for `start`.
    pub(crate) fn gate(&self) -> Option<usize> {
        self.steps
            .iter()
            .position(|step| matches!(step.action, Action::Init(InitAction::Wait(Barrier::Gate))))
    }

    /// How many overlays in the root become read-only with it.
    pub(crate) fn closed_layers(&self) -> usize {
        let closed = self.steps.iter().find_map(|step| match &step.action {
            Action::Init(InitAction::RootAttributes { layers, .. }) => Some(layers.len()),
            _ => None,
        });
        closed.unwrap_or(0)
    }

    /// Whether a mount namespace is made for it.
    pub(crate) fn owns_mounts(&self) -> bool {
        self.namespaces.makes(flags::NEWNS)
    }

    /// The namespaces that its createContainer hooks enter. What it shares with the caller is the hooks' already, and no user
    /// without root may enter that.
    pub(crate) fn hooks_namespaces(&self) -> u64 {
        let enters = |flag: &u64| {
            self.namespaces.makes(*flag) || self.namespaces.joined.iter().any(|joined| joined.flag == *flag)
        };
        let mounts = if self.owns_mounts() { flags::NEWNS } else { 0 };
        [flags::NEWUTS, flags::NEWIPC, flags::NEWNET]
            .into_iter()
            .filter(enters)
            .fold(mounts, |all, one| all | one)
    }

    /// The path at which its root is mounted until it becomes `/`; nothing where it lies over `/` from the beginning.
    pub(crate) fn mounted_root(&self) -> Option<CString> {
        self.steps.iter().find_map(|step| match &step.action {
            Action::Init(InitAction::BindRoot(root)) if root.detached.is_none() => Some(root.path.clone()),
            _ => None,
        })
    }

    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Which systemd makes its cgroup, if one does: 0 for the host's, else a user's number.
    pub(crate) fn cgroup_manager(&self) -> Option<u32> {
        let manager = self.cgroup.as_ref().and_then(|plan| plan.path.manager());
        manager.map(|manager| match manager {
            cgroup::Manager::System => 0,
            cgroup::Manager::User(uid) => uid,
        })
    }

    /// The path of its cgroup below each hierarchy's root, if it has one.
    pub fn cgroup_path(&self) -> Option<&str> {
        self.cgroup.as_ref().map(|plan| plan.path.as_str())
    }
}

/// The container's group, if it gets one; where it is made meanwhile, so is the network namespace.
fn group(
    spec: &Spec,
    linux: &Linux,
    options: &PlanOptions,
    caller: Caller,
    namespaces: &mut NamespacePlan,
    warnings: &mut Vec<Warning>,
) -> Result<Option<CgroupPlan>> {
    let mut cgroup = match options.cgroup_manager {
        CgroupManager::Disabled => {
            warnings.extend(without_group(linux, caller, namespaces)?);
            None
        }
        _ => {
            let planned = plan_cgroup(spec, linux, options, caller)?;
            if planned.is_none() && options.bind_rules == BindRules::Customary {
                warnings.extend(container_cgroup::unfound_processes(namespaces));
            }
            planned
        }
    };
    if let (Some(plan), Caller::Root) = (&mut cgroup, caller) {
        plan.delegate_to = delegate_to(spec, linux, &plan.layout);
    }
    if options.attachment.is_none() && cgroup.as_ref().is_some_and(CgroupPlan::is_made_meanwhile) {
        namespaces.make_network_meanwhile();
    }
    Ok(cgroup)
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
    let proc = devices::hosts_proc()?;
    let open = init_step(InitAction::OpenLabel { proc, path: path.to_owned() }, field);
    Ok(Some((open, c_string(&text, field)?)))
}

/// The filter of a process.
pub(crate) struct Filter {
    pub(crate) step: Step,
    /// Whether a container that is created and not yet started has it.
    created_with: bool,
}

pub(crate) fn seccomp_filter(linux: &Linux, warnings: &mut Vec<Warning>) -> Result<Option<Filter>> {
    let Some(profile) = &linux.seccomp else { return Ok(None) };
    let program = seccomp::compile(profile, seccomp::Options::default())
        .map_err(|error| Error::invalid("linux.seccomp", error.to_string()))?;
    warnings.extend(program.warnings.iter().map(Warning::from));
    let listener = match (program.listener, Caller::find()) {
        (false, _) => None,
        (true, Caller::User) => Some(Handover::Descriptor),
        (true, Caller::Root | Caller::NamespaceRoot) => Some(Handover::Number),
    };
    if let (Some(_), Some(agent)) = (listener, Agent::of(profile)) {
        agent.check()?;
    }
    let created_with = listener.is_some() && program.lets_wait;
    let action = InitAction::Seccomp { instructions: program.instructions, flags: program.flags, listener };
    Ok(Some(Filter { step: init_step(action, "linux.seccomp"), created_with }))
}
