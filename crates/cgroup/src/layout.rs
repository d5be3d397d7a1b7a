//! Owns the answer to where this process sees its cgroup hierarchies. Must not create or change a group.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Kind, Operation};
use crate::files;
use crate::path::CgroupPath;
use crate::systemd::Manager;

/// Where every distribution and every runtime mounts cgroups.
const USUAL_PLACE: &str = "/sys/fs/cgroup";

// File system types of statfs(2), linux/magic.h.
const CGROUP_SUPER_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// Which generations of cgroups this process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Hierarchies of version 1 only.
    V1,
    /// Version 1 with a version 2 hierarchy beside it.
    Hybrid,
    /// Version 2 only.
    V2,
}

/// The file language of one hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Version 1.
    V1,
    /// Version 2, the unified hierarchy.
    V2,
}

/// Every hierarchy that this process sees, opened once. Cloning shares the descriptors.
#[derive(Debug, Clone)]
pub struct Layout {
    version: Version,
    hierarchies: Arc<[Hierarchy]>,
}

/// One mounted hierarchy.
#[derive(Debug)]
pub struct Hierarchy {
    language: Language,
    /// As `/proc/self/cgroup` has them: `cpu,cpuacct`, `name=systemd`; empty for v2.
    controllers: String,
    mount_point: String,
    own_path: String,
    root: OwnedFd,
    /// v2: the controllers that its root offers.
    offered: OnceLock<String>,
}

impl Hierarchy {
    /// The file language spoken there.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The controllers of a v1 hierarchy or its name, comma separated, as `/proc/self/cgroup` has them; empty for
    /// the unified hierarchy.
    pub fn controllers(&self) -> &str {
        &self.controllers
    }

    /// Where it is mounted.
    pub fn mount_point(&self) -> &str {
        &self.mount_point
    }

    /// This process's own group, as `/proc/self/cgroup` has it.
    pub fn own_path(&self) -> &str {
        &self.own_path
    }

    /// The root of the mount, an `O_PATH` descriptor.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether it offers `controller` (for v2: in its root, not necessarily handed down yet).
    pub fn has(&self, controller: &str) -> bool {
        match self.language {
            Language::V1 => self.controllers.split(',').any(|name| name == controller),
            Language::V2 => self.offered().split_ascii_whitespace().any(|name| name == controller),
        }
    }

    /// v2: the controllers that the root offers, separated by white space; read once.
    pub(crate) fn offered(&self) -> &str {
        self.offered.get_or_init(|| {
            // Unreadable counts as none: what needs a controller then fails and names it.
            files::read(self, "", "cgroup.controllers").unwrap_or_default()
        })
    }

    /// The full path of `file` in group `path`, for messages.
    pub(crate) fn display(&self, path: &str, file: &str) -> String {
        let mut text = self.mount_point.clone();
        for part in [path, file].into_iter().filter(|part| !part.is_empty()) {
            text.push('/');
            text.push_str(part);
        }
        text
    }
}

impl Layout {
    /// Finds and opens the hierarchies.
    ///
    /// Looks into the usual place below `/sys/fs/cgroup` first, led by `/proc/self/cgroup`; the much longer
    /// `/proc/self/mountinfo` is read only where something is missing there. [`Kind::NoHierarchy`] when nothing
    /// is mounted at all.
    pub fn detect() -> Result<Layout, Error> {
        let memberships = read_proc("/proc/self/cgroup")?;
        match usual(&memberships) {
            Some(layout) => Ok(layout),
            None => Layout::from_tables(&memberships, &read_proc("/proc/self/mountinfo")?),
        }
    }

