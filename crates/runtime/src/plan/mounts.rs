//! What is mounted where: config.json's `mounts`, masked and read-only paths, laid out for the child.

use std::borrow::Cow;
use std::ffi::CString;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use sys::mount::{attribute, propagation};

use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::init::procfs::PROC_FILES;
use crate::init::step::{CopyUp, FileSystem, InitAction, Link, MountPlan, Step, Target, TargetKind};
use crate::plan::binds::{Wanted, by_path, plan_bind};
use crate::plan::mount_options::{Options, parse_options};
use crate::plan::options::{BindRules, CgroupManager, PlanOptions};
use crate::plan::owners::{self, Detached, Users};
use crate::plan::{c_path, c_string, init_step};
use crate::remedy::PROC_HINT;
use crate::spec::{Linux, Mount, NamespaceKind, Spec};

impl Target {
    /// Parses a destination. `..` can't lead out of the root, as the kernel resolves the path inside it, yet it is
    /// refused here: it never means what it says once links are involved.
    pub(crate) fn parse(destination: &str, kind: TargetKind, field: impl Display) -> Result<Target> {
        let parts: Vec<&str> =
            destination.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(Error::invalid(field.to_string(), format!("`{destination}` contains `..`")));
        }
        let path = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
        Ok(Target { path: c_string(&path, field)?, kind, anchor: None, covers_link: false, kept_at: None })
    }
}

/// The propagation flags behind a name of `mount(8)`.
pub(crate) fn propagation_flags(name: &str) -> Option<u64> {
    let (recursive, name) = match name.strip_prefix('r') {
        Some(rest) => (propagation::REC, rest),
        None => (0, name),
    };
    let flag = match name {
        "private" => propagation::PRIVATE,
        "slave" => propagation::SLAVE,
        "shared" => propagation::SHARED,
        "unbindable" => propagation::UNBINDABLE,
        _ => return None,
    };
    Some(flag | recursive)
}

/// Whether mounts made in the container would show where these flags lead.
pub(super) fn is_shared(propagation: u64) -> bool {
    propagation & propagation::SHARED != 0
}

/// Whether mounts made on the host would show in the container.
pub(super) fn is_slave(propagation: u64) -> bool {
    propagation & propagation::SLAVE != 0
}

/// What the mounts need to know of the host and the rest of the plan.
pub(crate) struct MountContext<'a> {
    pub(crate) bundle: &'a Path,
    pub(crate) cgroup_layout: Option<&'a cgroup::Layout>,
    /// The container's group; none where it stays in the caller's.
    pub(crate) cgroup_path: Option<&'a str>,
    pub(crate) new_cgroup_namespace: bool,
    /// The SELinux label of new file systems.
    pub(crate) label: Option<&'a str>,
    pub(crate) users: Users<'a>,
    pub(crate) caller: Caller,
    /// What becomes of the host's mounts in the container's namespace.
    pub(crate) propagation: u64,
    pub(crate) bind_rules: BindRules,
    /// The root directory, where it is the container's root as it is.
    pub(crate) rootfs: Option<&'a Path>,
    /// Sources of binds that are made before the start.
    pub(crate) made_later: &'a [PathBuf],
}

/// The label for the container's file systems (config-linux.md, "Mount Label"), where SELinux is there to obey it.
pub(crate) fn label_in_force(linux: &Linux, selinux: impl FnOnce() -> bool) -> Option<&str> {
    linux.mount_label.as_deref().filter(|label| !label.is_empty() && selinux())
}

/// Where the host shows proc and sysfs, inner mounts first.
pub(super) fn kernels_own() -> Result<Vec<CString>> {
    let path = Path::new("/proc/self/mountinfo");
    let table = std::fs::read(path).map_err(|error| Error::at_path("read", path, error))?;
    let kernels = sys::mount_table::entries(&table)
        .filter(|mount| matches!(&*mount.file_system, "proc" | "sysfs"))
        .map(|mount| c_path(&mount.mount_point, "/proc/self/mountinfo"));
    let mut places = kernels.collect::<Result<Vec<CString>>>()?;
    // Later lines are inner mounts, or lie over earlier ones.
    places.reverse();
    Ok(places)
}

