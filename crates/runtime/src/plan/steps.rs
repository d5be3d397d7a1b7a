//! The list of steps as it grows, part by part.

use std::ffi::CString;
use std::path::Path;

use sys::clone::flags;
use sys::mount::Reach;

use super::container_cgroup::CgroupPlan;
use super::id_maps::IdMaps;
use super::joined_mounts::Place;
use super::mounts::{self, MountContext};
use super::namespaces::{self, NamespacePlan};
use super::net_devices::NetDevice;
use super::options::{
    Lifetime, MemoryFile, PlanOptions, RootChange, RootOwners, RootPiece, RootPieceKind, RootSource, Start,
};
use super::owners::{self, Detached, Users};
use super::{
    MountPoint, always, anchor, c_path, c_string, check, closed, devices, host, init_step, limits,
    mount_points, sysctl,
};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::init::step::{
    Action, Barrier, BoundRoot, HookKind, HostAction, InitAction, Lower, MOST_LAYERS, Opened, OverlayRoot,
    Owners, Piece, PieceKind, PiecedRoot, PlannedFile, Rights, Step, Target, TargetKind,
};
use crate::rdt::Wanted;
use crate::root_directory::RootDirectory;
use crate::shared_root::JoinedMounts;
use crate::spec::{Hook, Linux, NamespaceKind, Process, Spec};

pub(super) struct Steps {
    pub(super) list: Vec<Step>,
    /// Mounts that the parent makes.
    pub(super) detached: Detached,
    pub(super) caller: Caller,
}

/// What becomes of the propagation of the host's mounts in the container's namespace.
pub(super) fn hosts_propagation(linux: Option<&Linux>) -> (u64, &'static str) {
    let flags = |name| mounts::propagation_flags(name).expect("a known name");
    match linux.and_then(|linux| linux.rootfs_propagation.as_deref()) {
        Some("shared" | "rshared" | "slave" | "rslave") => (flags("rslave"), "slaves of the host's"),
        _ => (flags("rprivate"), "private"),
    }
}

/// The state directory is root's alone, so nobody in a user namespace gets there.
pub(super) fn detaches_files(users: Users<'_>) -> bool {
    users.are_own() && rustix::process::geteuid().is_root()
}

impl Steps {
    pub(super) fn host_part(
        &mut self,
        options: &PlanOptions,
        namespaces: &NamespacePlan,
        id_maps: Option<&IdMaps>,
        (cgroup, rdt): (Option<&CgroupPlan>, Option<&Wanted>),
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
        let meanwhile = cgroup.filter(|plan| plan.is_made_meanwhile());
        match (cgroup, meanwhile) {
            (Some(cgroup), Some(_)) if cgroup.layout.unified().is_some() => {
                let path = cgroup.path.as_str().to_owned();
                self.list.push(host(HostAction::CreateUnifiedCgroup { path }, Some("linux.cgroupsPath")));
            }
            (Some(cgroup), None) => self.create_cgroup(cgroup),
            _ => {}
        }
        if let Some(rdt) = rdt {
            let group = rdt.membership.group.clone();
            let lines = rdt.writes.concat();
            self.list.push(host(HostAction::MakeRdtGroup { group, lines }, Some("linux.intelRdt")));
        }
        if options.start == Start::AtGate {
            self.list.push(host(HostAction::OpenGate, None));
        }
        let names = namespaces::names(namespaces.at_clone);
        let into_cgroup = cgroup.is_some_and(|plan| plan.layout.unified().is_some());
        self.list.push(host(HostAction::Clone { namespaces: names, into_cgroup }, Some("linux.namespaces")));
        if let Some(cgroup) = meanwhile {
            self.create_cgroup(cgroup);
        }
        if let Some(maps) = id_maps {
            let write = HostAction::WriteIdMaps { maps: maps.clone() };
            self.list.push(host(write, Some("linux.uidMappings")));
        }
        if let Some(value) = process.oom_score_adj {
            self.list.push(host(HostAction::SetOomScore { value }, Some("process.oomScoreAdj")));
        }
    }

    fn create_cgroup(&mut self, cgroup: &CgroupPlan) {
        let path = cgroup.path.as_str().to_owned();
        self.list.push(host(HostAction::CreateCgroup { path }, Some("linux.cgroupsPath")));
        let description = limits::describe(&cgroup.resources);
        self.list.push(host(HostAction::ApplyLimits { description }, Some("linux.resources")));
        if let Some(user) = cgroup.delegate_to {
            self.list.push(host(HostAction::DelegateCgroup { user }, Some("linux.uidMappings")));
        }
    }

