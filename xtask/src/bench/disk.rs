//! An empty file system for each store. On a disk that stores were just removed from, ext4 passes over the inodes of the last minutes
//! one by one for each new file, which takes several times longer than the pull.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use crate::process::{self, Naming, Result};

/// Enough for every store of one part; a file with holes.
const BYTES: &str = "8G";

/// A file system that goes with its value.
pub struct Disk {
    path: PathBuf,
    /// None where it is in memory.
    file: Option<PathBuf>,
}

impl Disk {
    /// One in a file in `directory`, or in memory where no file can be mounted.
    pub fn make(directory: &Path) -> Result<Self> {
        let (path, file) = (directory.join("disk"), directory.join("disk.ext4"));
        std::fs::create_dir_all(&path).naming(format_args!("create `{}`", path.display()))?;
        process::run(Command::new("truncate").args(["--size", BYTES]).arg(&file))?;
        // Made here, so that whatever fails from here on is tidied up. Nothing writes to it in the background.
        let mut disk = Self { path, file: Some(file.clone()) };
        let made = process::read(Command::new("mkfs.ext4").arg("-q").arg(&file));
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop,noinit_itable"]).arg(&file).arg(&disk.path);
        if let Err(failure) = made.and_then(|_| process::read(&mut mount)) {
            // It fails for every store.
            static SAID: Once = Once::new();
            SAID.call_once(|| eprintln!("{failure}"));
            disk.file = None;
            std::fs::remove_file(&file).naming(format_args!("remove `{}`", file.display()))?;
            process::run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&disk.path))?;
        }
        // What was written before is not to be paid for now.
        process::run(&mut Command::new("sync"))?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// In words.
    pub fn kind(&self) -> &'static str {
        match self.file {
            Some(_) => "an ext4 of its own",
            None => "a file system in memory",
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.path);
        if let Some(file) = &self.file {
            // It may not be there yet.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// A directory of the host that is covered by an empty one in memory, and made for that if it is not there.
pub struct Hidden {
    path: PathBuf,
    made: bool,
}

impl Hidden {
    pub fn behind_memory(path: &Path) -> Result<Self> {
        let made = !path.exists();
        std::fs::create_dir_all(path).naming(format_args!("create `{}`", path.display()))?;
        let hidden = Self { path: path.to_owned(), made };
        process::run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(path))?;
        Ok(hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        unmount(&self.path);
        if self.made {
            // Empty, as all that came later went into memory.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// Whatever is mounted in it, too; lazily where a process of somebody else's still ends.
fn unmount(path: &Path) {
    let attempt = |flags: &[&str]| {
        let mut command = Command::new("umount");
        let command = command.args(flags).arg(path).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    // Where nothing is mounted, both fail, and that is well.
    let _ = attempt(&["--recursive"]) || attempt(&["--recursive", "--lazy"]);
}
