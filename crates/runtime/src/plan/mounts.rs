//! What is mounted where: config.json's `mounts`, masked and read-only paths, laid out for the child.

use std::ffi::CString;
use std::path::Path;

use sys::mount::attribute;

use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::init::procfs::PROC_FILES;
use crate::init::step::{CopyUp, FileSystem, InitAction, Link, MountPlan, Step, Target, TargetKind};
use crate::plan::binds::{Wanted, by_path, plan_bind};
use crate::plan::owners::{self, Detached, Users};
use crate::plan::{c_string, init_step};
use crate::remedy::PROC_HINT;
use crate::spec::{Linux, Mount, NamespaceKind, Spec};

impl Target {
    /// Parses a destination. `..` can't lead out of the root, as the kernel resolves the path inside it, yet it is
    /// refused here: it never means what it says once links are involved.
    pub(crate) fn parse(destination: &str, kind: TargetKind, field: &str) -> Result<Target> {
        let parts: Vec<&str> =
            destination.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(Error::invalid(field, format!("`{destination}` contains `..`")));
        }
        let path = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
        let mut levels = Vec::with_capacity(parts.len());
        for (index, name) in parts.iter().enumerate() {
            let parent = if index == 0 { ".".to_owned() } else { parts[..index].join("/") };
            levels.push((c_string(&parent, field)?, c_string(name, field)?));
        }
        Ok(Target { path: c_string(&path, field)?, levels, kind, anchor: None, kept_at: None })
    }
}

const MS_REC: u64 = 1 << 14;
const MS_UNBINDABLE: u64 = 1 << 17;
const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
const MS_SHARED: u64 = 1 << 20;

/// The propagation flags behind a name of `mount(8)`.
pub(crate) fn propagation_flags(name: &str) -> Option<u64> {
    let (recursive, name) = match name.strip_prefix('r') {
        Some(rest) => (MS_REC, rest),
        None => (0, name),
    };
    let flag = match name {
        "private" => MS_PRIVATE,
        "slave" => MS_SLAVE,
        "shared" => MS_SHARED,
        "unbindable" => MS_UNBINDABLE,
        _ => return None,
    };
    Some(flag | recursive)
}

/// Whether mounts made in the container would show where these flags lead.
pub(super) fn is_shared(propagation: u64) -> bool {
    propagation & MS_SHARED != 0
}

/// Whether mounts made on the host would show in the container.
pub(super) fn is_slave(propagation: u64) -> bool {
    propagation & MS_SLAVE != 0
}

#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) attributes: sys::mount::Attributes,
    pub(super) recursive: sys::mount::Attributes,
    pub(super) propagation: u64,
    bind: Option<bool>,
    remount: bool,
    /// `tmpcopyup`: a tmpfs begins with a copy of what it covers.
    copy_up: bool,
    /// `tmpoverlay`, of our own: a bind mount whose writes are thrown away.
    pub(super) throw_away: bool,
    pub(super) idmap: Option<sys::mount::Reach>,
    parameters: Vec<(String, Option<String>)>,
}

/// One option of `mount(8)` that is an attribute of the mount: bits to set and to clear.
fn attribute_option(name: &str) -> Option<(u64, u64)> {
    Some(match name {
        "ro" => (attribute::RDONLY, 0),
        "rw" => (0, attribute::RDONLY),
        "nosuid" => (attribute::NOSUID, 0),
        "suid" => (0, attribute::NOSUID),
        "nodev" => (attribute::NODEV, 0),
        "dev" => (0, attribute::NODEV),
        "noexec" => (attribute::NOEXEC, 0),
        "exec" => (0, attribute::NOEXEC),
        "nodiratime" => (attribute::NODIRATIME, 0),
        "diratime" => (0, attribute::NODIRATIME),
        "nosymfollow" => (attribute::NOSYMFOLLOW, 0),
        "symfollow" => (0, attribute::NOSYMFOLLOW),
        "noatime" => (attribute::NOATIME, attribute::ATIME_MASK),
        "strictatime" => (attribute::STRICTATIME, attribute::ATIME_MASK),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (0, attribute::ATIME_MASK),
        _ => return None,
    })
}

fn merge(into: &mut sys::mount::Attributes, (set, clear): (u64, u64)) {
    into.set = (into.set & !clear) | set;
    into.clear = (into.clear & !(set & !attribute::ATIME_MASK)) | clear;
}

