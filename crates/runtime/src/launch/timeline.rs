//! When each step ran.

use std::sync::atomic::Ordering;

use sys::shared::SharedCounters;

use crate::init::step::{Action, InitAction, Step, StepDescription};

/// A step and when it ran, in nanoseconds after the launch began.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// When each step of a plan ran, in its order, and which one failed: to put all of them into words takes as long as ten mounts,
/// and can be done at another time.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTimes {
    /// Begin and end of those that ran, in nanoseconds after the launch began.
    pub times: Vec<Option<(u64, u64)>>,
    /// The index of the one that did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<usize>,
}

impl StepTimes {
    /// The steps that ran; `steps` are all that were timed, in words.
    pub fn of(&self, steps: impl IntoIterator<Item = StepDescription>) -> Vec<StepTiming> {
        let ran = self.times.iter().zip(steps).enumerate();
        ran.filter_map(|(index, (times, step))| {
            let (start_nanoseconds, end_nanoseconds) = (*times)?;
            Some(StepTiming { step, start_nanoseconds, end_nanoseconds, failed: self.failed == Some(index) })
        })
        .collect()
    }

    /// The same of steps that are not in words yet.
    pub(crate) fn describe(&self, steps: &[Step]) -> Vec<StepTiming> {
        self.of(steps.iter().enumerate().map(|(index, step)| step.describe(index + 1)))
    }
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
    /// When each step ran; `failed` is the index of the one that did not succeed.
    pub(crate) fn read(&self, steps: &[Step], failed: Option<usize>) -> StepTimes {
        let counters = self.counters.counters();
        let mut last = counters[steps.len()].load(Ordering::Relaxed);
        let mut all = Vec::with_capacity(steps.len());
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
            let since_begin = |time: u64| time.saturating_sub(self.begun);
            all.push(times.map(|(start, end)| (since_begin(start), since_begin(end))));
        }
        StepTimes { times: all, failed }
    }
}
