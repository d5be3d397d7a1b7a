//! Packages of the archive, unpacked beside the host's own and not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::private_apt::{Archive, NEWEST, PrivateApt};
use crate::process::{self, Failure, Naming, Result};

/// Packages to be unpacked together, and the programs of theirs that are run.
pub struct Unpacked {
    /// The directory below the target directory.
    pub name: &'static str,
    pub origin: Origin,
    pub packages: &'static [&'static str],
    pub programs: &'static [&'static str],
}

/// Where packages come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The newest that Debian's archive offers.
    Newest,
    /// The sources of this host: what would be installed.
    Host,
}

/// Whether the packages can be had.
pub enum Unpacking {
    /// The root that they are unpacked in.
    Done(PathBuf),
    /// There is no way to the archive, and why.
    Unavailable(String),
}

impl Unpacked {
    /// Fetches them by apt from the archive that this host uses, once: later runs find them in the target directory, until
    /// the recipe changes.
    pub fn root(&self) -> Result<Unpacking> {
        let place = process::target_directory().join(self.name);
        let root = place.join("root");
        let done = place.join("done");
        let suite = match self.origin {
            Origin::Newest => NEWEST,
            Origin::Host => "this host's",
        };
        let recipe = format!("{suite}, 2: {} {}", self.packages.join(" "), self.programs.join(" "));
        if std::fs::read_to_string(&done).is_ok_and(|text| text == recipe) {
            return Ok(Unpacking::Done(root));
        }
        if place.exists() {
            std::fs::remove_dir_all(&place).naming(format_args!("remove `{}`", place.display()))?;
        }
        process::announce(&format!("fetching {suite} {}", self.packages.join(" and ")));
        let apt = match self.origin {
            Origin::Host => PrivateApt::of_host(place.clone())?,
            Origin::Newest => match Archive::of_this_machine() {
                Ok(archive) => PrivateApt::new(place.clone(), &archive)?,
                Err(failure) => return Ok(Unpacking::Unavailable(failure.to_string())),
            },
        };
        if let Err(failure) = apt.update() {
            return Ok(Unpacking::Unavailable(format!("the package archive cannot be reached: {failure}")));
        }
        apt.unpack(self.packages, &root)?;
        self.programs.iter().try_for_each(|program| relocate(&root.join(program), &root))?;
        std::fs::write(&done, recipe).naming(format_args!("write `{}`", done.display()))?;
        Ok(Unpacking::Done(root))
    }
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
