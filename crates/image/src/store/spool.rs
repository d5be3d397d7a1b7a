//! Room for what can be read only once, and must be read twice.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use super::{Store, random_digits};
use crate::error::{Error, Result};

impl Store {
    /// An empty file without a name: it goes with its last descriptor.
    pub fn spool(&self) -> Result<File> {
        let path = self.path.join("partial").join(format!("{}.spool", random_digits()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| Error::at_path("make", &path, error))?;
        std::fs::remove_file(&path).map_err(|error| Error::at_path("remove", &path, error))?;
        Ok(file)
    }
}
