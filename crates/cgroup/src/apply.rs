//! Owns setting limits on a group: each line to the hierarchy that has its controller. Must not translate limits.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::create::hand_down;
use crate::devices::{self, exceptions};
use crate::error::{Error, Kind, Operation};
use crate::files;
use crate::group::Cgroup;
use crate::layout::{Hierarchy, Language, Version};
use crate::resources::{Absent, Resources, Write, present};
use crate::{v1, v2};

impl Cgroup {
    /// Sets the limits; what is absent stays as it is.
    ///
    /// A controller of v1 is written in the language of v1, the others in that of v2. Where the kernel refuses a
    /// value because of another that is still to be written (memory and swap, quota and burst), it is tried again
    /// after that. The error names file, value and cause; limits written before it remain.
    pub fn apply(&self, resources: &Resources) -> Result<(), Error> {
        resources.check()?;
        self.check_version(resources)?;
        let mut round = Round { cgroup: self, opened: None, refused: Vec::new() };
        if self.layout.version() != Version::V2 {
            let mut writes = v1::writes_v1(resources);
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
            for write in v2::writes_v2(resources) {
                if self.layout.v1(v1_name(&write.controller)).is_some() {
                    // Done above; only words that are v2's own are not.
                    if resources.unified.contains_key(&*write.file) {
                        self.unavailable(&write)?;
                    }
                } else if unified.has(&write.controller) {
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

    /// Limits that the version of cgroups at hand can not express.
    fn check_version(&self, resources: &Resources) -> Result<(), Error> {
        let unsupported = |object: &str, detail: &str| {
            Err(Error::plain(Operation::CheckLimits, object, Kind::Unsupported, detail))
        };
        if self.layout.unified().is_none() && !resources.unified.is_empty() {
            return unsupported("unified", "needs cgroup v2");
        }
        let cpu = &resources.cpu;
        if self.layout.v1("cpu").is_none()
            && (present(cpu.realtime_runtime).is_some() || present(cpu.realtime_period).is_some())
        {
            return unsupported("cpu.realtimeRuntime", "needs cgroup v1");
        }
        self.check_memory_in_use(resources)
    }

    /// v2 takes a limit below what is in use and kills until it fits; v1 refuses by itself.
    fn check_memory_in_use(&self, resources: &Resources) -> Result<(), Error> {
        let Some(limit) = present(resources.memory.limit).filter(|&limit| limit > 0) else { return Ok(()) };
        if resources.memory.check_before_update != Some(true) || self.layout.v1("memory").is_some() {
            return Ok(());
        }
        match self.memory_table().current {
            Some(current) if current > limit.unsigned_abs() => Err(Error::plain(
                Operation::CheckLimits,
                "memory.limit",
                Kind::Refused,
                format!("{limit} bytes are fewer than the {current} in use"),
            )),
            _ => Ok(()),
        }
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
