//! Destinations of mounts at which nothing can ever be mounted: refused with what is in the way. Looks, and makes nothing.

use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::{Path, PathBuf};

use runtime::Obstacle;
use runtime::plan::{ContainerPlan, TargetKind};
use runtime::spec::Spec;

use crate::error::{Error, Result};
use crate::options::{FileOptions, MountKind, MountRequest};

/// `SYSFS_MAGIC` (statfs(2)).
const SYSFS: u64 = 0x6265_6572;

/// Directories of sysfs that show each network namespace something else.
const OF_A_NETWORK: [&str; 3] = ["net", "infiniband", "ieee80211"];

/// Refuses what lies below a file, a file over a directory and the reverse, and new names in sysfs.
pub(crate) fn check(options: &FileOptions, spec: &Spec, plan: &ContainerPlan) -> Result<()> {
    if options.mounts.is_empty() {
        return Ok(());
    }
    for request in &options.mounts {
        if let Some(missing) = missing_in_sysfs(&request.target, spec) {
            let reason = format!("`{}` is not there, and nothing can be made in `/sys`", missing.display());
            let hint = "it shows what the kernel has: choose another destination";
            return Err(Error::invalid(request.flag.as_str(), reason).with_hint(hint));
        }
    }
    for blocked in plan.blocked_mounts() {
        let asked = options.mounts.iter().find(|request| blocked.asked_by.as_ref() == Some(&request.flag));
        match (asked, blocked.obstacle) {
            (Some(request), obstacle) => return Err(refusal(request, &obstacle)),
            // One that every container has, below what a person puts over it.
            (None, Obstacle::FileAbove(file)) => {
                let Some(request) = options.mounts.iter().find(|request| request.target == file) else {
                    continue;
                };
                let reason = format!(
                    "{} is a file, and the container needs `{}` below it",
                    source(request),
                    blocked.destination
                );
                let hint = "bind a directory there, or choose another destination";
                return Err(Error::invalid(request.flag.as_str(), reason).with_hint(hint));
            }
            (None, Obstacle::OtherKind(_)) => {}
        }
    }
    Ok(())
}

/// The error for a mount that a person asks for.
fn refusal(request: &MountRequest, obstacle: &Obstacle) -> Error {
    let (target, source) = (&request.target, source(request));
    let (reason, hint) = match obstacle {
        Obstacle::FileAbove(file) => (
            format!("`{file}` is a file in the container, and nothing can be mounted below one"),
            "choose a destination that lies in a directory".to_owned(),
        ),
        Obstacle::OtherKind(TargetKind::Directory) => (
            format!("`{target}` is a directory in the container, and {source} is a file"),
            match file_name(request) {
                Some(name) => format!("a file goes onto a file: write `{target}/{name}` to put it in there"),
                None => "a file goes onto a file: choose another destination".to_owned(),
            },
        ),
        Obstacle::OtherKind(TargetKind::File) => (
            format!("`{target}` is a file in the container, and {source} is a directory"),
            match request.kind {
                MountKind::Bind(_) => {
                    "a directory goes onto a directory: bind a file of it, or choose another destination"
                        .to_owned()
                }
                MountKind::Tmpfs(_) => "choose another destination".to_owned(),
            },
        ),
    };
    Error::invalid(request.flag.as_str(), reason).with_hint(hint)
}

fn source(request: &MountRequest) -> String {
    match &request.kind {
        MountKind::Bind(bind) => format!("`{}`", bind.source.display()),
        MountKind::Tmpfs(_) => "a tmpfs".to_owned(),
    }
}

fn file_name(request: &MountRequest) -> Option<String> {
    let MountKind::Bind(bind) = &request.kind else { return None };
    bind.source.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// The path below `/sys` that a destination has and the kernel does not: but for the networks', those are the same in every
/// container.
fn missing_in_sysfs(target: &str, spec: &Spec) -> Option<PathBuf> {
    let below = target.strip_prefix("/sys/")?;
    // Another mount around it has names of its own.
    let is_around = |outer: &str| target.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    let around = spec.mounts.iter().map(|mount| mount.destination.as_str()).filter(|outer| is_around(outer));
    if around.max_by_key(|outer| outer.len()) != Some("/sys") {
        return None;
    }
    let mut path = PathBuf::from("/sys");
    for name in below.split('/') {
        let of_a_network = path.file_name().is_some_and(|last| OF_A_NETWORK.iter().any(|one| last == *one));
        if of_a_network || !is_sysfs(&path) {
            return None;
        }
        path.push(name);
        match std::fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Some(path),
            // What the caller may not look at may be there.
            Err(_) => return None,
        }
    }
    None
}

/// Whether all of a directory shows, and no other mount lies over it on the host.
fn is_sysfs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u64 == SYSFS)
}
