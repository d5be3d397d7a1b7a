//! Makes a minimal root file system from Debian's busybox and our own static server; touches only its directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Failure, Naming, Result};

/// Fills `root` with /bin (busybox under the name of every applet), /bin/server if given, and nothing else:
/// the mount points are left for rabbitc to make.
pub fn make(root: &Path, server: Option<&Path>) -> Result<()> {
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin).naming(format_args!("create `{}`", bin.display()))?;
    let busybox = busybox()?;
    copy(&busybox, &bin.join("busybox"))?;
    let applets = process::read(Command::new(&busybox).arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        std::os::unix::fs::symlink("busybox", bin.join(applet))
            .naming(format_args!("link applet `{applet}`"))?;
    }
    match server {
        Some(server) => copy(server, &bin.join("server")),
        None => Ok(()),
    }
}

/// The host's statically linked busybox.
pub fn busybox() -> Result<PathBuf> {
    let busybox = process::find_program("busybox")
        .ok_or_else(|| Failure::new("there is no `busybox`").hint("install the package busybox-static"))?;
    crate::build::verify_static(&busybox).map_err(|failure| failure.hint("install busybox-static"))?;
    Ok(busybox)
}

fn copy(source: &Path, destination: &Path) -> Result<()> {
    std::fs::copy(source, destination).map(drop).naming(format_args!(
        "copy `{}` to `{}`",
        source.display(),
        destination.display()
    ))
}
