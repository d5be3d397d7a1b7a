//! Containers whose changes are on the disk: each a directory with the upper directories of its overlays, and with a record where
//! it is kept after its end. Whoever runs one holds a lock of the kernel's on its directory, so that the remains of a command that
//! was killed are known as such.
//!
//! ```text
//! containers/.names/NAME          a link to the ID of the one that is called so
//! containers/ID/container.json    what it is of, what was asked for and how it ended; without it the directory goes with the container
//! containers/ID/health.json       how its health is, where that is checked
//! containers/ID/secrets.json      copies of its secrets, where it has any
//! containers/ID/edit              whose lock those have who change that
//! containers/ID/stopped           somebody stops it, and the disk has no room to write that down
//! containers/ID/start.json        what its last start consisted of
//! containers/ID/log, log.1        its output, where that is logged
//! containers/ID/in, out, err      FIFOs of one that lives on, while it runs; `attach` is where its monitor listens, `exit` what that learned
//! containers/ID/u0, w0            upper and work directory of the root's overlay; u1 and so on those of the host's other mounts
//! ```

mod changes;
mod commit;
mod export;
mod filter;
mod lease;
mod list;
mod names;
mod outlive;
mod prune;
mod record;
mod root;
mod start;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runtime::ErrorKind;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub(crate) use self::changes::changes_of;
pub use self::changes::{Change, ChangeKind};
pub use self::commit::CommitRequest;
pub use self::filter::ContainerFilter;
pub(crate) use self::lease::Lease;
pub use self::list::{ContainerSize, ListedContainer};
pub(crate) use self::list::{Shown, ShownNetwork, bytes_below};
pub use self::names::check_container_name;
pub(crate) use self::names::{parse as parse_name, parse_of_pod as parse_pod_name};
pub use self::prune::PrunedContainers;
pub(crate) use self::record::{Asked, End, MemoryEnd, Record, Sent, Wish, now, seconds};
pub use self::record::{KeptRoot, PodMember, PodRole};
pub(crate) use self::start::StartNote;
pub use self::start::{ComparedStep, StartFailure, StartRecord, StepTime, compare as compare_starts};
pub(crate) use crate::directories::Durability;
use crate::directories::{Lock, lock, lock_file, names, remove_file};
use crate::error::{Error, Result};
use crate::images::{data_directory, enter_own_users};
use crate::life::RestartPolicy;

/// The file with a container's record.
const RECORD: &str = "container.json";

/// The same of one that goes with the command that runs it.
const PASSING: &str = "passing.json";

/// The file whose lock those have who change the record.
const EDIT: &str = "edit";

/// Without a byte in it, and so without room on a full disk: the wish that it ends, as long as the record can't tell of that.
const STOPPED: &str = "stopped";

/// How long those who only look at a container are waited for.
const LOOK: Duration = Duration::from_millis(250);

/// The containers of the caller that are on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptContainers {
    path: PathBuf,
}

/// Whether a container stays after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stay {
    /// Until somebody removes it.
    #[default]
    Kept,
    /// It goes.
    Removed,
}

/// A container that is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// Its name; empty for those of before there were names.
    pub name: String,
    /// What it is of.
    pub root: KeptRoot,
    /// How it is.
    pub state: KeptState,
    pub(crate) directory: PathBuf,
    pub(crate) record: Record,
}

/// What there is of containers.
#[derive(Debug)]
pub struct Survey {
    /// Those that are kept, the newest first.
    pub kept: Vec<Kept>,
    /// Those whose records can't be read: what they are of, nobody knows.
    pub damaged: Vec<DamagedContainer>,
}

/// A container whose record can't be read.
#[derive(Debug)]
pub struct DamagedContainer {
    /// Its id.
    pub id: String,
    /// Why.
    pub error: Error,
}

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptState {
    /// It was made, and never started.
    Created,
    /// It runs.
    Running,
    /// It has ended with this code, and is about to be started again.
    Restarting {
        /// Its exit code, where that is known.
        code: Option<i32>,
        /// When it ended, in seconds since 1970.
        ended: u64,
    },
    /// It has ended with this code, so many seconds after 1970.
    Exited {
        /// Its exit code.
        code: i32,
        /// When.
        ended: u64,
    },
    /// It has ended, and whoever stood behind it was killed before that was noted, or did not learn how.
    Unknown,
}

