//! Owns the wait for what is written to a log meanwhile, over its rotations. Must not decide when there will be no more: it
//! asks.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::records::Records;
use super::{File, Reading, open_all};
use crate::log::LogFiles;

/// How long nobody is asked whether there will be more.
const PAUSE: Duration = Duration::from_millis(500);

/// How long nobody looks, where nothing tells of changes.
const BLIND_PAUSE: Duration = Duration::from_millis(50);

/// What tells of changes. A user has few of these (`fs.inotify.max_user_instances`), so one may have to do without.
pub(super) struct Watch(Option<OwnedFd>);

/// A file that is watched itself.
pub(super) struct Watched(i32);

impl Watch {
    /// Watches the directory of `path` for files that come, go and are renamed.
    pub(super) fn new(path: &Path) -> Watch {
        Watch(watch_directory(path).ok())
    }

    /// Watches a file itself: not by way of its directory, where every byte of the container's FIFOs would be told too.
    fn add(&mut self, file: &File) -> Option<Watched> {
        let path = format!("/proc/self/fd/{}", file.descriptor.as_raw_fd());
        match inotify::add_watch(self.0.as_ref()?, path, WatchFlags::MODIFY) {
            Ok(number) => Some(Watched(number)),
            Err(_) => {
                self.0 = None;
                None
            }
        }
    }

    fn remove(&self, watched: Watched) {
        if let Some(watch) = &self.0 {
            // One that was removed with its file is gone already.
            let _ = inotify::remove_watch(watch, watched.0);
        }
    }

    /// Until something changes, or the pause is over.
    fn wait(&self) -> Result<(), Errno> {
        let Some(watch) = &self.0 else {
            std::thread::sleep(BLIND_PAUSE);
            return Ok(());
        };
        sys::inotify::wait(watch.as_fd(), PAUSE)
    }
}

fn watch_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
    inotify::add_watch(&watch, directory.unwrap_or(Path::new(".")), flags)?;
    Ok(watch)
}

/// Hands on what comes after `current`, the newest file so far, which was read to its end.
pub(super) fn follow(
    reading: &mut Reading<'_>,
    files: &LogFiles,
    mut current: Option<Records>,
    is_served: &mut dyn FnMut() -> bool,
    mut watch: Watch,
) -> Result<(), Errno> {
    let mut watched = current.as_ref().and_then(|records| watch.add(&records.file));
    loop {
        // Asked before the last look: what was written before the answer is read.
        let is_last_look = !is_served();
        if let Some(records) = &mut current
            && reading.hand_on(records)?.is_break()
        {
            return Ok(());
        }
        for file in newer_ones(files, current.as_ref().map(|records| &records.file))? {
            // Whoever renames a file has written it to its end.
            if let Some(records) = &mut current
                && reading.hand_on(records)?.is_break()
            {
                return Ok(());
            }
            if let Some(watched) = watched.take() {
                watch.remove(watched);
            }
            watched = watch.add(&file);
            let records = current.insert(Records::new(file, 0));
            if reading.hand_on(records)?.is_break() {
                return Ok(());
            }
        }
        if is_last_look || reading.is_past_its_end() {
            return Ok(());
        }
        watch.wait()?;
    }
}

/// The files that are newer than this one, in their order; all of them where it was removed.
fn newer_ones(files: &LogFiles, current: Option<&File>) -> Result<Vec<File>, Errno> {
    let Some(current) = current else { return open_all(files) };
    if super::identity(&files.path)? == Some(current.identity) {
        return Ok(Vec::new());
    }
    let mut all = open_all(files)?;
    if let Some(at) = all.iter().position(|file| file.identity == current.identity) {
        all.drain(..=at);
    }
    Ok(all)
}
