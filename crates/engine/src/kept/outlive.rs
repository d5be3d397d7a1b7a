//! How a container that was made comes onto the disk. Nothing waits for that but the command's answer: a start goes on meanwhile.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use super::{KeptContainers, RECORD};
use crate::directories::sync;
use crate::error::{Error, Result};
use crate::secret_store::COPIES;

/// How often a record is looked at again that another process replaces meanwhile, which a start does a few times.
const TRIES: usize = 8;

impl KeptContainers {
    /// Has a container outlive power: what is written down of it, its directory, and its name. Nothing is wrong with one that is gone
    /// by now. A disk that loses power before has an empty record or none, and the next command removes what there is.
    pub fn outlive_power(&self, id: &str) -> Result<()> {
        let directory = self.path.join(id);
        if let Some(copies) = open(&directory.join(COPIES))? {
            sync_file(&copies, &directory.join(COPIES))?;
        }
        let record = directory.join(RECORD);
        for _ in 0..TRIES {
            let Some(opened) = open(&record)? else { return Ok(()) };
            sync_file(&opened, &record)?;
            let Some(opened_directory) = open(&directory)? else { return Ok(()) };
            sync_file(&opened_directory, &directory)?;
            if is_still_there(&opened, &record) {
                break;
            }
        }
        sync(&self.names_directory())?;
        sync(&self.path)?;
        // In it, that of all containers may be new.
        self.path.parent().map_or(Ok(()), sync)
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::at_path("open", path, error)),
    }
}

fn sync_file(file: &File, path: &Path) -> Result<()> {
    file.sync_all().map_err(|error| Error::at_path("write to the disk", path, error))
}

/// Whether nobody has put another file in its place.
fn is_still_there(opened: &File, path: &Path) -> bool {
    let (opened, found) = (rustix::fs::fstat(opened.as_fd()), rustix::fs::lstat(path));
    matches!((opened, found), (Ok(opened), Ok(found)) if (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino))
}
