//! Owns setting limits on a group: each line to the hierarchy that has its controller. Must not translate limits.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::create::hand_down;
use crate::devices::{self, exceptions};
use crate::error::{Error, Kind, Operation};
use crate::files;
use crate::group::Cgroup;
use crate::layout::{Hierarchy, Language, Layout, Version};
use crate::resources::{Absent, Resources, Write, present};
use crate::systemd::{self, Property, Scope};
use crate::{v1, v2};

impl Cgroup {
    /// Sets the limits; what is absent stays as it is. A scope's go to systemd first, so that it does not set back what
    /// the files say.
    ///
    /// A controller of v1 is written in the language of v1, the others in that of v2. Where the kernel refuses a
    /// value because of another that is still to be written (memory and swap, quota and burst), it is tried again
    /// after that. The error names file, value and cause; limits written before it remain.
    pub fn apply(&self, resources: &Resources) -> Result<(), Error> {
        let resources = self.completed(resources);
        self.check(&resources)?;
        if let Some(scope) = self.path.scope() {
            let properties = Cgroup::scope_properties(&self.layout, &scope, &resources)?;
            scope.set(&properties)?;
        }
        self.write(&resources)
    }

    /// Sets the limits in the control files alone: for a scope that was just [made](Cgroup::create_scope) with them.
    pub fn apply_files(&self, resources: &Resources) -> Result<(), Error> {
        let resources = self.completed(resources);
        self.check(&resources)?;
        self.write(&resources)
    }

    fn check(&self, resources: &Resources) -> Result<(), Error> {
        resources.check()?;
        self.layout.check(resources)?;
        self.check_memory_in_use(resources)
    }

    fn write(&self, resources: &Resources) -> Result<(), Error> {
        let mut round = Round { cgroup: self, opened: None, refused: Vec::new() };
        if self.layout.version() != Version::V2 {
            let mut writes = v1::writes_v1(resources);
            if self.path.scope().is_some() {
                systemd::of_writes_v1(&mut writes, 0);
            }
            if let Some(changes) = self.device_changes(resources)? {
                writes.retain(|write| write.controller != "devices");
                writes.splice(0..0, changes);
            }
            for write in writes {
                match self.layout.v1(&write.controller) {
                    Some(hierarchy) => round.write(hierarchy, write)?,
                    // In v2's language below, or by a program.
                    None if self.unified_has(v2_name(&write.controller)) => {}
                    None => self.unavailable(&write)?,
                }
            }
        }
        if let Some(unified) = self.layout.unified() {
            let mut writes = v2::writes_v2(resources);
            if self.path.scope().is_some() {
                // It rounds the quota as systemd does: when that comes by again, it finds its own number.
                systemd::of_writes(&mut writes, 0);
            }
            for write in writes {
                if self.layout.v1(v1_name(&write.controller)).is_some() {
                    // Done above; only words that are v2's own are not.
                    if resources.unified.contains_key(&*write.file) {
                        self.unavailable(&write)?;
                    }
                } else if unified.has(&write.controller) || write.controller == "cgroup" {
                    // Each group has files of its own, whatever the controllers.
                    round.write(unified, write)?;
                } else if self.layout.version() == Version::V2 || resources.unified.contains_key(&*write.file)
                {
                    self.unavailable(&write)?;
                }
            }
        }
        round.finish()?;
        self.filter_devices(resources)
    }

    /// The limits as properties of a scope.
    pub(crate) fn scope_properties(
        layout: &Layout,
        scope: &Scope<'_>,
        resources: &Resources,
    ) -> Result<Vec<Property>, Error> {
        let cpu = &resources.cpu;
        // All else is older than cgroup v2 on any distribution.
        let asked = present(cpu.quota).is_some()
            || present(cpu.period).is_some()
            || cpu.idle.is_some()
            || cpu.cpus.is_some()
            || cpu.mems.is_some()
            || !resources.unified.is_empty();
        let version = if asked { scope.manager.version(scope.name)? } else { 0 };
        Ok(match layout.version() {
            Version::V2 => systemd::of_writes(&mut v2::writes_v2(resources), version),
            Version::V1 | Version::Hybrid => systemd::of_writes_v1(&mut v1::writes_v1(resources), version),
        })
    }

