//! What the cgroups of this host can do, as far as a limit asks. Must not change them.

use std::path::Path;

use cgroup::{CgroupPath, Layout, Manager, Parent};
use runtime::ErrorKind;

use crate::error::{Error, Result};
use crate::options::{LimitOptions, NumberList};

/// A list of the host: its file in a v1 and in a v2 group, and the kernel's own where there is no cpuset.
pub(super) struct HostList {
    v1: &'static str,
    v2: &'static str,
    online: &'static str,
    what: &'static str,
}

pub(super) const PROCESSORS: HostList = HostList {
    v1: "cpuset.effective_cpus",
    v2: "cpuset.cpus.effective",
    online: "/sys/devices/system/cpu/online",
    what: "processors",
};

pub(super) const NODES: HostList = HostList {
    v1: "cpuset.effective_mems",
    v2: "cpuset.mems.effective",
    online: "/sys/devices/system/node/online",
    what: "memory nodes",
};

/// What the cgroups of this host can do, looked up only where a limit asks.
pub(super) struct HostCgroups {
    layout: Option<Layout>,
    /// Why the caller can have no group that would keep a limit.
    no_limits: Option<Error>,
}

impl HostCgroups {
    /// Refuses a flag whose controller is nowhere.
    pub(super) fn new(options: &LimitOptions) -> Result<HostCgroups> {
        let without_cgroups = LimitOptions {
            ulimits: options.ulimits.clone(),
            oom_score_adj: options.oom_score_adj,
            shm_size: options.shm_size,
            cgroup_parent: options.cgroup_parent.clone(),
            kernel_memory: options.kernel_memory,
            ..LimitOptions::default()
        };
        if *options == without_cgroups {
            return Ok(HostCgroups { layout: None, no_limits: None });
        }
        let layout = Layout::detect()?;
        for (flag, controller) in options.wanted_controllers() {
            require(&layout, flag, controller)?;
        }
        options.cgroup_conf.keys().try_for_each(|file| check_unified(&layout, manager(), file))?;
        // A place that can't be is refused by the name of its flag.
        let path = group_path(&layout, options.cgroup_parent.as_deref(), "rabbitc").ok();
        let no_limits = path.and_then(|path| runtime::plan::no_limits(&layout, &path));
        Ok(HostCgroups { layout: Some(layout), no_limits })
    }

    /// Why the caller can have no group that would keep a limit, if so.
    pub(super) fn no_limits(&self) -> Option<&Error> {
        self.no_limits.as_ref()
    }

    /// Refuses a flag whose controller is not there for the caller.
    pub(super) fn require(&self, flag: &str, controller: &str) -> Result<()> {
        self.layout.as_ref().map_or(Ok(()), |layout| require(layout, flag, controller))
    }

    /// Whether a controller is there for the caller, as far as it was looked for.
    pub(super) fn offers(&self, controller: &str) -> bool {
        self.layout.as_ref().is_none_or(|layout| layout.offers(manager(), controller))
    }

    pub(super) fn is_v1(&self, controller: &str) -> bool {
        self.layout.as_ref().is_some_and(|layout| layout.v1(controller).is_some())
    }

    /// Whether the v1 hierarchy of `controller` has a file of that name in its root.
    pub(super) fn has_file(&self, controller: &str, file: &str) -> bool {
        let hierarchy = self.layout.as_ref().and_then(|layout| layout.v1(controller));
        hierarchy.is_some_and(|hierarchy| Path::new(hierarchy.mount_point()).join(file).exists())
    }

    /// The number in such a file.
    pub(super) fn v1_number(&self, controller: &str, file: &str) -> Option<i64> {
        let hierarchy = self.layout.as_ref().and_then(|layout| layout.v1(controller))?;
        let text = std::fs::read_to_string(Path::new(hierarchy.mount_point()).join(file)).ok()?;
        text.trim().parse().ok()
    }

    /// Whether the kernel can limit swap.
    pub(super) fn limits_swap(&self) -> bool {
        if self.is_v1("memory") {
            return self.has_file("memory", "memory.memsw.limit_in_bytes");
        }
        // Not there in a kernel built without swap. v2's own file is not in the root, where one could look for it.
        Path::new("/proc/swaps").exists()
    }

    /// Whether the kernel has weights for block devices. Their files are in no root, so others tell.
    pub(super) fn weighs_devices(&self) -> bool {
        let Some(layout) = &self.layout else { return false };
        if layout.v1("blkio").is_some() {
            return self.has_file("blkio", "blkio.bfq.io_serviced")
                || self.has_file("blkio", "blkio.bfq.weight");
        }
        let Some(unified) = layout.unified() else { return false };
        let root = Path::new(unified.mount_point());
        let own = root.join(unified.own_path().trim_start_matches('/'));
        root.join("io.cost.qos").exists()
            || [root, &own]
                .iter()
                .any(|group| ["io.bfq.weight", "io.weight"].iter().any(|file| group.join(file).exists()))
    }

    /// Whether it weighs traffic with this device: by its scheduler, or on v2 by a cost model where the kernel has no
    /// such scheduler.
    pub(super) fn weighs_device(&self, major: i64, minor: i64) -> bool {
        let schedulers = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/queue/scheduler"));
        let schedulers = schedulers.unwrap_or_default();
        let by_cost = !self.is_v1("blkio") && !schedulers.contains("bfq");
        self.weighs_devices() && (schedulers.contains("[bfq]") || by_cost)
    }

