//! Which cgroup a container gets, and what is said where none can keep its limits.

use sys::clone::flags;

use super::limits;
use super::mounts::makes_namespace;
use super::namespaces::NamespacePlan;
use super::options::{BindRules, CgroupManager, PlanOptions};
use super::warning::Warning;
use crate::caller::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{IdMapping, Linux, NamespaceKind, Spec};

/// The cgroup to be made.
#[derive(Debug)]
pub(crate) struct CgroupPlan {
    pub(crate) layout: cgroup::Layout,
    pub(crate) path: cgroup::CgroupPath,
    pub(crate) resources: cgroup::Resources,
    /// What the config asks of the unit, where systemd makes the group as one.
    pub(crate) properties: Vec<cgroup::Property>,
    /// The host's id of the user that gets the group.
    pub(crate) delegate_to: Option<u32>,
}

impl CgroupPlan {
    /// Whether groups are made while init begins. A child can be cloned into a group of the unified hierarchy, which therefore
    /// is there before; into those of v1 it moves itself, and each of them takes the kernel as long as a mount.
    pub(crate) fn is_made_meanwhile(&self) -> bool {
        self.layout.version() != cgroup::Version::V2
            && self.path.manager().is_none()
            && self.layout.hierarchies().len() <= crate::sync::MOST_DESCRIPTORS
    }

    /// Makes the group; its limits come after that.
    pub(crate) fn create(&self) -> Result<cgroup::Cgroup> {
        Ok(cgroup::Cgroup::create_scope(&self.layout, &self.path, &self.resources, &self.properties)?)
    }
}