    /// The layout as the mount table has it: for unusual places, and hosts where not everything is mounted.
    /// `memberships` are of `/proc/PID/cgroup` (cgroups(7)), `mountinfo` of `/proc/PID/mountinfo` (proc(5)).
    pub fn from_tables(memberships: &str, mountinfo: &str) -> Result<Layout, Error> {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for mount in parse_mounts(mountinfo) {
            let Some(line) = parse_memberships(memberships).find(|line| mount.carries(line)) else {
                continue;
            };
            // A hierarchy may be mounted several times; the first mount is as good as any.
            if hierarchies
                .iter()
                .any(|known| known.language == mount.language && known.controllers == line.controllers)
            {
                continue;
            }
            let root = match open_directory(CWD, &mount.mount_point) {
                Ok(root) => root,
                // This says nothing of what is there, and a container must not be without a group in it.
                Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
                    return Err(Error::kernel(Operation::Detect, mount.mount_point, errno));
                }
                // What is mounted over, or not ours to enter, does not count.
                Err(_) => continue,
            };
            let expected = match mount.language {
                Language::V1 => CGROUP_SUPER_MAGIC,
                Language::V2 => CGROUP2_SUPER_MAGIC,
            };
            if file_system(&root) != Some(expected) {
                continue;
            }
            let hierarchy = Hierarchy {
                language: mount.language,
                controllers: line.controllers.to_owned(),
                mount_point: mount.mount_point,
                own_path: line.path.to_owned(),
                root,
                offered: OnceLock::new(),
            };
            match mount.language {
                Language::V2 => hierarchies.insert(0, hierarchy),
                Language::V1 => hierarchies.push(hierarchy),
            }
        }
        Layout::new(hierarchies)
    }

    /// Which generations of cgroups there are.
    pub fn version(&self) -> Version {
        self.version
    }

    /// All hierarchies; the unified one, where there is one, comes first.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The unified hierarchy of version 2.
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.first().filter(|hierarchy| hierarchy.language == Language::V2)
    }

    /// The v1 hierarchy that has `controller`.
    pub fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.language == Language::V1 && hierarchy.has(controller))
    }

    /// Why this process can't make group `path`, or nothing where it can in every hierarchy: for callers that go
    /// without one rather than fail.
    pub fn refuses(&self, path: &CgroupPath) -> Option<Error> {
        use rustix::fs::{Access, AtFlags};
        self.hierarchies.iter().find_map(|hierarchy| {
            // The nearest ancestor that is there takes the first directory that is made.
            let ancestors = path.ancestors().rev().chain(std::iter::once("."));
            let mut answers = ancestors.map(|ancestor| {
                rustix::fs::accessat(
                    hierarchy.root(),
                    ancestor,
                    Access::WRITE_OK | Access::EXEC_OK,
                    AtFlags::EACCESS,
                )
            });
            let answer = answers.find(|answer| *answer != Err(Errno::NOENT))?;
            let place = hierarchy.display(path.as_str(), "");
            answer.err().map(|errno| Error::kernel(Operation::Create, place, errno))
        })
    }

    /// Whether this process may move processes of its own into group `path` without systemd's help: an ordinary user
    /// may within the tree of their own manager only, where a session by ssh or on a console is not
    /// (cgroups(7), "delegation containment").
    pub fn reaches(&self, path: &CgroupPath) -> bool {
        let manager = path.manager().or(path.unit().map(|unit| unit.manager()));
        match (manager, self.unified()) {
            (Some(manager), Some(unified)) => manager.rules_over(unified.own_path()),
            _ => true,
        }
    }

    /// Has the caller moved to where it [`reaches`](Layout::reaches) the group `path`, if it does not yet.
    pub(crate) fn reach(&self, path: &CgroupPath) -> Result<(), Error> {
        let Some(unified) = self.unified().filter(|_| self.version == Version::V2 && !self.reaches(path))
        else {
            return Ok(());
        };
        match (path.unit(), path.manager()) {
            (Some(unit), _) => unit.take_caller_in(unified),
            (None, Some(manager)) => manager.take_caller_in(self, unified),
            (None, None) => Ok(()),
        }
    }

    /// Whether a caller of this manager of systemd can have limits of `controller`, by its v1 name: `blkio` is `io` on
    /// v2. An ordinary user has what root has delegated to them.
    pub fn offers(&self, manager: Manager, controller: &str) -> bool {
        if self.v1(controller).is_some() {
            return true;
        }
        let name = if controller == "blkio" { "io" } else { controller };
        let Some(unified) = self.unified().filter(|unified| unified.has(name)) else { return false };
        match manager.delegated(self, unified) {
            Some(delegated) => delegated.split_ascii_whitespace().any(|one| one == name),
            None => true,
        }
    }

    /// Whether some hierarchy offers `controller`. The v1 controller `blkio` is called `io` on v2.
    pub fn has(&self, controller: &str) -> bool {
        self.hierarchies.iter().any(|hierarchy| hierarchy.has(controller))
    }

    fn new(hierarchies: Vec<Hierarchy>) -> Result<Layout, Error> {
        let of = |language| hierarchies.iter().any(|hierarchy: &Hierarchy| hierarchy.language == language);
        let version = match (of(Language::V1), of(Language::V2)) {
            (true, true) => Version::Hybrid,
            (true, false) => Version::V1,
            (false, true) => Version::V2,
            (false, false) => {
                return Err(Error::plain(
                    Operation::Detect,
                    USUAL_PLACE,
                    Kind::NoHierarchy,
                    "no cgroup hierarchy is mounted",
                ));
            }
        };
        Ok(Layout { version, hierarchies: hierarchies.into() })
    }
}

/// One line of `/proc/self/cgroup`.
struct Membership<'a> {
    language: Language,
    controllers: &'a str,
    path: &'a str,
}

/// Lines of `/proc/PID/cgroup`, `id:controllers:path`, see cgroups(7). A path may hold colons.
fn parse_memberships(text: &str) -> impl Iterator<Item = Membership<'_>> {
    text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let language = if id == "0" && controllers.is_empty() { Language::V2 } else { Language::V1 };
        Some(Membership { language, controllers, path })
    })
}

