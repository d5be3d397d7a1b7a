//! Files that callers ask for: they have their names once they are whole. Must not remove or cut short what it has not made.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;

use crate::error::{Error, Result};

/// A file that is being written. What its path leads to stays as it is until all is there, unless it is no file: a pipe or a device
/// is written to. Dropped before [`OutputFile::finish`], nothing of it is left.
#[derive(Debug)]
pub struct OutputFile {
    /// Where links lead to.
    path: PathBuf,
    /// None where the path itself is written to.
    draft: Option<Draft>,
    out: BufWriter<File>,
}

/// A file that is gone with its value, unless it was renamed.
#[derive(Debug)]
struct Draft(PathBuf);

impl OutputFile {
    /// Begins to write what is to be at `path`, which its caller alone can read.
    pub fn begin(path: &Path) -> Result<OutputFile> {
        let failed = |error: std::io::Error| {
            Error::at_path("write", path, error).with_hint("name a file in a directory that you may write to")
        };
        // `/dev/stdout` is a link, too.
        let path = match path.canonicalize() {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => path.to_owned(),
            Err(error) => return Err(failed(error)),
        };
        let is_other = std::fs::metadata(&path).is_ok_and(|found| !found.is_file());
        let (file, draft) = if is_other {
            (OpenOptions::new().write(true).open(&path).map_err(failed)?, None)
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let moment =
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
            let draft = path.with_file_name(format!(".{name}-{}-{moment}", std::process::id()));
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
            (file.map_err(failed)?, Some(Draft(draft)))
        };
        Ok(OutputFile { path, draft, out: BufWriter::with_capacity(256 << 10, file) })
    }

    /// Gives it its name.
    pub fn finish(mut self) -> Result<()> {
        self.out
            .flush()
            .map_err(|error| output_error(Error::at_path("write", &self.path, error), &self.path))?;
        match &self.draft {
            Some(Draft(draft)) => {
                std::fs::rename(draft, &self.path).map_err(|error| Error::at_path("make", &self.path, error))
            }
            None => Ok(()),
        }
    }
}

/// The remedy where what a caller asked for does not fit where it is written to: more room for images would not help.
pub fn output_error(error: Error, path: &Path) -> Error {
    let is_full = error.errno.is_some_and(|errno| {
        [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].iter().any(|full| full.raw_os_error() == errno)
    });
    match is_full {
        true => error.with_hint(format!("make room where `{}` is, or name another file", path.display())),
        false => error,
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Where it was renamed, it is elsewhere.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_replaced_when_it_is_whole_and_nothing_else_is_removed() {
        let directory = std::env::temp_dir().join(format!("rabbitc-output-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("made");
        let (path, link) = (directory.join("file"), directory.join("link"));
        std::fs::write(&path, "old").expect("written");
        std::os::unix::fs::symlink(&path, &link).expect("made");
        let content = || std::fs::read_to_string(&path).expect("there");
        for name in [&path, &link] {
            let mut half = OutputFile::begin(name).expect("begun");
            half.write_all(b"half").and_then(|()| half.flush()).expect("written");
            drop(half);
            assert_eq!(content(), "old");
            let mut whole = OutputFile::begin(name).expect("begun");
            whole.write_all(b"new").expect("written");
            whole.finish().expect("finished");
            assert_eq!(content(), "new");
            std::fs::write(&path, "old").expect("written");
        }
        assert!(link.is_symlink());
        let pipe = directory.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .expect("made");
        // Open for both, it does not wait for the other end.
        let _reader = OpenOptions::new().read(true).write(true).open(&pipe).expect("opened");
        drop(OutputFile::begin(&pipe).expect("begun"));
        assert!(pipe.exists());
        OutputFile::begin(&directory.join("none/file")).expect_err("no directory");
        let mut names: Vec<_> = std::fs::read_dir(&directory)
            .expect("listed")
            .map(|entry| entry.expect("listed").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["file", "link", "pipe"], "no drafts");
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
