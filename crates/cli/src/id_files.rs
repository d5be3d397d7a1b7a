//! The files of `--cidfile`, `--pidfile` and `--conmon-pidfile`: opened before anything is made, filled when the container runs.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use engine::{Error, Notice, Result};

use crate::args::ProcessArguments;
use crate::manner::is_podmans;

/// Files to be filled; dropped before that, those that were made are gone again.
pub(crate) struct IdFiles {
    id_file: Option<Made>,
    pid_file: Option<Made>,
    /// That of the process behind the container.
    monitor_file: Option<Made>,
}

/// What is written into them, where it is known.
pub(crate) struct Pids {
    /// The container's first process.
    pub(crate) program: Option<i32>,
    /// Who stands behind it.
    pub(crate) behind: Option<i32>,
}

struct Made {
    path: PathBuf,
    file: File,
    /// Whether it was not there before.
    new: bool,
}

impl IdFiles {
    pub(crate) fn open(arguments: &ProcessArguments) -> Result<IdFiles> {
        let mut files = IdFiles { id_file: None, pid_file: None, monitor_file: None };
        if let Some(path) = arguments.cidfile.as_ref().filter(|_| is_podmans()) {
            // As podman has it: what stood in it is written over.
            let opened = open_or_make(path);
            files.id_file =
                Some(opened.map_err(|error| refused("open", path, error).from_field("--cidfile"))?);
        } else if let Some(path) = &arguments.cidfile {
            let file = File::options().write(true).create_new(true).open(path).map_err(|error| {
                let exists = error.kind() == ErrorKind::AlreadyExists;
                let error = refused("make", path, error).from_field("--cidfile");
                match exists {
                    true => error.with_hint("it may be another container's: remove it, or name another file"),
                    false => error,
                }
            })?;
            files.id_file = Some(Made { path: path.clone(), file, new: true });
        }
        for (flag, path, place) in [
            ("--pidfile", &arguments.pidfile, &mut files.pid_file),
            ("--conmon-pidfile", &arguments.conmon_pidfile, &mut files.monitor_file),
        ] {
            if let Some(path) = path {
                let opened = open_or_make(path);
                *place = Some(opened.map_err(|error| refused("open", path, error).from_field(flag))?);
            }
        }
        Ok(files)
    }

    /// Fills them. What fails is told: the container runs by then.
    pub(crate) fn keep(mut self, id: &str, pids: Pids) -> Vec<Notice> {
        let mut notices = self.fill_id(id);
        for (file, pid) in [(&mut self.pid_file, pids.program), (&mut self.monitor_file, pids.behind)] {
            if let Some(pid) = pid {
                notices.extend(file.take().and_then(|made| made.fill(&pid.to_string())));
            }
        }
        notices
    }

    /// Fills that of the id alone: nothing runs.
    pub(crate) fn keep_id(mut self, id: &str) -> Vec<Notice> {
        self.fill_id(id)
    }

    fn fill_id(&mut self, id: &str) -> Vec<Notice> {
        self.id_file.take().and_then(|made| made.fill(id)).into_iter().collect()
    }
}

/// Why a file can't be had, and what helps.
fn refused(operation: &str, path: &Path, error: std::io::Error) -> Error {
    let kind = error.kind();
    let error = Error::at_path(operation, path, error);
    match path.parent().filter(|parent| kind == ErrorKind::NotFound && !parent.exists()) {
        Some(parent) => error.with_hint(format!("make its directory first: `mkdir -p {}`", parent.display())),
        None if error.hint.is_none() => {
            error.with_hint("name a file in a directory that the caller may write to")
        }
        None => error,
    }
}

fn open_or_make(path: &Path) -> std::io::Result<Made> {
    let made = |file, new| Made { path: path.to_owned(), file, new };
    match File::options().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            File::options().write(true).open(path).map(|file| made(file, false))
        }
        other => other.map(|file| made(file, true)),
    }
}

impl Made {
    fn fill(mut self, text: &str) -> Option<Notice> {
        // What can't be cut to nothing, a pipe or a terminal, needs not be.
        let _ = self.file.set_len(0);
        let written = self.file.write_all(text.as_bytes()).err()?;
        Some(Notice {
            what: format!("`{}` could not be written: {written}", self.path.display()),
            remedy: None,
        })
    }
}

impl Drop for IdFiles {
    fn drop(&mut self) {
        let all = self.id_file.iter().chain(&self.pid_file).chain(&self.monitor_file);
        for made in all.filter(|made| made.new) {
            // Best effort: an error is on its way to be told already.
            let _ = std::fs::remove_file(&made.path);
        }
    }
}