    /// With what the group has now, where one limit alone means nothing without the other: v2 keeps quota and period in
    /// one line, and counts swap apart from memory.
    fn completed<'a>(&self, resources: &'a Resources) -> Cow<'a, Resources> {
        let mut completed = Cow::Borrowed(resources);
        let cpu = &resources.cpu;
        if present(cpu.quota).is_some() != present(cpu.period).is_some() && self.layout.v1("cpu").is_none() {
            let now = self.unified_text("cpu.max");
            let (quota, period) = now.trim().split_once(' ').unwrap_or_default();
            let cpu = &mut completed.to_mut().cpu;
            cpu.quota = present(cpu.quota).or(quota.parse().ok());
            cpu.period = present(cpu.period).or(period.parse().ok());
        }
        let memory = &resources.memory;
        if present(memory.swap).is_some_and(|swap| swap > 0)
            && present(memory.limit).is_none()
            && self.layout.v1("memory").is_none()
        {
            let now = self.unified_text("memory.max");
            completed.to_mut().memory.limit = now.trim().parse().ok();
        }
        completed
    }

    fn unified_text(&self, file: &str) -> String {
        let read = |hierarchy| files::read(hierarchy, self.path.as_str(), file).ok();
        // A group that has no such file has no such limit either.
        self.layout.unified().and_then(read).unwrap_or_default()
    }

    /// v1: what to write instead, when the group is in use and has rules already. Writing all of them anew would
    /// refuse the running processes everything for a moment, and fails when there are child groups.
    fn device_changes(&self, resources: &Resources) -> Result<Option<Vec<Write>>, Error> {
        let Some(hierarchy) = self.layout.v1("devices").filter(|_| !resources.devices.is_empty()) else {
            return Ok(None);
        };
        if let Some(rule) = exceptions::inexpressible(&resources.devices) {
            return Err(Error::plain(
                Operation::CheckLimits,
                "devices",
                Kind::Unsupported,
                format!(
                    "cgroup v1 can not take a part out of what an earlier rule allows or refuses: {rule}"
                ),
            ));
        }
        let had_rules = self.devices_set.swap(true, Ordering::Relaxed) || self.existed;
        if !had_rules {
            return Ok(None);
        }
        let current = files::read(hierarchy, self.path.as_str(), "devices.list").map_err(|errno| {
            Error::kernel(Operation::Read, self.display(hierarchy, "devices.list"), errno)
        })?;
        Ok(Some(exceptions::changes(&current, &resources.devices)))
    }

    fn filter_devices(&self, resources: &Resources) -> Result<(), Error> {
        if resources.devices.is_empty() || self.layout.v1("devices").is_some() {
            return Ok(());
        }
        match (&self.unified, self.layout.unified()) {
            (Some(directory), Some(hierarchy)) => {
                devices::attach_filter(directory.as_fd(), &resources.devices).map_err(|errno| {
                    Error::kernel(Operation::FilterDevices, self.display(hierarchy, ""), errno)
                })
            }
            _ => Err(Error::plain(
                Operation::FilterDevices,
                self.path.to_string(),
                Kind::ControllerUnavailable,
                "neither a `devices` hierarchy nor cgroup v2 is there",
            )),
        }
    }

    /// v2 takes a limit below what is in use and kills until it fits; v1 refuses by itself.
    fn check_memory_in_use(&self, resources: &Resources) -> Result<(), Error> {
        let Some(limit) = present(resources.memory.limit).filter(|&limit| limit > 0) else { return Ok(()) };
        if resources.memory.check_before_update != Some(true) || self.layout.v1("memory").is_some() {
            return Ok(());
        }
        let Some(current) = self.memory_table().current else { return Ok(()) };
        let swap = present(resources.memory.swap).filter(|&swap| swap > 0);
        for (object, what, bytes) in
            [("memory.swap", "memory+swap limit", swap), ("memory.limit", "memory limit", Some(limit))]
        {
            if let Some(bytes) = bytes.filter(|bytes| current > bytes.unsigned_abs()) {
                let detail = format!("rejecting {what}: {bytes} bytes are fewer than the {current} in use");
                return Err(Error::plain(Operation::CheckLimits, object, Kind::Refused, detail));
            }
        }
        Ok(())
    }

    fn unified_has(&self, controller: &str) -> bool {
        match controller {
            // No controller on v2, but a program on the group.
            "devices" => self.unified.is_some(),
            _ => self.layout.unified().is_some_and(|unified| unified.has(controller)),
        }
    }

    fn unavailable(&self, write: &Write) -> Result<(), Error> {
        if write.absent == Absent::Skip {
            return Ok(());
        }
        Err(Error::plain(
            Operation::Write,
            &*write.file,
            Kind::ControllerUnavailable,
            format!("no hierarchy offers the controller `{}` for it", write.controller),
        )
        .with_value(&write.value))
    }
}

