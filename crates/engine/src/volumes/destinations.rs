//! Destinations of mounts at which no mount point can ever be: refused with what is in the way. Looks, and makes nothing.

use std::os::fd::AsFd;
use std::path::Path;

use runtime::plan::{ContainerPlan, mount_point};
use runtime::spec::Spec;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};

use crate::error::{Error, Result};
use crate::mount_points::{Directory, Ground, file_on_the_way, found_at};
use crate::options::{FileOptions, MountKind, MountRequest};

/// `SYSFS_MAGIC` (statfs(2)).
const SYSFS: u64 = 0x6265_6572;

/// Refuses what lies below a file or on something of another kind, and new names at the top of sysfs.
pub(crate) fn check(options: &FileOptions, root: &Path, spec: &Spec, plan: &ContainerPlan) -> Result<()> {
    for request in &options.mounts {
        let (reason, hint) = if let Some(name) = missing_in_sysfs(&request.target) {
            (
                format!("`/sys/{name}` is not there, and nothing can be made in `/sys`"),
                "it shows what the kernel has: choose another destination",
            )
        } else if let Some(file) = file(&request.target, root, spec, plan) {
            (
                format!("`{file}` is a file in the container, and nothing can be mounted below one"),
                "choose a destination that lies in a directory",
            )
        } else if let Some((mount, there)) = mismatch(request, root, spec, plan) {
            let what = match &request.kind {
                MountKind::Bind(bind) => format!("`{}`", bind.source.display()),
                MountKind::Tmpfs(_) => "a file system in memory".to_owned(),
            };
            (
                format!("{what} is {mount}, and `{}` is {there} in the container", request.target),
                "a file can be mounted on a file alone, and a directory on a directory: choose another destination",
            )
        } else {
            continue;
        };
        return Err(Error::invalid(request.flag.as_str(), reason).with_hint(hint));
    }
    Ok(())
}

/// The name right below `/sys` that a destination has and the kernel does not: those are the same in every container.
fn missing_in_sysfs(target: &str) -> Option<&str> {
    let name = target.strip_prefix("/sys/")?.split('/').next()?;
    let shows_all = rustix::fs::statfs("/sys").is_ok_and(|found| found.f_type as u64 == SYSFS);
    let found = std::fs::symlink_metadata(Path::new("/sys").join(name));
    let is_missing = found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    (shows_all && is_missing).then_some(name)
}

/// The file that a destination lies below, as its path inside.
fn file(target: &str, root: &Path, spec: &Spec, plan: &ContainerPlan) -> Option<String> {
    look(target, root, spec, plan, |outer, directory, path| {
        let file = file_on_the_way(directory, path)?;
        Some(format!("{outer}/{file}").trim_end_matches('/').to_owned())
    })
}

/// What a mount is and what it would be mounted on, where one is a directory and the other is not.
fn mismatch(
    request: &MountRequest,
    root: &Path,
    spec: &Spec,
    plan: &ContainerPlan,
) -> Option<(&'static str, &'static str)> {
    let mounted = match &request.kind {
        MountKind::Tmpfs(_) => true,
        MountKind::Bind(_) => {
            let number = spec.mounts.iter().position(|mount| mount.destination == request.target)?;
            is_directory(rustix::fs::fstat(plan.bind_source(number)?).ok()?)
        }
    };
    let there = look(&request.target, root, spec, plan, |_, directory, path| {
        found_at(directory, path).map(is_directory)
    })?;
    let name = |is_directory: bool| if is_directory { "a directory" } else { "a file" };
    (mounted != there).then(|| (name(mounted), name(there)))
}

fn is_directory(found: Stat) -> bool {
    FileType::from_raw_mode(found.st_mode).is_dir()
}

/// Looks at the place of a destination, where that is in the root or in a volume: by what lies around it inside, the directory
/// on the host, and the path in that.
fn look<T>(
    target: &str,
    root: &Path,
    spec: &Spec,
    plan: &ContainerPlan,
    at: impl FnOnce(&str, &Directory<'_>, &str) -> Option<T>,
) -> Option<T> {
    let number = spec.mounts.iter().position(|mount| mount.destination == target)?;
    let point = mount_point(spec, number)?;
    let opened;
    let (outer, directory) = match point.mount {
        None => {
            opened = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
            ("", Directory { path: root, descriptor: opened.as_fd(), ground: Ground::Root })
        }
        Some(volume) => {
            let path = Path::new(spec.mounts[volume].source.as_deref().unwrap_or_default());
            let descriptor = plan.bind_source(volume)?;
            let outer = spec.mounts[volume].destination.as_str();
            (outer, Directory { path, descriptor, ground: Ground::Source })
        }
    };
    at(outer, &directory, &point.path)
}
