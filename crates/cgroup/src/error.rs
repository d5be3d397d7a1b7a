//! Owns the one error type of this crate, its texts and its remedies. Must not print.

use std::fmt;

use rustix::io::Errno;

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Finding out where the hierarchies are mounted.
    Detect,
    /// Checking a cgroup path.
    ParsePath,
    /// Checking limits before anything is written.
    CheckLimits,
    /// Making the directory of a group.
    Create,
    /// Having systemd start the unit below which containers' groups are.
    StartUnit,
    /// Having systemd change the limits of a unit.
    SetProperties,
    /// Reading a property of a unit.
    ReadProperty,
    /// Handing a controller down to a group (`cgroup.subtree_control`).
    Enable,
    /// Opening an existing group.
    Open,
    /// Reading a control file.
    Read,
    /// Writing a control file.
    Write,
    /// Moving a process into a group.
    Join,
    /// Killing every process of a group.
    Kill,
    /// Stopping every process of a group.
    Freeze,
    /// Letting the processes of a frozen group run.
    Thaw,
    /// Attaching the eBPF program that filters devices.
    FilterDevices,
    /// Handing a group over to a user.
    Delegate,
    /// Removing the directory of a group.
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Operation::Detect => "find cgroup hierarchies at",
            Operation::ParsePath => "use cgroup path",
            Operation::CheckLimits => "set limit",
            Operation::Create => "create cgroup",
            Operation::StartUnit => "have systemd start the unit",
            Operation::SetProperties => "have systemd change the unit",
            Operation::ReadProperty => "set the unit's property",
            Operation::Enable => "enable controllers in",
            Operation::Open => "open cgroup",
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Join => "move a process into cgroup",
            Operation::Kill => "kill the processes of cgroup",
            Operation::Freeze => "freeze cgroup",
            Operation::Thaw => "thaw cgroup",
            Operation::FilterDevices => "filter the devices of cgroup",
            Operation::Delegate => "hand over cgroup",
            Operation::Remove => "remove cgroup",
        })
    }
}

/// The class of a failure, for exit codes, hints and decisions of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The path or the value can not be used, whatever the host.
    Invalid,
    /// No cgroup hierarchy is mounted where this process could use it.
    NoHierarchy,
    /// No hierarchy offers the controller that a limit needs.
    ControllerUnavailable,
    /// The controller is there, but processes in an ancestor keep it from being handed down (v2).
    ControllerHeld,
    /// The file, and with it the limit, does not exist on this kernel or this version of cgroups.
    Unsupported,
    /// systemd refused what was asked of it, or did not answer.
    Manager,
    /// Not allowed.
    Permission,
    /// The hierarchy is mounted read-only.
    ReadOnly,
    /// The group does not exist.
    NotFound,
    /// The group is still in use.
    Busy,
    /// The process is gone.
    NoProcess,
    /// The kernel refused the value.
    Refused,
    /// Anything else that the kernel reported.
    Kernel,
}

/// A failed operation on control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was being done.
    pub operation: Operation,
    /// What it was done to: a path, as a rule.
    pub object: String,
    /// The value that was written, for [`Operation::Write`].
    pub value: Option<String>,
    /// The class of the failure.
    pub kind: Kind,
    /// What is wrong, where the error number does not say it.
    pub detail: Option<String>,
    /// The error number of the failed call.
    pub cause: Option<Errno>,
}

impl Error {
    pub(crate) fn kernel(operation: Operation, object: impl Into<String>, errno: Errno) -> Error {
        let kind = match errno {
            Errno::PERM | Errno::ACCESS => Kind::Permission,
            Errno::ROFS => Kind::ReadOnly,
            Errno::NOENT | Errno::NODEV => Kind::NotFound,
            Errno::SRCH => Kind::NoProcess,
            Errno::BUSY => Kind::Busy,
            Errno::INVAL | Errno::RANGE | Errno::NOSPC => Kind::Refused,
            Errno::OPNOTSUPP | Errno::NOSYS => Kind::Unsupported,
            _ => Kind::Kernel,
        };
        Error { operation, object: object.into(), value: None, kind, detail: None, cause: Some(errno) }
    }

    pub(crate) fn plain(
        operation: Operation,
        object: impl Into<String>,
        kind: Kind,
        detail: impl Into<String>,
    ) -> Error {
        Error {
            operation,
            object: object.into(),
            value: None,
            kind,
            detail: Some(detail.into()),
            cause: None,
        }
    }