/// The layout when everything is mounted where it usually is; nothing when it is not.
fn usual(memberships: &str) -> Option<Layout> {
    let place = open_directory(CWD, USUAL_PLACE).ok()?;
    let unified = |place: &str, root: OwnedFd| {
        let membership = parse_memberships(memberships).find(|line| line.language == Language::V2)?;
        Some(Hierarchy {
            language: Language::V2,
            controllers: String::new(),
            mount_point: place.to_owned(),
            own_path: membership.path.to_owned(),
            root,
            offered: OnceLock::new(),
        })
    };
    if file_system(&place) == Some(CGROUP2_SUPER_MAGIC) {
        return Layout::new(vec![unified(USUAL_PLACE, place)?]).ok();
    }
    let mut hierarchies = Vec::with_capacity(12);
    let at_unified = format!("{USUAL_PLACE}/unified");
    match open_directory(&place, "unified") {
        Ok(root) if file_system(&root) == Some(CGROUP2_SUPER_MAGIC) => {
            hierarchies.push(unified(&at_unified, root)?);
        }
        Ok(_) | Err(Errno::NOENT) => {}
        Err(_) => return None,
    }
    for line in parse_memberships(memberships).filter(|line| line.language == Language::V1) {
        let directory = line.controllers.strip_prefix("name=").unwrap_or(line.controllers);
        let mount_point = format!("{USUAL_PLACE}/{directory}");
        let root = open_directory(&place, directory).ok()?;
        if file_system(&root) != Some(CGROUP_SUPER_MAGIC) {
            return None;
        }
        hierarchies.push(Hierarchy {
            language: Language::V1,
            controllers: line.controllers.to_owned(),
            mount_point,
            own_path: line.path.to_owned(),
            root,
            offered: OnceLock::new(),
        });
    }
    Layout::new(hierarchies).ok()
}

/// One cgroup mount of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    language: Language,
    mount_point: String,
    options: String,
}

impl Mount {
    /// Whether this is the hierarchy that `line` speaks of: all its controllers are in the super options.
    fn carries(&self, line: &Membership<'_>) -> bool {
        self.language == line.language
            && (self.language == Language::V2
                || line
                    .controllers
                    .split(',')
                    .all(|name| self.options.split(',').any(|option| option == name)))
    }
}

/// The cgroup mounts of a mount table.
fn parse_mounts(mountinfo: &str) -> impl Iterator<Item = Mount> {
    sys::mount_table::entries(mountinfo.as_bytes()).filter_map(|mount| {
        let language = match &*mount.file_system {
            "cgroup" => Language::V1,
            "cgroup2" => Language::V2,
            _ => return None,
        };
        let (mount_point, options) =
            (mount.mount_point.to_str()?.to_owned(), mount.super_options.into_owned());
        Some(Mount { language, mount_point, options })
    })
}

fn open_directory(start: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(start, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn file_system(directory: &OwnedFd) -> Option<u64> {
    rustix::fs::fstatfs(directory).ok().map(|statistics| statistics.f_type as u64)
}

fn read_proc(path: &str) -> Result<String, Error> {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| files::read_all(&file))
        .map_err(|errno| Error::kernel(Operation::Read, path, errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERSHIPS: &str = "4:memory:/a:b\n2:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/user\n";

    #[test]
    fn memberships_keep_colons_in_paths() {
        let lines: Vec<_> =
            parse_memberships(MEMBERSHIPS).map(|line| (line.language, line.controllers, line.path)).collect();
        assert_eq!(lines[0], (Language::V1, "memory", "/a:b"));
        assert_eq!(lines[3], (Language::V2, "", "/user"));
    }

    #[test]
    fn mounts_are_found_by_their_super_options() {
        let table = "32 31 0:29 / /odd\\040place rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct\n\
                     33 31 0:30 / /proc rw - proc proc rw\n\
                     34 31 0:31 / /two rw - cgroup2 none rw,nsdelegate\n";
        let mounts: Vec<_> = parse_mounts(table).collect();
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].mount_point, "/odd place");
        let carried: Vec<_> = parse_memberships(MEMBERSHIPS)
            .filter(|line| mounts[0].carries(line))
            .map(|line| line.controllers)
            .collect();
        assert_eq!(carried, ["cpu,cpuacct"]);
        assert_eq!(mounts[1].language, Language::V2);
    }

    #[test]
    fn usual_places_and_the_mount_table_agree_on_this_host() {
        let Ok(layout) = Layout::detect() else {
            println!("skipped: this host mounts no cgroups");
            return;
        };
        let memberships = read_proc("/proc/self/cgroup").expect("a readable /proc");
        let mountinfo = read_proc("/proc/self/mountinfo").expect("a readable /proc");
        let table = Layout::from_tables(&memberships, &mountinfo).expect("hierarchies in the mount table");
        assert_eq!(layout.version(), table.version());
        for hierarchy in layout.hierarchies() {
            assert!(
                table.hierarchies().iter().any(|other| other.controllers == hierarchy.controllers),
                "{hierarchy:?}"
            );
        }
    }

    #[test]
    fn nothing_mounted_is_an_error_with_a_remedy() {
        let error = Layout::from_tables(MEMBERSHIPS, "").expect_err("no mounts");
        assert_eq!(error.kind, Kind::NoHierarchy);
        assert!(error.hint().is_some());
    }
}