    pub(super) fn child_beginning(
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
        if namespaces.meanwhile != 0 {
            let names = namespaces::names(namespaces.meanwhile);
            let action = InitAction::UnshareMeanwhile { flags: namespaces.meanwhile, names };
            self.list.push(init_step(action, "linux.namespaces"));
        }
        if let Some(cgroup) = cgroup {
            if cgroup.is_made_meanwhile() {
                self.list.push(init_step(InitAction::ReceiveCgroup, "linux.cgroupsPath"));
            }
            let path = cgroup.path.as_str().to_owned();
            self.list.push(init_step(InitAction::JoinCgroup { path }, "linux.cgroupsPath"));
        }
        let makes_users = matches!(users, Users::New(_));
        self.list.push(always(InitAction::ResetCpuAffinity));
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

    /// A new network namespace has its loopback device down, and programs talk to themselves over it. A caller that lays
    /// the network out has thought of it.
    pub(super) fn loopback(&mut self, options: &PlanOptions, namespaces: &NamespacePlan) {
        if namespaces.makes(flags::NEWNET) && options.network.is_none() {
            let program = crate::rtnetlink::loopback();
            self.list.push(init_step(InitAction::ConfigureNetwork(program), "linux.namespaces"));
        }
    }

    pub(super) fn net_devices(&mut self, devices: &[NetDevice]) {
        if devices.is_empty() {
            return;
        }
        let asked = "linux.netDevices";
        let name = |device: &NetDevice| match device.name == device.inside {
            true => format!("`{}`", device.name),
            false => format!("`{}` as `{}`", device.name, device.inside),
        };
        let names = devices.iter().map(name).collect::<Vec<_>>().join(", ");
        self.list.push(host(HostAction::MoveNetDevices { names }, Some(asked)));
        self.list.push(init_step(InitAction::Wait(Barrier::NetDevices), asked));
    }

    /// Just before the record says that the container is made: its init is the one that stays, and alone.
    pub(super) fn join_rdt(&mut self, rdt: Option<&Wanted>) {
        if let Some(rdt) = rdt {
            let group = rdt.membership.group.clone();
            self.list.push(host(HostAction::JoinRdtGroup { group }, Some("linux.intelRdt")));
        }
    }

    pub(super) fn hooks<'a>(&mut self, kind: HookKind, hooks: impl Iterator<Item = &'a Hook>) {
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

    pub(super) fn file_systems(
        &mut self,
        spec: &Spec,
        options: &PlanOptions,
        namespaces: &NamespacePlan,
        cgroup: Option<&CgroupPlan>,
        root: &RootDirectory,
        users: Users<'_>,
    ) -> Result<()> {
        let (flags, name) = hosts_propagation(spec.linux.as_ref());
        if namespaces.makes(flags::NEWNS) {
            self.list.push(always(InitAction::Propagation { flags, name }));
        }
        let label = spec.linux.as_ref().and_then(|linux| mounts::label_in_force(linux, mounts::has_selinux));
        self.root(spec, options, root, users, label)?;
        let callers = mounts::callers_groups(spec, options).filter(|_| cgroup.is_none());
        let context = MountContext {
            bundle: &options.bundle,
            cgroup_layout: cgroup.map(|plan| &plan.layout).or(callers.as_ref()),
            cgroup_path: cgroup.map(|plan| plan.path.as_str()),
            new_cgroup_namespace: namespaces.unshared & flags::NEWCGROUP != 0,
            label,
            users,
            caller: self.caller,
            propagation: flags,
            bind_rules: options.bind_rules,
            rootfs: (options.root == RootSource::Directory).then(|| root.path()),
            made_later: &options.made_later,
        };
        let mounts = mounts::plan_mounts(spec, &context, &mut self.detached)?;
        self.list.extend(mounts);
        let read_only = spec.root.as_ref().is_some_and(|root| root.readonly);
        for (index, file) in options.files.iter().enumerate() {
            // Made when the file is written, so after those of the list.
            let number = detaches_files(users).then(|| self.detached.steps.len() + index);
            self.list.push(always(mounts::own_file(file, &options.state_directory, read_only, number)?));
        }
        self.memory_files(&options.memory_files, label)?;
        if !binds_dev(spec) {
            let devices = spec.linux.as_ref().map(|linux| linux.devices.as_slice()).unwrap_or_default();
            let devices = devices::plan_devices(devices, self.is_restricted(users))?;
            self.list.push(init_step(InitAction::Devices { devices }, "linux.devices"));
            self.list.push(always(InitAction::Links { links: devices::plan_links()? }));
        }
        let process = spec.process.as_ref();
        if !binds_dev(spec) && namespaces.mounts.is_none() && process.is_some_and(|process| !process.terminal)
        {
            self.list.push(devices::null_streams(None)?);
        }
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
        closed::close_late(&mut self.list)?;
        let mut hidden = Vec::new();
        closed::plan_hidden(spec, &mut hidden)?;
        // Kernel parameters are written while /proc/sys still can be.
        self.sysctls(spec)?;
        self.list.extend(hidden);
        anchor::anchor(&mut self.list)
    }

    fn memory_files(&mut self, files: &[MemoryFile], label: Option<&str>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let planned = |file: &MemoryFile| {
            let MemoryFile { destination, content, uid, gid, mode, asked_by: _ } = file.clone();
            let target = Target::parse(&destination, TargetKind::File, &destination)?;
            let target = Target { covers_link: true, ..target };
            Ok(PlannedFile { target, content, uid, gid, mode })
        };
        let asked_by = files.iter().map(|file| file.asked_by.as_str()).collect::<Vec<_>>().join(", ");
        let files = files.iter().map(planned).collect::<Result<_>>()?;
        let label = label.map(|label| c_string(label, "linux.mountLabel")).transpose()?;
        self.list.push(init_step(InitAction::MemoryFiles { files, label }, asked_by));
        Ok(())
    }

    /// Whether the kernel holds back what it gives root of the host alone, such as making device nodes.
    pub(super) fn is_restricted(&self, users: Users<'_>) -> bool {
        users.are_own() || self.caller == Caller::NamespaceRoot
    }

    /// The root itself: bound, or an overlay over it and over each mount in it.
    pub(super) fn root(
        &mut self,
        spec: &Spec,
        options: &PlanOptions,
        root: &RootDirectory,
        users: Users<'_>,
        label: Option<&str>,
    ) -> Result<()> {
        let rootfs = root.path();
        let root_path = c_path(rootfs, "root.path")?;
        let planned = root.identity().map_err(|error| Error::at_path("examine", rootfs, error))?;
        let shifted = options.root_owners == RootOwners::Shifted;
        let mut detach =
            |source: &CString, opened: Option<Opened>, recursive: bool| -> Result<Option<usize>> {
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
                Ok(Some(self.detached.add(source, opened, recursive, owners, asked_by)))
            };
        let action = match &options.root {
            RootSource::Directory => {
                let detached = detach(&root_path, Some(Opened::Root), true)?;
                InitAction::BindRoot(BoundRoot { path: root_path, planned, detached })
            }
            RootSource::Pieces(pieces) => pieced_root(pieces)?,
            RootSource::Overlay { below, scratch, kept, submounts } => {
                if below.len() >= MOST_LAYERS {
                    let reason = format!(
                        "an overlay has at most {MOST_LAYERS} layers, and this one {}",
                        below.len() + 1
                    );
                    return Err(Error::invalid("root.path", reason));
                }
                let detached = detach(&root_path, Some(Opened::Root), false)?;
                let mut lowers = vec![Lower { path: root_path, planned: Some(planned), detached }];
                for path in below {
                    check::path_is_text(path, "root.path")?;
                    let path = c_path(path, "root.path")?;
                    let detached = detach(&path, None, false)?;
                    lowers.push(Lower { path, planned: None, detached });
                }
                let mut uppers = None;
                if let Some(path) = kept {
                    check::path_is_text(path, "root.path")?;
                    let path = c_path(path, "root.path")?;
                    let detached = detach(&path, None, false)?;
                    uppers = Some(Lower { path, planned: None, detached });
                }
                let mut plans = Vec::new();
                for path in submounts {
                    let text = path.to_string_lossy();
                    let inside =
                        text.strip_prefix(rootfs.to_string_lossy().trim_end_matches('/')).unwrap_or(&text);
                    let path = c_string(&text, "root.path")?;
                    let detached = detach(&path, None, false)?;
                    let target = Target::parse(inside, TargetKind::Directory, "root.path")?;
                    plans.push((Lower { path, planned: None, detached }, target));
                }
                let (rights, points) = match self.is_restricted(users) {
                    true => (Rights::UserNamespace, overlay_points(spec, options)),
                    false => (Rights::Host, Vec::new()),
                };
                // Nobody in a user namespace reaches the caller's directory; the old root serves as well.
                let scratch = if users.are_own() { Path::new("/") } else { scratch };
                InitAction::OverlayRoot(OverlayRoot {
                    scratch: c_path(scratch, "root.path")?,
                    lowers,
                    uppers,
                    submounts: plans,
                    label: label.map(|label| c_string(label, "linux.mountLabel")).transpose()?,
                    rights,
                    points,
                })
            }
        };
        self.list.push(init_step(action, "root.path"));
        Ok(())
    }

    /// The overlays that the root has beside its own.
    pub(super) fn layers(&self) -> Result<Vec<CString>> {
        let place = |target: &Target| c_string(&format!("/{}", target.path.to_string_lossy()), "root.path");
        let mut layers = Vec::new();
        for step in &self.list {
            match &step.action {
                Action::Init(InitAction::OverlayRoot(root)) => layers.extend(root.layers().map(place)),
                Action::Init(InitAction::PiecedRoot(root)) => layers.extend(root.layers().map(place)),
                _ => {}
            }
        }
        layers.into_iter().collect()
    }

    pub(super) fn sysctls(&mut self, spec: &Spec) -> Result<()> {
        let Some(linux) = spec.linux.as_ref().filter(|linux| !linux.sysctl.is_empty()) else { return Ok(()) };
        let mut values = Vec::new();
        for (name, value) in &linux.sysctl {
            values.push(sysctl::sysctl(name, value, spec)?);
        }
        let directory = Target::parse("/proc/sys", TargetKind::Directory, "linux.sysctl")?;
        self.list.push(init_step(InitAction::Sysctls { directory, values }, "linux.sysctl"));
        Ok(())
    }

    pub(super) fn identity(&mut self, spec: &Spec, options: &PlanOptions, linux: &Linux) -> Result<()> {
        let own = linux.namespaces.iter().any(|namespace| namespace.kind == NamespaceKind::Uts);
        let named = |field: &str, value: &Option<String>| -> Result<Option<CString>> {
            let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { return Ok(None) };
            if !own {
                let reason =
                    "needs a uts namespace in linux.namespaces, or it would change the host's".to_owned();
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

    pub(super) fn change_root(&mut self, change: RootChange, own_mounts: bool) -> Result<()> {
        self.list.push(match change {
            _ if !own_mounts => init_step(InitAction::ChangeRoot, "linux.namespaces"),
            RootChange::Pivot => always(InitAction::PivotRoot),
            RootChange::Move => {
                let visible = mounts::kernels_own().map_err(|error| error.from_field("--no-pivot"))?;
                init_step(InitAction::MoveRoot { visible }, "--no-pivot")
            }
        });
        Ok(())
    }

    /// In the place of a change of root. Streams are opened after it, as their mount would be one of the namespace that is
    /// left behind.
    pub(super) fn join_mounts(&mut self, place: Place<'_>, process: &Process) -> Result<JoinedMounts> {
        let (action, record) = place.into_parts();
        self.list.push(init_step(action, "linux.namespaces"));
        if !process.terminal {
            self.list.push(devices::null_streams(Some(devices::hosts_proc()?))?);
        }
        Ok(record)
    }

    pub(super) fn root_propagation(&mut self, name: &str) -> Result<()> {
        let Some(flags) = mounts::propagation_flags(name) else {
            return Err(Error::invalid("linux.rootfsPropagation", format!("`{name}` is not a propagation")));
        };
        let action = InitAction::RootPropagation { flags, name: name.to_owned() };
        self.list.push(init_step(action, "linux.rootfsPropagation"));
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
    spec.mounts.iter().any(|mount| mount.destination.trim_end_matches('/') == "/dev" && mount.is_bind())
}

/// What will be mounted in the overlay of the root itself. A point that is no path is refused with its mount.
fn overlay_points(spec: &Spec, options: &PlanOptions) -> Vec<CString> {
    let in_memory = options.memory_files.iter().map(|file| file.destination.as_str());
    let files = options.files.iter().map(|file| file.destination).chain(in_memory);
    let points = mount_points(spec, files).into_iter().filter(|point| point.mount.is_none());
    let target = |point: MountPoint| Target::parse(&point.path, point.kind, "mounts").ok();
    points.filter_map(target).map(|target| target.path).collect()
}
