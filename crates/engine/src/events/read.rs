//! Reading events: those that were, and those that come. Must not change the log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use monitor::Moment;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::{EARLIER, Event, EventFilter, EventLog, LOG};
use crate::error::{Error, Result};

/// How long nobody looks where nothing tells of what comes: a user has few watches (`fs.inotify.max_user_instances`).
const BLIND_PAUSE: Duration = Duration::from_millis(100);

/// How long at most where something does.
const PAUSE: Duration = Duration::from_secs(5);

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// From then on; without it, and without an end, those alone that are to come.
    pub since: Option<Moment>,
    /// Up to then.
    pub until: Option<Moment>,
    /// Whether those that are to come are waited for.
    pub follow: Follow,
    /// What must hold of them.
    pub filters: Vec<EventFilter>,
}

/// Whether what is to come is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Until the end that was asked for, or for ever.
    Wait,
    /// What there is is enough.
    Leave,
}

impl EventLog {
    /// Hands on the events that are wanted, until there will be none or the taker has had enough.
    pub fn read(&self, query: &EventQuery, take: &mut dyn FnMut(&Event) -> ControlFlow<()>) -> Result<()> {
        let failed = |error: std::io::Error| Error::at_path("read", &self.directory, error);
        // Before the first look, so that nothing comes between.
        let watch = match query.follow {
            Follow::Wait => {
                // Whoever may not write waits for somebody who may.
                let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
                watch(&self.directory).ok()
            }
            Follow::Leave => None,
        };
        let wants_past = query.since.is_some() || query.until.is_some() || query.follow == Follow::Leave;
        let mut files = Files::open(&self.directory).map_err(failed)?;
        if !wants_past {
            files.skip().map_err(failed)?;
        }
        loop {
            // Asked before the look: what was written before then is read.
            let is_over = query.until.is_some_and(|until| Moment::now() >= until);
            let mut is_enough = false;
            let mut line = |line: &[u8]| {
                let event = Event::parse(line).filter(|event| query.wants(event));
                let flow = event.map_or(ControlFlow::Continue(()), |event| take(&event));
                is_enough |= flow.is_break();
                flow
            };
            files.read(&self.directory, &mut line).map_err(failed)?;
            if is_enough || is_over || query.follow == Follow::Leave {
                return Ok(());
            }
            wait(watch.as_ref(), query.until)
                .map_err(|error| Error::system("wait for what changes", error))?;
        }
    }
}

impl EventQuery {
    fn wants(&self, event: &Event) -> bool {
        self.since.is_none_or(|since| event.time >= since.0)
            && self.until.is_none_or(|until| event.time <= until.0)
            && EventFilter::all_hold(&self.filters, event)
    }
}

/// The files of the log, the older one first.
struct Files {
    files: Vec<Tail>,
}

/// A file, and what was read of a line that is not yet whole.
struct Tail {
    file: File,
    rest: Vec<u8>,
}

impl Files {
    fn open(directory: &Path) -> std::io::Result<Files> {
        let mut files = Files { files: Vec::new() };
        files.add(&directory.join(EARLIER))?;
        files.add(&directory.join(LOG))?;
        Ok(files)
    }

    /// Adds a file that is there and not known yet.
    fn add(&mut self, path: &Path) -> std::io::Result<()> {
        let file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
        let own = identity(&file)?;
        for known in &self.files {
            if identity(&known.file)? == own {
                return Ok(());
            }
        }
        self.files.push(Tail { file, rest: Vec::new() });
        Ok(())
    }

    fn skip(&mut self) -> std::io::Result<()> {
        self.files.iter_mut().try_for_each(|tail| tail.file.seek(SeekFrom::End(0)).map(drop))
    }