fn parse_options(options: &[String]) -> Options {
    let mut parsed = Options::default();
    for option in options {
        let name = option.as_str();
        if let Some(change) = attribute_option(name) {
            merge(&mut parsed.attributes, change);
        } else if let Some(change) = name.strip_prefix('r').and_then(attribute_option) {
            merge(&mut parsed.recursive, change);
        } else if let Some(flags) = propagation_flags(name) {
            parsed.propagation = flags;
        } else {
            match name {
                "defaults" | "async" | "nomand" | "nodirsync" | "loud" | "noiversion" | "nolazytime" => {}
                "bind" => parsed.bind = Some(false),
                "rbind" => parsed.bind = Some(true),
                "remount" => parsed.remount = true,
                "idmap" => parsed.idmap = Some(sys::mount::Reach::Mount),
                "ridmap" => parsed.idmap = Some(sys::mount::Reach::Tree),
                "tmpcopyup" => parsed.copy_up = true,
                "tmpoverlay" => parsed.throw_away = true,
                _ => {
                    let (key, value) = match name.split_once('=') {
                        Some((key, value)) => (key, Some(value.to_owned())),
                        None => (name, None),
                    };
                    parsed.parameters.push((key.to_owned(), value));
                }
            }
        }
    }
    parsed
}

/// What the mounts need to know of the host and the rest of the plan.
pub(crate) struct MountContext<'a> {
    pub(crate) bundle: &'a Path,
    pub(crate) cgroup_layout: Option<&'a cgroup::Layout>,
    pub(crate) cgroup_path: Option<&'a str>,
    pub(crate) new_cgroup_namespace: bool,
    /// The SELinux label of new file systems.
    pub(crate) label: Option<&'a str>,
    pub(crate) users: Users<'a>,
    pub(crate) caller: Caller,
    /// What becomes of the host's mounts in the container's namespace.
    pub(crate) propagation: u64,
}

/// The label for the container's file systems (config-linux.md, "Mount Label"), where SELinux is there to obey it.
pub(crate) fn label_in_force(linux: &Linux, selinux: impl FnOnce() -> bool) -> Option<&str> {
    linux.mount_label.as_deref().filter(|label| !label.is_empty() && selinux())
}

/// Where the host shows proc and sysfs, inner mounts first.
pub(super) fn kernels_own() -> Result<Vec<CString>> {
    let path = Path::new("/proc/self/mountinfo");
    let table = std::fs::read_to_string(path).map_err(|error| Error::at_path("read", path, error))?;
    let mut places = Vec::new();
    for line in table.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        if matches!(after.split(' ').next(), Some("proc" | "sysfs"))
            && let Some(place) = before.split(' ').nth(4)
        {
            places.push(c_string(&unescape(place), "/proc/self/mountinfo")?);
        }
    }
    // Later lines are inner mounts, or lie over earlier ones.
    places.reverse();
    Ok(places)
}

/// A path as mountinfo writes it: blanks, line ends and backslashes are octal (proc_pid_mountinfo(5)).
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (code, plain)| path.replace(code, plain))
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
    for (index, mount) in spec.mounts.iter().enumerate() {
        let field = format!("mounts[{index}]");
        plan_mount((index, mount), &field, context, &mut steps, detached)?;
    }
    Ok(steps)
}

