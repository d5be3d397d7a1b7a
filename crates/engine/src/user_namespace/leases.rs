//! Ranges of ids that running containers have for themselves: which are free, and who holds one.
//!
//! ```text
//! <base>/user-ids/                   flock on the directory: held while a range is chosen
//! <base>/user-ids/100000-65536       first id and count; shared flock of every holder, their ids inside, one a line
//! ```
//!
//! A range is held as long as somebody locks its file, or one of those named in it has a record: of that one something
//! may still run, such as processes that could not be killed.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use runtime::ContainerId;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};
use runtime::subordinate_ids::Range;

/// Where ranges are leased.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    /// Of the ranges' files.
    pub(crate) directory: PathBuf,
    /// Of the records of containers, each by its id.
    pub(crate) records: PathBuf,
}

/// A range that a container has as long as this lives: alone, or with those that are in its user namespace.
#[derive(Debug)]
pub(crate) struct RangeLease {
    path: PathBuf,
    /// Locked shared, until it is given up. Copies in children that other threads have just made go when those execute their programs.
    file: Option<File>,
    records: PathBuf,
    pub(crate) range: Range,
}

impl Drop for RangeLease {
    fn drop(&mut self) {
        // Best effort on the way out of an error: a file that stays is nobody's once it is not locked.
        let _ = self.give_up();
    }
}

impl RangeLease {
    /// Leases the lowest `count` free ids in one piece of `pool`, for `holder`; nothing where there are none.
    pub(crate) fn take(
        leases: &Leases,
        pool: &[Range],
        count: u32,
        holder: &str,
    ) -> Result<Option<RangeLease>> {
        let directory = &leases.directory;
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(directory);
        made.map_err(|error| Error::at_path("make", directory, error))?;
        let turn = Turn::wait(directory)?;
        let mut held = held(directory)?;
        let mut found = lowest_free(pool, count, &held);
        if found.is_none() {
            // What the dead held counted so far: to ask for every lock costs more than to read names.
            let mut unknown = None;
            held.retain(|range| match remove_if_dead(leases, *range) {
                Ok(State::Free) => false,
                Ok(State::Held) => true,
                Err(error) => {
                    unknown.get_or_insert(error);
                    true
                }
            });
            found = lowest_free(pool, count, &held);
            if let (None, Some(error)) = (&found, unknown) {
                return Err(error);
            }
        }
        let lease = found.map(|range| make(leases, range, holder)).transpose();
        drop(turn);
        lease
    }

    /// Gives the range back, and says so where that fails, which dropping it does not.
    pub(crate) fn release(mut self) -> Result<()> {
        self.give_up()
    }

    fn give_up(&mut self) -> Result<()> {
        // Once: afterwards, somebody else may have a file of that name.
        let Some(file) = self.file.take() else { return Ok(()) };
        // Ours may be the last lock, or not.
        match lock_alone(&file, &self.path)? {
            State::Free if !has_record(&self.path, &self.records)? => remove(&self.path),
            _ => Ok(()),
        }
    }

    /// Holds the range that `id` is in with whoever has it, also when those end; nothing where nobody has it.
    pub(crate) fn share(leases: &Leases, id: u32, holder: &str) -> Result<Option<RangeLease>> {
        if !leases.directory.exists() {
            return Ok(None);
        }
        let _turn = Turn::wait(&leases.directory)?;
        let found =
            held(&leases.directory)?.into_iter().find(|range| (range.first..=range.last()).contains(&id));
        let Some(range) = found else { return Ok(None) };
        let path = leases.directory.join(name(range));
        let mut file = match std::fs::OpenOptions::new().append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::at_path("open", &path, error)),
        };
        // Who gives it up locks it for itself alone, and removes it.
        let locked = match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => false,
            locked => locked.map(|()| true).map_err(|error| Error::at_path("lock", &path, error))?,
        };
        if !locked || !file.metadata().is_ok_and(|found| found.nlink() > 0) {
            return Ok(None);
        }
        writeln!(file, "{holder}").map_err(|error| Error::at_path("write", &path, error))?;
        Ok(Some(RangeLease { path, file: Some(file), records: leases.records.clone(), range }))
    }
}

/// Removes the files of dead holders. `failed` hears what went wrong with one of them; the others go all the same.
pub(crate) fn sweep(leases: &Leases, failed: &mut dyn FnMut(Error)) {
    let directory = &leases.directory;
    if !directory.exists() {
        return;
    }
    match Turn::wait(directory).and_then(|turn| Ok((turn, held(directory)?))) {
        Ok((_turn, ranges)) => {
            for range in ranges {
                if let Err(error) = remove_if_dead(leases, range) {
                    failed(error);
                }
            }
        }
        Err(error) => failed(error),
    }
}

/// The directory's lock.
struct Turn {
    directory: OwnedFd,
}