    /// Reads what has come since, of files that have taken the place of others, too.
    fn read(
        &mut self,
        directory: &Path,
        line: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> std::io::Result<()> {
        let known = self.files.len();
        // What was there is put aside before another is begun. Both are looked for, as that may have happened twice.
        self.add(&directory.join(EARLIER))?;
        self.add(&directory.join(LOG))?;
        for tail in &mut self.files {
            if tail.read(line)?.is_break() {
                return Ok(());
            }
        }
        // Somebody may have opened the one before the last just before it was put aside, and writes to it still.
        if self.files.len() > known {
            let old = self.files.len().saturating_sub(2);
            self.files.drain(..old);
        }
        Ok(())
    }
}

impl Tail {
    fn read(&mut self, line: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> std::io::Result<ControlFlow<()>> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            let count = match self.file.read(&mut chunk) {
                Ok(0) => return Ok(ControlFlow::Continue(())),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.rest.extend_from_slice(&chunk[..count]);
            let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let whole: Vec<u8> = self.rest.drain(..=end).collect();
            for one in whole.split(|byte| *byte == b'\n').filter(|one| !one.is_empty()) {
                if line(one).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
}

fn watch(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, directory, WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO)?;
    Ok(watch)
}

/// Until something changes, or the end has come.
fn wait(watch: Option<&OwnedFd>, until: Option<Moment>) -> rustix::io::Result<()> {
    let left = until.map(|until| until.0.saturating_sub(Moment::now().0));
    let left = left.map(|left| Duration::from_nanos(u64::try_from(left).unwrap_or(0)));
    let Some(watch) = watch else {
        std::thread::sleep(left.unwrap_or(BLIND_PAUSE).min(BLIND_PAUSE));
        return Ok(());
    };
    sys::inotify::wait(watch.as_fd(), left.unwrap_or(PAUSE).min(PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::MOST;

    struct Place(std::path::PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("rabbitc-events-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Place(path)
        }

        fn log(&self) -> EventLog {
            EventLog { directory: self.0.join("events") }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn all(log: &EventLog) -> Vec<String> {
        let query = EventQuery { since: None, until: None, follow: Follow::Leave, filters: Vec::new() };
        let mut ids = Vec::new();
        log.read(&query, &mut |event| {
            ids.push(event.id.clone());
            ControlFlow::Continue(())
        })
        .expect("it can be read");
        ids
    }

    #[test]
    fn events_are_read_in_their_order_and_a_torn_line_hides_no_other() {
        let place = Place::new("order");
        let log = place.log();
        assert_eq!(all(&log), [""; 0], "there is nothing yet");
        log.tell(&Event::now("volume", "create", "a"));
        let torn = Event::now("volume", "create", "torn").to_json();
        log.add(&torn.as_bytes()[..30]).expect("written");
        log.tell(&Event::now("volume", "create", "b"));
        log.add(b"\nsomebody else's\n{}\n").expect("written");
        log.tell(&Event::now("volume", "create", "c"));
        assert_eq!(all(&log), ["a", "b", "c"]);
    }

    #[test]
    fn log_does_not_grow_without_end_and_sixteen_writers_lose_nothing() {
        let place = Place::new("rotation");
        let log = place.log();
        let wide = "x".repeat(4000);
        // Less than what two files hold.
        let each = (MOST / 4200 / 16) as usize;
        std::thread::scope(|scope| {
            for writer in 0..16 {
                let (log, wide) = (&log, &wide);
                scope.spawn(move || {
                    for number in 0..each {
                        let event = Event::now("volume", "create", format!("{writer}-{number}"));
                        log.tell(&event.with("wide", wide.as_str()));
                    }
                });
            }
        });
        let mut ids = all(&log);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), each * 16);
        for _ in 0..3 * each * 16 {
            log.tell(&Event::now("volume", "create", "more").with("wide", wide.as_str()));
        }
        let size = |name: &str| std::fs::metadata(log.directory.join(name)).map_or(0, |found| found.len());
        assert!(size(LOG) < MOST && size(EARLIER) < MOST + 8192, "{} {}", size(LOG), size(EARLIER));
        assert_eq!(std::fs::read_dir(&log.directory).expect("there").count(), 2);
    }

    #[test]
    fn follower_sees_each_event_once_also_over_rotations() {
        let place = Place::new("follow");
        let log = place.log();
        log.tell(&Event::now("volume", "create", "before"));
        let (told, heard) = std::sync::mpsc::channel();
        let reader = {
            let log = log.clone();
            std::thread::spawn(move || {
                let query =
                    EventQuery { since: None, until: None, follow: Follow::Wait, filters: Vec::new() };
                log.read(&query, &mut |event| match event.id.as_str() {
                    "end" => ControlFlow::Break(()),
                    id => {
                        told.send(id.to_owned()).expect("heard");
                        ControlFlow::Continue(())
                    }
                })
            })
        };
        // It is known to listen once it has heard something.
        let mut first = None;
        while first.is_none() {
            log.tell(&Event::now("volume", "create", "hello"));
            first = heard.recv_timeout(Duration::from_millis(50)).ok();
        }
        let wide = "x".repeat(4000);
        let mut expected = 0;
        for number in 0..3 * MOST / 4000 {
            log.tell(&Event::now("volume", "create", number.to_string()).with("wide", wide.as_str()));
            // A reader that falls behind two whole files has lost them.
            while number % 500 == 499 && expected <= number {
                let id = heard.recv().expect("it comes");
                if id != "hello" {
                    assert_eq!(id, expected.to_string());
                    expected += 1;
                }
            }
        }
        log.tell(&Event::now("volume", "create", "end"));
        reader.join().expect("it does not panic").expect("it reads");
        assert_eq!(first.as_deref(), Some("hello"), "what was before is not told");
    }

    #[test]
    fn end_that_was_asked_for_comes() {
        let place = Place::new("until");
        let log = place.log();
        log.tell(&Event::now("volume", "create", "now"));
        let until = Moment(Moment::now().0 + 200_000_000);
        let query = EventQuery { since: None, until: Some(until), follow: Follow::Wait, filters: Vec::new() };
        let mut seen = 0;
        log.read(&query, &mut |_| {
            seen += 1;
            ControlFlow::Continue(())
        })
        .expect("it reads");
        assert_eq!(seen, 1);
        assert!(Moment::now() >= until);
    }
}
