//! Containers whose changes are on the disk: each a directory with the upper directories of its overlays, and with a record where
//! it is kept after its end. Whoever runs one holds a lock of the kernel's on its directory, so that the remains of a command that
//! was killed are known as such.
//!
//! ```text
//! containers/ID/container.json    what it is of and how it ended; without it the directory goes with the container
//! containers/ID/u0, w0            upper and work directory of the root's overlay; u1 and so on those of the host's other mounts
//! ```

mod changes;
mod commit;
mod export;
mod filter;
mod list;
mod prune;
mod record;

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
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
pub(crate) use self::list::{Shown, bytes_below};
pub use self::prune::PrunedContainers;
use self::record::End;
pub use self::record::KeptRoot;
pub(crate) use self::record::Record;
use crate::error::{Error, Result};
use crate::images::{data_directory, enter_own_users};

/// The file with a container's record.
const RECORD: &str = "container.json";

/// How long those who only look at a container are waited for.
const LOOK: Duration = Duration::from_millis(250);

/// The containers of the caller that are on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptContainers {
    path: PathBuf,
}

/// Whether a container stays after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stay {
    /// Until somebody removes it.
    Kept,
    /// It goes.
    Removed,
}

/// A container that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// What it is of.
    pub root: KeptRoot,
    /// Its program and what that was given.
    pub command: Vec<String>,
    /// Seconds since 1970 at which it was made.
    pub created: u64,
    /// How it is.
    pub state: KeptState,
    directory: PathBuf,
    submounts: Vec<PathBuf>,
    points: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
    volumes: Vec<PathBuf>,
    shown: Shown,
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
    /// It runs.
    Running,
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

impl From<End> for KeptState {
    fn from(end: End) -> KeptState {
        KeptState::Exited { code: end.code, ended: end.at }
    }
}

/// The directory of a container that this process runs. Dropped before the container has started, it is gone.
#[derive(Debug)]
pub(crate) struct Lease {
    directory: PathBuf,
    record: Option<Record>,
    has_started: bool,
    /// Locked.
    _lock: File,
}

/// Whether a directory's name is a container's id.
fn is_id(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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

    /// Makes the directory of a container that is about to run; and removes what commands that were killed have left.
    pub(crate) fn begin(&self, id: &str, record: Option<Record>) -> Result<Lease> {
        let make = |path: &Path| {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| Error::at_path("make", path, error))
        };
        make(&self.path)?;
        self.sweep()?;
        let directory = self.path.join(id);
        make(&directory)?;
        let Lock::Held(lock) = lock(&directory, FlockOperation::NonBlockingLockExclusive)? else {
            return Err(Error::at_path("lock", &directory, Errno::WOULDBLOCK));
        };
        let lease = Lease { directory, record, has_started: false, _lock: lock };
        lease.write()?;
        Ok(lease)
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

    /// Removes directories without a record that nobody holds.
    fn sweep(&self) -> Result<()> {
        self.check_is_own()?;
        for id in self.ids()? {
            let directory = self.path.join(&id);
            if directory.join(RECORD).exists() {
                continue;
            }
            // One of another command that has just made it is held, or has no lock yet and nothing in it.
            let is_empty = std::fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_none());
            if !is_empty
                && let Ok(Lock::Held(_lock)) = lock(&directory, FlockOperation::NonBlockingLockExclusive)
            {
                remove_tree(&directory)?;
            }
        }
        Ok(())
    }

    fn ids(&self) -> Result<Vec<String>> {
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
        survey.kept.sort_by(|one, other| other.created.cmp(&one.created).then_with(|| one.id.cmp(&other.id)));
        Ok(survey)
    }

    /// The container of one directory; none where it is not kept, or gone.
    fn kept(&self, id: &str) -> Result<Option<Kept>> {
        let directory = self.path.join(id);
        let path = directory.join(RECORD);
        let Some(mut record) = Record::read(&path)? else { return Ok(None) };
        // Whoever has noted an end is nobody who runs, so that its lock is left to those who remove it.
        let state = match record.end {
            Some(end) => end.into(),
            None => {
                let found = lock(&directory, FlockOperation::NonBlockingLockShared)?;
                // Its end may have come since, or somebody has removed it.
                record = match Record::read(&path)? {
                    Some(record) => record,
                    None => return Ok(None),
                };
                match (record.end, found) {
                    (Some(end), _) => end.into(),
                    (None, Lock::Busy) => KeptState::Running,
                    (None, Lock::Held(_)) => KeptState::Unknown,
                    (None, Lock::Gone) => return Ok(None),
                }
            }
        };
        let Record { id, root, command, created, submounts, points, hidden, volumes, shown, .. } = record;
        Ok(Some(Kept {
            id,
            root,
            command,
            created,
            state,
            directory,
            submounts,
            points,
            hidden,
            volumes,
            shown,
        }))
    }

    /// The one whose id begins so.
    pub fn find(&self, text: &str) -> Result<Kept> {
        let operation = || format!("find the container `{}`", text.escape_debug());
        let Survey { kept, mut damaged } = self.survey()?;
        let mut found: Vec<Kept> = kept.into_iter().filter(|kept| kept.id.starts_with(text)).collect();
        damaged.retain(|damaged| damaged.id.starts_with(text));
        match found.len() {
            1 if !text.is_empty() => Ok(found.remove(0)),
            0 if !damaged.is_empty() && !text.is_empty() => Err(damaged.remove(0).error),
            0 => {
                let error = Error::new(
                    ErrorKind::NotFound,
                    operation(),
                    "no container that is kept has an id that begins so",
                );
                Err(error.with_hint("`rabbitc ps -a` lists those that are kept"))
            }
            number => {
                let error =
                    Error::invalid(operation(), format!("{number} containers have ids that begin so"));
                Err(error.with_hint("write more of the id"))
            }
        }
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
        let record = kept.directory.join(RECORD);
        match std::fs::remove_file(&record) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(gone()),
            removed => removed.map_err(|error| Error::at_path("remove", &record, error))?,
        }
        remove_tree(&kept.directory)
    }
}