impl KeptState {
    /// Whether it runs, or is about to again.
    pub fn is_up(self) -> bool {
        matches!(self, KeptState::Running | KeptState::Restarting { .. })
    }
}

impl From<&End> for KeptState {
    fn from(end: &End) -> KeptState {
        match end.code {
            // It never ran, in docker's words.
            _ if end.error.is_some() => KeptState::Created,
            Some(code) => KeptState::Exited { code, ended: seconds(end.at) },
            None => KeptState::Unknown,
        }
    }
}

/// What becomes of a change that the disk does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OfDisk {
    /// It fails.
    Told,
    /// It goes on.
    Endured,
}

impl OfDisk {
    fn endures(self, error: &Error) -> bool {
        self == OfDisk::Endured && is_of_disk(error)
    }
}

/// Whether it is the disk that takes nothing: it is full, or worn.
fn is_of_disk(error: &Error) -> bool {
    let of_disk = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::IO];
    error.errno.is_some_and(|errno| of_disk.iter().any(|one| one.raw_os_error() == errno))
}

/// Whether a directory's name is a container's id.
pub(crate) fn is_id(name: &str) -> bool {
    // Twelve: as they were made in 2026.
    matches!(name.len(), 12 | 64) && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl KeptContainers {
    /// Those below `root`, or where the caller's are without a word. Nothing is made.
    pub fn of(root: Option<&Path>) -> Result<KeptContainers> {
        Ok(KeptContainers { path: data_directory(root)?.join("containers") })
    }

    /// As [`KeptContainers::of`], for somebody who reads or removes their files: without root this process enters a user namespace
    /// for good.
    pub fn open(root: Option<&Path>) -> Result<KeptContainers> {
        let containers = KeptContainers::of(root)?;
        enter_own_users()?;
        Ok(containers)
    }

    /// Where they are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same, to be changed.
    pub(crate) fn path_mut(&mut self) -> &mut PathBuf {
        &mut self.path
    }

    /// Those beside the images of a store.
    pub(crate) fn beside(store: &Path) -> KeptContainers {
        KeptContainers { path: store.with_file_name("containers") }
    }

    /// Refuses a directory that somebody else has made, as /etc/containers is one: what lies there is no remains of containers.
    pub fn check_is_own(&self) -> Result<()> {
        // A disk of its own has that directory.
        let is_other = |name: &String| !is_id(name) && !name.starts_with('.') && name != "lost+found";
        let Some(other) = names(&self.path)?.into_iter().find(is_other) else { return Ok(()) };
        let operation = format!("look for containers in `{}`", self.path.display());
        let reason = format!("`{}` in it is none of rabbitc's", other.escape_debug());
        let error = Error::new(ErrorKind::Invalid, operation, reason);
        Err(error.with_hint("name another directory with `--root`, or move away what is not rabbitc's"))
    }

    /// Removes all that killed commands have left: directories without a record, and names of nobody.
    pub fn sweep_all(&self) -> Result<()> {
        self.sweep()?;
        self.sweep_names()
    }

    /// Removes directories without a record that nobody holds.
    fn sweep(&self) -> Result<()> {
        self.check_is_own()?;
        for id in self.ids()? {
            let directory = self.path.join(&id);
            if record::is_there(&directory) {
                continue;
            }
            // One of another command that has just made it is held, or will be made again.
            if let Ok(Lock::Held(_lock)) = lock(&directory, FlockOperation::NonBlockingLockExclusive) {
                let record = Record::read(&directory).ok().flatten();
                if record.as_ref().is_some_and(|record| !self.sweep_volumes(record).is_empty()) {
                    // Its record alone tells of them: the next one tries again.
                    continue;
                }
                remove_tree(&directory)?;
                record.iter().for_each(|record| record.subject(&self.path).tell("destroy"));
            }
        }
        Ok(())
    }

    /// The record of one; none where there is none.
    pub(crate) fn read(&self, id: &str) -> Result<Option<Record>> {
        Record::read(&self.path.join(id))
    }

    /// Whether somebody stands behind a container.
    pub(crate) fn has_someone_behind(&self, id: &str) -> Result<bool> {
        let found = lock(&self.path.join(id), FlockOperation::NonBlockingLockShared)?;
        Ok(matches!(found, Lock::Busy))
    }

    /// The ids of all that have a directory.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        Ok(names(&self.path)?.into_iter().filter(|name| is_id(name)).collect())
    }

    /// All that are kept, the newest first; without those whose records are damaged.
    pub fn list(&self) -> Result<Vec<Kept>> {
        Ok(self.survey()?.kept)
    }

    /// All that are kept, and those of which nobody can tell what they are.
    pub fn survey(&self) -> Result<Survey> {
        let mut survey = Survey { kept: Vec::new(), damaged: Vec::new() };
        for id in self.ids()? {
            match self.kept(&id) {
                Ok(kept) => survey.kept.extend(kept),
                Err(error) => survey.damaged.push(DamagedContainer { id, error }),
            }
        }
        let made = |kept: &Kept| kept.record.created;
        survey.kept.sort_by(|one, other| made(other).cmp(&made(one)).then_with(|| one.id.cmp(&other.id)));
        Ok(survey)
    }

    /// The container of one directory; none where it is not kept, or gone.
    pub(crate) fn kept(&self, id: &str) -> Result<Option<Kept>> {
        let directory = self.path.join(id);
        let Some(mut record) = Record::read(&directory)? else { return Ok(None) };
        // Whoever has noted an end is nobody who runs, so that its lock is left to those who remove it; unless it is to be started
        // again by itself.
        let may_return = |record: &Record| {
            let policy = || record.asked.as_ref().map_or(RestartPolicy::No, |asked| asked.life.restart);
            record.wish == Wish::Again || (record.wish == Wish::Run && policy() != RestartPolicy::No)
        };
        let state = match record.end.clone() {
            Some(end) if !may_return(&record) => KeptState::from(&end),
            _ => {
                let found = lock(&directory, FlockOperation::NonBlockingLockShared)?;
                // Its end may have come since, or somebody has removed it.
                record = match Record::read(&directory)? {
                    Some(record) => record,
                    None => return Ok(None),
                };
                match (&record.end, found) {
                    (_, Lock::Gone) => return Ok(None),
                    (Some(end), Lock::Busy) => {
                        KeptState::Restarting { code: end.code, ended: seconds(end.at) }
                    }
                    (Some(end), Lock::Held(_)) => KeptState::from(end),
                    (None, Lock::Busy) => KeptState::Running,
                    (None, Lock::Held(_)) if record.started.is_none() && record.asked.is_some() => {
                        KeptState::Created
                    }
                    (None, Lock::Held(_)) => KeptState::Unknown,
                }
            }
        };
        let Record { id, name, root, .. } = record.clone();
        Ok(Some(Kept { id, name, root, state, directory, record }))
    }

    /// The one of this name, or whose id begins so.
    pub fn find(&self, text: &str) -> Result<Kept> {
        let none = || {
            let operation = format!("find the container `{}`", text.escape_debug());
            let reason = "no container that is kept has this name, or an id that begins so";
            let error = Error::new(ErrorKind::NotFound, operation, reason);
            error.with_hint("`rabbitc ps -a` lists those that are kept")
        };
        let id = self.id_of(text, || Ok(Vec::new()))?.ok_or_else(none)?;
        self.kept(&id)?.ok_or_else(none)
    }

    /// Changes the record of a container as nobody else does at the same time; what comes back is the record as it is then.
    pub(crate) fn edit(&self, id: &str, change: impl FnOnce(&mut Record)) -> Result<Record> {
        self.edit_for(Durability::Process, OfDisk::Told, id, change)
    }

    /// The same before it is told to end: a disk that takes nothing keeps nobody from ending what fills it. That it is to end
    /// is kept all the same, if the disk takes as much as a name; what else was noted is lost then.
    pub(crate) fn edit_to_end(&self, id: &str, change: impl FnOnce(&mut Record)) -> Result<Record> {
        self.edit_for(Durability::Process, OfDisk::Endured, id, change)
    }

    /// The same for what it is asked for, which outlives power.
    pub(crate) fn redefine(&self, id: &str, change: impl FnOnce(&mut Record)) -> Result<Record> {
        self.edit_for(Durability::Power, OfDisk::Told, id, change)
    }

    fn edit_for(
        &self,
        durability: Durability,
        of_disk: OfDisk,
        id: &str,
        change: impl FnOnce(&mut Record),
    ) -> Result<Record> {
        let _turn = match self.turn(id) {
            Err(error) if of_disk.endures(&error) => None,
            turn => Some(turn?),
        };
        self.change(durability, of_disk, id, change)
    }

    /// Changes what a container is asked for as long as nobody else does, who has its turn.
    pub(crate) fn edit_in_turn(
        &self,
        _turn: &File,
        id: &str,
        change: impl FnOnce(&mut Record),
    ) -> Result<Record> {
        self.change(Durability::Power, OfDisk::Told, id, change)
    }

    /// For whoever has its turn.
    fn change(
        &self,
        durability: Durability,
        of_disk: OfDisk,
        id: &str,
        change: impl FnOnce(&mut Record),
    ) -> Result<Record> {
        let directory = self.path.join(id);
        let gone = || {
            Error::new(ErrorKind::NotFound, format!("find the container `{id}`"), "it has just been removed")
        };
        let mut record = Record::read(&directory)?.ok_or_else(gone)?;
        change(&mut record);
        match record.write(&directory, durability) {
            Err(error) if of_disk.endures(&error) => {
                if record.wish != Wish::Run {
                    // Where there is no room for a name either, nothing keeps the wish.
                    let _ = File::create(directory.join(STOPPED));
                }
            }
            // The record has it now, or another wish.
            Ok(()) => {
                remove_file(&directory.join(STOPPED))?;
            }
            Err(error) => return Err(error),
        }
        Ok(record)
    }

    /// The turn of whoever changes what is written down of a container, as long as it is held.
    pub(crate) fn turn(&self, id: &str) -> Result<File> {
        lock_file(&self.path.join(id).join(EDIT))
    }

    /// Removes a container that has ended.
    pub fn remove(&self, kept: &Kept) -> Result<()> {
        let operation = || format!("remove the container `{}`", kept.id);
        let gone = || Error::new(ErrorKind::NotFound, operation(), "it has just been removed");
        let _lock = match lock_soon(&kept.directory)? {
            Lock::Held(lock) => lock,
            Lock::Gone => return Err(gone()),
            Lock::Busy => {
                // Whoever runs it lets nobody share its lock.
                let is_looked_at =
                    matches!(lock(&kept.directory, FlockOperation::NonBlockingLockShared)?, Lock::Held(_));
                let (reason, hint) = match is_looked_at {
                    true => ("somebody looks at it", "try it again"),
                    false => ("it runs", "end it first, with `rabbitc stop` or `rabbitc rm --force`"),
                };
                return Err(Error::new(ErrorKind::WrongStatus, operation(), reason).with_hint(hint));
            }
        };
        // Without its record it is nobody's, whatever becomes of the rest.
        if !remove_record(&kept.directory)? {
            return Err(gone());
        }
        self.release_name(&kept.name, &kept.id);
        remove_tree(&kept.directory)?;
        kept.subject().tell("destroy");
        Ok(())
    }
}