    /// The numbers of a list that this host has.
    pub(super) fn numbers(&self, list: &HostList) -> Vec<u32> {
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path).ok()?;
            crate::options::limit_syntax::parse_number_list("", &text).ok()
        };
        let cpuset = self.layout.as_ref().and_then(|layout| match layout.v1("cpuset") {
            Some(hierarchy) => read(&Path::new(hierarchy.mount_point()).join(list.v1)),
            None => {
                layout.unified().and_then(|unified| read(&Path::new(unified.mount_point()).join(list.v2)))
            }
        });
        cpuset
            .or_else(|| read(Path::new(list.online)))
            .map_or_else(|| vec![0], |list| list.numbers().to_vec())
    }

    /// The list in the kernel's words, if the host has all of it.
    pub(super) fn existing(
        &self,
        flag: &str,
        asked: Option<&NumberList>,
        list: &HostList,
    ) -> Result<Option<String>> {
        let Some(asked) = asked else { return Ok(None) };
        let there = self.numbers(list);
        match asked.numbers().iter().find(|number| !there.contains(number)) {
            None => Ok(Some(asked.to_string())),
            Some(missing) => {
                let there = NumberList::from_numbers(there);
                let error = Error::invalid(flag, format!("`{asked}`: there is no {missing} on this host"));
                Err(error.with_hint(format!("its {} are {there}", list.what)))
            }
        }
    }
}

/// The group `name` below the one that was asked for, or where it is without a word.
pub(crate) fn group_path(
    layout: &Layout,
    parent: Option<&str>,
    name: &str,
) -> std::result::Result<CgroupPath, cgroup::Error> {
    CgroupPath::below(layout, manager(), parent.map_or(Parent::Usual, Parent::parse), name)
}

fn manager() -> Manager {
    Manager::of_user(rustix::process::geteuid().as_raw())
}

fn require(layout: &Layout, flag: &str, controller: &str) -> Result<()> {
    if layout.offers(manager(), controller) {
        return Ok(());
    }
    if layout.offers(Manager::System, controller) {
        let name = if controller == "blkio" { "io" } else { controller };
        return Err(not_delegated(flag, name));
    }
    let reason = format!("this host has no cgroup controller `{controller}`");
    let hint = "leave the flag out, or see `cat /proc/cgroups` and the kernel's `cgroup_disable=`";
    Err(Error::new(ErrorKind::Unsupported, flag, reason).with_hint(hint))
}

/// Refuses a file of cgroup v2 that a group on this host would not have.
fn check_unified(layout: &Layout, manager: Manager, file: &str) -> Result<()> {
    let controller = file.split('.').next().unwrap_or_default();
    let v1 = if controller == "io" { "blkio" } else { controller };
    let refuse = |why: &str, hint: String| {
        let reason = format!("`{file}` is a file of cgroup v2, and {why}");
        Err(Error::new(ErrorKind::Unsupported, "--cgroup-conf", reason).with_hint(hint))
    };
    let has_v2 = layout.unified().is_some();
    if layout.v1(v1).is_some() || !has_v2 {
        let why = match has_v2 {
            true => format!("the controller `{v1}` of this host is with cgroup v1"),
            false => "this host has no cgroup v2".to_owned(),
        };
        return refuse(&why, instead_of(file));
    }
    // Each group has files of its own, whatever the controllers.
    if controller == "cgroup" || layout.offers(manager, v1) {
        return Ok(());
    }
    if layout.offers(Manager::System, v1) {
        return Err(not_delegated("--cgroup-conf", controller));
    }
    let why = format!("this host has no cgroup controller `{controller}`");
    refuse(&why, "leave it out, or see the kernel's `cgroup_disable=`".to_owned())
}

/// What there is on cgroup v1 in the place of a file of v2.
fn instead_of(file: &str) -> String {
    let flag = match file {
        "memory.max" => "--memory",
        "memory.low" | "memory.min" => "--memory-reservation",
        "memory.swap.max" => "--memory-swap",
        "cpu.max" => "--cpus",
        "cpu.weight" => "--cpu-shares",
        "cpuset.cpus" => "--cpuset-cpus",
        "cpuset.mems" => "--cpuset-mems",
        "pids.max" => "--pids-limit",
        "io.weight" => "--blkio-weight",
        "io.max" => return "use `--device-read-bps` and the flags beside it".to_owned(),
        "memory.high" => {
            return "use `--memory` for a limit: cgroup v1 has nothing that slows down before it".to_owned();
        }
        _ => return "leave it out: no flag does the same on cgroup v1".to_owned(),
    };
    format!("use `{flag}`")
}

fn not_delegated(flag: &str, controller: &str) -> Error {
    let reason = format!("the cgroup controller `{controller}` is not delegated to ordinary users here");
    Error::new(ErrorKind::Permission, flag, reason).with_hint(
        "have root write `[Service]` and `Delegate=cpu cpuset io memory pids` into \
         /etc/systemd/system/user@.service.d/delegate.conf, then `systemctl daemon-reload`, and log in anew",
    )
}
