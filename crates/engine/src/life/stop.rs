//! Ending a container from any process: asked, then killed, and waited for until nothing of it is left.

use std::time::{Duration, Instant};

use runtime::lifecycle::{self, Target};
use runtime::state_dir::StateRoot;
use runtime::{ContainerId, ErrorKind, Signal};

use super::runtime_record::bring_back;
use crate::error::{Error, Result};
use crate::kept::{Kept, KeptContainers, Record, Wish};
use crate::paths::EnginePaths;

/// How a container is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StopRequest {
    /// What asks it to stop, in the place of its own signal.
    pub signal: Option<Signal>,
    /// How long it has for that, in the place of its own time.
    pub patience: Option<Patience>,
}

/// How long something is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// So long.
    For(Duration),
    /// As long as it takes.
    Endless,
}

/// What became of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It has ended now.
    Now,
    /// It was asked so, did not end in that time, and was killed.
    Killed {
        /// What asked it.
        asked: Signal,
        /// How long it had.
        patience: Duration,
    },
    /// It did not run.
    Before,
}

/// How long it is until the next SIGKILL.
const AGAIN: Duration = Duration::from_millis(200);

/// How long the process behind a container may take to clean up.
const CLEANING: Duration = Duration::from_secs(30);

/// Sends a signal to the first process of a container; nothing is wrong with one that has ended meanwhile.
pub(crate) fn send(root: &StateRoot, id: &ContainerId, signal: Signal) -> Result<()> {
    match lifecycle::kill(root, id, signal, Target::Init) {
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::WrongStatus) => Ok(()),
        sent => sent,
    }
}

/// Why nobody has gone from behind a container that was to be killed, and what one can do.
fn why_it_stays(root: &StateRoot, id: &ContainerId) -> (String, &'static str) {
    let behind = "`rabbitc inspect --format '{{.State.ConmonPid}}'` names the process behind it: `kill -CONT` lets it go on, and after \
                  `kill -9` the next command takes its place";
    let record = match lifecycle::view(root, id) {
        Ok(view) => view.record,
        Err(_) => {
            let path = root.directory(id);
            return (format!("it does not end, and its state, `{}`, is gone", path.display()), behind);
        }
    };
    let group = lifecycle::cgroup_of(&record).ok().flatten();
    let has_processes =
        group.is_some_and(|group| group.processes_recursive().is_ok_and(|pids| !pids.is_empty()));
    if has_processes || lifecycle::init(&record).is_some() {
        let hint = "a process of it waits in the kernel, for a disk or a network file system; `rabbitc top` shows which";
        return ("it does not end, though it was killed".to_owned(), hint);
    }
    ("its program has ended, but the process behind it does not clean up".to_owned(), behind)
}

impl KeptContainers {
    /// Stops a container, and waits until it is over.
    pub fn stop(&self, kept: &Kept, request: StopRequest, paths: &EnginePaths) -> Result<Stopped> {
        let stopped = self.end(kept, request, paths)?;
        if stopped != Stopped::Before {
            kept.subject().tell("stop");
        }
        Ok(stopped)
    }

    /// The same for one that is to be removed then.
    pub(super) fn end(&self, kept: &Kept, request: StopRequest, paths: &EnginePaths) -> Result<Stopped> {
        if !kept.state.is_up() {
            self.forget_again(kept)?;
            return Ok(Stopped::Before);
        }
        self.stop_wishing(kept, request, Wish::Stop, paths)
    }

    /// One that has ended stays so, though somebody may be about to start it again.
    fn forget_again(&self, kept: &Kept) -> Result<()> {
        if kept.record.wish != Wish::Again {
            return Ok(());
        }
        let forget = |record: &mut Record| {
            if record.wish == Wish::Again {
                record.wish = Wish::Stop;
            }
        };
        self.edit(&kept.id, forget).map(drop)
    }

    /// Stops a container that is ill, and whether it was this that stopped it: not one that was started anew since `kept` was looked
    /// at, nor one that a person has stopped.
    pub(crate) fn stop_ill(&self, kept: &Kept, wish: Wish, paths: &EnginePaths) -> Result<bool> {
        let mut is_due = false;
        let record = self.edit(&kept.id, |record| {
            is_due = record.started == kept.record.started
                && record.end.is_none()
                && matches!(record.wish, Wish::Run | Wish::Again);
            if is_due {
                record.wish = wish;
            }
        })?;
        if is_due {
            self.stop_noted(kept, &record, StopRequest::default(), paths)?;
            kept.subject().tell("stop");
        }
        Ok(is_due)
    }

