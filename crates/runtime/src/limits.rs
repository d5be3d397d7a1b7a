//! The limits of a container that lives: changing them, and what it uses of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::lifecycle::{self, Verb, demand};
use crate::plan::Warning;
use crate::plan::limits::plan_limits;
use crate::spec::Resources;
use crate::state_dir::StateRoot;

pub use cgroup::{BlockIoStatistics, Counter, Pressure, Stall, Statistics};

/// Sets the limits that `resources` names; all others stay. Device rules only where there are any.
///
/// Every value is checked before the first one is written. What the kernel refuses on the way leaves those written
/// before it in force, and the error names the file.
///
/// Returns what was left out, and why: for the caller to show.
pub fn update(root: &StateRoot, id: &ContainerId, resources: &Resources) -> Result<Vec<Warning>> {
    let mut limits = plan_limits(resources)?;
    if resources.devices.is_empty() {
        // The rules that every container has are there already.
        limits.devices.clear();
    }
    let (_, group) = group_of(root, id)?;
    group.apply(&limits)?;
    Ok(Warning::of_limits(&limits).into_iter().collect())
}

/// Makes the group that those of several containers are to be in, where it is not there yet, and sets its limits.
pub fn keep_parent(layout: &cgroup::Layout, path: &cgroup::CgroupPath, resources: &Resources) -> Result<()> {
    let mut limits = plan_limits(resources)?;
    // What devices a container may use is its own matter.
    limits.devices.clear();
    let group = match cgroup::Cgroup::create(layout, path) {
        // Containers are in it.
        Err(error) if error.kind == cgroup::Kind::Busy => cgroup::Cgroup::open(layout, path),
        made => made,
    }?;
    Ok(group.apply(&limits)?)
}

/// Reads a size as callers of runc write it: bytes, or a number with `k`, `m`, `g`, `t` (powers of 1024, also as `kb`
/// and `KiB`) behind it; -1 is no limit. Nothing is cut to fit.
pub fn parse_size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (number, shift) = match lower.char_indices().last()? {
        (at, 'k') => (&lower[..at], 10),
        (at, 'm') => (&lower[..at], 20),
        (at, 'g') => (&lower[..at], 30),
        (at, 't') => (&lower[..at], 40),
        _ => (lower, 0),
    };
    if shift == 0 {
        return number.parse().ok().filter(|bytes| *bytes >= 0);
    }
    let bytes = number.parse::<f64>().ok()? * (1u64 << shift) as f64;
    (bytes.is_finite() && bytes >= 0.0 && bytes < i64::MAX as f64).then_some(bytes as i64)
}

/// Something that a watched container did.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What it uses now.
    Statistics(Box<Statistics>),
    /// The kernel killed one of its processes for want of memory.
    OutOfMemory,
}

/// What a container uses now: nothing that anybody could tell where it has no cgroup.
pub fn statistics(root: &StateRoot, id: &ContainerId) -> Result<Statistics> {
    let (_, group) = living(root, id)?;
    Ok(group.map_or_else(Statistics::default, |group| group.statistics()))
}

/// Tells `sink` what the container uses, each `interval`, and at once when memory runs out. Returns when its init has
/// ended, or when `sink` fails.
pub fn watch(
    root: &StateRoot,
    id: &ContainerId,
    interval: Duration,
    sink: &mut dyn FnMut(Event) -> Result<()>,
) -> Result<()> {
    let (init, group) = group_of(root, id)?;
    let memory = group.watch_out_of_memory()?;
    let mut kills = group.out_of_memory_kills();
    // Too long for any clock is a hundred years.
    let interval = interval.min(Duration::from_secs(100 * 365 * 24 * 3600));
    let mut next = Instant::now() + interval;
    loop {
        let woken = wait(memory.as_ref().map(AsFd::as_fd), init.as_fd(), next)?;
        if woken.memory {
            memory.iter().for_each(cgroup::OutOfMemoryWatch::acknowledge);
        }
        let now = group.out_of_memory_kills();
        if now > kills {
            kills = now;
            sink(Event::OutOfMemory)?;
        }
        if woken.ended {
            return Ok(());
        }
        if Instant::now() >= next {
            next += interval;
            sink(Event::Statistics(Box::new(group.statistics())))?;
        }
    }
}

struct Woken {
    memory: bool,
    ended: bool,
}

fn wait(memory: Option<BorrowedFd<'_>>, init: BorrowedFd<'_>, until: Instant) -> Result<Woken> {
    let mut watched = vec![PollFd::from_borrowed_fd(init, PollFlags::IN)];
    watched.extend(memory.map(|memory| PollFd::from_borrowed_fd(memory, PollFlags::IN)));
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    match poll(&mut watched, Some(&left)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(Error::system("wait for events of the container", error)),
    }
    let ready = |index: usize| watched.get(index).is_some_and(|one| !one.revents().is_empty());
    Ok(Woken { ended: ready(0), memory: ready(1) })
}

/// Init and the cgroup of a container that lives.
fn group_of(root: &StateRoot, id: &ContainerId) -> Result<(OwnedFd, cgroup::Cgroup)> {
    match living(root, id)? {
        (init, Some(group)) => Ok((init, group)),
        (_, None) => Err(lifecycle::no_cgroup(format!("look at the limits of `{id}`"))),
    }
}

/// Likewise, of one that need not have a cgroup.
fn living(root: &StateRoot, id: &ContainerId) -> Result<(OwnedFd, Option<cgroup::Cgroup>)> {
    let view = lifecycle::view(root, id)?;
    demand(id.as_str(), view.status, Verb::Update)?;
    let gone = |what: &str| {
        Error::new(ErrorKind::WrongStatus, format!("look at the limits of `{id}`"), format!("{what} is gone"))
    };
    let init = lifecycle::init(&view.record).ok_or_else(|| gone("its init process"))?;
    if view.record.cgroup_path.is_none() {
        return Ok((init, None));
    }
    let group = lifecycle::cgroup_of(&view.record)?.ok_or_else(|| gone("its cgroup"))?;
    Ok((init, Some(group)))
}