/// Whether SELinux is on and has a policy. A kernel that was built with it shows its files without one too, and then
/// knows no label: the context of the kernel itself is a word without parts.
pub fn has_selinux() -> bool {
    std::fs::read("/sys/fs/selinux/initial_contexts/kernel").is_ok_and(|context| context.contains(&b':'))
}

/// The steps for every entry of `mounts`, in order; what the parent must make for them is added to `detached`.
pub(crate) fn plan_mounts(
    spec: &Spec,
    context: &MountContext<'_>,
    detached: &mut Detached,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mounts = destinations_inside(&spec.mounts, context);
    for index in 0..mounts.len() {
        let field = format!("mounts[{index}]");
        plan_mount((index, &mounts), &field, context, &mut steps, detached)?;
    }
    Ok(steps)
}

/// A destination that begins with the root directory's own path on the host means the place inside, as runc has it.
fn destinations_inside<'a>(mounts: &'a [Mount], context: &MountContext<'_>) -> Cow<'a, [Mount]> {
    let rootfs = context
        .rootfs
        .filter(|rootfs| context.bind_rules == BindRules::Customary && rootfs.as_os_str().len() > 1);
    let inside = |mount: &Mount| {
        let rest = Path::new(&mount.destination).strip_prefix(rootfs?).ok()?.to_str()?;
        Some(format!("/{rest}"))
    };
    if !mounts.iter().any(|mount| inside(mount).is_some()) {
        return Cow::Borrowed(mounts);
    }
    let moved = |mount: &Mount| Mount {
        destination: inside(mount).unwrap_or_else(|| mount.destination.clone()),
        ..mount.clone()
    };
    Cow::Owned(mounts.iter().map(moved).collect())
}

fn plan_mount(
    (number, mounts): (usize, &[Mount]),
    field: &str,
    context: &MountContext<'_>,
    steps: &mut Vec<Step>,
    detached: &mut Detached,
) -> Result<()> {
    let mount = &mounts[number];
    if mount.destination.is_empty() {
        return Err(Error::invalid(format!("{field}.destination"), "is empty".to_owned()));
    }
    let options_field = format_args!("{field}.options");
    let options = parse_options(mount.options.as_deref().unwrap_or_default());
    let destination_field = format_args!("{field}.destination");
    let kind = mount.kind.as_deref().unwrap_or_default();
    check_procfs(mount, destination_field)?;
    if options.remount && mount.bind_option().is_none() {
        let target = Target::parse(&mount.destination, TargetKind::Directory, destination_field)?;
        steps.push(init_step(
            InitAction::SetAttributes {
                target,
                set: options.attributes.set,
                clear: options.attributes.clear,
            },
            field,
        ));
        return Ok(());
    }
    if let Some(recursive) = mount.bind_recursion() {
        let wanted = Wanted { mount, number, field, recursive, options, earlier: &mounts[..number] };
        steps.push(plan_bind(wanted, context, detached)?);
        return Ok(());
    }
    if options.throw_away {
        return Err(Error::invalid(options_field.to_string(), "`tmpoverlay` is for bind mounts".to_owned()));
    }
    if options.copy_up && kind != "tmpfs" {
        return Err(Error::invalid(options_field.to_string(), "`tmpcopyup` is for tmpfs".to_owned()));
    }
    if owners::asked_for(mount, options.idmap, context.users, field)?.is_some() {
        let reason = "`idmap` and id maps are for bind mounts; this is a new file system".to_owned();
        let hint = "leave them out: what the container makes there has the container's owners already";
        return Err(Error::invalid(options_field.to_string(), reason).with_hint(hint));
    }
    if kind == "cgroup" || kind == "cgroup2" {
        return plan_cgroup(mount, field, &options, context, steps);
    }
    if kind.is_empty() {
        return Err(Error::invalid(
            format!("{field}.type"),
            "is missing, and no option says `bind`".to_owned(),
        ));
    }
    let target = Target::parse(&mount.destination, TargetKind::Directory, destination_field)?;
    let mut parameters = options.parameters;
    if kind == "mqueue" || kind == "proc" || kind == "sysfs" {
        // Their only options are those of the mount itself.
        parameters.retain(|(key, _)| matches!(key.as_str(), "hidepid" | "gid" | "subset"));
    } else if let Some(label) = context.label
        && !parameters.iter().any(|(key, _)| key == "context")
    {
        // Those three have labels of the kernel's own.
        parameters.push(("context".to_owned(), Some(label.to_owned())));
    }
    let file_system = FileSystem {
        file_system: c_string(kind, format_args!("{field}.type"))?,
        source: c_string(mount.source.as_deref().filter(|source| !source.is_empty()).unwrap_or(kind), field)?,
        parameters: lay_out(&parameters, options_field)?,
        copy_up: options.copy_up.then(|| {
            let said = parameters.iter().any(|(key, _)| matches!(key.as_str(), "mode" | "uid" | "gid"));
            if said { CopyUp::Content } else { CopyUp::All }
        }),
        inherits_mode: kind == "tmpfs" && !parameters.iter().any(|(key, _)| key == "mode"),
        on_ordinary: matches!((kind, target.path.to_bytes()), ("proc", b"proc") | ("sysfs", b"sys")),
    };
    let plan = MountPlan {
        kind: file_system,
        target,
        attributes: options.attributes,
        recursive: options.recursive,
        propagation: options.propagation,
    };
    steps.push(init_step(InitAction::Mount(plan), field));
    Ok(())
}

