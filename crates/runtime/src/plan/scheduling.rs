//! `process.scheduler` and `process.ioPriority`: the program's place in the queues for processors and disks.

use sys::scheduling::Scheduling;

use crate::error::{Error, Result};
use crate::init::step::{InitAction, Step};
use crate::plan::init_step;
use crate::spec::{IoPriority, Process, Scheduler};

/// The steps for both.
pub(super) fn plan_scheduling(process: &Process, steps: &mut Vec<Step>) -> Result<()> {
    if let Some(scheduler) = &process.scheduler {
        steps.push(init_step(InitAction::Scheduler(scheduling(scheduler)?), "process.scheduler"));
    }
    if let Some(priority) = &process.io_priority {
        steps.push(init_step(io_priority(priority)?, "process.ioPriority"));
    }
    Ok(())
}

/// Policies with their numbers (sched(7), linux/sched.h).
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", DEADLINE),
];

const DEADLINE: u32 = 6;

/// Flags with their bits (linux/sched.h).
const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

fn scheduling(scheduler: &Scheduler) -> Result<Scheduling> {
    let wrong = |field: &str, reason: String| Error::invalid(format!("process.scheduler.{field}"), reason);
    let name = &scheduler.policy;
    let Some((_, policy)) = POLICIES.iter().find(|(known, _)| known == name).copied() else {
        let names = POLICIES.map(|(name, _)| name).join(", ");
        return Err(
            wrong("policy", format!("`{name}` is not a policy")).with_hint(format!("choose one of {names}"))
        );
    };
    let mut flags = 0;
    for (index, flag) in scheduler.flags.iter().enumerate() {
        let Some((_, bit)) = FLAGS.iter().find(|(known, _)| known == flag) else {
            return Err(wrong(&format!("flags[{index}]"), format!("`{flag}` is not a flag")));
        };
        flags |= bit;
    }
    let nice = scheduler.nice.unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(wrong("nice", format!("{nice} is not in -20 to 19")));
    }
    let priority = scheduler.priority.unwrap_or(0);
    match name.as_str() {
        "SCHED_FIFO" | "SCHED_RR" if !(1..=99).contains(&priority) => {
            return Err(wrong("priority", format!("{priority} is not in 1 to 99")));
        }
        "SCHED_FIFO" | "SCHED_RR" => {}
        _ if priority != 0 => {
            let reason = format!("{priority} is for SCHED_FIFO and SCHED_RR, and the policy is {name}");
            return Err(wrong("priority", reason).with_hint("leave it out, or use `nice`"));
        }
        _ => {}
    }
    let (runtime, deadline, period) =
        (scheduler.runtime.unwrap_or(0), scheduler.deadline.unwrap_or(0), scheduler.period.unwrap_or(0));
    if policy != DEADLINE {
        for (field, value) in [("runtime", runtime), ("deadline", deadline), ("period", period)] {
            if value != 0 {
                let reason = format!("{value} is for SCHED_DEADLINE, and the policy is {name}");
                return Err(wrong(field, reason).with_hint("leave it out, or choose that policy"));
            }
        }
    } else if let Err((field, reason)) = deadline_policy(scheduler) {
        let hint =
            "1024 <= runtime <= deadline <= period, in nanoseconds; period 0 means the deadline (sched(7))";
        return Err(wrong(field, format!("sched_setattr: `SCHED_DEADLINE` {reason}")).with_hint(hint));
    }
    Ok(Scheduling { policy, flags, nice, priority: priority.unsigned_abs(), runtime, deadline, period })
}

/// What the kernel would refuse with a mere EINVAL (sched_setattr(2)): the field and why.
fn deadline_policy(scheduler: &Scheduler) -> std::result::Result<(), (&'static str, String)> {
    let bounds = 1 << 10..=i64::MAX as u64;
    let Some(runtime) = scheduler.runtime else {
        return Err(("runtime", "requires `runtime`".to_owned()));
    };
    let Some(deadline) = scheduler.deadline.filter(|deadline| *deadline > 0) else {
        return Err(("deadline", "requires `deadline`".to_owned()));
    };
    let period = scheduler.period.filter(|period| *period > 0).unwrap_or(deadline);
    if runtime == 0 {
        return Err(("runtime", "runtime must be greater than 0".to_owned()));
    }
    if !bounds.contains(&runtime) {
        let reason = format!("runtime {runtime} must be between {} and {}", bounds.start(), bounds.end());
        return Err(("runtime", reason));
    }
    if runtime > deadline {
        return Err(("runtime", format!("runtime {runtime} must be <= the deadline {deadline}")));
    }
    if deadline > period {
        return Err(("deadline", format!("deadline {deadline} must be <= the period {period}")));
    }
    Ok(())
}