pub(super) fn plan_cgroup(
    spec: &Spec,
    linux: &Linux,
    options: &PlanOptions,
    caller: Caller,
) -> Result<Option<CgroupPlan>> {
    let layout = match cgroup::Layout::detect() {
        Ok(layout) => layout,
        // A host without any cgroup can still isolate; a limit then can't be kept, and says so.
        Err(error) if error.kind == cgroup::Kind::NoHierarchy && linux.resources.is_none() => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let asked = linux.cgroups_path.as_deref().filter(|path| !path.is_empty());
    let of_field = |path: std::result::Result<cgroup::CgroupPath, cgroup::Error>| {
        path.map_err(|error| Error::from(error).from_field("linux.cgroupsPath"))
    };
    let (path, properties) = match (options.cgroup_manager, asked) {
        (CgroupManager::Systemd, asked) => {
            let manager = systemd_manager(&layout, caller)?;
            let path = of_field(cgroup::CgroupPath::of_scope(manager, asked, options.id.as_str()))?;
            (path, unit_properties(spec)?)
        }
        (_, Some(asked)) => (of_field(cgroup::CgroupPath::parse(asked))?, Vec::new()),
        (_, None) => {
            let name = options.cgroup_name.as_deref().unwrap_or(options.id.as_str());
            (usual_cgroup(&layout, name)?, Vec::new())
        }
    };
    let mut wanted = linux.resources.clone().unwrap_or_default();
    if caller != Caller::Root {
        // Filtering devices takes root of the host, and a user namespace opens no device that its maker could not.
        wanted.devices = Vec::new();
        let unlimited = wanted == crate::spec::Resources::default();
        // Without a limit to keep, no reason to have systemd move the caller.
        if unlimited && asked.is_none() && path.manager().is_none() && !layout.reaches(&path) {
            return Ok(None);
        }
        if let Some(refusal) = refusal(&layout, &path) {
            return match (unlimited, asked) {
                (true, None) => Ok(None),
                // A place that was asked for is no preference (config-linux.md, "Cgroups Path").
                (true, Some(_)) => Err(refused_place(refusal.into())),
                (false, _) => {
                    let what = match options.bind_rules {
                        BindRules::Customary => RUNCS_WORDS,
                        BindRules::Strict => OWN_WORDS,
                    };
                    Err(unkept_limits(&layout, what, refusal.into()))
                }
            };
        }
    }
    let mut resources = limits::plan_limits(&wanted)?;
    let refused = resources.check_new().and_then(|()| layout.check(&resources));
    refused.map_err(|error| Error::from(error).from_field("linux.resources"))?;
    if caller != Caller::Root {
        // Those that every container gets are among them again.
        resources.devices.clear();
    }
    Ok(Some(CgroupPlan { layout, path, resources, properties, delegate_to: None }))
}

/// Why this caller can't make group `path`; none where it can, or systemd makes it, which is not bound by the caller's rights.
fn refusal(layout: &cgroup::Layout, path: &cgroup::CgroupPath) -> Option<cgroup::Error> {
    layout.refuses(path).filter(|_| path.manager().is_none())
}

/// Why no group at `path` could keep limits for this caller; none where one could.
pub fn no_limits(layout: &cgroup::Layout, path: &cgroup::CgroupPath) -> Option<Error> {
    if Caller::find() == Caller::Root {
        return None;
    }
    refusal(layout, path).map(|refusal| unkept_limits(layout, OWN_WORDS, refusal.into()))
}

/// What a container without a group can't have: a place, and limits. Returns what to warn of: rules of devices, as callers have
/// one that closes all of them in every config, and would have none left to start; and processes that nobody finds.
pub(super) fn without_group(
    linux: &Linux,
    caller: Caller,
    namespaces: &NamespacePlan,
) -> Result<Vec<Warning>> {
    const HINT: &str = "leave it out, or `--cgroup-manager disabled`";
    let refuse = |field: String, reason: &str| Err(Error::invalid(field, reason.to_owned()).with_hint(HINT));
    if linux.cgroups_path.as_deref().is_some_and(|path| !path.is_empty()) {
        return refuse("linux.cgroupsPath".to_owned(), "names a cgroup, and the container gets none");
    }
    let resources = serde_json::to_value(&linux.resources).expect("only string keys");
    for (name, value) in resources.as_object().into_iter().flatten() {
        let is_empty = value.as_object().is_some_and(serde_json::Map::is_empty);
        if name != "devices" && !is_empty {
            return refuse(
                format!("linux.resources.{name}"),
                "takes a cgroup to be kept, and the container gets none",
            );
        }
    }
    let rules = linux.resources.as_ref().is_some_and(|resources| !resources.devices.is_empty());
    let mut warnings = Vec::new();
    if rules && caller == Caller::Root {
        let what = "left out, as it takes a cgroup: the container can open what its capabilities let it make";
        warnings.push(Warning::new("linux.resources.devices", what));
    }
    warnings.extend(unfound_processes(namespaces));
    Ok(warnings)
}

/// What to warn of where a container gets no group, and has no pid namespace either. The second half are runc's words.
pub(super) fn unfound_processes(namespaces: &NamespacePlan) -> Option<Warning> {
    let what = "with neither a cgroup nor a pid namespace of its own, what the container leaves running stays. Such \
                configuration is strongly discouraged";
    (!namespaces.makes(flags::NEWPID)).then(|| Warning::new("linux.namespaces", what))
}

/// Who gets the group (config-linux.md, "Cgroup ownership"): the user that runs the program in a user namespace of its own,
/// where the group is the root of a cgroup namespace and writable inside, and only on v2.
pub(super) fn delegate_to(spec: &Spec, linux: &Linux, layout: &cgroup::Layout) -> Option<u32> {
    let is_cgroup = |mount: &&crate::spec::Mount| matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2"));
    let is_closed = |mount: &crate::spec::Mount| mount.options.iter().flatten().any(|option| option == "ro");
    let writable = spec.mounts.iter().find(is_cgroup).is_some_and(|mount| !is_closed(mount));
    let own = makes_namespace(spec, NamespaceKind::Cgroup) && makes_namespace(spec, NamespaceKind::User);
    if !(writable && own && layout.version() == cgroup::Version::V2) {
        return None;
    }
    IdMapping::host_id(&linux.uid_mappings, spec.process.as_ref().map_or(0, |process| process.user.uid))
}

fn refused_place(refusal: Error) -> Error {
    let reason = format!("unable to apply cgroup configuration: {refusal}");
    let hint = match cgroup::is_booted() {
        true => {
            "leave it out to go without a group of its own, or name one that this user may make: \
             `systemd-run --user --scope -p Delegate=yes COMMAND` gives such a place"
        }
        false => {
            "leave it out to go without a group of its own, or name one that this user may make: below a directory that \
             root has given to it"
        }
    };
    Error { errno: refusal.errno, ..Error::new(ErrorKind::Permission, "linux.cgroupsPath", reason) }
        .with_hint(hint)
}

const OWN_WORDS: &str = "no group of this user's could keep these limits";

/// What callers of OCI runtimes look for where a user asks for limits that it can't have.
const RUNCS_WORDS: &str =
    "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";

/// A limit that nobody would keep is no limit: the start fails, where podman warns and goes on.
fn unkept_limits(layout: &cgroup::Layout, what: &str, refusal: Error) -> Error {
    let hint = if layout.version() == cgroup::Version::V2 && !cgroup::is_booted() {
        "start it as root, or in a group that root has given to this user (the directory, and `cgroup.procs`, \
         `cgroup.threads` and `cgroup.subtree_control` in it); or leave the limits out"
    } else if layout.version() == cgroup::Version::V2 {
        "log in with systemd, or `loginctl enable-linger`, to have a manager of your own; or start it in a group that is \
         yours: `systemd-run --user --scope -p Delegate=yes COMMAND`; or leave the limits out"
    } else if !cgroup::is_booted() {
        "on cgroup v1 the kernel keeps limits for root alone: start it as root, leave the limits out, or mount cgroup v2 \
         in the place of v1 at boot"
    } else {
        "on cgroup v1 the kernel keeps limits for root alone: start it as root, leave the limits out, or boot with \
         cgroup v2 (`systemd.unified_cgroup_hierarchy=1`)"
    };
    let reason = format!("{what}: {refusal}");
    Error { errno: refusal.errno, ..Error::new(ErrorKind::Unsupported, "linux.resources", reason) }
        .with_hint(hint)
}

/// The systemd that this caller's groups are made by.
fn systemd_manager(layout: &cgroup::Layout, caller: Caller) -> Result<cgroup::Manager> {
    let manager = match caller {
        Caller::Root => cgroup::Manager::System,
        Caller::User => cgroup::Manager::User(rustix::process::geteuid().as_raw()),
        // It is the user outside that has a manager.
        Caller::NamespaceRoot => cgroup::Manager::User(crate::caller::user_outside()),
    };
    let refuse =
        |reason: &str, hint: &str| Err(Error::unsupported("--systemd-cgroup", reason.to_owned(), hint));
    if !manager.is_there() {
        return refuse(
            "systemd's cgroups, as no systemd of this caller's runs here",
            "leave the option out; with podman `--cgroup-manager cgroupfs`, with Docker \
             `native.cgroupdriver=cgroupfs`; an ordinary user has one after a log-in, or with `loginctl enable-linger`",
        );
    }
    if manager != cgroup::Manager::System && layout.version() != cgroup::Version::V2 {
        return refuse(
            "systemd's cgroups for an ordinary user beside cgroup v1",
            "boot with cgroup v2 (`systemd.unified_cgroup_hierarchy=1`), or leave the option out",
        );
    }
    Ok(manager)
}

/// Annotations `org.systemd.property.NAME` are properties of the unit, as in other runtimes.
fn unit_properties(spec: &Spec) -> Result<Vec<cgroup::Property>> {
    let annotated = spec
        .annotations
        .iter()
        .filter_map(|(key, value)| key.strip_prefix("org.systemd.property.").map(|name| (key, name, value)));
    annotated
        .map(|(key, name, value)| {
            cgroup::Property::parse(name, value)
                .map_err(|error| Error::from(error).from_field(format!("annotations.{key}")))
        })
        .collect()
}

/// Where the cgroup `name` is unless its config names another place.
pub(crate) fn usual_cgroup(layout: &cgroup::Layout, name: &str) -> Result<cgroup::CgroupPath> {
    let manager = cgroup::Manager::of_user(rustix::process::geteuid().as_raw());
    Ok(cgroup::CgroupPath::below(layout, manager, cgroup::Parent::Usual, name)?)
}
