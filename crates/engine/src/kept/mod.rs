//! Containers whose changes are on the disk: each a directory with the upper directories of its overlays, and with a record where
//! it is kept after its end. Whoever runs one holds a lock of the kernel's on its directory, so that the remains of a command that
//! was killed are known as such.
//!
//! ```text
//! containers/.names/NAME          a link to the ID of the one that is called so
//! containers/ID/container.json    what it is of, what was asked for and how it ended; without it the directory goes with the container
//! containers/ID/edit              whose lock those have who change that
//! containers/ID/u0, w0            upper and work directory of the root's overlay; u1 and so on those of the host's other mounts
//! ```

mod changes;
mod commit;
mod export;
mod filter;
mod list;
mod names;
mod prune;
mod record;
mod root;

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runtime::ErrorKind;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub(crate) use self::changes::changes_of;
pub use self::changes::{Change, ChangeKind};
pub use self::commit::CommitRequest;
pub use self::filter::ContainerFilter;
pub use self::list::{ContainerSize, ListedContainer};
pub(crate) use self::list::{Shown, ShownNetwork, bytes_below};
pub(crate) use self::names::parse as parse_name;
pub use self::prune::PrunedContainers;
pub use self::record::KeptRoot;
pub(crate) use self::record::{Asked, Durability, End, MemoryEnd, Record, Sent, Wish, now, seconds};
use crate::error::{Error, Result};
use crate::images::{data_directory, enter_own_users};
use crate::life::RestartPolicy;

/// The file with a container's record.
const RECORD: &str = "container.json";

/// The same of one that goes with the command that runs it.
const PASSING: &str = "passing.json";

/// The file whose lock those have who change the record.
const EDIT: &str = "edit";

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

/// The directory of a container that this process runs. Dropped before the container has started, it is gone.
#[derive(Debug)]
pub(crate) struct Lease {
    containers: KeptContainers,
    directory: PathBuf,
    record: Record,
    standing: Standing,
    /// Locked.
    lock: File,
}

/// What becomes of a container's directory where its start fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It goes.
    New,
    /// It stays.
    Settled,
}

/// Whether a directory's name is a container's id.
fn is_id(name: &str) -> bool {
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

    /// Makes the directory of a container, with the name that `record` wants, or any; and removes what commands that were killed
    /// have left.
    pub(crate) fn begin(&self, record: Record, durability: Durability) -> Result<Lease> {
        let make = |path: &Path| {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| Error::at_path("make", path, error))
        };
        make(&self.path)?;
        self.sweep()?;
        let directory = self.path.join(&record.id);
        let lock = loop {
            make(&directory)?;
            // Nobody else knows the id; but a sweep may find an empty directory, and remove it.
            if let Lock::Held(lock) = lock(&directory, FlockOperation::NonBlockingLockExclusive)?
                && is_at(&lock, &directory)
            {
                break lock;
            }
        };
        let mut lease = Lease { containers: self.clone(), directory, record, standing: Standing::New, lock };
        let Record { id, name, .. } = &lease.record;
        lease.record.name = self.claim_name(id, Some(name.as_str()).filter(|name| !name.is_empty()))?;
        lease.write(durability)?;
        Ok(lease)
    }

    /// Takes hold of a container that is there and behind which nobody stands; none where somebody does.
    pub(crate) fn resume(&self, id: &str) -> Result<Option<Lease>> {
        let directory = self.path.join(id);
        let gone = || {
            Error::new(ErrorKind::NotFound, format!("find the container `{id}`"), "it has just been removed")
        };
        let lock = match lock_soon(&directory)? {
            Lock::Held(lock) => lock,
            Lock::Busy => return Ok(None),
            Lock::Gone => return Err(gone()),
        };
        let record = Record::read(&directory)?.ok_or_else(gone)?;
        Ok(Some(Lease { containers: self.clone(), directory, record, standing: Standing::Settled, lock }))
    }

    /// The same for who has inherited its lock.
    pub(crate) fn inherit(&self, id: &str, lock: File) -> Result<Lease> {
        let directory = self.path.join(id);
        let gone =
            || Error::new(ErrorKind::NotFound, format!("find the container `{id}`"), "its record is gone");
        let record = Record::read(&directory)?.ok_or_else(gone)?;
        Ok(Lease { containers: self.clone(), directory, record, standing: Standing::Settled, lock })
    }

    /// Refuses a directory that somebody else has made, as /etc/containers is one: what lies there is no remains of containers.
    pub fn check_is_own(&self) -> Result<()> {
        // A disk of its own has that directory.
        let is_other = |name: &String| !is_id(name) && !name.starts_with('.') && name != "lost+found";
        let Some(other) = self.names()?.into_iter().find(is_other) else { return Ok(()) };
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
            if directory.join(RECORD).exists() {
                continue;
            }
            // One of another command that has just made it is held, or will be made again.
            if let Ok(Lock::Held(_lock)) = lock(&directory, FlockOperation::NonBlockingLockExclusive) {
                let record = Record::read(&directory).ok().flatten();
                if record.is_some_and(|record| !self.sweep_volumes(&record).is_empty()) {
                    // Its record alone tells of them: the next one tries again.
                    continue;
                }
                remove_tree(&directory)?;
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
        Ok(self.names()?.into_iter().filter(|name| is_id(name)).collect())
    }

    fn names(&self) -> Result<Vec<String>> {
        let failed = |error| Error::at_path("list", &self.path, error);
        let listed = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in listed {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
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
            record.wish == Wish::Run
                && record.asked.as_ref().is_some_and(|asked| asked.life.restart != RestartPolicy::No)
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
        let directory = self.path.join(id);
        let _turn = edit_turn(&directory)?;
        let gone = || {
            Error::new(ErrorKind::NotFound, format!("find the container `{id}`"), "it has just been removed")
        };
        let mut record = Record::read(&directory)?.ok_or_else(gone)?;
        change(&mut record);
        record.write(&directory, Durability::Process)?;
        Ok(record)
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
                    false => (
                        "it runs",
                        "end it first: its command stands in a terminal, or behind `&`; `kill -9 PID` ends it, too, with the pid \
                         that `rabbitc ps --format '{{.ID}} {{.Pid}}'` shows",
                    ),
                };
                return Err(Error::new(ErrorKind::WrongStatus, operation(), reason).with_hint(hint));
            }
        };
        // Without its record it is nobody's, whatever becomes of the rest.
        if !remove_record(&kept.directory)? {
            return Err(gone());
        }
        self.release_name(&kept.name, &kept.id);
        remove_tree(&kept.directory)
    }
}

