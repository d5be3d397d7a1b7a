//! What a plan leaves out of a config, and why. Must not decide anything.

use std::fmt;

use super::seccomp;

/// Something that is asked for and has no effect here, which is no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The path into config.json; of a limit, the name that the cgroup's own errors have for it.
    pub field: String,
    /// What became of it, in lower case, without period.
    pub what: String,
}

impl Warning {
    pub(crate) fn new(field: impl Into<String>, what: impl Into<String>) -> Warning {
        Warning { field: field.into(), what: what.into() }
    }

    /// Of limits of which one is left out, if that is so.
    pub(crate) fn of_limits(limits: &cgroup::Resources) -> Option<Warning> {
        limits.conflict().map(|(limit, what)| Warning::new(limit, what))
    }
}

impl From<&seccomp::Warning> for Warning {
    fn from(warning: &seccomp::Warning) -> Warning {
        Warning::new(format!("linux.seccomp.{}", warning.field()), warning.to_string())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.what)
    }
}
