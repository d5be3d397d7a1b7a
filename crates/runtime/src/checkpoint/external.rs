//! What of a container belongs to the host, and under which name criu keeps it: bind mounts, masks, devices, namespaces of
//! others, pipes. Both sides must come to the same names, from config.json and the root alone.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::messages::Pair;
use crate::error::{Error, Result};
use crate::spec::{Linux, Mount, Namespace, NamespaceKind, Spec};

/// The file of the image directory that says what stdin, stdout and stderr were, as runc writes it.
pub(super) const DESCRIPTORS: &str = "descriptors.json";

/// The source of every mask of a file.
const NULL: &str = "/dev/null";

/// The devices that are bound from the host where none can be made.
const USUAL_DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// A root directory in which names are looked up.
pub(super) struct Root {
    directory: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// The directory at `path`.
    pub(super) fn open(path: &Path) -> Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| Error::at_path("open", path, error))?;
        let path = name_of(directory.as_fd()).unwrap_or_else(|| path.to_owned());
        Ok(Root { directory, path })
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Where `destination` leads to, all links followed inside the root; what does not exist of it is taken as it is.
    fn resolve(&self, destination: &str) -> String {
        let parts: Vec<&str> =
            destination.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        for known in (0..=parts.len()).rev() {
            let Some(found) = self.open_inside(&parts[..known].join("/")) else { continue };
            let Some(name) = name_of(found.as_fd()) else { continue };
            let Ok(inside) = name.strip_prefix(&self.path) else { continue };
            let mut resolved = PathBuf::from("/").join(inside);
            resolved.extend(&parts[known..]);
            return resolved.display().to_string();
        }
        format!("/{}", parts.join("/"))
    }

    fn open_inside(&self, path: &str) -> Option<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), inside).ok()
    }

    fn is_file(&self, path: &str) -> bool {
        let status =
            self.open_inside(path.trim_start_matches('/')).and_then(|found| rustix::fs::fstat(found).ok());
        status.is_some_and(|status| !rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir())
    }
}

fn name_of(descriptor: BorrowedFd<'_>) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).ok()
}

fn pair(key: impl Into<String>, value: impl Into<String>) -> Pair {
    Pair { key: key.into(), value: value.into() }
}

fn devices<'a>(linux: &'a Linux) -> impl Iterator<Item = &'a str> {
    let usual: &'a [&'a str] = if linux.uid_mappings.is_empty() { &[] } else { &USUAL_DEVICES };
    linux.devices.iter().map(|device| device.path.as_str()).chain(usual.iter().copied())
}

/// Mount points of the running container and the names that criu is to keep them under.
pub(super) fn mounts_to_dump(spec: &Spec, linux: &Linux, root: &Root, mount_table: &[u8]) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for mount in spec.mounts.iter().filter(|mount| mount.is_bind()) {
        let place = root.resolve(&mount.destination);
        pairs.push(pair(place.clone(), place));
    }
    for (place, _) in cgroup_binds(mount_table) {
        pairs.push(pair(place.clone(), place));
    }
    for masked in linux.masked_paths.iter().filter(|path| root.is_file(path)) {
        pairs.push(pair(root.resolve(masked), NULL));
    }
    for device in devices(linux) {
        pairs.push(pair(device, device));
    }
    let mut known = BTreeSet::new();
    pairs.retain(|pair| known.insert(pair.key.clone()));
    pairs
}

/// A directory of the container's cgroup on the host.
pub(super) struct Group {
    /// Its place below a mount of cgroups: the name of its hierarchy, or nothing where that is the only one.
    pub(super) place: Option<String>,
    pub(super) path: String,
}

/// Each directory of `cgroup`, with the place that the plan has for its mount.
pub(super) fn groups_of(cgroup: &cgroup::Cgroup) -> Vec<Group> {
    let alone = cgroup.layout().version() == cgroup::Version::V2;
    let name = |hierarchy: &cgroup::Hierarchy| {
        let name = hierarchy.mount_point().rsplit('/').next().unwrap_or_default();
        (!alone).then(|| name.to_owned())
    };
    cgroup.directories().map(|(hierarchy, path)| Group { place: name(hierarchy), path }).collect()
}

/// Names of the image and the files and directories of the host that they stand for now. Sources of bind mounts are
/// relative to `bundle`.
pub(super) fn mounts_to_restore(
    spec: &Spec,
    linux: &Linux,
    root: &Root,
    bundle: &Path,
    groups: &[Group],
) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for mount in spec.mounts.iter().filter(|mount| mount.is_bind()) {
        let source = bundle.join(mount.source.as_deref().unwrap_or_default());
        pairs.push(pair(root.resolve(&mount.destination), source.display().to_string()));
    }
    let is_cgroup = |mount: &&Mount| matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2"));
    for mount in spec.mounts.iter().filter(is_cgroup) {
        let destination = root.resolve(&mount.destination);
        for group in groups {
            let place = match &group.place {
                Some(name) => format!("{destination}/{name}"),
                None => destination.clone(),
            };
            pairs.push(pair(place, group.path.as_str()));
        }
    }
    if !linux.masked_paths.is_empty() {
        pairs.push(pair(NULL, NULL));
    }
    for device in devices(linux) {
        pairs.push(pair(device, device));
    }
    let mut known = BTreeSet::new();
    pairs.retain(|pair| known.insert(pair.key.clone()));
    pairs
}

