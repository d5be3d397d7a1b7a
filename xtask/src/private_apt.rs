//! apt with sources, lists and cache of its own, and as if nothing were installed: fetches packages into a directory
//! and leaves the host's apt as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages;
use crate::process::{self, Failure, Naming, Result};

/// The suite with the newest of everything.
pub const NEWEST: &str = "sid";

/// Where this machine gets its Debian packages from.
pub struct Archive {
    address: String,
    keyring: &'static str,
}

impl Archive {
    pub fn of_this_machine() -> Result<Self> {
        let address = packages::configured_archive().ok_or_else(|| {
            Failure::new("apt's configuration names no Debian archive").hint("look at /etc/apt/sources.list*")
        })?;
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        if !Path::new(keyring).exists() {
            return Err(Failure::new(format!("`{keyring}` is missing"))
                .hint("install the package debian-archive-keyring"));
        }
        Ok(Self { address, keyring })
    }

    /// A line of sources.list(5).
    pub fn source(&self, suite: &str) -> String {
        format!("deb [signed-by={}] {} {suite} main", self.keyring, self.address)
    }
}

/// Its directory, which is the caller's to remove.
pub struct PrivateApt {
    directory: PathBuf,
    sources: Sources,
}

#[derive(PartialEq, Eq)]
enum Sources {
    Own,
    OfTheHost,
}

impl PrivateApt {
    /// With the newest packages of the archive as its only source.
    pub fn new(directory: PathBuf, archive: &Archive) -> Result<Self> {
        let apt = Self::with(directory, Sources::Own)?;
        let path = apt.directory.join("sources.list");
        std::fs::write(path, archive.source(NEWEST)).naming("write apt's `sources.list`")?;
        Ok(apt)
    }

    /// With the sources of the host's own apt.
    pub fn of_host(directory: PathBuf) -> Result<Self> {
        Self::with(directory, Sources::OfTheHost)
    }

    fn with(directory: PathBuf, sources: Sources) -> Result<Self> {
        for name in ["lists/partial", "cache/archives/partial"] {
            let path = directory.join(name);
            std::fs::create_dir_all(&path).naming(format_args!("create `{}`", path.display()))?;
        }
        std::fs::write(directory.join("status"), "").naming("write apt's `status`")?;
        Ok(Self { directory, sources })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        let mut set = |option: &str, value: PathBuf| {
            command.arg("-o").arg(format!("{option}={}", value.display()));
        };
        if self.sources == Sources::Own {
            set("Dir::Etc::SourceList", self.directory.join("sources.list"));
            set("Dir::Etc::SourceParts", PathBuf::from("/dev/null"));
        }
        for (option, value) in [
            ("Dir::State::Lists", self.directory.join("lists")),
            ("Dir::State::Status", self.directory.join("status")),
            ("Dir::Cache", self.directory.join("cache")),
        ] {
            set(option, value);
        }
        // apt's own unprivileged user may not write below this directory.
        command.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none", "--quiet=2"]);
        command.args(["-o", "Acquire::Retries=2", "-o", "APT::Update::Error-Mode=any"]);
        command.current_dir(&self.directory);
        command
    }

    /// Fetches the lists. Where that fails, there is no way to the archive.
    pub fn update(&self) -> Result<()> {
        process::read(self.command().arg("update")).map(drop)
    }

    /// Fetches one package, without what it needs, and unpacks it into `root`.
    pub fn unpack_alone(&self, package: &str, root: &Path) -> Result<()> {
        process::read(self.command().args(["download", package]))?;
        unpack(&self.directory, root)
    }

    /// Fetches packages with all that they need, C library included, and unpacks them into `root`.
    pub fn unpack(&self, packages: &[&str], root: &Path) -> Result<()> {
        let install = ["--yes", "--no-install-recommends", "--download-only", "install"];
        process::read(self.command().args(install).args(packages))?;
        unpack(&self.directory.join("cache/archives"), root)
    }
}

fn unpack(directory: &Path, root: &Path) -> Result<()> {
    let entries = std::fs::read_dir(directory).naming(format_args!("list `{}`", directory.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let packages: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect();
    if packages.is_empty() {
        return Err(Failure::new(format!("apt-get left no package in `{}`", directory.display())));
    }
    packages
        .iter()
        .try_for_each(|package| process::run(Command::new("dpkg").arg("-x").arg(package).arg(root)))
}