/// Removes a container's record; whether it was there.
fn remove_record(directory: &Path) -> Result<bool> {
    let mut was_there = false;
    for name in [RECORD, PASSING] {
        let path = directory.join(name);
        match std::fs::remove_file(&path) {
            Ok(()) => was_there = true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::at_path("remove", &path, error)),
        }
    }
    Ok(was_there)
}

/// The lock of those who change a record.
fn edit_turn(directory: &Path) -> Result<File> {
    let path = directory.join(EDIT);
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| Error::at_path("open", &path, error))?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
        .map_err(|error| Error::at_path("lock", &path, error))?;
    Ok(file)
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

impl Lease {
    /// Where the upper directories are to be.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its container's id.
    pub(crate) fn id(&self) -> &str {
        self.directory.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Shows the name that it got.
    pub(crate) fn know_name(&mut self) {
        self.record.shown.name.clone_from(&self.record.name);
    }

    /// What is noted.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Whose lock it is: held as long as any copy of this is open.
    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }

    /// From now on it stays, if it is to be kept.
    pub(crate) fn started(&mut self) {
        self.standing = Standing::Settled;
    }

    /// Changes the record, on the disk too.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Record)) -> Result<()> {
        self.record = self.containers.edit(self.id(), change)?;
        Ok(())
    }

    /// Removes it, as dropping it before the start does; and says so where that fails.
    pub(crate) fn give_up(mut self) -> Result<()> {
        match std::mem::replace(&mut self.standing, Standing::Settled) {
            Standing::New => self.remove(),
            Standing::Settled => Ok(()),
        }
    }

    /// Removes it with its name.
    pub(crate) fn remove(&mut self) -> Result<()> {
        remove_record(&self.directory)?;
        self.containers.release_name(&self.record.name, self.id());
        remove_tree(&self.directory)
    }

    /// Notes how it ended, or removes it where it is not kept.
    pub(crate) fn end(mut self, end: End) -> Result<()> {
        match self.record.stay {
            Stay::Kept => self.note_end(end),
            Stay::Removed => self.remove(),
        }
    }

    /// Notes how it ended.
    pub(crate) fn note_end(&mut self, end: End) -> Result<()> {
        for number in 0..=self.record.submounts.len() {
            // Nothing is in it any more; one of other ids goes with the container.
            let work = self.directory.join(format!("w{number}"));
            let removed = std::fs::remove_dir(work.join("work"));
            let _ = removed.and_then(|()| std::fs::remove_dir(&work));
        }
        self.edit(|record| record.end = Some(end))
    }

    fn write(&self, durability: Durability) -> Result<()> {
        self.record.write(&self.directory, durability)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.standing == Standing::New {
            // An error is on its way to be told already; what stays is swept by the next one.
            let _ = self.remove();
        }
    }
}

/// What became of asking for a lock.
#[derive(Debug)]
enum Lock {
    /// It is had as long as the value is.
    Held(File),
    /// Somebody else has it.
    Busy,
    /// There is no such directory.
    Gone,
}

/// A lock on a directory.
fn lock(directory: &Path, operation: FlockOperation) -> Result<Lock> {
    let file = match File::open(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::Gone),
        opened => opened.map_err(|error| Error::at_path("open", directory, error))?,
    };
    match flock(&file, operation) {
        Ok(()) => Ok(Lock::Held(file)),
        Err(Errno::WOULDBLOCK) => Ok(Lock::Busy),
        Err(error) => Err(Error::at_path("lock", directory, error)),
    }
}

