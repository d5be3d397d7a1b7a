//! The newest of packages that Debian's archive offers, unpacked beside the host's own and not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::configured_archive;
use crate::process::{self, Failure, Naming, Result};

/// Packages to be unpacked together, and the programs of theirs that are run.
pub struct Unpacked {
    /// The directory below the target directory.
    pub name: &'static str,
    pub packages: &'static [&'static str],
    pub programs: &'static [&'static str],
}

impl Unpacked {
    /// Fetches the newest by apt from the archive that this host uses, once: later runs find them in the target
    /// directory. Returns the root that they are unpacked in.
    pub fn root(&self) -> Result<PathBuf> {
        let place = process::target_directory().join(self.name);
        let root = place.join("root");
        let done = place.join("done");
        if !done.exists() {
            fetch(&place, &root, self.packages)?;
            self.programs.iter().try_for_each(|program| relocate(&root.join(program), &root))?;
            std::fs::write(&done, "").naming(format_args!("write `{}`", done.display()))?;
        }
        Ok(root)
    }
}

/// Downloads and unpacks them with all that they need, C library included.
fn fetch(place: &Path, root: &Path, packages: &[&str]) -> Result<()> {
    let archive =
        configured_archive().ok_or_else(|| Failure::new("no archive of Debian is among apt's sources"))?;
    for directory in ["lists/partial", "cache/archives/partial"] {
        let path = place.join(directory);
        std::fs::create_dir_all(&path).naming(format_args!("create `{}`", path.display()))?;
    }
    let sources = place.join("sources.list");
    std::fs::write(&sources, format!("deb {archive} sid main\n"))
        .naming(format_args!("write `{}`", sources.display()))?;
    let status = place.join("status");
    // As if nothing were installed, so that their libraries come along.
    std::fs::write(&status, "").naming(format_args!("write `{}`", status.display()))?;
    let apt = || {
        let mut command = Command::new("apt-get");
        let option = |name: &str, path: PathBuf| format!("{name}={}", path.display());
        for option in [
            option("Dir::Etc::sourcelist", sources.clone()),
            "Dir::Etc::sourceparts=-".to_owned(),
            option("Dir::State::lists", place.join("lists")),
            option("Dir::State::status", status.clone()),
            option("Dir::Cache", place.join("cache")),
            // The directories are not that user's.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.arg("-qq");
        command
    };
    process::run(apt().arg("update"))?;
    let install = ["--yes", "--no-install-recommends", "--download-only", "install"];
    process::run(apt().args(install).args(packages))?;
    let archives = place.join("cache/archives");
    let entries = std::fs::read_dir(&archives).naming(format_args!("list `{}`", archives.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "deb") {
            process::run(Command::new("dpkg").arg("-x").arg(&path).arg(root))?;
        }
    }
    Ok(())
}

/// Has a program take its loader and libraries from `root`: both execute themselves, so a loader in front won't do.
fn relocate(program: &Path, root: &Path) -> Result<()> {
    let machine = std::env::consts::ARCH;
    let libraries = root.join(format!("usr/lib/{machine}-linux-gnu"));
    let names = ["ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];
    let loader = names.iter().map(|name| libraries.join(name)).find(|path| path.exists());
    let loader = loader.ok_or_else(|| Failure::new(format!("no loader in `{}`", libraries.display())))?;
    let mut command = Command::new("patchelf");
    command.arg("--set-interpreter").arg(loader).arg("--set-rpath").arg(&libraries).arg("--force-rpath");
    process::run(command.arg(program))
}
