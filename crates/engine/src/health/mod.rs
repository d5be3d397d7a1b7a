//! Health checks: a program in a container that says whether the container works. The monitor keeps the time and executes
//! `rabbitc internal-check` when a check is due; what comes of it is written into the container's directory, and the monitor learns
//! when the next one is due (docs/decisions/0049-health-is-checked-by-a-process-of-its-own.md).

mod act;
mod options;
mod probe;
mod program;
mod state;
mod update;

pub use self::act::{HEAL, heal};
pub use self::options::{
    HealthCheck, HealthLog, HealthLogPlace, OnFailure, StartupCheck, parse_health_command,
    parse_health_interval, parse_health_log_place, parse_health_time, parse_on_failure,
};
pub use self::probe::{CHECK, check};
pub use self::state::HealthStatus;
pub(crate) use self::state::{Change, Checked, Health, first_due};
pub use self::update::{HealthChanges, HealthUpdate, StartupChanges};
