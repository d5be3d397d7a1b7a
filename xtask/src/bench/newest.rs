//! The newest crun and runc that Debian's archive offers, unpacked beside the host's own packages and not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages;
use crate::process::{self, Failure, Naming, Result};

/// Where the programs to compare with are.
pub struct Runtimes {
    pub crun: PathBuf,
    pub runc: PathBuf,
}

impl Runtimes {
    /// Those that are installed.
    pub fn installed() -> Self {
        Self { crun: PathBuf::from("crun"), runc: PathBuf::from("runc") }
    }

    /// Fetches the newest by apt from the archive that this host uses, once: a later bench finds them in the target
    /// directory.
    pub fn newest() -> Result<Self> {
        let place = process::target_directory().join("newest-runtimes");
        let root = place.join("root");
        let found = Self { crun: root.join("usr/bin/crun"), runc: root.join("usr/bin/runc") };
        let done = place.join("done");
        if !done.exists() {
            fetch(&place, &root)?;
            [&found.crun, &found.runc].into_iter().try_for_each(|program| relocate(program, &root))?;
            std::fs::write(&done, "").naming(format_args!("write `{}`", done.display()))?;
        }
        Ok(found)
    }
}

/// Downloads and unpacks both with all that they need, C library included.
fn fetch(place: &Path, root: &Path) -> Result<()> {
    let archive = packages::configured_archive().ok_or_else(|| {
        Failure::new("no archive of Debian is among apt's sources")
            .hint("measure with `--runtimes installed`")
    })?;
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
    let install = ["--yes", "--no-install-recommends", "--download-only", "install", "crun", "runc"];
    process::run(apt().args(install))?;
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