fn plan_mount(
    (number, mount): (usize, &Mount),
    field: &str,
    context: &MountContext<'_>,
    steps: &mut Vec<Step>,
    detached: &mut Detached,
) -> Result<()> {
    if mount.destination.is_empty() {
        return Err(Error::invalid(format!("{field}.destination"), "is empty".to_owned()));
    }
    let options_field = format!("{field}.options");
    let options = parse_options(mount.options.as_deref().unwrap_or_default());
    let destination_field = format!("{field}.destination");
    let kind = mount.kind.as_deref().unwrap_or_default();
    check_procfs(mount, &destination_field)?;
    if options.remount && options.bind.is_none() {
        let target = Target::parse(&mount.destination, TargetKind::Directory, &destination_field)?;
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
    if let Some(recursive) =
        options.bind.or((kind == "bind").then_some(false)).or((kind == "rbind").then_some(true))
    {
        let wanted = Wanted { mount, number, field, recursive, options };
        steps.push(plan_bind(wanted, context, detached)?);
        return Ok(());
    }
    if options.throw_away {
        return Err(Error::invalid(options_field, "`tmpoverlay` is for bind mounts".to_owned()));
    }
    if options.copy_up && kind != "tmpfs" {
        return Err(Error::invalid(options_field, "`tmpcopyup` is for tmpfs".to_owned()));
    }
    if owners::asked_for(mount, options.idmap, context.users, field)?.is_some() {
        let reason = "`idmap` and id maps are for bind mounts; this is a new file system".to_owned();
        let hint = "leave them out: what the container makes there has the container's owners already";
        return Err(Error::invalid(options_field, reason).with_hint(hint));
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
    let target = Target::parse(&mount.destination, TargetKind::Directory, &destination_field)?;
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
        file_system: c_string(kind, &format!("{field}.type"))?,
        source: c_string(mount.source.as_deref().filter(|source| !source.is_empty()).unwrap_or(kind), field)?,
        parameters: lay_out(&parameters, &options_field)?,
        copy_up: options.copy_up.then(|| {
            let said = parameters.iter().any(|(key, _)| matches!(key.as_str(), "mode" | "uid" | "gid"));
            if said { CopyUp::Content } else { CopyUp::All }
        }),
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
fn check_procfs(mount: &Mount, field: &str) -> Result<()> {
    let target = Target::parse(&mount.destination, TargetKind::Directory, field)?;
    let path = target.path.to_string_lossy();
    if !path.starts_with("proc/") || PROC_FILES.contains(&target.path.as_bytes()) {
        return Ok(());
    }
    let reason = format!("`{}` lies in /proc, and a mount there could fake it", mount.destination);
    Err(Error::invalid(field, reason).with_hint(PROC_HINT))
}

fn lay_out(parameters: &[(String, Option<String>)], field: &str) -> Result<Vec<(CString, Option<CString>)>> {
    parameters
        .iter()
        .map(|(key, value)| {
            let value = value.as_deref().map(|value| c_string(value, field)).transpose()?;
            Ok((c_string(key, field)?, value))
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
    let destination_field = format!("{field}.destination");
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
            },
            target: Target::parse(path, TargetKind::Directory, &destination_field)?,
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
            target: Target::parse(&mount.destination, TargetKind::Directory, &destination_field)?,
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
            let own = Path::new(hierarchy.mount_point())
                .join(context.cgroup_path.unwrap_or_default().trim_start_matches('/'));
            InitAction::Bind(MountPlan {
                kind: by_path(&own, None, field)?,
                target: Target::parse(&path, TargetKind::Directory, &destination_field)?,
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
                        &destination_field,
                    )?,
                });
            }
        }
    }
    if !links.is_empty() {
        steps.push(init_step(InitAction::Links { links }, field));
    }
    if options.attributes.set & attribute::RDONLY != 0 {
        let target = Target::parse(&mount.destination, TargetKind::Directory, &destination_field)?;
        steps.push(init_step(InitAction::SetAttributes { target, set: attribute::RDONLY, clear: 0 }, field));
    }
    Ok(())
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
    Ok(InitAction::Bind(MountPlan {
        kind: by_path(&source, detached, file.destination)?,
        target: Target::parse(file.destination, TargetKind::File, file.destination)?,
        attributes: sys::mount::Attributes { set, ..Default::default() },
        recursive: sys::mount::Attributes::default(),
        propagation: 0,
    }))
}

/// The mask and read-only steps.
pub(crate) fn plan_hidden(spec: &Spec, steps: &mut Vec<Step>) -> Result<()> {
    let Some(linux) = &spec.linux else { return Ok(()) };
    let targets = |paths: &[String], field: &str| -> Result<Vec<Target>> {
        let parse = |(index, path): (usize, &String)| {
            if !path.starts_with('/') {
                return Err(Error::invalid(format!("{field}[{index}]"), format!("`{path}` is not absolute")));
            }
            Target::parse(path, TargetKind::File, &format!("{field}[{index}]"))
        };
        paths.iter().enumerate().map(parse).collect()
    };
    let read_only = targets(&linux.readonly_paths, "linux.readonlyPaths")?;
    if !read_only.is_empty() {
        steps.push(init_step(InitAction::ReadOnlyPaths { targets: read_only }, "linux.readonlyPaths"));
    }
    let masked = targets(&linux.masked_paths, "linux.maskedPaths")?;
    if !masked.is_empty() {
        steps.push(init_step(InitAction::Mask { targets: masked }, "linux.maskedPaths"));
    }
    Ok(())
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
            propagation: MS_PRIVATE,
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
    fn later_options_win_over_earlier_ones() {
        let options = ["ro", "rw", "nosuid"].map(str::to_owned);
        let parsed = parse_options(&options);
        assert_eq!(parsed.attributes.set, attribute::NOSUID);
        assert_eq!(parsed.attributes.clear & attribute::RDONLY, attribute::RDONLY);
    }

    #[test]
    fn recursive_names_are_not_mistaken_for_propagation() {
        let options = ["rro", "rprivate", "rbind"].map(str::to_owned);
        let parsed = parse_options(&options);
        assert_eq!(parsed.recursive.set, attribute::RDONLY);
        assert_eq!(parsed.propagation, MS_PRIVATE | MS_REC);
        assert_eq!(parsed.bind, Some(true));
    }

    #[test]
    fn destination_with_parent_parts_is_refused() {
        let error =
            Target::parse("/a/../b", TargetKind::Directory, "mounts[3].destination").expect_err("refused");
        assert!(error.to_string().contains("mounts[3].destination"), "{error}");
    }
}
