//! The process behind a container after its end: nothing of it is left but what is kept; or it is started again.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use runtime::lifecycle::{self, Force};
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, ErrorKind};
use serde::Deserialize;

use super::begin::{Cause, Place, Standing, start};
use super::options::pause;
use super::runtime_record;
use crate::container::release_unheld;
use crate::error::{Error, Result};
use crate::kept::{End, KeptContainers, Lease, MemoryEnd, Record, Stay, Wish};

/// The internal verb: `internal-end ID ROOT BASE LOCK HELD`, the last two the numbers of descriptors.
pub const END: &str = "internal-end";

/// What became of a container that ended.
#[derive(Debug)]
pub enum Ended {
    /// It is over.
    Over {
        /// What could not be removed, and what went wrong on the way.
        remains: Vec<Error>,
    },
    /// It runs again: this process is to become its monitor.
    Again(Box<Standing>),
}

/// What the monitor has written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Exit {
    code: Option<i32>,
    signal: Option<i32>,
    core_dumped: bool,
    lost_bytes: u64,
    time_was_up: bool,
    incidents: Vec<String>,
}

impl Exit {
    fn end(self) -> End {
        End {
            signal: self.signal,
            core_dumped: self.core_dumped,
            lost_bytes: self.lost_bytes,
            time_was_up: self.time_was_up,
            incidents: self.incidents,
            ..End::now(self.code)
        }
    }
}

/// Cleans up after the container whose monitor this process was.
pub fn end(arguments: &[OsString]) -> Result<Ended> {
    let place = Place::parse(arguments)?;
    let number = |word: &OsString| word.to_str().and_then(|word| word.parse::<i32>().ok());
    let bad = || Error::invalid(END, "it is for rabbitc itself".to_owned());
    let lock = arguments.get(3).and_then(number).ok_or_else(bad)?;
    let held: Vec<i32> = arguments
        .get(4)
        .and_then(|list| list.to_str())
        .into_iter()
        .flat_map(|list| list.split(','))
        .filter_map(|word| word.parse().ok())
        .collect();
    // As long as its record is held: whoever sweeps may remove the group after.
    let memory = memory(&place);
    // Its record, and all that was held for it: whoever looks finds nobody.
    let held = held.into_iter().filter_map(|number| sys::fd::adopt(number).ok());
    // But its network namespace, into which CNI plugins look once more.
    let is_network = |held: &OwnedFd| sys::namespace::kind(held.as_fd()).is_ok();
    let _network: Vec<OwnedFd> = held.filter(is_network).collect();
    let lock = File::from(sys::fd::adopt(lock).map_err(|error| Error::system("take a lock over", error))?);
    // Those who are attached wait for the end of this process, and of no other.
    sys::fd::close_on_exec_from(3)
        .map_err(|error| Error::system("keep descriptors to this process", error))?;
    let lease = place.containers()?.inherit(&place.id, lock)?;
    finish(&place, lease, memory)
}

/// The same for whoever holds the container's directory.
pub(super) fn finish(place: &Place, mut lease: Lease, mut memory: Option<MemoryEnd>) -> Result<Ended> {
    loop {
        let mut remains = Vec::new();
        let end = clean_up(place, &lease, memory.take(), &mut remains);
        let code = end.code;
        // Of a start that failed nothing has ended.
        let told = end.error.is_none().then(|| end.clone());
        let noted = lease.note_end(end);
        let is_noted = noted.is_ok();
        // A disk that takes nothing keeps nobody from cleaning up, and from removing what was to go. Of what stays the end is not
        // known then, and whoever looks next tries again to write down as much.
        remains.extend(noted.err());
        let record = lease.record();
        if let Some(end) = told.filter(|_| is_noted || record.stay == Stay::Removed) {
            let (container, volumes) = lease.told();
            container.tell_end(&end, record.started);
            volumes.tell_unmounted();
        }
        let policy = record.asked.as_ref().map(|asked| asked.life.restart).unwrap_or_default();
        let returns = is_noted
            && record.wish == Wish::Run
            && policy.wants(code, record.restarts)
            && wait_to_start(&place.containers()?, record, pause(record.short_lives.saturating_sub(1)));
        if !returns {
            remains.extend(place.containers()?.end_volumes(record, &place.paths));
            let of_pod = record.clone();
            if record.stay == Stay::Removed {
                remains.extend(lease.remove().err());
            }
            remains.extend(crate::pods::after_end(&place.containers()?, &of_pod, &place.paths));
            return Ok(Ended::Over { remains });
        }
        lease.edit(|record| record.restarts += 1)?;
        let lock = lease.lock().try_clone().map_err(|error| Error::system("keep a lock", error))?;
        match start(place, lease, Cause::Policy, None, None) {
            Ok(standing) => return Ok(Ended::Again(Box::new(standing))),
            // It is told by the record, and tried again as its policy says.
            Err(_) => lease = place.containers()?.inherit(&place.id, lock)?,
        }
    }
}

/// Waits; whether the container is still to be started then, and nobody wants it to stay as it is.
fn wait_to_start(containers: &KeptContainers, record: &Record, pause: Duration) -> bool {
    let end = Instant::now() + pause;
    loop {
        match containers.read(&record.id) {
            Ok(Some(record)) if record.wish == Wish::Run => {}
            _ => return false,
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// Removes all that there is of a container that has ended; how it ended.
fn clean_up(place: &Place, lease: &Lease, memory: Option<MemoryEnd>, remains: &mut Vec<Error>) -> End {
    let exit = std::fs::read(lease.directory().join("exit")).ok();
    let exit = exit.and_then(|text| serde_json::from_slice::<Exit>(&text).ok());
    let mut end = match &lease.record().end {
        // A start that failed has said why.
        Some(end) => end.clone(),
        None => exit.unwrap_or_default().end(),
    };
    end.memory = end.memory.or(memory);
    remains.extend(remove_from_host(place, lease.directory()).err());
    release_unheld(&place.paths, &mut |error| remains.push(error));
    for name in ["exit", "in", "out", "err", "attach"] {
        // What stays is replaced by the next start.
        let _ = std::fs::remove_file(lease.directory().join(name));
    }
    end
}

/// Ends what there is of the container, and removes it and its record; it need not be there.
pub(super) fn remove_from_host(place: &Place, directory: &Path) -> Result<()> {
    runtime_record::bring_back_remains(&place.id, directory, &place.paths)?;
    let root = StateRoot::new(place.paths.containers());
    match lifecycle::delete(&root, &ContainerId::parse(&place.id)?, Force::Yes) {
        Err(error) if error.kind == ErrorKind::NotFound => {}
        deleted => drop(deleted?),
    }
    runtime_record::forget(directory)
}

/// What the container's group tells of memory that ran out.
pub(super) fn memory(place: &Place) -> Option<MemoryEnd> {
    let root = StateRoot::new(place.paths.containers());
    let view = lifecycle::view(&root, &ContainerId::parse(&place.id).ok()?).ok()?;
    let table = lifecycle::cgroup_of(&view.record).ok()??.memory_table();
    let kills = table.oom_kills.filter(|kills| *kills > 0)?;
    Some(MemoryEnd { kills, limit: table.limit, peak: table.peak })
}