/// A mount in /proc could fake what programs, and this runtime itself, read and write there (CVE-2019-19921,
/// CVE-2025-52881). Links that lead there are seen by the child, which has the same list.
fn check_procfs(mount: &Mount, field: impl Display) -> Result<()> {
    let target = Target::parse(&mount.destination, TargetKind::Directory, &field)?;
    if !target.path.as_bytes().starts_with(b"proc/") || PROC_FILES.contains(&target.path.as_bytes()) {
        return Ok(());
    }
    let reason = format!("`{}` lies in /proc, and a mount there could fake it", mount.destination);
    Err(Error::invalid(field.to_string(), reason).with_hint(PROC_HINT))
}

fn lay_out(
    parameters: &[(String, Option<String>)],
    field: impl Display,
) -> Result<Vec<(CString, Option<CString>)>> {
    parameters
        .iter()
        .map(|(key, value)| {
            let value = value.as_deref().map(|value| c_string(value, &field)).transpose()?;
            Ok((c_string(key, &field)?, value))
        })
        .collect()
}

/// The cgroup file system: cgroup2 where that is all there is, else a tmpfs with each v1 hierarchy in it.
fn plan_cgroup(
    mount: &Mount,
    field: &str,
    options: &Options,
    context: &MountContext<'_>,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let Some(layout) = context.cgroup_layout else {
        return Ok(());
    };
    let destination_field = format_args!("{field}.destination");
    let fresh = |file_system: &str,
                 path: &str,
                 parameters: &[(String, Option<String>)],
                 attributes|
     -> Result<InitAction> {
        Ok(InitAction::Mount(MountPlan {
            kind: FileSystem {
                file_system: c_string(file_system, field)?,
                source: c_string("cgroup", field)?,
                parameters: lay_out(parameters, field)?,
                copy_up: None,
                inherits_mode: false,
                on_ordinary: false,
            },
            target: Target::parse(path, TargetKind::Directory, destination_field)?,
            attributes,
            recursive: sys::mount::Attributes::default(),
            propagation: options.propagation,
        }))
    };
    let hosts = layout.unified().filter(|_| !context.new_cgroup_namespace && context.users.are_own());
    if let (cgroup::Version::V2, Some(hosts)) = (layout.version(), hosts) {
        // The kernel mounts it for whoever owns the cgroup namespace (EPERM), which is the host's here: then its own
        // mount is shown, in which the owners of the files are the limit.
        let place = Path::new(hosts.mount_point());
        let bind = InitAction::Bind(MountPlan {
            kind: by_path(place, None, field)?,
            target: Target::parse(&mount.destination, TargetKind::Directory, destination_field)?,
            attributes: options.attributes,
            recursive: sys::mount::Attributes::default(),
            propagation: options.propagation,
        });
        steps.push(init_step(bind, field));
        return Ok(());
    }
    if layout.version() == cgroup::Version::V2 {
        steps.push(init_step(fresh("cgroup2", &mount.destination, &[], options.attributes)?, field));
        return Ok(());
    }
    let writable =
        sys::mount::Attributes { set: options.attributes.set & !attribute::RDONLY, ..options.attributes };
    let mode = [("mode".to_owned(), Some("755".to_owned()))];
    steps.push(init_step(fresh("tmpfs", &mount.destination, &mode, writable)?, field));
    let mut links = Vec::new();
    for hierarchy in layout.hierarchies() {
        let name = hierarchy.mount_point().rsplit('/').next().unwrap_or_default();
        let path = format!("{}/{name}", mount.destination);
        let action = if context.new_cgroup_namespace {
            match hierarchy.language() {
                cgroup::Language::V1 => {
                    fresh("cgroup", &path, &v1_parameters(hierarchy.controllers()), options.attributes)?
                }
                cgroup::Language::V2 => fresh("cgroup2", &path, &[], options.attributes)?,
            }
        } else {
            let own = match context.cgroup_path {
                Some(path) => Path::new(hierarchy.mount_point()).join(path.trim_start_matches('/')),
                None => callers_group(hierarchy),
            };
            InitAction::Bind(MountPlan {
                kind: by_path(&own, None, field)?,
                target: Target::parse(&path, TargetKind::Directory, destination_field)?,
                attributes: options.attributes,
                recursive: sys::mount::Attributes::default(),
                propagation: options.propagation,
            })
        };
        steps.push(init_step(action, field));
        // Joint hierarchies are known by each controller's own name too.
        if name.contains(',') {
            for controller in name.split(',') {
                links.push(Link {
                    text: c_string(name, field)?,
                    target: Target::parse(
                        &format!("{}/{controller}", mount.destination),
                        TargetKind::File,
                        destination_field,
                    )?,
                });
            }
        }
    }
    if !links.is_empty() {
        steps.push(init_step(InitAction::Links { links }, field));
    }
    if options.attributes.set & attribute::RDONLY != 0 {
        let target = Target::parse(&mount.destination, TargetKind::Directory, destination_field)?;
        steps.push(init_step(InitAction::SetAttributes { target, set: attribute::RDONLY, clear: 0 }, field));
    }
    Ok(())
}