impl Turn {
    fn wait(path: &Path) -> Result<Turn> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| Error::at_path("open", path, error))?;
        rustix::io::retry_on_intr(|| flock(&directory, FlockOperation::LockExclusive))
            .map_err(|error| Error::at_path("lock", path, error))?;
        Ok(Turn { directory })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // For every copy: a child that another thread has just forked holds one until it executes its program.
        let _ = flock(&self.directory, FlockOperation::Unlock);
    }
}

fn name(range: Range) -> String {
    format!("{}-{}", range.first, range.count)
}

fn parse(name: &str) -> Option<Range> {
    let (first, count) = name.split_once('-')?;
    let range = Range { first: first.parse().ok()?, count: count.parse().ok()? };
    (range.count > 0 && range.first.checked_add(range.count).is_some()).then_some(range)
}

fn held(directory: &Path) -> Result<Vec<Range>> {
    let entries = std::fs::read_dir(directory).map_err(|error| Error::at_path("read", directory, error))?;
    let mut held = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::at_path("read", directory, error))?;
        held.extend(entry.file_name().to_str().and_then(parse));
    }
    held.sort_by_key(|range| range.first);
    Ok(held)
}

/// With `held` in order.
fn lowest_free(pool: &[Range], count: u32, held: &[Range]) -> Option<Range> {
    pool.iter().find_map(|part| {
        let mut first = part.first;
        for range in held.iter().filter(|range| range.last() >= part.first) {
            if range.first > first && range.first - first >= count {
                break;
            }
            first = first.max(range.last().checked_add(1)?);
        }
        let end = first.checked_add(count)?;
        (end <= part.last().checked_add(1)?).then_some(Range { first, count })
    })
}

fn make(leases: &Leases, range: Range, holder: &str) -> Result<RangeLease> {
    let path = leases.directory.join(name(range));
    let mut options = std::fs::OpenOptions::new();
    // Never one that is there: somebody may hold it, and his name in it may be all that says so.
    let opened = options.write(true).create_new(true).mode(0o600).open(&path);
    let mut file = opened.map_err(|error| Error::at_path("make", &path, error))?;
    flock(&file, FlockOperation::NonBlockingLockShared)
        .map_err(|error| Error::at_path("lock", &path, error))?;
    let written = writeln!(file, "{holder}").map_err(|error| Error::at_path("write", &path, error));
    let lease = RangeLease { path, file: Some(file), records: leases.records.clone(), range };
    written.map(|()| lease)
}

/// Whether somebody has a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    Free,
}

/// Locks a range's file for us alone, or finds out that others hold it.
fn lock_alone(file: &File, path: &Path) -> Result<State> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(State::Free),
        Err(Errno::WOULDBLOCK) => Ok(State::Held),
        Err(error) => Err(Error::at_path("lock", path, error)),
    }
}