impl Kept {
    /// The upper directories, and where in the container's root they belong.
    fn uppers(&self) -> Vec<(PathBuf, &Path)> {
        let root = std::iter::once(Path::new("/"));
        let points = root.chain(self.submounts.iter().map(PathBuf::as_path));
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

    /// From now on it stays, if it is to be kept.
    pub(crate) fn started(&mut self) {
        self.has_started = true;
    }

    /// Removes it, as dropping it before the start does; and says so where that fails.
    pub(crate) fn give_up(mut self) -> Result<()> {
        self.has_started = true;
        remove_tree(&self.directory)
    }

    /// Notes how it ended, or removes it.
    pub(crate) fn end(mut self, code: i32) -> Result<()> {
        if let Some(record) = &mut self.record {
            record.ended(code);
        }
        self.end_unknown()
    }

    /// The same where nobody learned how it ended.
    pub(crate) fn end_unknown(self) -> Result<()> {
        let Some(record) = &self.record else { return remove_tree(&self.directory) };
        for number in 0..=record.submounts.len() {
            // Nothing is in it any more; one of other ids goes with the container.
            let work = self.directory.join(format!("w{number}"));
            let removed = std::fs::remove_dir(work.join("work"));
            let _ = removed.and_then(|()| std::fs::remove_dir(&work));
        }
        self.write()
    }

    fn write(&self) -> Result<()> {
        self.record.as_ref().map_or(Ok(()), |record| record.write(&self.directory.join(RECORD)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.has_started {
            // An error is on its way to be told already; what stays is swept by the next one.
            let _ = remove_tree(&self.directory);
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
        let begin = |id: &str, record: Option<Record>| {
            let mut lease = containers.begin(id, record).expect("begun");
            std::fs::create_dir_all(lease.directory().join("w0/work")).expect("made");
            lease.started();
            lease
        };
        begin(ENDED, None).end_unknown().expect("ended");
        begin(UNKNOWN, Some(Record::new(UNKNOWN, KeptRoot::Host, &[]))).end_unknown().expect("ended");
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
            containers.begin(ENDED, None).expect_err("not ours"),
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
            let mut lease = containers.begin(id, Some(record)).expect("begun");
            lease.started();
            match id {
                ENDED => lease.end(3).expect("ended"),
                _ => lease.end_unknown().expect("ended"),
            }
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
