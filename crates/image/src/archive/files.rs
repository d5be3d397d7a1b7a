//! The files of an archive or of a directory, read in place. Must not know what they mean.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::entries::{Entries, Extent};
use crate::error::{Error, Kind, Result};

/// Where they are.
#[derive(Debug)]
pub(super) struct Files {
    place: Place,
    /// What errors begin with.
    operation: String,
}

#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    Archive(File, Entries),
}

impl Files {
    /// Those of a directory.
    pub(super) fn of_directory(path: &Path, operation: &str) -> Files {
        Files { place: Place::Directory(path.to_owned()), operation: operation.to_owned() }
    }

    /// Those of an archive that is not compressed.
    pub(super) fn of_archive(archive: File, operation: &str) -> Result<Files> {
        let entries = Entries::read(&archive, operation)?;
        Ok(Files { place: Place::Archive(archive, entries), operation: operation.to_owned() })
    }

    /// What errors begin with.
    pub(super) fn operation(&self) -> &str {
        &self.operation
    }

    /// Opens a file; none where there is none.
    pub(super) fn find(&self, name: &str) -> Result<Option<Part<'_>>> {
        match &self.place {
            Place::Archive(archive, entries) => {
                let extent = entries.find(name).map_err(|fault| fault.during(&self.operation))?;
                Ok(extent.map(|extent| Part { file: Owner::Shared(archive), extent }))
            }
            Place::Directory(path) => {
                let leads_up = name.split('/').any(|part| part == "..") || name.starts_with('/');
                if leads_up {
                    let reason = format!("the path `{}` leads out of it", name.escape_debug());
                    return Err(Error::new(Kind::Corrupt, &self.operation, reason));
                }
                let found = open(&path.join(name))?;
                Ok(found.map(|(file, size)| Part { file: Owner::Own(file), extent: Extent { at: 0, size } }))
            }
        }
    }

    /// Opens a file that must be there.
    pub(super) fn open(&self, name: &str) -> Result<Part<'_>> {
        self.find(name)?.ok_or_else(|| {
            let reason = format!("it has no file `{}`", name.escape_debug());
            Error::new(Kind::NotFound, &self.operation, reason)
        })
    }

    /// All of a file of at most `most` bytes; none where there is none.
    pub(super) fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let Some(part) = self.find(name)? else { return Ok(None) };
        let reason = |reason: String| Error::new(Kind::TooMuch, &self.operation, reason);
        if part.extent.size > most as u64 {
            return Err(reason(format!("`{}` is longer than {} MiB", name.escape_debug(), most >> 20)));
        }
        let mut bytes = Vec::new();
        let read = part.read_to_end(&mut bytes);
        read.map_err(|error| {
            Error::system(format!("{}: read `{}`", self.operation, name.escape_debug()), error)
        })?;
        Ok(Some(bytes))
    }
}

/// The bytes of a file, from its beginning.
#[derive(Debug)]
pub(super) struct Part<'a> {
    file: Owner<'a>,
    extent: Extent,
}

#[derive(Debug)]
enum Owner<'a> {
    Shared(&'a File),
    Own(File),
}

impl Part<'_> {
    /// How many bytes are left.
    pub(super) fn size(&self) -> u64 {
        self.extent.size
    }

    /// What tells it from other files of the same archive; none in a directory.
    pub(super) fn place(&self) -> Option<(u64, u64)> {
        matches!(self.file, Owner::Shared(_)).then_some((self.extent.at, self.extent.size))
    }

    fn read_to_end(mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        Read::read_to_end(&mut self, bytes)
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.extent.size).unwrap_or(usize::MAX).min(buffer.len());
        let file = match &self.file {
            Owner::Shared(file) => file,
            Owner::Own(file) => file,
        };
        let count = file.read_at(&mut buffer[..most], self.extent.at)?;
        self.extent.at += count as u64;
        self.extent.size -= count as u64;
        Ok(count)
    }
}

/// Opens an ordinary file, if there is one: a pipe in its place would wait for a writer.
fn open(path: &Path) -> Result<Option<(File, u64)>> {
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(Error::at_path("open", path, error)),
    };
    let found = file.metadata().map_err(|error| Error::at_path("examine", path, error))?;
    match found.is_file() {
        true => Ok(Some((file, found.len()))),
        false => Err(Error::new(Kind::Corrupt, format!("read `{}`", path.display()), "it is no file")),
    }
}