impl Kept {
    /// The upper directories, and where in the container's root they belong.
    fn uppers(&self) -> Vec<(PathBuf, &Path)> {
        let root = std::iter::once(Path::new("/"));
        let points = root.chain(self.record.submounts.iter().map(PathBuf::as_path));
        let numbered =
            points.enumerate().map(|(number, point)| (self.directory.join(format!("u{number}")), point));
        // A start that failed has made none.
        numbered.filter(|(upper, _)| upper.is_dir()).collect()
    }
}

/// Removes a container's record; whether it was there.
fn remove_record(directory: &Path) -> Result<bool> {
    let mut was_there = false;
    for name in [RECORD, PASSING] {
        was_there |= remove_file(&directory.join(name))?;
    }
    Ok(was_there)
}

/// A lock that nobody else has: those who only look have theirs for a moment, and so has whoever has just noted an end.
fn lock_soon(directory: &Path) -> Result<Lock> {
    let end = Instant::now() + LOOK;
    loop {
        match lock(directory, FlockOperation::NonBlockingLockExclusive)? {
            Lock::Busy if Instant::now() < end => std::thread::sleep(LOOK / 50),
            other => return Ok(other),
        }
    }
}

/// Removes a directory with all that is in it, if it is there; links are not followed.
fn remove_tree(path: &Path) -> Result<()> {
    // The kernel gives the directory that an overlay works in no rights at all, and only root needs none.
    for number in 0.. {
        let work = path.join(format!("w{number}"));
        if !work.exists() {
            break;
        }
        // What matters is whether it can be removed.
        let _ = std::fs::set_permissions(work.join("work"), std::fs::Permissions::from_mode(0o700));
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::at_path("remove", path, error))
        }
        _ => Ok(()),
    }
}