/// What a container without a group shows where its config mounts cgroups, as callers of OCI runtimes know it: the caller's,
/// in which it stays.
pub(super) fn callers_groups(spec: &Spec, options: &PlanOptions) -> Option<cgroup::Layout> {
    let is_cgroup = |mount: &Mount| matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2"));
    let shown =
        options.bind_rules == BindRules::Customary && options.cgroup_manager != CgroupManager::Disabled;
    (shown && spec.mounts.iter().any(is_cgroup)).then(cgroup::Layout::detect)?.ok()
}

/// The caller's group, or what is mounted, where that begins below the hierarchy's root.
fn callers_group(hierarchy: &cgroup::Hierarchy) -> PathBuf {
    let mount_point = Path::new(hierarchy.mount_point());
    let own = mount_point.join(hierarchy.own_path().trim_start_matches('/'));
    if own.is_dir() { own } else { mount_point.to_owned() }
}

/// The mount options that name a v1 hierarchy: its controllers, or `none` and its name.
fn v1_parameters(controllers: &str) -> Vec<(String, Option<String>)> {
    let mut parameters = Vec::new();
    for one in controllers.split(',') {
        match one.split_once('=') {
            Some((key, value)) => {
                parameters.push(("none".to_owned(), None));
                parameters.push((key.to_owned(), Some(value.to_owned())));
            }
            None => parameters.push((one.to_owned(), None)),
        }
    }
    parameters
}