    /// Stops all containers until the next boot; what failed.
    pub fn rest(&self, paths: &EnginePaths) -> Result<Vec<Error>> {
        let mut all = self.living(paths)?;
        all.retain(|kept| kept.state.is_up());
        let stop = |kept| self.stop_wishing(kept, StopRequest::default(), Wish::Rest, paths).err();
        // All at once: each may take its seconds.
        Ok(std::thread::scope(|scope| {
            let begun: Vec<_> = all.iter().map(|kept| scope.spawn(move || stop(kept))).collect();
            begun.into_iter().filter_map(|one| one.join().expect("it does not panic")).collect()
        }))
    }

    fn stop_wishing(
        &self,
        kept: &Kept,
        request: StopRequest,
        wish: Wish,
        paths: &EnginePaths,
    ) -> Result<Stopped> {
        // First, so that it is not started again.
        let record = self.edit_to_end(&kept.id, |record| record.wish = wish)?;
        self.stop_noted(kept, &record, request, paths)
    }

    /// The same, where `record` says already what is to become of it.
    fn stop_noted(
        &self,
        kept: &Kept,
        record: &Record,
        request: StopRequest,
        paths: &EnginePaths,
    ) -> Result<Stopped> {
        let asked = record.asked.as_ref().map(|asked| &asked.options.process);
        let signal = request.signal.or(asked.map(|process| process.stop_signal)).unwrap_or(Signal::TERM);
        let patience = match request.patience {
            Some(Patience::For(patience)) => Some(patience),
            Some(Patience::Endless) => None,
            None => asked.map_or(Some(Duration::from_secs(10)), |process| process.stop_patience),
        };
        let root = StateRoot::new(paths.containers());
        let id = ContainerId::parse(&kept.id)?;
        bring_back(&kept.id, &kept.directory, paths)?;
        let subject = record.subject(self.path());
        // A zero is docker's word for: at once.
        if patience != Some(Duration::ZERO) {
            self.edit_to_end(&kept.id, |record| record.note_sent("stop", signal))?;
            subject.tell_signal(signal);
            send(&root, &id, signal)?;
            // One that stands still hears nothing.
            let _ = lifecycle::resume(&root, &id);
        }
        let end = patience.and_then(|patience| Instant::now().checked_add(patience));
        if self.wait_until_over(&kept.id, end)? {
            return Ok(Stopped::Now);
        }
        self.note_kill(&kept.id)?;
        subject.tell_signal(Signal::KILL);
        let end = Instant::now() + CLEANING;
        while Instant::now() < end {
            bring_back(&kept.id, &kept.directory, paths)?;
            // Again and again: one that is just being started may be there only after the first.
            send(&root, &id, Signal::KILL)?;
            let _ = lifecycle::resume(&root, &id);
            if self.wait_until_over(&kept.id, Some(Instant::now() + AGAIN))? {
                // Where it was given no time nobody is surprised.
                let waited = patience.filter(|patience| !patience.is_zero() && signal != Signal::KILL);
                return Ok(
                    waited.map_or(Stopped::Now, |patience| Stopped::Killed { asked: signal, patience })
                );
            }
        }
        let (reason, hint) = why_it_stays(&root, &id);
        Err(Error::new(ErrorKind::System, format!("stop `{}`", kept.id), reason).with_hint(hint))
    }

    fn note_kill(&self, id: &str) -> Result<()> {
        match self.edit_to_end(id, |record| record.note_sent("stop", Signal::KILL)) {
            // It has just gone by itself.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            noted => noted.map(drop),
        }
    }

    /// Waits until nobody stands behind a container any more; whether that came in time.
    pub fn wait_until_over(&self, id: &str, end: Option<Instant>) -> Result<bool> {
        let mut pause = Duration::from_millis(1);
        while self.has_someone_behind(id)? {
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(false);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(true)
    }
}
