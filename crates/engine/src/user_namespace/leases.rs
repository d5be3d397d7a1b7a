//! Ranges of ids that running containers have for themselves: which are free, and who holds one.
//!
//! ```text
//! <base>/user-ids/                   flock on the directory: held while a range is chosen
//! <base>/user-ids/100000-65536       first id and count; flock held by the holder, its id inside
//! ```
//!
//! Only kernel locks count: a file that nobody locks is a dead holder's, and its range is free.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use crate::error::{Error, Result};
use crate::subordinate_ids::Range;

/// A range that one container has as long as this lives.
#[derive(Debug)]
pub(crate) struct RangeLease {
    path: PathBuf,
    /// Locked. Copies in children that other threads have just made go when those execute their programs.
    _file: File,
    pub(crate) range: Range,
}

impl Drop for RangeLease {
    fn drop(&mut self) {
        // Best effort: a file that stays is nobody's once it is not locked.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl RangeLease {
    /// Leases the lowest `count` free ids in one piece of `pool`, for `holder`; nothing where there are none.
    pub(crate) fn take(
        directory: &Path,
        pool: &[Range],
        count: u32,
        holder: &str,
    ) -> Result<Option<RangeLease>> {
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(directory);
        made.map_err(|error| Error::at_path("make", directory, error))?;
        let turn = Turn::wait(directory)?;
        let mut held = held(directory)?;
        let mut found = lowest_free(pool, count, &held);
        if found.is_none() {
            // What the dead held counted so far: to ask for every lock costs more than to read names.
            held.retain(|range| !remove_if_dead(directory, *range));
            found = lowest_free(pool, count, &held);
        }
        let lease = found.map(|range| make(directory, range, holder)).transpose();
        drop(turn);
        lease
    }
}

/// Removes the files of dead holders.
pub(crate) fn sweep(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let _turn = Turn::wait(directory)?;
    for range in held(directory)? {
        remove_if_dead(directory, range);
    }
    Ok(())
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
    let mut held: Vec<Range> =
        entries.flatten().filter_map(|entry| parse(entry.file_name().to_str()?)).collect();
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

fn make(directory: &Path, range: Range, holder: &str) -> Result<RangeLease> {
    let path = directory.join(name(range));
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    let mut file = opened.map_err(|error| Error::at_path("make", &path, error))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| Error::at_path("lock", &path, error))?;
    let lease = RangeLease {
        path: path.clone(),
        _file: file.try_clone().map_err(|error| Error::at_path("keep open", &path, error))?,
        range,
    };
    writeln!(file, "{holder}").map_err(|error| Error::at_path("write", &path, error))?;
    Ok(lease)
}

/// With the directory's lock held. Whether the range is free now.
fn remove_if_dead(directory: &Path, range: Range) -> bool {
    let path = directory.join(name(range));
    let Ok(file) = File::open(&path) else {
        // Its holder has just removed it.
        return true;
    };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && std::fs::remove_file(&path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, count: u32) -> Range {
        Range { first, count }
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("rabbitc-user-ids-{name}-{}", std::process::id()))
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
        let directory = scratch("leases");
        let pool = [range(100_000, 200_000)];
        let take = |count| RangeLease::take(&directory, &pool, count, "one").expect("taken");
        let first = take(65_536).expect("free");
        let second = take(65_536).expect("free");
        assert_eq!((first.range.first, second.range.first), (100_000, 165_536));
        let third = take(65_536).expect("free");
        assert!(take(65_536).is_none(), "only small ones are left");
        drop(second);
        assert_eq!(take(1000).expect("free").range.first, 165_536);
        drop((first, third));
        assert_eq!(std::fs::read_dir(&directory).expect("there").count(), 0);
        std::fs::remove_dir(&directory).expect("removed");
    }

    #[test]
    fn range_of_a_dead_holder_is_free() {
        let directory = scratch("dead");
        std::fs::create_dir_all(&directory).expect("made");
        std::fs::write(directory.join("1000-10"), "dead\n").expect("written");
        let lease =
            RangeLease::take(&directory, &[range(1000, 10)], 10, "one").expect("taken").expect("free");
        assert_eq!(lease.range, range(1000, 10));
        drop(lease);
        std::fs::write(directory.join("1000-10"), "dead\n").expect("written");
        std::fs::write(directory.join("no range"), "").expect("written");
        sweep(&directory).expect("swept");
        assert!(!directory.join("1000-10").exists() && directory.join("no range").exists());
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