/// Mounts of cgroup hierarchies that show one group of the host and not a namespace's root: their mount points and roots.
fn cgroup_binds(mount_table: &[u8]) -> Vec<(String, String)> {
    let binds = sys::mount_table::entries(mount_table)
        .filter(|mount| mount.file_system.starts_with("cgroup") && *mount.root != *"/");
    let text = |path: Cow<'_, Path>| path.to_string_lossy().into_owned();
    binds.map(|mount| (text(mount.mount_point), text(mount.root))).collect()
}

/// Namespaces of others that criu leaves alone, and finds again under a key of its own.
pub(super) fn kept_namespaces(
    linux: &Linux,
) -> impl Iterator<Item = (&Namespace, &'static str, &'static str)> {
    linux.namespaces.iter().filter(|namespace| namespace.path.is_some()).filter_map(|namespace| {
        match namespace.kind {
            NamespaceKind::Network => Some((namespace, "net", "extRootNetNS")),
            NamespaceKind::Pid => Some((namespace, "pid", "extRootPidNS")),
            _ => None,
        }
    })
}

/// Namespaces of others that criu joins, with its names for their kinds.
pub(super) fn joined_namespaces(linux: &Linux) -> Result<Vec<Pair>> {
    let mut joined = Vec::new();
    for namespace in &linux.namespaces {
        let Some(path) = &namespace.path else { continue };
        let name = match namespace.kind {
            NamespaceKind::Network | NamespaceKind::Pid => continue,
            NamespaceKind::Ipc => "ipc",
            NamespaceKind::Uts => "uts",
            NamespaceKind::User => "user",
            NamespaceKind::Mount => "mnt",
            NamespaceKind::Time => "time",
            NamespaceKind::Cgroup => {
                let hint = "leave its path out, so that the container gets one of its own";
                let what = "a cgroup namespace of others in a restored container".to_owned();
                return Err(Error::unsupported("linux.namespaces", what, hint));
            }
        };
        joined.push(pair(name, path.display().to_string()));
    }
    Ok(joined)
}

/// Whether others gave the container's own network namespace a device whose other end is outside, as engines do. criu can't
/// find that end again, and whoever made the device makes it for what is restored, too. What `linux.netDevices` moved
/// in came with its addresses, and nobody would bring it again.
pub(super) fn has_network_of_others(linux: &Linux, pid: i32) -> Result<bool> {
    let own = |namespace: &Namespace| namespace.kind == NamespaceKind::Network && namespace.path.is_none();
    if !linux.net_devices.is_empty() || !linux.namespaces.iter().any(own) {
        return Ok(false);
    }
    let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let at = |error| Error::at_path("look at the network devices in", &path, error);
    let namespace = std::fs::File::open(&path).map_err(at)?;
    crate::foreign::within(namespace.as_fd(), sys::clone::flags::NEWNET, || {
        Ok(crate::rtnetlink::Socket::open()?.leads_outside()?)
    })
    .map_err(at)
}

/// What the three standard streams of a process are, in the words of the kernel's links.
pub(super) fn standard_streams(pid: i32) -> Vec<String> {
    let link = |number: i32| std::fs::read_link(format!("/proc/{pid}/fd/{number}"));
    (0..3).map(|number| link(number).map_or(String::new(), |path| path.display().to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cgroup_mounts_of_one_group_are_the_hosts() {
        let table = b"30 29 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
                     31 30 0:27 /box /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n\
                     32 30 0:28 / /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        assert_eq!(cgroup_binds(table), [("/sys/fs/cgroup/pids".to_owned(), "/box".to_owned())]);
    }

    #[test]
    fn cgroup_is_bound_where_the_plan_mounts_it() {
        let config = br#"{"ociVersion": "1.3.0", "root": {"path": "rootfs"},
            "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}]}"#;
        let spec: Spec = serde_json::from_slice(config).expect("valid");
        let root = Root::open(Path::new("/")).expect("a directory");
        let bound = |place: Option<&str>, path: &str| {
            let groups = [Group { place: place.map(str::to_owned), path: path.to_owned() }];
            let mut pairs =
                mounts_to_restore(&spec, &Linux::default(), &root, Path::new("/bundle"), &groups).into_iter();
            pairs.next().map(|pair| (pair.key, pair.value))
        };
        let pair = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
        let v2 = "/sys/fs/cgroup/box";
        assert_eq!(bound(None, v2), pair("/sys/fs/cgroup", v2));
        let v1 = "/sys/fs/cgroup/pids/box";
        assert_eq!(bound(Some("pids"), v1), pair("/sys/fs/cgroup/pids", v1));
    }

    #[test]
    fn destinations_are_resolved_inside_the_root_as_far_as_they_exist() {
        let path = std::env::temp_dir().join(format!("rabbitc-external-{}", std::process::id()));
        std::fs::create_dir_all(path.join("real/conf")).expect("made");
        std::os::unix::fs::symlink("/real/conf", path.join("conf")).expect("a link");
        let root = Root::open(&path).expect("a directory");
        for (asked, expected) in
            [("/conf", "/real/conf"), ("/conf/a/b", "/real/conf/a/b"), ("/", "/"), ("x//./y", "/x/y")]
        {
            assert_eq!(root.resolve(asked), expected, "{asked}");
        }
        std::fs::remove_dir_all(path).expect("removed");
    }
}