/// Whether one of those named in the file has a record.
fn has_record(file: &Path, records: &Path) -> Result<bool> {
    let holders = match std::fs::read(file) {
        // The last of them has just removed it.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        holders => holders.map_err(|error| Error::at_path("read", file, error))?,
    };
    for id in String::from_utf8_lossy(&holders).lines().filter_map(|id| ContainerId::parse(id).ok()) {
        let record = records.join(id.as_str());
        if record.try_exists().map_err(|error| Error::at_path("look for", &record, error))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// With the directory's lock held. Only what is known to be nobody's is free, and its file is gone then.
fn remove_if_dead(leases: &Leases, range: Range) -> Result<State> {
    let path = leases.directory.join(name(range));
    let file = match File::open(&path) {
        // Its holder has just removed it.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::Free),
        file => file.map_err(|error| Error::at_path("open", &path, error))?,
    };
    match lock_alone(&file, &path)? {
        State::Free if !has_record(&path, &leases.records)? => remove(&path).map(|()| State::Free),
        _ => Ok(State::Held),
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::at_path("remove", path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, count: u32) -> Range {
        Range { first, count }
    }

    fn scratch(name: &str) -> Leases {
        let base = std::env::temp_dir().join(format!("rabbitc-user-ids-{name}-{}", std::process::id()));
        Leases { directory: base.join("ids"), records: base.join("records") }
    }

    fn clean_up(leases: &Leases) {
        std::fs::remove_dir_all(leases.directory.parent().expect("has one")).expect("removed");
    }

    #[test]
    fn lowest_range_that_fits_between_those_held_is_taken() {
        let pool = [range(1000, 100), range(5000, 1000)];
        let free = |count, held: &[Range]| lowest_free(&pool, count, held).map(|range| range.first);
        assert_eq!(free(100, &[]), Some(1000));
        assert_eq!(free(10, &[range(1000, 10), range(1030, 10)]), Some(1010));
        assert_eq!(free(30, &[range(1000, 10), range(1030, 10)]), Some(1040));
        assert_eq!(free(70, &[range(1000, 10), range(1030, 10)]), Some(5000));
        assert_eq!(free(1000, &[range(5000, 1)]), None);
        assert_eq!(free(10, &[range(990, 15)]), Some(1005), "one that reaches into the pool");
        assert_eq!(lowest_free(&[range(4_294_967_290, 5)], 5, &[]), Some(range(4_294_967_290, 5)));
        assert_eq!(lowest_free(&[range(4_294_967_290, 5)], 1, &[range(4_294_967_290, 5)]), None);
    }

    #[test]
    fn leases_do_not_overlap_and_end_with_their_holders() {
        let leases = scratch("leases");
        let pool = [range(100_000, 200_000)];
        let take = |count| RangeLease::take(&leases, &pool, count, "one").expect("taken");
        let first = take(65_536).expect("free");
        let second = take(65_536).expect("free");
        assert_eq!((first.range.first, second.range.first), (100_000, 165_536));
        let third = take(65_536).expect("free");
        assert!(take(65_536).is_none(), "only small ones are left");
        drop(second);
        assert_eq!(take(1000).expect("free").range.first, 165_536);
        drop((first, third));
        assert_eq!(std::fs::read_dir(&leases.directory).expect("there").count(), 0);
        clean_up(&leases);
    }

    #[test]
    fn range_of_a_dead_holder_is_free() {
        let leases = scratch("dead");
        let directory = &leases.directory;
        std::fs::create_dir_all(directory).expect("made");
        std::fs::write(directory.join("1000-10"), "dead\n").expect("written");
        let lease = RangeLease::take(&leases, &[range(1000, 10)], 10, "one").expect("taken").expect("free");
        assert_eq!(lease.range, range(1000, 10));
        drop(lease);
        std::fs::write(directory.join("1000-10"), "dead\n").expect("written");
        std::fs::write(directory.join("no range"), "").expect("written");
        sweep(&leases, &mut |error| panic!("{error}"));
        assert!(!directory.join("1000-10").exists() && directory.join("no range").exists());
        clean_up(&leases);
    }

    #[test]
    fn range_is_held_until_the_last_of_those_who_share_it_ends() {
        let leases = scratch("shared");
        let take = || RangeLease::take(&leases, &[range(1000, 10)], 10, "one").expect("taken");
        let first = take().expect("free");
        assert!(RangeLease::share(&leases, 1010, "two").expect("looked").is_none(), "nobody has it");
        let second = RangeLease::share(&leases, 1009, "two").expect("shared").expect("held");
        drop(first);
        assert!(take().is_none(), "the second is in it");
        sweep(&leases, &mut |error| panic!("{error}"));
        assert!(take().is_none(), "and no sweep takes it away");
        drop(second);
        drop(take().expect("free"));
        clean_up(&leases);
    }

    #[test]
    fn range_whose_file_cannot_be_looked_at_is_held() {
        let leases = scratch("unread");
        let directory = &leases.directory;
        std::fs::create_dir_all(directory).expect("made");
        let take = || RangeLease::take(&leases, &[range(1000, 10)], 10, "one");
        let file = directory.join("1000-10");
        // As with too many open files: that it can't be opened says nothing of who has it locked.
        std::os::unix::fs::symlink("1000-10", &file).expect("a link to itself");
        take().expect_err("nobody knows whose it is");
        let mut failures = 0;
        sweep(&leases, &mut |_| failures += 1);
        assert!(failures == 1 && file.is_symlink());
        std::fs::remove_file(&file).expect("removed");
        // Locked by nobody, with holders that can't be read.
        std::fs::create_dir(&file).expect("made");
        take().expect_err("nobody knows of whom something is left");
        sweep(&leases, &mut |_| failures += 1);
        assert!(failures == 2 && file.is_dir());
        // A free range beside it is still to be had.
        let beside = RangeLease::take(&leases, &[range(1000, 20)], 10, "one").expect("taken").expect("free");
        assert_eq!(beside.range, range(1010, 10));
        beside.release().expect("released");
        std::fs::remove_dir(&file).expect("removed");
        take().expect("taken").expect("free").release().expect("released");
        clean_up(&leases);
    }

    #[test]
    fn file_of_a_living_holder_is_never_taken_over_nor_emptied() {
        let leases = scratch("over");
        let first = RangeLease::take(&leases, &[range(1000, 10)], 10, "one").expect("taken").expect("free");
        make(&leases, range(1000, 10), "two").expect_err("it is there");
        assert_eq!(std::fs::read_to_string(&first.path).expect("there"), "one\n");
        first.release().expect("released");
        clean_up(&leases);
    }

    #[test]
    fn range_of_one_of_whom_something_is_left_is_held() {
        let leases = scratch("left");
        let take = || RangeLease::take(&leases, &[range(1000, 10)], 10, "one").expect("taken");
        std::fs::create_dir_all(leases.records.join("one")).expect("made");
        drop(take().expect("free"));
        sweep(&leases, &mut |error| panic!("{error}"));
        assert!(take().is_none(), "its record is there");
        std::fs::remove_dir(leases.records.join("one")).expect("removed");
        drop(take().expect("free"));
        clean_up(&leases);
    }
}