/// Classes with their numbers (ioprio_set(2)).
const CLASSES: [(&str, u16); 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

fn io_priority(priority: &IoPriority) -> Result<InitAction> {
    let Some((_, class)) = CLASSES.iter().find(|(name, _)| *name == priority.class).copied() else {
        let names = CLASSES.map(|(name, _)| name).join(", ");
        let reason = format!("`{}` is not a class", priority.class);
        return Err(
            Error::invalid("process.ioPriority.class", reason).with_hint(format!("choose one of {names}"))
        );
    };
    if priority.priority > 7 {
        let reason = format!("{} is not in 0 to 7", priority.priority);
        return Err(Error::invalid("process.ioPriority.priority", reason));
    }
    Ok(InitAction::IoPriority { class, level: priority.priority })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str) -> Scheduler {
        Scheduler { policy: name.to_owned(), ..Scheduler::default() }
    }

    #[test]
    fn scheduler_becomes_the_numbers_of_sched_setattr() {
        let deadline = Scheduler {
            flags: vec!["SCHED_FLAG_RESET_ON_FORK".to_owned(), "SCHED_FLAG_RECLAIM".to_owned()],
            runtime: Some(10_000),
            deadline: Some(20_000),
            period: Some(30_000),
            ..policy("SCHED_DEADLINE")
        };
        let expected = Scheduling {
            policy: 6,
            flags: 3,
            nice: 0,
            priority: 0,
            runtime: 10_000,
            deadline: 20_000,
            period: 30_000,
        };
        assert_eq!(scheduling(&deadline).expect("legal"), expected);
        let round = Scheduler { priority: Some(42), ..policy("SCHED_RR") };
        let expected = Scheduling { policy: 2, priority: 42, ..Scheduling::default() };
        assert_eq!(scheduling(&round).expect("legal"), expected);
        let batch = Scheduler { nice: Some(-3), ..policy("SCHED_BATCH") };
        let expected = Scheduling { policy: 3, nice: -3, ..Scheduling::default() };
        assert_eq!(scheduling(&batch).expect("legal"), expected);
    }

    #[test]
    fn what_does_not_fit_the_policy_is_refused_with_its_field() {
        for (wrong, field) in [
            (policy("SCHED_FAIR"), "policy"),
            (policy(""), "policy"),
            (Scheduler { flags: vec!["X".to_owned()], ..policy("SCHED_OTHER") }, "flags[0]"),
            (Scheduler { nice: Some(20), ..policy("SCHED_OTHER") }, "nice"),
            (Scheduler { priority: Some(1), ..policy("SCHED_OTHER") }, "priority"),
            (Scheduler { priority: Some(-1), ..policy("SCHED_FIFO") }, "priority"),
            (policy("SCHED_RR"), "priority"),
            (Scheduler { runtime: Some(1), ..policy("SCHED_OTHER") }, "runtime"),
            (Scheduler { period: Some(1), ..policy("SCHED_FIFO") }, "priority"),
            (policy("SCHED_DEADLINE"), "runtime"),
            (Scheduler { runtime: Some(2000), ..policy("SCHED_DEADLINE") }, "deadline"),
            (Scheduler { runtime: Some(1023), deadline: Some(8000), ..policy("SCHED_DEADLINE") }, "runtime"),
            (Scheduler { runtime: Some(9000), deadline: Some(8000), ..policy("SCHED_DEADLINE") }, "runtime"),
            (
                Scheduler { runtime: Some(1 << 63), deadline: Some(1 << 63), ..policy("SCHED_DEADLINE") },
                "runtime",
            ),
            (
                Scheduler {
                    runtime: Some(2000),
                    deadline: Some(9000),
                    period: Some(8000),
                    ..policy("SCHED_DEADLINE")
                },
                "deadline",
            ),
        ] {
            let error = scheduling(&wrong).expect_err(field).to_string();
            assert!(error.starts_with(&format!("process.scheduler.{field}: ")), "{error}");
        }
    }
}
