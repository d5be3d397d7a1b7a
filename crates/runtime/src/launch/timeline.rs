//! When each step ran.

use std::sync::atomic::Ordering;

use sys::shared::SharedCounters;

use crate::init::step::{Action, InitAction, Step, StepDescription};

/// A step and when it ran, in nanoseconds after the launch began.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTiming {
    /// What it was.
    #[serde(flatten)]
    pub step: StepDescription,
    /// When it began.
    pub start_nanoseconds: u64,
    /// When it ended.
    pub end_nanoseconds: u64,
    /// Whether the start failed at it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// When a list of steps ran, as both sides noted it.
pub(crate) struct Clock<'a> {
    /// The ends of init's steps, and behind them when init began.
    pub(crate) counters: &'a SharedCounters,
    /// When steps of the host's began and ended.
    pub(crate) host_times: &'a [Option<(u64, u64)>],
    pub(crate) begun: u64,
    pub(crate) ended: u64,
}

impl Clock<'_> {
    /// When each step ran, in the order of the plan; `failed` is the index of the one that did not succeed.
    pub(crate) fn timeline(&self, steps: &[Step], failed: Option<usize>) -> Vec<StepTiming> {
        let counters = self.counters.counters();
        let mut last = counters[steps.len()].load(Ordering::Relaxed);
        let mut timings = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let times = match &step.action {
                Action::Host(_) => self.host_times.get(index).copied().flatten(),
                Action::Init(action) => {
                    let mut end = counters[index].load(Ordering::Relaxed);
                    let start = last;
                    let has_failed = failed == Some(index);
                    // An exec that succeeded does not say when; a step that was killed says nothing.
                    if (matches!(action, InitAction::Execute(_)) && end != 0 && !has_failed)
                        || (has_failed && end == 0)
                    {
                        end = self.ended;
                    }
                    if end != 0 {
                        last = end;
                    }
                    (end != 0).then_some((start, end))
                }
            };
            if let Some((start, end)) = times {
                timings.push(StepTiming {
                    step: step.describe(index + 1),
                    start_nanoseconds: start.saturating_sub(self.begun),
                    end_nanoseconds: end.saturating_sub(self.begun),
                    failed: failed == Some(index),
                });
            }
        }
        timings
    }
}
