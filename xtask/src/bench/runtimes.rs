//! The runtimes to compare with.

use std::path::PathBuf;

use crate::process::{Failure, Result};
use crate::unpacked::{Origin, Unpacked, Unpacking};

const NEWEST: Unpacked = Unpacked {
    name: "newest-runtimes",
    origin: Origin::Newest,
    packages: &["crun", "runc"],
    programs: &["usr/bin/crun", "usr/bin/runc"],
};

/// Where they are.
pub struct Runtimes {
    pub crun: PathBuf,
    pub runc: PathBuf,
}

impl Runtimes {
    /// Those that are installed.
    pub fn installed() -> Self {
        Self { crun: PathBuf::from("crun"), runc: PathBuf::from("runc") }
    }

    /// The newest that Debian's archive offers.
    pub fn newest() -> Result<Self> {
        let hint = |failure: Failure| failure.hint("measure with `--runtimes installed`");
        let root = match NEWEST.root().map_err(hint)? {
            Unpacking::Done(root) => root,
            Unpacking::Unavailable(why) => return Err(hint(Failure::new(why))),
        };
        Ok(Self { crun: root.join("usr/bin/crun"), runc: root.join("usr/bin/runc") })
    }
}
