//! `rabbitc image mount` and `image unmount`: the files of images, on the host.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use engine::{ImageMount, Result, Unmount};
use serde_json::json;

use super::registries::{open_to_change, open_to_read};
use super::table::short;
use super::{failed, parse_names, print};
use crate::{life, render};

/// Mounts images, read-only, and prints where; without a name, lists those that are mounted.
#[derive(Debug, Parser)]
#[command(name = "rabbitc image mount", max_term_width = 100)]
pub(crate) struct MountArguments {
    /// Their names or ids
    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
    /// All images
    #[arg(short, long, conflicts_with = "names")]
    all: bool,
    /// `json`, in the place of a line for each
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Directory that they are mounted below [default: /run/rabbitc]
    #[arg(long, alias = "state-dir", value_name = "DIR")]
    runroot: Option<PathBuf>,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Forms of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
}

/// Unmounts images: what was mounted several times, as many times.
#[derive(Debug, Parser)]
#[command(name = "rabbitc image unmount", max_term_width = 100)]
pub(crate) struct UnmountArguments {
    /// Their names or ids
    #[arg(value_name = "IMAGE", required_unless_present = "all")]
    names: Vec<String>,
    /// All that are mounted, how often ever they were
    #[arg(short, long, conflicts_with = "names")]
    all: bool,
    /// At once, how often ever it was mounted, and also where somebody is in it
    #[arg(short, long)]
    force: bool,
    /// Directory that the images are kept below [default: /var/lib/rabbitc; without root ~/.local/share/rabbitc]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// As podman's: the path alone, where one image was named.
pub(super) fn mount(arguments: &MountArguments) -> Result<()> {
    let names = parse_names(&arguments.names)?;
    let images = open_to_read(arguments.root.as_deref())?;
    let paths = life::paths(arguments.runroot.as_deref())?;
    let mounts = match (&names[..], arguments.all) {
        (_, true) => images.mount_all(&paths)?,
        ([], false) => images.mounts()?,
        (names, false) => names.iter().map(|name| images.mount(name, &paths)).collect::<Result<_>>()?,
    };
    match (arguments.format, &mounts[..]) {
        (Some(Format::Json), mounts) => print(&as_json(mounts)),
        (None, [one]) if names.len() == 1 => print(&format!("{}\n", one.path.display())),
        (None, mounts) => print(&lines(mounts)),
    }
}

fn lines(mounts: &[ImageMount]) -> String {
    let shown = |mount: &ImageMount| mount.names.first().cloned().unwrap_or_else(|| short(&mount.id));
    let width = mounts.iter().map(|mount| shown(mount).len()).max().unwrap_or(0);
    mounts.iter().map(|mount| format!("{:width$}  {}\n", shown(mount), mount.path.display())).collect()
}

/// Podman's fields.
fn as_json(mounts: &[ImageMount]) -> String {
    let one = |mount: &ImageMount| {
        json!({"id": mount.id.trim_start_matches("sha256:"), "Names": [mount.digest], "Repositories": mount.names,
            "mountpoint": mount.path})
    };
    let all: Vec<_> = mounts.iter().map(one).collect();
    format!("{}\n", serde_json::to_string_pretty(&all).expect("only string keys"))
}

/// Each is tried, whatever became of the others.
pub(super) fn unmount(arguments: &UnmountArguments) -> ExitCode {
    let how = match (arguments.force, arguments.all) {
        (true, _) => Unmount::Forced,
        (false, true) => Unmount::Wholly,
        (false, false) => Unmount::Counted,
    };
    let opened = parse_names(&arguments.names)
        .and_then(|names| Ok((names, open_to_change(arguments.root.as_deref())?)));
    let (names, images) = match opened {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    let said = |ids: &[String]| {
        let lines: String = ids.iter().map(|id| format!("{}\n", id.trim_start_matches("sha256:"))).collect();
        print(&lines)
    };
    if arguments.all {
        let unmounted = images.unmount_all(how).and_then(|ids| said(&ids));
        return unmounted.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for name in &names {
        if let Err(error) = images.unmount(name, how).and_then(|id| said(id.as_slice())) {
            render::error(&error);
            code = ExitCode::from(error.kind.exit_code() as u8);
        }
    }
    code
}
