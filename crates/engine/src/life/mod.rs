//! Containers that live on beyond the command that made them: made, started, stopped, started again, found by the next command
//! when whoever stood behind them was killed.
//!
//! One process stands behind each. It begins as `rabbitc internal-start`, which starts the container as its own child, becomes
//! the monitor, and then `rabbitc internal-end`, by executing one after the other: so it is the container's parent all the time,
//! and the locks stay with it. Who waits for a container waits for these.

mod adopt;
mod begin;
mod create;
mod end;
mod inspect;
mod journal;
mod look;
mod options;
mod remove;
mod runtime_record;
mod start;
mod stop;
mod why;

pub use self::adopt::{ADOPT, adopt};
pub(crate) use self::begin::Place;
pub use self::begin::{BEGIN, Begun, FailedBegin, Standing, begin};
pub use self::create::{CreateRequest, Look};
pub use self::end::{END, Ended, end};
pub(crate) use self::inspect::bindings;
pub use self::look::{attach, parse_moment, wait_for_hangup};
pub use self::options::{
    InputUntil, LifeOptions, LogChoice, RestartPolicy, StandardInput, parse_log, parse_restart,
};
pub use self::remove::Removal;
pub(crate) use self::runtime_record::bring_back;
pub use self::start::Started;
pub(crate) use self::stop::send;
pub use self::stop::{Patience, StopRequest, Stopped};
pub use self::why::Verdict;