    pub(crate) fn with_kind(self, kind: Kind) -> Error {
        Error { kind, ..self }
    }

    pub(crate) fn with_value(self, value: impl Into<String>) -> Error {
        Error { value: Some(value.into()), ..self }
    }

    pub(crate) fn with_detail(self, detail: impl Into<String>) -> Error {
        Error { detail: Some(detail.into()), ..self }
    }

    /// What the user can do about it, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint_where(if crate::is_booted() { Boot::Systemd } else { Boot::Other })
    }

    fn hint_where(&self, boot: Boot) -> Option<&'static str> {
        match self.kind {
            Kind::NoHierarchy => Some(
                "mount cgroups first: `mount -t cgroup2 cgroup2 /sys/fs/cgroup` on a host without an init \
                 system that does it",
            ),
            Kind::ControllerUnavailable => Some(
                "the kernel was built or booted without this controller, or it is not mounted; leave the \
                 limit out, or see `cat /proc/cgroups` and the kernel's `cgroup_disable=` parameter",
            ),
            Kind::ControllerHeld if boot == Boot::Other => Some(
                "cgroup v2 gives no controllers to children of a group that holds processes; move them into a child \
                 first (`mkdir GROUP/init`, each pid of GROUP/cgroup.procs into GROUP/init/cgroup.procs)",
            ),
            Kind::ControllerHeld => Some(
                "cgroup v2 gives no controllers to children of a group that holds processes; move them into a child \
                 first (`mkdir GROUP/init`, each pid of GROUP/cgroup.procs into GROUP/init/cgroup.procs), or start \
                 from a delegated group, for example with `systemd-run --scope -p Delegate=yes`",
            ),
            Kind::Manager => Some(
                "see `systemctl status` and `journalctl` for the unit; or name a group outside of systemd's \
                 (`linux.cgroupsPath`, `--cgroup-parent=/GROUP`), whose limits systemd may take back",
            ),
            Kind::Permission if boot == Boot::Other => Some(
                "run as root, or in a group that root has given to you: the directory, and `cgroup.procs`, \
                 `cgroup.threads` and `cgroup.subtree_control` in it",
            ),
            Kind::Permission => Some(
                "run as root, or in a cgroup that is delegated to you: `systemd-run --user --scope -p \
                 Delegate=yes`",
            ),
            Kind::ReadOnly => Some(
                "inside another container: start that one with writable cgroups, for example \
                 `--cgroupns=private` with a read-write /sys/fs/cgroup",
            ),
            Kind::Busy if self.operation == Operation::Create => Some(
                "name a group of the container's own in `linux.cgroupsPath`, or end and thaw what is in this one",
            ),
            Kind::Busy if self.operation == Operation::Write => Some(
                "the group uses more than the new limit allows and the kernel can not take it back; free \
                 some or raise the limit",
            ),
            Kind::Unsupported if self.operation == Operation::Write => {
                Some("leave this limit out, or use a kernel and a cgroup version that have it")
            }
            _ => None,
        }
    }
}

/// What has booted the host, as far as it makes groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boot {
    Systemd,
    Other,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(formatter, "{} `{value}` to `{}`", self.operation, self.object)?,
            None => write!(formatter, "{} `{}`", self.operation, self.object)?,
        }
        if let Some(detail) = &self.detail {
            write!(formatter, ": {detail}")?;
        }
        if let Some(errno) = self.cause {
            write!(formatter, ": {}", sys::errno_text(errno.raw_os_error()))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|errno| errno as &dyn std::error::Error)
    }
}

pub(crate) fn io_text(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), sys::errno_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_write_names_value_file_and_cause() {
        let error = Error::kernel(Operation::Write, "/sys/fs/cgroup/pids/a/pids.max", Errno::INVAL)
            .with_value("many");
        assert_eq!(error.to_string(), "write `many` to `/sys/fs/cgroup/pids/a/pids.max`: invalid argument");
        assert_eq!(error.kind, Kind::Refused);
    }

    #[test]
    fn missing_permission_comes_with_a_remedy() {
        let error = Error::kernel(Operation::Create, "/sys/fs/cgroup/a", Errno::ACCESS);
        let hint = |boot| error.hint_where(boot).expect("a remedy");
        assert!(hint(Boot::Systemd).contains("Delegate=yes"));
        assert!(hint(Boot::Other).contains("cgroup.procs") && !hint(Boot::Other).contains("systemd"));
        assert!(error.hint().is_some());
    }
}