/// Binds a file that the parent writes into the state directory; `detached` is the mount that the parent makes of it.
pub(crate) fn own_file(
    file: &crate::plan::OwnFile,
    state_directory: &Path,
    read_only: bool,
    detached: Option<usize>,
) -> Result<InitAction> {
    let closed = attribute::NOSUID | attribute::NODEV | attribute::NOEXEC;
    let set = if read_only { closed | attribute::RDONLY } else { closed };
    let source = state_directory.join(file.name);
    let target = Target::parse(file.destination, TargetKind::File, file.destination)?;
    Ok(InitAction::Bind(MountPlan {
        kind: by_path(&source, detached, file.destination)?,
        target: Target { covers_link: true, ..target },
        attributes: sys::mount::Attributes { set, ..Default::default() },
        recursive: sys::mount::Attributes::default(),
        propagation: 0,
    }))
}

/// Whether `spec` makes a new namespace of this kind.
pub(crate) fn makes_namespace(spec: &Spec, kind: NamespaceKind) -> bool {
    spec.linux.iter().flat_map(|linux| &linux.namespaces).any(|namespace| {
        namespace.kind == kind && namespace.path.as_ref().is_none_or(|path| path.as_os_str().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_file_systems_take_the_mount_label_but_for_the_kernels_own() {
        let context = |label| MountContext {
            bundle: Path::new("/"),
            cgroup_layout: None,
            cgroup_path: None,
            new_cgroup_namespace: true,
            label,
            users: Users::Callers,
            caller: Caller::Root,
            propagation: propagation::PRIVATE,
            bind_rules: BindRules::Strict,
            rootfs: None,
            made_later: &[],
        };
        let mount = |kind: &str, option: &str| Mount {
            destination: "/x".to_owned(),
            kind: Some(kind.to_owned()),
            options: Some(vec![option.to_owned()]),
            ..Mount::default()
        };
        let labels = |mount: Mount, label| -> Vec<String> {
            let spec = Spec { mounts: vec![mount], ..Spec::default() };
            let steps = plan_mounts(&spec, &context(label), &mut Detached::new(0)).expect("legal");
            let parameters = steps.iter().flat_map(|step| match &step.action {
                crate::init::step::Action::Init(InitAction::Mount(plan)) => plan.kind.parameters.as_slice(),
                _ => &[],
            });
            let labels = parameters.filter(|(key, _)| key.as_c_str() == c"context");
            labels.map(|(_, value)| format!("{:?}", value.as_ref().expect("a value"))).collect()
        };
        const LABEL: Option<&str> = Some("system_u:object_r:container_file_t:s0:c1,c2");
        let expected = [r#""system_u:object_r:container_file_t:s0:c1,c2""#];
        assert_eq!(labels(mount("tmpfs", "mode=755"), LABEL), expected);
        assert_eq!(labels(mount("devpts", "ro"), LABEL), expected);
        assert_eq!(labels(mount("tmpfs", "context=own"), LABEL), [r#""own""#]);
        assert_eq!(labels(mount("tmpfs", "mode=755"), None), Vec::<String>::new());
        for kind in ["proc", "sysfs", "mqueue"] {
            assert_eq!(labels(mount(kind, "ro"), LABEL), Vec::<String>::new(), "{kind}");
        }
        let linux = Linux { mount_label: LABEL.map(str::to_owned), ..Linux::default() };
        assert_eq!((label_in_force(&linux, || true), label_in_force(&linux, || false)), (LABEL, None));
    }

    #[test]
    fn destination_with_parent_parts_is_refused() {
        let error =
            Target::parse("/a/../b", TargetKind::Directory, "mounts[3].destination").expect_err("refused");
        assert!(error.to_string().contains("mounts[3].destination"), "{error}");
    }
}