/// Whether a directory that is open is the one of this path.
fn is_at(open: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (open.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids, as they are made.
    const ENDED: &str = "e00000000001";
    const UNKNOWN: &str = "a00000000002";

    #[test]
    fn container_of_which_nobody_learned_how_it_ended_is_listed_so_or_goes() {
        let path = std::env::temp_dir().join(format!("rabbitc-kept-unknown-{}", std::process::id()));
        let containers = KeptContainers { path: path.clone() };
        for (id, stay) in [(ENDED, Stay::Removed), (UNKNOWN, Stay::Kept)] {
            let record = Record { stay, ..Record::new(id, KeptRoot::Host, &[]) };
            let mut lease = containers.begin(record, Durability::Process).expect("begun");
            std::fs::create_dir_all(lease.directory().join("w0/work")).expect("made");
            lease.started();
            lease.end(End::now(None)).expect("ended");
        }
        let listed = containers.list().expect("listed");
        let listed: Vec<_> = listed.iter().map(|kept| (kept.id.as_str(), kept.state)).collect();
        assert_eq!(listed, [(UNKNOWN, KeptState::Unknown)]);
        assert!(!path.join(ENDED).exists() && !path.join(UNKNOWN).join("w0").exists());
        std::fs::remove_dir_all(&path).expect("removed");
    }

    #[test]
    fn what_is_no_containers_is_neither_listed_nor_removed_nor_put_beside_one() {
        let path = std::env::temp_dir().join(format!("rabbitc-kept-foreign-{}", std::process::id()));
        let containers = KeptContainers { path: path.clone() };
        std::fs::create_dir_all(path.join("registries.conf.d/more")).expect("made");
        assert!(containers.list().expect("listed").is_empty());
        for error in [
            containers.prune(&Default::default()).expect_err("not ours"),
            containers
                .begin(Record::new(ENDED, KeptRoot::Host, &[]), Durability::Process)
                .expect_err("not ours"),
        ] {
            assert!(error.to_string().contains("`registries.conf.d` in it"), "{error}");
        }
        assert!(path.join("registries.conf.d/more").exists());
        std::fs::remove_dir_all(&path).expect("removed");
    }

    /// Two containers that have ended, the second of which nobody learned how.
    fn two(name: &str) -> KeptContainers {
        let path = std::env::temp_dir().join(format!("rabbitc-kept-{name}-{}", std::process::id()));
        let containers = KeptContainers { path };
        for id in [ENDED, UNKNOWN] {
            let record = Record::new(id, KeptRoot::Host, &[]);
            let mut lease = containers.begin(record, Durability::Process).expect("begun");
            lease.started();
            lease.end(End::now((id == ENDED).then_some(3))).expect("ended");
        }
        containers
    }

    #[test]
    fn those_who_look_at_a_container_and_those_who_remove_it_do_not_hinder_one_another() {
        let containers = two("looked-at");
        let ended = containers.find(ENDED).expect("there");
        // Whoever removes it has its lock.
        let held = lock(&ended.directory, FlockOperation::NonBlockingLockExclusive).expect("locked");
        assert_eq!(
            containers.find(ENDED).expect("there").state,
            KeptState::Exited {
                code: 3,
                ended: match ended.state {
                    KeptState::Exited { ended, .. } => ended,
                    _ => unreachable!("it has ended"),
                }
            }
        );
        let error = containers.remove(&ended).expect_err("it is held");
        assert!(error.kind == ErrorKind::WrongStatus && error.reason == "it runs", "{error}");
        drop(held);
        // Whoever looks at it shares it: for a moment, or for longer.
        let share = || lock(&ended.directory, FlockOperation::NonBlockingLockShared).expect("locked");
        let look = share();
        let error = containers.remove(&ended).expect_err("it is looked at");
        assert_eq!(error.reason, "somebody looks at it");
        let moment = std::thread::spawn(move || {
            std::thread::sleep(LOOK / 5);
            drop(look);
        });
        containers.remove(&ended).expect("removed");
        moment.join().expect("it does not panic");
        let error = containers.remove(&ended).expect_err("it is gone");
        assert_eq!(error.kind, ErrorKind::NotFound);
        std::fs::remove_dir_all(&containers.path).expect("removed");
    }

    #[test]
    fn damaged_record_hides_no_other_container_and_is_told() {
        let containers = two("damaged");
        std::fs::write(containers.path.join(ENDED).join(RECORD), "{").expect("written");
        let survey = containers.survey().expect("listed");
        let ids: Vec<&str> = survey.kept.iter().map(|kept| kept.id.as_str()).collect();
        assert_eq!((ids, survey.damaged.len()), (vec![UNKNOWN], 1));
        let told = survey.damaged[0].error.to_string();
        assert!(survey.damaged[0].id == ENDED && told.contains("/e00000000001/container.json"), "{told}");
        let error = containers.find("e0").expect_err("it is damaged");
        assert!(error.hint.is_some_and(|hint| hint.contains("remove the directory")));
        containers.remove(&containers.find(UNKNOWN).expect("there")).expect("removed");
        std::fs::remove_dir_all(&containers.path).expect("removed");
    }
}