impl Layout {
    /// Refuses limits that the version of cgroups at hand can not express, before anything is made.
    pub fn check(&self, resources: &Resources) -> Result<(), Error> {
        let unsupported = |object: &str, detail: &str| {
            Err(Error::plain(Operation::CheckLimits, object, Kind::Unsupported, detail))
        };
        if self.unified().is_none() && !resources.unified.is_empty() {
            return unsupported("unified", "an invalid configuration on this host: it needs cgroup v2");
        }
        let cpu = &resources.cpu;
        if self.v1("cpu").is_none()
            && (present(cpu.realtime_runtime).is_some() || present(cpu.realtime_period).is_some())
        {
            return unsupported("cpu.realtimeRuntime", "needs cgroup v1");
        }
        Ok(())
    }
}

fn v2_name(controller: &str) -> &str {
    if controller == "blkio" { "io" } else { controller }
}

fn v1_name(controller: &str) -> &str {
    if controller == "io" { "blkio" } else { controller }
}

/// One pass over the lines.
struct Round<'a> {
    cgroup: &'a Cgroup,
    /// The file written last: device rules are many lines for two files.
    opened: Option<(*const Hierarchy, String, OwnedFd)>,
    /// Lines that got EINVAL, in order.
    refused: Vec<(&'a Hierarchy, Write, Error)>,
}

impl<'a> Round<'a> {
    fn write(&mut self, hierarchy: &'a Hierarchy, write: Write) -> Result<(), Error> {
        match self.try_write(hierarchy, &write) {
            Err(error) if error.cause == Some(Errno::INVAL) => {
                self.refused.push((hierarchy, write, error));
                Ok(())
            }
            result => result,
        }
    }

    /// Tries the refused lines again for as long as that gets any of them in.
    fn finish(mut self) -> Result<(), Error> {
        while !self.refused.is_empty() {
            let before = self.refused.len();
            for (hierarchy, write, _) in std::mem::take(&mut self.refused) {
                self.write(hierarchy, write)?;
            }
            if self.refused.len() == before {
                return Err(self.refused.remove(0).2);
            }
        }
        Ok(())
    }

    fn try_write(&mut self, hierarchy: &Hierarchy, write: &Write) -> Result<(), Error> {
        let path = self.cgroup.path.as_str();
        let failed = |errno| {
            Error::kernel(Operation::Write, hierarchy.display(path, &write.file), errno)
                .with_value(write.value.trim_end())
        };
        let same = matches!(&self.opened, Some((owner, file, _))
            if std::ptr::eq(*owner, hierarchy) && *file == *write.file);
        if !same {
            match self.open(hierarchy, write) {
                Ok(file) => self.opened = Some((hierarchy, write.file.clone().into_owned(), file)),
                Err(error) if error.cause == Some(Errno::NOENT) => {
                    return match &write.absent {
                        Absent::Skip => Ok(()),
                        Absent::Instead(other) => self.try_write(hierarchy, other),
                        Absent::Refuse => Err(error.with_kind(Kind::Unsupported)),
                    };
                }
                Err(error) => return Err(error),
            }
        }
        match &self.opened {
            Some((_, _, file)) => files::write_all(file, &write.value).map_err(failed),
            None => Ok(()),
        }
    }

    fn open(&self, hierarchy: &Hierarchy, write: &Write) -> Result<OwnedFd, Error> {
        let path = self.cgroup.path.as_str();
        let open = || files::open(hierarchy, path, &write.file, OFlags::WRONLY);
        let failed = |errno| {
            Error::kernel(Operation::Write, hierarchy.display(path, &write.file), errno)
                .with_value(&write.value)
        };
        match open() {
            // On v2 the file appears with its controller, which may not have been handed down yet.
            Err(Errno::NOENT) if hierarchy.language() == Language::V2 && hierarchy.has(&write.controller) => {
                hand_down(hierarchy, &self.cgroup.path, &write.controller)?;
                open().map_err(failed)
            }
            result => result.map_err(failed),
        }
    }
}
