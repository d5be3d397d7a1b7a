//! Where mount points must exist before anything is mounted: in the root directory, or in the source of a bind mount.

use crate::init::step::TargetKind;
use crate::spec::{Mount, Spec};

/// A place that something is mounted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// The bind mount of the config that it lies in; `None` is the root directory.
    pub mount: Option<usize>,
    /// Its path from there, without a leading slash.
    pub path: String,
    /// What it must be.
    pub kind: TargetKind,
    /// Whether a link at its end that leads nowhere is covered, and not followed.
    pub covers_link: bool,
}

/// The mount points of `spec`, and of `files` that are bound after its mounts. Those in file systems that the kernel makes
/// are left out: they come and go with the container.
pub fn mount_points<'a>(spec: &Spec, files: impl Iterator<Item = &'a str>) -> Vec<MountPoint> {
    let mut points: Vec<MountPoint> = Vec::new();
    let mut mounted: Vec<(Vec<&str>, usize)> = Vec::new();
    let asked = spec.mounts.iter().map(|mount| (mount.destination.as_str(), target_kind(mount)));
    let asked = asked.map(|(path, kind)| (path, kind, false));
    let files: Vec<&str> = files.collect();
    for (index, (path, kind, covers_link)) in
        asked.chain(files.into_iter().map(|file| (file, TargetKind::File, true))).enumerate()
    {
        let parts = parts(path);
        if let Some((mount, path)) = place(spec, &mounted, &parts) {
            let point = MountPoint { mount, path, kind, covers_link };
            if !points.contains(&point) {
                points.push(point);
            }
        }
        if index < spec.mounts.len() {
            mounted.push((parts, index));
        }
    }
    points
}

/// The mount point of the config's mount `number`; none where it lies in a file system that the kernel makes.
pub fn mount_point(spec: &Spec, number: usize) -> Option<MountPoint> {
    let mount = spec.mounts.get(number)?;
    let earlier = spec.mounts[..number].iter().enumerate();
    let mounted: Vec<_> = earlier.map(|(index, mount)| (parts(&mount.destination), index)).collect();
    let (inside, path) = place(spec, &mounted, &parts(&mount.destination))?;
    Some(MountPoint { mount: inside, path, kind: target_kind(mount), covers_link: false })
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect()
}

/// What a mount point lies in, and its path from there; `mounted` are the places of earlier mounts and their numbers.
fn place(spec: &Spec, mounted: &[(Vec<&str>, usize)], parts: &[&str]) -> Option<(Option<usize>, String)> {
    // The latest of the deepest, as it covers the others.
    let around = mounted
        .iter()
        .filter(|(outer, _)| parts.starts_with(outer))
        .max_by_key(|(outer, number)| (outer.len(), *number));
    let place = match around {
        None => Some((None, parts.join("/"))),
        Some((outer, number)) if outer.len() < parts.len() && takes_mount_points(&spec.mounts[*number]) => {
            Some((Some(*number), parts[outer.len()..].join("/")))
        }
        Some(_) => None,
    };
    place.filter(|(_, path)| !path.is_empty())
}

/// Whether what lies in this mount lies on the host as well.
fn takes_mount_points(mount: &Mount) -> bool {
    mount.is_bind() && !mount.options.iter().flatten().any(|option| option == "tmpoverlay")
}

fn target_kind(mount: &Mount) -> TargetKind {
    let is_file = || {
        let source = mount.source.as_deref().and_then(|source| std::fs::metadata(source).ok());
        source.is_some_and(|found| !found.is_dir())
    };
    if mount.is_bind() && is_file() { TargetKind::File } else { TargetKind::Directory }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(destination: &str, kind: &str) -> Mount {
        Mount { destination: destination.to_owned(), kind: Some(kind.to_owned()), ..Mount::default() }
    }

    fn found(mounts: &[(&str, &str)], files: &[&str]) -> Vec<(Option<usize>, String)> {
        let mounts = mounts.iter().map(|(destination, kind)| mount(destination, kind)).collect();
        let spec = Spec { mounts, ..Spec::default() };
        let points = mount_points(&spec, files.iter().copied());
        points.into_iter().map(|point| (point.mount, point.path)).collect()
    }

    #[test]
    fn mount_points_below_other_mounts_need_not_exist_in_the_root() {
        let points = found(&[("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/proc", "proc")], &["/etc/hosts"]);
        let expected = [(None, "dev"), (None, "proc"), (None, "etc/hosts")];
        assert_eq!(points, expected.map(|(mount, path)| (mount, path.to_owned())));
    }

    #[test]
    fn mount_points_in_a_bind_mount_must_exist_in_its_source() {
        let mounts =
            [("/etc", "bind"), ("/etc/deep/er", "tmpfs"), ("/etc/deep/er/x", "bind"), ("/b", "bind")];
        let points = found(&mounts, &["/etc/hosts", "/b"]);
        let expected = [(None, "etc"), (Some(0), "deep/er"), (None, "b"), (Some(0), "hosts")];
        assert_eq!(points, expected.map(|(mount, path)| (mount, path.to_owned())));
    }

    #[test]
    fn nothing_is_made_below_what_throws_writes_away() {
        let mut outer = mount("/data", "bind");
        outer.options = Some(vec!["tmpoverlay".to_owned()]);
        let spec = Spec { mounts: vec![outer, mount("/data/in", "tmpfs")], ..Spec::default() };
        assert_eq!(mount_points(&spec, std::iter::empty()).len(), 1);
    }
}
